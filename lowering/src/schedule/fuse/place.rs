//! Where one node is computed: inside a kernel that uses it, or in one of its own.

use std::collections::HashSet;

use pamc_passes::ir::{Node, NodeId};
use pamc_passes::ops::Prim;

use super::super::view::{View, ViewOp};
use super::{Fusion, MEMBERS, Work, gathered, inline, kept_first, operand_ops, row_chain};

/// Rows that are enough to share out: a kernel that computes row by row runs on threads by rows only.
const ROWS: usize = 64;
/// Nodes looked at to find a reduction.
const NEAR: usize = 16;

struct Inner {
    extents: Vec<usize>,
    /// The group's dimensions from here on become the inner ones.
    split: Option<usize>,
    /// The inner dimensions come on top of the group's.
    extends: bool,
}

impl Fusion<'_> {
    /// The operand views of a fusable node seen through `chain`, if all exist.
    fn composes(&self, node: &Node, chain: &[ViewOp]) -> bool {
        (0..node.inputs.len()).all(|i| {
            let input = node.inputs[i];
            let based = &self.based[input.index()];
            match operand_ops(self.graph, node, i) {
                Some(ops) => {
                    let all = based.ops.iter().chain(&ops).chain(chain);
                    View::dense(self.graph.shape(based.base)).apply_all(all).is_some()
                }
                None if node.op.prim() == Some(Prim::Gather) => {
                    gathered(node, &self.view(input)).0.apply_all(chain).is_some()
                }
                None => View::dense(&node.ty.shape).apply_all(chain).is_some(),
            }
        })
    }

    /// Make the operands of a fused node demands of the group at each of the chains.
    fn demand_operands(&mut self, node: &Node, group: usize, chains: &[Vec<ViewOp>]) {
        for (i, &input) in node.inputs.iter().enumerate() {
            match operand_ops(self.graph, node, i) {
                Some(ops) => {
                    for chain in chains {
                        let ops = [&ops[..], chain].concat();
                        self.demand(input, group, Some(&ops));
                    }
                }
                None => self.demand(input, group, None),
            }
        }
    }

    /// True if a group that computes a node, too, and stores it as a root, has no more arrays than it may.
    fn has_room(&self, group: usize, id: NodeId, root: bool) -> bool {
        if self.arrays == usize::MAX {
            return true;
        }
        let group = &self.groups[group];
        let operands = self.graph.node(id).inputs.iter().map(|i| &self.based[i.index()].base);
        let read =
            |r: &&NodeId| **r != id && !group.members.contains(*r) && !inline(self.graph.node(**r));
        let reads: HashSet<_> = group.reads.iter().chain(operands).filter(read).collect();
        reads.len() + group.roots.len() + usize::from(root) <= self.arrays
    }

    pub(super) fn place_elementwise(&mut self, id: NodeId, node: &Node) {
        let (stored, uses) = self.uses(id);
        for (&group, chains) in &uses {
            self.split_rows(id, group, chains);
        }
        if let (false, 1, Some((&group, chains))) = (stored, uses.len(), uses.iter().next())
            && self.groups[group].members.len() < MEMBERS
            && self.has_room(group, id, false)
        {
            let chains = self.distinct(id, chains);
            let cheap = chains.iter().all(|(view, _)| self.repeats_cheaply(node, view, group));
            if chains.len() <= 2 && cheap && chains.iter().all(|(_, c)| self.composes(node, c)) {
                let chains: Vec<_> = chains.into_iter().map(|(_, c)| c).collect();
                self.join(group, id, false);
                return self.demand_operands(node, group, &chains);
            }
        }
        for (&group, chains) in &uses {
            let Some(chain) = self.in_order(id, group, chains) else { continue };
            if self.groups[group].members.len() < MEMBERS
                && self.has_room(group, id, true)
                && self.composes(node, &chain)
                && self.can_precede(id, group)
            {
                self.join(group, id, true);
                return self.demand_operands(node, group, &[chain]);
            }
        }
        // A copy runs over its operand's extents, which split any way its result's do.
        let copy = node.op.prim() == Some(Prim::Reshape);
        let space = self.graph.shape(if copy { node.inputs[0] } else { id }).to_vec();
        let group = self.start(Work::Nest { outer: space, inner: None }, id);
        let chain = self.groups[group].full_chain();
        self.demand_operands(node, group, &[chain]);
    }

    /// Lets a group compute row by row if it uses a value that has one element a row and comes from
    /// reductions along these rows: they may then be made there too, each in a pass of its own.
    fn split_rows(&mut self, id: NodeId, group: usize, chains: &[Vec<ViewOp>]) {
        let Work::Nest { outer, inner: None } = &self.groups[group].work else { return };
        let rows = self.graph.node(id).ty.len();
        let size = |dims: &[usize]| dims.iter().product::<usize>();
        let split = (1..outer.len()).find(|&split| {
            let (first, last) = outer.split_at(split);
            let expected = self.view_through(id, &row_chain(first, last));
            size(first) == rows
                && expected.is_some()
                && chains.iter().all(|c| self.view_through(id, c) == expected)
        });
        if let Some(split) = split
            && rows >= ROWS
            && self.can_precede(id, group)
            && self.reduces_rows(id, rows, size(&outer[split..]))
        {
            let (outer, inner) = (outer[..split].to_vec(), outer[split..].to_vec());
            self.groups[group].work = Work::Nest { outer, inner: Some(inner) };
        }
    }

    /// True if a value with one element a row is made, element by element, from reductions of as many
    /// rows of `count` elements.
    fn reduces_rows(&self, id: NodeId, rows: usize, count: usize) -> bool {
        let mut near = vec![id];
        let mut next = 0;
        while let Some(&id) = near.get(next) {
            next += 1;
            let node = self.graph.node(id);
            match node.op.prim() {
                Some(Prim::ReduceSum | Prim::ReduceMax | Prim::ReduceMin)
                    if self.graph.node(node.inputs[0]).ty.len() == rows * count =>
                {
                    return true;
                }
                Some(prim) if prim.is_elementwise() => {
                    let operands = node.inputs.iter().map(|i| self.based[i.index()].base);
                    let of_rows = operands.filter(|&o| self.graph.node(o).ty.len() == rows);
                    let new: Vec<_> = of_rows.filter(|o| !near.contains(o)).collect();
                    near.extend(new);
                }
                _ => {}
            }
            if near.len() > NEAR {
                break;
            }
        }
        false
    }

    /// Chains that see a value differently.
    fn distinct(&self, id: NodeId, chains: &[Vec<ViewOp>]) -> Vec<(View, Vec<ViewOp>)> {
        let mut out: Vec<(View, Vec<ViewOp>)> = Vec::new();
        for chain in chains {
            let Some(view) = self.view_through(id, chain) else { continue };
            if !out.iter().any(|(v, _)| *v == view) {
                let chain = self.shorter(id, &view, chain);
                out.push((view, chain));
            }
        }
        out
    }

    fn shorter(&self, id: NodeId, view: &View, chain: &[ViewOp]) -> Vec<ViewOp> {
        let plain = vec![ViewOp::Reshape(view.shape.clone())];
        match self.view_through(id, &plain) {
            Some(v) if v == *view => plain,
            _ => chain.to_vec(),
        }
    }

    /// True unless fusing would compute the same elements many times over in a loop.
    fn repeats_cheaply(&self, node: &Node, view: &View, group: usize) -> bool {
        if view.count() <= node.ty.len() || view.strides.iter().all(|&s| s == 0) {
            return true;
        }
        match &self.groups[group].work {
            Work::Nest { outer, inner: Some(_) } => {
                view.strides[outer.len()..].iter().all(|&s| s == 0)
                    && outer.iter().product::<usize>() <= node.ty.len()
            }
            _ => false,
        }
    }

    /// The chain by which a group makes all of a value in order, if all its uses there agree with
    /// it.
    fn in_order(&self, id: NodeId, group: usize, chains: &[Vec<ViewOp>]) -> Option<Vec<ViewOp>> {
        let views: Option<Vec<View>> = chains.iter().map(|c| self.view_through(id, c)).collect();
        let views = views?;
        [self.groups[group].full_chain(), self.groups[group].row_chain()].into_iter().find(
            |chain| self.view_through(id, chain).is_some_and(|v| views.iter().all(|u| *u == v)),
        )
    }

    pub(super) fn place_reduction(&mut self, id: NodeId, node: &Node) {
        let (stored, uses) = self.uses(id);
        let (permute, kept, reduced) = kept_first(self.graph, node);
        let root = stored || uses.len() > 1;
        for (&group, chains) in &uses {
            if !self.can_precede(id, group) || !self.has_room(group, id, root) {
                continue;
            }
            let Some(inner) = self.inner_for(id, group, chains, &kept, &reduced) else { continue };
            let Work::Nest { outer, .. } = &self.groups[group].work else { continue };
            let outer = match inner.split {
                Some(split) => outer[..split].to_vec(),
                None => outer.clone(),
            };
            let space = [&outer[..], &inner.extents].concat();
            let chain = [&permute[..], &[ViewOp::Reshape(space)]].concat();
            let based = &self.based[node.inputs[0].index()];
            let dense = View::dense(self.graph.shape(based.base));
            if dense.apply_all(based.ops.iter().chain(&chain)).is_none() {
                continue;
            }
            self.groups[group].extended |= inner.extends;
            self.groups[group].work = Work::Nest { outer, inner: Some(inner.extents) };
            self.join(group, id, root);
            return self.demand(node.inputs[0], group, Some(&chain));
        }
        let group = self.start(Work::Nest { outer: kept, inner: Some(reduced) }, id);
        self.demand(node.inputs[0], group, Some(&permute));
    }

    /// The inner dimensions under which a group can compute a reduction for all its uses there.
    fn inner_for(
        &self,
        id: NodeId,
        group: usize,
        chains: &[Vec<ViewOp>],
        kept: &[usize],
        reduced: &[usize],
    ) -> Option<Inner> {
        let Work::Nest { outer, inner } = &self.groups[group].work else { return None };
        let views: Option<Vec<View>> = chains.iter().map(|c| self.view_through(id, c)).collect();
        let views = views?;
        let (rows, count) = (kept.iter().product::<usize>(), reduced.iter().product::<usize>());
        let agrees = |chain: &[ViewOp]| {
            self.view_through(id, chain).is_some_and(|v| views.iter().all(|u| *u == v))
        };
        let size = |dims: &[usize]| dims.iter().product::<usize>();
        if let Some(inner) = inner {
            let fits =
                size(outer) == rows && size(inner) == count && agrees(&row_chain(outer, inner));
            return fits.then(|| Inner { extents: inner.clone(), split: None, extends: false });
        }
        for split in 0..=outer.len() {
            let (rest, last) = outer.split_at(split);
            if size(rest) == rows && size(last) == count && agrees(&row_chain(rest, last)) {
                return Some(Inner { extents: last.to_vec(), split: Some(split), extends: false });
            }
        }
        let fits = size(outer) == rows && agrees(&self.groups[group].full_chain());
        fits.then(|| Inner { extents: reduced.to_vec(), split: None, extends: true })
    }
}
