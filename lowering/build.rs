//! Links MLIR's C API and the OpenMP runtime.
//!
//! Debian ships MLIR as one shared `libMLIR` but its C API only as static archives, while
//! `mlir-sys` asks the linker for a shared `MLIR-C`. A linker script of that name pulls the
//! archives (about one megabyte) over the shared `libMLIR`, so that no library of our own has to be
//! found at run time.
//!
//! `src/opt/shim.cpp` is what the C API lacks.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=MLIR_SYS_220_PREFIX");
    let prefix = env::var("MLIR_SYS_220_PREFIX")
        .map_err(|_| "MLIR_SYS_220_PREFIX is not set: build inside the workspace")?;
    let libraries = Path::new(&prefix).join("lib");
    let archives = c_api_archives(&libraries)?;
    let out = env::var("OUT_DIR")?;
    let script = format!("GROUP ( {} -lMLIR -lLLVM )\n", archives.join(" "));
    fs::write(Path::new(&out).join("libMLIR-C.so"), script)?;
    println!("cargo:rustc-link-search=native={out}");
    println!("cargo:rustc-link-search=native={}", libraries.display());
    println!("cargo:rustc-link-lib=dylib=omp");
    shim(Path::new(&prefix));
    Ok(())
}

/// Compiles the C++ part, as MLIR itself is: without exceptions.
fn shim(prefix: &Path) {
    println!("cargo:rerun-if-changed=src/opt/shim.cpp");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .include(prefix.join("include"))
        .flag("-fno-exceptions")
        .opt_level(1)
        .debug(false)
        .warnings(false)
        .file("src/opt/shim.cpp")
        .compile("pamc_shim");
    // After the shim, which needs it.
    println!("cargo:rustc-link-lib=dylib=MLIR");
    println!("cargo:rustc-link-lib=dylib=LLVM");
}

/// Paths of MLIR's C API archives, sorted.
fn c_api_archives(libraries: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut archives = Vec::new();
    for entry in fs::read_dir(libraries)
        .map_err(|e| format!("{}: {e}; run `make setup`", libraries.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if name.starts_with("libMLIRCAPI") && name.ends_with(".a") {
            archives.push(path.display().to_string());
        }
    }
    if archives.is_empty() {
        let place = libraries.display();
        return Err(format!("no libMLIRCAPI*.a in {place}; run `make setup`").into());
    }
    archives.sort();
    Ok(archives)
}
