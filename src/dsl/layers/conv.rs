//! Convolutions.

use crate::dsl::{Init, Var, Window};

/// Convolution of images with a square kernel; `weight` is `[out, in / groups, k, k]`.
#[derive(Clone, Copy, Debug)]
pub struct Conv2d {
    /// Channels of the result.
    pub channels: usize,
    /// Extent of the kernel.
    pub kernel: usize,
    /// Step of the kernel.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
    /// Groups of channels that do not mix.
    pub groups: usize,
    /// Whether there is a bias.
    pub bias: bool,
    /// Start of the weight and of the bias; uniform with 1/√(in · k²) if none is given.
    pub init: Option<(Init, Init)>,
}

impl Conv2d {
    /// To `channels` with a `kernel` × `kernel` window, stride 1, no padding, a bias.
    pub fn new(channels: usize, kernel: usize) -> Conv2d {
        Conv2d { channels, kernel, stride: 1, padding: 0, groups: 1, bias: true, init: None }
    }

    /// Apply to `[batch, channels, height, width]`.
    #[track_caller]
    pub fn apply<'n>(&self, name: &str, x: Var<'n>) -> Var<'n> {
        let net = x.net();
        let _scope = net.scope(name);
        let Some([_, channels, _, _]) = x.dims("[batch, channels, height, width]") else {
            return net.poison();
        };
        if self.groups == 0 || channels % self.groups != 0 {
            let reason = format!("{channels} channels do not make {} groups", self.groups);
            return net.fail("conv", reason);
        }
        let depth = channels / self.groups;
        let default = Init::fan_in(depth * self.kernel * self.kernel);
        let (weight, bias) = self.init.unwrap_or((default, default));
        let weight = net.param("weight", &[self.channels, depth, self.kernel, self.kernel], weight);
        let window = Window::square(self.kernel, self.stride, self.padding);
        let bias = self.bias.then(|| net.param("bias", &[self.channels], bias));
        x.conv(weight, bias, &window, self.groups)
    }
}
