//! Which derivative is taken where: exact slopes or real derivatives.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::ir::{Graph, Node, Region};

/// The two derivatives of a piecewise affine function (Kosson & Jaggi 2023, section 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slope {
    /// The slope of the segment: a signed power of two.
    Exact,
    /// The derivative of the real function, in PAM arithmetic.
    Approx,
}

impl FromStr for Slope {
    type Err = SpecError;

    fn from_str(s: &str) -> Result<Self, SpecError> {
        match s {
            "exact" => Ok(Slope::Exact),
            "approx" => Ok(Slope::Approx),
            other => Err(SpecError::Slope(other.into())),
        }
    }
}

impl fmt::Display for Slope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Slope::Exact { "exact" } else { "approx" })
    }
}

/// Why a derivative specification cannot be read or does not fit the graph.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum SpecError {
    /// Neither of the two.
    #[error("'{0}' is not a kind of derivative: exact or approx, or KEY=exact or KEY=approx")]
    Slope(String),
    /// A default after the first place.
    #[error("'{0}' stands after an override: the default comes first")]
    Late(Slope),
    /// Keys that address nothing in the graph, all of them.
    #[error(
        "no part of the graph is called {}; there are the part loss, the kinds of operations {}, their \
         operands {}, the scopes {}",
        .unknown.join(", "), .kinds.join(", "), .operands.join(", "),
        if .scopes.is_empty() { "(none)".into() } else { .scopes.join(", ") }
    )]
    Unknown {
        /// The keys.
        unknown: Vec<String>,
        /// Operation kinds that are there.
        kinds: Vec<String>,
        /// Operands that are there, as `kind.operand`.
        operands: Vec<String>,
        /// Layer paths that are there.
        scopes: Vec<String>,
    },
}

/// A default and overrides, of which later ones win:
/// `approx,loss=exact,matmul.b=exact,blocks.0.attn=exact`.
///
/// A key is the part `loss`; an operation kind (the real operation, such as `softmax`, or the
/// primitive without its prefix, such as `div`); an operand of one, `kind.operand`, by the names
/// that `pamc ops` prints; or a layer path with everything below it. Ordinary arithmetic knows no
/// segments and takes no notice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GradSpec {
    default: Slope,
    overrides: Vec<(String, Slope)>,
}

impl Default for GradSpec {
    /// The paper's best: approx, and exact in the loss.
    fn default() -> Self {
        GradSpec { default: Slope::Approx, overrides: vec![("loss".into(), Slope::Exact)] }
    }
}

impl FromStr for GradSpec {
    type Err = SpecError;

    /// Overrides without a default in front of them add to the specification of [`Default`].
    fn from_str(s: &str) -> Result<Self, SpecError> {
        let mut spec = GradSpec::default();
        for (i, part) in s.split(',').map(str::trim).enumerate() {
            match part.rsplit_once('=') {
                Some((key, slope)) => {
                    spec.overrides.push((key.trim().into(), slope.trim().parse()?))
                }
                None if i == 0 => spec = GradSpec::all(part.parse()?),
                None => return Err(SpecError::Late(part.parse()?)),
            }
        }
        Ok(spec)
    }
}

impl fmt::Display for GradSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.default)?;
        self.overrides.iter().try_for_each(|(key, slope)| write!(f, ",{key}={slope}"))
    }
}

fn operand(node: &Node, index: usize) -> &'static str {
    let args = node.op.args;
    let name = args.get(index).or(args.last()).copied().unwrap_or("");
    name.trim_end_matches("...").trim_end_matches('?')
}

/// Names of a node's kind: the real operation, and the primitive; neither with the prefix of its
/// arithmetic.
fn kinds(node: &Node) -> [&str; 2] {
    [&*node.origin.op, node.op.name]
        .map(|name| name.strip_prefix("pam.").or_else(|| name.strip_prefix("f.")).unwrap_or(name))
}

impl GradSpec {
    /// The same everywhere.
    pub fn all(default: Slope) -> Self {
        GradSpec { default, overrides: Vec::new() }
    }

    /// The derivative to take of an operand of a node.
    pub fn slope(&self, node: &Node, index: usize) -> Slope {
        let mut found = self.overrides.iter().rev().filter(|(key, _)| matches(key, node, index));
        found.next().map_or(self.default, |(_, slope)| *slope)
    }

    /// Check that every key addresses something.
    ///
    /// # Errors
    /// [`SpecError::Unknown`] with all keys that do not, and what there is to address.
    pub fn check(&self, graph: &Graph) -> Result<(), SpecError> {
        let somewhere = |key: &str| {
            key == "loss"
                || graph
                    .nodes()
                    .any(|(_, n)| (0..n.inputs.len().max(1)).any(|i| matches(key, n, i)))
        };
        let unknown: Vec<String> =
            self.overrides.iter().map(|(k, _)| k.clone()).filter(|k| !somewhere(k)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut names = [(); 3].map(|()| BTreeSet::new());
        for (_, node) in graph.nodes().filter(|(_, n)| !n.inputs.is_empty()) {
            for kind in kinds(node) {
                names[0].insert(kind.to_string());
                (0..node.inputs.len()).for_each(|i| {
                    names[1].insert(format!("{kind}.{}", operand(node, i)));
                });
            }
            if !node.origin.scope.is_empty() {
                names[2].insert(node.origin.scope.to_string());
            }
        }
        let [kinds, operands, scopes] = names.map(|set| set.into_iter().collect());
        Err(SpecError::Unknown { unknown, kinds, operands, scopes })
    }
}

fn matches(key: &str, node: &Node, index: usize) -> bool {
    let below = |path: &str| {
        path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let of_kind = |kind: &str| {
        key == kind
            || key
                .strip_prefix(kind)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|name| !node.inputs.is_empty() && name == operand(node, index))
    };
    (key == "loss" && node.origin.region == Region::Loss)
        || (!key.is_empty() && below(&node.origin.scope))
        || kinds(node).into_iter().any(|kind| !kind.is_empty() && of_kind(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{InputKind, Origin, TensorType};

    #[test]
    fn text_round_trips() {
        for text in
            ["approx", "exact,loss=approx", "approx,loss=exact,matmul.b=exact,blocks.0=exact"]
        {
            assert_eq!(text.parse::<GradSpec>().unwrap().to_string(), text);
        }
        assert_eq!(
            "loss=approx".parse::<GradSpec>().unwrap().to_string(),
            "approx,loss=exact,loss=approx"
        );
        assert_eq!("aprox".parse::<GradSpec>(), Err(SpecError::Slope("aprox".into())));
        assert_eq!("mul=yes".parse::<GradSpec>(), Err(SpecError::Slope("yes".into())));
        assert_eq!("loss=exact,approx".parse::<GradSpec>(), Err(SpecError::Late(Slope::Approx)));
    }

    #[test]
    fn later_overrides_win_and_unknown_keys_are_listed() {
        let mut g = Graph::new("t");
        let x = g.input("x", TensorType::f32([2, 2]), InputKind::Data).unwrap();
        let at = |op: &str, scope: &str, region| {
            let origin = Origin::new("n").in_scope(scope).in_region(region);
            Origin { op: op.into(), ..origin }
        };
        let row = |name| crate::ops::lookup(name).unwrap();
        let none = crate::ir::Attrs::none;
        let origin = at("softmax", "blocks.0.attn", Region::Forward);
        let div = g.add(row("pam.div"), &[x, x], none(), origin).unwrap();
        let mul =
            g.add(row("pam.mul"), &[x, x], none(), at("mul", "blocks.01", Region::Loss)).unwrap();
        let slopes = |spec: &str| {
            let spec: GradSpec = spec.parse().unwrap();
            spec.check(&g).unwrap();
            [(div, 0), (div, 1), (mul, 0), (mul, 1)].map(|(n, i)| spec.slope(g.node(n), i))
        };
        let (e, a) = (Slope::Exact, Slope::Approx);
        assert_eq!(slopes("approx"), [a, a, a, a]);
        assert_eq!(slopes("approx,loss=exact"), [a, a, e, e]);
        assert_eq!(slopes("approx,softmax=exact"), [e, e, a, a]);
        assert_eq!(slopes("exact,blocks.0=approx"), [a, a, e, e]);
        assert_eq!(slopes("exact,div.b=approx"), [e, a, e, e]);
        assert_eq!(slopes("approx,loss=exact,mul.a=approx"), [a, a, a, e]);
        assert_eq!(slopes("approx,mul.a=approx,loss=exact"), [a, a, e, e]);
        let bad: GradSpec =
            "approx,matmul=exact,div.c=exact,blocks=exact,block=exact".parse().unwrap();
        let Err(SpecError::Unknown { unknown, kinds, operands, scopes }) = bad.check(&g) else {
            panic!()
        };
        assert_eq!(unknown, ["matmul", "div.c", "block"]);
        assert_eq!(kinds, ["div", "mul", "softmax"]);
        assert_eq!(operands, ["div.a", "div.b", "mul.a", "mul.b", "softmax.a", "softmax.b"]);
        assert_eq!(scopes, ["blocks.0.attn", "blocks.01"]);
    }
}
