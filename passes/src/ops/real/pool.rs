//! Pooling: windows, then a maximum or a mean of each.

use super::contract::{WINDOW, Window};
use crate::build::Cx;
use crate::ir::{Attrs, DType, NodeId, Tensor, TensorType};
use crate::ops::shape::{Inferred, Types, sizes};
use crate::ops::{AttrSpec, AttrType, Bound, Op, Site, expect_dtype, flag, required};

/// The windows of a pooling, and how many elements `ceil_mode` adds after each axis.
struct Pooling {
    window: Window,
    out: Vec<usize>,
}

fn pooling(x: &TensorType, attrs: &Attrs) -> Result<Pooling, String> {
    expect_dtype("the operand", x, &[DType::F32])?;
    let kernel = sizes(attrs, "kernel")?;
    if x.rank() < 3 || kernel.len() != x.rank() - 2 {
        return Err(format!("{x} is not [batch, channels, spatial ...] of kernel {kernel:?}"));
    }
    let (mut window, spatial) = (Window::new(&kernel, attrs)?, &x.shape[2..]);
    if (0..kernel.len()).any(|i| window.lo[i].max(window.hi[i]) >= window.reach(i)) {
        return Err("a pad as large as the window would pool nothing".into());
    }
    let mut out = window.count(spatial)?;
    if attrs.flag("ceil_mode") {
        for i in 0..kernel.len() {
            // One window more where it starts inside the input or the padding before it.
            let start = out[i].saturating_mul(window.strides[i]);
            let end =
                (out[i] - 1).saturating_mul(window.strides[i]).saturating_add(window.reach(i));
            let padded = spatial[i].saturating_add(window.lo[i]).saturating_add(window.hi[i]);
            if end < padded && start < spatial[i].saturating_add(window.lo[i]) {
                out[i] += 1;
                window.hi[i] += start + window.reach(i) - padded;
            }
        }
    }
    Ok(Pooling { window, out })
}

fn pool_shape(types: Types, attrs: &Attrs) -> Inferred {
    let p = pooling(types[0], attrs)?;
    Ok(TensorType::f32([&types[0].shape[..2], &p.out[..]].concat()))
}

/// The windows of x, `value` in the padding, and the axes of the kernel.
fn windows(cx: &mut Cx<'_>, x: NodeId, p: &Pooling, value: f32) -> (NodeId, Vec<usize>) {
    let cols = cx.op_with("unfold", &[x], p.window.attrs().with("value", value));
    (cols, (2..2 + p.out.len()).collect())
}

fn max_pool(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    match pooling(&cx.ty(site.inputs[0]), site.attrs) {
        Ok(p) => {
            let (cols, axes) = windows(cx, site.inputs[0], &p, f32::NEG_INFINITY);
            cx.reduce_max(cols, &axes, false)
        }
        Err(e) => cx.fail(e),
    }
}

/// Along axis i, how many elements of each window count.
fn counted(p: &Pooling, spatial: usize, pads: &[usize], i: usize, whole: bool) -> Vec<usize> {
    let lo = p.window.lo[i];
    // Padding that only `ceil_mode` added never counts.
    let declared = pads.get(p.out.len() + i).copied().unwrap_or(0);
    let range = if whole { 0..spatial + lo + declared } else { lo..spatial + lo };
    let starts = (0..p.out[i]).map(|o| o * p.window.strides[i]);
    let taps = |s: usize| (0..p.window.kernel[i]).map(move |k| s + k * p.window.dilations[i]);
    starts.map(|s| taps(s).filter(|at| range.contains(at)).count()).collect()
}

fn avg_pool(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let x = cx.ty(site.inputs[0]);
    let p = match pooling(&x, site.attrs) {
        Ok(p) => p,
        Err(e) => return cx.fail(e),
    };
    let (cols, axes) = windows(cx, site.inputs[0], &p, 0.0);
    let total = cx.sum(cols, &axes, false);
    let (pads, whole) = (site.attrs.sizes("pads"), site.attrs.flag("count_include_pad"));
    let mut counts = vec![1f32];
    for i in 0..axes.len() {
        let along = counted(&p, x.shape[2 + i], &pads, i, whole);
        counts = counts.iter().flat_map(|c| along.iter().map(move |&n| c * n as f32)).collect();
    }
    if counts.iter().all(|c| *c == counts[0]) {
        return cx.div_const(total, counts[0]);
    }
    match Tensor::from_vec(&p.out, counts) {
        Some(counts) => {
            let counts = cx.constant(counts);
            cx.div(total, counts)
        }
        None => cx.fail("window counts do not fill the result"),
    }
}

fn global_shape(types: Types, _: &Attrs) -> Inferred {
    let x = types[0];
    expect_dtype("the operand", x, &[DType::F32])?;
    if x.rank() < 3 || x.shape[2..].contains(&0) {
        return Err(format!("{x} is not [batch, channels, spatial ...] with elements"));
    }
    let ones = vec![1; x.rank() - 2];
    Ok(TensorType::f32([&x.shape[..2], &ones].concat()))
}

fn spatial_axes(site: Site<'_>) -> Vec<usize> {
    (2..site.ty.rank()).collect()
}

fn global_avg_pool(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    cx.mean(site.inputs[0], &spatial_axes(site), true)
}

fn global_max_pool(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    cx.reduce_max(site.inputs[0], &spatial_axes(site), true)
}

const KERNEL: AttrSpec = required("kernel", AttrType::Ints);
const CEIL: AttrSpec = flag("ceil_mode", false);

const fn bound(rel: f64) -> Option<Bound> {
    Some(Bound::new(rel, 0.0, (0.1, 3.0)))
}

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        name: "max_pool",
        onnx: &["MaxPool"],
        args: &["x"],
        attrs: &[KERNEL, WINDOW[0], WINDOW[1], WINDOW[2], CEIL],
        doc: "Largest element of each window of [batch, channels, spatial ...].",
        shape: pool_shape,
        lower: Some(max_pool),
        bound: bound(0.0),
        cost: 10,
        ..Op::BLANK
    },
    Op {
        name: "avg_pool",
        onnx: &["AveragePool"],
        args: &["x"],
        attrs: &[KERNEL, WINDOW[0], WINDOW[1], WINDOW[2], CEIL, flag("count_include_pad", false)],
        doc: "Mean of each window of [batch, channels, spatial ...]: Σ ⊘ n, where n counts the padding \
              only with `count_include_pad`.",
        shape: pool_shape,
        lower: Some(avg_pool),
        bound: bound(0.1251),
        cost: 10,
        ..Op::BLANK
    },
    Op {
        name: "global_avg_pool",
        onnx: &["GlobalAveragePool"],
        args: &["x"],
        doc: "Mean over all spatial axes of [batch, channels, spatial ...], kept as 1: Σ ⊘ n.",
        shape: global_shape,
        lower: Some(global_avg_pool),
        bound: bound(0.1251),
        cost: 2,
        ..Op::BLANK
    },
    Op {
        name: "global_max_pool",
        onnx: &["GlobalMaxPool"],
        args: &["x"],
        doc: "Largest over all spatial axes of [batch, channels, spatial ...], kept as 1.",
        shape: global_shape,
        lower: Some(global_max_pool),
        bound: bound(0.0),
        cost: 1,
        ..Op::BLANK
    },
];
