//! The kernel of a contraction: where its operands lie.

use pamc_passes::ir::NodeId;
use pamc_passes::ops::Prim;

use super::build;
use super::calls::{Raw, push};
use super::fuse::Fusion;
use super::view::View;
use super::windows::Windows;
use super::{Call, Kernel, Machine, WindowedSpec};
use crate::Error;
use crate::kernels::{Arith, Kind, MatmulSpec, Operand};

/// Stands for the strides of rows and columns where windows say where elements lie: like no other.
const NO_STRIDE: i64 = 1 << 40;

/// What a contraction reads: rows and columns, and the view of a buffer over batch, row and column.
struct Read {
    base: NodeId,
    operand: Operand,
    windows: Option<Windows>,
    extents: [usize; 2],
}

impl Read {
    fn new(fusion: &Fusion, contraction: NodeId, input: usize, swap: bool) -> Read {
        let node = fusion.graph.node(contraction);
        let (id, batch) = (node.inputs[input], &node.ty.shape[..node.ty.rank() - 2]);
        let len = |base| fusion.graph.ty(base).len();
        if let Some(w) = fusion.windowed(node, id, swap) {
            let strides = [&w.batch[..], &[NO_STRIDE; 2]].concat();
            let operand = Operand { len: len(w.source), offset: w.offset, strides };
            let (windows, extents) = (Some(w.windows), w.extents);
            return Read { base: w.source, operand, windows, extents };
        }
        let mut view = fusion.view(id);
        let rank = view.shape.len();
        if swap {
            view.shape.swap(rank - 2, rank - 1);
            view.strides.swap(rank - 2, rank - 1);
        }
        let extents = [view.shape[rank - 2], view.shape[rank - 1]];
        let view = view.broadcast(&[batch, &extents].concat());
        let base = fusion.based[id.index()].base;
        let operand = Operand { len: len(base), offset: view.offset, strides: view.strides };
        Read { base, operand, windows: None, extents }
    }
}

/// The call of a contraction.
///
/// # Errors
/// If there is no kernel for it.
pub fn contraction(
    fusion: &Fusion,
    raw: Raw,
    machine: &Machine,
    id: NodeId,
    out: &mut Vec<Call>,
) -> Result<(), Error> {
    let node = fusion.graph.node(id);
    let batch = node.ty.shape[..node.ty.rank() - 2].to_vec();
    let (ta, tb) = (node.attrs.flag("ta"), node.attrs.flag("tb"));
    let read = |i: usize, swap: bool| Read::new(fusion, id, i, swap);
    // Rows, columns and terms: see the rows of the op table for what each sums.
    let (a, b, at, swap_out) = match node.op.prim() {
        Some(Prim::PamMatmulDa) => (read(0, false), read(2, !tb), Some(read(1, ta)), ta),
        Some(Prim::PamMatmulDb) => (read(0, true), read(1, ta), Some(read(2, !tb)), !tb),
        _ => (read(0, ta), read(1, tb), None, false),
    };
    let ([m, k], n) = (a.extents, b.extents[1]);
    if k == 0 {
        push(fusion, out, build::filled(fusion, raw, id, 0), id)?;
        return Ok(());
    }
    let mut dense = View::dense(&node.ty.shape);
    if swap_out {
        let rank = dense.strides.len();
        dense.strides.swap(rank - 2, rank - 1);
    }
    let result = Operand { len: node.ty.len(), offset: 0, strides: dense.strides };
    let arith = match node.op.prim() {
        Some(Prim::FMatmul) => Arith::Float,
        _ => Arith::Pam,
    };
    let mut args = vec![a.base, b.base];
    let mut windows = [a.windows, b.windows, None];
    let kind = match at {
        Some(at) => {
            args.push(at.base);
            windows[2] = at.windows;
            Kind::Slope { at: at.operand }
        }
        None => Kind::Product,
    };
    args.push(id);
    let spec = MatmulSpec { batch, m, k, n, a: a.operand, b: b.operand, out: result, arith, kind };
    let scratch = machine.scratch(&spec)?;
    let kernel = match windows.iter().all(Option::is_none) {
        true => Kernel::Matmul(spec),
        false => Kernel::Windowed(Box::new(WindowedSpec { spec, windows })),
    };
    let call = Call { kernel, args, writes: vec![id], scratch, scratch_offset: 0, node: id };
    out.push(call);
    Ok(())
}
