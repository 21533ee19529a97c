//! Contractions whose kernels are looked at.

use pamc_lowering::gpu::plan::Format;
use pamc_lowering::gpu::{GpuProgram, GpuTarget, compile_run};
use pamc_passes::arith::Arith;
use pamc_passes::ir::{Dims, parse};
use pamc_passes::pass::{expand, lower};
use pamc_passes::program::Program;

/// What a contraction is called, and its graph.
pub const CASES: [(&str, &str); 12] = [
    ("a·b", "%x: f32[1024, 1024], %y: f32[1024, 1024]) -> f32[1024, 1024] {\n%z = matmul %x, %y"),
    (
        "aᵀ·b",
        "%x: f32[1024, 1024], %y: f32[1024, 1024]) -> f32[1024, 1024] {\n\
         %z = matmul %x, %y {ta = true}",
    ),
    (
        "a·bᵀ",
        "%x: f32[1024, 1024], %y: f32[1024, 1024]) -> f32[1024, 1024] {\n\
         %z = matmul %x, %y {tb = true}",
    ),
    (
        "batched a·b",
        "%x: f32[8, 256, 256], %y: f32[8, 256, 256]) -> f32[8, 256, 256] {\n%z = matmul %x, %y",
    ),
    (
        "uneven a·b",
        "%x: f32[1000, 777], %y: f32[777, 500]) -> f32[1000, 500] {\n%z = matmul %x, %y",
    ),
    (
        "slope of a",
        "%g: f32[1024, 1024], %x: f32[1024, 1024], %y: f32[1024, 1024]) -> f32[1024, 1024] {\n\
         %z = pam.matmul_da %g, %x, %y {ta = false, tb = false}",
    ),
    (
        "slope of b",
        "%g: f32[1024, 1024], %x: f32[1024, 1024], %y: f32[1024, 1024]) -> f32[1024, 1024] {\n\
         %z = pam.matmul_db %g, %x, %y {ta = false, tb = false}",
    ),
    (
        "slope of aᵀ",
        "%g: f32[1024, 1024], %x: f32[1024, 1024], %y: f32[1024, 1024]) -> f32[1024, 1024] {\n\
         %z = pam.matmul_da %g, %x, %y {ta = true, tb = true}",
    ),
    (
        "batched slope",
        "%g: f32[8, 256, 256], %x: f32[8, 256, 256], %y: f32[8, 256, 256]) -> f32[8, 256, 256] {\n\
         %z = pam.matmul_db %g, %x, %y {ta = false, tb = true}",
    ),
    (
        "uneven slope",
        "%g: f32[1000, 500], %x: f32[1000, 777], %y: f32[777, 500]) -> f32[1000, 777] {\n\
         %z = pam.matmul_da %g, %x, %y {ta = false, tb = false}",
    ),
    (
        "strided conv",
        "%x: f32[8, 64, 33, 31], %y: f32[64, 32, 3, 3]) -> f32[8, 64, 17, 16] {\n\
         %z = conv %x, %y {pads = [1, 1, 1, 1], strides = [2, 2], groups = 2}",
    ),
    (
        "conv 3×3",
        "%x: f32[8, 64, 32, 32], %y: f32[64, 64, 3, 3]) -> f32[8, 64, 32, 32] {\n\
         %z = conv %x, %y {pads = [1, 1, 1, 1]}",
    ),
];

/// GPU code of a case.
///
/// # Errors
/// What some stage says.
pub fn code(case: &str, target: GpuTarget, format: Format) -> Result<GpuProgram, String> {
    let text = format!("graph @case({case}\nreturn %z\n}}\n");
    let graph = parse(&text, &Dims::default()).map_err(|e| format!("{e} in {text}"))?;
    let lowered = lower(&graph, Arith::PAM).map_err(|e| e.to_string())?;
    let program = Program::new(expand(&lowered).map_err(|e| e.to_string())?, Arith::PAM);
    let program = program.map_err(|e| e.to_string())?;
    compile_run(&program, target, format).map_err(|e| e.to_string())
}
