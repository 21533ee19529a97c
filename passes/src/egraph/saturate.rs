//! One template through egg: saturation, contradiction check, extraction, explanation.

use std::collections::HashMap;
use std::time::Duration;

use egg::{EGraph, Id, Language, Rewrite, Runner, SimpleScheduler, StopReason};

use super::analysis::{FactAnalysis, Facts, Terms};
use super::explain::rules_between;
use super::extract::{Extraction, own_cost};
use super::language::{Kind, Term};
use super::template::Template;
use super::{RewriteError, Stop};

/// Terms of one e-graph.
const NODES: usize = 6000;
/// Rounds of rule application.
const ITERATIONS: usize = 40;

/// A node of the result.
#[derive(Clone, Debug)]
pub struct Output {
    /// The term; its children are earlier outputs.
    pub term: Term,
    /// The term of the template that it is.
    pub same: Option<usize>,
    /// The nearest term of the template that it stands for or is a part of.
    pub anchor: usize,
    /// Rules on the way from there.
    pub rules: Vec<String>,
}

/// A cheaper term.
#[derive(Clone, Debug)]
pub struct Better {
    /// Its nodes, operands first, root last.
    pub outputs: Vec<Output>,
    /// All rules on the way to it.
    pub rules: Vec<String>,
}

/// What became of a template.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The cheaper term; `None` if the template is as cheap as any.
    pub better: Option<Better>,
    /// Why saturation stopped.
    pub stop: Stop,
}

/// Saturate a template and extract its cheapest equal term.
///
/// # Errors
/// If two facts about one class contradict each other: some rule or the analysis is wrong.
pub fn saturate(
    template: &Template,
    rules: &[Rewrite<Term, FactAnalysis>],
) -> Result<Outcome, RewriteError> {
    let leaves = template.leaves.iter().map(|(ty, range)| Facts::value(ty.clone(), *range));
    let analysis = FactAnalysis { leaves: leaves.collect(), ..FactAnalysis::default() };
    let mut egraph: Terms =
        EGraph::new(analysis).with_explanations_enabled().without_explanation_length_optimization();
    let mut ids: Vec<Id> = Vec::new();
    for term in &template.terms {
        let term = term.clone().map_children(|c| ids[usize::from(c)]);
        ids.push(egraph.add_uncanonical(term));
    }
    let runner: Runner<Term, FactAnalysis, ()> = Runner::new(FactAnalysis::default())
        .with_egraph(egraph)
        .with_scheduler(SimpleScheduler)
        .with_node_limit(NODES)
        .with_iter_limit(ITERATIONS)
        .with_time_limit(Duration::MAX)
        .with_hook(|r| match r.egraph.analysis.conflict.borrow().is_some() {
            true => Err("contradiction".into()),
            false => Ok(()),
        })
        .run(rules);
    let stop = match runner.stop_reason {
        Some(StopReason::Saturated) => Stop::Saturated,
        Some(StopReason::NodeLimit(n)) => Stop::NodeLimit(n),
        Some(StopReason::IterationLimit(n)) => Stop::IterationLimit(n),
        other => Stop::Other(format!("{other:?}")),
    };
    let mut egraph = runner.egraph;
    let conflict = egraph.analysis.conflict.borrow().clone();
    if let Some(conflict) = conflict {
        let chain = rules_between(&mut egraph, conflict.ids.0, conflict.ids.1);
        return Err(RewriteError::Contradiction { what: conflict.what, rules: chain });
    }
    Ok(Outcome { better: cheaper(&mut egraph, template, &ids), stop })
}

/// The cheapest term of the root's class, if it is cheaper than the template.
fn cheaper(egraph: &mut Terms, template: &Template, ids: &[Id]) -> Option<Better> {
    let mut originals: HashMap<Id, usize> = HashMap::new();
    let mut preferred: HashMap<Id, Term> = HashMap::new();
    let mut before = 0;
    for (i, term) in template.terms.iter().enumerate() {
        let term = term.clone().map_children(|c| egraph.find(ids[usize::from(c)]));
        let class = egraph.find(ids[i]);
        before += own_cost(&term, &egraph[class].data, |c| &egraph[c].data);
        originals.entry(class).or_insert(i);
        preferred.entry(class).or_insert(term);
    }
    let extraction = Extraction::new(egraph, &preferred);
    let root = egraph.find(*ids.last()?);
    let mut build = Build {
        egraph,
        extraction,
        originals,
        preferred,
        ids,
        out: Vec::new(),
        done: HashMap::new(),
    };
    build.visit(root, template.terms.len() - 1, &[])?;
    let after: u64 = build.out.iter().map(|(cost, _)| cost).sum();
    if after >= before {
        return None;
    }
    let rules = build.rules(template.terms.len() - 1, root);
    Some(Better { outputs: build.out.into_iter().map(|(_, output)| output).collect(), rules })
}

/// Collects the chosen terms of a class, operands first.
struct Build<'a> {
    egraph: &'a mut Terms,
    extraction: Extraction,
    originals: HashMap<Id, usize>,
    preferred: HashMap<Id, Term>,
    ids: &'a [Id],
    out: Vec<(u64, Output)>,
    done: HashMap<Id, (Id, usize)>,
}

impl Build<'_> {
    /// Append a class; returns the id of the chosen instance in the e-graph and in the output.
    fn visit(&mut self, class: Id, anchor: usize, rules: &[String]) -> Option<(Id, usize)> {
        let class = self.egraph.find(class);
        if let Some(done) = self.done.get(&class) {
            return Some(*done);
        }
        let term = self.extraction.term(class)?.clone();
        let original = self.originals.get(&class).copied();
        let same = original.filter(|_| self.preferred.get(&class) == Some(&term));
        let cost = own_cost(&term, &self.egraph[class].data, |c| &self.egraph[c].data);
        let anchor = original.unwrap_or(anchor);
        // The rules must be known before the operands are visited, which inherit them.
        let rules = match (same, original) {
            (Some(_), _) => Vec::new(),
            (None, Some(i)) => self.rules(i, class),
            (None, None) => rules.to_vec(),
        };
        let mut children = Vec::new();
        for child in term.children() {
            children.push(self.visit(*child, anchor, &rules)?);
        }
        let mut instances = children.iter().map(|(id, _)| *id);
        let instance = term.clone().map_children(|c| instances.next().unwrap_or(c));
        let instance = self.egraph.add_uncanonical(instance);
        let mut positions = children.iter().map(|(_, i)| Id::from(*i));
        let term = term.map_children(|c| positions.next().unwrap_or(c));
        let is_value = !matches!(term.kind, Kind::Attr);
        self.out.push((cost, Output { term, same: same.filter(|_| is_value), anchor, rules }));
        self.done.insert(class, (instance, self.out.len() - 1));
        Some((instance, self.out.len() - 1))
    }

    /// Rules between a term of the template and the one chosen for its class.
    fn rules(&mut self, original: usize, class: Id) -> Vec<String> {
        let mut memo = HashMap::new();
        match self.instance(class, &mut memo) {
            Some(new) => rules_between(self.egraph, self.ids[original], new),
            None => Vec::new(),
        }
    }

    fn instance(&mut self, class: Id, memo: &mut HashMap<Id, Id>) -> Option<Id> {
        let class = self.egraph.find(class);
        if let Some(id) = memo.get(&class) {
            return Some(*id);
        }
        let mut term = self.extraction.term(class)?.clone();
        for child in term.children_mut() {
            *child = self.instance(*child, memo)?;
        }
        let id = self.egraph.add_uncanonical(term);
        memo.insert(class, id);
        Some(id)
    }
}
