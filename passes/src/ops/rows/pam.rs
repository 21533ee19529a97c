//! Elementwise PAM primitives (Kosson & Jaggi 2023, section 2) and their exact slopes (section 2.3).

use crate::ops::shape::float;
use crate::ops::{AttrType, Grad, Kind, Op, Prim, VjpFn, required, vjp};

const fn unary(name: &'static str, prim: Prim, cost: u32, doc: &'static str) -> Op {
    Op { name, args: &["x"], doc, kind: Kind::Prim(prim), shape: float, cost, ..Op::BLANK }
}

const fn binary(name: &'static str, prim: Prim, cost: u32, doc: &'static str) -> Op {
    Op { args: &["a", "b"], ..unary(name, prim, cost, doc) }
}

const fn with_grad(rule: VjpFn, op: Op) -> Op {
    Op { grad: Grad::Rule(rule), ..op }
}

const fn slope(op: Op) -> Op {
    Op { grad: Grad::Zero, ..op }
}

/// Rows.
pub static ROWS: &[Op] = &[
    with_grad(
        vjp::mul,
        binary(
            "pam.mul",
            Prim::PamMul,
            3,
            "`a ⊙ b`: product by adding bit patterns as integers; at most 1/9 too small, exact for powers of two.",
        ),
    ),
    with_grad(
        vjp::div,
        binary(
            "pam.div",
            Prim::PamDiv,
            4,
            "`a ⊘ b`: quotient by subtracting bit patterns as integers; at most 1/8 too large, exact for powers of two.",
        ),
    ),
    with_grad(
        vjp::exp2,
        unary("pam.exp2", Prim::PamExp2, 5, "Piecewise affine 2ˣ; 0 to 6.15 % too large."),
    ),
    with_grad(
        vjp::log2,
        unary("pam.log2", Prim::PamLog2, 5, "Piecewise affine log₂; 0 to 0.0861 too small."),
    ),
    with_grad(
        vjp::sqrt,
        unary("pam.sqrt", Prim::PamSqrt, 3, "Piecewise affine √; 0 to 6.07 % too large."),
    ),
    Op {
        attrs: &[required("k", AttrType::Int)],
        grad: Grad::Rule(vjp::scale2),
        ..unary(
            "pam.scale2",
            Prim::Scale2,
            2,
            "`x · 2ᵏ` by adding k to the exponent field: exact, flushing and saturating.",
        )
    },
    Op {
        attrs: &[required("negative", AttrType::Ints), required("exponents", AttrType::Ints)],
        grad: Grad::Rule(vjp::shift_sum),
        ..unary(
            "pam.shift_sum",
            Prim::ShiftSum,
            12,
            "`x · c` for a constant `c` = Σ ±2ᵏ (`negative[i]` is 1 for a minus), summed left to right; a \
             non-finite x passes unchanged.",
        )
    },
    slope(binary(
        "pam.mul_slope",
        Prim::MulSlope,
        4,
        "Exact ∂(a ⊙ b)/∂a: sgn(b)·2^(E_b + [M_a + M_b ≥ 1]); a signed 0 where b is 0.",
    )),
    slope(binary(
        "pam.div_slope_a",
        Prim::DivSlopeA,
        5,
        "Exact ∂(a ⊘ b)/∂a: sgn(b)·2^(−E_b − [M_a < M_b]).",
    )),
    slope(binary(
        "pam.div_slope_b",
        Prim::DivSlopeB,
        6,
        "Exact ∂(a ⊘ b)/∂b: −sgn(a)·2^(E_a − 2E_b − [M_a < M_b]); 0 where a is 0.",
    )),
    slope(unary("pam.exp2_slope", Prim::Exp2Slope, 4, "Exact slope of pam.exp2: 2^⌊x⌋.")),
    slope(unary("pam.log2_slope", Prim::Log2Slope, 3, "Exact slope of pam.log2: 2^(−E_x).")),
    slope(unary(
        "pam.sqrt_slope",
        Prim::SqrtSlope,
        4,
        "Exact slope of pam.sqrt: 2^(⌊E_x/2⌋ − E_x − 1).",
    )),
];
