//! Templates: parts of a graph in canonical form, so that equal layers give equal templates.

use std::collections::HashMap;

use egg::Id;

use super::analysis::{Facts, ValueFacts};
use super::language::{Kind, Term};
use super::range::Range;
use crate::ir::{DType, Graph, NodeId, TensorType};
use crate::ops::{Op, Prim};

/// Nodes of a template.
const LARGEST: usize = 64;
/// Steps from the root of a template to its leaves.
const DEEPEST: usize = 24;
/// Elements up to which a constant is part of a template.
pub const CONSTANT: usize = 16;

/// A term over leaves of known type and coarse range: what a saturation depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    /// Terms, operands first; the last is the root.
    pub terms: Vec<Term>,
    /// Types and ranges of the leaves.
    pub leaves: Vec<(TensorType, Range)>,
}

/// A template and the nodes it stands for.
#[derive(Clone, Debug)]
pub struct Site {
    /// The root.
    pub root: NodeId,
    /// Its template.
    pub template: Template,
    /// Node of each leaf.
    pub leaves: Vec<NodeId>,
    /// Node of each term, where it stands for one.
    pub nodes: Vec<Option<NodeId>>,
}

/// How a node takes part in templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Nothing uses it.
    Dead,
    /// The root of its own template, a leaf of others.
    Root,
    /// In the template of this root, some steps away from it.
    Member(NodeId, usize),
    /// In every template that uses it: constants and moves of elements, which may vanish there.
    Shared,
}

fn is_shared(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    match node.op.prim() {
        Some(Prim::Const) => node.ty.len() <= CONSTANT,
        Some(Prim::Reshape | Prim::Transpose | Prim::Broadcast) => true,
        _ => false,
    }
}

/// Ops that are always roots: whatever feeds or uses them is another template, moves of elements
/// apart. Their own cost is elsewhere, and they separate the layers.
fn is_barrier(graph: &Graph, id: NodeId) -> bool {
    use Prim::*;
    let node = graph.node(id);
    match node.op.prim() {
        Some(p) => {
            p.is_contraction()
                || matches!(p, Input | RandomBits | Iota | Gather | ScatterAdd | Unfold | Fold)
                || p == Const && node.ty.len() > CONSTANT
        }
        None => matches!(
            node.op.name,
            "matmul" | "conv" | "conv_transpose" | "max_pool" | "avg_pool" | "dropout"
        ),
    }
}

/// Ops that no rule speaks of and whose attributes differ from layer to layer (random streams).
pub fn is_opaque(op: &Op) -> bool {
    matches!(op.prim(), Some(Prim::RandomBits | Prim::Iota)) || op.name == "dropout"
}

/// Long sums of terms (gradient norms, residual streams) are cut at every addition, so that what
/// hangs on them repeats.
fn is_cut(graph: &Graph, user: NodeId, id: NodeId) -> bool {
    let name = |n: NodeId| graph.node(n).op.name;
    name(user) == "add" && name(id) == "add"
}

/// Assign every live node: it joins the template of its users if they are all in one.
fn partition(graph: &Graph) -> Vec<Part> {
    let live = graph.live();
    let mut users: Vec<Vec<NodeId>> = vec![Vec::new(); graph.len()];
    for (id, node) in graph.nodes().filter(|(id, _)| live[id.index()]) {
        node.inputs.iter().for_each(|i| users[i.index()].push(id));
    }
    let mut is_output = vec![false; graph.len()];
    graph.outputs().iter().for_each(|(_, v)| is_output[v.index()] = true);
    let (mut parts, mut sizes) = (vec![Part::Dead; graph.len()], vec![0usize; graph.len()]);
    for (id, _) in graph.nodes().rev().filter(|(id, _)| live[id.index()]) {
        let part = match () {
            () if is_output[id.index()] || is_barrier(graph, id) => Part::Root,
            () if is_shared(graph, id) => Part::Shared,
            () => home(graph, id, &users[id.index()], &parts, &sizes),
        };
        match part {
            Part::Root => sizes[id.index()] = 1,
            Part::Member(root, _) => sizes[root.index()] += 1,
            _ => {}
        }
        parts[id.index()] = part;
    }
    parts
}

fn home(graph: &Graph, id: NodeId, users: &[NodeId], parts: &[Part], sizes: &[usize]) -> Part {
    let (mut root, mut depth) = (None, 0);
    for &user in users {
        let (r, d) = match parts[user.index()] {
            Part::Root if !is_barrier(graph, user) => (user, 1),
            Part::Member(r, d) => (r, d + 1),
            _ => return Part::Root,
        };
        if is_cut(graph, user, id) || *root.get_or_insert(r) != r {
            return Part::Root;
        }
        depth = depth.max(d);
    }
    match root {
        Some(r) if depth <= DEEPEST && sizes[r.index()] < LARGEST => Part::Member(r, depth),
        _ => Part::Root,
    }
}

/// The templates of a graph, in the order of their roots; inputs have none.
pub fn sites(graph: &Graph, facts: &[Facts]) -> Vec<Site> {
    let parts = partition(graph);
    let root = |id: &NodeId| {
        parts[id.index()] == Part::Root && graph.node(*id).op.prim() != Some(Prim::Input)
    };
    let ids: Vec<NodeId> = graph.nodes().map(|(id, _)| id).filter(root).collect();
    ids.into_iter().map(|root| Builder::new(graph, facts, &parts, root).finish()).collect()
}

/// Facts of every node of a graph.
pub fn graph_facts(graph: &Graph) -> Vec<Facts> {
    let mut out: Vec<Facts> = Vec::with_capacity(graph.len());
    for (_, node) in graph.nodes() {
        let operands: Vec<&ValueFacts> =
            node.inputs.iter().filter_map(|i| out[i.index()].tensor()).collect();
        let facts = Facts::of_op(node.op, node.attrs.clone(), &operands);
        out.push(facts.unwrap_or_else(|_| Facts::value(node.ty.clone(), Range::ANY)));
    }
    out
}

/// Numbers terms and leaves in the order in which a walk from the root's operands meets them.
struct Builder<'a> {
    graph: &'a Graph,
    facts: &'a [Facts],
    parts: &'a [Part],
    root: NodeId,
    site: Site,
    seen: HashMap<NodeId, Id>,
    known: HashMap<Term, Id>,
}

impl<'a> Builder<'a> {
    fn new(graph: &'a Graph, facts: &'a [Facts], parts: &'a [Part], root: NodeId) -> Self {
        let template = Template { terms: Vec::new(), leaves: Vec::new() };
        let site = Site { root, template, leaves: Vec::new(), nodes: Vec::new() };
        Builder { graph, facts, parts, root, site, seen: HashMap::new(), known: HashMap::new() }
    }

    fn finish(mut self) -> Site {
        self.visit(self.root);
        self.site
    }

    fn inside(&self, id: NodeId) -> bool {
        let room = self.site.nodes.len() < 4 * LARGEST;
        match self.parts[id.index()] {
            Part::Root => id == self.root,
            Part::Member(root, _) => root == self.root,
            Part::Shared => room,
            Part::Dead => false,
        }
    }

    fn push(&mut self, term: Term, node: Option<NodeId>) -> Id {
        if let Some(id) = self.known.get(&term) {
            return *id;
        }
        let id = Id::from(self.site.template.terms.len());
        self.known.insert(term.clone(), id);
        self.site.template.terms.push(term);
        self.site.nodes.push(node);
        id
    }

    fn leaf(&mut self, id: NodeId) -> Id {
        let ty = self.graph.ty(id).clone();
        let range = match self.facts[id.index()].tensor() {
            Some(f) if ty.dtype == DType::F32 => f.range.coarse(),
            _ => Range::ANY,
        };
        self.site.template.leaves.push((ty, range));
        self.site.leaves.push(id);
        self.push(Term::leaf(self.site.leaves.len() - 1), Some(id))
    }

    fn visit(&mut self, id: NodeId) -> Id {
        if let Some(done) = self.seen.get(&id) {
            return *done;
        }
        let node = self.graph.node(id);
        let made = match (self.inside(id), self.graph.constant(id)) {
            (false, _) => self.leaf(id),
            (true, Some(value)) if value.len() <= CONSTANT => {
                self.push(Term::constant(crate::interpret::flush(value)), Some(id))
            }
            // A large constant and whatever else makes its values from nothing.
            (true, _) if node.op.prim() == Some(Prim::Const) => self.leaf(id),
            (true, _) => {
                let mut children: Vec<Id> = node.inputs.iter().map(|i| self.visit(*i)).collect();
                for spec in node.op.attrs {
                    let attr = Term::attr(node.attrs.get(spec.name).cloned());
                    children.push(self.push(attr, None));
                }
                self.push(Term { kind: Kind::Op(node.op), value: None, children }, Some(id))
            }
        };
        self.seen.insert(id, made);
        made
    }
}
