//! Signals: windows and Fourier transforms, as products with constant matrices.

use std::f64::consts::TAU;

use pamc_passes::ir::Tensor;

use crate::onnx::import::site::{self, Site};
use crate::onnx::import::value::{Made, Value, few, invalid};

type Out = Made<Vec<Value>>;

/// Σ cₖ cos(2πkn/N), the terms alternating in sign.
fn window(s: &mut Site, terms: &[f64]) -> Out {
    let Some(size) = s.const_int(0, "size")? else { return invalid("no size is given") };
    let periodic = s.flag("periodic", true)?;
    let to = site::dtype(s.int("output_datatype", 1)? as i32)?;
    let n = few(&[usize::try_from(size).unwrap_or(usize::MAX)])?;
    let period = if periodic { n } else { n.saturating_sub(1).max(1) } as f64;
    let value = |i: usize| {
        let term = |(k, c): (usize, &f64)| {
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            sign * c * (TAU * (k * i) as f64 / period).cos()
        };
        terms.iter().enumerate().map(term).sum::<f64>() as f32
    };
    let Some(t) = Tensor::from_vec(&[n], (0..n).map(value).collect()) else {
        return invalid("a window of a wrong size");
    };
    Ok(vec![s.b.cast(&Value::Const(t), to)?])
}

pub(in crate::onnx) fn hann(s: &mut Site) -> Out {
    window(s, &[0.5, 0.5])
}

pub(in crate::onnx) fn hamming(s: &mut Site) -> Out {
    window(s, &[25.0 / 46.0, 21.0 / 46.0])
}

pub(in crate::onnx) fn blackman(s: &mut Site) -> Out {
    window(s, &[0.42, 0.5, 0.08])
}

/// A matrix of `rows` × `cols` from its elements.
fn matrix(rows: usize, cols: usize, f: impl Fn(usize, usize) -> f64) -> Made {
    few(&[rows, cols])?;
    let all = (0..rows * cols).map(|at| f(at / cols, at % cols) as f32).collect();
    match Tensor::from_vec(&[rows, cols], all) {
        Some(t) => Ok(Value::Const(t)),
        None => invalid("a matrix of a wrong size"),
    }
}

/// The transform along the last axis of a signal with real and, if there is one, imaginary part.
fn transform(
    s: &mut Site,
    real: &Value,
    imaginary: Option<&Value>,
    n: usize,
    bins: usize,
    inverse: bool,
) -> Made {
    let scale = if inverse { 1.0 / n as f64 } else { 1.0 };
    let turn = |i: usize, k: usize| TAU * ((i * k) % n) as f64 / n as f64;
    let cos = matrix(n, bins, |i, k| scale * turn(i, k).cos())?;
    let sign = if inverse { 1.0 } else { -1.0 };
    let sin = matrix(n, bins, |i, k| sign * scale * turn(i, k).sin())?;
    let (mut re, mut im) =
        (s.b.matmul(real, &cos, false, false)?, s.b.matmul(real, &sin, false, false)?);
    if let Some(x) = imaginary {
        let (a, b) = (s.b.matmul(x, &sin, false, false)?, s.b.matmul(x, &cos, false, false)?);
        (re, im) = (s.b.sub(&re, &a)?, s.b.add(&im, &b)?);
    }
    let rank = s.b.rank(&re) as i64;
    s.b.stack(&[re, im], rank)
}

/// Length n of an axis by leaving elements out at the end or adding zeros.
fn fitted(s: &mut Site, x: &Value, axis: usize, n: usize) -> Made {
    let shape = s.b.shape(x);
    if shape[axis] >= n {
        return s.b.slice(x, axis, 0, n);
    }
    let mut more = shape.clone();
    more[axis] = n - shape[axis];
    let zeros = s.b.expand(&Value::Const(Tensor::scalar(0f32)), &more)?;
    s.b.concat(&[x, &zeros], axis)
}

/// The parts of a signal whose last axis holds one or two of them.
fn parts(s: &mut Site, x: &Value) -> Made<(Value, Option<Value>)> {
    let shape = s.b.shape(x);
    let last = shape.len().saturating_sub(1);
    match shape.last() {
        Some(1) => Ok((s.b.pick(x, last, 0)?, None)),
        Some(2) => Ok((s.b.pick(x, last, 0)?, Some(s.b.pick(x, last, 1)?))),
        _ => invalid(format!("a signal of shape {shape:?}")),
    }
}

pub(in crate::onnx) fn dft(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let rank = s.b.rank(&x);
    let axis = if s.opset < 20 { s.int("axis", 1)? } else { s.const_int(2, "axis")?.unwrap_or(-2) };
    let (axis, inverse) = (s.axis(axis, rank)?, s.flag("inverse", false)?);
    let onesided = s.flag("onesided", false)?;
    if axis + 1 == rank {
        return invalid("the axis is that of real and imaginary parts");
    }
    let given = s.const_int(1, "dft_length")?;
    let n = match given {
        Some(n) => usize::try_from(n).unwrap_or(0),
        None => s.b.shape(&x)[axis],
    };
    if n == 0 {
        return invalid("a transform of length 0");
    }
    let x = fitted(s, &x, axis, n)?;
    let (re, im) = parts(s, &x)?;
    // The transformed axis last.
    let mut perm: Vec<usize> = (0..rank - 1).filter(|&a| a != axis).collect();
    perm.push(axis);
    let re = s.b.transpose(&re, &perm)?;
    let im = im.map(|im| s.b.transpose(&im, &perm)).transpose()?;
    let bins = if onesided { n / 2 + 1 } else { n };
    let y = transform(s, &re, im.as_ref(), n, bins, inverse)?;
    let place = |a: usize| perm.iter().position(|&p| p == a).unwrap_or(0);
    let back: Vec<usize> = (0..rank - 1).map(place).chain([rank - 1]).collect();
    Ok(vec![s.b.transpose(&y, &back)?])
}

/// The transform of every frame of a signal.
pub(in crate::onnx) fn stft(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let onesided = s.flag("onesided", true)?;
    let x = if s.b.rank(&x) == 2 {
        let shape = [&s.b.shape(&x)[..], &[1]].concat();
        s.b.reshape(&x, &shape)?
    } else {
        x
    };
    let [_, len, _] = s.b.shape(&x)[..] else { return invalid("a signal of a wrong rank") };
    let step = s.const_int(1, "frame_step")?.and_then(|n| usize::try_from(n).ok());
    let Some(step) = step.filter(|&n| n > 0) else { return invalid("no frame step") };
    let window = s.opt(2);
    let n = match (s.const_int(3, "frame_length")?, &window) {
        (Some(n), _) => usize::try_from(n).unwrap_or(0),
        (None, Some(w)) => s.b.ty(w).len(),
        (None, None) => len,
    };
    if n == 0 || n > len {
        return invalid(format!("frames of {n} of {len} elements"));
    }
    let frames = (len - n) / step + 1;
    few(&[frames, n])?;
    let index = (0..frames * n).map(|at| (at / n * step + at % n) as i64).collect();
    let Some(index) = Tensor::from_vec::<i64>(&[frames, n], index) else {
        return invalid("frames of a wrong size");
    };
    let (re, im) = parts(s, &x)?;
    let cut = |s: &mut Site, v: &Value| -> Made {
        let v = s.b.gather(v, &Value::Const(index.clone()), 1)?;
        match &window {
            Some(w) => s.b.mul(&v, w),
            None => Ok(v),
        }
    };
    let re = cut(s, &re)?;
    let im = im.map(|im| cut(s, &im)).transpose()?;
    let bins = if onesided { n / 2 + 1 } else { n };
    Ok(vec![transform(s, &re, im.as_ref(), n, bins, false)?])
}

/// Triangular filters on the mel scale.
pub(in crate::onnx) fn mel_weight_matrix(s: &mut Site) -> Out {
    let int = |i, what: &str| -> Made<i64> { Ok(s.const_int(i, what)?.unwrap_or(0)) };
    let (mels, length, rate) =
        (int(0, "num_mel_bins")?, int(1, "dft_length")?, int(2, "sample_rate")?);
    let low = f64::from(s.const_float(3, "lower_edge_hertz")?.unwrap_or(0.0));
    let high = f64::from(s.const_float(4, "upper_edge_hertz")?.unwrap_or(0.0));
    s.ignore(&["output_datatype"]);
    let (Ok(mels), Ok(length), true) = (usize::try_from(mels), usize::try_from(length), rate > 0)
    else {
        return invalid("a negative size");
    };
    let rows = length / 2 + 1;
    few(&[rows, mels + 2])?;
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let step = (mel(high) - mel(low)) / (mels + 2) as f64;
    let bin = |i: usize| {
        let hertz = 700.0 * (10f64.powf((i as f64 * step + mel(low)) / 2595.0) - 1.0);
        ((length + 1) as f64 * hertz / rate as f64).floor() as i64
    };
    let value = |row: usize, i: usize| {
        let (row, left, centre, right) = (row as i64, bin(i), bin(i + 1), bin(i + 2));
        if right > centre && (centre..right).contains(&row) {
            (right - row) as f64 / (right - centre) as f64
        } else if left == centre {
            f64::from(row == centre)
        } else if (left..=centre).contains(&row) {
            (row - left) as f64 / (centre - left) as f64
        } else {
            0.0
        }
    };
    Ok(vec![matrix(rows, mels, value)?])
}
