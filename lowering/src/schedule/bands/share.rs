//! One band of a call: a kernel that does an equal part of its outermost positions, and where the
//! parameters of each band begin.

use std::collections::HashSet;

use pamc_passes::ir::{Attrs, DType, NodeId, Tensor};
use pamc_passes::ops::Prim;

use super::super::nest::{Access, Expr, Kind, Nest, Param};
use super::super::{Call, Kernel};
use crate::kernels::{self, Dim, MatmulSpec, Operand, Output};

/// How the outermost dimensions are cut into bands of successive positions.
struct Grid {
    extents: Vec<usize>,
    /// Bands along each dimension.
    bands: Vec<usize>,
}

impl Grid {
    /// So many equal bands, if the extents can be cut so.
    fn new(extents: &[usize], count: usize) -> Option<Grid> {
        let mut left = count;
        let mut bands = Vec::with_capacity(extents.len());
        for &extent in extents {
            let along = match left.is_multiple_of(extent.max(1)) {
                true => extent.max(1),
                false if extent.is_multiple_of(left) => left,
                false => return None,
            };
            bands.push(along);
            left /= along;
        }
        (left == 1).then(|| Grid { extents: extents.to_vec(), bands })
    }

    /// Extents of one band.
    fn inside(&self) -> Vec<usize> {
        self.extents.iter().zip(&self.bands).map(|(extent, bands)| extent / bands).collect()
    }

    /// How far each band is from the first, by the strides of the dimensions.
    fn starts(&self, strides: &[i64]) -> Vec<i64> {
        let mut starts = vec![0];
        for ((inside, &bands), stride) in self.inside().iter().zip(&self.bands).zip(strides) {
            let step = *inside as i64 * stride;
            let along = |start: i64| (0..bands as i64).map(move |i| start + i * step);
            starts = starts.into_iter().flat_map(along).collect();
        }
        starts
    }
}

/// What the bands touch of a parameter's buffer.
#[derive(Clone, Debug)]
pub struct Touch {
    /// How far each band's elements are from the first band's.
    starts: Vec<i64>,
    /// First and last element of the first band.
    span: (i64, i64),
}

impl Touch {
    fn new(starts: Vec<i64>, offset: i64, dims: impl Iterator<Item = (usize, i64)>) -> Touch {
        let mut span = (offset, offset);
        for (extent, stride) in dims {
            let reach = extent.saturating_sub(1) as i64 * stride;
            span = (span.0 + reach.min(0), span.1 + reach.max(0));
        }
        Touch { starts, span }
    }

    /// Of two uses of a buffer; `None` if they move differently from band to band.
    fn and(self, other: &Touch) -> Option<Touch> {
        let span = (self.span.0.min(other.span.0), self.span.1.max(other.span.1));
        (self.starts == other.starts).then_some(Touch { span, ..self })
    }

    /// True if each band touches a part of its own: the first band the first part, and so on.
    pub fn is_apart(&self, len: usize) -> bool {
        let part = (len / self.starts.len()) as i64;
        len.is_multiple_of(self.starts.len())
            && (self.span.0 >= 0 && self.span.1 < part)
            && self.starts.iter().zip(0..).all(|(&start, band)| start == band * part)
    }
}

/// Numbers of which each band reads one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ramp {
    dtype: DType,
    numbers: Vec<i64>,
}

impl Ramp {
    /// As a constant.
    pub fn value(&self) -> Tensor {
        match self.dtype {
            DType::I64 => Tensor::vector(self.numbers.clone()),
            // The numbers of 32 bits wrap around.
            _ => Tensor::vector(self.numbers.iter().map(|&n| n as i32).collect()),
        }
    }
}

/// One band of a call.
pub struct Share {
    kernel: Kernel,
    /// Of each parameter that the call has.
    pub touches: Vec<Touch>,
    /// What further parameters hold.
    pub ramps: Vec<Ramp>,
    count: usize,
}

impl Share {
    /// One of so many bands of a call, if it has a kernel of that kind.
    pub fn new(call: &Call, count: usize) -> Option<Share> {
        let mut share = match &call.kernel {
            Kernel::Nest(nest) => {
                let (nest, touches, ramps) = nest_band(nest, count)?;
                Share { kernel: Kernel::Nest(nest), touches, ramps, count }
            }
            Kernel::Matmul(spec, None) => {
                let (spec, touches) = contraction_band(spec, count)?;
                let kernel = Kernel::Matmul(Box::new(spec), None);
                Share { kernel, touches, ramps: Vec::new(), count }
            }
            Kernel::Matmul(spec, Some(after)) => {
                let (spec, mut touches) = contraction_band(spec, count)?;
                let (after, more, ramps) = nest_band(after, count)?;
                touches.extend(more);
                let kernel = Kernel::Matmul(Box::new(spec), Some(Box::new(after)));
                Share { kernel, touches, ramps, count }
            }
            _ => return None,
        };
        let forward = share.touches.iter().all(|t| t.starts.iter().all(|&start| start >= 0));
        if let (Kernel::Nest(nest), true) = (&mut share.kernel, forward) {
            *nest = nest.clone().simplified();
        }
        forward.then_some(share)
    }

    /// The call of a band, its further parameters the given values; of `local` values only one band is
    /// in memory.
    pub fn call(self, call: &Call, ramps: Vec<NodeId>, local: &HashSet<NodeId>) -> Call {
        let Share { mut kernel, touches, count, .. } = self;
        let args = [&call.args[..], &ramps].concat();
        let ramp = |_| (0..count).collect();
        let starts = touches.iter().map(|t| t.starts.iter().map(|&s| s as usize).collect());
        let mut starts: Vec<Vec<usize>> = starts.chain(ramps.iter().map(ramp)).collect();
        for ((value, starts), len) in args.iter().zip(&mut starts).zip(lens(&mut kernel)) {
            if local.contains(value) {
                *len /= count;
                starts.clear();
            }
            *len -= starts.iter().max().copied().unwrap_or(0);
            if starts.iter().all(|&start| start == 0) {
                starts.clear();
            }
        }
        Call { kernel, args, starts, ..call.clone() }
    }
}

/// Lengths of the parameters' buffers, in their order.
fn lens(kernel: &mut Kernel) -> Vec<&mut usize> {
    let (spec, nest) = match kernel {
        Kernel::Nest(nest) => (None, Some(nest)),
        Kernel::Matmul(spec, after) => (Some(spec), after.as_deref_mut()),
        _ => (None, None),
    };
    let mut out = Vec::new();
    if let Some(spec) = spec {
        let MatmulSpec { a, b, out: result, kind, .. } = &mut **spec;
        out.extend([&mut a.len, &mut b.len]);
        if let kernels::Kind::Slope { at } = kind {
            out.push(&mut at.len);
        }
        out.push(&mut result.len);
    }
    out.extend(nest.into_iter().flat_map(|nest| &mut nest.params).map(|param| &mut param.len));
    out
}

/// True if both operands have a matrix of their own for the elements of the batch.
pub fn is_batched(spec: &MatmulSpec) -> bool {
    let own = |operand: &Operand| {
        spec.batch.iter().zip(&operand.strides).any(|(&extent, &stride)| extent > 1 && stride != 0)
    };
    own(&spec.a) && own(&spec.b)
}

/// The dimensions of a contraction that bands may be cut from: of the batch, and rows unless they lie
/// in memory in some other way than with one stride.
pub fn leading(spec: &MatmulSpec) -> Vec<usize> {
    let at = match &spec.kind {
        kernels::Kind::Product => None,
        kernels::Kind::Slope { at } => Some(at),
    };
    let split = [&spec.a, &spec.out].into_iter().chain(at).any(|o| !o.split[0].is_empty());
    let rows = (!split).then_some(spec.m);
    spec.batch.iter().copied().chain(rows).collect()
}

fn contraction_band(spec: &MatmulSpec, count: usize) -> Option<(MatmulSpec, Vec<Touch>)> {
    if spec.output != Output::Store {
        return None;
    }
    let grid = Grid::new(&leading(spec), count)?;
    let rank = spec.batch.len();
    let inside = grid.inside();
    let mut band = spec.clone();
    band.batch = inside[..rank].to_vec();
    band.m = inside.get(rank).copied().unwrap_or(spec.m);
    // Rows of the result are rows of all operands but b.
    let touch = |operand: &Operand, [rows, columns]: [usize; 2], with_rows: bool| {
        let mut strides = operand.strides[..rank].to_vec();
        strides.push(if with_rows { operand.strides[rank] } else { 0 });
        let axis = |which: usize, extent: usize| match &operand.split[which][..] {
            [] => vec![Dim { extent, stride: operand.strides[rank + which] }],
            split => split.to_vec(),
        };
        let matrix = [axis(0, rows), axis(1, columns)].concat();
        let batch = band.batch.iter().copied().zip(operand.strides.iter().copied());
        let dims = batch.chain(matrix.into_iter().map(|d| (d.extent, d.stride)));
        Touch::new(grid.starts(&strides), operand.offset, dims)
    };
    let (m, k, n) = (band.m, band.k, band.n);
    let mut touches = vec![touch(&spec.a, [m, k], true), touch(&spec.b, [k, n], false)];
    if let kernels::Kind::Slope { at } = &spec.kind {
        touches.push(touch(at, [m, n], true));
    }
    touches.push(touch(&spec.out, [m, n], true));
    Some((band, touches))
}

type NestBand = (Nest, Vec<Touch>, Vec<Ramp>);

fn nest_band(nest: &Nest, count: usize) -> Option<NestBand> {
    if nest.ordered != (0, 0) {
        return None;
    }
    let grid = Grid::new(&nest.outer, count)?;
    let inside = [grid.inside(), nest.inner.clone()].concat();
    let loads = nest.exprs.iter().filter_map(|e| match &e.kind {
        Kind::Load(access, _) => Some(access),
        _ => None,
    });
    let mut touches: Vec<Option<Touch>> = vec![None; nest.params.len()];
    for access in loads.chain(nest.stores.iter().map(|s| &s.access)) {
        let found = access.dynamic.map(|p| (p.extent, p.stride));
        let dims = inside.iter().copied().zip(access.strides.iter().copied()).chain(found);
        let touch = Touch::new(grid.starts(&access.strides), access.offset, dims);
        let known = &mut touches[access.param];
        *known = Some(match known.take() {
            Some(known) => known.and(&touch)?,
            None => touch,
        });
    }
    let idle = || Touch { starts: vec![0; count], span: (0, 0) };
    let touches = touches.into_iter().map(|t| t.unwrap_or_else(idle)).collect();
    let (mut band, ramps) = with_ramps(nest, &grid);
    band.outer = grid.inside();
    Some((band, touches, ramps))
}

/// A nest whose numbers of positions, where bands differ in them, are those of the first band plus one
/// that each band reads for itself.
fn with_ramps(nest: &Nest, grid: &Grid) -> (Nest, Vec<Ramp>) {
    let mut out = Nest { exprs: Vec::new(), ..nest.clone() };
    let mut ramps: Vec<Ramp> = Vec::new();
    let mut place = Vec::with_capacity(nest.exprs.len());
    for expr in &nest.exprs {
        let mut expr = expr.clone();
        let mut starts = Vec::new();
        match &mut expr.kind {
            Kind::Index { strides, .. } => starts = grid.starts(strides),
            Kind::Op(_, _, operands) => operands.iter_mut().for_each(|o| *o = place[*o]),
            Kind::Reduce(_, operand) => *operand = place[*operand],
            Kind::Load(access, _) => relocate(access, &place),
            Kind::Const(_) => {}
        }
        let dtype = expr.dtype;
        out.exprs.push(expr);
        if starts.iter().any(|&start| start != 0) {
            let ramp = Ramp { dtype, numbers: starts };
            let new = ramps.iter().position(|known| *known == ramp).unwrap_or_else(|| {
                out.params.push(Param { dtype, len: ramp.numbers.len() });
                ramps.push(ramp);
                ramps.len() - 1
            });
            let (param, strides) = (nest.params.len() + new, vec![0; nest.dimensions()]);
            let access = Access { param, offset: 0, strides, dynamic: None };
            out.exprs.push(Expr { kind: Kind::Load(access, false), dtype });
            let last = out.exprs.len() - 1;
            let sum = Kind::Op(Prim::Add, Attrs::none(), vec![last - 1, last]);
            out.exprs.push(Expr { kind: sum, dtype });
        }
        place.push(out.exprs.len() - 1);
    }
    for store in &mut out.stores {
        store.expr = place[store.expr];
        relocate(&mut store.access, &place);
    }
    (out, ramps)
}

fn relocate(access: &mut Access, place: &[usize]) {
    if let Some(position) = &mut access.dynamic {
        position.expr = place[position.expr];
    }
}
