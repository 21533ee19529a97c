//! Extraction of a cheap term, with shared parts counted once: greedy over the DAG (the method of
//! extraction-gym's `faster-greedy-dag`).

use std::collections::{BTreeMap, HashMap};

use egg::{Id, Language};

use super::analysis::{Facts, Terms, ValueFacts};
use super::cost::cost;
use super::language::{Kind, Term};

/// The classes a term is made of, each with its own cost.
#[derive(Clone, Debug)]
struct Choice {
    term: Term,
    total: u64,
    parts: BTreeMap<Id, u64>,
}

/// The chosen term of every class that has a finite one.
pub struct Extraction {
    best: HashMap<Id, Choice>,
}

/// Cost of a term itself, given the facts of a class id.
pub fn own_cost<'a>(term: &Term, result: &Facts, facts: impl Fn(Id) -> &'a Facts) -> u64 {
    let (Kind::Op(op), Some(result)) = (term.kind, result.tensor()) else { return 0 };
    let operands: Vec<&ValueFacts> =
        term.children[..term.operands()].iter().filter_map(|c| facts(*c).tensor()).collect();
    cost(op, &operands, result)
}

impl Extraction {
    /// Choose for every class. `preferred` breaks ties: the terms of the input.
    pub fn new(egraph: &Terms, preferred: &HashMap<Id, Term>) -> Self {
        let mut out = Extraction { best: HashMap::new() };
        let mut ids: Vec<Id> = egraph.classes().map(|c| c.id).collect();
        ids.sort_unstable();
        let mut changed = true;
        while changed {
            changed = false;
            for &id in &ids {
                changed |= out.improve(egraph, id, preferred.get(&id));
            }
        }
        out
    }

    fn improve(&mut self, egraph: &Terms, id: Id, preferred: Option<&Term>) -> bool {
        let mut better = false;
        for term in &egraph[id].nodes {
            let Some(choice) = self.choice(egraph, id, term) else { continue };
            let takes = match self.best.get(&id) {
                None => true,
                Some(old) if choice.total == old.total => {
                    preferred == Some(term) && old.term != *term
                }
                Some(old) => choice.total < old.total,
            };
            if takes {
                self.best.insert(id, choice);
                better = true;
            }
        }
        better
    }

    /// This term of a class over the present choices of its children; none if it holds itself.
    fn choice(&self, egraph: &Terms, id: Id, term: &Term) -> Option<Choice> {
        let mut parts = BTreeMap::new();
        for child in term.children() {
            parts.extend(&self.best.get(&egraph.find(*child))?.parts);
        }
        if parts.contains_key(&id) {
            return None;
        }
        parts.insert(id, own_cost(term, &egraph[id].data, |c| &egraph[c].data));
        Some(Choice { term: term.clone(), total: parts.values().sum(), parts })
    }

    /// The term chosen for a class.
    pub fn term(&self, id: Id) -> Option<&Term> {
        self.best.get(&id).map(|c| &c.term)
    }
}
