//! A rule as egg's rewrite: guards asked of the analysis, computed attributes, shapes restored.

use egg::{Applier, ENodeOrVar, Id, Language, Pattern, PatternAst, Rewrite, Subst, Symbol};

use super::analysis::{FactAnalysis, Facts, Terms, ValueFacts, attributes, type_of};
use super::language::{Kind, Term};
use crate::ir::Attr;
use crate::ops;
use crate::rules::Rule;

/// What separates the name of a rule from the number of its form.
const FORM: char = '~';

/// Rewrites of rules in all their forms, in table order.
pub fn rewrites(rules: &[Rule]) -> Vec<Rewrite<Term, FactAnalysis>> {
    let forms = |rule: &Rule| rule.commuted().into_iter().enumerate();
    rules.iter().flat_map(forms).filter_map(|(i, rule)| rewrite(rule, i)).collect()
}

fn rewrite(rule: Rule, form: usize) -> Option<Rewrite<Term, FactAnalysis>> {
    let searcher: Pattern<Term> = Pattern::new(rule.left().clone());
    let name = match form {
        0 => rule.spec().name.to_string(),
        n => format!("{}{FORM}{n}", rule.spec().name),
    };
    Rewrite::new(name, searcher, RightSide { rule }).ok()
}

/// Name of the rule that a rewrite is a form of.
pub fn rule_name(rewrite: &str) -> &str {
    rewrite.split(FORM).next().unwrap_or(rewrite)
}

struct RightSide {
    rule: Rule,
}

/// Add an instance of a pattern; `None` if a part of it does not type-check.
fn instantiate(egraph: &mut Terms, ast: &PatternAst<Term>, subst: &Subst) -> Option<Id> {
    let mut ids: Vec<Id> = Vec::new();
    for node in ast.as_ref() {
        let id = match node {
            ENodeOrVar::Var(v) => *subst.get(*v)?,
            ENodeOrVar::ENode(term) => {
                let term = term.clone().map_children(|c| ids[usize::from(c)]);
                add(egraph, term)?
            }
        };
        ids.push(id);
    }
    ids.last().copied()
}

fn add(egraph: &mut Terms, term: Term) -> Option<Id> {
    match term.kind {
        Kind::Function(f) => {
            let arguments: Vec<&Facts> = term.children.iter().map(|c| &egraph[*c].data).collect();
            let made = match f.call(&arguments)? {
                Attr::Tensor(t) => Term::constant(t),
                other => Term::attr(Some(other)),
            };
            Some(egraph.add_uncanonical(made))
        }
        Kind::Op(op) => {
            let attrs = attributes(egraph, op, &term);
            let operands: Vec<&ValueFacts> = term.children[..term.operands()]
                .iter()
                .map(|c| egraph[*c].data.tensor())
                .collect::<Option<_>>()?;
            type_of(op, attrs, &operands).ok()?;
            Some(egraph.add_uncanonical(term))
        }
        _ => Some(egraph.add_uncanonical(term)),
    }
}

impl RightSide {
    /// The right side, broadcast to the shape the left side has.
    fn build(&self, egraph: &mut Terms, class: Id, subst: &Subst) -> Option<Id> {
        let new = instantiate(egraph, self.rule.right(), subst)?;
        let (wanted, got) = (egraph[class].data.tensor()?, egraph[new].data.tensor()?);
        if wanted.ty == got.ty {
            return Some(new);
        }
        let widens = ops::broadcast_shapes(&[&got.ty.shape, &wanted.ty.shape])
            .is_ok_and(|s| s == wanted.ty.shape);
        if !widens || wanted.ty.dtype != got.ty.dtype || !self.rule.is_pointwise() {
            return None;
        }
        let to = Attr::from(&wanted.ty.shape[..]);
        let to = egraph.add_uncanonical(Term::attr(Some(to)));
        add(egraph, Term::op(ops::lookup("expand")?, vec![new, to]))
    }
}

impl Applier<Term, FactAnalysis> for RightSide {
    fn apply_one(
        &self,
        egraph: &mut Terms,
        class: Id,
        subst: &Subst,
        searched: Option<&PatternAst<Term>>,
        name: Symbol,
    ) -> Vec<Id> {
        let holds = self.rule.holds(|v| subst.get(v).map(|id| &egraph[*id].data));
        if !holds {
            return Vec::new();
        }
        let Some(new) = self.build(egraph, class, subst) else { return Vec::new() };
        // With explanations on, the instance of the left side must be the one that is named.
        let old = searched.and_then(|ast| instantiate(egraph, ast, subst)).unwrap_or(class);
        if egraph.union_trusted(old, new, name) { vec![new] } else { Vec::new() }
    }
}
