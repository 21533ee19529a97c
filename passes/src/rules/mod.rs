//! The rewrite rules: one line each in the tables, sampled against the interpreter before they are
//! admitted.
//!
//! Two kinds that never mix. *Real* identities hold over the reals and are used before the directed
//! lowering only. *Bit-exact* identities hold for every bit pattern their guards let through, and are
//! the only ones used after it; [`Rule::bits`] refuses any other.

mod example;
mod guard;
mod layout;
mod pam;
mod real;
mod sample;
mod shapes;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::planted;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use egg::{ENodeOrVar, Language, Pattern, PatternAst};
use thiserror::Error;

pub use guard::Guard;
pub(crate) use sample::Given;

use crate::egraph::{Facts, Kind, Term};
use crate::prove::Class;

/// What a rule preserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exactness {
    /// Values over the reals.
    Real,
    /// Every bit (any NaN is as good as another).
    Bits,
}

/// One line of a rule table.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Unique name.
    pub name: &'static str,
    /// Pattern matched: operands, then attributes in the order of the op's row.
    pub lhs: &'static str,
    /// Pattern built; `$` heads compute attributes.
    pub rhs: &'static str,
    /// What it preserves.
    pub kind: Exactness,
    /// What must be known of its variables.
    pub guards: &'static [Guard],
    /// Types and attributes to sample it with, each as `?x: f32[2, 3]; ?p: [1, 0]`; operands that are
    /// not mentioned are sampled as scalars.
    pub examples: &'static [&'static str],
}

/// A line of a table that holds over the reals.
const fn real(name: &'static str, lhs: &'static str, rhs: &'static str) -> Spec {
    Spec { kind: Exactness::Real, ..bits(name, lhs, rhs) }
}

/// A bit-exact line of a table.
const fn bits(name: &'static str, lhs: &'static str, rhs: &'static str) -> Spec {
    Spec { name, lhs, rhs, kind: Exactness::Bits, guards: &[], examples: &[""] }
}

impl Spec {
    /// The same under guards.
    const fn when(self, guards: &'static [Guard]) -> Spec {
        Spec { guards, ..self }
    }

    /// The same, sampled with these operand types and attributes.
    const fn on(self, examples: &'static [&'static str]) -> Spec {
        Spec { examples, ..self }
    }
}

/// Why a rule was not admitted.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A side does not parse, or names a variable the other has not.
    #[error("rule '{rule}': {reason}")]
    Malformed {
        /// Name of the rule.
        rule: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The sides differ on some values that the guards let through.
    #[error("rule '{rule}' does not hold: {lhs} is {left}, {rhs} is {right} at {at}")]
    Counterexample {
        /// Name of the rule.
        rule: &'static str,
        /// Left pattern.
        lhs: &'static str,
        /// Right pattern.
        rhs: &'static str,
        /// Value of the left side.
        left: String,
        /// Value of the right side.
        right: String,
        /// The variables' values.
        at: String,
    },
    /// The guards let too few samples through to tell.
    #[error("rule '{rule}': only {samples} samples pass its guards")]
    Unsampled {
        /// Name of the rule.
        rule: &'static str,
        /// How many did.
        samples: usize,
    },
}

/// An admitted rule.
#[derive(Clone, Debug)]
pub struct Rule {
    spec: Spec,
    sides: Arc<(PatternAst<Term>, PatternAst<Term>)>,
    variables: Arc<[(String, egg::Var)]>,
    pointwise: bool,
    samples: usize,
}

impl Rule {
    /// Admit a bit-exact identity, after evaluating both sides with the interpreter's scalars on
    /// ordinary, edge and special values under its guards.
    ///
    /// # Errors
    /// If it is malformed, or with the counterexample found.
    pub fn bits(spec: Spec) -> Result<Rule, Refused> {
        let mut rule = Rule::parse(spec)?;
        rule.samples = sample::check(&rule)?;
        Ok(rule)
    }

    /// Admit an identity over the reals, after evaluating both sides in ordinary arithmetic; it is
    /// used before the directed lowering only.
    ///
    /// # Errors
    /// If it is malformed, or with the counterexample found.
    pub fn real(spec: Spec) -> Result<Rule, Refused> {
        let mut rule = Rule::parse(spec)?;
        rule.samples = example::check_real(&rule)?;
        Ok(rule)
    }

    /// Both sides as graphs over the operands and attributes of the rule's first example.
    ///
    /// # Errors
    /// If the example does not fit the rule.
    pub fn example(&self) -> Result<(crate::ir::Graph, crate::ir::Graph), Refused> {
        example::graphs(self, self.spec.examples.first().copied().unwrap_or_default())
    }

    /// The rule and its other forms: every product and sum on the left with its operands swapped,
    /// unless a constant stands second in it.
    pub(crate) fn commuted(&self) -> Vec<Rule> {
        let mut forms = vec![self.clone()];
        if self.spec.kind == Exactness::Bits {
            // Their tables list the orders: each is sampled.
            return forms;
        }
        for i in 0..self.left().as_ref().len() {
            let swapped: Vec<Rule> = forms.iter().filter_map(|r| r.swapped(i)).collect();
            forms.extend(swapped);
        }
        forms
    }

    /// The rule with the operands of one node of its left side swapped.
    fn swapped(&self, i: usize) -> Option<Rule> {
        let nodes = self.left().as_ref();
        let ENodeOrVar::ENode(term) = &nodes[i] else { return None };
        let [a, b] = term.children[..] else { return None };
        let constant = |id: egg::Id| match &nodes[usize::from(id)] {
            ENodeOrVar::Var(v) => {
                let name = v.to_string();
                self.spec.guards.iter().any(|g| g.fixes(&name))
            }
            ENodeOrVar::ENode(_) => false,
        };
        let commutes = matches!(term.kind, Kind::Op(op) if matches!(op.name, "mul" | "add"));
        if !commutes || a == b || constant(a) || constant(b) {
            return None;
        }
        let mut nodes = nodes.to_vec();
        nodes[i] = ENodeOrVar::ENode(Term { children: vec![b, a], ..term.clone() });
        let sides = Arc::new((PatternAst::from(nodes), self.right().clone()));
        Some(Rule { sides, ..self.clone() })
    }

    fn parse(spec: Spec) -> Result<Rule, Refused> {
        let malformed = |reason: String| Refused::Malformed { rule: spec.name, reason };
        let side = |text: &'static str| {
            text.parse::<Pattern<Term>>().map(|p| p.ast).map_err(|e| malformed(e.to_string()))
        };
        let (lhs, rhs) = (side(spec.lhs)?, side(spec.rhs)?);
        let known: Vec<_> = variables(&lhs);
        if let Some(v) = variables(&rhs).iter().find(|v| !known.contains(v)) {
            return Err(malformed(format!("the right side names {v}, which the left has not")));
        }
        if lhs.as_ref().iter().any(|n| matches!(n, ENodeOrVar::ENode(t) if is_function(t))) {
            return Err(malformed("the left side calls a function".into()));
        }
        let variables = known.iter().map(|v| (v.to_string(), *v)).collect();
        let pointwise = [&lhs, &rhs].iter().all(|side| side.as_ref().iter().all(is_pointwise));
        Ok(Rule { spec, sides: Arc::new((lhs, rhs)), variables, pointwise, samples: 0 })
    }

    /// A line of a table that nothing was asked about.
    ///
    /// # Errors
    /// If it is malformed.
    #[cfg(test)]
    pub(crate) fn unsampled(spec: Spec) -> Result<Rule, Refused> {
        Rule::parse(spec)
    }

    /// What an example says of the variables.
    pub(crate) fn given(
        &self,
        example: &str,
    ) -> Result<std::collections::BTreeMap<egg::Var, Given>, Refused> {
        sample::parse_example(self, example)
    }

    /// The variables of its left side, by name.
    pub(crate) fn free(&self) -> Vec<egg::Var> {
        variables(self.left())
    }

    /// Evaluate both sides with the interpreter: the counterexample, if these values are one. Floats
    /// and integers are given as 32-bit patterns.
    pub(crate) fn differs_at(&self, values: Vec<(egg::Var, Class, i64)>) -> Option<Refused> {
        sample::differ(self, values)
    }

    /// Evaluate both sides on every small shape and attribute: how many choices agree.
    ///
    /// # Errors
    /// With the first on which they do not.
    pub(crate) fn check_shapes(&self) -> Result<usize, Refused> {
        shapes::check(self)
    }

    /// Its line of the table.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Number of samples it was admitted on.
    pub fn samples(&self) -> usize {
        self.samples
    }

    pub(crate) fn left(&self) -> &PatternAst<Term> {
        &self.sides.0
    }

    pub(crate) fn right(&self) -> &PatternAst<Term> {
        &self.sides.1
    }

    /// True if both sides are elementwise, so that they agree under broadcasting.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.pointwise
    }

    /// Whether all guards are known to hold.
    pub(crate) fn holds<'a>(&self, facts: impl Fn(egg::Var) -> Option<&'a Facts>) -> bool {
        let by_name = |name: &str| {
            let (_, v) = self.variables.iter().find(|(n, _)| n == name)?;
            facts(*v)
        };
        self.spec.guards.iter().all(|g| g.holds(by_name))
    }
}

fn variables(ast: &PatternAst<Term>) -> Vec<egg::Var> {
    let of = |n: &ENodeOrVar<Term>| match n {
        ENodeOrVar::Var(v) => Some(*v),
        ENodeOrVar::ENode(_) => None,
    };
    let mut out: Vec<_> = ast.as_ref().iter().filter_map(of).collect();
    // By name: variables order themselves by when they were first seen, which is not reproducible.
    out.sort_by_key(ToString::to_string);
    out.dedup();
    out
}

fn is_function(term: &Term) -> bool {
    matches!(term.kind, Kind::Function(_))
}

fn is_pointwise(node: &ENodeOrVar<Term>) -> bool {
    match node {
        ENodeOrVar::Var(_) => true,
        ENodeOrVar::ENode(t) => match t.kind {
            Kind::Op(op) => op.prim().is_some_and(|p| p.is_elementwise()),
            Kind::Const | Kind::Attr | Kind::Function(_) => true,
            Kind::Leaf(_) => false,
        },
    }
}

/// Variables that stand for attributes rather than tensors.
fn attribute_variables(ast: &PatternAst<Term>) -> Vec<egg::Var> {
    let nodes = ast.as_ref();
    let mut out = Vec::new();
    for node in nodes {
        let ENodeOrVar::ENode(t) = node else { continue };
        for child in &t.children()[t.operands()..] {
            if let ENodeOrVar::Var(v) = &nodes[usize::from(*child)] {
                out.push(*v);
            }
        }
    }
    out
}

/// Admitted rules.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
}

impl RuleSet {
    fn admit(tables: &[&[Spec]], with: fn(Spec) -> Result<Rule, Refused>) -> Result<Self, Refused> {
        let rules: Vec<Rule> =
            tables.iter().flat_map(|t| t.iter()).map(|s| with(*s)).collect::<Result<_, _>>()?;
        let mut seen: HashMap<&str, ()> = HashMap::new();
        for rule in &rules {
            if seen.insert(rule.spec.name, ()).is_some() {
                let reason = "there are two of this name".to_string();
                return Err(Refused::Malformed { rule: rule.spec.name, reason });
            }
        }
        Ok(RuleSet { rules })
    }

    /// In table order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

static BITS: LazyLock<Result<RuleSet, Refused>> =
    LazyLock::new(|| RuleSet::admit(&[pam::RULES, layout::RULES], Rule::bits));

static REAL: LazyLock<Result<RuleSet, Refused>> =
    LazyLock::new(|| RuleSet::admit(&[real::RULES], Rule::real));

/// The bit-exact identities, all sampled.
///
/// # Errors
/// If the table holds one that is refused.
pub fn bit_exact() -> Result<&'static RuleSet, Refused> {
    BITS.as_ref().map_err(Clone::clone)
}

/// The identities over the reals, all sampled in ordinary arithmetic.
///
/// # Errors
/// If the table holds one that is refused.
pub fn over_the_reals() -> Result<&'static RuleSet, Refused> {
    REAL.as_ref().map_err(Clone::clone)
}

/// A rule as `pamc rules` lists it.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Its line of the table.
    pub spec: Spec,
    /// Number of samples it was admitted on, or why it was refused.
    pub status: Result<usize, Refused>,
    /// What is recorded of its proof; `None` for a rule that is not bit-exact or has none.
    pub proof: Option<String>,
}

/// Every rule of the tables with its status, real identities first.
pub fn list() -> Vec<Listing> {
    let listing = |spec: &Spec| {
        let rule = match spec.kind {
            Exactness::Real => Rule::real(*spec),
            Exactness::Bits => Rule::bits(*spec),
        };
        let proof = rule.as_ref().ok().filter(|_| spec.kind == Exactness::Bits);
        let proof = proof.and_then(crate::prove::record::proven).map(|e| e.to_string());
        Listing { spec: *spec, status: rule.map(|r| r.samples()), proof }
    };
    [real::RULES, pam::RULES, layout::RULES].iter().flat_map(|t| t.iter()).map(listing).collect()
}
