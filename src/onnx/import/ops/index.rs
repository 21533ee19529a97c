//! Operators that address by data, all through one gather or scatter of rows.

use pamc_passes::ir::{Attrs, DType, Tensor};

use super::layout::int_list;
use crate::onnx::import::site::{self, Site};
use crate::onnx::import::value::{
    Build, Fault, Made, Value, at_run_time, few, invalid, unsupported,
};

type Out = Made<Vec<Value>>;

/// Row-major strides of a shape.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1usize; shape.len()];
    for i in (0..shape.len().saturating_sub(1)).rev() {
        out[i] = out[i + 1].saturating_mul(shape[i + 1]);
    }
    out
}

impl Build<'_> {
    /// Negative indices of an axis of `n` counted from its end.
    pub fn wrapped_index(&mut self, index: &Value, n: usize) -> Made {
        let (zero, n) = (self.scalar_as(index, 0), self.int_as(index, n as i64));
        let negative = self.op("lt", &[index, &zero], Attrs::none())?;
        let wrapped = self.add(index, &n)?;
        self.select(&negative, &wrapped, index)
    }

    /// An integer scalar of `like`'s type.
    pub fn int_as(&self, like: &Value, x: i64) -> Value {
        Value::Const(match self.dtype(like) {
            DType::I32 => Tensor::scalar(x as i32),
            _ => Tensor::scalar(x),
        })
    }

    /// index · n.
    pub fn times(&mut self, index: &Value, n: usize) -> Made {
        if n == 1 {
            return Ok(index.clone());
        }
        let n = self.int_as(index, n as i64);
        self.mul(index, &n)
    }

    /// For each index of a shape, f of it: a constant.
    fn table(&self, shape: &[usize], f: impl Fn(&[usize]) -> i64) -> Made {
        few(shape)?;
        let mut values = Vec::new();
        let mut at = vec![0; shape.len()];
        for _ in 0..shape.iter().product() {
            values.push(f(&at));
            for axis in (0..shape.len()).rev() {
                at[axis] += 1;
                if at[axis] < shape[axis] {
                    break;
                }
                at[axis] = 0;
            }
        }
        let table = Tensor::from_vec(shape, values);
        table.map(Value::Const).ok_or_else(|| Fault::Invalid("a table of a wrong size".into()))
    }

    /// Positions in the flattened x of the elements that `index` names along `axis`, every other
    /// coordinate being the index's own.
    pub(super) fn element_positions(&mut self, x: &[usize], index: &Value, axis: usize) -> Made {
        let index = self.cast(index, DType::I64)?;
        let (steps, shape) = (strides(x), self.shape(&index));
        let fits = shape.len() == x.len() && (0..x.len()).all(|i| i == axis || shape[i] <= x[i]);
        if !fits {
            return invalid(format!("an index of shape {shape:?} into {x:?} along axis {axis}"));
        }
        let index = self.wrapped_index(&index, x[axis])?;
        let along = self.times(&index, steps[axis])?;
        let others = |at: &[usize]| {
            (0..at.len()).filter(|&i| i != axis).map(|i| (at[i] * steps[i]) as i64).sum()
        };
        let others = self.table(&shape, others)?;
        self.add(&along, &others)
    }

    /// Like `GatherElements`.
    pub fn gather_elements(&mut self, x: &Value, index: &Value, axis: usize) -> Made {
        let shape = self.shape(x);
        let at = self.element_positions(&shape, index, axis)?;
        let flat = self.reshape(x, &[shape.iter().product()])?;
        self.gather(&flat, &at, 0)
    }

    /// Positions in x, whose first axes after `batch` shared ones are taken as one, of the slices
    /// that the last axis of `index` names.
    fn slice_positions(
        &mut self,
        x: &[usize],
        index: &Value,
        batch: usize,
    ) -> Made<(Value, usize)> {
        let index = self.cast(index, DType::I64)?;
        let shape = self.shape(&index);
        let Some((&depth, outer)) = shape.split_last() else {
            return invalid("the index is a scalar");
        };
        if batch + depth > x.len() || outer.len() < batch || outer[..batch] != x[..batch] {
            return invalid(format!("an index of shape {shape:?} into {x:?}"));
        }
        let steps = strides(&x[..batch + depth]);
        let mut total =
            self.table(outer, |at| (0..batch).map(|i| (at[i] * steps[i]) as i64).sum())?;
        for k in 0..depth {
            let part = self.pick(&index, outer.len(), k)?;
            let part = self.wrapped_index(&part, x[batch + k])?;
            let part = self.times(&part, steps[batch + k])?;
            total = self.add(&total, &part)?;
        }
        Ok((total, batch + depth))
    }

    /// `rows` with those at `at` replaced by `updates` or combined with them by `reduction`.
    pub(super) fn put(
        &mut self,
        rows: &Value,
        at: &Value,
        updates: &Value,
        reduction: &str,
    ) -> Made {
        let dtype = self.dtype(rows);
        if dtype == DType::Bool {
            let (rows, updates) = (self.cast(rows, DType::I32)?, self.cast(updates, DType::I32)?);
            let put = self.put(&rows, at, &updates, reduction)?;
            return self.cast(&put, DType::Bool);
        }
        let size = self.shape(rows)[0];
        let attrs = Attrs::none().with("size", size as i64).with("axis", 0i64);
        match reduction {
            "none" => {
                let ones = self.expand(&Value::Const(Tensor::scalar(1i32)), &self.shape(at))?;
                let hits = self.op("scatter_add", &[at, &ones], attrs.clone())?;
                let zero = Value::Const(Tensor::scalar(0i32));
                let hit = self.gt(&hits, &zero)?;
                let mut wide = vec![1; self.rank(rows)];
                wide[0] = size;
                let hit = self.reshape(&hit, &wide)?;
                let new = self.op("scatter_add", &[at, updates], attrs)?;
                self.select(&hit, &new, rows)
            }
            "add" => {
                let sum = self.op("scatter_add", &[at, updates], attrs)?;
                self.add(rows, &sum)
            }
            "mul" | "max" | "min" => self.combine(rows, at, updates, reduction),
            other => unsupported(format!("reduction `{other}`")),
        }
    }

    /// Updates joined one after the other, as many at once as name different rows.
    fn combine(&mut self, rows: &Value, at: &Value, updates: &Value, op: &str) -> Made {
        let Value::Const(Tensor::I64(list)) = at else { return at_run_time("indices") };
        let mut rounds: Vec<Vec<(i64, i64)>> = Vec::new();
        let mut seen = std::collections::HashMap::new();
        for (i, &slot) in list.iter().enumerate() {
            let round = seen.entry(slot).or_insert(0usize);
            match rounds.get_mut(*round) {
                Some(round) => round.push((i as i64, slot)),
                None => rounds.push(vec![(i as i64, slot)]),
            }
            *round += 1;
        }
        let mut out = rows.clone();
        for round in rounds {
            let (from, slots): (Vec<i64>, Vec<i64>) = round.into_iter().unzip();
            let (from, slots) = (int_list(from)?, int_list(slots)?);
            let new = self.gather(updates, &from, 0)?;
            let old = self.gather(&out, &slots, 0)?;
            let joined = match op {
                "mul" => self.mul(&old, &new)?,
                _ => self.op(op, &[&old, &new], Attrs::none())?,
            };
            out = self.put(&out, &slots, &joined, "none")?;
        }
        Ok(out)
    }
}

pub(in crate::onnx) fn gather_elements(s: &mut Site) -> Out {
    let (x, index) = (s.input(0)?, s.input(1)?);
    let axis = s.int("axis", 0)?;
    let axis = s.axis(axis, s.b.rank(&x))?;
    Ok(vec![s.b.gather_elements(&x, &index, axis)?])
}

pub(in crate::onnx) fn gather_nd(s: &mut Site) -> Out {
    let (x, index) = (s.input(0)?, s.input(1)?);
    let shape = s.b.shape(&x);
    let batch = usize::try_from(s.int("batch_dims", 0)?).unwrap_or(usize::MAX >> 1);
    let (at, merged) = s.b.slice_positions(&shape, &index, batch)?;
    let (outer, inner) = shape.split_at(merged);
    let rows = s.b.reshape(&x, &[&[outer.iter().product()], inner].concat())?;
    Ok(vec![s.b.gather(&rows, &at, 0)?])
}

pub(in crate::onnx) fn scatter_elements(s: &mut Site) -> Out {
    let (x, index, updates) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let shape = s.b.shape(&x);
    let axis = s.int("axis", 0)?;
    let axis = s.axis(axis, shape.len())?;
    let reduction = s.text("reduction", "none")?;
    let at = s.b.element_positions(&shape, &index, axis)?;
    let n = s.b.ty(&updates).len();
    if s.b.shape(&updates) != s.b.shape(&at) {
        return invalid("the updates have another shape than the indices");
    }
    let (at, updates) = (s.b.reshape(&at, &[n])?, s.b.reshape(&updates, &[n])?);
    let flat = s.b.reshape(&x, &[shape.iter().product()])?;
    let out = s.b.put(&flat, &at, &updates, reduction)?;
    Ok(vec![s.b.reshape(&out, &shape)?])
}

pub(in crate::onnx) fn scatter_nd(s: &mut Site) -> Out {
    let (x, index, updates) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let (shape, reduction) = (s.b.shape(&x), s.text("reduction", "none")?);
    let (at, merged) = s.b.slice_positions(&shape, &index, 0)?;
    let (outer, inner) = shape.split_at(merged);
    let n = s.b.ty(&at).len();
    let wanted = [&s.b.shape(&at)[..], inner].concat();
    if s.b.shape(&updates) != wanted {
        return invalid(format!("updates of shape {:?}, not {wanted:?}", s.b.shape(&updates)));
    }
    let (at, updates) = (s.b.reshape(&at, &[n])?, s.b.reshape(&updates, &[&[n], inner].concat())?);
    let rows = s.b.reshape(&x, &[&[outer.iter().product()], inner].concat())?;
    let out = s.b.put(&rows, &at, &updates, reduction)?;
    Ok(vec![s.b.reshape(&out, &shape)?])
}

/// GatherElementsGrad: the gradient's elements added up where they were taken. Operands: g, the shape
/// of what was gathered from, indices.
pub(in crate::onnx) fn gather_elements_grad(s: &mut Site) -> Out {
    let (g, index) = (s.input(0)?, s.input(2)?);
    let Some(shape) = s.const_ints(1, "shape")? else { return invalid("no shape is given") };
    let shape = super::layout::sizes(&shape)?;
    let axis = s.int("axis", 0)?;
    let axis = s.axis(axis, shape.len())?;
    let at = s.b.element_positions(&shape, &index, axis)?;
    added(s, &g, &at, &shape, shape.len())
}

/// GatherNDGrad: operands the shape of what was gathered from, indices, g.
pub(in crate::onnx) fn gather_nd_grad(s: &mut Site) -> Out {
    let (index, g) = (s.input(1)?, s.input(2)?);
    let Some(shape) = s.const_ints(0, "shape")? else { return invalid("no shape is given") };
    let shape = super::layout::sizes(&shape)?;
    let batch = usize::try_from(s.int("batch_dims", 0)?).unwrap_or(usize::MAX >> 1);
    let (at, merged) = s.b.slice_positions(&shape, &index, batch)?;
    added(s, &g, &at, &shape, merged)
}

/// Slices of `g` added up at their positions among the first `merged` axes of a shape.
fn added(s: &mut Site, g: &Value, at: &Value, shape: &[usize], merged: usize) -> Out {
    let (outer, inner) = shape.split_at(merged);
    let n = s.b.ty(at).len();
    if s.b.ty(g).len() != n * inner.iter().product::<usize>() {
        return invalid("the gradient has another shape than what was gathered");
    }
    let (at, g) = (s.b.reshape(at, &[n])?, s.b.reshape(g, &[&[n], inner].concat())?);
    let attrs = Attrs::none().with("axis", 0i64);
    let rows = outer.iter().product::<usize>() as i64;
    let sum = s.b.op("scatter_add", &[&at, &g], attrs.with("size", rows))?;
    Ok(vec![s.b.reshape(&sum, shape)?])
}

/// New keys or values written into a cache, each sample's at its own place.
pub(in crate::onnx) fn tensor_scatter(s: &mut Site) -> Out {
    let (x, update) = (s.input(0)?, s.input(1)?);
    let shape = s.b.shape(&x);
    let axis = s.int("axis", -2)?;
    let axis = s.axis(axis, shape.len())?;
    let circular = s.text("mode", "linear")? == "circular";
    let added = s.b.shape(&update).get(axis).copied().unwrap_or(0);
    if axis == 0 || added > shape[axis] {
        return invalid(format!("{added} elements into axis {axis} of {shape:?}"));
    }
    let mut index = s.b.shape(&update);
    index.iter_mut().skip(1).for_each(|d| *d = 1);
    index[axis] = added;
    let ramp = s.b.ramp(DType::I64, &[&[1], &index[1..]].concat())?;
    let mut at = s.b.expand(&ramp, &index)?;
    if let Some(start) = s.opt(2) {
        let mut wide = vec![1; shape.len()];
        wide[0] = shape[0];
        let start = s.b.cast(&start, DType::I64)?;
        let start = s.b.reshape(&start, &wide)?;
        at = s.b.add(&at, &start)?;
    }
    if circular {
        let n = s.b.int_as(&at, shape[axis] as i64);
        let over = s.b.op("ge", &[&at, &n], Attrs::none())?;
        let wrapped = s.b.sub(&at, &n)?;
        at = s.b.select(&over, &wrapped, &at)?;
    }
    let at = s.b.expand(&at, &s.b.shape(&update))?;
    let at = s.b.element_positions(&shape, &at, axis)?;
    let n = s.b.ty(&update).len();
    let (at, update) = (s.b.reshape(&at, &[n])?, s.b.reshape(&update, &[n])?);
    let flat = s.b.reshape(&x, &[shape.iter().product()])?;
    let out = s.b.put(&flat, &at, &update, "none")?;
    Ok(vec![s.b.reshape(&out, &shape)?])
}

/// The elements whose condition is true: how many must be known.
pub(in crate::onnx) fn compress(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let Some(condition) = s.constant(1, "condition")? else { return invalid("no condition") };
    let Some(condition) = condition.to_vec::<bool>() else {
        return invalid("the condition is not of truth values");
    };
    let kept = (0..condition.len()).filter(|&i| condition[i]).map(|i| i as i64).collect();
    let (x, axis) = match s.opt_int("axis")? {
        Some(axis) => (x.clone(), s.axis(axis, s.b.rank(&x))?),
        None => (s.b.reshape(&x, &[s.b.ty(&x).len()])?, 0),
    };
    if condition.len() > s.b.shape(&x)[axis] {
        return invalid("the condition is longer than the axis");
    }
    Ok(vec![s.b.gather(&x, &int_list(kept)?, axis)?])
}

/// Coordinates of the elements that are not zero, one column each, of a constant.
pub(in crate::onnx) fn non_zero(s: &mut Site) -> Out {
    let Some(x) = s.constant(0, "X")? else { return invalid("no operand") };
    let Value::Const(Tensor::Bool(on)) = s.b.cast(&Value::Const(x), DType::Bool)? else {
        return invalid("an operand that is no constant");
    };
    let rank = on.ndim().max(1);
    let hits: Vec<usize> = on.iter().enumerate().filter(|(_, b)| **b).map(|(i, _)| i).collect();
    let shape = if on.ndim() == 0 { vec![1] } else { on.shape().to_vec() };
    let steps = strides(&shape);
    let column = |axis: usize| hits.iter().map(move |&i| (i, axis));
    let values = (0..rank).flat_map(column).map(|(i, a)| (i / steps[a] % shape[a]) as i64);
    let out = int_list(values.collect())?;
    Ok(vec![s.b.reshape(&out, &[rank, hits.len()])?])
}

/// The first elements of each sequence in reverse, as many as it is long.
pub(in crate::onnx) fn reverse_sequence(s: &mut Site) -> Out {
    let (x, lens) = (s.input(0)?, s.input(1)?);
    let shape = s.b.shape(&x);
    let (batch, time) = (s.int("batch_axis", 1)?, s.int("time_axis", 0)?);
    let (batch, time) = (s.axis(batch, shape.len())?, s.axis(time, shape.len())?);
    if batch == time || s.b.shape(&lens) != [shape[batch]] {
        return invalid(format!("{} lengths for {shape:?}", s.b.ty(&lens)));
    }
    let one_axis = |axis: usize| {
        let mut wide = vec![1; shape.len()];
        wide[axis] = shape[axis];
        wide
    };
    let lens = s.b.cast(&lens, DType::I64)?;
    let lens = s.b.reshape(&lens, &one_axis(batch))?;
    let at = s.b.ramp(DType::I64, &one_axis(time))?;
    let inside = s.b.op("lt", &[&at, &lens], Attrs::none())?;
    let one = s.b.int_as(&at, 1);
    let last = s.b.sub(&lens, &one)?;
    let back = s.b.sub(&last, &at)?;
    let index = s.b.select(&inside, &back, &at)?;
    let index = s.b.expand(&index, &shape)?;
    Ok(vec![s.b.gather_elements(&x, &index, time)?])
}

/// The elements at the given places of the last axis: ai.onnx.ml's ArrayFeatureExtractor.
pub(in crate::onnx) fn array_feature_extractor(s: &mut Site) -> Out {
    let (x, index) = (s.input(0)?, s.input(1)?);
    let index = s.b.reshape(&index, &[s.b.ty(&index).len()])?;
    let Some(last) = s.b.rank(&x).checked_sub(1) else { return invalid("a scalar operand") };
    if let Value::Const(t) = &index {
        site::integers(t, "indices")?;
    }
    Ok(vec![s.b.gather(&x, &index, last)?])
}
