//! Normalizations.

use pamc_passes::ir::TensorType;

use crate::dsl::{Init, Mode, Var};

/// Normalization over the last axis, with a gain and a shift (Ba et al. 2016).
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// Added to the variance.
    pub epsilon: f32,
}

impl Default for LayerNorm {
    fn default() -> Self {
        LayerNorm { epsilon: 1e-5 }
    }
}

impl LayerNorm {
    /// Apply to `[.., features]`.
    #[track_caller]
    pub fn apply<'n>(&self, name: &str, x: Var<'n>) -> Var<'n> {
        let _scope = x.net().scope(name);
        let Some(features) = x.features() else { return x };
        let gamma = x.net().param("weight", &[features], Init::Ones);
        let beta = x.net().param("bias", &[features], Init::Zeros);
        x.layer_norm(gamma, beta, self.epsilon)
    }
}

/// Normalization by the root mean square of the last axis, with a gain (Zhang & Sennrich 2019).
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm {
    /// Added to the mean square.
    pub epsilon: f32,
}

impl Default for RmsNorm {
    fn default() -> Self {
        RmsNorm { epsilon: 1e-5 }
    }
}

impl RmsNorm {
    /// Apply to `[.., features]`.
    #[track_caller]
    pub fn apply<'n>(&self, name: &str, x: Var<'n>) -> Var<'n> {
        let _scope = x.net().scope(name);
        let Some(features) = x.features() else { return x };
        let gamma = x.net().param("weight", &[features], Init::Ones);
        x.rms_norm(gamma, self.epsilon)
    }
}

/// Normalization of each channel (axis 1) over the batch and all spatial axes (Ioffe & Szegedy
/// 2015). Training uses the statistics of the batch and keeps running ones for inference.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// The running statistics move by 2⁻ᵏ of their distance from the batch's. A power of two, since
    /// a piecewise affine moving average with another factor settles well below its input.
    pub momentum_shift: i32,
}

impl Default for BatchNorm {
    fn default() -> Self {
        BatchNorm { epsilon: 1e-5, momentum_shift: 3 }
    }
}

impl BatchNorm {
    /// Apply to `[batch, channels, ..]`.
    #[track_caller]
    pub fn apply<'n>(&self, name: &str, x: Var<'n>) -> Var<'n> {
        let net = x.net();
        let _scope = net.scope(name);
        if x.is_poisoned() {
            return x;
        }
        let shape = x.shape();
        let Some(&channels) = shape.get(1) else {
            return net.fail("batch_norm", format!("{} is not [batch, channels, ..]", x.ty()));
        };
        let gamma = net.param("weight", &[channels], Init::Ones);
        let beta = net.param("bias", &[channels], Init::Zeros);
        let ty = TensorType::f32([channels]);
        let mut mean = net.carried("running_mean", ty.clone(), Init::Zeros);
        let mut variance = net.carried("running_var", ty, Init::Ones);
        if net.mode() == Mode::Train {
            let axes: Vec<i64> = (0..shape.len() as i64).filter(|&a| a != 1).collect();
            let center = x.mean(&axes, false);
            // In the very form that the row lowers to, so that both become one.
            let mut column = vec![1; shape.len() - 1];
            column[0] = channels;
            let centered = x - center.reshape(&column);
            let spread = (centered * centered).mean(&axes, false);
            let rate = 2f32.powi(-self.momentum_shift);
            net.update("running_mean", mean + (center - mean) * rate);
            net.update("running_var", variance + (spread - variance) * rate);
            (mean, variance) = (center, spread);
        }
        x.batch_norm(gamma, beta, mean, variance, self.epsilon)
    }
}
