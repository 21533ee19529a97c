//! Options of the passes, as their text in a pipeline gives them.

use pamc_passes::arith::Recipe;

/// One option of a pass.
pub struct OptionSpec {
    /// Its name in the pipeline.
    pub name: &'static str,
    /// What it does and its values.
    pub doc: &'static str,
    /// The value when not given.
    pub default: &'static str,
}

/// Options of `pamc-lower`, in the order in which [`LowerOptions::parse`] takes their values.
pub(super) const LOWER: &[OptionSpec] = &[
    OptionSpec {
        name: "to",
        doc: "arith: operations on bit patterns; pam: operations of the pam dialect, for pamc-simplify \
              and a later pamc-lower",
        default: "arith",
    },
    OptionSpec {
        name: "recipe",
        doc: "best: log2(e) and ln 2 as signed powers of two; paper: as PAM products",
        default: "best",
    },
    OptionSpec {
        name: "compensate",
        doc: "true: a factor that is a constant is applied as signed powers of two, within 2^-12 of it, \
              in place of a PAM product that may be 1/9 too small",
        default: "false",
    },
    OptionSpec {
        name: "grad",
        doc: "approx or exact: written on each operation of the pam dialect (to=pam), for whoever \
              differentiates it",
        default: "",
    },
];

/// Options of `pamc-verify`, in the order in which [`VerifyOptions::parse`] takes their values.
pub(super) const VERIFY: &[OptionSpec] = &[OptionSpec {
    name: "integers",
    doc: "error: integer products of data are findings too; allow: they are not. Those that only make \
          addresses never are",
    default: "error",
}];

/// What `pamc-lower` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Integer operations on bit patterns.
    Arith,
    /// The pam dialect.
    Pam,
}

/// How `pamc-lower` lowers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LowerOptions {
    pub to: Dialect,
    pub recipe: Recipe,
    pub compensate: bool,
    pub grad: Option<&'static str>,
}

/// What `pamc-verify` reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VerifyOptions {
    pub integers: bool,
}

/// The value of a name among choices; the message lists them.
fn choose<T: Copy>(option: &str, value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| *name == value);
    found.map(|(_, choice)| *choice).ok_or_else(|| {
        let known: Vec<_> =
            choices.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        format!("option '{option}' is {}, not '{value}'", known.join(" or "))
    })
}

impl LowerOptions {
    /// From the values of [`LOWER`], in its order.
    ///
    /// # Errors
    /// Names the option with its values.
    pub fn parse(values: &[&str]) -> Result<Self, String> {
        let value = |i: usize| values.get(i).copied().unwrap_or(LOWER[i].default);
        let to = choose("to", value(0), &[("arith", Dialect::Arith), ("pam", Dialect::Pam)])?;
        let recipes = [("best", Recipe::BEST), ("paper", Recipe::PAPER)];
        let recipe = choose("recipe", value(1), &recipes)?;
        let switch = [("true", true), ("false", false), ("", true), ("1", true), ("0", false)];
        let compensate = choose("compensate", value(2), &switch)?;
        let grads = [("", None), ("approx", Some("approx")), ("exact", Some("exact"))];
        let grad = choose("grad", value(3), &grads)?;
        if grad.is_some() && to == Dialect::Arith {
            return Err(
                "option 'grad' is written on operations of the pam dialect: it needs to=pam \
                        (bit patterns have no derivative)"
                    .into(),
            );
        }
        Ok(Self { to, recipe, compensate, grad })
    }
}

impl VerifyOptions {
    /// From the values of [`VERIFY`], in its order.
    ///
    /// # Errors
    /// Names the option with its values.
    pub fn parse(values: &[&str]) -> Result<Self, String> {
        let value = values.first().copied().unwrap_or(VERIFY[0].default);
        let integers = choose("integers", value, &[("error", true), ("allow", false)])?;
        Ok(Self { integers })
    }
}
