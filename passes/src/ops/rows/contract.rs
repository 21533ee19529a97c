//! Contractions, summed in the order of the numeric contract.

use crate::ir::{Attrs, TensorType};
use crate::ops::shape::{Inferred, Types};
use crate::ops::{AttrSpec, Grad, Kind, Op, Prim, broadcast_shapes, expect_dtype, flag, vjp};

const TRANSPOSES: &[AttrSpec] = &[flag("ta", false), flag("tb", false)];

/// Batch shape, m, k, n of `[.., m, k] × [.., k, n]` after the transposes.
pub(crate) fn dims(
    a: &TensorType,
    b: &TensorType,
    attrs: &Attrs,
) -> Result<(Vec<usize>, usize, usize, usize), String> {
    for (what, t) in [("operand a", a), ("operand b", b)] {
        expect_dtype(what, t, &[crate::ir::DType::F32])?;
        if t.rank() < 2 {
            return Err(format!("{what} is {t}, but must have rank 2 or more"));
        }
    }
    let last2 = |t: &TensorType, swap: bool| {
        let (r, c) = (t.shape[t.rank() - 2], t.shape[t.rank() - 1]);
        if swap { (c, r) } else { (r, c) }
    };
    let (m, ka) = last2(a, attrs.flag("ta"));
    let (kb, n) = last2(b, attrs.flag("tb"));
    if ka != kb {
        return Err(format!("{a} and {b} do not contract: {ka} against {kb}"));
    }
    let batch = broadcast_shapes(&[&a.shape[..a.rank() - 2], &b.shape[..b.rank() - 2]])?;
    Ok((batch, m, ka, n))
}

fn matmul(types: Types, attrs: &Attrs) -> Inferred {
    let (mut shape, m, _, n) = dims(types[0], types[1], attrs)?;
    shape.extend([m, n]);
    Ok(TensorType::f32(shape))
}

/// Operands g, a, b: the gradient of `matmul(a, b)` with respect to a or b, over the broadcast batch.
fn matmul_grad(types: Types, attrs: &Attrs, wrt: usize) -> Inferred {
    let product = matmul(&types[1..], attrs)?;
    if *types[0] != product {
        return Err(format!("the gradient is {}, but the product {product}", types[0]));
    }
    let operand = types[1 + wrt];
    let mut shape = product.shape[..product.rank() - 2].to_vec();
    shape.extend(&operand.shape[operand.rank() - 2..]);
    Ok(TensorType::f32(shape))
}

const fn row(name: &'static str, prim: Prim, doc: &'static str) -> Op {
    Op {
        name,
        args: &["a", "b"],
        attrs: TRANSPOSES,
        doc,
        kind: Kind::Prim(prim),
        shape: matmul,
        grad: Grad::Rule(vjp::matmul),
        cost: 1000,
        ..Op::BLANK
    }
}

/// Rows.
pub static ROWS: &[Op] = &[
    row(
        "pam.matmul",
        Prim::PamMatmul,
        "`[.., m, k] × [.., k, n]` with ⊙ for the products; `ta`, `tb` swap the last two axes of an operand first, \
         leading axes broadcast. Ascending k in chunks of 256 from +0, chunk sums in ascending order.",
    ),
    Op {
        args: &["g", "a", "b"],
        shape: |t, a| matmul_grad(t, a, 0),
        grad: Grad::Missing,
        ..row(
            "pam.matmul_da",
            Prim::PamMatmulDa,
            "Exact gradient of pam.matmul(a, b) for a: Σₙ g ⊙ pam.mul_slope(a, b), in contraction order over n.",
        )
    },
    Op {
        args: &["g", "a", "b"],
        shape: |t, a| matmul_grad(t, a, 1),
        grad: Grad::Missing,
        ..row(
            "pam.matmul_db",
            Prim::PamMatmulDb,
            "Exact gradient of pam.matmul(a, b) for b: Σₘ g ⊙ pam.mul_slope(b, a), in contraction order over m.",
        )
    },
    row(
        "f.matmul",
        Prim::FMatmul,
        "`[.., m, k] × [.., k, n]` in ordinary arithmetic: each product joins the sum by one fused multiply-add, \
         in the same order as pam.matmul.",
    ),
];
