//! Contractions and windows.

use pamc_passes::ir::Attrs;

use crate::dsl::Var;

/// A window that slides over the spatial axes of a convolution or a pooling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Extent along each spatial axis.
    pub kernel: Vec<i64>,
    /// Step along each spatial axis.
    pub strides: Vec<i64>,
    /// Distance of the taps along each spatial axis.
    pub dilations: Vec<i64>,
    /// Padding before each spatial axis, then after each.
    pub pads: Vec<i64>,
}

impl Window {
    /// A square window of two axes, with the same stride and padding on all sides.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Window {
        let n = |x: usize, times: usize| vec![x as i64; times];
        Window {
            kernel: n(kernel, 2),
            strides: n(stride, 2),
            dilations: n(1, 2),
            pads: n(padding, 4),
        }
    }

    fn attrs(&self) -> Attrs {
        Attrs::none()
            .with("strides", self.strides.clone())
            .with("dilations", self.dilations.clone())
            .with("pads", self.pads.clone())
    }

    /// As the primitives have them, with the padding apart.
    fn parts(&self) -> Attrs {
        let (lo, hi) = self.pads.split_at(self.pads.len() / 2);
        Attrs::none()
            .with("kernel", self.kernel.clone())
            .with("strides", self.strides.clone())
            .with("dilations", self.dilations.clone())
            .with("pads_lo", lo.to_vec())
            .with("pads_hi", hi.to_vec())
    }
}

/// Contractions and windows.
impl<'n> Var<'n> {
    /// Matrix product of the last two axes; leading axes broadcast.
    #[track_caller]
    pub fn matmul(self, other: Var<'n>) -> Var<'n> {
        self.op("matmul", &[other], Attrs::none())
    }

    /// Convolution of `[batch, channels, spatial ...]` with `[out, channels / groups, kernel ...]`
    /// and a bias of `[out]`; the kernel's extents are the weight's.
    #[track_caller]
    pub fn conv(
        self,
        weight: Var<'n>,
        bias: Option<Var<'n>>,
        window: &Window,
        groups: usize,
    ) -> Var<'n> {
        let others: Vec<_> = [weight].into_iter().chain(bias).collect();
        self.op("conv", &others, window.attrs().with("groups", groups as i64))
    }

    /// Transposed convolution with `[channels, out / groups, kernel ...]` and a bias of `[out]`.
    #[track_caller]
    pub fn conv_transpose(
        self,
        weight: Var<'n>,
        bias: Option<Var<'n>>,
        window: &Window,
        groups: usize,
    ) -> Var<'n> {
        let others: Vec<_> = [weight].into_iter().chain(bias).collect();
        self.op("conv_transpose", &others, window.attrs().with("groups", groups as i64))
    }

    /// Sliding windows: `[batch, channels, spatial ...]` to `[batch, channels, kernel ..., windows
    /// ...]`, with `value` in the padding.
    #[track_caller]
    pub fn unfold(self, window: &Window, value: f32) -> Var<'n> {
        self.op("unfold", &[], window.parts().with("value", value))
    }

    /// Adjoint of [`Var::unfold`]: every window element added to the position it was read from, in
    /// `[batch, channels, spatial ...]`.
    #[track_caller]
    pub fn fold(self, window: &Window, spatial: &[usize]) -> Var<'n> {
        self.op("fold", &[], window.parts().with("spatial", spatial))
    }

    /// Largest in each window.
    #[track_caller]
    pub fn max_pool(self, window: &Window) -> Var<'n> {
        self.op("max_pool", &[], window.attrs().with("kernel", window.kernel.clone()))
    }

    /// Mean of each window.
    #[track_caller]
    pub fn avg_pool(self, window: &Window) -> Var<'n> {
        self.op("avg_pool", &[], window.attrs().with("kernel", window.kernel.clone()))
    }

    /// Mean of each channel over all spatial axes, which keep extent 1.
    #[track_caller]
    pub fn global_avg_pool(self) -> Var<'n> {
        self.op("global_avg_pool", &[], Attrs::none())
    }

    /// Largest of each channel over all spatial axes, which keep extent 1.
    #[track_caller]
    pub fn global_max_pool(self) -> Var<'n> {
        self.op("global_max_pool", &[], Attrs::none())
    }
}
