//! Contractions as GPU kernels.

use super::builder::Builder;
use super::kernel::{self, Shape, kernel};
use super::nest::INDEX;
use super::types::{Elem, Value, VecTy};
use super::{float, pam};
use crate::kernels::{CHUNK, Kind, MatmulSpec, Operand};
use crate::schedule::nest::Param;

const F32: VecTy = VecTy::scalar(Elem::F32);

/// Parameters of a contraction: a, b, [at,] out.
fn operands(spec: &MatmulSpec) -> Vec<&Operand> {
    let at = match &spec.kind {
        Kind::Product => None,
        Kind::Slope { at } => Some(at),
    };
    [&spec.a, &spec.b].into_iter().chain(at).chain([&spec.out]).collect()
}

/// Writes the GPU kernel `@name(a, b, [at,] out)` of a contraction.
pub(crate) fn threads(b: &mut Builder, name: &str, spec: &MatmulSpec) -> Shape {
    each_element(b, name, spec)
}

/// A thread for each element of the output.
fn each_element(b: &mut Builder, name: &str, spec: &MatmulSpec) -> Shape {
    let operands = operands(spec);
    let params: Vec<Param> =
        operands.iter().map(|o| Param { dtype: pamc_passes::ir::DType::F32, len: o.len }).collect();
    let dims = [&spec.batch[..], &[spec.m, spec.n]].concat();
    let items = dims.iter().product();
    let shape = Shape::new(items, 1);
    kernel(b, name, &params, &shape, |b, ids| {
        ids.each(b, items, |b, flat| {
            let at = kernel::split(b, flat, &dims);
            let total = sum(b, spec, &at);
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

fn load(b: &mut Builder, param: usize, operand: &Operand, at: &[Value]) -> Value {
    let place = address(b, operand, at);
    let buffer = b.code().buffer(pamc_passes::ir::DType::F32, operand.len);
    b.define(F32, format_args!("memref.load %p{param}[{place}] : {buffer}"))
}

/// The element at the given batch indices, row and column: chunk sums from +0, added in order.
fn sum(b: &mut Builder, spec: &MatmulSpec, at: &[Value]) -> Value {
    let (batch, cell) = at.split_at(spec.batch.len());
    let slope_at = match &spec.kind {
        Kind::Product => None,
        Kind::Slope { at: operand } => Some(load(b, 2, operand, at)),
    };
    let zero = float::zero(b);
    let [first, end, chunk, one] = [0, spec.k, CHUNK, 1].map(|v| b.int(INDEX, v as i64));
    carried(b, first, end, chunk, zero, |b, start, total| {
        let stop = b.binary("arith.addi", start, chunk);
        let stop = b.binary("arith.minsi", stop, end);
        let part = carried(b, start, stop, one, zero, |b, k, part| {
            let x = load(b, 0, &spec.a, &[batch, &[cell[0], k]].concat());
            let mut y = load(b, 1, &spec.b, &[batch, &[k, cell[1]]].concat());
            if let Some(at) = slope_at {
                y = pam::mul_slope(b, at, y);
            }
            let term = pam::mul(b, x, y);
            float::add(b, part, term)
        });
        float::add(b, total, part)
    })
}

/// A loop that carries one float.
fn carried(
    b: &mut Builder,
    first: Value,
    end: Value,
    step: Value,
    start: Value,
    body: impl FnOnce(&mut Builder, Value, Value) -> Value,
) -> Value {
    let (iv, carried, result) = (b.fresh(INDEX), b.fresh(F32), b.fresh(F32));
    let header = format!(
        "{result} = scf.for {iv} = {first} to {end} step {step} iter_args({carried} = {start}) -> (f32)"
    );
    b.region(header, |b| {
        let next = body(b, iv, carried);
        b.line(format_args!("scf.yield {next} : f32"));
    });
    result
}
