//! Tensor data kept in a file beside the model.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use crate::onnx::error::TensorError;
use crate::onnx::proto::StringStringEntryProto;

/// Reads exactly `expected` bytes from the place `entries` name, which must lie in `dir`.
///
/// Absolute paths, `..` and symbolic links that lead out of `dir` are errors: a model may not
/// read its user's other files.
pub(super) fn read(
    entries: &[StringStringEntryProto],
    expected: usize,
    dir: Option<&Path>,
) -> Result<Vec<u8>, TensorError> {
    let bad = |why: String| TensorError::External(why);
    let dir = dir.ok_or_else(|| bad("the model was not read from a folder".to_owned()))?;
    let entry = |key: &str| entries.iter().find(|e| e.key == key).map(|e| e.value.as_str());
    let number = |key: &str| {
        entry(key)
            .map(|v| v.parse::<u64>().map_err(|_| bad(format!("{key} is `{v}`, not a number"))))
            .transpose()
    };
    let location = entry("location").ok_or_else(|| bad("no location".to_owned()))?;
    let offset = number("offset")?.unwrap_or(0);
    let (mut file, len) = open_inside(dir, Path::new(location))?;
    let available = len.saturating_sub(offset);
    let found = number("length")?.unwrap_or(expected as u64);
    if found != expected as u64 || available < found {
        let found = found.min(available);
        return Err(TensorError::Size { expected: expected as u64, found, unit: "bytes" });
    }
    let io = |source| TensorError::ExternalIo { file: dir.join(location), source };
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut bytes = vec![0; expected];
    file.read_exact(&mut bytes).map_err(io)?;
    Ok(bytes)
}

/// Opens the regular file `relative` in the folder `dir`, with its length.
pub(in crate::onnx) fn open_inside(
    dir: &Path,
    relative: &Path,
) -> Result<(File, u64), TensorError> {
    let bad = |why: String| TensorError::External(why);
    let location = relative.display();
    let plain = |c| matches!(c, Component::Normal(_) | Component::CurDir);
    if relative.as_os_str().is_empty() || !relative.components().all(plain) {
        return Err(bad(format!("`{location}` is not a path inside the model's folder")));
    }
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let path = dir.join(relative);
    let io = |source| TensorError::ExternalIo { file: path.clone(), source };
    let real = path.canonicalize().map_err(io)?;
    if !real.starts_with(dir.canonicalize().map_err(io)?) {
        return Err(bad(format!("`{location}` leads out of the model's folder")));
    }
    let meta = real.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(bad(format!("`{location}` is not a regular file")));
    }
    Ok((File::open(&real).map_err(io)?, meta.len()))
}
