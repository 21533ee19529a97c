//! Resizing: along each axis a weighted sum of a few elements, weights and places known at import.

use pamc_passes::ir::{DType, Tensor};

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Fault, Made, Value, few, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// How coordinates of the result map to those of the operand, and which elements count there.
struct Filter<'a> {
    mode: &'a str,
    nearest: &'a str,
    coordinates: &'a str,
    a: f64,
    antialias: bool,
    exclude_outside: bool,
}

/// One axis: extents before and after, scale, and the part of it that is taken.
#[derive(Clone, Copy)]
struct Axis {
    from: usize,
    to: usize,
    scale: f64,
    roi: (f64, f64),
}

/// Elements of the operand with their weights, for one coordinate of the result; `None` outside.
type Taps = Option<Vec<(usize, f64)>>;

fn cubic(x: f64, a: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

impl Filter<'_> {
    /// The coordinate in the operand of coordinate `i` of the result.
    fn source(&self, axis: &Axis, i: usize) -> Made<f64> {
        let (i, from) = (i as f64, axis.from as f64);
        let width = axis.scale * from;
        let half = (i + 0.5) / axis.scale - 0.5;
        Ok(match self.coordinates {
            "half_pixel" => half,
            "pytorch_half_pixel" if axis.to == 1 => -0.5,
            "pytorch_half_pixel" => half,
            "half_pixel_symmetric" => from / 2.0 * (1.0 - axis.to as f64 / width) + half,
            "asymmetric" => i / axis.scale,
            "align_corners" if width == 1.0 || axis.to == 1 => 0.0,
            "align_corners" => i * (from - 1.0) / (width - 1.0),
            "tf_half_pixel_for_nn" => (i + 0.5) / axis.scale,
            "tf_crop_and_resize" => {
                let (start, end) = axis.roi;
                let inside = if axis.to == 1 {
                    (end - start) * (from - 1.0) / 2.0
                } else {
                    i * (end - start) * (from - 1.0) / (width - 1.0)
                };
                inside + start * (from - 1.0)
            }
            other => return unsupported(format!("coordinate_transformation_mode `{other}`")),
        })
    }

    /// Weights of the elements from `low` on, where the coordinate is `ratio` beyond ⌈x⌉ − 1.
    fn weights(&self, ratio: f64, scale: f64) -> Made<(i64, Vec<f64>)> {
        let scale = if self.antialias { scale.min(1.0) } else { 1.0 };
        let (reach, kernel): (f64, Box<dyn Fn(f64) -> f64>) = match self.mode {
            "linear" => (1.0, Box::new(|x: f64| (1.0 - x.abs()).max(0.0))),
            "cubic" => (2.0, Box::new(|x: f64| cubic(x, self.a))),
            "nearest" => {
                let up = match self.nearest {
                    "round_prefer_floor" => ratio > 0.5,
                    "round_prefer_ceil" => ratio >= 0.5,
                    "floor" => ratio == 1.0,
                    "ceil" => true,
                    other => return unsupported(format!("nearest_mode `{other}`")),
                };
                return Ok((up.into(), vec![1.0]));
            }
            other => return unsupported(format!("mode `{other}`")),
        };
        let low = (-reach / scale).floor() as i64 + 1;
        let high = if self.antialias { 1 - low } else { reach as i64 };
        let weights: Vec<f64> = (low..=high).map(|i| kernel(scale * (i as f64 - ratio))).collect();
        let total: f64 = if self.antialias { weights.iter().sum() } else { 1.0 };
        Ok((low, weights.into_iter().map(|w| w / total).collect()))
    }

    fn taps(&self, axis: &Axis, i: usize) -> Made<Taps> {
        let x = self.source(axis, i)?;
        let last = axis.from as i64 - 1;
        if self.coordinates == "tf_crop_and_resize" && !(0.0..=last as f64).contains(&x) {
            return Ok(None);
        }
        // The element on the left is preferred, so the ratio is in (0, 1].
        let base = x.ceil() - 1.0;
        let (low, mut weights) = self.weights(x - base, axis.scale)?;
        let first = base as i64 + low;
        if self.exclude_outside {
            let inside = |k: usize| (0..=last).contains(&(first + k as i64));
            let total: f64 = (0..weights.len()).filter(|&k| inside(k)).map(|k| weights[k]).sum();
            let share = |(k, w): (usize, &f64)| if inside(k) { w / total } else { 0.0 };
            weights = weights.iter().enumerate().map(share).collect();
        }
        let place = |(k, w): (usize, f64)| ((first + k as i64).clamp(0, last) as usize, w);
        Ok(Some(weights.into_iter().enumerate().map(place).collect()))
    }
}

/// One axis of x resized: a gather of all taps, a product with their weights and a sum.
fn along(s: &mut Site, x: &Value, at: usize, taps: &[Taps], outside: f32) -> Made {
    let shape = s.b.shape(x);
    let n = taps.iter().flatten().map(Vec::len).max().unwrap_or(1);
    let tap = |t: &Taps, k: usize| t.as_ref().and_then(|t| t.get(k).copied()).unwrap_or((0, 0.0));
    let all: Vec<(usize, f64)> = taps.iter().flat_map(|t| (0..n).map(move |k| tap(t, k))).collect();
    few(&[all.len()])?;
    let index = Tensor::from_vec(&[taps.len(), n], all.iter().map(|t| t.0 as i64).collect());
    let weights = Tensor::from_vec(&[taps.len(), n], all.iter().map(|t| t.1 as f32).collect());
    let (Some(index), Some(weights)) = (index, weights) else {
        return invalid("a filter of a wrong size");
    };
    let plain = all.iter().all(|t| t.1 == 1.0);
    let mut wide = vec![1; shape.len() - at];
    wide[0] = taps.len();
    let mut y = if n == 1 && plain {
        let Some(index) = index.reshaped(&[taps.len()]) else { return invalid("an index") };
        s.b.gather(x, &Value::Const(index), at)?
    } else {
        let parts = s.b.gather(x, &Value::Const(index), at)?;
        let mut by = wide.clone();
        by.insert(1, n);
        let weights = s.b.reshape(&Value::Const(weights), &by)?;
        let parts = s.b.mul(&parts, &weights)?;
        s.b.sum(&parts, &[at + 1], false)?
    };
    if taps.iter().any(Option::is_none) {
        let inside = taps.iter().map(Option::is_some).collect();
        let Some(inside) = Tensor::from_vec::<bool>(&wide, inside) else {
            return invalid("a mask of a wrong size");
        };
        let outside = s.b.scalar(outside);
        y = s.b.select(&Value::Const(inside), &y, &outside)?;
    }
    Ok(y)
}

/// Extents and scales of every axis, by `sizes` or else `scales`, given for `axes`.
fn extents(
    s: &Site,
    shape: &[usize],
    axes: &[usize],
    scales: Option<Vec<f32>>,
    sizes: Option<Vec<i64>>,
) -> Made<Vec<Axis>> {
    let whole = |&n: &usize| Axis { from: n, to: n, scale: 1.0, roi: (0.0, 1.0) };
    let mut out: Vec<Axis> = shape.iter().map(whole).collect();
    let wrong = || Fault::Invalid(format!("sizes or scales do not fit axes {axes:?}"));
    if let Some(sizes) = sizes.filter(|s| !s.is_empty()) {
        if sizes.len() != axes.len() {
            return Err(wrong());
        }
        let ratio = |(&a, &n): (&usize, &i64)| n as f64 / shape[a] as f64;
        let ratios: Vec<f64> = axes.iter().zip(&sizes).map(ratio).collect();
        let one = match s.text("keep_aspect_ratio_policy", "stretch")? {
            "stretch" => None,
            "not_larger" => ratios.iter().copied().reduce(f64::min),
            "not_smaller" => ratios.iter().copied().reduce(f64::max),
            other => return unsupported(format!("keep_aspect_ratio_policy `{other}`")),
        };
        for (i, &a) in axes.iter().enumerate() {
            out[a].scale = one.unwrap_or(ratios[i]);
            let to = one.map_or(sizes[i] as f64, |one| (one * shape[a] as f64 + 0.5).floor());
            out[a].to = few(&[to.max(0.0) as usize])?;
        }
        return Ok(out);
    }
    let scales = scales.filter(|s| s.len() == axes.len()).ok_or_else(wrong)?;
    for (&a, &scale) in axes.iter().zip(&scales) {
        if scale.is_nan() || scale <= 0.0 {
            return invalid(format!("a scale of {scale}"));
        }
        let to = (f64::from(scale) * shape[a] as f64).floor();
        (out[a].scale, out[a].to) = (scale.into(), few(&[to as usize])?);
    }
    Ok(out)
}

fn floats(s: &Site, i: usize, what: &str) -> Made<Option<Vec<f32>>> {
    Ok(s.constant(i, what)?.and_then(|t| t.to_vec::<f32>()))
}

fn apply(s: &mut Site, filter: &Filter, axes: &[Axis]) -> Out {
    let x = s.input(0)?;
    let outside = s.float("extrapolation_value", 0.0)?;
    let dtype = s.b.dtype(&x);
    let mut y = if filter.mode == "nearest" { x.clone() } else { s.b.cast(&x, DType::F32)? };
    for (at, axis) in axes.iter().enumerate() {
        let kept = axis.from == axis.to && axis.scale == 1.0 && axis.roi == (0.0, 1.0);
        if kept {
            continue;
        }
        if axis.from == 0 {
            return invalid("an axis without elements");
        }
        let taps = (0..axis.to).map(|i| filter.taps(axis, i)).collect::<Made<Vec<_>>>()?;
        y = along(s, &y, at, &taps, outside)?;
    }
    Ok(vec![s.b.cast(&y, dtype)?])
}

pub(in crate::onnx) fn resize(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let shape = s.b.shape(&x);
    let old = s.opset < 11;
    let filter = Filter {
        mode: s.text("mode", "nearest")?,
        nearest: if old { "floor" } else { s.text("nearest_mode", "round_prefer_floor")? },
        coordinates: if old {
            "asymmetric"
        } else {
            s.text("coordinate_transformation_mode", "half_pixel")?
        },
        a: s.float("cubic_coeff_a", -0.75)?.into(),
        antialias: s.flag("antialias", false)?,
        exclude_outside: s.flag("exclude_outside", false)?,
    };
    let axes = match s.ints("axes")? {
        Some(axes) => axes.iter().map(|&a| s.axis(a, shape.len())).collect::<Made<Vec<_>>>()?,
        None => (0..shape.len()).collect(),
    };
    s.ignore(&["keep_aspect_ratio_policy"]);
    let (scales, sizes) = if old {
        (floats(s, 1, "scales")?, None)
    } else {
        (floats(s, 2, "scales")?, s.const_ints(3, "sizes")?)
    };
    let mut extents = extents(s, &shape, &axes, scales, sizes)?;
    if filter.coordinates == "tf_crop_and_resize" {
        let roi = floats(s, 1, "roi")?.filter(|r| r.len() == 2 * axes.len());
        let Some(roi) = roi else { return invalid("no region of interest is given") };
        for (i, &a) in axes.iter().enumerate() {
            extents[a].roi = (roi[i].into(), roi[axes.len() + i].into());
        }
    }
    apply(s, &filter, &extents)
}

/// Resize's predecessor.
pub(in crate::onnx) fn upsample(s: &mut Site) -> Out {
    let shape = s.b.shape(&s.input(0)?);
    let filter = Filter {
        mode: s.text("mode", "nearest")?,
        nearest: "floor",
        coordinates: "asymmetric",
        a: -0.75,
        antialias: false,
        exclude_outside: false,
    };
    let axes: Vec<usize> = (0..shape.len()).collect();
    let scales = if s.opset < 9 { s.floats("scales")? } else { floats(s, 1, "scales")? };
    let extents = extents(s, &shape, &axes, scales, None)?;
    apply(s, &filter, &extents)
}
