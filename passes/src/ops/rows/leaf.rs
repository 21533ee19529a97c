//! Values that come from nowhere else: inputs, constants, index ramps, random bits.

use crate::ir::Attrs;
use crate::ir::{DType, TensorType};
use crate::ops::shape::{Inferred, Types, normalize_axis, sizes};
use crate::ops::{AttrType::*, Grad, Kind, Op, Prim, int, required};

fn declared(_: Types, attrs: &Attrs) -> Inferred {
    let dtype = attrs.dtype("dtype").ok_or("needs a dtype")?;
    Ok(TensorType::new(dtype, sizes(attrs, "shape")?))
}

fn constant(_: Types, attrs: &Attrs) -> Inferred {
    attrs.tensor("value").map(crate::ir::Tensor::ty).ok_or_else(|| "needs a value".into())
}

fn iota(types: Types, attrs: &Attrs) -> Inferred {
    let ty = declared(types, attrs)?;
    normalize_axis(attrs.int("axis"), ty.rank())?;
    crate::ops::expect_dtype("the result", &ty, &[DType::I32, DType::I64])?;
    Ok(ty)
}

fn random_bits(types: Types, attrs: &Attrs) -> Inferred {
    if *types[0] != TensorType::new(DType::I32, [2]) {
        return Err(format!("the key is {}, not i32[2]", types[0]));
    }
    Ok(TensorType::new(DType::I32, sizes(attrs, "shape")?))
}

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        name: "input",
        attrs: &[required("dtype", DType), required("shape", Ints)],
        doc: "A graph input; made only by declaring one.",
        kind: Kind::Prim(Prim::Input),
        shape: declared,
        grad: Grad::Zero,
        cost: 0,
        ..Op::BLANK
    },
    Op {
        name: "const",
        attrs: &[required("value", Tensor)],
        doc: "A constant tensor.",
        kind: Kind::Prim(Prim::Const),
        shape: constant,
        grad: Grad::Zero,
        cost: 0,
        ..Op::BLANK
    },
    Op {
        name: "iota",
        attrs: &[required("dtype", DType), required("shape", Ints), int("axis", 0)],
        doc: "Each element is its own index along `axis`.",
        kind: Kind::Prim(Prim::Iota),
        shape: iota,
        grad: Grad::Zero,
        cost: 0,
        ..Op::BLANK
    },
    Op {
        name: "random_bits",
        args: &["key"],
        attrs: &[required("shape", Ints), int("stream", 0)],
        doc: "32 random bits an element: the first output word of Threefry-2x32-20 under `key` (i32[2]) \
              for the counter (row-major element index, `stream`). Adds, rotates and xors only.",
        kind: Kind::Prim(Prim::RandomBits),
        shape: random_bits,
        grad: Grad::Zero,
        cost: 70,
        ..Op::BLANK
    },
];
