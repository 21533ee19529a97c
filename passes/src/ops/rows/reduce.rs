//! Reductions and scans.

use crate::ir::{Attrs, DType, TensorType};
use crate::ops::shape::{Inferred, Types, axes_of, normalize_axis, reduced};
use crate::ops::{AttrSpec, Grad, Kind, Op, Prim, expect_dtype, flag, int, ints, vjp};

const NUMBERS: &[DType] = &[DType::F32, DType::I32, DType::I64];
const AXES: &[AttrSpec] = &[ints("axes", &[]), flag("keepdims", false)];

fn reduce(types: Types, attrs: &Attrs) -> Inferred {
    expect_dtype("the operand", types[0], NUMBERS)?;
    let axes = axes_of(attrs, types[0].rank())?;
    Ok(TensorType::new(types[0].dtype, reduced(&types[0].shape, &axes, attrs.flag("keepdims"))))
}

fn extremum(types: Types, attrs: &Attrs) -> Inferred {
    let axes = axes_of(attrs, types[0].rank())?;
    if axes.iter().any(|&a| types[0].shape[a] == 0) {
        return Err(format!("no extremum of zero elements in {}", types[0]));
    }
    reduce(types, attrs)
}

fn arg(types: Types, attrs: &Attrs) -> Inferred {
    expect_dtype("the operand", types[0], NUMBERS)?;
    let axis = normalize_axis(attrs.int("axis"), types[0].rank())?;
    if types[0].shape[axis] == 0 {
        return Err(format!("no extremum of zero elements in {}", types[0]));
    }
    Ok(TensorType::new(DType::I64, reduced(&types[0].shape, &[axis], attrs.flag("keepdims"))))
}

fn cumsum(types: Types, attrs: &Attrs) -> Inferred {
    expect_dtype("the operand", types[0], NUMBERS)?;
    normalize_axis(attrs.int("axis"), types[0].rank())?;
    Ok(types[0].clone())
}

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        name: "sum",
        onnx: &["ReduceSum"],
        args: &["x"],
        attrs: AXES,
        doc: "Sum over `axes` (all, if none are given): 16 interleaved lanes in row-major order of the \
              reduced axes, then a halving tree over the lanes.",
        kind: Kind::Prim(Prim::ReduceSum),
        shape: reduce,
        grad: Grad::Rule(vjp::sum),
        ..Op::BLANK
    },
    Op {
        name: "reduce_max",
        onnx: &["ReduceMax"],
        args: &["x"],
        attrs: AXES,
        doc: "Largest over `axes`; propagates NaN, −0 below +0.",
        kind: Kind::Prim(Prim::ReduceMax),
        shape: extremum,
        grad: Grad::Rule(vjp::reduce_max),
        ..Op::BLANK
    },
    Op {
        name: "reduce_min",
        onnx: &["ReduceMin"],
        args: &["x"],
        attrs: AXES,
        doc: "Smallest over `axes`; propagates NaN, −0 below +0.",
        kind: Kind::Prim(Prim::ReduceMin),
        shape: extremum,
        grad: Grad::Rule(vjp::reduce_min),
        ..Op::BLANK
    },
    Op {
        name: "argmax",
        onnx: &["ArgMax"],
        args: &["x"],
        attrs: &[int("axis", -1), flag("keepdims", false), flag("last", false)],
        doc: "Index (i64) of the first (`last`: last) largest element along `axis`; a NaN is larger than any number.",
        kind: Kind::Prim(Prim::ArgMax),
        shape: arg,
        grad: Grad::Zero,
        cost: 2,
        ..Op::BLANK
    },
    Op {
        name: "argmin",
        onnx: &["ArgMin"],
        args: &["x"],
        attrs: &[int("axis", -1), flag("keepdims", false), flag("last", false)],
        doc: "Index (i64) of the first (`last`: last) smallest element along `axis`; a NaN is smaller than any number.",
        kind: Kind::Prim(Prim::ArgMin),
        shape: arg,
        grad: Grad::Zero,
        cost: 2,
        ..Op::BLANK
    },
    Op {
        name: "cumsum",
        onnx: &["CumSum"],
        args: &["x"],
        attrs: &[int("axis", 0), flag("exclusive", false), flag("reverse", false)],
        doc: "Running sum along `axis` from +0 in ascending (`reverse`: descending) order; `exclusive` leaves the element itself out.",
        kind: Kind::Prim(Prim::CumSum),
        shape: cumsum,
        grad: Grad::Rule(vjp::cumsum),
        ..Op::BLANK
    },
];
