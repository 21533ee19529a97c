//! Sums of arrays that fill different parts of a whole, such as the gradients of slices: every part is
//! written where it lies, and none is filled up first.

use pamc_passes::ir::{DType, Graph, Node, NodeId};
use pamc_passes::ops::Prim;

use super::Call;
use super::build::{self, Builder};
use super::calls::{Raw, no_view, push};
use super::fuse::Fusion;
use super::nest::Kind;
use super::view::{View, ViewOp};
use crate::Error;

/// Values that are padded with zeros along one axis, no two of them in the same place there.
#[derive(Debug)]
pub struct Parts {
    axis: usize,
    /// Where each begins along the axis, in order, and what it is.
    pub values: Vec<(usize, NodeId)>,
}

/// The parts that a node is the sum of, if nothing else reads what comes between them and it.
pub fn parts(graph: &Graph, uses: &[usize], root: NodeId) -> Option<Parts> {
    let (mut parts, mut axis) = (Vec::new(), None);
    let mut stack = vec![root];
    while let Some(id) = stack.pop() {
        let node = graph.node(id);
        if id != root && uses[id.index()] != 1 {
            return None;
        }
        match node.op.prim() {
            Some(Prim::Add) if node.ty.dtype == DType::F32 && whole(graph, node) => {
                stack.extend(&node.inputs);
            }
            Some(Prim::Pad) if id != root => {
                let (along, start) = padded(node)?;
                if *axis.get_or_insert(along) != along {
                    return None;
                }
                parts.push((start, node.inputs[0]));
            }
            _ => return None,
        }
    }
    let (axis, extent) = (axis?, |id: NodeId| graph.shape(id));
    parts.sort_unstable();
    let apart = parts.windows(2).all(|w| w[0].0 + extent(w[0].1)[axis] <= w[1].0);
    apart.then_some(Parts { axis, values: parts })
}

/// True if no operand is repeated.
fn whole(graph: &Graph, node: &Node) -> bool {
    node.inputs.iter().all(|&i| graph.shape(i) == node.ty.shape)
}

/// The only axis along which zeros are put around an array, and how many before it.
fn padded(node: &Node) -> Option<(usize, usize)> {
    let [lo, hi, interior] = ["lo", "hi", "interior"].map(|name| node.attrs.ints(name));
    let mut axes = (0..node.ty.rank()).filter(|&a| lo[a] != 0 || hi[a] != 0);
    let (axis, None) = (axes.next()?, axes.next()) else { return None };
    let zero = node.attrs.float("value").to_bits() == 0 && interior.iter().all(|&i| i == 0);
    zero.then_some((axis, lo[axis] as usize))
}

/// The kernels that write a sum of parts: each part plus the zero of the others, and zeros between.
pub(super) fn calls(
    fusion: &Fusion,
    raw: Raw,
    (id, parts): (NodeId, &Parts),
    out: &mut Vec<Call>,
) -> Result<(), Error> {
    let (axis, graph) = (parts.axis, fusion.graph);
    let whole = graph.shape(id);
    let covered: usize = parts.values.iter().map(|(_, part)| graph.shape(*part)[axis]).sum();
    if covered < whole[axis] {
        push(fusion, out, build::filled(fusion, raw, id, 0), id)?;
    }
    for &(start, part) in &parts.values {
        let sizes = graph.shape(part).to_vec();
        let mut starts = vec![0; whole.len()];
        starts[axis] = start as i64;
        let slice = ViewOp::Slice(starts, vec![1; whole.len()], sizes.clone());
        let place = View::dense(whole).apply(&slice).ok_or_else(|| no_view(fusion, id, id))?;
        let mut b = Builder::new(fusion, raw, None, (sizes, Vec::new()));
        let value = b.pull(part, &[]);
        let zero = b.expr(DType::F32, Kind::Const(0));
        let sum = b.op(Prim::Add, DType::F32, &[value, zero]);
        b.store(sum, id, &place, None);
        push(fusion, out, b.finish(), id)?;
    }
    Ok(())
}
