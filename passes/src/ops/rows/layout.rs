//! Primitives that only move elements.

use crate::ir::{Attrs, DType, TensorType};
use crate::ops::shape::{Inferred, Types, expect_len, normalize_axis, sizes};
use crate::ops::{
    AttrType::Ints, Grad, Kind, Op, Prim, broadcast_shapes, float, int, ints, required, vjp,
};

fn reshape(types: Types, attrs: &Attrs) -> Inferred {
    let ty = TensorType::new(types[0].dtype, sizes(attrs, "shape")?);
    if ty.len() == types[0].len() {
        Ok(ty)
    } else {
        Err(format!("{} elements of {} do not make {ty}", types[0].len(), types[0]))
    }
}

fn transpose(types: Types, attrs: &Attrs) -> Inferred {
    let (perm, rank) = (sizes(attrs, "perm")?, types[0].rank());
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(format!("{perm:?} is no permutation of the {rank} axes of {}", types[0]));
    }
    let shape: Vec<_> = perm.iter().map(|&p| types[0].shape[p]).collect();
    Ok(TensorType::new(types[0].dtype, shape))
}

fn broadcast(types: Types, attrs: &Attrs) -> Inferred {
    let to = sizes(attrs, "shape")?;
    if broadcast_shapes(&[&types[0].shape, &to])? != to {
        return Err(format!("{} does not broadcast to {to:?}", types[0]));
    }
    Ok(TensorType::new(types[0].dtype, to))
}

fn concat(types: Types, attrs: &Attrs) -> Inferred {
    let axis = normalize_axis(attrs.int("axis"), types[0].rank())?;
    let mut out = types[0].clone();
    for t in &types[1..] {
        let fits = t.dtype == out.dtype
            && t.rank() == out.rank()
            && (0..out.rank()).all(|i| i == axis || t.shape[i] == out.shape[i]);
        if !fits {
            return Err(format!("{} and {t} differ beside axis {axis}", types[0]));
        }
        out.shape[axis] += t.shape[axis];
    }
    Ok(out)
}

fn slice(types: Types, attrs: &Attrs) -> Inferred {
    let x = types[0];
    ["starts", "sizes", "steps"].iter().try_for_each(|n| expect_len(attrs, n, x.rank()))?;
    let out = sizes(attrs, "sizes")?;
    for (i, &n) in out.iter().enumerate() {
        let (start, step) = (attrs.ints("starts")[i], attrs.ints("steps")[i]);
        let last = (n as i64 - 1).checked_mul(step).and_then(|d| d.checked_add(start));
        let range = 0..x.shape[i] as i64;
        if n > 0 && !(range.contains(&start) && last.is_some_and(|l| range.contains(&l))) {
            return Err(format!("{n} elements from {start} by {step} leave axis {i} of {x}"));
        }
    }
    Ok(TensorType::new(x.dtype, out))
}

fn pad(types: Types, attrs: &Attrs) -> Inferred {
    let x = types[0];
    ["lo", "hi", "interior"].iter().try_for_each(|n| expect_len(attrs, n, x.rank()))?;
    let (lo, hi, interior) = (sizes(attrs, "lo")?, sizes(attrs, "hi")?, sizes(attrs, "interior")?);
    let shape: Vec<_> = (0..x.rank())
        .map(|i| lo[i] + hi[i] + x.shape[i] + x.shape[i].saturating_sub(1) * interior[i])
        .collect();
    Ok(TensorType::new(x.dtype, shape))
}

/// Extent of the output of a window along each spatial axis, from the padded input's.
pub(crate) fn windows(spatial: &[usize], attrs: &Attrs) -> Result<Vec<usize>, String> {
    let n = spatial.len();
    let names = ["kernel", "strides", "dilations", "pads_lo", "pads_hi"];
    names.iter().try_for_each(|name| expect_len(attrs, name, n))?;
    let lists: Vec<Vec<usize>> = names.iter().map(|n| sizes(attrs, n)).collect::<Result<_, _>>()?;
    (0..n)
        .map(|i| {
            let [k, s, d, lo, hi] = std::array::from_fn(|j| lists[j][i]);
            if k == 0 || s == 0 || d == 0 {
                return Err("a window's kernel, stride and dilation must be at least 1".into());
            }
            let (padded, reach) = (spatial[i] + lo + hi, (k - 1) * d + 1);
            if padded < reach {
                return Err(format!("a window of reach {reach} over {padded} elements"));
            }
            Ok((padded - reach) / s + 1)
        })
        .collect()
}

fn unfold(types: Types, attrs: &Attrs) -> Inferred {
    let x = types[0];
    crate::ops::expect_dtype("the operand", x, &[DType::F32])?;
    if x.rank() < 3 {
        return Err(format!("{x} is not [batch, channels, spatial ...]"));
    }
    let out = windows(&x.shape[2..], attrs)?;
    let shape = [&x.shape[..2], &sizes(attrs, "kernel")?, &out].concat();
    Ok(TensorType::f32(shape))
}

fn fold(types: Types, attrs: &Attrs) -> Inferred {
    let (x, spatial) = (types[0], sizes(attrs, "spatial")?);
    crate::ops::expect_dtype("the operand", x, &[DType::F32])?;
    let out = windows(&spatial, attrs)?;
    if x.rank() < 2 || x.shape[2..] != [&sizes(attrs, "kernel")?[..], &out].concat() {
        return Err(format!(
            "{x} is not [batch, channels, kernel ..., windows ...] of {spatial:?}"
        ));
    }
    Ok(TensorType::f32([&x.shape[..2], &spatial].concat()))
}

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        name: "reshape",
        onnx: &["Reshape", "Flatten", "Squeeze", "Unsqueeze"],
        args: &["x"],
        attrs: &[required("shape", Ints)],
        doc: "The same elements in row-major order under another shape.",
        kind: Kind::Prim(Prim::Reshape),
        shape: reshape,
        cost: 0,
        grad: Grad::Rule(vjp::reshape),
        ..Op::BLANK
    },
    Op {
        name: "transpose",
        onnx: &["Transpose"],
        args: &["x"],
        attrs: &[required("perm", Ints)],
        doc: "Axis i of the result is axis `perm[i]` of x.",
        kind: Kind::Prim(Prim::Transpose),
        shape: transpose,
        cost: 1,
        grad: Grad::Rule(vjp::transpose),
        ..Op::BLANK
    },
    Op {
        name: "expand",
        onnx: &["Expand"],
        args: &["x"],
        attrs: &[required("shape", Ints)],
        doc: "Broadcast to `shape` by numpy's rule.",
        kind: Kind::Prim(Prim::Broadcast),
        shape: broadcast,
        cost: 0,
        grad: Grad::Rule(vjp::pass),
        ..Op::BLANK
    },
    Op {
        name: "concat",
        onnx: &["Concat"],
        args: &["xs..."],
        attrs: &[int("axis", 0)],
        doc: "One after the other along `axis`.",
        kind: Kind::Prim(Prim::Concat),
        shape: concat,
        grad: Grad::Rule(vjp::concat),
        ..Op::BLANK
    },
    Op {
        name: "slice",
        onnx: &["Slice", "Split"],
        args: &["x"],
        attrs: &[required("starts", Ints), required("sizes", Ints), required("steps", Ints)],
        doc: "`sizes[i]` elements of axis i from `starts[i]` on, every `steps[i]`-th; a negative step runs backwards.",
        kind: Kind::Prim(Prim::Slice),
        shape: slice,
        grad: Grad::Rule(vjp::slice),
        ..Op::BLANK
    },
    Op {
        name: "pad",
        onnx: &["Pad"],
        args: &["x"],
        attrs: &[
            required("lo", Ints),
            required("hi", Ints),
            required("interior", Ints),
            float("value", 0.0),
        ],
        doc: "`lo` elements before, `hi` after and `interior` between the elements of each axis, all `value`.",
        kind: Kind::Prim(Prim::Pad),
        shape: pad,
        grad: Grad::Rule(vjp::pad),
        ..Op::BLANK
    },
    Op {
        name: "unfold",
        args: &["x"],
        attrs: &[
            required("kernel", Ints),
            required("strides", Ints),
            required("dilations", Ints),
            required("pads_lo", Ints),
            required("pads_hi", Ints),
            float("value", 0.0),
        ],
        doc: "Sliding windows: [batch, channels, spatial ...] to [batch, channels, kernel ..., windows ...]; \
              positions in the padding read `value`.",
        kind: Kind::Prim(Prim::Unfold),
        shape: unfold,
        grad: Grad::Rule(vjp::unfold),
        ..Op::BLANK
    },
    Op {
        name: "fold",
        args: &["x"],
        attrs: &[
            required("kernel", Ints),
            required("strides", Ints),
            required("dilations", Ints),
            required("pads_lo", Ints),
            required("pads_hi", Ints),
            ints("spatial", &[]),
        ],
        doc: "Adjoint of unfold: every window element added to the position it was read from, from +0 in \
              ascending order of the kernel index.",
        kind: Kind::Prim(Prim::Fold),
        shape: fold,
        grad: Grad::Rule(vjp::fold),
        ..Op::BLANK
    },
];
