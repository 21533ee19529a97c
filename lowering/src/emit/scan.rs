//! Scans as MLIR: one scalar loop along the axis, the other dimensions around it.

use pamc_passes::ir::Attrs;
use pamc_passes::ops::Prim;

use super::builder::Builder;
use super::kernel::{self, Shape, kernel};
use super::nest::{INDEX, memref};
use super::types::{Elem, Value, VecTy};
use super::{float, scalar};
use crate::codegen::Access;
use crate::schedule::scan::{Scan, ScanKind};

const I64: VecTy = VecTy::scalar(Elem::I64);

/// Writes the function `@name(source, target)` of a scan.
pub fn emit(b: &mut Builder, name: &str, scan: &Scan) {
    let [source, target] = scan.params.map(|p| memref(p.dtype, p.len));
    let (keyword, attributes) = (Access::Shared.keyword(), Access::Shared.attributes());
    let header = format!("{keyword} @{name}(%p0: {source}, %p1: {target}){attributes}");
    b.region(header, |b| {
        let first = [scan.source.0, scan.target.0].map(|o| b.int(INDEX, o));
        outer(b, scan, 0, first);
        b.line("func.return");
    });
}

/// `base + at · stride`.
fn moved(b: &mut Builder, base: Value, at: Value, stride: i64) -> Value {
    let stride = b.int(INDEX, stride);
    let step = b.binary("arith.muli", at, stride);
    b.binary("arith.addi", base, step)
}

fn outer(b: &mut Builder, scan: &Scan, d: usize, base: [Value; 2]) {
    let Some(&extent) = scan.outer.get(d) else {
        return line(b, scan, base);
    };
    let [zero, end, one] = [0, extent, 1].map(|v| b.int(INDEX, v as i64));
    let iv = b.fresh(INDEX);
    b.region(format!("scf.for {iv} = {zero} to {end} step {one}"), |b| {
        let strides = [scan.source.1[d], scan.target.1[d]];
        let base = [0, 1].map(|i| moved(b, base[i], iv, strides[i]));
        outer(b, scan, d + 1, base);
    });
}

/// The scan along one line, whose first elements are given.
fn line(b: &mut Builder, scan: &Scan, base: [Value; 2]) {
    match scan.kind {
        ScanKind::Sum { exclusive, reverse } => running(b, scan, base, exclusive, reverse),
        ScanKind::Position { least, last } => position(b, scan, base, least, last),
    }
}

/// Writes the GPU kernel `@name(source, target)` of a scan, a thread for each line.
pub(crate) fn threads(b: &mut Builder, name: &str, scan: &Scan) -> Shape {
    let lines = scan.outer.iter().product();
    let shape = Shape::new(lines, 1);
    let types = kernel::types(b.code(), &scan.params);
    kernel(b, name, &types, &shape, |b, ids| {
        ids.each(b, lines, |b, flat| {
            let at = kernel::split(b, flat, &scan.outer);
            let mut base = [scan.source.0, scan.target.0].map(|o| b.int(INDEX, o));
            for (d, at) in at.into_iter().enumerate() {
                let strides = [scan.source.1[d], scan.target.1[d]];
                base = [0, 1].map(|i| moved(b, base[i], at, strides[i]));
            }
            line(b, scan, base);
        });
    });
    shape
}

fn load(b: &mut Builder, scan: &Scan, at: Value) -> Value {
    let p = scan.params[0];
    let ty = VecTy::scalar(p.dtype.into());
    let buffer = b.code().buffer(p.dtype, p.len);
    b.define(ty, format_args!("memref.load %p0[{at}] : {buffer}"))
}

fn store(b: &mut Builder, scan: &Scan, value: Value, at: Value) {
    let p = scan.params[1];
    let buffer = b.code().buffer(p.dtype, p.len);
    b.line(format_args!("memref.store {value}, %p1[{at}] : {buffer}"));
}

fn zero(b: &mut Builder, ty: VecTy) -> Value {
    if ty.elem == Elem::F32 { float::zero(b) } else { b.int(ty, 0) }
}

fn running(b: &mut Builder, scan: &Scan, base: [Value; 2], exclusive: bool, reverse: bool) {
    let ty = VecTy::scalar(scan.params[0].dtype.into());
    let start = zero(b, ty);
    let [lo, end, one] = [0, scan.extent, 1].map(|v| b.int(INDEX, v as i64));
    let (iv, sum, result) = (b.fresh(INDEX), b.fresh(ty), b.fresh(ty));
    let header = format!(
        "{result} = scf.for {iv} = {lo} to {end} step {one} iter_args({sum} = {start}) -> ({ty})"
    );
    b.region(header, |b| {
        let last = b.int(INDEX, scan.extent as i64 - 1);
        let at = if reverse { b.binary("arith.subi", last, iv) } else { iv };
        let from = moved(b, base[0], at, scan.source.2);
        let to = moved(b, base[1], at, scan.target.2);
        let value = load(b, scan, from);
        let next = scalar::emit(b, Prim::Add, &Attrs::none(), &[sum, value], ty.elem);
        let next = next.unwrap_or(sum);
        store(b, scan, if exclusive { sum } else { next }, to);
        b.line(format_args!("scf.yield {next} : {ty}"));
    });
}

fn position(b: &mut Builder, scan: &Scan, base: [Value; 2], least: bool, last: bool) {
    let ty = VecTy::scalar(scan.params[0].dtype.into());
    let first = load(b, scan, base[0]);
    let none = b.int(I64, 0);
    let [lo, end, one] = [1, scan.extent, 1].map(|v| b.int(INDEX, v as i64));
    let iv = b.fresh(INDEX);
    let (best, place) = (b.fresh(ty), b.fresh(I64));
    let (best_out, place_out) = (b.fresh(ty), b.fresh(I64));
    let header = format!(
        "{best_out}, {place_out} = scf.for {iv} = {lo} to {end} step {one} \
         iter_args({best} = {first}, {place} = {none}) -> ({ty}, i64)"
    );
    b.region(header, |b| {
        let from = moved(b, base[0], iv, scan.source.2);
        let value = load(b, scan, from);
        let beats = beats(b, best, value, least, last);
        let here = b.convert("arith.index_cast", iv, Elem::I64);
        let best = b.select(beats, value, best);
        let place = b.select(beats, here, place);
        b.line(format_args!("scf.yield {best}, {place} : {ty}, i64"));
    });
    store(b, scan, place_out, base[1]);
}

/// True if `value` takes the place of `best`.
fn beats(b: &mut Builder, best: Value, value: Value, least: bool, last: bool) -> Value {
    if best.ty.elem != Elem::F32 {
        let predicate = match (least, last) {
            (true, false) => "slt",
            (true, true) => "sle",
            (false, false) => "sgt",
            (false, true) => "sge",
        };
        return b.compare(predicate, value, best);
    }
    let predicate = match (least, last) {
        (true, false) => "olt",
        (true, true) => "ole",
        (false, false) => "ogt",
        (false, true) => "oge",
    };
    let better = b.compare(predicate, value, best);
    let nan = b.compare("uno", value, value);
    let wins = if last {
        nan
    } else {
        // A first NaN stays.
        let number = b.compare("ord", best, best);
        b.binary("arith.andi", nan, number)
    };
    b.binary("arith.ori", better, wins)
}
