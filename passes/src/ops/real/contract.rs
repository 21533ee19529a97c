//! Matrix products and convolutions.

use crate::build::Cx;
use crate::ir::{Attrs, DType, NodeId, TensorType};
use crate::ops::shape::{Inferred, Types, sizes};
use crate::ops::{AttrSpec, Bound, Op, Site, expect_dtype, flag, int, ints};

/// Spatial attributes of a window, defaults filled in.
pub(super) struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub lo: Vec<usize>,
    pub hi: Vec<usize>,
}

/// `strides` and `dilations` default to ones, `pads` (all begins, then all ends) to zeros.
pub(super) const WINDOW: [AttrSpec; 3] =
    [ints("strides", &[]), ints("dilations", &[]), ints("pads", &[])];

impl Window {
    /// Of a kernel, over as many spatial axes.
    ///
    /// # Errors
    /// If an attribute has the wrong length or a negative entry.
    pub fn new(kernel: &[usize], attrs: &Attrs) -> Result<Window, String> {
        let n = kernel.len();
        let list = |name: &str, count: usize, default: usize| match sizes(attrs, name)? {
            given if given.is_empty() => Ok(vec![default; count]),
            given if given.len() == count => Ok(given),
            given => Err(format!("'{name}' has {} entries, not {count}", given.len())),
        };
        let (strides, dilations) = (list("strides", n, 1)?, list("dilations", n, 1)?);
        let pads = list("pads", 2 * n, 0)?;
        let zero = [kernel, &strides[..], &dilations[..]].concat().contains(&0);
        if zero {
            return Err("a window's kernel, stride and dilation must be at least 1".into());
        }
        let (lo, hi) = (pads[..n].to_vec(), pads[n..].to_vec());
        Ok(Window { kernel: kernel.to_vec(), strides, dilations, lo, hi })
    }

    /// Extent covered along axis i.
    pub fn reach(&self, i: usize) -> usize {
        (self.kernel[i] - 1).saturating_mul(self.dilations[i]).saturating_add(1)
    }

    /// Number of windows along each axis of a spatial shape.
    ///
    /// # Errors
    /// If a window does not fit even once.
    pub fn count(&self, spatial: &[usize]) -> Result<Vec<usize>, String> {
        (0..spatial.len())
            .map(|i| {
                let padded = spatial[i].saturating_add(self.lo[i]).saturating_add(self.hi[i]);
                match padded.checked_sub(self.reach(i)) {
                    Some(rest) => Ok(rest / self.strides[i] + 1),
                    None => {
                        let reach = self.reach(i);
                        Err(format!("a window of reach {reach} over {padded} elements"))
                    }
                }
            })
            .collect()
    }

    /// As the attributes of `unfold` and `fold`.
    pub fn attrs(&self) -> Attrs {
        Attrs::none()
            .with("kernel", &self.kernel[..])
            .with("strides", &self.strides[..])
            .with("dilations", &self.dilations[..])
            .with("pads_lo", &self.lo[..])
            .with("pads_hi", &self.hi[..])
    }

    /// True if every element is a window of its own.
    fn is_pointwise(&self) -> bool {
        let ones = self.kernel.iter().chain(&self.strides).all(|&d| d == 1);
        ones && self.lo.iter().chain(&self.hi).all(|&d| d == 0)
    }
}

/// x as [batch, channels, kernel · windows]-shaped columns.
fn columns(cx: &mut Cx<'_>, x: NodeId, window: &Window) -> NodeId {
    if window.is_pointwise() {
        return x;
    }
    cx.op_with("unfold", &[x], window.attrs())
}

/// Type of a rank-2-or-more pair of operands of numpy's matmul, a vector taken as a row or column.
fn as_matrices(types: Types) -> Result<(TensorType, TensorType), String> {
    for (what, t) in ["operand a", "operand b"].iter().zip(types) {
        expect_dtype(what, t, &[DType::F32])?;
        if t.rank() == 0 {
            return Err(format!("{what} is a scalar"));
        }
    }
    let (a, b) = (types[0], types[1]);
    let row = if a.rank() == 1 { vec![1, a.shape[0]] } else { a.shape.clone() };
    let column = if b.rank() == 1 { vec![b.shape[0], 1] } else { b.shape.clone() };
    Ok((TensorType::f32(row), TensorType::f32(column)))
}

fn matmul_shape(types: Types, attrs: &Attrs) -> Inferred {
    let (a, b) = as_matrices(types)?;
    let dims = crate::ops::rows::contract::dims(&a, &b, attrs);
    let (mut shape, m, _, n) =
        dims.map_err(|e| format!("{} and {} do not multiply: {e}", types[0], types[1]))?;
    if types[0].rank() > 1 {
        shape.push(m);
    }
    if types[1].rank() > 1 {
        shape.push(n);
    }
    Ok(TensorType::f32(shape))
}

fn matmul(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let types = [cx.ty(site.inputs[0]), cx.ty(site.inputs[1])];
    let Ok((a, b)) = as_matrices(&[&types[0], &types[1]]) else { return site.inputs[0] };
    let (ta, tb) = (site.attrs.flag("ta"), site.attrs.flag("tb"));
    let mut left = cx.reshape(site.inputs[0], &a.shape);
    let right = cx.reshape(site.inputs[1], &b.shape);
    if b.rank() == 2 && a.rank() > 2 && !ta {
        // One product, so that the gradient of b is one contraction.
        let k = a.shape[a.rank() - 1];
        let rows = a.shape[..a.rank() - 1].iter().product();
        left = cx.reshape(left, &[rows, k]);
    }
    let y = cx.matmul(left, right, ta, tb);
    cx.reshape(y, &site.ty.shape)
}

/// Channels per group, and the check that groups divide both channel counts.
fn groups_of(attrs: &Attrs, channels: usize, filters: usize) -> Result<usize, String> {
    match usize::try_from(attrs.int("groups")) {
        Ok(g) if g > 0 && channels.is_multiple_of(g) && filters.is_multiple_of(g) => Ok(g),
        _ => Err(format!(
            "{channels} channels and {filters} filters do not split into {} groups",
            attrs.int("groups")
        )),
    }
}

/// Checks common to both convolutions: ranks, types, bias of `filters` entries.
fn check_conv(types: Types, filters: impl Fn(&TensorType) -> usize) -> Result<(), String> {
    let (x, w) = (types[0], types[1]);
    types.iter().try_for_each(|t| expect_dtype("an operand", t, &[DType::F32]))?;
    if x.rank() < 3 || w.rank() != x.rank() {
        return Err(format!("{x} is not [batch, channels, spatial ...] or {w} not of its rank"));
    }
    match types.get(2) {
        Some(b) if b.shape != [filters(w)] => {
            Err(format!("the bias is {b}, but there are {} filters", filters(w)))
        }
        _ => Ok(()),
    }
}

fn conv_shape(types: Types, attrs: &Attrs) -> Inferred {
    check_conv(types, |w| w.shape[0])?;
    let (x, w) = (types[0], types[1]);
    let groups = groups_of(attrs, x.shape[1], w.shape[0])?;
    if w.shape[1] * groups != x.shape[1] {
        return Err(format!("{w} in {groups} groups does not fit the channels of {x}"));
    }
    let out = Window::new(&w.shape[2..], attrs)?.count(&x.shape[2..])?;
    Ok(TensorType::f32([&[x.shape[0], w.shape[0]], &out[..]].concat()))
}

/// Add a bias of one entry a channel (axis 1).
fn add_bias(cx: &mut Cx<'_>, y: NodeId, site: Site<'_>) -> NodeId {
    let Some(&bias) = site.inputs.get(2) else { return y };
    let mut shape = vec![1; site.ty.rank() - 1];
    shape[0] = site.ty.shape[1];
    let bias = cx.reshape(bias, &shape);
    cx.add(y, bias)
}

fn conv(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (x, w) = (cx.shape(site.inputs[0]), cx.shape(site.inputs[1]));
    let window = match Window::new(&w[2..], site.attrs) {
        Ok(window) => window,
        Err(e) => return cx.fail(e),
    };
    let groups = usize::try_from(site.attrs.int("groups")).unwrap_or(1);
    let (filters, places) = (w[0], site.ty.shape[2..].iter().product());
    let depth: usize = w[1..].iter().product();
    let cols = columns(cx, site.inputs[0], &window);
    let (cols, kernels) = if groups == 1 {
        let cols = cx.reshape(cols, &[x[0], depth, places]);
        (cols, cx.reshape(site.inputs[1], &[filters, depth]))
    } else {
        let cols = cx.reshape(cols, &[x[0], groups, depth, places]);
        (cols, cx.reshape(site.inputs[1], &[groups, filters / groups, depth]))
    };
    let y = cx.matmul(kernels, cols, false, false);
    let y = cx.reshape(y, &site.ty.shape);
    add_bias(cx, y, site)
}

/// Output extents of a transposed convolution, whose windows lie on the output.
fn spread(window: &Window, spatial: &[usize], attrs: &Attrs) -> Result<Vec<usize>, String> {
    let extra = match sizes(attrs, "output_padding")? {
        given if given.is_empty() => vec![0; spatial.len()],
        given => given,
    };
    if extra.len() != spatial.len() || (0..extra.len()).any(|i| extra[i] >= window.strides[i]) {
        return Err(format!("'output_padding' {extra:?} must be below the stride of each axis"));
    }
    let extent = |(i, &n): (usize, &usize)| {
        let last = n.saturating_sub(1).saturating_mul(window.strides[i]);
        let wide = last.saturating_add(window.reach(i)).saturating_add(extra[i]);
        wide.checked_sub(window.lo[i].saturating_add(window.hi[i]))
            .filter(|&d| d > 0)
            .ok_or_else(|| format!("the pads take all {wide} elements of an axis"))
    };
    spatial.iter().enumerate().map(extent).collect()
}

fn conv_transpose_shape(types: Types, attrs: &Attrs) -> Inferred {
    let groups = usize::try_from(attrs.int("groups")).unwrap_or(0);
    check_conv(types, |w| w.shape[1].saturating_mul(groups))?;
    let (x, w) = (types[0], types[1]);
    groups_of(attrs, x.shape[1], x.shape[1])?;
    if w.shape[0] != x.shape[1] {
        return Err(format!("{w} does not fit the channels of {x}"));
    }
    let window = Window::new(&w.shape[2..], attrs)?;
    let out = spread(&window, &x.shape[2..], attrs)?;
    Ok(TensorType::f32([&[x.shape[0], w.shape[1].saturating_mul(groups)], &out[..]].concat()))
}

fn conv_transpose(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (x, w) = (cx.shape(site.inputs[0]), cx.shape(site.inputs[1]));
    let window = match Window::new(&w[2..], site.attrs) {
        Ok(window) => window,
        Err(e) => return cx.fail(e),
    };
    let groups = usize::try_from(site.attrs.int("groups")).unwrap_or(1);
    let (depth, places) = (x[1] / groups, x[2..].iter().product());
    let taps: usize = w[1..].iter().product();
    let (pixels, kernels) = if groups == 1 {
        let pixels = cx.reshape(site.inputs[0], &[x[0], depth, places]);
        (pixels, cx.reshape(site.inputs[1], &[depth, taps]))
    } else {
        let pixels = cx.reshape(site.inputs[0], &[x[0], groups, depth, places]);
        (pixels, cx.reshape(site.inputs[1], &[groups, depth, taps]))
    };
    let cols = cx.matmul(kernels, pixels, true, false);
    let shape = [&site.ty.shape[..2], &w[2..], &x[2..]].concat();
    let cols = cx.reshape(cols, &shape);
    let attrs = window.attrs().with("spatial", &site.ty.shape[2..]);
    let y = cx.op_with("fold", &[cols], attrs);
    add_bias(cx, y, site)
}

const BOUND: Option<Bound> = Some(Bound::new(1.0 / 9.0, 1e-6, (0.0, 2.0)));

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        name: "matmul",
        onnx: &["MatMul"],
        args: &["a", "b"],
        attrs: &[flag("ta", false), flag("tb", false)],
        doc: "Numpy's matrix product with ⊙ for the products; `ta`, `tb` swap the last two axes of an \
              operand first. [.., m, k] × [k, n] is one product of [..·m, k].",
        shape: matmul_shape,
        lower: Some(matmul),
        bound: BOUND,
        cost: 1000,
        ..Op::BLANK
    },
    Op {
        name: "conv",
        onnx: &["Conv"],
        args: &["x", "w", "bias?"],
        attrs: &[WINDOW[0], WINDOW[1], WINDOW[2], int("groups", 1)],
        doc: "Convolution of [batch, channels, spatial ...] with [filters, channels / groups, kernel ...]: \
              windows as columns, then a matrix product of each sample (and group). `pads`: all begins, \
              then all ends.",
        shape: conv_shape,
        lower: Some(conv),
        bound: BOUND,
        cost: 1000,
        ..Op::BLANK
    },
    Op {
        name: "conv_transpose",
        onnx: &["ConvTranspose"],
        args: &["x", "w", "bias?"],
        attrs: &[WINDOW[0], WINDOW[1], WINDOW[2], int("groups", 1), ints("output_padding", &[])],
        doc: "Transposed convolution of [batch, channels, spatial ...] with [channels, filters / groups, \
              kernel ...]: a matrix product, then the columns folded onto the output.",
        shape: conv_transpose_shape,
        lower: Some(conv_transpose),
        bound: BOUND,
        cost: 1000,
        ..Op::BLANK
    },
];
