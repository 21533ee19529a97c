//! Contractions as GPU kernels: by tiles in workgroup memory, or small ones element by element.

mod fetch;
mod flush;
mod loops;
mod products;
mod slope;
mod tile;
mod tiled;
mod window;

use super::builder::Builder;
use super::kernel::{self, Shape};
use super::nest::INDEX;
use super::types::{Elem, Value, VecTy};
use super::{float, pam};
use crate::kernels::{CHUNK, Kind, MatmulSpec, Operand, canonical};
use crate::schedule::nest::Param;
use crate::schedule::windows::Windows;

const F32: VecTy = VecTy::scalar(Elem::F32);

/// Parameters of a contraction: a, b, [at,] out.
fn operands(spec: &MatmulSpec) -> Vec<&Operand> {
    let at = match &spec.kind {
        Kind::Product => None,
        Kind::Slope { at } => Some(at),
    };
    [&spec.a, &spec.b].into_iter().chain(at).chain([&spec.out]).collect()
}

/// Writes the GPU kernel `@name(a, b, [at,] out)` of a contraction, whose operands a, b and at may lie in
/// windows.
pub(crate) fn threads(
    b: &mut Builder,
    name: &str,
    spec: &MatmulSpec,
    windows: [&Option<Windows>; 3],
) -> Shape {
    let (canonical, swapped) = canonical(spec);
    match tile::Tile::choose(&canonical) {
        Some(tile) => tiled::emit(b, name, (&canonical, swapped), windows, tile),
        None => each_element(b, name, spec, windows),
    }
}

/// A thread for each element of the output.
fn each_element(
    b: &mut Builder,
    name: &str,
    spec: &MatmulSpec,
    windows: [&Option<Windows>; 3],
) -> Shape {
    let operands = operands(spec);
    let params: Vec<Param> =
        operands.iter().map(|o| Param { dtype: pamc_passes::ir::DType::F32, len: o.len }).collect();
    let dims = [&spec.batch[..], &[spec.m, spec.n]].concat();
    let items = dims.iter().product();
    let shape = Shape::new(items, 1);
    let types = kernel::types(b.code(), &params);
    kernel::kernel(b, name, &types, &shape, |b, ids| {
        ids.each(b, items, |b, flat| {
            let at = kernel::split(b, flat, &dims);
            let total = sum(b, spec, windows, &at);
            let to = spec.batch.len() + 2;
            let place = address(b, &spec.out, &at[..to]);
            let last = operands.len() - 1;
            b.line(format_args!(
                "memref.store {total}, %p{last}[{place}] : {}",
                b.code().buffer(params[last].dtype, params[last].len)
            ));
        });
    });
    shape
}

/// `offset + Σ index · stride`.
fn address(b: &mut Builder, operand: &Operand, at: &[Value]) -> Value {
    let mut sum = b.int(INDEX, operand.offset);
    for (&at, &stride) in at.iter().zip(&operand.strides).filter(|(_, s)| **s != 0) {
        let stride = b.int(INDEX, stride);
        let term = b.binary("arith.muli", at, stride);
        sum = b.binary("arith.addi", sum, term);
    }
    sum
}

fn load(
    b: &mut Builder,
    param: usize,
    (operand, windows): (&Operand, &Option<Windows>),
    at: &[Value],
) -> Value {
    let rank = at.len() - 2;
    let (place, inside) = match windows {
        None => (address(b, operand, at), None),
        Some(windows) => {
            let base = address(b, operand, &at[..rank]);
            window::locate(b, windows, base, [at[rank], at[rank + 1]])
        }
    };
    let buffer = b.code().buffer(pamc_passes::ir::DType::F32, operand.len);
    let value = b.define(F32, format_args!("memref.load %p{param}[{place}] : {buffer}"));
    let Some(inside) = inside else { return value };
    let zero = b.float(F32, 0.0);
    b.select(inside, value, zero)
}

/// The element at the given batch indices, row and column: chunk sums from +0, added in order.
fn sum(b: &mut Builder, spec: &MatmulSpec, windows: [&Option<Windows>; 3], at: &[Value]) -> Value {
    let (batch, cell) = at.split_at(spec.batch.len());
    let slope_at = match &spec.kind {
        Kind::Product => None,
        Kind::Slope { at: operand } => {
            let value = load(b, 2, (operand, windows[2]), at);
            // An image may be as somebody else has filled it.
            Some(if windows[2].is_some() { pam::flush(b, value) } else { value })
        }
    };
    let zero = float::zero(b);
    let [first, end, chunk, one] = [0, spec.k, CHUNK, 1].map(|v| b.int(INDEX, v as i64));
    let total = loops::for_carrying(b, [first, end, chunk], &[zero], |b, start, total| {
        let stop = b.binary("arith.addi", start, chunk);
        let stop = b.binary("arith.minsi", stop, end);
        let part = loops::for_carrying(b, [start, stop, one], &[zero], |b, k, part| {
            let x = load(b, 0, (&spec.a, windows[0]), &[batch, &[cell[0], k]].concat());
            let mut y = load(b, 1, (&spec.b, windows[1]), &[batch, &[k, cell[1]]].concat());
            if let Some(at) = slope_at {
                y = pam::mul_slope(b, at, y);
            }
            let term = pam::mul(b, x, y);
            vec![float::add(b, part[0], term)]
        });
        vec![float::add(b, total[0], part[0])]
    });
    total[0]
}
