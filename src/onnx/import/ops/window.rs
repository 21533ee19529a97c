//! Sliding windows, as the attributes of convolutions and poolings describe them.

use pamc_passes::ir::Attrs;

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Fault, Made, Value, invalid, unsupported};

/// A sliding window over the spatial axes.
pub(super) struct Window {
    pub kernel: Vec<usize>,
    pub strides: Vec<usize>,
    pub dilations: Vec<usize>,
    pub lo: Vec<usize>,
    pub hi: Vec<usize>,
    /// How much of `hi` comes from `ceil_mode` alone.
    pub ceil: Vec<usize>,
}

/// A list attribute with `n` positive entries, all 1 if it is left out.
pub(super) fn list(s: &Site, name: &str, n: usize) -> Made<Vec<usize>> {
    let Some(given) = s.ints(name)? else { return Ok(vec![1; n]) };
    let positive = |&x: &i64| usize::try_from(x).ok().filter(|&x| (1..1 << 31).contains(&x));
    let sizes: Option<Vec<usize>> = given.iter().map(positive).collect();
    let sizes = sizes.filter(|v| v.len() == n);
    sizes.ok_or_else(|| Fault::Invalid(format!("`{name}` is {given:?} for {n} spatial axes")))
}

impl Window {
    /// The window over `spatial` that the attributes of a node describe.
    pub fn of(s: &Site, spatial: &[usize], kernel: Vec<usize>) -> Made<Self> {
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
    pub fn unpadded(s: &Site, n: usize, kernel: Vec<usize>) -> Made<Self> {
        let (strides, dilations) = (list(s, "strides", n)?, list(s, "dilations", n)?);
        Ok(Window { kernel, strides, dilations, lo: vec![0; n], hi: vec![0; n], ceil: vec![0; n] })
    }

    /// The pads with which a transposed convolution gives `wanted` extents; more than there is
    /// comes from output padding.
    pub fn reaching(
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

    pub fn explicit(&mut self, s: &Site, n: usize) -> Made<()> {
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

    pub fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1).saturating_mul(self.dilations[axis]).saturating_add(1)
    }

    /// As many windows as strides fit, the padding shared between both sides.
    pub fn same(&mut self, spatial: &[usize], lower: bool) {
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
    pub fn round_up(&mut self, spatial: &[usize]) {
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
    pub fn pads(&self) -> Attrs {
        Attrs::none()
            .with("strides", &self.strides[..])
            .with("dilations", &self.dilations[..])
            .with("pads", &[&self.lo[..], &self.hi].concat()[..])
    }

    /// As the real pooling ops have it, which do their own rounding up.
    pub fn pooling(&self) -> Attrs {
        let hi: Vec<usize> = self.hi.iter().zip(&self.ceil).map(|(h, c)| h - c).collect();
        self.pads()
            .with("pads", &[&self.lo[..], &hi].concat()[..])
            .with("kernel", &self.kernel[..])
            .with("ceil_mode", self.ceil.iter().any(|&c| c > 0))
    }

    /// As `unfold` and `fold` have it.
    pub fn attrs(&self) -> Attrs {
        Attrs::none()
            .with("kernel", &self.kernel[..])
            .with("strides", &self.strides[..])
            .with("dilations", &self.dilations[..])
            .with("pads_lo", &self.lo[..])
            .with("pads_hi", &self.hi[..])
    }

    /// `[batch, channels, kernel …, windows …]`; padding reads `value`.
    pub fn unfold(&self, s: &mut Site, x: &Value, value: f32) -> Made {
        s.b.op("unfold", &[x], self.attrs().with("value", value))
    }

    /// The adjoint of [`Window::unfold`].
    pub fn fold(&self, s: &mut Site, windows: &Value, spatial: &[usize]) -> Made {
        s.b.op("fold", &[windows], self.attrs().with("spatial", spatial))
    }

    /// Positions of the kernel's axes in unfolded data.
    pub fn kernel_axes(&self) -> Vec<usize> {
        (2..2 + self.kernel.len()).collect()
    }
}

/// `[batch, channels, spatial …]` taken apart.
pub(super) fn spatial(shape: &[usize]) -> Made<&[usize]> {
    match shape.get(2..) {
        Some(spatial) if !spatial.is_empty() => Ok(spatial),
        _ => invalid(format!("{shape:?} has no spatial axes")),
    }
}

pub(super) fn pool_window(s: &Site, shape: &[usize]) -> Made<Window> {
    let spatial = spatial(shape)?;
    if s.ints("kernel_shape")?.is_none() {
        return invalid("no kernel is given");
    }
    let kernel = list(s, "kernel_shape", spatial.len())?;
    Window::of(s, spatial, kernel)
}

pub(super) fn named(s: &mut Site, op: &str) {
    s.b.origin.op = op.into();
}
