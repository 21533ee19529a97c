//! Losses; what they make belongs to the loss region, where derivatives are exact by default.

use super::activation::log1p_exp_minus;
use super::curve::{self, relu};
use super::softmax::log_sum_exp;
use crate::build::Cx;
use crate::ir::{Attrs, DType, NodeId, Region, TensorType};
use crate::ops::shape::{Inferred, Types, normalize_axis, same};
use crate::ops::{AttrSpec, AttrType, Bound, Default, Op, Site, expect_dtype, float, int};

const REDUCTION: AttrSpec =
    AttrSpec { name: "reduction", ty: AttrType::Str, default: Default::Str("mean") };
const IGNORE: AttrSpec =
    AttrSpec { name: "ignore_index", ty: AttrType::Int, default: Default::Absent };

/// Type after the reduction of losses of the given shape.
fn after(attrs: &Attrs, shape: Vec<usize>) -> Inferred {
    match attrs.str("reduction") {
        "none" => Ok(TensorType::f32(shape)),
        "mean" | "sum" => Ok(TensorType::f32([])),
        other => Err(format!("'reduction' is \"mean\", \"sum\" or \"none\", not \"{other}\"")),
    }
}

/// A loss of prediction and target, element by element.
fn pair_shape(types: Types, attrs: &Attrs) -> Inferred {
    after(attrs, same(types, &[DType::F32])?.shape)
}

/// Logits or log-probabilities, labels without the class axis, class weights.
fn class_shape(types: Types, attrs: &Attrs) -> Inferred {
    let (x, labels) = (types[0], types[1]);
    expect_dtype("operand 1", x, &[DType::F32])?;
    expect_dtype("the labels", labels, &[DType::I32, DType::I64])?;
    let axis = normalize_axis(attrs.int("axis"), x.rank())?;
    let mut rows = x.shape.clone();
    let classes = rows.remove(axis);
    if labels.shape != rows {
        return Err(format!("labels {labels} do not fit {x} with its classes along axis {axis}"));
    }
    if classes == 0 {
        return Err(format!("{x} has no classes along axis {axis}"));
    }
    if let Some(w) = types.get(2).filter(|w| ***w != TensorType::f32([classes])) {
        return Err(format!("class weights are {w}, not f32[{classes}]"));
    }
    let s = attrs.float("label_smoothing");
    if !(0.0..=1.0).contains(&s) {
        return Err(format!("label_smoothing {s} is not in [0, 1]"));
    }
    after(attrs, rows)
}

/// Put everything made from here on into the loss region.
fn enter(cx: &mut Cx<'_>) {
    cx.origin = cx.origin.clone().in_region(Region::Loss);
}

/// All axes of a value.
fn all(cx: &Cx<'_>, x: NodeId) -> Vec<usize> {
    (0..cx.graph().shape(x).len()).collect()
}

/// Reduce losses as the attribute says; `count` is what a mean divides by, if not their number.
fn reduce(cx: &mut Cx<'_>, site: Site<'_>, losses: NodeId, count: Option<NodeId>) -> NodeId {
    let axes = all(cx, losses);
    match (site.attrs.str("reduction"), count) {
        ("none", _) => losses,
        ("mean", None) => cx.mean(losses, &axes, false),
        ("mean", Some(count)) => {
            let total = cx.sum(losses, &axes, false);
            cx.div(total, count)
        }
        _ => cx.sum(losses, &axes, false),
    }
}

fn mse_loss(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    enter(cx);
    let d = cx.sub(site.inputs[0], site.inputs[1]);
    let square = cx.mul(d, d);
    reduce(cx, site, square, None)
}

fn l1_loss(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    enter(cx);
    let d = cx.sub(site.inputs[0], site.inputs[1]);
    let size = curve::magnitude(cx, d);
    reduce(cx, site, size, None)
}

fn bce_with_logits(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    enter(cx);
    let (x, target) = (site.inputs[0], site.inputs[1]);
    let (straight, product) = (relu(cx, x), cx.mul(x, target));
    let (line, rest) = (cx.sub(straight, product), log1p_exp_minus(cx, x));
    let losses = cx.add(line, rest);
    reduce(cx, site, losses, None)
}

/// A classification loss in the making: the class axis (kept as 1 until the end), where each row's
/// label is, and which rows count.
struct Rows<'a> {
    site: Site<'a>,
    axis: usize,
    classes: usize,
    hit: NodeId,
    counts: Option<NodeId>,
}

impl<'a> Rows<'a> {
    fn new(cx: &mut Cx<'_>, site: Site<'a>) -> Self {
        let (shape, labels) = (cx.shape(site.inputs[0]), site.inputs[1]);
        let axis = normalize_axis(site.attrs.int("axis"), shape.len()).unwrap_or(0);
        let (dtype, mut kept, mut ramp) = (cx.ty(labels).dtype, shape.clone(), vec![1]);
        kept[axis] = 1;
        ramp.resize(shape.len() - axis, 1);
        ramp[0] = shape[axis];
        let (classes, column) = (cx.iota(dtype, &ramp, 0), cx.reshape(labels, &kept));
        let hit = cx.eq(classes, column);
        let counts = site.attrs.get("ignore_index").is_some().then(|| {
            let ignored = site.attrs.int("ignore_index");
            let ignored = match dtype {
                DType::I64 => cx.scalar(ignored),
                _ => cx.scalar(i32::try_from(ignored).unwrap_or(i32::MIN)),
            };
            cx.ne(column, ignored)
        });
        Rows { site, axis, classes: shape[axis], hit, counts }
    }

    /// Of each row the element at its label, 0 if there is none.
    fn picked(&self, cx: &mut Cx<'_>, x: NodeId) -> NodeId {
        let zero = cx.scalar(0f32);
        let x = cx.select(self.hit, x, zero);
        cx.sum(x, &[self.axis], true)
    }

    /// The class weights, to broadcast against the logits.
    fn weights(&self, cx: &mut Cx<'_>) -> Option<NodeId> {
        let w = *self.site.inputs.get(2)?;
        let rank = cx.shape(self.site.inputs[0]).len();
        let mut shape = vec![1; rank - self.axis];
        shape[0] = self.classes;
        Some(cx.reshape(w, &shape))
    }

    /// Zero where a row does not count.
    fn counted(&self, cx: &mut Cx<'_>, x: NodeId) -> NodeId {
        let Some(counts) = self.counts else { return x };
        let zero = cx.scalar(0f32);
        cx.select(counts, x, zero)
    }

    /// Reduce weighted row losses: a mean divides by the weights of the rows that count, at least
    /// by the smallest normal number, so that nothing to count makes a loss of 0.
    fn reduce(&self, cx: &mut Cx<'_>, losses: NodeId, weight: Option<NodeId>) -> NodeId {
        let losses = self.counted(cx, losses);
        let weight = match (weight, self.counts) {
            (Some(w), _) => Some(self.counted(cx, w)),
            (None, Some(counts)) => Some(cx.cast(counts, DType::F32)),
            (None, None) => None,
        };
        let count = weight.filter(|_| self.site.attrs.str("reduction") == "mean").map(|w| {
            let axes = all(cx, w);
            let (total, least) = (cx.sum(w, &axes, false), cx.scalar(f32::MIN_POSITIVE));
            cx.max(total, least)
        });
        let y = reduce(cx, self.site, losses, count);
        cx.reshape(y, &self.site.ty.shape)
    }
}

fn nll_loss(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    enter(cx);
    let rows = Rows::new(cx, site);
    let picked = rows.picked(cx, site.inputs[0]);
    let mut losses = cx.neg(picked);
    let weight = rows.weights(cx).map(|w| rows.picked(cx, w));
    if let Some(w) = weight {
        losses = cx.mul(losses, w);
    }
    rows.reduce(cx, losses, weight)
}

fn cross_entropy(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    enter(cx);
    let rows = Rows::new(cx, site);
    let (x, s) = (site.inputs[0], site.attrs.float("label_smoothing"));
    let lse = log_sum_exp(cx, x, &[rows.axis]);
    let picked = rows.picked(cx, x);
    let mut losses = cx.sub(lse, picked);
    let weights = rows.weights(cx);
    let weight = weights.map(|w| rows.picked(cx, w));
    if let Some(w) = weight {
        losses = cx.mul(losses, w);
    }
    if s != 0.0 {
        let uniform = match weights {
            None => {
                let mean = cx.mean(x, &[rows.axis], true);
                cx.sub(lse, mean)
            }
            Some(w) => {
                let far = cx.sub(lse, x);
                let far = cx.mul(far, w);
                cx.mean(far, &[rows.axis], true)
            }
        };
        losses = cx.mul_const(losses, 1.0 - s);
        let uniform = cx.mul_const(uniform, s);
        losses = cx.add(losses, uniform);
    }
    rows.reduce(cx, losses, weight)
}

const fn bound(rel: f64, abs: f64) -> Option<Bound> {
    Some(Bound::new(rel, abs, (-3.0, 3.0)))
}

const fn pair(name: &'static str, doc: &'static str) -> Op {
    Op {
        name,
        args: &["prediction", "target"],
        attrs: &[REDUCTION],
        doc,
        shape: pair_shape,
        cost: 10,
        ..Op::BLANK
    }
}

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        name: "cross_entropy",
        onnx: &["SoftmaxCrossEntropyLoss"],
        args: &["logits", "labels", "weights?"],
        attrs: &[REDUCTION, IGNORE, float("label_smoothing", 0.0), int("axis", -1)],
        doc: "Of each row along `axis`: logsumexp(logits) − the logit at the label; smoothed by s it is \
              (1 − s) ⊙ that + s ⊙ (logsumexp − mean logit); ⊙ the label's class weight. A mean divides \
              by the number (or weights) of the rows whose label is not `ignore_index`.",
        shape: class_shape,
        lower: Some(cross_entropy),
        bound: bound(0.15, 0.061),
        cost: 80,
        ..Op::BLANK
    },
    Op {
        name: "nll_loss",
        onnx: &["NegativeLogLikelihoodLoss"],
        args: &["log_probabilities", "labels", "weights?"],
        attrs: &[REDUCTION, IGNORE, int("axis", -1)],
        doc: "Of each row along `axis`: − the log-probability at the label, ⊙ the label's class weight. A \
              mean divides by the number (or weights) of the rows whose label is not `ignore_index`.",
        shape: class_shape,
        lower: Some(nll_loss),
        bound: bound(0.13, 0.0),
        cost: 10,
        ..Op::BLANK
    },
    Op {
        lower: Some(mse_loss),
        bound: bound(0.13, 0.0),
        ..pair("mse_loss", "Squared difference, d ⊙ d, then the reduction.")
    },
    Op {
        lower: Some(l1_loss),
        bound: bound(0.13, 0.0),
        ..pair("l1_loss", "Absolute difference, then the reduction.")
    },
    Op {
        lower: Some(bce_with_logits),
        bound: bound(0.15, 0.061),
        cost: 60,
        ..pair(
            "bce_with_logits",
            "Binary cross entropy of logits x and targets t: relu(x) − x ⊙ t + ln(1 + e^−|x|), the last as \
             in softplus; then the reduction.",
        )
    },
];
