//! Pooling, forward and backward.

use pamc_passes::ir::{Attrs, DType, NodeId, Tensor, TensorType};

use super::window::{Window, list, named, pool_window, spatial};
use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Build, Made, Value, few, invalid, unsupported};

type Out = Made<Vec<Value>>;

pub(in crate::onnx) fn max_pool(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let window = pool_window(s, &s.b.shape(&x))?;
    let column_major = s.flag("storage_order", false)?;
    let (elem, dtype) = (s.elem(0), s.b.dtype(&x));
    let x = s.b.cast(&x, DType::F32)?;
    let y = s.b.op("max_pool", &[&x], window.pooling())?;
    let y = s.b.cast(&y, dtype)?;
    let y = s.b.wrapped(&y, elem)?;
    let input = s.b.node(&x)?;
    Ok(vec![y, Value::PoolIndex { input, windows: window.attrs(), column_major }])
}

/// Type of the positions of the maxima of windows over `x`.
pub(in crate::onnx::import) fn pool_index_type(x: &TensorType, windows: &Attrs) -> TensorType {
    let list = |name| windows.sizes(name);
    let (kernel, strides, dilations) = (list("kernel"), list("strides"), list("dilations"));
    let (lo, hi) = (list("pads_lo"), list("pads_hi"));
    let extent = |(i, &n): (usize, &usize)| {
        let reach = (kernel[i] - 1).saturating_mul(dilations[i]).saturating_add(1);
        n.saturating_add(lo[i]).saturating_add(hi[i]).saturating_sub(reach) / strides[i] + 1
    };
    let mut shape = x.shape[..2].to_vec();
    shape.extend(x.shape[2..].iter().enumerate().map(extent));
    TensorType::new(DType::I64, shape)
}

/// Positions of the maxima in the flattened input.
pub(in crate::onnx::import) fn pool_index(
    b: &mut Build,
    input: NodeId,
    windows: &Attrs,
    column_major: bool,
) -> Made {
    let x = Value::Node(input);
    let shape = b.shape(&x);
    let spatial = &shape[2..];
    let n = spatial.len();
    let wide = b.op("unfold", &[&x], windows.clone().with("value", f32::NEG_INFINITY))?;
    let (taps, out) = (&windows.sizes("kernel"), b.shape(&wide)[2 + n..].to_vec());
    let (k, places) = (taps.iter().product::<usize>(), out.iter().product::<usize>());
    let flat = b.reshape(&wide, &[shape[0], shape[1], k, places])?;
    let best = b.op("argmax", &[&flat], Attrs::none().with("axis", 2i64))?;
    // Where tap t of window w reads: the same for every sample and channel.
    let count = few(spatial)?;
    let steps = match column_major {
        false => super::index::strides(spatial),
        true => (0..n).map(|i| spatial[..i].iter().product()).collect(),
    };
    let rows = super::index::strides(spatial);
    let position =
        |at: usize| (0..n).map(|i| at / rows[i] % spatial[i] * steps[i]).sum::<usize>() as i64;
    let (lo, strides) = (windows.sizes("pads_lo"), windows.sizes("strides"));
    let dilations = windows.sizes("dilations");
    let (tap_steps, out_steps) = (super::index::strides(taps), super::index::strides(&out));
    few(&[k, places])?;
    let source = |at: usize| {
        let (tap, place) = (at / places, at % places);
        let mut row = 0;
        for i in 0..n {
            let within = tap / tap_steps[i] % taps[i] * dilations[i];
            let start = place / out_steps[i] % out[i] * strides[i];
            let Some(at) = (start + within).checked_sub(lo[i]).filter(|&p| p < spatial[i]) else {
                return 0;
            };
            row += at * rows[i];
        }
        position(row)
    };
    let table = Tensor::from_vec(&[k * places], (0..k * places).map(source).collect());
    let Some(table) = table.map(Value::Const) else { return invalid("a table of a wrong size") };
    let at = b.times(&best, places)?;
    let ramp = b.ramp(DType::I64, &[places])?;
    let at = b.add(&at, &ramp)?;
    let within = b.gather(&table, &at, 0)?;
    let planes = b.ramp(DType::I64, &[shape[0], shape[1], 1])?;
    let planes = b.times(&planes, count)?;
    let all = b.add(&within, &planes)?;
    b.reshape(&all, &[&shape[..2], &out].concat())
}

/// Values put back where the maxima came from, zeros elsewhere.
pub(in crate::onnx) fn max_unpool(s: &mut Site) -> Out {
    let (x, index) = (s.input(0)?, s.input(1)?);
    let shape = s.b.shape(&x);
    let n = spatial(&shape)?.len();
    let kernel = list(s, "kernel_shape", n)?;
    let strides = list(s, "strides", n)?;
    let pads = s.ints("pads")?.unwrap_or_else(|| vec![0; 2 * n]);
    let mut full = shape[..2].to_vec();
    for i in 0..n {
        let padded = shape[2 + i].saturating_sub(1) * strides[i] + kernel[i];
        let pads = pads.get(i).zip(pads.get(n + i)).map_or(0, |(a, b)| a + b);
        full.push((padded as i64 - pads).max(0) as usize);
    }
    let wanted = match s.const_ints(2, "output_shape")? {
        Some(wanted) => super::layout::sizes(&wanted)?,
        None => full.clone(),
    };
    let total: usize = full.iter().product();
    let len = s.b.ty(&x).len();
    let (at, x) = (s.b.reshape(&index, &[len])?, s.b.reshape(&x, &[len])?);
    let zeros = s.b.expand(&Value::Const(Tensor::scalar(0f32)), &[total])?;
    let flat = s.b.put(&zeros, &at, &x, "none")?;
    let mut y = s.b.reshape(&flat, &full)?;
    if wanted != full {
        if wanted.len() != full.len() || wanted.iter().zip(&full).any(|(w, f)| w < f) {
            return invalid(format!("an output of shape {wanted:?}, not {full:?} or more"));
        }
        let hi: Vec<i64> = wanted.iter().zip(&full).map(|(w, f)| (w - f) as i64).collect();
        let none = vec![0i64; wanted.len()];
        let attrs = Attrs::none().with("lo", none.clone()).with("hi", hi);
        y = s.b.op("pad", &[&y], attrs.with("interior", none).with("value", 0f32))?;
    }
    Ok(vec![y])
}

/// (Σ|x|ᵖ)^(1/p) over axes.
fn lp(s: &mut Site, x: &Value, axes: &[usize], keep: bool) -> Made {
    let p = match s.opset {
        1 => s.float("p", 2.0)?,
        _ => s.int("p", 2)? as f32,
    };
    let size = s.b.op("abs", &[x], Attrs::none())?;
    let power = match p {
        1.0 => size,
        2.0 => s.b.mul(x, x)?,
        p => {
            let p = s.b.scalar(p);
            s.b.op("pow", &[&size, &p], Attrs::none())?
        }
    };
    let total = s.b.sum(&power, axes, keep)?;
    match p {
        1.0 => Ok(total),
        2.0 => s.b.sqrt(&total),
        p => {
            let root = s.b.scalar(1.0 / p);
            s.b.op("pow", &[&total, &root], Attrs::none())
        }
    }
}

pub(in crate::onnx) fn lp_pool(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let window = pool_window(s, &s.b.shape(&x))?;
    let windows = window.unfold(s, &x, 0.0)?;
    Ok(vec![lp(s, &windows, &window.kernel_axes(), false)?])
}

pub(in crate::onnx) fn global_lp_pool(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let axes: Vec<usize> = (2..s.b.rank(&x)).collect();
    Ok(vec![lp(s, &x, &axes, true)?])
}

/// Columns of windows added back to the places they were read from.
pub(in crate::onnx) fn col2im(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let sizes = |list: Option<Vec<i64>>| super::layout::sizes(&list.unwrap_or_default());
    let image = sizes(s.const_ints(1, "image_shape")?)?;
    let kernel = sizes(s.const_ints(2, "block_shape")?)?;
    let k: usize = kernel.iter().product();
    let [n, columns, places] = s.b.shape(&x)[..] else { return invalid("columns of a wrong rank") };
    if kernel.len() != image.len() || k == 0 || !columns.is_multiple_of(k) {
        return invalid(format!("{columns} columns of blocks {kernel:?} of {image:?}"));
    }
    let window = Window::of(s, &image, kernel)?;
    let out: Vec<usize> = (0..image.len())
        .map(|i| {
            let padded = image[i] + window.lo[i] + window.hi[i];
            padded.saturating_sub(window.reach(i)) / window.strides[i] + 1
        })
        .collect();
    if out.iter().product::<usize>() != places {
        return invalid(format!("{places} windows of {out:?}"));
    }
    let shape = [&[n, columns / k], &window.kernel[..], &out].concat();
    let x = s.b.reshape(&x, &shape)?;
    Ok(vec![window.fold(s, &x, &image)?])
}

/// The gradient goes to the first maximum of each window. Operands: g and MaxPool's indices.
pub(in crate::onnx) fn max_pool_grad(s: &mut Site) -> Out {
    let g = s.input(0)?;
    named(s, "max_pool");
    let Some(Value::PoolIndex { input, .. }) = s.opt(1) else {
        return unsupported("indices that are not a MaxPool's second output");
    };
    let x = Value::Node(input);
    let shape = s.b.shape(&x);
    let window = pool_window(s, &shape)?;
    s.ignore(&["storage_order"]);
    let windows = window.unfold(s, &x, f32::NEG_INFINITY)?;
    let wide = s.b.shape(&windows);
    let (k, out) = (window.kernel.iter().product::<usize>(), &wide[2 + window.kernel.len()..]);
    let flat = [&shape[..2], &[k], out].concat();
    let windows = s.b.reshape(&windows, &flat)?;
    let first = s.b.op("argmax", &[&windows], Attrs::none().with("axis", 2i64))?;
    let on = s.b.one_hot(&first, k, 2)?;
    let g = s.b.reshape(&g, &[&shape[..2], &[1], out].concat())?;
    let zero = s.b.scalar(0.0);
    let spread = s.b.select(&on, &g, &zero)?;
    let spread = s.b.reshape(&spread, &wide)?;
    Ok(vec![window.fold(s, &spread, &shape[2..])?])
}

/// What each window's sum is divided by: how much of it lies inside, with `count_include_pad` inside
/// the padding. What `ceil_mode` adds never counts.
fn divisors(s: &mut Site, window: &Window, spatial: &[usize]) -> Made {
    let n = spatial.len();
    let whole = s.flag("count_include_pad", false)?;
    let (mut counted, mut rest) = (spatial.to_vec(), window.attrs());
    if whole {
        for (i, extent) in counted.iter_mut().enumerate() {
            *extent += window.lo[i] + window.hi[i] - window.ceil[i];
        }
        rest = rest.with("pads_lo", vec![0; n]).with("pads_hi", &window.ceil[..]);
    }
    few(&counted)?;
    let ones = Tensor::full(&[&[1, 1], &counted[..]].concat(), 1f32);
    let windows = s.b.op("unfold", &[&Value::Const(ones)], rest.with("value", 0f32))?;
    s.b.sum(&windows, &window.kernel_axes(), false)
}

pub(in crate::onnx) fn average_pool(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let window = pool_window(s, &s.b.shape(&x))?;
    let include = s.flag("count_include_pad", false)?;
    let attrs = window.pooling().with("count_include_pad", include);
    Ok(vec![s.b.op("avg_pool", &[&x], attrs)?])
}

/// Each window's gradient shared among its elements. Operands: the input's shape and g.
pub(in crate::onnx) fn average_pool_grad(s: &mut Site) -> Out {
    let Some(shape) = s.const_ints(0, "shape")? else { return invalid("no shape is given") };
    let (shape, g) = (super::layout::sizes(&shape)?, s.input(1)?);
    named(s, "avg_pool");
    let window = pool_window(s, &shape)?;
    let by = divisors(s, &window, spatial(&shape)?)?;
    let share = s.b.div(&g, &by)?;
    let out = s.b.shape(&share).get(2..).unwrap_or_default().to_vec();
    let ones = vec![1; window.kernel.len()];
    let share = s.b.reshape(&share, &[&shape[..2], &ones, &out].concat())?;
    let share = s.b.expand(&share, &[&shape[..2], &window.kernel, &out].concat())?;
    Ok(vec![window.fold(s, &share, &shape[2..])?])
}

pub(in crate::onnx) fn global_average_pool(s: &mut Site) -> Out {
    super::elementwise::row::<1>(s, "global_avg_pool")
}

pub(in crate::onnx) fn global_max_pool(s: &mut Site) -> Out {
    super::elementwise::row::<1>(s, "global_max_pool")
}
