//! Contraction kernels against a straightforward scalar evaluation, bit for bit.

mod shapes;
mod text;
mod values;

use pamc_lowering::codegen::{Jit, Options, Target, compile, set_threads};
use pamc_lowering::kernels::{
    Arith, CHUNK, KernelTarget, Kind, MatmulSpec, Operand, emit_matmul, scratch_len,
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
    let mut out = vec![f32::NAN; spec.out.len];
    let rank = spec.batch.len();
    for element in 0..spec.batch.iter().product::<usize>() {
        let cell = |o: &Operand, i: usize, j: usize| {
            let mut rest = element;
            let mut at = o.offset + i as i64 * o.strides[rank] + j as i64 * o.strides[rank + 1];
            for d in (0..rank).rev() {
                at += (rest % spec.batch[d]) as i64 * o.strides[d];
                rest /= spec.batch[d];
            }
            at as usize
        };
        for (i, j) in (0..spec.m).flat_map(|i| (0..spec.n).map(move |j| (i, j))) {
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
            out[cell(&spec.out, i, j)] = total;
        }
    }
    out
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
        let mut out = vec![f32::NAN; spec.out.len];
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
    Operand { len: step, offset: 0, strides }
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
