//! Regions and deformed windows: bilinear samples at computed places.

use pamc_passes::ir::{Attrs, DType, Tensor};

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Build, Fault, Made, Value, few, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// A plane of `[height, width]` elements, rows of `[planes · height · width, channels]`.
struct Planes {
    rows: Value,
    height: usize,
    width: usize,
}

/// Lower and upper neighbour of coordinates along an axis of n, and the share of the upper one.
fn pair(b: &mut Build, x: &Value, n: usize) -> Made<[Value; 3]> {
    let x = b.clamped(x, 0, n as i64 - 1)?;
    let low = b.op("floor", &[&x], Attrs::none())?;
    let share = b.sub(&x, &low)?;
    let high = b.add_const(&low, 1.0)?;
    let high = b.clamped(&high, 0, n as i64 - 1)?;
    Ok([b.cast(&low, DType::I64)?, b.cast(&high, DType::I64)?, share])
}

/// Whether coordinates are no more than one element outside an axis of n.
fn near(b: &mut Build, x: &Value, n: usize) -> Made {
    let (low, high) = (b.scalar(-1.0), b.scalar(n as f32));
    let above = b.op("ge", &[x, &low], Attrs::none())?;
    let below = b.op("le", &[x, &high], Attrs::none())?;
    b.op("and", &[&above, &below], Attrs::none())
}

impl Planes {
    fn of(b: &mut Build, x: &Value, groups: usize) -> Made<Planes> {
        let [n, c, height, width] = b.shape(x)[..] else {
            return unsupported("an operand that is not of two spatial axes");
        };
        if groups == 0 || !c.is_multiple_of(groups) || height * width == 0 {
            return invalid(format!("{c} channels of {height} × {width} in {groups} groups"));
        }
        let x = b.reshape(x, &[n * groups, c / groups, height, width])?;
        let x = b.transpose(&x, &[0, 2, 3, 1])?;
        let rows = b.reshape(&x, &[n * groups * height * width, c / groups])?;
        Ok(Planes { rows, height, width })
    }

    /// The four neighbours of places (y, x), each weighted; `base` is where the planes begin. One
    /// axis more than the places have, of channels.
    fn weighted(&self, b: &mut Build, base: &Value, y: &Value, x: &Value) -> Made<Vec<Value>> {
        let ([y0, y1, v], [x0, x1, u]) = (pair(b, y, self.height)?, pair(b, x, self.width)?);
        let one = b.scalar(1.0);
        let (rest_v, rest_u) = (b.sub(&one, &v)?, b.sub(&one, &u)?);
        let mut out = Vec::new();
        for (row, by) in [(&y0, &rest_v), (&y1, &v)] {
            let row = b.times(row, self.width)?;
            let row = b.add(base, &row)?;
            for (column, bx) in [(&x0, &rest_u), (&x1, &u)] {
                let at = b.add(&row, column)?;
                let weight = b.mul(by, bx)?;
                let wide = [&b.shape(&weight)[..], &[1]].concat();
                let (weight, value) = (b.reshape(&weight, &wide)?, b.gather(&self.rows, &at, 0)?);
                out.push(b.mul(&value, &weight)?);
            }
        }
        Ok(out)
    }
}

fn folded(b: &mut Build, op: &str, parts: &[Value]) -> Made {
    let mut parts = parts.iter();
    let Some(first) = parts.next() else { return invalid("nothing to combine") };
    parts.try_fold(first.clone(), |total, part| b.op(op, &[&total, part], Attrs::none()))
}

/// Each region divided into bins, and the samples of each bin averaged or their maximum taken.
pub(in crate::onnx) fn roi_align(s: &mut Site) -> Out {
    let (x, rois, sample) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let size = |v: i64| usize::try_from(v).ok().filter(|v| (1..1 << 12).contains(v));
    let (oh, ow) = (size(s.int("output_height", 1)?), size(s.int("output_width", 1)?));
    let Some((oh, ow)) = oh.zip(ow) else { return invalid("a result of a wrong size") };
    let Some(grid) = size(s.int("sampling_ratio", 0)?) else {
        return unsupported("samples whose number depends on the region's size");
    };
    let scale = s.float("spatial_scale", 1.0)?;
    let default = if s.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let centred = s.text("coordinate_transformation_mode", default)? == "half_pixel";
    let largest = s.text("mode", "avg")? == "max";
    let planes = Planes::of(&mut s.b, &x, 1)?;
    let [r, 4] = s.b.shape(&rois)[..] else { return invalid("regions without four corners") };
    let b = &mut s.b;
    let offset = if centred { -0.5 } else { 0.0 };
    let line = |b: &mut Build, first: usize, out: usize| -> Made {
        let edge = |b: &mut Build, k: usize| -> Made {
            let v = b.slice(&rois, 1, k, 1)?;
            let v = b.mul_const(&v, scale)?;
            b.add_const(&v, offset)
        };
        let (start, end) = (edge(b, first)?, edge(b, first + 2)?);
        let mut len = b.sub(&end, &start)?;
        if !centred {
            let one = b.scalar(1.0);
            len = b.max(&len, &one)?;
        }
        few(&[out, grid])?;
        let place = |i: usize| (i as f32 + 0.5) / (grid * out) as f32;
        let places = Tensor::from_vec(&[1, out * grid], (0..out * grid).map(place).collect());
        let places = places.ok_or_else(|| Fault::Invalid("a grid of a wrong size".into()))?;
        let within = b.mul(&len, &Value::Const(places))?;
        b.add(&start, &within)
    };
    let (y, x) = (line(b, 1, oh)?, line(b, 0, ow)?);
    let y = b.reshape(&y, &[r, oh * grid, 1])?;
    let x = b.reshape(&x, &[r, 1, ow * grid])?;
    let sample = b.cast(&sample, DType::I64)?;
    let base = b.times(&sample, planes.height * planes.width)?;
    let base = b.reshape(&base, &[r, 1, 1])?;
    let parts = planes.weighted(b, &base, &y, &x)?;
    let all = folded(b, if largest { "max" } else { "add" }, &parts)?;
    let (inside_y, inside_x) = (near(b, &y, planes.height)?, near(b, &x, planes.width)?);
    let inside = b.op("and", &[&inside_y, &inside_x], Attrs::none())?;
    let wide = [&b.shape(&inside)[..], &[1]].concat();
    let (inside, zero) = (b.reshape(&inside, &wide)?, b.scalar(0.0));
    let all = b.select(&inside, &all, &zero)?;
    let c = b.shape(&all)[3];
    let all = b.reshape(&all, &[r, oh, grid, ow, grid, c])?;
    let y = b.reduce(if largest { "reduce_max" } else { "mean" }, &all, &[2, 4], false)?;
    Ok(vec![b.transpose(&y, &[0, 3, 1, 2])?])
}

/// A convolution whose taps are moved by computed offsets and weighted by a mask.
pub(in crate::onnx) fn deform_conv(s: &mut Site) -> Out {
    let (x, w, offset) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let (shape, weight) = (s.b.shape(&x), s.b.shape(&w));
    let count = |v: i64| usize::try_from(v).unwrap_or(0);
    let (groups, moved) = (count(s.int("group", 1)?), count(s.int("offset_group", 1)?));
    let window = super::conv::DeformWindow::of(s, &shape, &weight)?;
    let planes = Planes::of(&mut s.b, &x, moved)?;
    let (n, c, filters) = (shape[0], shape[1], weight[0]);
    if groups == 0 || !filters.is_multiple_of(groups) || weight[1] * groups != c {
        return invalid(format!("a weight {weight:?} in {groups} groups for {shape:?}"));
    }
    let (taps, [oh, ow]) = (window.kernel[0] * window.kernel[1], window.out);
    let b = &mut s.b;
    let offset = b.reshape(&offset, &[n, moved, taps, 2, oh, ow])?;
    let place = |b: &mut Build, axis: usize| -> Made {
        let start = window.starts(axis);
        few(&[taps, oh, ow])?;
        let start = Tensor::from_vec(&[taps, oh, ow], start);
        let start = start.ok_or_else(|| Fault::Invalid("a grid of a wrong size".into()))?;
        let by = b.pick(&offset, 3, axis)?;
        b.add(&by, &Value::Const(start))
    };
    let (y, x) = (place(b, 0)?, place(b, 1)?);
    let base = b.ramp(DType::I64, &[n, moved, 1, 1, 1])?;
    let base = b.times(&base, planes.height * planes.width)?;
    // Samples outside count as zero in proportion: neighbours there have none.
    let parts = planes.weighted_inside(b, &base, &y, &x)?;
    let mut all = folded(b, "add", &parts)?;
    if let Some(mask) = s.opt(4) {
        let mask = s.b.reshape(&mask, &[n, moved, taps, oh, ow, 1])?;
        all = s.b.mul(&all, &mask)?;
    }
    let b = &mut s.b;
    let all = b.transpose(&all, &[0, 1, 5, 2, 3, 4])?;
    let depth = c / groups * taps;
    let all = b.reshape(&all, &[n, groups, depth, oh * ow])?;
    let w = b.reshape(&w, &[groups, filters / groups, depth])?;
    let y = b.matmul(&w, &all, false, false)?;
    let mut y = b.reshape(&y, &[n, filters, oh, ow])?;
    if let Some(bias) = s.opt(3) {
        let bias = s.b.reshape(&bias, &[filters, 1, 1])?;
        y = s.b.add(&y, &bias)?;
    }
    Ok(vec![y])
}

impl Planes {
    /// Like [`Planes::weighted`], but neighbours outside the plane are zeros.
    fn weighted_inside(
        &self,
        b: &mut Build,
        base: &Value,
        y: &Value,
        x: &Value,
    ) -> Made<Vec<Value>> {
        let split = |b: &mut Build, v: &Value, n: usize| -> Made<[(Value, Value, Value); 2]> {
            let low = b.op("floor", &[v], Attrs::none())?;
            let (share, one) = (b.sub(v, &low)?, b.scalar(1.0));
            let (rest, high) = (b.sub(&one, &share)?, b.add_const(&low, 1.0)?);
            let mut side = |at: &Value, weight: Value| -> Made<(Value, Value, Value)> {
                let held = b.clamped(at, 0, n as i64 - 1)?;
                let inside = b.eq(&held, at)?;
                Ok((b.cast(&held, DType::I64)?, inside, weight))
            };
            Ok([side(&low, rest)?, side(&high, share)?])
        };
        let (rows, columns) = (split(b, y, self.height)?, split(b, x, self.width)?);
        let (zero, mut out) = (b.scalar(0.0), Vec::new());
        for (row, row_inside, by) in &rows {
            let row = b.times(row, self.width)?;
            let row = b.add(base, &row)?;
            for (column, column_inside, bx) in &columns {
                let at = b.add(&row, column)?;
                let inside = b.op("and", &[row_inside, column_inside], Attrs::none())?;
                let weight = b.mul(by, bx)?;
                let weight = b.select(&inside, &weight, &zero)?;
                let wide = [&b.shape(&weight)[..], &[1]].concat();
                let (weight, value) = (b.reshape(&weight, &wide)?, b.gather(&self.rows, &at, 0)?);
                out.push(b.mul(&value, &weight)?);
            }
        }
        Ok(out)
    }
}
