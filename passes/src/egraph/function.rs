//! Computations on attributes and constants that the right side of a rule may call.

use super::analysis::Facts;
use crate::ir::{Attr, Tensor};
use crate::reference;

/// A named computation; `None` where its operands do not fit, and then the rule does not apply.
pub struct Function {
    /// Name in rules, with its `$`.
    pub name: &'static str,
    /// What it computes.
    pub doc: &'static str,
    apply: fn(&[&Facts]) -> Option<Attr>,
}

impl Function {
    /// Call it.
    pub fn call(&self, arguments: &[&Facts]) -> Option<Attr> {
        (self.apply)(arguments)
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// The function of that name.
pub fn lookup(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|f| f.name == name)
}

fn int(f: &Facts) -> Option<i64> {
    match f.attr()? {
        Attr::Int(x) => Some(*x),
        _ => None,
    }
}

fn ints(f: &Facts) -> Option<&[i64]> {
    match f.attr()? {
        Attr::Ints(x) => Some(x),
        _ => None,
    }
}

fn flag(f: &Facts) -> Option<bool> {
    match f.attr()? {
        Attr::Bool(x) => Some(*x),
        _ => None,
    }
}

fn zipped(a: &[i64], b: &[i64], f: impl Fn(i64, i64) -> Option<i64>) -> Option<Attr> {
    if a.len() != b.len() {
        return None;
    }
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect::<Option<Vec<_>>>().map(Attr::Ints)
}

/// Exponent k of a constant ±2ᵏ.
fn exponent(f: &Facts) -> Option<i64> {
    let c = f.uniform()?.item::<f32>()?;
    let power = c.to_bits() & 0x007F_FFFF == 0 && c.is_normal();
    power.then(|| i64::from((c.to_bits() >> 23) & 0xFF) - 127)
}

static FUNCTIONS: &[Function] = &[
    Function {
        name: "$add",
        doc: "Sum of two integers.",
        apply: |x| int(x[0])?.checked_add(int(x[1])?).map(Attr::Int),
    },
    Function {
        name: "$not",
        doc: "The other position of a switch.",
        apply: |x| flag(x[0]).map(|b| Attr::Bool(!b)),
    },
    Function {
        name: "$exponent",
        doc: "k of a constant ±2ᵏ.",
        apply: |x| exponent(x[0]).map(Attr::Int),
    },
    Function {
        name: "$-exponent",
        doc: "−k of a constant ±2ᵏ.",
        apply: |x| exponent(x[0]).map(|k| Attr::Int(-k)),
    },
    Function {
        name: "$reciprocal",
        doc: "1 ⊘ c of a constant.",
        apply: |x| {
            let c = x[0].uniform()?.item::<f32>()?;
            Some(Attr::Tensor(Tensor::scalar(reference::div(1.0, c))))
        },
    },
    Function {
        name: "$only",
        doc: "The one entry of a list.",
        apply: |x| match ints(x[0])? {
            [axis] => Some(Attr::Int(*axis)),
            _ => None,
        },
    },
    Function {
        name: "$trailing",
        doc: "First of the axes of `x` that a list names, if those are its last ones.",
        apply: |x| {
            let rank = x[0].tensor()?.ty.rank();
            let attrs = crate::ir::Attrs::none().with("axes", ints(x[1])?.to_vec());
            let axes = crate::ops::reduced_axes(&attrs, rank).ok()?;
            let first = *axes.first()?;
            axes.iter().copied().eq(first..rank).then_some(Attr::Int(first as i64))
        },
    },
    Function {
        name: "$float",
        doc: "A constant as a number.",
        apply: |x| x[0].uniform()?.item().map(Attr::Float),
    },
    Function {
        name: "$compose",
        doc: "The permutation that does `p`, then `q`.",
        apply: |x| {
            let (p, q) = (ints(x[0])?, ints(x[1])?);
            let at = |&i: &i64| p.get(usize::try_from(i).ok()?).copied();
            q.iter().map(at).collect::<Option<Vec<_>>>().map(Attr::Ints)
        },
    },
    Function {
        name: "$slice-starts",
        doc: "Starts of a slice (starts `t`) of a slice (starts `s`, steps `d`): s + t·d.",
        apply: |x| {
            let (s, d, t) = (ints(x[0])?, ints(x[1])?, ints(x[2])?);
            let moved: Vec<i64> =
                d.iter().zip(t).map(|(&d, &t)| d.checked_mul(t)).collect::<Option<_>>()?;
            zipped(s, &moved, i64::checked_add)
        },
    },
    Function {
        name: "$slice-steps",
        doc: "Steps of a slice of a slice: their products.",
        apply: |x| zipped(ints(x[0])?, ints(x[1])?, i64::checked_mul),
    },
];
