//! Operators that move elements.

use pamc_passes::ir::{Attrs, Tensor};
use pamc_passes::ops::broadcast_shapes;

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Fault, Made, Value, few, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// More padding than this along an axis is no padding but damage.
const MAX_PAD: u64 = 1 << 40;

pub(in crate::onnx) fn identity(s: &mut Site) -> Out {
    Ok(vec![s.input(0)?])
}

pub(in crate::onnx) fn reshape(s: &mut Site) -> Out {
    let (x, zero_is_zero) = (s.input(0)?, s.flag("allowzero", false)?);
    let Some(wanted) = s.const_ints(1, "shape")? else { return invalid("no shape is given") };
    let from = s.b.shape(&x);
    let mut shape = Vec::with_capacity(wanted.len());
    for (i, &d) in wanted.iter().enumerate() {
        shape.push(match d {
            0 if !zero_is_zero => match from.get(i) {
                Some(&d) => d,
                None => return invalid(format!("shape {wanted:?} copies axis {i} of {from:?}")),
            },
            -1 => 1,
            d => usize::try_from(d).map_err(|_| Fault::Invalid(format!("shape {wanted:?}")))?,
        });
    }
    let mismatch = || Fault::Invalid(format!("{from:?} cannot be reshaped to {wanted:?}"));
    match wanted.iter().filter(|&&d| d == -1).count() {
        0 => {}
        1 => {
            let known = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            let known = known.filter(|&n| n > 0).ok_or_else(mismatch)?;
            let total: usize = from.iter().product();
            if !total.is_multiple_of(known) {
                return Err(mismatch());
            }
            let free = wanted.iter().position(|&d| d == -1).unwrap_or(0);
            shape[free] = total / known;
        }
        _ => return Err(mismatch()),
    }
    Ok(vec![s.b.reshape(&x, &shape)?])
}

pub(in crate::onnx) fn flatten(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let shape = s.b.shape(&x);
    let axis = s.int("axis", 1)?;
    let axis = if axis == shape.len() as i64 { shape.len() } else { s.axis(axis, shape.len())? };
    let (outer, inner) = shape.split_at(axis);
    Ok(vec![s.b.reshape(&x, &[outer.iter().product(), inner.iter().product()])?])
}

pub(in crate::onnx) fn squeeze(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let shape = s.b.shape(&x);
    let axes = match s.ints_moved("axes", 13, 1)? {
        Some(axes) => s.axes(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&i| shape[i] == 1).collect(),
    };
    if let Some(&bad) = axes.iter().find(|&&a| shape[a] != 1) {
        return invalid(format!("axis {bad} of {shape:?} is not 1"));
    }
    let kept: Vec<usize> =
        (0..shape.len()).filter(|i| !axes.contains(i)).map(|i| shape[i]).collect();
    Ok(vec![s.b.reshape(&x, &kept)?])
}

pub(in crate::onnx) fn unsqueeze(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let Some(axes) = s.ints_moved("axes", 13, 1)? else { return invalid("no axes are given") };
    let mut shape = s.b.shape(&x);
    for axis in s.axes(&axes, shape.len() + axes.len())? {
        shape.insert(axis, 1);
    }
    Ok(vec![s.b.reshape(&x, &shape)?])
}

pub(in crate::onnx) fn transpose(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let rank = s.b.rank(&x);
    let perm = match s.ints("perm")? {
        Some(perm) => perm.iter().map(|&p| s.axis(p, rank)).collect::<Made<Vec<_>>>()?,
        None => (0..rank).rev().collect(),
    };
    Ok(vec![s.b.transpose(&x, &perm)?])
}

pub(in crate::onnx) fn expand(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let Some(shape) = s.const_ints(1, "shape")? else { return invalid("no shape is given") };
    let to = sizes(&shape)?;
    let to = broadcast_shapes(&[&s.b.shape(&x), &to]).map_err(Fault::Invalid)?;
    Ok(vec![s.b.expand(&x, &to)?])
}

pub(in crate::onnx) fn tile(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let Some(repeats) = s.const_ints(1, "repeats")? else { return invalid("no repeats are given") };
    Ok(vec![s.b.op("tile", &[&x], Attrs::none().with("repeats", repeats))?])
}

pub(in crate::onnx) fn concat(s: &mut Site) -> Out {
    let parts = (0..s.inputs.len()).map(|i| s.input(i)).collect::<Made<Vec<_>>>()?;
    let Some(first) = parts.first() else { return invalid("nothing to concatenate") };
    let axis = s.int("axis", 1)?;
    let axis = s.axis(axis, s.b.rank(first))?;
    Ok(vec![s.b.concat(&parts.iter().collect::<Vec<_>>(), axis)?])
}

/// Concat whose second output is the extent of each part: com.microsoft.ConcatTraining.
pub(in crate::onnx) fn concat_training(s: &mut Site) -> Out {
    let mut out = concat(s)?;
    let axis = s.int("axis", 1)?;
    let mut lengths = Vec::new();
    for i in 0..s.inputs.len() {
        let shape = s.b.shape(&s.input(i)?);
        lengths.push(shape[s.axis(axis, shape.len())?] as i64);
    }
    out.push(int_list(lengths)?);
    Ok(out)
}

pub(in crate::onnx) fn split(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let shape = s.b.shape(&x);
    let axis = s.int("axis", 0)?;
    let axis = s.axis(axis, shape.len())?;
    let extent = shape[axis];
    let microsoft = s.node.domain == "com.microsoft";
    let given =
        if s.opset < 13 && !microsoft { s.ints("split")? } else { s.const_ints(1, "split")? };
    let parts = s.int("num_outputs", s.node.output.len() as i64)?;
    let lens = match given {
        Some(given) => sizes(&given)?,
        None => {
            let n = usize::try_from(parts).ok().filter(|&n| n > 0 && n <= extent.max(1));
            let n = n.ok_or_else(|| Fault::Invalid(format!("{extent} into {parts} parts")))?;
            let each = extent.div_ceil(n);
            (0..n).map(|i| each.min(extent.saturating_sub(i * each))).collect()
        }
    };
    let total = lens.iter().try_fold(0usize, |n, &l| n.checked_add(l));
    if total != Some(extent) {
        return invalid(format!("parts {lens:?} of an axis of {extent}"));
    }
    let mut start = 0;
    let mut out = Vec::with_capacity(lens.len());
    for len in lens {
        out.push(s.b.slice(&x, axis, start, len)?);
        start += len;
    }
    Ok(out)
}

struct SliceArgs {
    starts: Vec<i64>,
    ends: Vec<i64>,
    axes: Option<Vec<i64>>,
    steps: Option<Vec<i64>>,
}

/// Every axis of a slice: its first index, step and number of elements.
pub(super) struct Cut {
    pub starts: Vec<i64>,
    pub steps: Vec<i64>,
    pub sizes: Vec<usize>,
}

fn given<T>(list: Option<T>, what: &str) -> Made<T> {
    list.ok_or_else(|| Fault::Invalid(format!("no {what} are given")))
}

impl SliceArgs {
    fn attributes(s: &Site) -> Made<Self> {
        Ok(SliceArgs {
            starts: given(s.ints("starts")?, "starts")?,
            ends: given(s.ints("ends")?, "ends")?,
            axes: s.ints("axes")?,
            steps: None,
        })
    }

    fn operands(s: &Site, first: usize) -> Made<Self> {
        Ok(SliceArgs {
            starts: given(s.const_ints(first, "starts")?, "starts")?,
            ends: given(s.const_ints(first + 1, "ends")?, "ends")?,
            axes: s.const_ints(first + 2, "axes")?,
            steps: s.const_ints(first + 3, "steps")?,
        })
    }

    fn of(self, s: &Site, shape: &[usize]) -> Made<Cut> {
        let (rank, n) = (shape.len(), self.starts.len());
        let axes = self.axes.unwrap_or_else(|| (0..n as i64).collect());
        let given_steps = self.steps.unwrap_or_else(|| vec![1; n]);
        if self.ends.len() != n || axes.len() != n || given_steps.len() != n {
            return invalid("starts, ends, axes and steps are of different lengths");
        }
        let mut cut = Cut { starts: vec![0; rank], steps: vec![1; rank], sizes: shape.to_vec() };
        for i in 0..n {
            let (axis, step) = (s.axis(axes[i], rank)?, given_steps[i]);
            if step == 0 || step == i64::MIN {
                return invalid(format!("step {step}"));
            }
            let (start, len) = range(self.starts[i], self.ends[i], step, cut.sizes[axis]);
            (cut.starts[axis], cut.steps[axis], cut.sizes[axis]) = (start, step, len);
        }
        Ok(cut)
    }
}

/// What the operands from number `first` on (starts, ends, axes, steps) take of `shape`.
pub(super) fn slice_operands(s: &Site, first: usize, shape: &[usize]) -> Made<Cut> {
    SliceArgs::operands(s, first)?.of(s, shape)
}

pub(in crate::onnx) fn slice(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let args = if s.opset < 10 { SliceArgs::attributes(s)? } else { SliceArgs::operands(s, 1)? };
    let cut = args.of(s, &s.b.shape(&x))?;
    Ok(vec![s.b.slice_by(&x, &cut.starts, &cut.sizes, Some(&cut.steps))?])
}

/// First index and number of elements of `start..end` by `step` within an axis of extent `n`.
fn range(start: i64, end: i64, step: i64, n: usize) -> (i64, usize) {
    let n = n as i64;
    let place = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let start = place(start).clamp(low.max(0), high.max(0));
    let end = place(end).clamp(low, high);
    let distance = if step > 0 { end - start } else { start - end };
    if distance <= 0 || n == 0 {
        return (0, 0);
    }
    (start, (distance as u64).div_ceil(step.unsigned_abs()) as usize)
}

pub(in crate::onnx) fn pad(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let rank = s.b.rank(&x);
    let mode = s.text("mode", "constant")?;
    let (pads, value) = if s.opset < 11 {
        (s.ints("pads")?, s.float("value", 0.0)?)
    } else {
        (s.const_ints(1, "pads")?, s.const_float(2, "constant_value")?.unwrap_or(0.0))
    };
    let Some(pads) = pads else { return invalid("no pads are given") };
    let axes = match s.const_ints(3, "axes")? {
        Some(axes) => axes.iter().map(|&a| s.axis(a, rank)).collect::<Made<Vec<_>>>()?,
        None => (0..rank).collect(),
    };
    if pads.iter().any(|p| p.unsigned_abs() > MAX_PAD) {
        return invalid(format!("pads {pads:?}"));
    }
    if pads.len() != 2 * axes.len() {
        return invalid(format!("{} pads for {} axes", pads.len(), axes.len()));
    }
    let (mut lo, mut hi) = (vec![0i64; rank], vec![0i64; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        (lo[axis], hi[axis]) = (pads[i], pads[i + axes.len()]);
    }
    let x = crop(s, &x, &lo, &hi)?;
    let positive = |v: Vec<i64>| v.into_iter().map(|p| p.max(0)).collect::<Vec<_>>();
    let (lo, hi) = (positive(lo), positive(hi));
    if mode != "constant" {
        return Ok(vec![repeated(s, &x, &lo, &hi, mode)?]);
    }
    Ok(vec![padded(s, &x, lo, hi, value)?])
}

/// Elements of `value` before and after each axis.
pub(super) fn padded(s: &mut Site, x: &Value, lo: Vec<i64>, hi: Vec<i64>, value: f32) -> Made {
    if lo.iter().chain(&hi).all(|&p| p == 0) {
        return Ok(x.clone());
    }
    let none = vec![0; lo.len()];
    let attrs = Attrs::none().with("lo", lo).with("hi", hi);
    s.b.op("pad", &[x], attrs.with("interior", none).with("value", value))
}

/// Padding with elements of x: mirrored, the outermost, or around from the other side.
fn repeated(s: &mut Site, x: &Value, lo: &[i64], hi: &[i64], mode: &str) -> Made {
    let mut y = x.clone();
    for (axis, n) in s.b.shape(x).into_iter().enumerate() {
        let n = n as i64;
        if lo[axis] == 0 && hi[axis] == 0 {
            continue;
        }
        few(&[usize::try_from(n + lo[axis] + hi[axis]).unwrap_or(usize::MAX)])?;
        if n == 0 {
            return invalid("padding by the elements of an empty axis");
        }
        let source = |i: i64| match mode {
            "edge" => Ok(i.clamp(0, n - 1)),
            "wrap" => Ok(i.rem_euclid(n)),
            "reflect" => {
                let period = (2 * (n - 1)).max(1);
                let i = i.rem_euclid(period);
                Ok(i.min(period - i).min(n - 1))
            }
            other => unsupported(format!("mode `{other}`")),
        };
        let index = (-lo[axis]..n + hi[axis]).map(source).collect::<Made<Vec<_>>>()?;
        y = s.b.gather(&y, &int_list(index)?, axis)?;
    }
    Ok(y)
}

/// The middle of each axis, or the axis in the middle of zeros.
pub(in crate::onnx) fn center_crop_pad(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let mut size = s.b.shape(&x);
    let rank = size.len();
    let Some(wanted) = s.const_ints(1, "shape")? else { return invalid("no shape is given") };
    let axes = s.ints("axes")?.unwrap_or_else(|| (0..rank as i64).collect());
    if axes.len() != wanted.len() {
        return invalid(format!("{} sizes for {} axes", wanted.len(), axes.len()));
    }
    let (mut starts, mut lo, mut hi) = (vec![0; rank], vec![0; rank], vec![0; rank]);
    for (&axis, wanted) in axes.iter().zip(sizes(&wanted)?) {
        let axis = s.axis(axis, rank)?;
        let n = size[axis];
        starts[axis] = (n.saturating_sub(wanted) / 2) as i64;
        let more = wanted.saturating_sub(n);
        (lo[axis], hi[axis]) = ((more / 2) as i64, (more - more / 2) as i64);
        size[axis] = n.min(wanted);
    }
    let x = s.b.slice_by(&x, &starts, &size, None)?;
    Ok(vec![padded(s, &x, lo, hi, 0.0)?])
}

/// Negative pads take elements away.
fn crop(s: &mut Site, x: &Value, lo: &[i64], hi: &[i64]) -> Made {
    let mut size = s.b.shape(x);
    let mut starts = vec![0; size.len()];
    for axis in 0..size.len() {
        starts[axis] = lo[axis].min(0).saturating_neg();
        let left = (size[axis] as i64).saturating_sub(starts[axis]).saturating_add(hi[axis].min(0));
        size[axis] = usize::try_from(left)
            .map_err(|_| Fault::Invalid(format!("pads take away all of axis {axis}")))?;
    }
    s.b.slice_by(x, &starts, &size, None)
}

pub(in crate::onnx) fn depth_to_space(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let (shape, block) = blocks(s, &x)?;
    let [n, c, h, w] = shape;
    let dcr = s.text("mode", "DCR")? == "DCR";
    if !c.is_multiple_of(block * block) {
        return invalid(format!("{c} channels in blocks of {block}"));
    }
    let inner = c / (block * block);
    let (split, perm) = if dcr {
        ([n, block, block, inner, h, w], [0, 3, 4, 1, 5, 2])
    } else {
        ([n, inner, block, block, h, w], [0, 1, 4, 2, 5, 3])
    };
    let x = s.b.reshape(&x, &split)?;
    let x = s.b.transpose(&x, &perm)?;
    Ok(vec![s.b.reshape(&x, &[n, inner, h.saturating_mul(block), w.saturating_mul(block)])?])
}

pub(in crate::onnx) fn space_to_depth(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let (shape, block) = blocks(s, &x)?;
    let [n, c, h, w] = shape;
    if !h.is_multiple_of(block) || !w.is_multiple_of(block) {
        return invalid(format!("{h} × {w} in blocks of {block}"));
    }
    let x = s.b.reshape(&x, &[n, c, h / block, block, w / block, block])?;
    let x = s.b.transpose(&x, &[0, 3, 5, 1, 2, 4])?;
    let channels = c.saturating_mul(block * block);
    Ok(vec![s.b.reshape(&x, &[n, channels, h / block, w / block])?])
}

fn blocks(s: &Site, x: &Value) -> Made<([usize; 4], usize)> {
    let shape = s.b.shape(x);
    let shape: [usize; 4] =
        shape.try_into().map_err(|d| Fault::Invalid(format!("{d:?} is not of rank 4")))?;
    let block = s.int("blocksize", 0)?;
    match usize::try_from(block) {
        Ok(block) if (1..1 << 16).contains(&block) => Ok((shape, block)),
        _ => invalid(format!("blocks of {block}")),
    }
}

pub(super) fn sizes(list: &[i64]) -> Made<Vec<usize>> {
    list.iter()
        .map(|&d| usize::try_from(d).map_err(|_| Fault::Invalid(format!("sizes {list:?}"))))
        .collect()
}

pub(super) fn int_list(values: Vec<i64>) -> Made {
    let n = values.len();
    Tensor::from_vec(&[n], values)
        .map(Value::Const)
        .ok_or_else(|| Fault::Invalid("a list of a wrong length".to_owned()))
}
