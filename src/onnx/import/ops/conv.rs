//! Convolution, forward and backward.

use pamc_passes::ir::DType;

use super::window::{Window, list, named, spatial};
use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// Input and weight shapes and the window of a convolution.
fn conv_window(s: &Site, x: &Value, w: &Value) -> Made<(Vec<usize>, Vec<usize>, Window, usize)> {
    let (shape, weight) = (s.b.shape(x), s.b.shape(w));
    let axes = spatial(&shape)?;
    let kernel = spatial(&weight)?.to_vec();
    let group = usize::try_from(s.int("group", 1)?).unwrap_or(0);
    let fits = kernel.len() == axes.len()
        && group > 0
        && weight[0].is_multiple_of(group)
        && weight[1].checked_mul(group) == Some(shape[1])
        && kernel.iter().all(|&k| k > 0);
    if !fits {
        return invalid(format!("a weight {weight:?} in {group} groups for an input {shape:?}"));
    }
    if s.ints("kernel_shape")?.is_some() && list(s, "kernel_shape", axes.len())? != kernel {
        return invalid(format!("`kernel_shape` is not that of the weight {weight:?}"));
    }
    let window = Window::of(s, axes, kernel)?;
    Ok((shape, weight, window, group))
}

/// A convolution by the attributes of the node.
pub(super) fn conv_of(s: &mut Site, x: &Value, w: &Value, bias: Option<Value>) -> Made {
    let (_, weight, window, group) = conv_window(s, x, w)?;
    let attrs = window.pads().with("groups", group as i64);
    let mut operands = vec![x.clone(), w.clone()];
    if let Some(bias) = bias {
        operands.push(s.b.expand(&bias, &weight[..1])?);
    }
    s.b.op("conv", &operands.iter().collect::<Vec<_>>(), attrs)
}

/// The window of a convolution whose taps move.
pub(super) struct DeformWindow {
    pub kernel: [usize; 2],
    /// Number of windows along each axis.
    pub out: [usize; 2],
    window: Window,
}

impl DeformWindow {
    pub fn of(s: &Site, shape: &[usize], weight: &[usize]) -> Made<Self> {
        let ([_, _, h, w], [_, _, kh, kw]) = (shape, weight) else {
            return unsupported("an operand that is not of two spatial axes");
        };
        s.ignore(&["kernel_shape"]);
        if *kh == 0 || *kw == 0 {
            return invalid("an empty kernel");
        }
        let window = Window::of(s, &[*h, *w], vec![*kh, *kw])?;
        let mut out = [0; 2];
        for (i, extent) in [*h, *w].into_iter().enumerate() {
            let padded = extent + window.lo[i] + window.hi[i];
            match padded.checked_sub(window.reach(i)) {
                Some(rest) => out[i] = rest / window.strides[i] + 1,
                None => return invalid("the kernel is larger than the operand"),
            }
        }
        Ok(DeformWindow { kernel: [*kh, *kw], out, window })
    }

    /// Where each tap of each window lies along an axis before it moves: `[taps, windows …]`.
    pub fn starts(&self, axis: usize) -> Vec<f32> {
        let ([kh, kw], [oh, ow]) = (self.kernel, self.out);
        let place = |at: usize| {
            let (tap, window) = (at / (oh * ow), at % (oh * ow));
            let tap = if axis == 0 { tap / kw } else { tap % kw };
            let window = if axis == 0 { window / ow } else { window % ow };
            let start = window * self.window.strides[axis] + tap * self.window.dilations[axis];
            start as f32 - self.window.lo[axis] as f32
        };
        (0..kh * kw * oh * ow).map(place).collect()
    }
}

pub(in crate::onnx) fn conv(s: &mut Site) -> Out {
    let (x, w, bias) = (s.input(0)?, s.input(1)?, s.opt(2));
    Ok(vec![conv_of(s, &x, &w, bias)?])
}

/// The window of a transposed convolution, and what is added to the output at its far ends.
fn transposed_window(s: &mut Site, shape: &[usize], weight: &[usize]) -> Made<(Window, Vec<i64>)> {
    let axes = spatial(shape)?;
    let kernel = spatial(weight)?.to_vec();
    if kernel.len() != axes.len() {
        return invalid(format!("a weight {weight:?} for an input {shape:?}"));
    }
    if s.ints("kernel_shape")?.is_some() && list(s, "kernel_shape", axes.len())? != kernel {
        return invalid(format!("`kernel_shape` is not that of the weight {weight:?}"));
    }
    let mut extra = s.ints("output_padding")?.unwrap_or_else(|| vec![0; axes.len()]);
    let (wanted, auto) = (s.ints("output_shape")?, s.text("auto_pad", "NOTSET")?);
    let mut window = Window::unpadded(s, axes.len(), kernel)?;
    match (wanted, auto) {
        (None, "NOTSET" | "") => window.explicit(s, axes.len())?,
        (None, "VALID") => {}
        (wanted, auto) => {
            let n = axes.len();
            let wanted = match wanted {
                Some(w) => super::layout::sizes(&w[w.len().saturating_sub(n)..])?,
                None => (0..n).map(|i| axes[i].saturating_mul(window.strides[i])).collect(),
            };
            if wanted.len() != n || extra.len() != n {
                return invalid(format!("an output of shape {wanted:?} for an input {shape:?}"));
            }
            window.reaching(axes, &wanted, &mut extra, auto)?;
        }
    }
    Ok((window, extra))
}

/// Transposed convolution.
pub(in crate::onnx) fn conv_transpose(s: &mut Site) -> Out {
    let (x, w) = (s.input(0)?, s.input(1)?);
    let (shape, weight) = (s.b.shape(&x), s.b.shape(&w));
    let (window, extra) = transposed_window(s, &shape, &weight)?;
    let attrs = window.pads().with("groups", s.int("group", 1)?).with("output_padding", extra);
    let mut operands = vec![x, w];
    operands.extend(s.opt(2));
    Ok(vec![s.b.op("conv_transpose", &operands.iter().collect::<Vec<_>>(), attrs)?])
}

/// Results for input, weight and bias, as matrix products over unfolded windows. Operands: g, x, w.
pub(in crate::onnx) fn conv_grad(s: &mut Site) -> Out {
    let (g, x, w) = (s.input(0)?, s.input(1)?, s.input(2)?);
    named(s, "conv");
    let (shape, weight, window, group) = conv_window(s, &x, &w)?;
    if s.b.dtype(&g) != DType::F32 {
        return invalid("the gradient is not f32");
    }
    let (n, m) = (shape[0], weight[0] / group);
    let out = s.b.shape(&g).get(2..).unwrap_or_default().to_vec();
    let positions: usize = out.iter().product();
    let taps = weight[1] * window.kernel.iter().product::<usize>();
    let gg = s.b.reshape(&g, &[n, group, m, positions])?;
    let ww = s.b.reshape(&w, &[group, m, taps])?;
    let windows = s.b.matmul(&ww, &gg, true, false)?;
    let wide = [&shape[..2], &window.kernel, &out].concat();
    let windows = s.b.reshape(&windows, &wide)?;
    let dx = window.fold(s, &windows, &shape[2..])?;
    let seen = window.unfold(s, &x, 0.0)?;
    let seen = s.b.reshape(&seen, &[n, group, taps, positions])?;
    // [group, ·, n · positions], so that one contraction sums over the batch as well.
    let by_group = |s: &mut Site, v: &Value, rows: usize| {
        let v = s.b.transpose(v, &[1, 2, 0, 3])?;
        s.b.reshape(&v, &[group, rows, n * positions])
    };
    let (rows, cols) = (by_group(s, &gg, m)?, by_group(s, &seen, taps)?);
    let dw = s.b.matmul(&rows, &cols, false, true)?;
    let dw = s.b.reshape(&dw, &weight)?;
    let axes: Vec<usize> = (0..shape.len()).filter(|&i| i != 1).collect();
    let db = s.b.sum(&g, &axes, false)?;
    Ok(vec![dx, dw, db])
}

/// ConvTransposeGrad: results for input, weight and bias, from the windows of the gradient that each
/// element of the input was spread over. Operands: g, x, w.
pub(in crate::onnx) fn conv_transpose_grad(s: &mut Site) -> Out {
    let (g, x, w) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let (shape, weight) = (s.b.shape(&x), s.b.shape(&w));
    let (window, _) = transposed_window(s, &shape, &weight)?;
    s.ignore(&["output_padding", "output_shape", "auto_pad"]);
    let group = usize::try_from(s.int("group", 1)?).unwrap_or(0);
    if group == 0 || !shape[1].is_multiple_of(group) || weight[0] != shape[1] {
        return invalid(format!("a weight {weight:?} in {group} groups for an input {shape:?}"));
    }
    let seen = window.unfold(s, &g, 0.0)?;
    let (n, depth) = (shape[0], shape[1] / group);
    let places: usize = shape[2..].iter().product();
    let taps: usize = weight[1..].iter().product();
    if s.b.ty(&seen).len() != n * group * taps * places {
        return invalid("the gradient is not of the shape of the output");
    }
    let seen = s.b.reshape(&seen, &[n, group, taps, places])?;
    let kernels = s.b.reshape(&w, &[group, depth, taps])?;
    let dx = s.b.matmul(&kernels, &seen, false, false)?;
    let dx = s.b.reshape(&dx, &shape)?;
    let by_group = |s: &mut Site, v: &Value, rows: usize| {
        let v = s.b.reshape(v, &[n, group, rows, places])?;
        let v = s.b.transpose(&v, &[1, 2, 0, 3])?;
        s.b.reshape(&v, &[group, rows, n * places])
    };
    let (pixels, seen) = (by_group(s, &x, depth)?, by_group(s, &seen, taps)?);
    let dw = s.b.matmul(&pixels, &seen, false, true)?;
    let dw = s.b.reshape(&dw, &weight)?;
    let axes: Vec<usize> = (0..shape.len()).filter(|&i| i != 1).collect();
    let db = s.b.sum(&g, &axes, false)?;
    Ok(vec![dx, dw, db])
}
