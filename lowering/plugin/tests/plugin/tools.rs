//! The programs of Debian's `mlir-22-tools`, and modules around a kernel.

use std::{
    env,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// From structured operations to the LLVM dialect, by passes of upstream's.
pub const TO_LLVM: &str = "one-shot-bufferize{bufferize-function-boundaries},\
    func.func(convert-linalg-to-loops),convert-vector-to-scf,expand-strided-metadata,\
    memref-expand,lower-affine,convert-scf-to-cf,convert-vector-to-llvm,convert-math-to-llvm,\
    convert-arith-to-llvm,convert-index-to-llvm,finalize-memref-to-llvm,convert-func-to-llvm,\
    convert-cf-to-llvm,convert-ub-to-llvm,reconcile-unrealized-casts";

/// A shared library that cargo builds for these tests: the newer of the two places where it leaves it.
pub fn library(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a path");
    let dependencies = test.parent().expect("a folder");
    let outer = dependencies.parent().expect("a folder");
    let age = |path: &PathBuf| path.metadata().and_then(|m| m.modified()).ok();
    let file = format!("lib{name}.so");
    let candidates = [dependencies, outer].map(|folder| folder.join(&file));
    let found = candidates.into_iter().filter(|p| p.is_file()).max_by_key(age);
    found.unwrap_or_else(|| panic!("cargo builds {file} before the tests"))
}

/// The plug-in.
pub fn plugin() -> PathBuf {
    library("pamc_plugin")
}

pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn module(name: &str) -> String {
    let path = folder().join("tests/modules").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Runs a program on a text.
pub fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}; run `make setup`"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let text = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("an end");
    // A program that fails early need not read everything.
    let _ = writer.join().expect("no panic");
    output
}

/// `mlir-opt` with the plug-in, on a text.
pub fn opt(pipeline: &str, input: &str) -> Output {
    let library = plugin().display().to_string();
    let pass = format!("--load-pass-plugin={library}");
    let dialect = format!("--load-dialect-plugin={library}");
    let pipeline = format!("--pass-pipeline=builtin.module({pipeline})");
    let arguments = [pass.as_str(), &dialect, &pipeline, "--allow-unregistered-dialect", "-"];
    run("mlir-opt-22", &arguments, input)
}

/// Standard output of a success.
#[track_caller]
pub fn success(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).expect("text")
}

/// Standard error of a failure that is no crash.
#[track_caller]
pub fn failure(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(!error.contains("panicked"), "{error}");
    error
}

/// An argument of a kernel.
pub struct Argument<'a> {
    /// Type in the kernel's signature: a tensor or a memref.
    pub ty: &'a str,
    pub shape: &'a [usize],
    pub values: &'a [f32],
}

/// Extents as in a type, `4x4x`.
fn extents(shape: &[usize]) -> String {
    shape.iter().fold(String::new(), |mut text, n| {
        let _ = write!(text, "{n}x");
        text
    })
}

/// A main function that calls `@kernel` and prints the bits of its result, or of its last argument
/// where `result` is empty.
pub fn main_function(arguments: &[Argument<'_>], result: &str, shape: &[usize]) -> String {
    let mut text = String::from("func.func @main() {\n");
    let (mut names, mut types) = (Vec::new(), Vec::new());
    for (i, argument) in arguments.iter().enumerate() {
        let extents = extents(argument.shape);
        let hex: String =
            argument.values.iter().map(|x| format!("{:08X}", x.to_bits().swap_bytes())).collect();
        let _ = writeln!(text, "%t{i} = arith.constant dense<\"0x{hex}\"> : tensor<{extents}f32>");
        if argument.ty.starts_with("memref") {
            let _ = writeln!(
                text,
                "%a{i} = memref.alloc() : {0}\nbufferization.materialize_in_destination %t{i} in \
                 restrict writable %a{i} : (tensor<{extents}f32>, {0}) -> ()",
                argument.ty
            );
        } else {
            let cast = "tensor.cast";
            let _ =
                writeln!(text, "%a{i} = {cast} %t{i} : tensor<{extents}f32> to {}", argument.ty);
        }
        names.push(format!("%a{i}"));
        types.push(argument.ty);
    }
    let (assigned, returned) =
        if result.is_empty() { (String::new(), "()") } else { ("%r = ".into(), result) };
    let (names_text, types_text) = (names.join(", "), types.join(", "));
    let _ =
        writeln!(text, "{assigned}func.call @kernel({names_text}) : ({types_text}) -> {returned}");
    let (from, read, ty) = match result {
        "" => (names[names.len() - 1].as_str(), "memref.load", types[types.len() - 1]),
        _ => ("%r", "tensor.extract", result),
    };
    for i in 0..shape.iter().product::<usize>() {
        let (mut rest, mut at) = (i, vec![0; shape.len()]);
        for (axis, n) in shape.iter().enumerate().rev() {
            (at[axis], rest) = (rest % n, rest / n);
        }
        let mut indices = Vec::new();
        for (axis, at) in at.iter().enumerate() {
            let _ = writeln!(text, "%i{i}_{axis} = arith.constant {at} : index");
            indices.push(format!("%i{i}_{axis}"));
        }
        let indices = indices.join(", ");
        let _ = writeln!(
            text,
            "%v{i} = {read} {from}[{indices}] : {ty}\n%b{i} = arith.bitcast %v{i} : f32 to i32\n\
             vector.print %b{i} : i32"
        );
    }
    text + "return\n}\n"
}

/// Lowers a module by `before` and `pamc-lower`, verifies it, takes it to LLVM by upstream's passes
/// and runs it with `mlir-runner`. Gives the floats it prints by their bits.
#[track_caller]
pub fn execute(module: &str, before: &str, lower: &str) -> Vec<f32> {
    let pipeline = format!("{before}{lower},pamc-verify,{TO_LLVM},pamc-verify{{integers=allow}}");
    let lowered = success(opt(&pipeline, module));
    for word in ["fmul", "fdiv", "fma(", "intr.exp", "intr.sqrt", "expf", "intr.pow"] {
        let calls = lowered.lines().filter(|l| !l.contains("llvm.func"));
        assert_eq!(calls.filter(|l| l.contains(word)).count(), 0, "{word} in:\n{lowered}");
    }
    printed(&lowered, "")
}

/// The floats that the main function of a module of the LLVM dialect prints by their bits;
/// `library` is one more that it is linked with.
#[track_caller]
pub fn printed(module: &str, library: &str) -> Vec<f32> {
    let mut libraries = "--shared-libs=/usr/lib/llvm-22/lib/libmlir_c_runner_utils.so,\
                         /usr/lib/llvm-22/lib/libmlir_float16_utils.so"
        .to_string();
    if !library.is_empty() {
        libraries += &format!(",{library}");
    }
    let arguments = ["-e", "main", "--entry-point-result=void", &libraries, "-"];
    let printed = success(run("mlir-runner-22", &arguments, module));
    let bits = |line: &str| line.parse::<i64>().expect("an integer") as u32;
    printed.lines().map(|line| f32::from_bits(bits(line))).collect()
}

/// Fails with the place where two results differ in a bit (any NaN is as good as another).
#[track_caller]
pub fn assert_same(name: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
        assert!(
            same,
            "{name}[{i}]: {got:e} {:08x}, want {want:e} {:08x}",
            got.to_bits(),
            want.to_bits()
        );
    }
}
