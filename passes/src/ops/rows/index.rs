//! Primitives that address by data.

use crate::ir::{Attrs, DType, TensorType};
use crate::ops::shape::{Inferred, Types, normalize_axis};
use crate::ops::{AttrType::Int, Grad, Kind, Op, Prim, expect_dtype, int, required, vjp};

const INDEX: &[DType] = &[DType::I32, DType::I64];

fn gather(types: Types, attrs: &Attrs) -> Inferred {
    expect_dtype("the index", types[1], INDEX)?;
    let axis = normalize_axis(attrs.int("axis"), types[0].rank())?;
    if types[0].shape[axis] == 0 && !types[1].is_empty() {
        return Err(format!("nothing to gather from axis {axis} of {}", types[0]));
    }
    let (before, after) = (&types[0].shape[..axis], &types[0].shape[axis + 1..]);
    Ok(TensorType::new(types[0].dtype, [before, &types[1].shape, after].concat()))
}

fn scatter_add(types: Types, attrs: &Attrs) -> Inferred {
    let (index, updates) = (types[0], types[1]);
    expect_dtype("updates", updates, &[DType::F32, DType::I32, DType::I64])?;
    expect_dtype("the index", index, INDEX)?;
    let size = usize::try_from(attrs.int("size")).map_err(|_| "'size' is negative")?;
    let rank = (updates.rank() + 1).checked_sub(index.rank()).filter(|&r| r > 0);
    let rank = rank.ok_or_else(|| format!("updates {updates} have fewer axes than {index}"))?;
    let axis = normalize_axis(attrs.int("axis"), rank)?;
    let end = axis + index.rank();
    if updates.shape[axis..end] != index.shape[..] {
        return Err(format!("updates {updates} do not have the axes of {index} at axis {axis}"));
    }
    if size == 0 && !index.is_empty() {
        return Err("nothing to scatter into".into());
    }
    let shape = [&updates.shape[..axis], &[size], &updates.shape[end..]].concat();
    Ok(TensorType::new(updates.dtype, shape))
}

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        name: "gather",
        onnx: &["Gather"],
        args: &["x", "index"],
        attrs: &[int("axis", 0)],
        doc: "Elements of x along `axis` at the given indices, whose axes take its place. A negative index \
              counts from the end; then it is clamped into the axis.",
        kind: Kind::Prim(Prim::Gather),
        shape: gather,
        grad: Grad::Rule(vjp::gather),
        ..Op::BLANK
    },
    Op {
        name: "scatter_add",
        args: &["index", "updates"],
        attrs: &[required("size", Int), int("axis", 0)],
        doc: "Adjoint of gather: `size` slots along `axis`, each the sum from +0 of the updates whose index \
              names it, in ascending order of the index's position.",
        kind: Kind::Prim(Prim::ScatterAdd),
        shape: scatter_add,
        cost: 3,
        grad: Grad::Rule(vjp::scatter_add),
        ..Op::BLANK
    },
];
