//! Which arithmetic a program computes in, and the recipes of the PAM one.

/// How the constant factors log₂e and ln 2 are applied in exp, log, softmax and the losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constants {
    /// `⊙` by the constant, as in the paper.
    Mul,
    /// A sum of signed powers of two: exact exponent additions and float adds.
    PowersOfTwo,
}

/// How Adam's moments are corrected for their start from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BiasCorrection {
    /// Division by 1 − βᵗ, as in the paper.
    Power,
    /// Division by the PAM moving average of a constant 1.
    Response,
}

/// The choices in which the recipes differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recipe {
    /// Constant factors.
    pub constants: Constants,
    /// Adam's bias correction.
    pub bias_correction: BiasCorrection,
}

impl Recipe {
    /// Everything as published (Kosson & Jaggi 2023).
    pub const PAPER: Recipe =
        Recipe { constants: Constants::Mul, bias_correction: BiasCorrection::Power };
    /// The default.
    pub const BEST: Recipe =
        Recipe { constants: Constants::PowersOfTwo, bias_correction: BiasCorrection::Response };
}

/// The arithmetic of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arith {
    /// Piecewise affine: nothing multiplies.
    Pam(Recipe),
    /// Ordinary float arithmetic through the same pipeline: the baseline.
    Float,
}

impl Arith {
    /// PAM with the default recipe.
    pub const PAM: Arith = Arith::Pam(Recipe::BEST);

    /// The recipe; ordinary arithmetic corrects bias by powers.
    pub fn recipe(self) -> Recipe {
        match self {
            Arith::Pam(r) => r,
            Arith::Float => Recipe::PAPER,
        }
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Arith::Pam(_) => "pam",
            Arith::Float => "float",
        }
    }
}
