//! The kernel of a contraction: where its operands and results lie.

use pamc_passes::ir::NodeId;
use pamc_passes::ops::Prim;

use super::build;
use super::calls::{Raw, push};
use super::fuse::Fusion;
use super::split::{SplitView, cut, joined};
use super::view::View;
use super::windows::Windows;
use super::{Call, Kernel, Machine, WindowedSpec};
use crate::Error;
use crate::kernels::{Arith, Dim, Kind, MatmulSpec, Operand, Output};

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
        if let Some(w) = fusion.windowed(node, id, swap) {
            let strides = [&w.batch[..], &[NO_STRIDE; 2]].concat();
            let len = fusion.graph.ty(w.source).len();
            let operand = Operand { len, offset: w.offset, strides, ..Operand::default() };
            let (windows, extents) = (Some(w.windows), w.extents);
            return Read { base: w.source, operand, windows, extents };
        }
        let (base, mut view) = fusion.operand(id);
        let rank = view.axes.len();
        if swap {
            view.axes.swap(rank - 2, rank - 1);
        }
        let extents = [view.axes[rank - 2].0, view.axes[rank - 1].0];
        let view = view.broadcast(&[batch, &extents].concat());
        Read { base, operand: read(fusion, base, &view), windows: None, extents }
    }
}

/// A view of a buffer as a kernel sees it.
fn read(fusion: &Fusion, base: NodeId, view: &SplitView) -> Operand {
    let len = fusion.graph.ty(base).len();
    let mut out = Operand { len, offset: view.offset, ..Operand::default() };
    let first = view.axes.len() - 2;
    for (i, (_, dims)) in view.axes.iter().enumerate() {
        put(&mut out, (i, first), joined(dims));
    }
    out
}

/// Sets an axis of an operand whose rows are axis `first`.
fn put(operand: &mut Operand, (axis, first): (usize, usize), dims: Vec<Dim>) {
    operand.strides.resize(operand.strides.len().max(axis + 1), 0);
    operand.strides[axis] = dims.first().map_or(0, |d| d.stride);
    if let Some(which) = axis.checked_sub(first) {
        operand.split[which] = if dims.len() > 1 { dims } else { Vec::new() };
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
    let shape = &fusion.graph.node(id).ty.shape;
    let whole = SplitView::new(&View::dense(shape));
    match Contraction::new(fusion, id, (id, whole)) {
        Some(made) => out.push(made.call(machine, id)?),
        None => push(fusion, out, build::filled(fusion, raw, id, 0), id)?,
    }
    Ok(())
}

/// The call of a contraction that adds its results to those of a fold, as the view says.
///
/// # Errors
/// If there is no kernel for it.
pub fn folded(
    fusion: &Fusion,
    machine: &Machine,
    (contraction, view): (NodeId, SplitView),
    fold: NodeId,
    out: &mut Vec<Call>,
) -> Result<(), Error> {
    if let Some(mut made) = Contraction::new(fusion, contraction, (fold, view)) {
        kernel_outermost(&mut made.spec, &fusion.graph.node(fold).attrs.sizes("kernel"));
        out.push(made.call(machine, contraction)?);
    }
    Ok(())
}

/// What a contraction computes, and the values of its parameters.
struct Contraction {
    spec: MatmulSpec,
    /// Windows of a, b and of what slopes are taken at.
    windows: [Option<Windows>; 3],
    args: Vec<NodeId>,
}

impl Contraction {
    /// With its result in a view of some value; `None` if its sums have no terms.
    fn new(
        fusion: &Fusion,
        id: NodeId,
        (into, mut target): (NodeId, SplitView),
    ) -> Option<Contraction> {
        let node = fusion.graph.node(id);
        let rank = node.ty.rank();
        let batch = node.ty.shape[..rank - 2].to_vec();
        let (ta, tb) = (node.attrs.flag("ta"), node.attrs.flag("tb"));
        let read_at = |i: usize, swap: bool| Read::new(fusion, id, i, swap);
        // Rows, columns and terms: see the rows of the op table for what each sums.
        let (a, b, at, swap_out) = match node.op.prim() {
            Some(Prim::PamMatmulDa) => {
                (read_at(0, false), read_at(2, !tb), Some(read_at(1, ta)), ta)
            }
            Some(Prim::PamMatmulDb) => {
                (read_at(0, true), read_at(1, ta), Some(read_at(2, !tb)), !tb)
            }
            _ => (read_at(0, ta), read_at(1, tb), None, false),
        };
        let ([m, k], n) = (a.extents, b.extents[1]);
        if k == 0 {
            return None;
        }
        if swap_out {
            target.axes.swap(rank - 2, rank - 1);
        }
        let result = read(fusion, into, &target);
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
        args.push(into);
        let output = match (into == id, swap_out) {
            (true, _) => Output::Store,
            (false, false) => Output::AddByRows(1),
            (false, true) => Output::AddByColumns(1),
        };
        let (a, b) = (a.operand, b.operand);
        let spec = MatmulSpec { batch, m, k, n, a, b, out: result, output, arith, kind };
        Some(Contraction { spec, windows, args })
    }

    fn call(self, machine: &Machine, node: NodeId) -> Result<Call, Error> {
        let Contraction { spec, windows, args } = self;
        let scratch = machine.scratch(&spec)?;
        let writes = args[args.len() - 1..].to_vec();
        let kernel = match windows.iter().all(Option::is_none) {
            true => Kernel::Matmul(Box::new(spec), None),
            false => Kernel::Windowed(Box::new(WindowedSpec { spec, windows })),
        };
        Ok(Call { kernel, args, writes, starts: Vec::new(), scratch, scratch_offset: 0, node })
    }
}

/// Lets neighbouring rows add to different channels: the elements of the kernel become the slower
/// dimensions of the axis that has them.
fn kernel_outermost(spec: &mut MatmulSpec, kernel: &[usize]) {
    let taps: usize = kernel.iter().product();
    let first = spec.batch.len();
    let (which, extent) = match spec.output {
        Output::AddByColumns(_) => (1, spec.n),
        _ => (0, spec.m),
    };
    let channels = extent / taps;
    let extents = [&[channels], kernel].concat();
    let turned = |operand: &Operand| {
        let whole = [Dim { extent, stride: operand.strides[first + which] }];
        let dims = match &operand.split[which][..] {
            [] => &whole[..],
            split => split,
        };
        let mut dims = cut(dims, &extents)?;
        dims.rotate_left(1);
        Some(joined(&dims))
    };
    let source = if which == 0 { &spec.a } else { &spec.b };
    let (Some(source), Some(out)) = (turned(source), turned(&spec.out)) else { return };
    if let Kind::Slope { at } = &mut spec.kind {
        let Some(dims) = turned(at) else { return };
        put(at, (first + which, first), dims);
    }
    put(if which == 0 { &mut spec.a } else { &mut spec.b }, (first + which, first), source);
    put(&mut spec.out, (first + which, first), out);
    spec.output = match which {
        0 => Output::AddByRows(channels),
        _ => Output::AddByColumns(channels),
    };
}
