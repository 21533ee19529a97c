//! Which nodes are computed together.
//!
//! Nodes are visited users first. A node that one kernel alone uses becomes part of it, at whatever
//! rearrangement its users see it through; a node with more users joins one of them if its elements
//! are made there in order, and is written to memory for the others; else it starts a kernel of its
//! own.

pub(super) mod operands;
mod place;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use pamc_passes::ir::{DType, Graph, Node, NodeId, Tensor};
use pamc_passes::ops::{Prim, normalize_axis, reduced_axes};
use petgraph::algo::has_path_connecting;
use petgraph::graphmap::DiGraphMap;

use super::pads::{Parts, parts};
use super::view::{View, ViewOp};
use super::windows::{Windowed, windowed};

/// Kernels with more members than this take no more.
const MEMBERS: usize = 192;
/// Arrays that a kernel of a GPU reads and writes before it takes no more members that would need others:
/// Vulkan's devices bind 16 and more at a time.
pub const ARRAYS: usize = 16;

/// What a kernel is made of.
#[derive(Debug)]
pub enum Work {
    /// A fused loop nest over `outer` dimensions and the `inner` ones that reductions run over.
    Nest {
        /// Outer extents.
        outer: Vec<usize>,
        /// Inner extents, once a reduction has fixed them.
        inner: Option<Vec<usize>>,
    },
    /// A node with a kernel of its own kind.
    Special,
}

/// A kernel to be.
#[derive(Debug)]
pub struct Group {
    /// What it is.
    pub work: Work,
    /// Nodes computed in it.
    pub members: HashSet<NodeId>,
    /// Those of them that are written to memory.
    pub roots: Vec<NodeId>,
    /// What members use, be it computed here or read from memory.
    reads: HashSet<NodeId>,
    /// The inner dimensions were appended to the space after this many demands.
    extended: bool,
}

/// One use of a value.
#[derive(Clone, Debug)]
struct Demand {
    group: usize,
    /// From the value's shape to the group's space; `None` needs the whole value in memory.
    chain: Option<Vec<ViewOp>>,
    extended: bool,
}

/// A value as a rearrangement of another that is computed or in memory.
#[derive(Clone, Debug)]
pub struct Based {
    /// The other value.
    pub base: NodeId,
    /// Rearrangements from its shape to this value's.
    pub ops: Vec<ViewOp>,
}

/// The kernels of a graph.
pub struct Fusion<'g> {
    /// The graph.
    pub graph: &'g Graph,
    /// For every node, what it rearranges (itself, if nothing).
    pub based: Vec<Based>,
    /// Kernels, in order of execution.
    pub groups: Vec<Group>,
    /// Contractions find the windows of images by digits of their rows and columns, else by the dimensions
    /// of these.
    windows: bool,
    /// The most arrays of a kernel.
    arrays: usize,
    demands: Vec<Vec<Demand>>,
    /// How many operands and outputs each node is.
    uses_of: Vec<usize>,
    /// Reshapes that must make a value of their own.
    copies: &'g HashSet<NodeId>,
    /// From each kernel to those that read its results.
    flow: DiGraphMap<usize, ()>,
}

/// The only element of a constant that is the same everywhere.
pub fn uniform(node: &Node) -> Option<u64> {
    let value = node.attrs.tensor("value")?;
    fn same(mut patterns: impl Iterator<Item = u64>) -> Option<u64> {
        let first = patterns.next()?;
        patterns.all(|p| p == first).then_some(first)
    }
    match value {
        Tensor::F32(a) => {
            same(a.iter().map(|&x| u64::from(pamc_passes::reference::flush(x).to_bits())))
        }
        Tensor::I32(a) => same(a.iter().map(|&x| x as u32 as u64)),
        Tensor::I64(a) => same(a.iter().map(|&x| x as u64)),
        Tensor::Bool(a) => same(a.iter().map(|&x| u64::from(x))),
    }
}

/// How operand `i` of a fusable node is seen from the node's own index space; `None` where the node
/// addresses it by data.
pub fn operand_ops(graph: &Graph, node: &Node, i: usize) -> Option<Vec<ViewOp>> {
    let shape = graph.shape(node.inputs[i]);
    match node.op.prim() {
        Some(Prim::Gather) if i == 0 => None,
        Some(Prim::Gather) => {
            let rank = graph.shape(node.inputs[0]).len();
            let axis = normalize_axis(node.attrs.int("axis"), rank).unwrap_or(0);
            let mut aligned = vec![1; node.ty.rank()];
            aligned[axis..axis + shape.len()].copy_from_slice(shape);
            Some(vec![ViewOp::Reshape(aligned), ViewOp::Broadcast(node.ty.shape.clone())])
        }
        // The key is read as two scalars.
        Some(Prim::RandomBits) => None,
        Some(Prim::Reshape) => Some(vec![ViewOp::Reshape(node.ty.shape.clone())]),
        _ if shape == node.ty.shape => Some(Vec::new()),
        _ => Some(vec![ViewOp::Broadcast(node.ty.shape.clone())]),
    }
}

/// A view of the gathered operand over the gather's index space, the axis itself left out, and that
/// axis's extent and stride.
pub fn gathered(node: &Node, x: &View) -> (View, usize, i64) {
    let axis = normalize_axis(node.attrs.int("axis"), x.shape.len()).unwrap_or(0);
    let (extent, stride) = (x.shape[axis], x.strides[axis]);
    let new = node.ty.rank() + 1 - x.shape.len();
    let mut strides = x.strides.clone();
    strides.splice(axis..=axis, std::iter::repeat_n(0, new));
    (View { shape: node.ty.shape.clone(), offset: x.offset, strides }, extent, stride)
}

/// Rearrangement of a reduction's operand that puts the reduced axes last.
pub fn kept_first(graph: &Graph, node: &Node) -> (Vec<ViewOp>, Vec<usize>, Vec<usize>) {
    let shape = graph.shape(node.inputs[0]);
    let axes = reduced_axes(&node.attrs, shape.len()).unwrap_or_default();
    let kept: Vec<_> = (0..shape.len()).filter(|a| !axes.contains(a)).collect();
    let extents = |axes: &[usize]| axes.iter().map(|&a| shape[a]).collect::<Vec<_>>();
    let (outer, inner) = (extents(&kept), extents(&axes));
    (vec![ViewOp::Permute([kept, axes].concat())], outer, inner)
}

impl Group {
    fn new(work: Work) -> Group {
        Group {
            work,
            members: HashSet::new(),
            roots: Vec::new(),
            reads: HashSet::new(),
            extended: false,
        }
    }

    /// Extents of the whole index space.
    pub fn space(&self) -> Vec<usize> {
        match &self.work {
            Work::Nest { outer, inner } => [&outer[..], inner.as_deref().unwrap_or(&[])].concat(),
            Work::Special => Vec::new(),
        }
    }

    /// From a value with one element a point to the space.
    pub fn full_chain(&self) -> Vec<ViewOp> {
        vec![ViewOp::Reshape(self.space())]
    }

    /// From a value with one element an outer point to the space; the same as
    /// [`Group::full_chain`] while no reduction has fixed inner dimensions.
    pub fn row_chain(&self) -> Vec<ViewOp> {
        match &self.work {
            Work::Nest { outer, inner: Some(inner) } => row_chain(outer, inner),
            _ => self.full_chain(),
        }
    }
}

fn row_chain(outer: &[usize], inner: &[usize]) -> Vec<ViewOp> {
    let ones = vec![1; inner.len()];
    vec![ViewOp::Reshape([outer, &ones].concat()), ViewOp::Broadcast([outer, inner].concat())]
}

impl<'g> Fusion<'g> {
    /// Decide for a graph; `copies` are reshapes that must make a value of their own. Contractions take
    /// operands from the windows of images, with `windows` by [digits](super::windows), else
    /// [by axis](super::split), results too. Kernels grow up to so many `arrays`.
    pub fn new(
        graph: &'g Graph,
        copies: &'g HashSet<NodeId>,
        windows: bool,
        arrays: usize,
    ) -> Fusion<'g> {
        let mut fusion = Fusion {
            graph,
            based: Vec::with_capacity(graph.len()),
            groups: Vec::new(),
            windows,
            arrays,
            demands: vec![Vec::new(); graph.len()],
            uses_of: graph.use_counts(),
            copies,
            flow: DiGraphMap::new(),
        };
        fusion.find_bases();
        let live = graph.live();
        for (_, value) in graph.outputs() {
            // Outputs are in memory: a demand of no group.
            fusion.demands[value.index()].push(Demand {
                group: usize::MAX,
                chain: None,
                extended: false,
            });
        }
        for (id, node) in graph.nodes().rev().filter(|(id, _)| live[id.index()]) {
            fusion.visit(id, node);
        }
        fusion.sort();
        fusion
    }

    fn find_bases(&mut self) {
        for (id, node) in self.graph.nodes() {
            let own = Based { base: id, ops: Vec::new() };
            let based = match ViewOp::of(node).filter(|_| !self.copies.contains(&id)) {
                None => own,
                Some(op) => {
                    let from = &self.based[node.inputs[0].index()];
                    let ops = [&from.ops[..], &[op]].concat();
                    let dense = View::dense(self.graph.shape(from.base));
                    match dense.apply_all(&ops) {
                        Some(_) => Based { base: from.base, ops },
                        None => own,
                    }
                }
            };
            self.based.push(based);
        }
    }

    /// The view of its base that a value is.
    pub fn view(&self, id: NodeId) -> View {
        let based = &self.based[id.index()];
        let dense = View::dense(self.graph.shape(based.base));
        dense.apply_all(&based.ops).unwrap_or(dense)
    }

    fn view_through(&self, id: NodeId, chain: &[ViewOp]) -> Option<View> {
        View::dense(self.graph.shape(id)).apply_all(chain).map(View::canonical)
    }

    fn visit(&mut self, id: NodeId, node: &Node) {
        let (prim, graph) = (node.op.prim(), self.graph);
        if self.based[id.index()].base != id || self.demands[id.index()].is_empty() {
            return;
        }
        if let Some(parts) = self.parts(id) {
            let group = self.start(Work::Special, id);
            return parts.values.iter().for_each(|(_, part)| self.demand(*part, group, None));
        }
        match prim {
            Some(Prim::Iota) if self.demands[id.index()].iter().any(|d| d.chain.is_none()) => {
                self.start(Work::Nest { outer: node.ty.shape.clone(), inner: None }, id);
            }
            Some(Prim::Input | Prim::Const | Prim::Iota) | None => {}
            Some(Prim::ReduceSum | Prim::ReduceMax | Prim::ReduceMin) => {
                self.place_reduction(id, node)
            }
            Some(p) if fusable(p) => self.place_elementwise(id, node),
            Some(_) => {
                let group = self.start(Work::Special, id);
                let folded = self.folded(id).map(|(contraction, _)| graph.node(contraction));
                let reader = folded.unwrap_or(node);
                let contracts = reader.op.prim().is_some_and(Prim::is_contraction);
                for &operand in &reader.inputs {
                    let from = match self.windowed(reader, operand, false) {
                        Some(windowed) => windowed.source,
                        None if contracts => self.operand(operand).0,
                        None => operand,
                    };
                    self.demand(from, group, None);
                }
            }
        }
    }

    /// The parts that a value is the sum of.
    pub(super) fn parts(&self, id: NodeId) -> Option<Parts> {
        parts(self.graph, &self.uses_of, id)
    }

    /// How an operand of a contraction lies in the windows of an image, if that is where it is read.
    pub fn windowed(&self, node: &Node, operand: NodeId, swap: bool) -> Option<Windowed> {
        let contraction = node.op.prim().is_some_and(Prim::is_contraction);
        if !self.windows || !contraction || node.ty.is_empty() {
            return None;
        }
        windowed(self, operand, &node.ty.shape[..node.ty.rank() - 2], swap)
    }

    /// A new group with this root, read by all who demand it.
    fn start(&mut self, work: Work, root: NodeId) -> usize {
        self.groups.push(Group::new(work));
        let group = self.flow.add_node(self.groups.len() - 1);
        self.join(group, root, true);
        group
    }

    fn join(&mut self, group: usize, id: NodeId, root: bool) {
        self.groups[group].members.insert(id);
        if root {
            self.groups[group].roots.push(id);
            let readers = self.demands[id.index()].iter().map(|d| d.group);
            for reader in readers.filter(|&g| g != group && g != usize::MAX) {
                self.flow.add_edge(group, reader, ());
            }
        }
    }

    /// Record a use of a value through its base.
    fn demand(&mut self, id: NodeId, group: usize, chain: Option<&[ViewOp]>) {
        let based = &self.based[id.index()];
        let chain = chain.map(|c| [&based.ops[..], c].concat());
        let extended = self.groups[group].extended;
        self.groups[group].reads.insert(based.base);
        self.demands[based.base.index()].push(Demand { group, chain, extended });
    }

    /// Demands by group, chains brought up to date; `None` for a value needed in memory.
    fn uses(&self, id: NodeId) -> (bool, BTreeMap<usize, Vec<Vec<ViewOp>>>) {
        let mut stored = false;
        let mut by_group: BTreeMap<usize, Vec<Vec<ViewOp>>> = BTreeMap::new();
        for d in &self.demands[id.index()] {
            let Some(chain) = &d.chain else {
                stored = true;
                continue;
            };
            let mut chain = chain.clone();
            if let (Work::Nest { outer, inner: Some(inner) }, false) =
                (&self.groups[d.group].work, d.extended)
                && self.groups[d.group].extended
            {
                chain.extend(row_chain(outer, inner));
            }
            by_group.entry(d.group).or_default().push(chain);
        }
        (stored, by_group)
    }

    /// True if results of `from` reach `to` through other kernels or directly.
    fn reaches(&self, from: usize, to: usize) -> bool {
        has_path_connecting(&self.flow, from, to, None)
    }

    /// True if every reader of `id` may run after `group`, which itself does not read it from
    /// memory.
    fn can_precede(&self, id: NodeId, group: usize) -> bool {
        if self.demands[id.index()].iter().any(|d| d.group == group && d.chain.is_none()) {
            return false;
        }
        let readers: BTreeSet<usize> = self.demands[id.index()]
            .iter()
            .map(|d| d.group)
            .filter(|&g| g != group && g != usize::MAX)
            .collect();
        readers.into_iter().all(|g| !self.reaches(g, group))
    }

    /// Put the groups in an order in which each runs after those it reads from.
    fn sort(&mut self) {
        let n = self.groups.len();
        let mut waits = vec![0usize; n];
        self.flow.all_edges().for_each(|(_, reader, ())| waits[reader] += 1);
        let key = |g: &Group| g.roots.iter().min().copied().unwrap_or(NodeId(u32::MAX));
        let mut ready: BTreeSet<(NodeId, usize)> =
            (0..n).filter(|&g| waits[g] == 0).map(|g| (key(&self.groups[g]), g)).collect();
        let mut order = Vec::with_capacity(n);
        while let Some((_, g)) = ready.pop_first() {
            order.push(g);
            for r in self.flow.neighbors(g) {
                waits[r] -= 1;
                if waits[r] == 0 {
                    ready.insert((key(&self.groups[r]), r));
                }
            }
        }
        debug_assert_eq!(order.len(), n, "kernels wait for each other");
        let mut slots: Vec<Option<Group>> = self.groups.drain(..).map(Some).collect();
        self.groups = order.iter().filter_map(|&g| slots[g].take()).collect();
    }
}
/// True for a primitive that can be computed inside a loop nest.
pub fn fusable(prim: Prim) -> bool {
    prim.is_elementwise() || matches!(prim, Prim::RandomBits | Prim::Gather | Prim::Reshape)
}

/// True for a value that needs no memory: an index ramp or a constant that is the same everywhere.
pub fn inline(node: &Node) -> bool {
    match node.op.prim() {
        Some(Prim::Iota) => matches!(node.ty.dtype, DType::I32 | DType::I64),
        Some(Prim::Const) => uniform(node).is_some(),
        _ => false,
    }
}
