//! Programs of others that finish GPU code: NVIDIA's assembler and LLVM's linker.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use crate::Error;
use crate::codegen::run_linker;

/// NVIDIA machine code of PTX, by `ptxas`: that of `$PTXAS`, of the path, or of a CUDA toolkit.
///
/// # Errors
/// Says how to get `ptxas` where there is none; its messages if it refuses the code.
pub(super) fn cubin(ptx: &[u8], chip: &str) -> Result<Vec<u8>, Error> {
    let folder = tempfile::tempdir().map_err(Error::io(env::temp_dir()))?;
    let (source, target) = (folder.path().join("kernels.ptx"), folder.path().join("kernels.cubin"));
    fs::write(&source, ptx).map_err(Error::io(&source))?;
    let arch = format!("-arch={chip}");
    for program in assemblers() {
        let mut command = Command::new(&program);
        let output = match command.arg(&arch).arg(&source).arg("-o").arg(&target).output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(program)(error)),
        };
        if output.status.success() {
            return fs::read(&target).map_err(Error::io(&target));
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Link { linker: program.display().to_string(), message });
    }
    Err(Error::MissingAssembler)
}

/// Where `ptxas` may be.
fn assemblers() -> Vec<PathBuf> {
    if let Some(named) = env::var_os("PTXAS") {
        return vec![named.into()];
    }
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os);
    let toolkits = toolkits.map(PathBuf::from).chain(["/usr/local/cuda".into()]);
    ["ptxas".into()].into_iter().chain(toolkits.map(|t| t.join("bin/ptxas"))).collect()
}

/// A shared object that AMD's driver loads, from a relocatable one.
///
/// # Errors
/// If no linker is installed or it fails.
pub(super) fn hsaco(object: &[u8]) -> Result<Vec<u8>, Error> {
    let folder = tempfile::tempdir().map_err(Error::io(env::temp_dir()))?;
    let (source, target) = (folder.path().join("kernels.o"), folder.path().join("kernels.hsaco"));
    fs::write(&source, object).map_err(Error::io(&source))?;
    let arguments = ["-shared".into(), source.into(), "-o".into(), target.clone().into_os_string()];
    run_linker(&arguments)?;
    fs::read(&target).map_err(Error::io(&target))
}
