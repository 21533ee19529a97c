//! Contraction kernels against a straightforward scalar evaluation, bit for bit.

mod shapes;
mod text;
mod thin;
mod values;
mod windows;

use pamc_lowering::codegen::{Jit, Options, Target, compile, set_threads};
use pamc_lowering::kernels::{
    Arith, CHUNK, KernelTarget, Kind, MatmulSpec, Operand, Output, emit_matmul, scratch_len,
};
use pamc_passes::reference::{add, contract, flush, mul, mul_slope};
use std::ffi::c_void;
use std::mem::transmute;

struct Data {
    a: Vec<f32>,
    b: Vec<f32>,
    at: Vec<f32>,
}

/// The specified result, in the layout of the output buffer (untouched elements stay NaN).
fn expected(spec: &MatmulSpec, data: &Data) -> Vec<f32> {
    let mut out = before(spec);
    let rank = spec.batch.len();
    for element in 0..spec.batch.iter().product::<usize>() {
        let cell = |o: &Operand, i: usize, j: usize| {
            let mut rest = element;
            let mut at = o.offset + place(o, rank, 0, i) + place(o, rank, 1, j);
            for d in (0..rank).rev() {
                at += (rest % spec.batch[d]) as i64 * o.strides[d];
                rest /= spec.batch[d];
            }
            at as usize
        };
        let by_columns = matches!(spec.output, Output::AddByColumns(_));
        let (slow, fast) = if by_columns { (spec.n, spec.m) } else { (spec.m, spec.n) };
        for (x, y) in (0..slow).flat_map(|x| (0..fast).map(move |y| (x, y))) {
            let (i, j) = if by_columns { (y, x) } else { (x, y) };
            let terms =
                (0..spec.k).map(|l| (data.a[cell(&spec.a, i, l)], data.b[cell(&spec.b, l, j)]));
            let total = match (spec.arith, &spec.kind) {
                (Arith::Float, _) => fused(terms),
                (_, Kind::Product) => contract(terms.map(|(x, y)| mul(x, y))),
                (_, Kind::Slope { at }) => {
                    let at = data.at[cell(at, i, j)];
                    contract(terms.map(|(g, of)| mul(g, mul_slope(at, of))))
                }
            };
            let place = &mut out[cell(&spec.out, i, j)];
            *place = match spec.output {
                Output::Store => total,
                _ => add(*place, total),
            };
        }
    }
    out
}

/// What the output holds beforehand.
fn before(spec: &MatmulSpec) -> Vec<f32> {
    let value = |i| if spec.output == Output::Store { f32::NAN } else { i as f32 / 8.0 - 5.0 };
    (0..spec.out.len).map(value).collect()
}

/// Elements from an axis's start to an index.
fn place(operand: &Operand, rank: usize, axis: usize, index: usize) -> i64 {
    if operand.split[axis].is_empty() {
        return index as i64 * operand.strides[rank + axis];
    }
    let mut rest = index;
    operand.split[axis].iter().rev().fold(0, |at, dim| {
        let here = (rest % dim.extent) as i64;
        rest /= dim.extent;
        at + here * dim.stride
    })
}

/// Fused multiply-adds in contraction order.
fn fused(terms: impl Iterator<Item = (f32, f32)>) -> f32 {
    let terms: Vec<_> = terms.collect();
    let part = |chunk: &[(f32, f32)]| {
        chunk.iter().fold(0.0f32, |sum, (x, y)| flush(flush(*x).mul_add(flush(*y), sum)))
    };
    terms.chunks(CHUNK).map(part).fold(0.0, add)
}

/// Compiled contraction.
struct Kernel {
    _jit: Jit,
    address: *const c_void,
    scratch: Vec<f32>,
    slope: bool,
}

impl Kernel {
    fn new(spec: &MatmulSpec, target: &KernelTarget) -> Self {
        let text = emit_matmul("contract", spec, target).unwrap();
        let object = compile(&text, &Target::host(), &Options::default()).unwrap();
        let jit = Jit::load(&[object]).unwrap();
        let address = jit.symbol("contract").unwrap();
        let scratch = vec![f32::NAN; scratch_len(spec, target).unwrap()];
        Self { _jit: jit, address, scratch, slope: matches!(spec.kind, Kind::Slope { .. }) }
    }

    fn run(&mut self, data: &Data, out: &mut [f32]) {
        let (a, b, at) = (data.a.as_ptr(), data.b.as_ptr(), data.at.as_ptr());
        let (out, scratch) = (out.as_mut_ptr(), self.scratch.as_mut_ptr());
        type P = *const f32;
        type M = *mut f32;
        // SAFETY: these are the functions' signatures with bare pointers; buffers have the spec's
        // lengths.
        unsafe {
            if self.slope {
                transmute::<*const c_void, extern "C" fn(P, P, P, M, M)>(self.address)(
                    a, b, at, out, scratch,
                );
            } else {
                transmute::<*const c_void, extern "C" fn(P, P, M, M)>(self.address)(
                    a, b, out, scratch,
                );
            }
        }
    }
}

fn assert_same(actual: &[f32], expected: &[f32], what: &str) {
    for (i, (x, y)) in actual.iter().zip(expected).enumerate() {
        let same = x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
        assert!(
            same,
            "{what}: element {i} is {x:e} ({:08x}), not {y:e} ({:08x})",
            x.to_bits(),
            y.to_bits()
        );
    }
}

fn check(spec: &MatmulSpec, target: &KernelTarget, data: &Data, what: &str) {
    let mut kernel = Kernel::new(spec, target);
    let expected = expected(spec, data);
    for threads in if target.parallel { vec![1, 2] } else { vec![1] } {
        set_threads(threads);
        let mut out = before(spec);
        kernel.run(data, &mut out);
        assert_same(&out, &expected, &format!("{what}, {threads} threads"));
    }
}

/// Deterministic noise: xorshift.
struct Noise(u64);

impl Noise {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Ordinary values of both signs around 1.
    fn ordinary(&mut self) -> f32 {
        let bits = self.bits();
        let exponent = 120 + (bits >> 32) % 12;
        f32::from_bits((bits as u32 & 0x807F_FFFF) | (exponent as u32) << 23)
    }

    fn fill(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.ordinary()).collect()
    }
}

fn rows(batch: &[usize], rows: usize, columns: usize) -> Operand {
    let mut strides = vec![columns as i64, 1];
    let mut step = rows * columns;
    for &size in batch.iter().rev() {
        strides.insert(0, step as i64);
        step *= size;
    }
    Operand { len: step, strides, ..Operand::default() }
}

/// The same buffer shape, stored column by column.
fn transposed(batch: &[usize], r: usize, c: usize) -> Operand {
    let mut operand = rows(batch, c, r);
    let rank = batch.len();
    operand.strides.swap(rank, rank + 1);
    operand
}

fn spec(batch: &[usize], m: usize, k: usize, n: usize) -> MatmulSpec {
    MatmulSpec {
        batch: batch.to_vec(),
        m,
        k,
        n,
        a: rows(batch, m, k),
        b: rows(batch, k, n),
        out: rows(batch, m, n),
        output: Output::Store,
        arith: Arith::Pam,
        kind: Kind::Product,
    }
}

fn slope_spec(batch: &[usize], m: usize, k: usize, n: usize) -> MatmulSpec {
    MatmulSpec { kind: Kind::Slope { at: rows(batch, m, n) }, ..spec(batch, m, k, n) }
}

fn data(spec: &MatmulSpec, seed: u64) -> Data {
    let mut noise = Noise(0x9E37_79B9_7F4A_7C15 ^ seed);
    let at = match &spec.kind {
        Kind::Product => 0,
        Kind::Slope { at } => at.len,
    };
    Data { a: noise.fill(spec.a.len), b: noise.fill(spec.b.len), at: noise.fill(at) }
}

fn host(parallel: bool) -> KernelTarget {
    KernelTarget::new(&Target::host(), parallel)
}

/// The same contraction with every operand stored the other way round.
fn transpose_all(spec: &MatmulSpec) -> MatmulSpec {
    let (m, k, n) = (spec.m, spec.k, spec.n);
    let kind = match &spec.kind {
        Kind::Product => Kind::Product,
        Kind::Slope { .. } => Kind::Slope { at: transposed(&spec.batch, m, n) },
    };
    MatmulSpec {
        a: transposed(&spec.batch, m, k),
        b: transposed(&spec.batch, k, n),
        out: transposed(&spec.batch, m, n),
        kind,
        ..spec.clone()
    }
}
