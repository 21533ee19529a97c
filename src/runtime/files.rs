//! Tensors in files: `.npz`, `.npy`, safetensors. Written whole or not at all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use npyz::npz::array_name_from_file_name;
use npyz::zip::ZipArchive;
use npyz::{DType as NpyType, NpyFile, Order, TypeChar, WriterBuilder};
use pamc_passes::ir::{DType, Tensor, TensorType};
use pamc_passes::with_array;

use crate::error::Error;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// Write a file by way of a temporary beside it, so that it is there whole or not at all. What is no
/// regular file, such as a pipe or a device, is written to.
///
/// # Errors
/// If the folder is not there or not writable, or the disk is full.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fail = |e: std::io::Error| Error::file("write", path, e);
    if path.metadata().is_ok_and(|m| !m.is_file()) {
        return std::fs::write(path, bytes).map_err(fail);
    }
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As readable as any new file: the user's umask applies.
    let open = std::fs::Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().permissions(open).tempfile_in(folder).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    Ok(())
}

/// Read a `.npz` archive, or a lone `.npy` under the name `arr_0`.
///
/// # Errors
/// If the file is missing, damaged, or holds an element type that no input can have.
pub fn read_npz(path: &Path) -> Result<Tensors, Error> {
    let fail = |e: std::io::Error| Error::file("read", path, e);
    let file = File::open(path).map_err(fail)?;
    if path.extension().is_some_and(|e| e == "npy") {
        let npy = npy(BufReader::new(file)).map_err(fail)?;
        let tensor = from_npy(npy).map_err(|m| Error::data(path, "arr_0", m))?;
        return Ok([("arr_0".to_string(), tensor)].into());
    }
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| fail(e.into()))?;
    let files: Vec<String> = archive.file_names().map(String::from).collect();
    let mut out = Tensors::new();
    for file in files {
        let Some(name) = array_name_from_file_name(&file) else { continue };
        let stream = archive.by_name(&file).map_err(|e| fail(e.into()))?;
        let npy = npy(stream).map_err(fail)?;
        let tensor = from_npy(npy).map_err(|m| Error::data(path, name, m))?;
        out.insert(name.to_owned(), tensor);
    }
    Ok(out)
}

/// Longest header of an array: numpy itself reads none above 10,000 bytes unless told to.
const MAX_HEADER: u32 = 1 << 20;

/// A `.npy` stream, its header read. The header's length is looked at before memory is taken for it.
fn npy(mut stream: impl Read) -> io::Result<NpyFile<impl Read>> {
    let mut start = Vec::with_capacity(12);
    (&mut stream).take(12).read_to_end(&mut start)?;
    // Version 1 has two bytes for the length.
    if let &[.., version, _, a, b, c, d] = &start[..]
        && version > 1
        && u32::from_le_bytes([a, b, c, d]) > MAX_HEADER
    {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the header is too long"));
    }
    NpyFile::new(Cursor::new(start).chain(stream))
}

/// The tensor of one `.npy` stream; other numeric types are converted to the nearest of ours.
fn from_npy<R: Read>(npy: NpyFile<R>) -> Result<Tensor, String> {
    let shape: Vec<usize> = npy
        .shape()
        .iter()
        .map(|&d| usize::try_from(d).map_err(|e| e.to_string()))
        .collect::<Result<_, _>>()?;
    let order = npy.order();
    let NpyType::Plain(ty) = npy.dtype() else {
        return Err("it is a structured array".into());
    };
    macro_rules! read {
        ($from:ty) => {
            npy.into_vec::<$from>().map_err(|e| e.to_string())?
        };
        ($from:ty => $to:ty) => {
            read!($from).into_iter().map(|x| x as $to).collect::<Vec<$to>>()
        };
    }
    let flat = shape.iter().try_fold(1, |n: usize, &d| n.checked_mul(d));
    let flat = flat.ok_or("its shape is too large")?;
    let dims = if order == Order::Fortran { shape.iter().rev().copied().collect() } else { shape };
    let made = match (ty.type_char(), ty.size_field()) {
        (TypeChar::Float, 4) => Tensor::from_vec(&dims, read!(f32)),
        (TypeChar::Float, 2) => {
            let wide = read!(half::f16).into_iter().map(half::f16::to_f32);
            Tensor::from_vec(&dims, wide.collect::<Vec<f32>>())
        }
        (TypeChar::Float, 8) => Tensor::from_vec(&dims, read!(f64 => f32)),
        (TypeChar::Int, 8) => Tensor::from_vec(&dims, read!(i64)),
        (TypeChar::Int, 4) => Tensor::from_vec(&dims, read!(i32)),
        (TypeChar::Int, 2) => Tensor::from_vec(&dims, read!(i16 => i32)),
        (TypeChar::Int, 1) => Tensor::from_vec(&dims, read!(i8 => i32)),
        (TypeChar::Uint, 1) => Tensor::from_vec(&dims, read!(u8 => i32)),
        (TypeChar::Uint, 2) => Tensor::from_vec(&dims, read!(u16 => i32)),
        (TypeChar::Uint, 4) => Tensor::from_vec(&dims, read!(u32 => i64)),
        (TypeChar::Bool, 1) => Tensor::from_vec(&dims, read!(bool)),
        _ => {
            return Err(format!(
                "its element type '{ty}' has no counterpart (f32, i32, i64, bool)"
            ));
        }
    };
    let tensor = made.ok_or_else(|| format!("its shape does not hold {flat} elements"))?;
    if order != Order::Fortran {
        return Ok(tensor);
    }
    Ok(
        pamc_passes::map_array!(&tensor, a => a.clone().reversed_axes().as_standard_layout().to_shared()),
    )
}

fn npy_bytes(tensor: &Tensor) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let shape: Vec<u64> = tensor.shape().iter().map(|&d| d as u64).collect();
    with_array!(tensor, a => {
        let mut writer = npyz::WriteOptions::new()
            .default_dtype().shape(&shape).writer(&mut out).begin_nd()?;
        writer.extend(a.iter().copied())?;
        writer.finish()?;
    });
    Ok(out)
}

/// Write tensors as `.npz`, or a single one as `.npy`.
///
/// # Errors
/// If the file cannot be written, or `.npy` is asked for several tensors.
pub fn write_npz(path: &Path, tensors: &Tensors) -> Result<(), Error> {
    let fail = |e: std::io::Error| Error::file("write", path, e);
    if path.extension().is_some_and(|e| e == "npy") {
        let [tensor] = tensors.values().collect::<Vec<_>>()[..] else {
            let names: Vec<_> = tensors.keys().cloned().collect();
            return Err(Error::usage(format!(
                "{} holds one array, but the outputs are {}; name a .npz file",
                path.display(),
                names.join(", ")
            )));
        };
        return write_whole(path, &npy_bytes(tensor).map_err(fail)?);
    }
    let mut zip = npyz::zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, tensor) in tensors {
        let file = npyz::npz::file_name_from_array_name(name);
        let options = npyz::zip::write::FileOptions::default();
        zip.start_file(file, options).map_err(|e| fail(e.into()))?;
        zip.write_all(&npy_bytes(tensor).map_err(fail)?).map_err(fail)?;
    }
    let bytes = zip.finish().map_err(|e| fail(e.into()))?;
    write_whole(path, bytes.get_ref())
}

/// Read a safetensors file.
///
/// # Errors
/// If the file is missing, damaged, or holds an element type other than f32, i32, i64, bool.
pub fn read_safetensors(path: &Path) -> Result<Tensors, Error> {
    let bytes = std::fs::read(path).map_err(|e| Error::file("read", path, e))?;
    let parsed = safetensors::SafeTensors::deserialize(&bytes)
        .map_err(|e| Error::file("read", path, std::io::Error::other(e)))?;
    let mut out = Tensors::new();
    for (name, view) in parsed.tensors() {
        let dtype = match view.dtype() {
            safetensors::Dtype::F32 => DType::F32,
            safetensors::Dtype::I32 => DType::I32,
            safetensors::Dtype::I64 => DType::I64,
            safetensors::Dtype::BOOL => DType::Bool,
            other => {
                return Err(Error::data(
                    path,
                    &name,
                    format!("its element type {other:?} has no counterpart"),
                ));
            }
        };
        let ty = TensorType::new(dtype, view.shape());
        let tensor = Tensor::from_bytes(&ty, view.data())
            .ok_or_else(|| Error::data(path, &name, format!("its bytes do not fit {ty}")))?;
        out.insert(name, tensor);
    }
    Ok(out)
}

/// Write tensors as safetensors.
///
/// # Errors
/// If the file cannot be written.
pub fn write_safetensors(path: &Path, tensors: &Tensors) -> Result<(), Error> {
    let dtype = |t: &Tensor| match t.dtype() {
        DType::F32 => safetensors::Dtype::F32,
        DType::I32 => safetensors::Dtype::I32,
        DType::I64 => safetensors::Dtype::I64,
        DType::Bool => safetensors::Dtype::BOOL,
    };
    let bytes: Vec<(&String, &Tensor, Vec<u8>)> =
        tensors.iter().map(|(n, t)| (n, t, t.to_bytes())).collect();
    let mut views = Vec::new();
    for (name, t, data) in &bytes {
        let view = safetensors::tensor::TensorView::new(dtype(t), t.shape().to_vec(), data)
            .map_err(|e| Error::file("write", path, std::io::Error::other(e)))?;
        views.push((name.as_str(), view));
    }
    let whole = safetensors::serialize(views, None)
        .map_err(|e| Error::file("write", path, std::io::Error::other(e)))?;
    write_whole(path, &whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Tensors {
        let x = Tensor::from_vec(&[2, 3], vec![1.5f32, -0.0, f32::INFINITY, 0.0, 1e-30, 7.0]);
        let i = Tensor::from_vec(&[3], vec![1i64, -2, i64::MAX]);
        let b = Tensor::from_vec(&[1, 2], vec![true, false]);
        [("x", x), ("a/b.i", i), ("b", b)]
            .map(|(n, t)| (n.to_string(), t.expect("the counts fit")))
            .into()
    }

    #[test]
    fn tensors_come_back() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let same = |a: &Tensors, b: &Tensors| {
            assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
            a.iter().for_each(|(n, t)| assert!(t.same_bits(&b[n]), "{n}"));
        };
        let npz = folder.path().join("t.npz");
        write_npz(&npz, &sample()).expect("written");
        same(&sample(), &read_npz(&npz).expect("read"));
        let st = folder.path().join("t.safetensors");
        write_safetensors(&st, &sample()).expect("written");
        same(&sample(), &read_safetensors(&st).expect("read"));
    }

    #[test]
    fn a_header_longer_than_any_is_refused_before_memory_is_taken() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("t.npy");
        let bytes = [&b"\x93NUMPY\x03\x00"[..], &u32::MAX.to_le_bytes(), b"{'descr': '<f4'}"];
        std::fs::write(&path, bytes.concat()).expect("written");
        let error = read_npz(&path).expect_err("no header").to_string();
        assert!(error.contains("the header is too long"), "{error}");
    }

    #[test]
    fn nothing_is_left_of_a_failed_write() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = write_npz(&folder.path().join("no/such/t.npz"), &sample());
        assert!(error.expect_err("no such folder").to_string().contains("no/such/t.npz"));
        let error = write_npz(&folder.path().join("t.npy"), &sample());
        assert!(error.expect_err("three arrays").to_string().contains(".npz"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    }
}
