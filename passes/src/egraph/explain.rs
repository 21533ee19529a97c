//! Which rules led from one term to another, out of egg's explanations.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use egg::{Id, TreeTerm};

use super::analysis::Terms;
use super::apply::rule_name;
use super::language::Term;

/// Names of the rules on the way from `old` to `new`, in the order met, each once.
pub fn rules_between(egraph: &mut Terms, old: Id, new: Id) -> Vec<String> {
    if egraph.find(old) != egraph.find(new) {
        return Vec::new();
    }
    let explanation = egraph.explain_id_equivalence(old, new);
    let (mut names, mut once, mut seen) = (Vec::new(), BTreeSet::new(), HashSet::new());
    let mut todo: Vec<Rc<TreeTerm<Term>>> = explanation.explanation_trees.to_vec();
    todo.reverse();
    while let Some(term) = todo.pop() {
        // Shared steps appear once: a proof is a DAG and its flat form may be exponentially longer.
        if !seen.insert(Rc::as_ptr(&term)) {
            continue;
        }
        for rule in [term.forward_rule, term.backward_rule].into_iter().flatten() {
            let name = rule_name(rule.as_str()).to_string();
            if once.insert(name.clone()) {
                names.push(name);
            }
        }
        todo.extend(term.child_proofs.iter().rev().flat_map(|p| p.iter().rev().cloned()));
    }
    names
}
