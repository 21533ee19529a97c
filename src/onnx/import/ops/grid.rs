//! Sampling at computed coordinates.

use pamc_passes::ir::{Attrs, DType, Tensor};

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Build, Made, Value, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// Coordinates −1 … 1 of the elements of an axis.
fn line(n: usize, corners: bool) -> Vec<f32> {
    let place = |i: usize| match corners {
        true => 2.0 * i as f64 / (n.max(2) - 1) as f64 - 1.0,
        false => (2.0 * i as f64 + 1.0) / n as f64 - 1.0,
    };
    (0..n).map(|i| place(i) as f32).collect()
}

/// The coordinates of every element of the result under an affine map.
pub(in crate::onnx) fn affine_grid(s: &mut Site) -> Out {
    let theta = s.input(0)?;
    let Some(size) = s.const_ints(1, "size")? else { return invalid("no size is given") };
    let size = super::layout::sizes(&size)?;
    let (Some(spatial), corners) = (size.get(2..), s.flag("align_corners", false)?) else {
        return invalid(format!("size {size:?}"));
    };
    let (d, n) = (spatial.len(), spatial.iter().product::<usize>());
    crate::onnx::import::value::few(&[n, d + 1])?;
    let lines: Vec<Vec<f32>> = spatial.iter().map(|&n| line(n, corners)).collect();
    let steps = super::index::strides(spatial);
    // The last axis comes first among the coordinates.
    let row = |at: usize| {
        let axis = |k: usize| lines[k][at / steps[k] % spatial[k]];
        (0..d).rev().map(axis).chain([1.0]).collect::<Vec<f32>>()
    };
    let grid = Tensor::from_vec(&[n, d + 1], (0..n).flat_map(row).collect());
    let Some(grid) = grid.map(Value::Const) else { return invalid("a grid of a wrong size") };
    let y = s.b.matmul(&grid, &theta, false, true)?;
    Ok(vec![s.b.reshape(&y, &[&size[..1], spatial, &[d]].concat())?])
}

/// How coordinates outside an axis are brought back.
struct Border<'a> {
    mode: &'a str,
    corners: bool,
}

impl Border<'_> {
    /// Reflected at the ends of an axis of n elements as often as needed.
    fn reflected(&self, b: &mut Build, x: &Value, n: usize) -> Made {
        let (low, range) = if self.corners { (0.0, n as f32 - 1.0) } else { (-0.5, n as f32) };
        if range <= 0.0 {
            return b.mul_const(x, 0.0);
        }
        let from = b.add_const(x, -low)?;
        let from = b.op("abs", &[&from], Attrs::none())?;
        // Within two ranges, the second backwards.
        let by = b.scalar(2.0 * range);
        let rest = b.float_remainder("mod", &from, &by)?;
        let back = b.sub(&by, &rest)?;
        let folded = b.op("min", &[&rest, &back], Attrs::none())?;
        b.add_const(&folded, low)
    }

    /// A coordinate before its neighbours are sought.
    fn inside(&self, b: &mut Build, x: &Value, n: usize) -> Made {
        match self.mode {
            "border" => b.clamped(x, 0, n as i64 - 1),
            "reflection" => self.reflected(b, x, n),
            _ => Ok(x.clone()),
        }
    }

    /// The index of a whole coordinate, and whether its element counts.
    fn index(&self, b: &mut Build, x: &Value, n: usize) -> Made<(Value, Option<Value>)> {
        let x = if self.mode == "reflection" { self.reflected(b, x, n)? } else { x.clone() };
        let held = b.clamped(&x, 0, n as i64 - 1)?;
        let known = match self.mode {
            "zeros" => Some(b.eq(&held, &x)?),
            _ => None,
        };
        Ok((b.cast(&held, DType::I64)?, known))
    }
}

/// Weights of the neighbours of a coordinate that lies `t` beyond the one at offset 0.
fn weights(b: &mut Build, t: &Value, mode: &str) -> Made<Vec<(i64, Value)>> {
    let one = b.scalar(1.0);
    let rest = b.sub(&one, t)?;
    if mode == "linear" {
        return Ok(vec![(0, rest), (1, t.clone())]);
    }
    const A: f32 = -0.75;
    // Keys' cubic: within one element of the coordinate, and from one to two.
    let close = |b: &mut Build, x: &Value| -> Made {
        let y = b.mul_const(x, A + 2.0)?;
        let y = b.add_const(&y, -(A + 3.0))?;
        let y = b.mul(&y, x)?;
        let y = b.mul(&y, x)?;
        b.add_const(&y, 1.0)
    };
    let far = |b: &mut Build, x: &Value| -> Made {
        let x = b.add_const(x, 1.0)?;
        let y = b.mul_const(&x, A)?;
        let y = b.add_const(&y, -5.0 * A)?;
        let y = b.mul(&y, &x)?;
        let y = b.add_const(&y, 8.0 * A)?;
        let y = b.mul(&y, &x)?;
        b.add_const(&y, -4.0 * A)
    };
    Ok(vec![(-1, far(b, t)?), (0, close(b, t)?), (1, close(b, &rest)?), (2, far(b, &rest)?)])
}

/// The neighbours of a coordinate along one axis: index, whether it counts, weight.
type Neighbours = Vec<(Value, Option<Value>, Option<Value>)>;

fn neighbours(b: &mut Build, x: &Value, n: usize, mode: &str, border: &Border) -> Made<Neighbours> {
    if mode == "nearest" {
        let x = b.op("round", &[x], Attrs::none())?;
        let (index, known) = border.index(b, &x, n)?;
        return Ok(vec![(index, known, None)]);
    }
    let x = border.inside(b, x, n)?;
    let base = b.op("floor", &[&x], Attrs::none())?;
    let t = b.sub(&x, &base)?;
    let mut out = Vec::new();
    for (offset, weight) in weights(b, &t, mode)? {
        let at = b.add_const(&base, offset as f32)?;
        let (index, known) = border.index(b, &at, n)?;
        out.push((index, known, Some(weight)));
    }
    Ok(out)
}

/// Elements of x at the coordinates of a grid, interpolated.
pub(in crate::onnx) fn grid_sample(s: &mut Site) -> Out {
    let (x, grid) = (s.input(0)?, s.input(1)?);
    let mode = match s.text("mode", "linear")? {
        "bilinear" | "linear" => "linear",
        "bicubic" | "cubic" => "cubic",
        "nearest" => "nearest",
        other => return unsupported(format!("mode `{other}`")),
    };
    let border =
        Border { mode: s.text("padding_mode", "zeros")?, corners: s.flag("align_corners", false)? };
    let (shape, places) = (s.b.shape(&x), s.b.shape(&grid));
    let rank = shape.len();
    if rank < 3 || places.len() != rank || places[rank - 1] != rank - 2 || places[0] != shape[0] {
        return invalid(format!("a grid of shape {places:?} for {shape:?}"));
    }
    if shape[2..].contains(&0) {
        return invalid("an axis without elements");
    }
    let spatial = &shape[2..];
    let out = &places[..rank - 1];
    // [batch · spatial …, channels], so that an index names all channels of an element.
    let perm: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    let rows = s.b.transpose(&x, &perm)?;
    let count: usize = spatial.iter().product();
    let rows = s.b.reshape(&rows, &[shape[0] * count, shape[1]])?;
    let mut first = vec![1; rank - 1];
    first[0] = shape[0];
    let samples = s.b.ramp(DType::I64, &first)?;
    let samples = s.b.times(&samples, count)?;
    // Every combination of one neighbour an axis: position, whether it counts, weight.
    let mut all: Neighbours = vec![(samples, None, None)];
    let steps = super::index::strides(spatial);
    for (axis, &n) in spatial.iter().enumerate() {
        let place = s.b.pick(&grid, rank - 1, rank - 3 - axis)?;
        let place = s.b.add_const(&place, 1.0)?;
        let scale = if border.corners { n as f32 - 1.0 } else { n as f32 } / 2.0;
        let place = s.b.mul_const(&place, scale)?;
        let place = if border.corners { place } else { s.b.add_const(&place, -0.5)? };
        let near = neighbours(&mut s.b, &place, n, mode, &border)?;
        let mut joined = Vec::new();
        for (at, known, weight) in &all {
            for (index, more, factor) in &near {
                let step = s.b.times(index, steps[axis])?;
                let at = s.b.add(at, &step)?;
                let known = match (known, more) {
                    (Some(a), Some(b)) => Some(s.b.op("and", &[a, b], Attrs::none())?),
                    (a, b) => a.clone().or(b.clone()),
                };
                let weight = match (weight, factor) {
                    (Some(a), Some(b)) => Some(s.b.mul(a, b)?),
                    (a, b) => a.clone().or(b.clone()),
                };
                joined.push((at, known, weight));
            }
        }
        all = joined;
    }
    let wide = [out, &[1]].concat();
    let mut total: Option<Value> = None;
    for (at, known, weight) in all {
        let mut part = s.b.gather(&rows, &at, 0)?;
        if let Some(weight) = weight {
            let weight = s.b.reshape(&weight, &wide)?;
            part = s.b.mul(&part, &weight)?;
        }
        if let Some(known) = known {
            let (known, zero) = (s.b.reshape(&known, &wide)?, s.b.scalar(0.0));
            part = s.b.select(&known, &part, &zero)?;
        }
        total = Some(match total {
            None => part,
            Some(total) => s.b.add(&total, &part)?,
        });
    }
    let Some(total) = total else { return invalid("no coordinates") };
    let back: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    Ok(vec![s.b.transpose(&total, &back)?])
}
