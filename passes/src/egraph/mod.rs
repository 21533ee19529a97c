//! The e-graph engine: graph in, cheaper equal graph out. Nothing outside this module sees an
//! e-graph.
//!
//! A graph is cut into templates, small terms over typed leaves. Each distinct
//! template is saturated once and the result applied wherever it occurs, so the work grows with the
//! number of different layers, not with depth. Rules ask their guards of an analysis that knows types,
//! constants and ranges. The cheapest term is extracted greedily over the DAG, never a dearer one than
//! the template itself.

mod analysis;
mod apply;
mod cost;
mod explain;
mod extract;
mod function;
mod language;
mod range;
mod saturate;
mod template;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

pub use analysis::Facts;
pub use language::{Kind, Term, attrs_of};
pub use range::Range;

use crate::ir::{Attrs, Graph, GraphError, NodeId, Origin};
use crate::ops::{self, Op};
use crate::rules::{Refused, Rule};
use saturate::{Better, Outcome, Output};
use template::{Site, Template};

/// Times the whole graph is rewritten at most: a result may make room for another.
const ROUNDS: usize = 4;

/// Why saturation of a template stopped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    /// No rule has anything to add: every equal term was seen.
    Saturated,
    /// At this number of terms.
    NodeLimit(usize),
    /// After this number of rounds.
    IterationLimit(usize),
    /// For another reason.
    Other(String),
}

/// Why a graph could not be rewritten: always a fault of this crate, not of the graph.
#[derive(Debug, Error)]
pub enum RewriteError {
    /// A rule of the table is not sound.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Rules led to two facts of one value that cannot both be true.
    #[error("rules {} contradict the analysis: {what}", .rules.join(", "))]
    Contradiction {
        /// The facts.
        what: String,
        /// The chain of rules, from egg's explanation.
        rules: Vec<String>,
    },
    /// A rewritten term does not fit its place.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// What rewriting did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Templates found in the graph, counted once an occurrence, over all rounds.
    pub templates: usize,
    /// Distinct templates saturated.
    pub saturations: usize,
    /// Rules by name, with the number of places in which each was part of the result.
    pub applied: Vec<(String, usize)>,
    /// Why each saturation stopped.
    pub stops: Vec<Stop>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} templates, {} saturated", self.templates, self.saturations)?;
        let unexpected = self.stops.iter().filter(|s| **s != Stop::Saturated).count();
        if unexpected > 0 {
            write!(f, " ({unexpected} stopped at a limit)")?;
        }
        for (rule, n) in &self.applied {
            write!(f, ", {rule} ×{n}")?;
        }
        Ok(())
    }
}

/// Rewrites graphs by a set of rules; remembers every template it has seen.
pub struct Engine {
    rules: Vec<egg::Rewrite<Term, analysis::FactAnalysis>>,
    /// Equal nodes are merged only within one layer, op and part of the program.
    scoped: bool,
    memo: HashMap<Template, Arc<Outcome>>,
    applied: BTreeMap<String, usize>,
    report: Report,
}

impl Engine {
    /// An engine for rules. `scoped` keeps equal nodes of different layers apart.
    pub fn new(rules: &[Rule], scoped: bool) -> Self {
        Engine {
            rules: apply::rewrites(rules),
            scoped,
            memo: HashMap::new(),
            applied: BTreeMap::new(),
            report: Report::default(),
        }
    }

    /// Rewrite until nothing changes; also merges equal nodes and drops dead ones.
    ///
    /// # Errors
    /// If rules contradict the analysis.
    pub fn run(mut self, graph: &Graph) -> Result<(Graph, Report), RewriteError> {
        let mut graph = graph.clone();
        for _ in 0..ROUNDS {
            let (next, changed) = self.round(&graph)?;
            graph = next.rewrite(|out, _, node, inputs| {
                out.add(node.op, inputs, node.attrs.clone(), node.origin.clone())
            })?;
            if !changed {
                break;
            }
        }
        self.report.applied = self.applied.into_iter().collect();
        tracing::info!(report = %self.report, "rewriting");
        Ok((graph, self.report))
    }

    fn round(&mut self, graph: &Graph) -> Result<(Graph, bool), RewriteError> {
        let facts = template::graph_facts(graph);
        let mut emit = Emitter::new(graph, self.scoped)?;
        let mut changed = false;
        for site in template::sites(graph, &facts) {
            let outcome = self.outcome(&site)?;
            let new = match &outcome.better {
                None => emit.original(site.root)?,
                Some(better) => {
                    changed = true;
                    for rule in &better.rules {
                        *self.applied.entry(rule.clone()).or_default() += 1;
                    }
                    emit.rewritten(&site, better)?
                }
            };
            emit.map.insert(site.root, new);
        }
        Ok((emit.finish()?, changed))
    }

    fn outcome(&mut self, site: &Site) -> Result<Arc<Outcome>, RewriteError> {
        self.report.templates += 1;
        if let Some(known) = self.memo.get(&site.template) {
            return Ok(known.clone());
        }
        let made = match site.template.terms.last().map(|t| t.kind) {
            Some(Kind::Op(op)) if !template::is_opaque(op) => {
                let made = saturate::saturate(&site.template, &self.rules)?;
                tracing::debug!(
                    terms = site.template.terms.len(),
                    leaves = site.template.leaves.len(),
                    better = made.better.is_some(),
                    "saturation stopped: {:?}",
                    made.stop
                );
                self.report.saturations += 1;
                self.report.stops.push(made.stop.clone());
                made
            }
            _ => Outcome { better: None, stop: Stop::Saturated },
        };
        let made = Arc::new(made);
        self.memo.insert(site.template.clone(), made.clone());
        Ok(made)
    }
}

/// Builds the new graph, merging equal nodes.
struct Emitter<'a> {
    old: &'a Graph,
    new: Graph,
    map: HashMap<NodeId, NodeId>,
    known: HashMap<(&'static str, Attrs, Vec<NodeId>, Place), NodeId>,
    scoped: bool,
}

/// Where equal nodes must agree to be merged.
type Place = Option<(Arc<str>, Arc<str>, crate::ir::Region)>;

impl<'a> Emitter<'a> {
    fn new(old: &'a Graph, scoped: bool) -> Result<Self, GraphError> {
        let mut new = Graph::new(old.name.clone());
        let mut map = HashMap::new();
        for input in old.inputs() {
            let id = new.input(input.name.clone(), old.ty(input.node).clone(), input.kind)?;
            new.set_origin(id, old.node(input.node).origin.clone());
            map.insert(input.node, id);
        }
        Ok(Emitter { old, new, map, known: HashMap::new(), scoped })
    }

    fn add(
        &mut self,
        op: &'static Op,
        inputs: Vec<NodeId>,
        attrs: Attrs,
        origin: Origin,
    ) -> Result<NodeId, GraphError> {
        let attrs = op.complete(attrs.clone()).unwrap_or(attrs);
        let place = self.scoped.then(|| (origin.scope.clone(), origin.op.clone(), origin.region));
        let key = (op.name, attrs.clone(), inputs.clone(), place);
        if let Some(id) = self.known.get(&key) {
            return Ok(*id);
        }
        let id = self.new.add(op, &inputs, attrs, origin)?;
        self.known.insert(key, id);
        Ok(id)
    }

    /// A node as it was, and whatever it needs that is not there yet.
    fn original(&mut self, id: NodeId) -> Result<NodeId, GraphError> {
        if let Some(done) = self.map.get(&id) {
            return Ok(*done);
        }
        let old = self.old;
        let node = old.node(id);
        let inputs = node.inputs.iter().map(|i| self.original(*i)).collect::<Result<_, _>>()?;
        let new = self.add(node.op, inputs, node.attrs.clone(), node.origin.clone())?;
        self.map.insert(id, new);
        Ok(new)
    }

    /// The better term of a site.
    fn rewritten(&mut self, site: &Site, better: &Better) -> Result<NodeId, GraphError> {
        let mut ids: Vec<Option<NodeId>> = Vec::with_capacity(better.outputs.len());
        for output in &better.outputs {
            ids.push(self.output(site, output, &better.outputs, &ids)?);
        }
        let root = ids.last().copied().flatten().unwrap_or(NodeId(0));
        let survivor = better.outputs.last().and_then(|o| o.same);
        let whole = site.template.terms.len() - 1;
        if survivor.is_some_and(|i| i != whole) {
            // An operand takes the place of the root: it carries the rules that made it so.
            let before = render(site, whole, 4);
            let origin = self.new.node(root).origin.then("rule", better.rules.join(", "), before);
            self.new.set_origin(root, origin);
        }
        Ok(root)
    }

    fn output(
        &mut self,
        site: &Site,
        output: &Output,
        outputs: &[Output],
        ids: &[Option<NodeId>],
    ) -> Result<Option<NodeId>, GraphError> {
        let term = &output.term;
        let origin = self.origin(site, output);
        match term.kind {
            Kind::Leaf(i) => self.original(site.leaves[i as usize]).map(Some),
            Kind::Attr | Kind::Function(_) => Ok(None),
            Kind::Const => {
                let (Some(op), Some(t)) = (ops::lookup("const"), term.tensor()) else {
                    return Ok(None);
                };
                self.add(op, vec![], Attrs::none().with("value", t.clone()), origin).map(Some)
            }
            Kind::Op(op) => {
                let n = term.operands();
                let (operands, attributes) = term.children.split_at(n);
                let inputs = operands.iter().filter_map(|c| ids[usize::from(*c)]).collect();
                let values = attributes
                    .iter()
                    .map(|c| outputs[usize::from(*c)].term.value.as_ref().and_then(|v| v.attr()));
                self.add(op, inputs, attrs_of(op, values), origin).map(Some)
            }
        }
    }

    /// Origin of a node of the new term: that of the node it is, or stands for and by which rules.
    fn origin(&self, site: &Site, output: &Output) -> Origin {
        let node = |i: usize| site.nodes.get(i).copied().flatten();
        if let Some(id) = output.same.and_then(node) {
            return self.old.node(id).origin.clone();
        }
        let id = node(output.anchor).unwrap_or(site.root);
        let before = render(site, output.anchor, 4);
        let origin = self.old.node(id).origin.then("rule", output.rules.join(", "), before);
        match (output.term.kind, self.scoped) {
            // A recognized real operation is addressed by its own name from here on.
            (Kind::Op(op), true) => Origin { op: op.name.into(), ..origin },
            _ => origin,
        }
    }
}

impl Emitter<'_> {
    fn finish(mut self) -> Result<Graph, GraphError> {
        for (name, value) in self.old.outputs() {
            let id = self.original(*value)?;
            self.new.output(name.clone(), id)?;
        }
        Ok(self.new)
    }
}

/// A term of a template as text, to some depth.
fn render(site: &Site, i: usize, depth: usize) -> String {
    let term = &site.template.terms[i];
    match term.kind {
        Kind::Leaf(l) => format!("%{}", site.leaves[l as usize].0),
        Kind::Op(op) if depth == 0 => format!("({} …)", op.name),
        Kind::Op(op) => {
            let children = term.children.iter().map(|c| render(site, usize::from(*c), depth - 1));
            format!("({} {})", op.name, children.collect::<Vec<_>>().join(" "))
        }
        _ => term.to_string(),
    }
}
