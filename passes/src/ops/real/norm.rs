//! Means and normalizations.

use crate::build::Cx;
use crate::ir::{Attrs, DType, NodeId, TensorType};
use crate::ops::shape::{Inferred, Types, axes_of, normalize_axis, reduced};
use crate::ops::{
    AttrSpec, AttrType, Bound, Op, Site, expect_dtype, flag, float, int, ints, required,
};

const EPS: AttrSpec = float("eps", 1e-5);

fn mean(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let axes = axes_of(site.attrs, cx.shape(site.inputs[0]).len()).unwrap_or_default();
    cx.mean(site.inputs[0], &axes, site.attrs.flag("keepdims"))
}

fn mean_shape(types: Types, attrs: &Attrs) -> Inferred {
    let x = types[0];
    expect_dtype("the operand", x, &[DType::F32])?;
    let axes = axes_of(attrs, x.rank())?;
    Ok(TensorType::f32(reduced(&x.shape, &axes, attrs.flag("keepdims"))))
}

/// x less its mean over axes.
fn centred(cx: &mut Cx<'_>, x: NodeId, axes: &[usize]) -> NodeId {
    let m = cx.mean(x, axes, true);
    cx.sub(x, m)
}

/// c ⊘ pasqrt(mean(c ⊙ c) + ε), the mean over axes.
fn scaled(cx: &mut Cx<'_>, c: NodeId, axes: &[usize], eps: f32) -> NodeId {
    let square = cx.mul(c, c);
    let variance = cx.mean(square, axes, true);
    by_deviation(cx, c, variance, eps)
}

/// c ⊘ pasqrt(v + ε).
fn by_deviation(cx: &mut Cx<'_>, c: NodeId, variance: NodeId, eps: f32) -> NodeId {
    let shifted = cx.add_const(variance, eps);
    let deviation = cx.sqrt(shifted);
    cx.div(c, deviation)
}

/// y ⊙ γ + β; either may be absent.
fn affine(cx: &mut Cx<'_>, y: NodeId, gamma: Option<NodeId>, beta: Option<NodeId>) -> NodeId {
    let y = gamma.map_or(y, |g| cx.mul(y, g));
    beta.map_or(y, |b| cx.add(y, b))
}

fn trailing(cx: &Cx<'_>, site: Site<'_>) -> Vec<usize> {
    let rank = cx.graph().shape(site.inputs[0]).len();
    (normalize_axis(site.attrs.int("axis"), rank).unwrap_or(0)..rank).collect()
}

fn layer_norm(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let axes = trailing(cx, site);
    let c = centred(cx, site.inputs[0], &axes);
    let y = scaled(cx, c, &axes, site.attrs.float("eps"));
    affine(cx, y, site.inputs.get(1).copied(), site.inputs.get(2).copied())
}

fn rms_norm(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let axes = trailing(cx, site);
    let y = scaled(cx, site.inputs[0], &axes, site.attrs.float("eps"));
    affine(cx, y, site.inputs.get(1).copied(), None)
}

/// γ and β, where given, have the shape of the normalized axes.
fn trailing_shape(types: Types, attrs: &Attrs) -> Inferred {
    let x = types[0];
    expect_dtype("the operand", x, &[DType::F32])?;
    let axis = normalize_axis(attrs.int("axis"), x.rank())?;
    for (what, t) in ["gamma", "beta"].iter().zip(&types[1..]) {
        expect_dtype(what, t, &[DType::F32])?;
        if t.shape != x.shape[axis..] {
            return Err(format!(
                "{what} is {t}, but {x} is normalized over {:?}",
                &x.shape[axis..]
            ));
        }
    }
    Ok(x.clone())
}

/// A vector over the channels (axis 1 of `rank`), to broadcast against the whole.
fn per_channel(cx: &mut Cx<'_>, v: NodeId, rank: usize, axis: usize) -> NodeId {
    let mut shape = vec![1; rank - axis];
    shape[0] = cx.shape(v)[0];
    cx.reshape(v, &shape)
}

/// Every operand after x is a vector over the channels.
fn channel_shape(types: Types, axis: i64) -> Inferred {
    let x = types[0];
    expect_dtype("the operand", x, &[DType::F32])?;
    let axis = normalize_axis(axis, x.rank())?;
    for (i, t) in types[1..].iter().enumerate() {
        if **t != TensorType::f32([x.shape[axis]]) {
            let n = x.shape[axis];
            return Err(format!("operand {} is {t}, but {x} has {n} channels", i + 2));
        }
    }
    Ok(x.clone())
}

fn batch_norm(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let rank = site.ty.rank();
    let axis = normalize_axis(site.attrs.int("axis"), rank).unwrap_or(0);
    let [gamma, beta, mean, variance] =
        std::array::from_fn(|i| per_channel(cx, site.inputs[i + 1], rank, axis));
    let c = cx.sub(site.inputs[0], mean);
    let y = by_deviation(cx, c, variance, site.attrs.float("eps"));
    affine(cx, y, Some(gamma), Some(beta))
}

/// Channels in groups, each group of each sample normalized by itself.
fn grouped(cx: &mut Cx<'_>, site: Site<'_>, groups: usize) -> NodeId {
    let shape = site.ty.shape.clone();
    let inner = site.ty.len().checked_div(shape[0] * groups).unwrap_or(0);
    let x = cx.reshape(site.inputs[0], &[shape[0], groups, inner]);
    let c = centred(cx, x, &[2]);
    let y = scaled(cx, c, &[2], site.attrs.float("eps"));
    let y = cx.reshape(y, &shape);
    let [gamma, beta] =
        std::array::from_fn(|i| per_channel(cx, site.inputs[i + 1], shape.len(), 1));
    affine(cx, y, Some(gamma), Some(beta))
}

fn group_norm(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    grouped(cx, site, usize::try_from(site.attrs.int("groups")).unwrap_or(1))
}

fn instance_norm(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    grouped(cx, site, site.ty.shape[1])
}

fn group_shape(types: Types, attrs: &Attrs) -> Inferred {
    let ty = channel_shape(types, 1)?;
    let (groups, channels) = (attrs.int("groups"), ty.shape[1] as i64);
    if groups < 1 || channels % groups != 0 {
        return Err(format!("{channels} channels do not split into {groups} groups"));
    }
    Ok(ty)
}

const fn bound(rel: f64, abs: f64) -> Option<Bound> {
    Some(Bound::new(rel, abs, (-3.0, 3.0)))
}

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        name: "mean",
        onnx: &["ReduceMean"],
        args: &["x"],
        attrs: &[ints("axes", &[]), flag("keepdims", false)],
        doc: "Mean over `axes` (all, if none are given): Σ ⊘ n.",
        shape: mean_shape,
        lower: Some(mean),
        bound: bound(0.1251, 0.0),
        cost: 2,
        ..Op::BLANK
    },
    Op {
        name: "layer_norm",
        onnx: &["LayerNormalization"],
        args: &["x", "gamma?", "beta?"],
        attrs: &[int("axis", -1), EPS],
        doc: "Over the axes from `axis` on: c = x − mean(x); v = mean(c ⊙ c); \
              (c ⊘ pasqrt(v + eps)) ⊙ gamma + beta.",
        shape: trailing_shape,
        lower: Some(layer_norm),
        bound: bound(0.2, 0.1),
        cost: 20,
        ..Op::BLANK
    },
    Op {
        name: "rms_norm",
        onnx: &["RMSNormalization", "SimplifiedLayerNormalization"],
        args: &["x", "gamma?"],
        attrs: &[int("axis", -1), EPS],
        doc: "Over the axes from `axis` on: (x ⊘ pasqrt(mean(x ⊙ x) + eps)) ⊙ gamma.",
        shape: trailing_shape,
        lower: Some(rms_norm),
        bound: bound(0.2, 0.0),
        cost: 20,
        ..Op::BLANK
    },
    Op {
        name: "batch_norm",
        onnx: &["BatchNormalization"],
        args: &["x", "gamma", "beta", "mean", "variance"],
        attrs: &[int("axis", 1), EPS],
        doc: "By the given statistics of each channel (`axis`): \
              ((x − mean) ⊘ pasqrt(variance + eps)) ⊙ gamma + beta. Training feeds the batch's own.",
        shape: |t, a| channel_shape(t, a.int("axis")),
        lower: Some(batch_norm),
        bound: bound(0.25, 0.1),
        cost: 15,
        ..Op::BLANK
    },
    Op {
        name: "group_norm",
        onnx: &["GroupNormalization"],
        args: &["x", "gamma", "beta"],
        attrs: &[required("groups", AttrType::Int), EPS],
        doc: "Layer norm of each of `groups` groups of channels (axis 1) of each sample, then \
              ⊙ gamma + beta channel by channel.",
        shape: group_shape,
        lower: Some(group_norm),
        bound: bound(0.25, 0.2),
        cost: 20,
        ..Op::BLANK
    },
    Op {
        name: "instance_norm",
        onnx: &["InstanceNormalization"],
        args: &["x", "gamma", "beta"],
        attrs: &[EPS],
        doc: "Layer norm of each channel (axis 1) of each sample, then ⊙ gamma + beta.",
        shape: |t, _| channel_shape(t, 1),
        lower: Some(instance_norm),
        bound: bound(0.25, 0.2),
        cost: 20,
        ..Op::BLANK
    },
];
