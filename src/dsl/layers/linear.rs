//! Affine maps and look-up tables.

use crate::dsl::{Init, Var};

/// `x · weight + bias` on the last axis; `weight` is `[in, out]`.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    /// Extent of the result's last axis.
    pub features: usize,
    /// Whether there is a bias.
    pub bias: bool,
    /// Start of the weight and of the bias; uniform with 1/√in if none is given.
    pub init: Option<(Init, Init)>,
}

impl Linear {
    /// To `features`, with a bias.
    pub fn new(features: usize) -> Linear {
        Linear { features, bias: true, init: None }
    }

    /// The same with this start of the weight, and the bias from zero.
    #[must_use]
    pub fn init(self, weight: Init) -> Linear {
        Linear { init: Some((weight, Init::Zeros)), ..self }
    }

    /// Apply to `[.., in]`.
    #[track_caller]
    pub fn apply<'n>(&self, name: &str, x: Var<'n>) -> Var<'n> {
        let net = x.net();
        let _scope = net.scope(name);
        let Some(features) = x.features() else { return x };
        let default = Init::fan_in(features);
        let (weight, bias) = self.init.unwrap_or((default, default));
        let y = x.matmul(net.param("weight", &[features, self.features], weight));
        if !self.bias {
            return y;
        }
        y + net.param("bias", &[self.features], bias)
    }
}

/// Rows of a table `weight`, `[count, features]`, by number.
#[derive(Clone, Copy, Debug)]
pub struct Embedding {
    /// Number of rows.
    pub count: usize,
    /// Extent of a row.
    pub features: usize,
    /// Start of the table.
    pub init: Init,
}

impl Embedding {
    /// `count` rows of `features`, normal with the given standard deviation.
    pub fn new(count: usize, features: usize, std: f32) -> Embedding {
        Embedding { count, features, init: Init::Normal { std } }
    }

    /// The rows of integer ids.
    #[track_caller]
    pub fn apply<'n>(&self, name: &str, ids: Var<'n>) -> Var<'n> {
        self.table(name, ids).gather(ids, 0)
    }

    /// The table alone, in the model of `like`, for sharing.
    #[track_caller]
    pub fn table<'n>(&self, name: &str, like: Var<'n>) -> Var<'n> {
        let _scope = like.net().scope(name);
        like.net().param("weight", &[self.count, self.features], self.init)
    }
}
