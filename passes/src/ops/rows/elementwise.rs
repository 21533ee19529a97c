//! Elementwise primitives that mean the same in every arithmetic.

use crate::ir::{Attrs, DType, TensorType};
use crate::ops::shape::{Inferred, Types, compare, float, integer, logical, number, same};
use crate::ops::{AttrType, Grad, Kind, Op, Prim, ShapeFn, VjpFn, expect_dtype, required, vjp};

fn select(types: Types, _: &Attrs) -> Inferred {
    expect_dtype("the condition", types[0], &[DType::Bool])?;
    let value = same(&types[1..], &DType::ALL)?;
    let shape = crate::ops::broadcast_shapes(&[&types[0].shape, &value.shape])?;
    Ok(TensorType::new(value.dtype, shape))
}

fn cast(types: Types, attrs: &Attrs) -> Inferred {
    let to = attrs.dtype("to").ok_or("needs the attribute 'to'")?;
    Ok(TensorType::new(to, types[0].shape.clone()))
}

fn bitcast(types: Types, attrs: &Attrs) -> Inferred {
    let ty = cast(types, attrs)?;
    match (types[0].dtype, ty.dtype) {
        (DType::F32, DType::I32) | (DType::I32, DType::F32) => Ok(ty),
        (from, to) => Err(format!("no bit cast from {from} to {to}")),
    }
}

fn sign_like(types: Types, _: &Attrs) -> Inferred {
    same(types, &[DType::F32, DType::I32, DType::I64])
}

const fn unary(name: &'static str, prim: Prim, shape: ShapeFn, doc: &'static str) -> Op {
    Op { name, args: &["x"], doc, kind: Kind::Prim(prim), shape, ..Op::BLANK }
}

const fn binary(name: &'static str, prim: Prim, shape: ShapeFn, doc: &'static str) -> Op {
    Op { args: &["a", "b"], ..unary(name, prim, shape, doc) }
}

const fn no_grad(op: Op) -> Op {
    Op { grad: Grad::Zero, ..op }
}

const fn with_grad(rule: VjpFn, op: Op) -> Op {
    Op { grad: Grad::Rule(rule), ..op }
}

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        onnx: &["Add"],
        ..with_grad(
            vjp::pass,
            binary(
                "add",
                Prim::Add,
                number,
                "`a + b`; floats round to nearest even, integers wrap.",
            ),
        )
    },
    Op {
        onnx: &["Sub"],
        ..with_grad(
            vjp::sub,
            binary(
                "sub",
                Prim::Sub,
                number,
                "`a − b`; floats round to nearest even, integers wrap.",
            ),
        )
    },
    Op {
        onnx: &["Neg"],
        ..with_grad(
            vjp::neg,
            unary("neg", Prim::Neg, sign_like, "`−x`; flips the sign bit of a float."),
        )
    },
    Op {
        onnx: &["Abs"],
        ..with_grad(
            vjp::abs,
            unary("abs", Prim::Abs, sign_like, "`|x|`; clears the sign bit of a float."),
        )
    },
    Op {
        onnx: &["Min"],
        ..with_grad(
            vjp::min,
            binary("min", Prim::Min, number, "Smaller of two; propagates NaN, −0 below +0."),
        )
    },
    Op {
        onnx: &["Max"],
        ..with_grad(
            vjp::max,
            binary("max", Prim::Max, number, "Larger of two; propagates NaN, −0 below +0."),
        )
    },
    Op {
        onnx: &["Floor"],
        ..no_grad(unary("floor", Prim::Floor, float, "Largest integer not above x."))
    },
    Op {
        onnx: &["Round"],
        ..no_grad(unary("round", Prim::Round, float, "Nearest integer, ties to even."))
    },
    Op {
        onnx: &["Equal"],
        ..no_grad(binary("eq", Prim::Eq, compare, "`a = b`; false if either is NaN."))
    },
    no_grad(binary("ne", Prim::Ne, compare, "`a ≠ b`; true if either is NaN.")),
    Op {
        onnx: &["Less"],
        ..no_grad(binary("lt", Prim::Lt, compare, "`a < b`; false if either is NaN."))
    },
    Op {
        onnx: &["LessOrEqual"],
        ..no_grad(binary("le", Prim::Le, compare, "`a ≤ b`; false if either is NaN."))
    },
    Op {
        onnx: &["Greater"],
        ..no_grad(binary("gt", Prim::Gt, compare, "`a > b`; false if either is NaN."))
    },
    Op {
        onnx: &["GreaterOrEqual"],
        ..no_grad(binary("ge", Prim::Ge, compare, "`a ≥ b`; false if either is NaN."))
    },
    Op {
        onnx: &["And", "BitwiseAnd"],
        ..no_grad(binary(
            "and",
            Prim::And,
            logical,
            "Logical and of truth values, bitwise of integers.",
        ))
    },
    Op {
        onnx: &["Or", "BitwiseOr"],
        ..no_grad(binary(
            "or",
            Prim::Or,
            logical,
            "Logical or of truth values, bitwise of integers.",
        ))
    },
    Op {
        onnx: &["Xor", "BitwiseXor"],
        ..no_grad(binary(
            "xor",
            Prim::Xor,
            logical,
            "Exclusive or of truth values, bitwise of integers.",
        ))
    },
    Op {
        onnx: &["Not", "BitwiseNot"],
        ..no_grad(unary(
            "not",
            Prim::Not,
            logical,
            "Logical not of a truth value, bitwise of an integer.",
        ))
    },
    no_grad(binary(
        "shl",
        Prim::Shl,
        integer,
        "Shift left by `b` bits; 0 where `b` is not below the width.",
    )),
    no_grad(binary(
        "shr",
        Prim::Shr,
        integer,
        "Logical shift right by `b` bits; 0 where `b` is not below the width.",
    )),
    Op {
        name: "select",
        onnx: &["Where"],
        args: &["condition", "a", "b"],
        doc: "`a` where the condition is true, else `b`.",
        kind: Kind::Prim(Prim::Select),
        shape: select,
        grad: Grad::Rule(vjp::select),
        ..Op::BLANK
    },
    Op {
        attrs: &[required("to", AttrType::DType)],
        onnx: &["Cast"],
        grad: Grad::Rule(vjp::pass),
        ..unary(
            "cast",
            Prim::Cast,
            cast,
            "Convert the element type. Float to integer truncates and saturates, NaN gives 0; integer to \
             float rounds to nearest even; to `bool` is `≠ 0`; between integers wraps.",
        )
    },
    Op {
        attrs: &[required("to", AttrType::DType)],
        ..no_grad(unary(
            "bitcast",
            Prim::Bitcast,
            bitcast,
            "The same 32 bits as f32 or as i32; a subnormal f32 becomes a zero.",
        ))
    },
];
