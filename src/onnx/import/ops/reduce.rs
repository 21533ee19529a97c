//! Reductions and scans.

use pamc_passes::ir::{Attrs, DType, Tensor};

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, invalid};

type Out = Made<Vec<Value>>;

struct Over {
    x: Value,
    axes: Vec<usize>,
    keep: bool,
}

/// Operand, axes and `keepdims`; `since` is the opset from which the axes are an operand.
fn over(s: &mut Site, since: i64) -> Made<Over> {
    let x = s.input(0)?;
    let rank = s.b.rank(&x);
    let given = s.ints_moved("axes", since, 1)?.unwrap_or_default();
    let none = s.flag("noop_with_empty_axes", false)?;
    let axes = if given.is_empty() && !none { (0..rank).collect() } else { s.axes(&given, rank)? };
    Ok(Over { x, axes, keep: s.flag("keepdims", true)? })
}

fn plain(s: &mut Site, since: i64, name: &str) -> Out {
    let Over { x, axes, keep } = over(s, since)?;
    let shape = s.b.shape(&x);
    if axes.iter().any(|&a| shape[a] == 0)
        && let Some(empty) = of_nothing(s, &x, name)?
    {
        let kept = |i: usize| if !axes.contains(&i) { Some(shape[i]) } else { keep.then_some(1) };
        let out: Vec<usize> = (0..shape.len()).filter_map(kept).collect();
        return Ok(vec![s.b.expand(&empty, &out)?]);
    }
    let truth = s.b.dtype(&x) == DType::Bool;
    let x = if truth { s.b.cast(&x, DType::I32)? } else { x };
    let y = s.b.reduce(name, &x, &axes, keep)?;
    Ok(vec![if truth { s.b.cast(&y, DType::Bool)? } else { y }])
}

/// What an extremum of no elements is.
fn of_nothing(s: &Site, x: &Value, name: &str) -> Made<Option<Value>> {
    let high = name == "reduce_min";
    if !matches!(name, "reduce_max" | "reduce_min" | "logsumexp") {
        return Ok(None);
    }
    Ok(Some(Value::Const(match s.b.dtype(x) {
        DType::F32 => Tensor::scalar(if high { f32::INFINITY } else { f32::NEG_INFINITY }),
        DType::I32 => Tensor::scalar(if high { i32::MAX } else { i32::MIN }),
        DType::I64 => Tensor::scalar(if high { i64::MAX } else { i64::MIN }),
        DType::Bool => Tensor::scalar(high),
    })))
}

pub(in crate::onnx) fn sum(s: &mut Site) -> Out {
    plain(s, 13, "sum")
}

pub(in crate::onnx) fn mean(s: &mut Site) -> Out {
    plain(s, 18, "mean")
}

pub(in crate::onnx) fn max(s: &mut Site) -> Out {
    plain(s, 18, "reduce_max")
}

pub(in crate::onnx) fn min(s: &mut Site) -> Out {
    plain(s, 18, "reduce_min")
}

/// The product over axes: halves multiplied until one element is left.
pub(in crate::onnx) fn product(s: &mut Site) -> Out {
    let Over { x, axes, keep } = over(s, 18)?;
    if axes.is_empty() {
        return Ok(vec![x]);
    }
    let shape = s.b.shape(&x);
    let kept: Vec<usize> = (0..shape.len()).filter(|i| !axes.contains(i)).collect();
    let mut out: Vec<usize> = kept.iter().map(|&i| shape[i]).collect();
    let n: usize = axes.iter().map(|&i| shape[i]).product();
    let rows: usize = out.iter().product();
    let x = s.b.transpose(&x, &[&kept[..], &axes].concat())?;
    let mut x = s.b.reshape(&x, &[rows, n])?;
    if n == 0 {
        let one = s.b.scalar_as(&x, 1);
        x = s.b.expand(&one, &[rows, 1])?;
    }
    let mut left = n;
    while left > 1 {
        let half = left / 2;
        let (a, b) = (s.b.slice(&x, 1, 0, half)?, s.b.slice(&x, 1, half, half)?);
        let mut y = s.b.mul(&a, &b)?;
        if left % 2 == 1 {
            let last = s.b.slice(&x, 1, left - 1, 1)?;
            y = s.b.concat(&[&y, &last], 1)?;
        }
        (x, left) = (y, left - half);
    }
    if keep {
        out = (0..shape.len()).map(|i| if axes.contains(&i) { 1 } else { shape[i] }).collect();
    }
    Ok(vec![s.b.reshape(&x, &out)?])
}

pub(in crate::onnx) fn sum_square(s: &mut Site) -> Out {
    let Over { x, axes, keep } = over(s, 18)?;
    let square = s.b.mul(&x, &x)?;
    Ok(vec![s.b.sum(&square, &axes, keep)?])
}

pub(in crate::onnx) fn l1(s: &mut Site) -> Out {
    let Over { x, axes, keep } = over(s, 18)?;
    let size = s.b.op("abs", &[&x], Attrs::none())?;
    Ok(vec![s.b.sum(&size, &axes, keep)?])
}

pub(in crate::onnx) fn l2(s: &mut Site) -> Out {
    let square = sum_square(s)?;
    Ok(vec![s.b.sqrt(&square[0])?])
}

pub(in crate::onnx) fn log_sum(s: &mut Site) -> Out {
    let total = plain(s, 18, "sum")?;
    Ok(vec![s.b.log(&total[0])?])
}

pub(in crate::onnx) fn log_sum_exp(s: &mut Site) -> Out {
    plain(s, 18, "logsumexp")
}

fn arg(s: &mut Site, name: &str) -> Out {
    let x = s.input(0)?;
    let axis = s.int("axis", 0)?;
    let attrs = Attrs::none()
        .with("axis", s.axis(axis, s.b.rank(&x))? as i64)
        .with("keepdims", s.flag("keepdims", true)?)
        .with("last", s.flag("select_last_index", false)?);
    Ok(vec![s.b.op(name, &[&x], attrs)?])
}

pub(in crate::onnx) fn arg_max(s: &mut Site) -> Out {
    arg(s, "argmax")
}

pub(in crate::onnx) fn arg_min(s: &mut Site) -> Out {
    arg(s, "argmin")
}

pub(in crate::onnx) fn cum_sum(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let Some(axis) = s.const_int(1, "axis")? else { return invalid("no axis is given") };
    let attrs = Attrs::none()
        .with("axis", s.axis(axis, s.b.rank(&x))? as i64)
        .with("exclusive", s.flag("exclusive", false)?)
        .with("reverse", s.flag("reverse", false)?);
    Ok(vec![s.b.op("cumsum", &[&x], attrs)?])
}

/// Softmax and its logarithm: along one axis from opset 13 on, before that along all axes from
/// `axis` on as if they were one.
fn normalize(s: &mut Site, name: &str) -> Out {
    let x = s.input(0)?;
    let shape = s.b.shape(&x);
    let axis = s.int("axis", if s.opset < 13 { 1 } else { -1 })?;
    if s.opset >= 13 {
        let axis = s.axis(axis, shape.len())? as i64;
        return Ok(vec![s.b.op(name, &[&x], Attrs::none().with("axis", axis))?]);
    }
    let axis = if axis == shape.len() as i64 { shape.len() } else { s.axis(axis, shape.len())? };
    let (outer, inner) = shape.split_at(axis);
    let flat = s.b.reshape(&x, &[outer.iter().product(), inner.iter().product()])?;
    let y = s.b.op(name, &[&flat], Attrs::none().with("axis", 1i64))?;
    Ok(vec![s.b.reshape(&y, &shape)?])
}

pub(in crate::onnx) fn softmax(s: &mut Site) -> Out {
    normalize(s, "softmax")
}

pub(in crate::onnx) fn log_softmax(s: &mut Site) -> Out {
    normalize(s, "log_softmax")
}

/// 1 at the first largest element of a row, else 0; rows as [`softmax`] has them.
pub(in crate::onnx) fn hardmax(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let shape = s.b.shape(&x);
    let axis = s.int("axis", if s.opset < 13 { 1 } else { -1 })?;
    let (rows, axis) = if s.opset >= 13 {
        (x, s.axis(axis, shape.len())?)
    } else {
        let end = axis == shape.len() as i64;
        let axis = if end { shape.len() } else { s.axis(axis, shape.len())? };
        let (outer, inner) = shape.split_at(axis);
        (s.b.reshape(&x, &[outer.iter().product(), inner.iter().product()])?, 1)
    };
    let n = s.b.shape(&rows)[axis];
    let first = s.b.op("argmax", &[&rows], Attrs::none().with("axis", axis as i64))?;
    let on = s.b.one_hot(&first, n, axis)?;
    let on = s.b.cast(&on, DType::F32)?;
    Ok(vec![s.b.reshape(&on, &shape)?])
}

/// Running product along an axis: each element times the one 1, 2, 4, … places before it.
pub(in crate::onnx) fn cum_prod(s: &mut Site) -> Out {
    let mut x = s.input(0)?;
    let Some(axis) = s.const_int(1, "axis")? else { return invalid("no axis is given") };
    let shape = s.b.shape(&x);
    let (axis, n) = {
        let axis = s.axis(axis, shape.len())?;
        (axis, shape[axis])
    };
    let (exclusive, reverse) = (s.flag("exclusive", false)?, s.flag("reverse", false)?);
    // Elements by `by` places later, ones before them.
    let moved = |s: &mut Site, x: &Value, by: usize| -> Made {
        let mut lead = shape.clone();
        lead[axis] = by;
        let one = s.b.scalar_as(x, 1);
        let ones = s.b.expand(&one, &lead)?;
        let start = if reverse { by } else { 0 };
        let rest = s.b.slice(x, axis, start, n - by)?;
        s.b.concat(&if reverse { [&rest, &ones] } else { [&ones, &rest] }, axis)
    };
    if exclusive && n > 0 {
        x = moved(s, &x, 1)?;
    }
    let mut by = 1;
    while by < n {
        let before = moved(s, &x, by)?;
        x = s.b.mul(&x, &before)?;
        by *= 2;
    }
    Ok(vec![x])
}
