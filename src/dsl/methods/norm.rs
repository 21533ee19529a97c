//! Operations along an axis, and normalizations.

use pamc_passes::ir::Attrs;

use crate::dsl::Var;

/// Along axes.
impl<'n> Var<'n> {
    /// eˣ / Σ eˣ along an axis.
    #[track_caller]
    pub fn softmax(self, axis: i64) -> Var<'n> {
        self.op("softmax", &[], Attrs::none().with("axis", axis))
    }

    /// ln softmax.
    #[track_caller]
    pub fn log_softmax(self, axis: i64) -> Var<'n> {
        self.op("log_softmax", &[], Attrs::none().with("axis", axis))
    }

    /// Index (i64) of the first largest element along an axis, which goes away.
    #[track_caller]
    pub fn argmax(self, axis: i64) -> Var<'n> {
        self.op("argmax", &[], Attrs::none().with("axis", axis))
    }

    /// Index (i64) of the first smallest element along an axis, which goes away.
    #[track_caller]
    pub fn argmin(self, axis: i64) -> Var<'n> {
        self.op("argmin", &[], Attrs::none().with("axis", axis))
    }

    /// Running sum along an axis.
    #[track_caller]
    pub fn cumsum(self, axis: i64) -> Var<'n> {
        self.op("cumsum", &[], Attrs::none().with("axis", axis))
    }

    /// (x − mean) / √(variance + ε) · γ + β over the last axis.
    #[track_caller]
    pub fn layer_norm(self, gamma: Var<'n>, beta: Var<'n>, epsilon: f32) -> Var<'n> {
        self.op("layer_norm", &[gamma, beta], Attrs::none().with("eps", epsilon))
    }

    /// x / √(mean square + ε) · γ over the last axis.
    #[track_caller]
    pub fn rms_norm(self, gamma: Var<'n>, epsilon: f32) -> Var<'n> {
        self.op("rms_norm", &[gamma], Attrs::none().with("eps", epsilon))
    }

    /// (x − mean) / √(variance + ε) · γ + β with one of each for every channel (axis 1).
    #[track_caller]
    pub fn batch_norm(
        self,
        gamma: Var<'n>,
        beta: Var<'n>,
        mean: Var<'n>,
        variance: Var<'n>,
        epsilon: f32,
    ) -> Var<'n> {
        let attrs = Attrs::none().with("eps", epsilon);
        self.op("batch_norm", &[gamma, beta, mean, variance], attrs)
    }

    /// Normalized over groups of channels (axis 1) and all spatial axes.
    #[track_caller]
    pub fn group_norm(self, gamma: Var<'n>, beta: Var<'n>, groups: usize, epsilon: f32) -> Var<'n> {
        let attrs = Attrs::none().with("eps", epsilon).with("groups", groups as i64);
        self.op("group_norm", &[gamma, beta], attrs)
    }

    /// Each channel (axis 1) of each sample normalized over all spatial axes.
    #[track_caller]
    pub fn instance_norm(self, gamma: Var<'n>, beta: Var<'n>, epsilon: f32) -> Var<'n> {
        self.op("instance_norm", &[gamma, beta], Attrs::none().with("eps", epsilon))
    }
}
