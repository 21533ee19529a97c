//! The oracle of `pamc-passes` as functions of C, for programs that `mlir-runner` executes: what
//! every multiplying operation of a module is to give.
//!
//! A test replaces the operations of LLVM's dialect by calls of these (`plugin/foreign.rs`).

use pamc_passes::{
    arith::Arith,
    build::Cx,
    interpret,
    ir::{DType, Graph, InputKind, NodeId, Origin, Tensor, TensorType},
    pass::{expand, lower},
    program::{MulFree, Program},
    reference as pam,
};
use std::{cell::RefCell, collections::HashMap};

thread_local! {
    // Programs on scalars by name, constant operand and number of others.
    static PROGRAMS: RefCell<HashMap<(&'static str, u32, usize), Program>> = RefCell::default();
}

/// A row of the op table on numbers, by the interpreter. The operands after the first are constants, as
/// an exponent is.
///
/// # Panics
/// If there is no such row of so many operands.
pub fn row(name: &'static str, x: &[f32]) -> f32 {
    let constant = x.get(1).copied().unwrap_or_default();
    interpreted(name, constant, &x[..1], |cx, inputs| {
        let mut operands = inputs.to_vec();
        operands.extend(x[1..].iter().map(|&c| cx.scalar(c)));
        cx.op(name, &operands)
    })
}

/// A term on inputs of rank 0, as the interpreter computes it; once a name, constant and arity.
fn interpreted(
    name: &'static str,
    constant: f32,
    x: &[f32],
    term: impl FnOnce(&mut Cx<'_>, &[NodeId]) -> NodeId,
) -> f32 {
    PROGRAMS.with_borrow_mut(|programs| {
        let program = programs.entry((name, constant.to_bits(), x.len())).or_insert_with(|| {
            let mut graph = Graph::new(name);
            let mut cx = Cx::new(&mut graph, Origin::default(), Arith::PAM);
            let scalar = || TensorType::new(DType::F32, []);
            let names = (0..x.len()).map(|i| format!("x{i}"));
            let inputs: Vec<NodeId> =
                names.map(|name| cx.input(&name, scalar(), InputKind::Data)).collect();
            let y = term(&mut cx, &inputs);
            let y = cx.finish(y).expect("a term of rows");
            graph.output("y", y).expect("one output");
            let lowered = lower(&graph, Arith::PAM).and_then(|g| expand(&g)).expect("lowered");
            Program::MulFree(MulFree::new(lowered).expect("free of multiplication"))
        });
        let inputs = x.iter().enumerate().map(|(i, &x)| (format!("x{i}"), Tensor::scalar(x)));
        let y = interpret::run(program, &inputs.collect()).expect("a result")["y"].to_vec::<f32>();
        y.expect("floats")[0]
    })
}

macro_rules! functions {
    ($($name:ident($($x:ident),*) = $value:expr;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($($x: f32),*) -> f32 {
            $value
        }
    )*};
}

macro_rules! rows {
    ($($name:ident($($x:ident),*) = $row:literal;)*) => {
        functions! {
            $($name($($x),*) = interpreted($row, 0.0, &[$($x),*], |cx, x| cx.op($row, x));)*
        }
    };
}

rows! {
    ref_mod(a, b) = "fmod";
    ref_exp(x) = "exp";
    ref_expm1(x) = "expm1";
    ref_log(x) = "log";
    ref_log10(x) = "log10";
    ref_log1p(x) = "log1p";
    ref_cbrt(x) = "cbrt";
    ref_pow(a, b) = "pow";
    ref_sin(x) = "sin";
    ref_cos(x) = "cos";
    ref_tan(x) = "tan";
    ref_asin(x) = "asin";
    ref_acos(x) = "acos";
    ref_atan(x) = "atan";
    ref_atan2(a, b) = "atan2";
    ref_sinh(x) = "sinh";
    ref_cosh(x) = "cosh";
    ref_tanh(x) = "tanh";
    ref_asinh(x) = "asinh";
    ref_acosh(x) = "acosh";
    ref_atanh(x) = "atanh";
    ref_erf(x) = "erf";
    ref_erfc(x) = "erfc";
}

functions! {
    ref_mul(a, b) = pam::mul(a, b);
    ref_div(a, b) = pam::div(a, b);
    ref_fma(a, b, c) = pam::mul(a, b) + c;
    ref_sqrt(x) = pam::sqrt(x);
    ref_rsqrt(x) = pam::div(1.0, pam::sqrt(x));
    ref_exp2(x) = pam::exp2(x);
    ref_log2(x) = pam::log2(x);
}

/// A power whose exponent is a constant.
#[unsafe(no_mangle)]
extern "C" fn ref_power(a: f32, p: f32) -> f32 {
    row("pow", &[a, p])
}
