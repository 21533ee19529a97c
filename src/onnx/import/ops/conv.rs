//! Convolution and pooling, forward and backward.

use pamc_passes::ir::{Attrs, DType, NodeId, Tensor, TensorType};

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Build, Fault, Made, Value, few, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// A sliding window over the spatial axes.
struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    lo: Vec<usize>,
    hi: Vec<usize>,
    /// How much of `hi` comes from `ceil_mode` alone.
    ceil: Vec<usize>,
}

/// A list attribute with `n` positive entries, all 1 if it is left out.
fn list(s: &Site, name: &str, n: usize) -> Made<Vec<usize>> {
    let Some(given) = s.ints(name)? else { return Ok(vec![1; n]) };
    let positive = |&x: &i64| usize::try_from(x).ok().filter(|&x| (1..1 << 31).contains(&x));
    let sizes: Option<Vec<usize>> = given.iter().map(positive).collect();
    let sizes = sizes.filter(|v| v.len() == n);
    sizes.ok_or_else(|| Fault::Invalid(format!("`{name}` is {given:?} for {n} spatial axes")))
}

impl Window {
    /// The window over `spatial` that the attributes of a node describe.
    fn of(s: &Site, spatial: &[usize], kernel: Vec<usize>) -> Made<Self> {
        let n = spatial.len();
        let mut w = Window::unpadded(s, n, kernel)?;
        match s.text("auto_pad", "NOTSET")? {
            "NOTSET" | "" => w.explicit(s, n)?,
            "VALID" => {}
            "SAME_UPPER" => w.same(spatial, false),
            "SAME_LOWER" => w.same(spatial, true),
            other => return unsupported(format!("auto_pad `{other}`")),
        }
        if s.flag("ceil_mode", false)? {
            w.round_up(spatial);
        }
        Ok(w)
    }

    /// A window by the attributes of a node, without padding.
    fn unpadded(s: &Site, n: usize, kernel: Vec<usize>) -> Made<Self> {
        let (strides, dilations) = (list(s, "strides", n)?, list(s, "dilations", n)?);
        Ok(Window { kernel, strides, dilations, lo: vec![0; n], hi: vec![0; n], ceil: vec![0; n] })
    }

    /// The pads with which a transposed convolution gives `wanted` extents; more than there is
    /// comes from output padding.
    fn reaching(
        &mut self,
        from: &[usize],
        wanted: &[usize],
        extra: &mut [i64],
        auto: &str,
    ) -> Made<()> {
        for i in 0..from.len() {
            let steps = from[i].saturating_sub(1).saturating_mul(self.strides[i]);
            let full = (steps.saturating_add(self.reach(i)) as i64).saturating_add(extra[i]);
            let total = full - wanted[i] as i64;
            if total < 0 {
                extra[i] -= total;
            }
            let total = total.max(0) as usize;
            let small = total / 2;
            self.lo[i] = if auto == "SAME_UPPER" { small } else { total - small };
            self.hi[i] = total - self.lo[i];
        }
        Ok(())
    }

    fn explicit(&mut self, s: &Site, n: usize) -> Made<()> {
        let Some(pads) = s.ints("pads")? else { return Ok(()) };
        let fits = |&p: &i64| usize::try_from(p).ok().filter(|&p| p < 1 << 31);
        match pads.iter().map(fits).collect::<Option<Vec<usize>>>() {
            Some(pads) if pads.len() == 2 * n => {
                (self.lo, self.hi) = (pads[..n].to_vec(), pads[n..].to_vec());
                Ok(())
            }
            _ => invalid(format!("pads {pads:?} for {n} spatial axes")),
        }
    }

    fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1).saturating_mul(self.dilations[axis]).saturating_add(1)
    }

    /// As many windows as strides fit, the padding shared between both sides.
    fn same(&mut self, spatial: &[usize], lower: bool) {
        for (axis, &extent) in spatial.iter().enumerate() {
            let windows = extent.div_ceil(self.strides[axis]);
            let steps = windows.saturating_sub(1) * self.strides[axis];
            let needed = steps.saturating_add(self.reach(axis));
            let total = needed.saturating_sub(extent);
            let small = total / 2;
            self.lo[axis] = if lower { total - small } else { small };
            self.hi[axis] = total - self.lo[axis];
        }
    }

    /// Padding for a last window that begins inside but ends outside.
    fn round_up(&mut self, spatial: &[usize]) {
        for (axis, &extent) in spatial.iter().enumerate() {
            let (stride, reach) = (self.strides[axis], self.reach(axis));
            let padded = extent + self.lo[axis] + self.hi[axis];
            let Some(rest) = padded.checked_sub(reach) else { continue };
            let windows = rest.div_ceil(stride) + 1;
            let begins_inside = (windows - 1) * stride < extent + self.lo[axis];
            if begins_inside && !rest.is_multiple_of(stride) {
                self.ceil[axis] = stride - rest % stride;
                self.hi[axis] += self.ceil[axis];
            }
        }
    }

    /// As the real ops have it.
    fn pads(&self) -> Attrs {
        Attrs::none()
            .with("strides", &self.strides[..])
            .with("dilations", &self.dilations[..])
            .with("pads", &[&self.lo[..], &self.hi].concat()[..])
    }

    /// As the real pooling ops have it, which do their own rounding up.
    fn pooling(&self) -> Attrs {
        let hi: Vec<usize> = self.hi.iter().zip(&self.ceil).map(|(h, c)| h - c).collect();
        self.pads()
            .with("pads", &[&self.lo[..], &hi].concat()[..])
            .with("kernel", &self.kernel[..])
            .with("ceil_mode", self.ceil.iter().any(|&c| c > 0))
    }

    /// As `unfold` and `fold` have it.
    fn attrs(&self) -> Attrs {
        Attrs::none()
            .with("kernel", &self.kernel[..])
            .with("strides", &self.strides[..])
            .with("dilations", &self.dilations[..])
            .with("pads_lo", &self.lo[..])
            .with("pads_hi", &self.hi[..])
    }

    /// `[batch, channels, kernel …, windows …]`; padding reads `value`.
    fn unfold(&self, s: &mut Site, x: &Value, value: f32) -> Made {
        s.b.op("unfold", &[x], self.attrs().with("value", value))
    }

    /// The adjoint of [`Window::unfold`].
    fn fold(&self, s: &mut Site, windows: &Value, spatial: &[usize]) -> Made {
        s.b.op("fold", &[windows], self.attrs().with("spatial", spatial))
    }

    /// Positions of the kernel's axes in unfolded data.
    fn kernel_axes(&self) -> Vec<usize> {
        (2..2 + self.kernel.len()).collect()
    }
}

/// `[batch, channels, spatial …]` taken apart.
fn spatial(shape: &[usize]) -> Made<&[usize]> {
    match shape.get(2..) {
        Some(spatial) if !spatial.is_empty() => Ok(spatial),
        _ => invalid(format!("{shape:?} has no spatial axes")),
    }
}

fn pool_window(s: &Site, shape: &[usize]) -> Made<Window> {
    let spatial = spatial(shape)?;
    if s.ints("kernel_shape")?.is_none() {
        return invalid("no kernel is given");
    }
    let kernel = list(s, "kernel_shape", spatial.len())?;
    Window::of(s, spatial, kernel)
}

fn named(s: &mut Site, op: &str) {
    s.b.origin.op = op.into();
}

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

/// Transposed convolution with explicit pads.
pub(in crate::onnx) fn conv_transpose(s: &mut Site) -> Out {
    let (x, w) = (s.input(0)?, s.input(1)?);
    let (shape, weight) = (s.b.shape(&x), s.b.shape(&w));
    let axes = spatial(&shape)?;
    let kernel = spatial(&weight)?.to_vec();
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
