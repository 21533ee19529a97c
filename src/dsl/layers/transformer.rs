//! Transformer blocks.

use super::{LayerNorm, Linear, MultiHeadAttention};
use crate::dsl::{Init, Var};

/// A nonlinearity by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x · Φ(x), through erf.
    Gelu,
    /// x · Φ(x), approximated through tanh.
    GeluTanh,
    /// x · sigmoid(x).
    Silu,
}

impl Activation {
    /// Names, as [`Activation::from_name`] takes them.
    pub const NAMES: &[&str] = &["relu", "gelu", "gelu_tanh", "silu"];

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Activation> {
        Some(match name {
            "relu" => Activation::Relu,
            "gelu" => Activation::Gelu,
            "gelu_tanh" => Activation::GeluTanh,
            "silu" => Activation::Silu,
            _ => return None,
        })
    }

    /// Apply elementwise.
    #[track_caller]
    pub fn apply(self, x: Var<'_>) -> Var<'_> {
        match self {
            Activation::Relu => x.relu(),
            Activation::Gelu => x.gelu(false),
            Activation::GeluTanh => x.gelu(true),
            Activation::Silu => x.silu(),
        }
    }
}

/// Two affine maps with a nonlinearity between, on the last axis; the features stay as many.
#[derive(Clone, Copy, Debug)]
pub struct FeedForward {
    /// Extent between the maps.
    pub hidden: usize,
    /// The nonlinearity.
    pub activation: Activation,
    /// Probability to drop a hidden value in training.
    pub dropout: f32,
    /// Start of the first map.
    pub init: Init,
    /// Start of the second map.
    pub out_init: Init,
}

impl FeedForward {
    /// Apply to `[.., features]`.
    #[track_caller]
    pub fn apply<'n>(&self, name: &str, x: Var<'n>) -> Var<'n> {
        let _scope = x.net().scope(name);
        let Some(features) = x.features() else { return x };
        let hidden = Linear::new(self.hidden).init(self.init).apply("fc1", x);
        let hidden = self.activation.apply(hidden).dropout(self.dropout);
        Linear::new(features).init(self.out_init).apply("fc2", hidden)
    }
}

/// Self-attention, attention to a memory if there is one, and a feed-forward part, each with a
/// residual connection and a layer norm.
#[derive(Clone, Copy, Debug)]
pub struct TransformerBlock {
    /// The attentions.
    pub attention: MultiHeadAttention,
    /// The feed-forward part.
    pub feed_forward: FeedForward,
    /// Probability to drop a value that joins the residual stream in training.
    pub dropout: f32,
    /// Normalize after each sum (Vaswani et al. 2017) instead of before each part.
    pub post_norm: bool,
    /// The norms.
    pub norm: LayerNorm,
}

impl TransformerBlock {
    /// Norms first, no dropout; weights normal with 0.02, those that end in the residual stream
    /// smaller by √(2 · layers) (Radford et al. 2019).
    pub fn new(heads: usize, hidden: usize, activation: Activation, layers: usize) -> Self {
        let init = Init::Normal { std: 0.02 };
        let out_init = Init::Normal { std: 0.02 / ((2 * layers.max(1)) as f32).sqrt() };
        TransformerBlock {
            attention: MultiHeadAttention { heads, dropout: 0.0, init, out_init },
            feed_forward: FeedForward { hidden, activation, dropout: 0.0, init, out_init },
            dropout: 0.0,
            post_norm: false,
            norm: LayerNorm::default(),
        }
    }

    /// Apply to `[batch, t, features]`; see [`MultiHeadAttention::apply`] for the mask.
    #[track_caller]
    pub fn apply<'n>(&self, name: &str, x: Var<'n>, mask: Option<Var<'n>>) -> Var<'n> {
        let _scope = x.net().scope(name);
        let y = self.attention.apply("attn", self.before("norm1", x), mask);
        let x = self.join("norm1", x, y);
        let y = self.feed_forward.apply("mlp", self.before("norm2", x));
        self.join("norm2", x, y)
    }

    /// The same with attention to a memory `[batch, s, features]` after the self-attention.
    #[track_caller]
    pub fn decode<'n>(
        &self,
        name: &str,
        x: Var<'n>,
        mask: Option<Var<'n>>,
        memory: Var<'n>,
        memory_mask: Option<Var<'n>>,
    ) -> Var<'n> {
        let _scope = x.net().scope(name);
        let y = self.attention.apply("attn", self.before("norm1", x), mask);
        let x = self.join("norm1", x, y);
        let y = self.attention.cross("cross", self.before("norm2", x), memory, memory_mask);
        let x = self.join("norm2", x, y);
        let y = self.feed_forward.apply("mlp", self.before("norm3", x));
        self.join("norm3", x, y)
    }

    #[track_caller]
    fn before<'n>(&self, norm: &str, x: Var<'n>) -> Var<'n> {
        if self.post_norm { x } else { self.norm.apply(norm, x) }
    }

    #[track_caller]
    fn join<'n>(&self, norm: &str, x: Var<'n>, y: Var<'n>) -> Var<'n> {
        let sum = x + y.dropout(self.dropout);
        if self.post_norm { self.norm.apply(norm, sum) } else { sum }
    }
}
