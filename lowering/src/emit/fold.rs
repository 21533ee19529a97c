//! Folds as GPU kernels: a thread for each element of the image.

use super::builder::Builder;
use super::float;
use super::kernel::{self, Shape, kernel};
use super::nest::INDEX;
use super::pam;
use super::types::{Elem, Value, VecTy};
use crate::schedule::fold::Fold;

const F32: VecTy = VecTy::scalar(Elem::F32);

/// Writes the GPU kernel `@name(windows, image)` of a fold.
pub(crate) fn threads(b: &mut Builder, name: &str, fold: &Fold) -> Shape {
    let items = fold.image.iter().product();
    let shape = Shape::new(items, 1);
    let types = kernel::types(b.code(), &fold.params);
    kernel(b, name, &types, &shape, |b, ids| {
        ids.each(b, items, |b, flat| {
            let at = kernel::split(b, flat, &fold.image);
            let total = sum(b, fold, &at);
            b.line(format_args!("memref.store {total}, %p1[{flat}] : {}", types[1]));
        });
    });
    shape
}

fn moved(b: &mut Builder, from: Value, at: Value, stride: i64) -> Value {
    let stride = b.int(INDEX, stride);
    let step = b.binary("arith.muli", at, stride);
    b.binary("arith.addi", from, step)
}

/// The sum at a position, over the kernel index in order.
fn sum(b: &mut Builder, fold: &Fold, at: &[Value]) -> Value {
    let (offset, strides) = &fold.source;
    let mut base = b.int(INDEX, *offset);
    for d in 0..2 {
        base = moved(b, base, at[d], strides[d]);
    }
    let start = float::zero(b);
    let taps: usize = fold.kernel.iter().product();
    let [first, end, step] = [0, taps, 1].map(|v| b.int(INDEX, v as i64));
    let (tap, before, total) = (b.fresh(INDEX), b.fresh(F32), b.fresh(F32));
    let header = format!(
        "{total} = scf.for {tap} = {first} to {end} step {step} iter_args({before} = {start}) -> ({F32})"
    );
    b.region(header, |b| {
        let taps = kernel::split(b, tap, &fold.kernel);
        let (place, inside) = window(b, fold, (&at[2..], &taps), base);
        let buffer = b.code().buffer(fold.params[0].dtype, fold.params[0].len);
        let value = b.define(F32, format_args!("memref.load %p0[{place}] : {buffer}"));
        let value = if fold.flush { pam::flush(b, value) } else { value };
        let after = float::add(b, before, value);
        let next = b.select(inside, after, before);
        b.line(format_args!("scf.yield {next} : {F32}"));
    });
    total
}

/// Where the window lies that has a position at a kernel index, and whether there is one; if not, a
/// place that can be read.
fn window(
    b: &mut Builder,
    fold: &Fold,
    (at, taps): (&[Value], &[Value]),
    base: Value,
) -> (Value, Value) {
    let (rank, strides) = (fold.kernel.len(), &fold.source.1);
    let (mut place, mut all) = (base, None);
    for d in 0..rank {
        let zero = b.int(INDEX, 0);
        // A position before the window is a large number.
        let [back, step, count] =
            [fold.dilations[d], fold.strides[d], fold.windows[d]].map(|v| b.int(INDEX, v as i64));
        let far = b.binary("arith.muli", taps[d], back);
        let reached = b.compare("uge", at[d], far);
        let from = b.binary("arith.subi", at[d], far);
        let number = b.binary("arith.divui", from, step);
        let rest = b.binary("arith.remui", from, step);
        let exact = b.compare("eq", rest, zero);
        let below = b.compare("ult", number, count);
        let inside = b.binary("arith.andi", reached, exact);
        let inside = b.binary("arith.andi", inside, below);
        let number = b.select(inside, number, zero);
        place = moved(b, place, taps[d], strides[2 + d]);
        place = moved(b, place, number, strides[2 + rank + d]);
        all = Some(all.map_or(inside, |all| b.binary("arith.andi", all, inside)));
    }
    let all = all.unwrap_or_else(|| b.int(VecTy::scalar(Elem::I1), 1));
    (place, all)
}
