//! Time for memory: values of the forward part that the backward part needs are computed again
//! there, where what they are computed from is there anyway.

use std::collections::{HashMap, HashSet};

use crate::ir::{Graph, GraphError, Node, NodeId, Region};
use crate::ops::Prim;

/// The most work that one value may cost again; an elementwise operation counts 1.
const WORK: usize = 64;
/// What a contraction counts.
const CONTRACTION: usize = 24;

/// Rewrite a training step so that fewer values live from the forward to the backward part: of those
/// that the backward part reads, each that follows from others that live anyway is computed again from
/// them, just before its first use there. Contractions with a parameter are never repeated; those of
/// two activations, such as attention scores, are. Every result stays the same to the bit.
///
/// # Errors
/// If a copied node does not fit, which a valid graph rules out.
pub fn recompute(graph: &Graph) -> Result<Graph, GraphError> {
    let plan = Plan::new(graph);
    let mut made: HashMap<NodeId, NodeId> = HashMap::new();
    let mut again: HashMap<NodeId, NodeId> = HashMap::new();
    graph.rewrite(|out, id, node, inputs| {
        made.extend(node.inputs.iter().copied().zip(inputs.iter().copied()));
        let mut inputs = inputs.to_vec();
        if is_late(node) {
            for (input, old) in inputs.iter_mut().zip(&node.inputs) {
                if plan.repeated.contains(old) {
                    *input = plan.repeat(out, *old, &made, &mut again)?;
                }
            }
        }
        let new = out.add(node.op, &inputs, node.attrs.clone(), node.origin.clone())?;
        made.insert(id, new);
        Ok(new)
    })
}

fn is_late(node: &Node) -> bool {
    matches!(node.origin.region, Region::Backward | Region::Optimizer)
}

struct Plan<'g> {
    graph: &'g Graph,
    /// True for values that follow from parameters and constants alone.
    fixed: Vec<bool>,
    /// Values that live from the forward to the backward part.
    kept: HashSet<NodeId>,
    /// Values that the backward part reads and that are computed again for it.
    repeated: HashSet<NodeId>,
}

impl<'g> Plan<'g> {
    fn new(graph: &'g Graph) -> Self {
        let mut fixed = vec![false; graph.len()];
        for (id, node) in graph.nodes() {
            let leaf = matches!(node.op.prim(), Some(Prim::Input | Prim::Const | Prim::Iota));
            let data =
                graph.inputs().iter().any(|i| i.node == id && i.kind == crate::ir::InputKind::Data);
            fixed[id.index()] = match leaf {
                true => !data,
                false => node.inputs.iter().all(|i| fixed[i.index()]),
            };
        }
        let live = graph.live();
        let mut kept: HashSet<NodeId> = HashSet::new();
        for (_, node) in graph.nodes().filter(|(id, n)| live[id.index()] && is_late(n)) {
            let early = |i: &&NodeId| !is_late(graph.node(**i)) && !is_leaf(graph.node(**i));
            kept.extend(node.inputs.iter().filter(early));
        }
        let mut plan = Plan { graph, fixed, kept, repeated: HashSet::new() };
        let mut candidates: Vec<NodeId> = plan.kept.iter().copied().collect();
        candidates.sort_unstable();
        for id in candidates.into_iter().rev() {
            plan.consider(id);
        }
        plan
    }

    /// Compute a kept value again if that keeps fewer bytes.
    fn consider(&mut self, id: NodeId) {
        if !self.repeatable(id) {
            return;
        }
        let (mut work, mut bytes) = (0, 0);
        let mut needed = HashSet::new();
        let mut seen = HashSet::from([id]);
        let mut stack = vec![id];
        while let Some(at) = stack.pop() {
            work += self.work(at);
            for &input in &self.graph.node(at).inputs {
                if is_leaf(self.graph.node(input)) || !seen.insert(input) {
                    continue;
                }
                if self.kept.contains(&input) {
                    continue;
                }
                if self.repeatable(input) {
                    stack.push(input);
                } else {
                    bytes += self.graph.ty(input).bytes();
                    needed.insert(input);
                }
            }
            if work > WORK {
                return;
            }
        }
        if bytes < self.graph.ty(id).bytes() {
            self.kept.remove(&id);
            self.kept.extend(needed);
            self.repeated.insert(id);
        }
    }

    fn repeatable(&self, id: NodeId) -> bool {
        let node = self.graph.node(id);
        match node.op.prim() {
            Some(p) if p.is_contraction() => !node.inputs.iter().any(|i| self.fixed[i.index()]),
            Some(Prim::CumSum | Prim::ArgMax | Prim::ArgMin | Prim::ScatterAdd | Prim::Fold) => {
                false
            }
            Some(_) => !is_leaf(node),
            None => false,
        }
    }

    fn work(&self, id: NodeId) -> usize {
        match self.graph.node(id).op.prim() {
            Some(p) if p.is_contraction() => CONTRACTION,
            _ => 1,
        }
    }

    /// The value again, from kept ones.
    fn repeat(
        &self,
        out: &mut Graph,
        id: NodeId,
        made: &HashMap<NodeId, NodeId>,
        again: &mut HashMap<NodeId, NodeId>,
    ) -> Result<NodeId, GraphError> {
        if let Some(&new) = again.get(&id) {
            return Ok(new);
        }
        let node = self.graph.node(id);
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            let there = self.kept.contains(input)
                || is_leaf(self.graph.node(*input))
                || !self.repeatable(*input);
            inputs.push(match there {
                true => made[input],
                false => self.repeat(out, *input, made, again)?,
            });
        }
        let origin = node.origin.clone().in_region(Region::Backward);
        let new = out.add(node.op, &inputs, node.attrs.clone(), origin)?;
        again.insert(id, new);
        Ok(new)
    }
}

fn is_leaf(node: &Node) -> bool {
    matches!(node.op.prim(), Some(Prim::Input | Prim::Const | Prim::Iota))
}
