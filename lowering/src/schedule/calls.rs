//! The kernels of each group, in order.

use pamc_passes::ir::{Node, NodeId};
use pamc_passes::ops::{Prim, normalize_axis};

use super::build::{self, Builder, Built};
use super::contraction::{contraction, folded};
use super::fuse::operands::windows;
use super::fuse::{Fusion, Work};
use super::nest::{Param, Position};
use super::scan::scan;
use super::view::{View, ViewOp};
use super::{Call, Kernel, Machine, fold, pads};
use crate::Error;
use crate::kernels::Kind;

/// Inputs whose buffers may hold subnormals.
pub(super) type Raw<'a> = &'a dyn Fn(NodeId) -> bool;

/// The calls of all groups, in order of execution.
pub fn calls(fusion: &Fusion, raw: Raw, machine: &Machine) -> Result<Vec<Call>, Error> {
    let mut out = Vec::new();
    for group in &fusion.groups {
        let Some(&root) = group.roots.first() else { continue };
        match group.work {
            Work::Nest { .. } => push(fusion, &mut out, build::fused(fusion, group, raw), root)?,
            Work::Special => special(fusion, raw, machine, root, &mut out)?,
        }
    }
    Ok(out)
}

/// A copy of a new parameter or state to the place of the old one.
pub fn update(fusion: &Fusion, new: NodeId, old: NodeId, out: &mut Vec<Call>) -> Result<(), Error> {
    let view = View::dense(fusion.graph.shape(old));
    push(fusion, out, build::moved(fusion, &|_| false, new, (old, &view)), new)
}

/// A nest as a call, unless it does nothing.
pub(super) fn push(
    fusion: &Fusion,
    out: &mut Vec<Call>,
    built: Built,
    node: NodeId,
) -> Result<(), Error> {
    let Built { nest, values, unseen } = built;
    if let Some(id) = unseen {
        return Err(no_view(fusion, id, node));
    }
    if nest.stores.is_empty() || nest.outer.contains(&0) {
        return Ok(());
    }
    let mut writes: Vec<NodeId> = nest.stores.iter().map(|s| values[s.access.param]).collect();
    writes.dedup();
    let kernel = Kernel::Nest(nest);
    out.push(Call::new(kernel, values, writes, node));
    Ok(())
}

pub(super) fn no_view(fusion: &Fusion, id: NodeId, reader: NodeId) -> Error {
    let [node, reader] = [id, reader].map(|id| fusion.graph.node(id));
    let message = format!(
        "the kernel of {} at {} cannot address {} of {} at {}: a defect of the compiler, please report it",
        reader.op.name, reader.origin, node.ty, node.op.name, node.origin
    );
    Error::Program { message }
}

fn special(
    fusion: &Fusion,
    raw: Raw,
    machine: &Machine,
    id: NodeId,
    out: &mut Vec<Call>,
) -> Result<(), Error> {
    let node = fusion.graph.node(id);
    if node.ty.is_empty() {
        return Ok(());
    }
    if let Some(parts) = fusion.parts(id) {
        return pads::calls(fusion, raw, (id, &parts), out);
    }
    match node.op.prim() {
        Some(p) if p.is_contraction() => return contraction(fusion, raw, machine, id, out),
        Some(Prim::CumSum | Prim::ArgMax | Prim::ArgMin) => {
            let kernel = Kernel::Scan(scan(fusion, id));
            let from = fusion.based[node.inputs[0].index()].base;
            out.push(Call::new(kernel, vec![from, id], vec![id], id));
        }
        Some(Prim::Concat) => return concat(fusion, raw, id, node, out),
        Some(Prim::Pad) => return pad(fusion, raw, id, node, out),
        Some(Prim::Fold) if *machine == Machine::Gpu => {
            let from = fusion.based[node.inputs[0].index()].base;
            let kernel = Kernel::Fold(fold::fold(fusion, id, raw(from)));
            out.push(Call::new(kernel, vec![from, id], vec![id], id));
        }
        Some(Prim::Fold) => return fold_in_order(fusion, raw, machine, id, out),
        Some(Prim::ScatterAdd) => return scatter(fusion, raw, id, node, out),
        other => {
            let message = format!("no kernel for {} ({other:?})", node.op.name);
            return Err(Error::Program { message });
        }
    }
    Ok(())
}

fn concat(
    fusion: &Fusion,
    raw: Raw,
    id: NodeId,
    node: &Node,
    out: &mut Vec<Call>,
) -> Result<(), Error> {
    let axis = normalize_axis(node.attrs.int("axis"), node.ty.rank()).unwrap_or(0);
    let mut whole = View::dense(&node.ty.shape);
    for &piece in &node.inputs {
        whole.shape = fusion.graph.shape(piece).to_vec();
        push(fusion, out, build::moved(fusion, raw, piece, (id, &whole)), id)?;
        whole.offset += whole.strides[axis] * whole.shape[axis] as i64;
    }
    Ok(())
}

/// A pad's value as an element, by its bits.
fn pad_bits(node: &Node) -> u64 {
    use pamc_passes::ir::DType;
    let value = node.attrs.float("value");
    match node.ty.dtype {
        DType::F32 => u64::from(pamc_passes::reference::flush(value).to_bits()),
        DType::I32 => u64::from(value as i32 as u32),
        DType::I64 => value as i64 as u64,
        DType::Bool => u64::from(value != 0.0),
    }
}

fn pad(
    fusion: &Fusion,
    raw: Raw,
    id: NodeId,
    node: &Node,
    out: &mut Vec<Call>,
) -> Result<(), Error> {
    push(fusion, out, build::filled(fusion, raw, id, pad_bits(node)), id)?;
    let dense = View::dense(&node.ty.shape);
    let steps: Vec<i64> = node.attrs.ints("interior").iter().map(|i| i + 1).collect();
    let sizes = fusion.graph.shape(node.inputs[0]).to_vec();
    let slice = ViewOp::Slice(node.attrs.ints("lo").to_vec(), steps, sizes);
    let inside = dense.apply(&slice).ok_or_else(|| no_view(fusion, id, id))?;
    push(fusion, out, build::moved(fusion, raw, node.inputs[0], (id, &inside)), id)
}

/// Adds every window element to the position it was read from: over batch and channel, then in
/// order over the kernel index, then over the windows.
fn fold_in_order(
    fusion: &Fusion,
    raw: Raw,
    machine: &Machine,
    id: NodeId,
    out: &mut Vec<Call>,
) -> Result<(), Error> {
    push(fusion, out, build::filled(fusion, raw, id, 0), id)?;
    let node = fusion.graph.node(id);
    if let Some((contraction, view)) = fusion.folded(id) {
        return folded(fusion, machine, (contraction, view), id, out);
    }
    let x = node.inputs[0];
    let shape = fusion.graph.shape(x).to_vec();
    let rank = (shape.len() - 2) / 2;
    let target = View::dense(&node.ty.shape).apply(&windows(node, &shape));
    let target = target.ok_or_else(|| no_view(fusion, id, id))?;
    let mut b = Builder::new(fusion, raw, None, (shape, Vec::new()));
    b.set_ordered((2, 2 + rank));
    let value = b.pull(x, &[]);
    let sum = b.load(id, &target, None);
    let sum = b.op(Prim::Add, node.ty.dtype, &[sum, value]);
    b.store(sum, id, &target, None);
    push(fusion, out, b.finish(), id)
}

fn scatter(
    fusion: &Fusion,
    raw: Raw,
    id: NodeId,
    node: &Node,
    out: &mut Vec<Call>,
) -> Result<(), Error> {
    push(fusion, out, build::filled(fusion, raw, id, 0), id)?;
    let (index, updates) = (node.inputs[0], node.inputs[1]);
    let axis = normalize_axis(node.attrs.int("axis"), node.ty.rank()).unwrap_or(0);
    let (shape, axes) = (fusion.graph.shape(updates).to_vec(), fusion.graph.shape(index).to_vec());
    let dense = View::dense(&node.ty.shape);
    let mut strides = dense.strides.clone();
    strides.splice(axis..=axis, std::iter::repeat_n(0, axes.len()));
    let target = View { shape: shape.clone(), offset: 0, strides };
    let mut aligned = vec![1; shape.len()];
    aligned[axis..axis + axes.len()].copy_from_slice(&axes);
    let mut b = Builder::new(fusion, raw, None, (shape.clone(), Vec::new()));
    b.set_ordered((axis, axis + axes.len()));
    let position = b.pull(index, &[ViewOp::Reshape(aligned), ViewOp::Broadcast(shape)]);
    let (extent, stride) = (node.ty.shape[axis], dense.strides[axis]);
    let position = Position { expr: position, extent, stride };
    let value = b.pull(updates, &[]);
    let sum = b.load(id, &target, Some(position));
    let sum = b.op(Prim::Add, node.ty.dtype, &[sum, value]);
    b.store(sum, id, &target, Some(position));
    push(fusion, out, b.finish(), id)
}

impl Call {
    /// A call without scratch memory.
    fn new(kernel: Kernel, args: Vec<NodeId>, writes: Vec<NodeId>, node: NodeId) -> Call {
        Call { kernel, args, writes, starts: Vec::new(), scratch: None, scratch_offset: 0, node }
    }

    /// Length of each parameter's buffer, as the kernel declares it.
    pub fn params(&self) -> Vec<Param> {
        use pamc_passes::ir::DType;
        let float = |len| Param { dtype: DType::F32, len };
        let (spec, after) = match &self.kernel {
            Kernel::Nest(nest) => return nest.params.clone(),
            Kernel::Scan(scan) => return scan.params.to_vec(),
            Kernel::Fold(fold) => return fold.params.to_vec(),
            Kernel::Windowed(windowed) => (&windowed.spec, None),
            Kernel::Matmul(spec, after) => (&**spec, after.as_ref()),
        };
        let at = match &spec.kind {
            Kind::Product => None,
            Kind::Slope { at } => Some(at.len),
        };
        let after = after.into_iter().flat_map(|nest| nest.params.clone());
        let lens = [spec.a.len, spec.b.len].into_iter().chain(at).chain([spec.out.len]);
        lens.map(float).chain(after).chain(self.scratch.map(float)).collect()
    }
}
