//! Constants, shapes and what is computed from them at import.

use pamc_passes::ir::{Attrs, DType, Tensor, TensorType};

use super::layout::{int_list, sizes};
use crate::onnx::import::site::{self, Site};
use crate::onnx::import::value::{Made, Value, few, invalid, unsupported};

type Out = Made<Vec<Value>>;

fn tensor(t: Option<Tensor>) -> Out {
    match t {
        Some(t) => Ok(vec![Value::Const(t)]),
        None => invalid("the number of elements does not fit the shape"),
    }
}

pub(in crate::onnx) fn constant(s: &mut Site) -> Out {
    if let Some(t) = s.tensor("value")? {
        return tensor(Some(t));
    }
    if let Some(t) = s.sparse_tensor("sparse_value")? {
        return tensor(Some(t));
    }
    if let Some(x) = s.opt_float("value_float")? {
        return tensor(Some(Tensor::scalar(x)));
    }
    if let Some(x) = s.opt_int("value_int")? {
        return tensor(Some(Tensor::scalar(x)));
    }
    if let Some(v) = s.floats("value_floats")? {
        return tensor(Tensor::from_vec(&[v.len()], v));
    }
    match s.ints("value_ints")? {
        Some(v) => Ok(vec![int_list(v)?]),
        None => unsupported("a constant that is no number"),
    }
}

/// One value, zero if none is given, everywhere in a shape.
pub(in crate::onnx) fn constant_of_shape(s: &mut Site) -> Out {
    let Some(shape) = s.const_ints(0, "shape")? else { return invalid("no shape is given") };
    let value = s.tensor("value")?.unwrap_or_else(|| Tensor::scalar(0f32));
    let Some(value) = value.reshaped(&[]) else { return invalid("`value` is not one number") };
    Ok(vec![s.b.expand(&Value::Const(value), &sizes(&shape)?)?])
}

pub(in crate::onnx) fn shape(s: &mut Site) -> Out {
    let shape = s.b.shape(&s.input(0)?);
    let rank = shape.len() as i64;
    let clamp = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
    let (start, end) = (clamp(s.int("start", 0)?), clamp(s.int("end", rank)?));
    let dims = shape.get(start..end.max(start)).unwrap_or_default();
    Ok(vec![int_list(dims.iter().map(|&d| d as i64).collect())?])
}

pub(in crate::onnx) fn size(s: &mut Site) -> Out {
    let n = s.b.ty(&s.input(0)?).len();
    tensor(Some(Tensor::scalar(n as i64)))
}

pub(in crate::onnx) fn range(s: &mut Site) -> Out {
    let first = s.input(0)?;
    if s.b.dtype(&first) == DType::F32 {
        let arg = |i, what| -> Made<f64> { Ok(s.const_float(i, what)?.unwrap_or(0.0).into()) };
        let (start, limit, delta) = (arg(0, "start")?, arg(1, "limit")?, arg(2, "delta")?);
        let n = ((limit - start) / delta).ceil();
        if delta == 0.0 || n.is_nan() {
            return invalid(format!("a range from {start} to {limit} by {delta}"));
        }
        let n = few(&[n.max(0.0) as usize])?;
        let value = |i: usize| (start + i as f64 * delta) as f32;
        return tensor(Tensor::from_vec(&[n], (0..n).map(value).collect()));
    }
    let arg = |i, what| -> Made<i128> { Ok(s.const_int(i, what)?.unwrap_or(0).into()) };
    let (start, limit, delta) = (arg(0, "start")?, arg(1, "limit")?, arg(2, "delta")?);
    if delta == 0 {
        return invalid("a range by steps of 0");
    }
    // Rounded up; the signs agree where anything is in the range.
    let n = (limit - start + delta - delta.signum()) / delta;
    let n = few(&[usize::try_from(n.max(0)).unwrap_or(usize::MAX)])? as i128;
    let values = (0..n).map(|i| (start + i * delta) as i64).collect();
    let out = int_list(values)?;
    Ok(vec![s.b.cast(&out, s.b.dtype(&first))?])
}

pub(in crate::onnx) fn eye_like(s: &mut Site) -> Out {
    let like = s.b.ty(&s.input(0)?);
    let [rows, cols] = like.shape[..] else { return invalid(format!("{like} is not a matrix")) };
    few(&[rows, cols])?;
    let k = s.int("k", 0)?;
    let to = s.opt_int("dtype")?.map(|code| site::dtype(code as i32)).transpose()?;
    let on = |i: usize, j: usize| (j as i64).checked_sub(i as i64) == Some(k);
    let ones = (0..rows * cols).map(|at| on(at / cols, at % cols)).collect();
    let Some(mask) = Tensor::from_vec::<bool>(&[rows, cols], ones) else {
        return invalid("a matrix of a wrong size");
    };
    Ok(vec![s.b.cast(&Value::Const(mask), to.unwrap_or(like.dtype))?])
}

/// The upper or lower triangle of each matrix, zero elsewhere.
pub(in crate::onnx) fn trilu(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let TensorType { dtype, shape } = s.b.ty(&x);
    let [.., rows, cols] = shape[..] else { return invalid("the operand is not a matrix") };
    let (upper, k) = (s.flag("upper", true)?, s.const_int(1, "k")?.unwrap_or(0));
    few(&[rows, cols])?;
    let keep = |at: usize| {
        let diagonal = (at % cols) as i64 - (at / cols) as i64;
        if upper { diagonal >= k } else { diagonal <= k }
    };
    let Some(mask) = Tensor::from_vec(&[rows, cols], (0..rows * cols).map(keep).collect()) else {
        return invalid("a matrix of a wrong size");
    };
    let mask = Value::Const(mask);
    if dtype == DType::Bool {
        return Ok(vec![s.b.op("and", &[&x, &mask], Default::default())?]);
    }
    let zero = s.b.scalar_as(&x, 0);
    Ok(vec![s.b.select(&mask, &x, &zero)?])
}

pub(in crate::onnx) fn one_hot(s: &mut Site) -> Out {
    let index = s.input(0)?;
    let Some(depth) = s.const_float(1, "depth")? else { return invalid("no depth is given") };
    let Some(values) = s.constant(2, "values")? else { return invalid("no values are given") };
    let dtype = values.dtype();
    let values = s.b.cast(&Value::Const(values), DType::F32)?;
    let Value::Const(Tensor::F32(values)) = values else {
        return invalid("`values` are no numbers");
    };
    let values: Vec<f32> = values.iter().copied().collect();
    let [off, on] = values[..] else { return invalid("`values` are not two numbers") };
    let index = if s.b.dtype(&index) == DType::F32 { s.b.cast(&index, DType::I64)? } else { index };
    let attrs = Attrs::none()
        .with("depth", depth as i64)
        .with("axis", s.int("axis", -1)?)
        .with("on", on)
        .with("off", off);
    let hot = s.b.op("one_hot", &[&index], attrs)?;
    Ok(vec![s.b.cast(&hot, dtype)?])
}

pub(in crate::onnx) fn gather(s: &mut Site) -> Out {
    let (x, index) = (s.input(0)?, s.input(1)?);
    let axis = s.int("axis", 0)?;
    let axis = s.axis(axis, s.b.rank(&x))?;
    if let Value::Const(t) = &index {
        let n = s.b.shape(&x)[axis] as i64;
        let out_of_range = |i: &&i64| !(-n..n).contains(*i);
        if let Some(bad) = site::integers(t, "indices")?.iter().find(out_of_range) {
            return invalid(format!("index {bad} of an axis of {n}"));
        }
    }
    Ok(vec![s.b.gather(&x, &index, axis)?])
}
