//! Operators that put elements in order.

use pamc_passes::ir::{Attrs, DType, Tensor};

use super::layout::int_list;
use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, few, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// Up to this many results are found one after the other, more by the rank of every element.
const ONE_BY_ONE: usize = 8;

/// Indices of the k largest (smallest) elements along an axis, in order.
fn top_indices(s: &mut Site, x: &Value, axis: usize, k: usize, largest: bool) -> Made {
    let mut shape = s.b.shape(x);
    let n = shape[axis];
    let mut line = vec![1; shape.len()];
    line[axis] = n;
    if k <= ONE_BY_ONE && s.b.dtype(x) == DType::F32 {
        let (ramp, mut left) = (s.b.ramp(DType::I64, &line)?, x.clone());
        let floor = if largest { f32::NEG_INFINITY } else { f32::INFINITY };
        let (floor, mut found) = (s.b.scalar(floor), Vec::new());
        for _ in 0..k {
            let attrs = Attrs::none().with("axis", axis as i64).with("keepdims", true);
            let best = s.b.op(if largest { "argmax" } else { "argmin" }, &[&left], attrs)?;
            let taken = s.b.eq(&ramp, &best)?;
            left = s.b.select(&taken, &floor, &left)?;
            found.push(best);
        }
        return s.b.concat(&found.iter().collect::<Vec<_>>(), axis);
    }
    // The rank of an element is how many come before it; then the ranks are inverted.
    let (mut row, mut column) = (shape.clone(), shape.clone());
    row.insert(axis, 1);
    column.insert(axis + 1, 1);
    let (a, b) = (s.b.reshape(x, &row)?, s.b.reshape(x, &column)?);
    let better = if largest { "gt" } else { "lt" };
    let before = s.b.op(better, &[&a, &b], Attrs::none())?;
    let earlier = (0..few(&[n, n])?).map(|i| i % n < i / n).collect();
    let Some(earlier) = Tensor::from_vec::<bool>(&[n, n], earlier) else {
        return invalid("a mask of a wrong size");
    };
    let mut tie = vec![1; shape.len() - axis + 1];
    (tie[0], tie[1]) = (n, n);
    let earlier = s.b.reshape(&Value::Const(earlier), &tie)?;
    let equal = s.b.eq(&a, &b)?;
    let tied = s.b.op("and", &[&equal, &earlier], Attrs::none())?;
    let before = s.b.op("or", &[&before, &tied], Attrs::none())?;
    let before = s.b.cast(&before, DType::I64)?;
    let rank = s.b.sum(&before, &[axis + 1], false)?;
    let at = s.b.element_positions(&shape, &rank, axis)?;
    let ramp = s.b.ramp(DType::I64, &line)?;
    let ramp = s.b.expand(&ramp, &shape)?;
    let len: usize = shape.iter().product();
    let (at, ramp) = (s.b.reshape(&at, &[len])?, s.b.reshape(&ramp, &[len])?);
    let attrs = Attrs::none().with("size", len as i64).with("axis", 0i64);
    let order = s.b.op("scatter_add", &[&at, &ramp], attrs)?;
    let order = s.b.reshape(&order, &shape)?;
    shape[axis] = k;
    s.b.slice(&order, axis, 0, k)
}

pub(in crate::onnx) fn top_k(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let shape = s.b.shape(&x);
    let k = if s.opset < 10 { s.opt_int("k")? } else { s.const_int(1, "k")? };
    let (axis, largest) = (s.int("axis", -1)?, s.flag("largest", true)?);
    s.ignore(&["sorted"]);
    let axis = s.axis(axis, shape.len())?;
    let k = k.and_then(|k| usize::try_from(k).ok()).filter(|&k| k <= shape[axis]);
    let Some(k) = k else { return invalid(format!("k is missing or larger than axis {axis}")) };
    let index = top_indices(s, &x, axis, k, largest)?;
    let values = s.b.gather_elements(&x, &index, axis)?;
    Ok(vec![values, index])
}

/// The distinct elements of a constant; see ONNX for the further results.
pub(in crate::onnx) fn unique(s: &mut Site) -> Out {
    let (sorted, axis) = (s.flag("sorted", true)?, s.opt_int("axis")?);
    let Some(x) = s.constant(0, "X")? else { return invalid("no operand") };
    let rank = x.shape().len();
    let x = Value::Const(x);
    let (x, axis) = match axis {
        Some(axis) => (x, s.axis(axis, rank)?),
        None => (s.b.reshape(&x, &[s.b.ty(&x).len()])?, 0),
    };
    let mut perm: Vec<usize> = (0..s.b.rank(&x)).collect();
    perm.swap(0, axis);
    let rows = s.b.transpose(&x, &perm)?;
    let n = s.b.shape(&rows).first().copied().unwrap_or(0);
    let wide = s.b.cast(&rows, DType::F32)?;
    let (Value::Const(Tensor::F32(wide)), true) = (&wide, n > 0) else {
        return unsupported("an operand without elements");
    };
    let all: Vec<f32> = wide.iter().copied().collect();
    let rows: Vec<&[f32]> = all.chunks(all.len() / n).collect();
    let mut first: Vec<usize> = (0..n).filter(|&i| !rows[..i].contains(&rows[i])).collect();
    if sorted {
        let order = |a: &usize, b: &usize| {
            let pairs = rows[*a].iter().zip(rows[*b]).map(|(x, y)| x.total_cmp(y));
            pairs.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        };
        first.sort_by(order);
    }
    let place = |row: &[f32]| first.iter().position(|&i| rows[i] == row).unwrap_or(0);
    let inverse: Vec<i64> = rows.iter().map(|r| place(r) as i64).collect();
    let count = |k: usize| inverse.iter().filter(|&&i| i == k as i64).count() as i64;
    let counts = (0..first.len()).map(count).collect();
    let index = int_list(first.iter().map(|&i| i as i64).collect())?;
    Ok(vec![s.b.gather(&x, &index, axis)?, index, int_list(inverse)?, int_list(counts)?])
}
