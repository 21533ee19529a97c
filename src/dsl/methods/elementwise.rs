//! Elementwise operations, reductions and losses.

use pamc_passes::ir::{Attrs, DType};

use crate::dsl::{LossKind, Mode, Operand, Var};

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident => $row:literal),* $(,)?) => {
        impl<'n> Var<'n> {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self) -> Var<'n> {
                self.op($row, &[], Attrs::none())
            }
        )*}
    };
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident => $row:literal),* $(,)?) => {
        impl<'n> Var<'n> {$(
            $(#[$doc])*
            #[track_caller]
            pub fn $name(self, other: impl Operand<'n>) -> Var<'n> {
                self.op($row, &[other.beside(self)], Attrs::none())
            }
        )*}
    };
}

macro_rules! reduction {
    ($($(#[$doc:meta])* $name:ident => $row:literal),* $(,)?) => {
        impl<'n> Var<'n> {$(
            $(#[$doc])*
            /// An empty list means all axes, a negative axis counts from the end; `keepdims`
            /// leaves them with extent 1.
            #[track_caller]
            pub fn $name(self, axes: &[i64], keepdims: bool) -> Var<'n> {
                let attrs = Attrs::none().with("axes", axes.to_vec());
                self.op($row, &[], attrs.with("keepdims", keepdims))
            }
        )*}
    };
}

unary! {
    /// `|x|`.
    abs => "abs",
    /// −1, 0 or 1.
    sign => "sign",
    /// Largest integer not above.
    floor => "floor",
    /// Nearest integer, ties to even.
    round => "round",
    /// Smallest integer not below.
    ceil => "ceil",
    /// x · x.
    square => "square",
    /// eˣ.
    exp => "exp",
    /// 2ˣ.
    exp2 => "exp2",
    /// Natural logarithm.
    log => "log",
    /// Binary logarithm.
    log2 => "log2",
    /// √x.
    sqrt => "sqrt",
    /// 1/√x.
    rsqrt => "rsqrt",
    /// 1/x.
    reciprocal => "reciprocal",
    /// 1 / (1 + e⁻ˣ).
    sigmoid => "sigmoid",
    /// Hyperbolic tangent.
    tanh => "tanh",
    /// Error function.
    erf => "erf",
    /// x · sigmoid(x).
    silu => "silu",
    /// max(x, 0).
    relu => "relu",
    /// ln(1 + eˣ).
    softplus => "softplus",
    /// x · min(max(x/6 + 1/2, 0), 1).
    hard_swish => "hard_swish",
    /// x · tanh(softplus(x)).
    mish => "mish",
    /// Sine.
    sin => "sin",
    /// Tangent.
    tan => "tan",
    /// Arc sine.
    asin => "asin",
    /// Arc cosine.
    acos => "acos",
    /// Arc tangent.
    atan => "atan",
    /// Hyperbolic sine.
    sinh => "sinh",
    /// Hyperbolic cosine.
    cosh => "cosh",
    /// Inverse of the hyperbolic sine.
    asinh => "asinh",
    /// Inverse of the hyperbolic cosine.
    acosh => "acosh",
    /// Inverse of the hyperbolic tangent.
    atanh => "atanh",
    /// eˣ − 1.
    expm1 => "expm1",
    /// ln(1 + x).
    log1p => "log1p",
    /// Decimal logarithm.
    log10 => "log10",
    /// Cube root.
    cbrt => "cbrt",
    /// 1 − erf x.
    erfc => "erfc",
    /// Cosine.
    cos => "cos",
}

binary! {
    /// Smaller of two.
    min => "min",
    /// Larger of two.
    max => "max",
    /// `xᵖ` for x ≥ 0.
    pow => "pow",
    /// x − trunc(x / y) · y.
    fmod => "fmod",
    /// Angle of the point (y, x), of x its second coordinate.
    atan2 => "atan2",
    /// x where positive, else x · slope.
    prelu => "prelu",
    /// `a = b`.
    eq => "eq",
    /// `a ≠ b`.
    ne => "ne",
    /// `a < b`.
    lt => "lt",
    /// `a ≤ b`.
    le => "le",
    /// `a > b`.
    gt => "gt",
    /// `a ≥ b`.
    ge => "ge",
}

reduction! {
    /// Sum.
    sum => "sum",
    /// Mean.
    mean => "mean",
    /// Largest.
    reduce_max => "reduce_max",
    /// Smallest.
    reduce_min => "reduce_min",
    /// ln Σ eˣ.
    logsumexp => "logsumexp",
}

/// Elementwise, with attributes.
impl<'n> Var<'n> {
    /// The nearest number between `lo` and `hi`.
    #[track_caller]
    pub fn clip(self, lo: f32, hi: f32) -> Var<'n> {
        self.op("clip", &[], Attrs::none().with("lo", lo).with("hi", hi))
    }

    /// x · Φ(x); `tanh` takes the approximation through tanh instead of the one through erf.
    #[track_caller]
    pub fn gelu(self, tanh: bool) -> Var<'n> {
        let how = if tanh { "tanh" } else { "none" };
        self.op("gelu", &[], Attrs::none().with("approximate", how))
    }

    /// x where positive, else `alpha` · x.
    #[track_caller]
    pub fn leaky_relu(self, alpha: f32) -> Var<'n> {
        self.op("leaky_relu", &[], Attrs::none().with("alpha", alpha))
    }

    /// x where positive, else `alpha` · (eˣ − 1).
    #[track_caller]
    pub fn elu(self, alpha: f32) -> Var<'n> {
        self.op("elu", &[], Attrs::none().with("alpha", alpha))
    }

    /// x where positive, else `alpha` · (e^(x/alpha) − 1).
    #[track_caller]
    pub fn celu(self, alpha: f32) -> Var<'n> {
        self.op("celu", &[], Attrs::none().with("alpha", alpha))
    }

    /// The self-normalizing elu of Klambauer et al. (2017), with its constants.
    #[track_caller]
    pub fn selu(self) -> Var<'n> {
        self.op("selu", &[], Attrs::none())
    }

    /// `alpha` · x + `beta`, limited to `[0, 1]`.
    #[track_caller]
    pub fn hard_sigmoid(self, alpha: f32, beta: f32) -> Var<'n> {
        self.op("hard_sigmoid", &[], Attrs::none().with("alpha", alpha).with("beta", beta))
    }

    /// A loss against a target, averaged to a scalar.
    #[track_caller]
    pub fn loss(self, kind: LossKind, target: Var<'n>) -> Var<'n> {
        self.op(kind.row(), &[target], kind.attrs())
    }

    /// Of a condition: `a` where it holds, else `b`.
    #[track_caller]
    pub fn select(self, a: Var<'n>, b: impl Operand<'n>) -> Var<'n> {
        self.op("select", &[a, b.beside(a)], Attrs::none())
    }

    /// Convert the element type; nothing if it is the same.
    #[track_caller]
    pub fn cast(self, to: DType) -> Var<'n> {
        if self.is_poisoned() || self.dtype() == to {
            return self;
        }
        self.op("cast", &[], Attrs::none().with("to", to))
    }

    /// The same 32 bits as the other of f32 and i32.
    #[track_caller]
    pub fn bitcast(self, to: DType) -> Var<'n> {
        self.op("bitcast", &[], Attrs::none().with("to", to))
    }

    /// With probability `p` 0, else scaled by 1/(1 − p); nothing outside of training.
    #[track_caller]
    pub fn dropout(self, p: f32) -> Var<'n> {
        if self.net.mode() == Mode::Infer || p == 0.0 {
            return self;
        }
        let (key, stream) = self.net.random_stream();
        self.op("dropout", &[key], Attrs::none().with("p", p).with("stream", stream))
    }

    /// Of a key (i32[2]): 32 random bits an element of `shape`.
    #[track_caller]
    pub fn random_bits(self, shape: &[usize], stream: i64) -> Var<'n> {
        self.op("random_bits", &[], Attrs::none().with("shape", shape).with("stream", stream))
    }
}
