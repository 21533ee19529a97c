//! Attention.

use pamc_passes::ir::DType;

use super::Linear;
use crate::dsl::{Init, Net, Var};

/// Score of a position that may not be attended to. Finite, so that a row in which every position
/// is masked is a plain mean and not 0/0; far below any score, so that its exponential is +0.
const MASKED: f32 = -1e9;

/// `[t, t]` of `bool`: position i may attend to j ≤ i.
#[track_caller]
pub fn causal_mask(net: &Net, t: usize) -> Var<'_> {
    net.iota(DType::I32, &[t, t], 0).ge(net.iota(DType::I32, &[t, t], 1))
}

/// Scaled dot-product attention with several heads (Vaswani et al. 2017, section 3.2).
#[derive(Clone, Copy, Debug)]
pub struct MultiHeadAttention {
    /// Number of heads, which share out the features.
    pub heads: usize,
    /// Probability to drop an attention weight in training.
    pub dropout: f32,
    /// Start of the projections to queries, keys and values.
    pub init: Init,
    /// Start of the projection of the result.
    pub out_init: Init,
}

impl MultiHeadAttention {
    /// With `heads` heads, weights normal with the given standard deviation, no dropout.
    pub fn new(heads: usize, std: f32) -> MultiHeadAttention {
        let init = Init::Normal { std };
        MultiHeadAttention { heads, dropout: 0.0, init, out_init: init }
    }

    /// Self-attention of `[batch, t, features]`; `mask` broadcasts to `[batch, heads, t, t]` and is
    /// true where a query (third axis) may attend to a key (last axis).
    #[track_caller]
    pub fn apply<'n>(&self, name: &str, x: Var<'n>, mask: Option<Var<'n>>) -> Var<'n> {
        let _scope = x.net().scope(name);
        let Some([_, _, d]) = self.admit(x) else { return x.net().poison() };
        let qkv = Linear::new(d * 3).init(self.init).apply("qkv", x);
        let part = |i: usize| qkv.slice(-1, i * d, d);
        self.attend(part(0), part(1), part(2), mask)
    }

    /// Attention of `[batch, t, features]` to a memory `[batch, s, features]`; `mask` broadcasts to
    /// `[batch, heads, t, s]`.
    #[track_caller]
    pub fn cross<'n>(
        &self,
        name: &str,
        x: Var<'n>,
        memory: Var<'n>,
        mask: Option<Var<'n>>,
    ) -> Var<'n> {
        let _scope = x.net().scope(name);
        let Some([_, _, d]) = self.admit(x) else { return x.net().poison() };
        let q = Linear::new(d).init(self.init).apply("q", x);
        let kv = Linear::new(d * 2).init(self.init).apply("kv", memory);
        self.attend(q, kv.slice(-1, 0, d), kv.slice(-1, d, d), mask)
    }

    #[track_caller]
    fn admit(&self, x: Var<'_>) -> Option<[usize; 3]> {
        let dims = x.dims("[batch, positions, features]")?;
        if self.heads == 0 || dims[2] % self.heads != 0 {
            let reason = format!("{} features do not make {} heads", dims[2], self.heads);
            x.net().fail("attention", reason);
            return None;
        }
        Some(dims)
    }

    #[track_caller]
    fn attend<'n>(&self, q: Var<'n>, k: Var<'n>, v: Var<'n>, mask: Option<Var<'n>>) -> Var<'n> {
        let net = q.net();
        let what = "[batch, positions, features]";
        let (Some([b, t, d]), Some([_, s, _])) = (q.dims(what), k.dims(what)) else {
            return net.poison();
        };
        let (h, width) = (self.heads, d / self.heads);
        let q = q * (1.0 / (width as f32).sqrt());
        let q = q.reshape(&[b, t, h, width]).transpose(&[0, 2, 1, 3]);
        let k = k.reshape(&[b, s, h, width]).transpose(&[0, 2, 3, 1]);
        let v = v.reshape(&[b, s, h, width]).transpose(&[0, 2, 1, 3]);
        let mut scores = q.matmul(k);
        if let Some(mask) = mask {
            scores = mask.select(scores, MASKED);
        }
        let weights = scores.softmax(-1).dropout(self.dropout);
        let y = weights.matmul(v).transpose(&[0, 2, 1, 3]).reshape(&[b, t, d]);
        Linear::new(d).init(self.out_init).apply("out", y)
    }
}
