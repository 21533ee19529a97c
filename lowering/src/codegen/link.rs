//! Shared libraries.

use super::{Arch, Object, Target};
use crate::Error;
use std::{ffi::OsString, fs, io::ErrorKind, path::Path, process::Command};

/// Linkers, in the order they are tried.
const LINKERS: &[&str] = &["ld.lld-22", "/usr/lib/llvm-22/bin/ld.lld", "ld.lld"];

/// Links objects into a shared library at `path`, which appears complete or not at all.
///
/// For this machine's processor family the library records that it needs OpenMP's runtime, libm and
/// libc where it does; for another family those stay undefined symbols for its loader.
///
/// # Errors
/// [`Error::MissingLinker`], [`Error::Link`] with the linker's words, or [`Error::Io`].
pub fn link_shared(objects: &[Object], path: &Path) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let work = tempfile::tempdir_in(folder).map_err(Error::io(folder))?;
    let library = work.path().join("library.so");
    let mut arguments =
        vec!["-shared".into(), "--eh-frame-hdr".into(), "-z".into(), "relro".into()];
    if let Some(name) = path.file_name() {
        arguments.extend(["-soname".into(), name.to_owned()]);
    }
    arguments.extend(["-o".into(), library.clone().into_os_string()]);
    arguments.extend(written(objects, work.path())?);
    if let Some(target) = objects.first().map(|o| &o.target).filter(|t| t.is_host_family()) {
        arguments.extend(system_libraries(target).iter().map(Into::into));
    }
    run_linker(&arguments)?;
    fs::rename(&library, path).map_err(Error::io(path))
}

/// Joins the objects of one program; with one there is nothing to do.
///
/// # Errors
/// As [`link_shared`]; [`Error::Program`] if there is none.
pub fn merge(mut objects: Vec<Object>) -> Result<Object, Error> {
    let Some(first) = objects.pop() else {
        return Err(Error::Program { message: "there is no code".into() });
    };
    if objects.is_empty() {
        return Ok(first);
    }
    objects.push(first);
    let work = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
    let joined = work.path().join("joined.o");
    let mut arguments = vec!["-r".into(), "-o".into(), joined.clone().into_os_string()];
    arguments.extend(written(&objects, work.path())?);
    run_linker(&arguments)?;
    let bytes = fs::read(&joined).map_err(Error::io(&joined))?;
    Ok(Object::new(bytes, &objects[0].target))
}

/// Files of the objects, in a folder.
fn written(objects: &[Object], folder: &Path) -> Result<Vec<OsString>, Error> {
    let mut files = Vec::with_capacity(objects.len());
    for (index, object) in objects.iter().enumerate() {
        let file = folder.join(format!("{index}.o"));
        fs::write(&file, &object.bytes).map_err(Error::io(&file))?;
        files.push(file.into_os_string());
    }
    Ok(files)
}

/// Linker arguments for the libraries compiled code may need.
fn system_libraries(target: &Target) -> [&'static str; 5] {
    let system = match target.arch {
        Arch::X86_64 => "-L/usr/lib/x86_64-linux-gnu",
        Arch::Aarch64 => "-L/usr/lib/aarch64-linux-gnu",
    };
    [system, "--as-needed", "-l:libomp.so.5", "-l:libm.so.6", "-l:libc.so.6"]
}

/// Runs the first linker that exists.
pub(crate) fn run_linker(arguments: &[OsString]) -> Result<(), Error> {
    for &linker in LINKERS {
        let output = match Command::new(linker).args(arguments).output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(linker)(error)),
        };
        if output.status.success() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Link { linker: linker.into(), message });
    }
    Err(Error::MissingLinker { tried: LINKERS.iter().map(|&l| l.into()).collect() })
}
