//! Contraction kernels against a straightforward scalar evaluation, bit for bit.

use pamc_lowering::codegen::{Jit, Options, Target, compile, set_threads};
use pamc_lowering::kernels::{
    Arith, CHUNK, KernelError, KernelTarget, Kernels, Kind, MatmulSpec, Operand, emit_matmul,
    scratch_len,
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
        // SAFETY: these are the functions' signatures with bare pointers; buffers have the spec's lengths.
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

const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (1, 700, 40),
    (40, 300, 1),
    (3, 5, 7),
    (8, 16, 32),
    (9, 17, 33),
    (5, 257, 16),
    (2, 64, 200),
    (4, 512, 9),
    (67, 300, 45),
    (64, 256, 64),
    (130, 31, 300),
];

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

#[test]
fn products_of_many_shapes() {
    for (m, k, n) in SHAPES {
        let spec = spec(&[], m, k, n);
        check(&spec, &host(false), &data(&spec, 1), &format!("{m}x{k}x{n}"));
        let spec = transpose_all(&spec);
        check(&spec, &host(false), &data(&spec, 2), &format!("{m}x{k}x{n} transposed"));
    }
}

#[test]
fn slopes_of_many_shapes() {
    for (m, k, n) in SHAPES {
        let spec = slope_spec(&[], m, k, n);
        check(&spec, &host(false), &data(&spec, 3), &format!("slope {m}x{k}x{n}"));
        let spec = transpose_all(&spec);
        check(&spec, &host(false), &data(&spec, 4), &format!("slope {m}x{k}x{n} transposed"));
    }
}

#[test]
fn float_baseline_is_fused_multiply_add_in_the_same_order() {
    for (m, k, n) in [(3, 5, 7), (9, 300, 45)] {
        let spec = MatmulSpec { arith: Arith::Float, ..spec(&[], m, k, n) };
        check(&spec, &host(false), &data(&spec, 5), &format!("float {m}x{k}x{n}"));
    }
}

#[test]
fn every_vector_width_gives_the_same_bits() {
    for (lanes, registers) in [(4, 16), (4, 32), (8, 16)] {
        let target = KernelTarget { lanes, registers, parallel: false };
        for spec in [spec(&[], 21, 300, 37), slope_spec(&[], 21, 300, 37)] {
            let mut data = data(&spec, 6);
            check(&spec, &target, &data, &format!("{lanes} lanes"));
            data.a.iter_mut().step_by(3).for_each(|x| *x = 0.0);
            check(&spec, &target, &data, &format!("{lanes} lanes with zeros"));
        }
    }
}

#[test]
fn empty_sums_are_positive_zero() {
    let spec = spec(&[2], 3, 0, 5);
    check(&spec, &host(false), &data(&spec, 7), "k = 0");
    let spec = spec_with_empty_output();
    check(&spec, &host(true), &data(&spec, 7), "m = 0");
}

fn spec_with_empty_output() -> MatmulSpec {
    spec(&[2], 0, 600, 5)
}

#[test]
fn batches_broadcast_and_use_threads() {
    let shared_right = {
        let mut s = spec(&[2, 3], 40, 70, 60);
        s.b = Operand { strides: vec![0, 0, 60, 1], ..rows(&[], 70, 60) };
        s
    };
    let shared_left = {
        let mut s = spec(&[5], 40, 70, 60);
        s.a = Operand { strides: vec![0, 70, 1], ..rows(&[], 40, 70) };
        s
    };
    let outer_broadcast = {
        let mut s = spec(&[2, 3], 40, 70, 60);
        s.b.strides[0] = 0;
        s
    };
    // Heads inside rows, as attention stores them: [batch, time, head, feature].
    let heads = {
        let mut s = spec(&[2, 4], 48, 24, 48);
        let strides = vec![48 * 96, 24, 96, 1];
        s.a = Operand { len: 2 * 48 * 96, offset: 0, strides };
        s.b = Operand { strides: vec![48 * 96, 24, 1, 96], ..s.a.clone() };
        s
    };
    let offset = {
        let mut s = spec(&[], 30, 40, 50);
        s.a = Operand { len: 30 * 44 + 9, offset: 7, strides: vec![44, 1] };
        s.out = Operand { len: 30 * 101, offset: 1, strides: vec![101, 2] };
        s
    };
    let large = spec(&[], 150, 260, 130);
    let many = spec(&[37], 24, 33, 24);
    let cases = [
        ("shared right", shared_right),
        ("shared left", shared_left),
        ("outer broadcast", outer_broadcast),
        ("heads", heads),
        ("offset", offset),
        ("large", large),
        ("many", many),
    ];
    for (name, spec) in cases {
        check(&spec, &host(true), &data(&spec, 8), name);
    }
    let slopes = slope_spec(&[3], 61, 90, 70);
    check(&slopes, &host(true), &data(&slopes, 9), "batched slopes");
    let slopes = transpose_all(&slopes);
    check(&slopes, &host(true), &data(&slopes, 9), "batched transposed slopes");
}

const SPECIAL: [u32; 24] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x807F_FFFF,
    0x0080_0000,
    0x8080_0000,
    0x0080_0001,
    0x3F80_0000,
    0xBF80_0000,
    0x3FC0_0000,
    0x7F7F_FFFF,
    0xFF7F_FFFF,
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0x1F80_0000,
    0x5F80_0000,
    0x2000_0000,
    0x6000_0000,
    0x3F7F_FFFF,
    0x3F80_0001,
    0x7F00_0000,
    0xFFFF_FFFF,
    0x0100_0000,
];

/// Changes a few elements at a time, so that every version of the inner kernel gets its turn.
#[test]
fn special_values_anywhere() {
    for base in [spec(&[], 19, 300, 45), slope_spec(&[], 19, 300, 45)] {
        for spec in [base.clone(), transpose_all(&base)] {
            let mut kernel = Kernel::new(&spec, &host(false));
            let mut noise = Noise(77);
            let mut verify = |data: &Data, what: &str| {
                let mut out = vec![f32::NAN; spec.out.len];
                kernel.run(data, &mut out);
                assert_same(&out, &expected(&spec, data), what);
            };
            for value in SPECIAL {
                let mut left = data(&spec, u64::from(value));
                let mut right = data(&spec, u64::from(value));
                let mut both = data(&spec, u64::from(value));
                for _ in 0..3 {
                    let (i, j) = (noise.bits() as usize, noise.bits() as usize);
                    let (i, j) = (i % left.a.len(), j % left.b.len());
                    left.a[i] = f32::from_bits(value);
                    right.b[j] = f32::from_bits(value);
                    both.a[i] = f32::from_bits(value);
                    both.b[j] = f32::from_bits(SPECIAL[(noise.bits() % 24) as usize]);
                    if let Some(at) = both.at.get_mut(i % 800) {
                        *at = f32::from_bits(SPECIAL[(noise.bits() % 24) as usize]);
                    }
                }
                for (side, data) in [("left", left), ("right", right), ("both", both)] {
                    verify(&data, &format!("{value:08x} on the {side}"));
                }
            }
            let mut dense = data(&spec, 5);
            for x in dense.a.iter_mut().chain(&mut dense.b).chain(&mut dense.at) {
                *x = f32::from_bits(SPECIAL[(noise.bits() % 12) as usize]);
            }
            verify(&dense, "finite special values everywhere");
        }
    }
}

/// Scales put all products next to a bound of the range proofs, on either side of it.
#[test]
fn values_at_the_bounds_of_the_versions() {
    for base in [spec(&[], 11, 270, 35), slope_spec(&[], 11, 270, 35)] {
        let mut kernel = Kernel::new(&base, &host(false));
        for exponent in [1, 2, 3, 11, 12, 13, 14, 23, 24, 25, 26, 100, 230, 231, 240, 241, 242, 253]
        {
            for zeros in [0, 1, 2, 3] {
                let mut data = data(&base, exponent);
                let other = if exponent > 200 { 130 } else { 116 };
                let set = |x: &mut f32, e: u64| {
                    *x = f32::from_bits(x.to_bits() & 0x807F_FFFF | (e as u32) << 23);
                };
                data.a.iter_mut().enumerate().for_each(|(i, x)| set(x, exponent + i as u64 % 2));
                data.b.iter_mut().for_each(|x| set(x, other));
                if zeros & 1 != 0 {
                    data.a.iter_mut().step_by(7).for_each(|x| *x = -0.0);
                }
                if zeros & 2 != 0 {
                    data.b.iter_mut().step_by(5).for_each(|x| *x = 0.0);
                }
                let mut out = vec![f32::NAN; base.out.len];
                kernel.run(&data, &mut out);
                let what = format!("exponents {exponent} + {other}, zeros {zeros}");
                assert_same(&out, &expected(&base, &data), &what);
            }
        }
    }
}

#[test]
fn wrong_specifications_are_refused() {
    let target = host(false);
    let good = spec(&[2], 3, 4, 5);
    let mut kernels = Kernels::new(target);
    let mut refuse = |spec: &MatmulSpec| kernels.matmul("f", spec).unwrap_err();
    let mut short = good.clone();
    short.b.len -= 1;
    let error = refuse(&short);
    assert_eq!(error, KernelError::Bounds { operand: "b", first: 0, last: 39, len: 39 });
    let mut negative = good.clone();
    negative.a.strides[2] = -1;
    assert!(matches!(refuse(&negative), KernelError::Bounds { operand: "a", first: -3, .. }));
    let mut rank = good.clone();
    rank.out.strides.pop();
    assert_eq!(refuse(&rank), KernelError::Rank { operand: "out", expected: 3, found: 2 });
    let float = MatmulSpec { arith: Arith::Float, ..slope_spec(&[], 2, 2, 2) };
    assert_eq!(refuse(&float), KernelError::FloatSlope);
    let odd = KernelTarget { lanes: 5, ..target };
    assert_eq!(scratch_len(&good, &odd), Err(KernelError::Lanes(5)));
}

#[test]
fn no_float_multiplication_is_emitted() {
    let mut kernels = Kernels::new(host(false));
    kernels.matmul("product", &spec(&[], 64, 64, 64)).unwrap();
    kernels.matmul("slope", &slope_spec(&[], 64, 64, 64)).unwrap();
    kernels.matmul("tiny", &slope_spec(&[], 2, 2, 2)).unwrap();
    let options = Options { keep_assembly: true, ..Options::default() };
    let object = compile(&kernels.finish(), &Target::host(), &options).unwrap();
    let assembly = object.assembly.unwrap();
    let operations = assembly.lines().filter_map(|l| l.split_whitespace().next());
    let float = |op: &str| {
        let op = op.strip_prefix('v').unwrap_or(op);
        ["mul", "div", "sqrt", "fma", "fms", "fnm", "fml", "rcp", "rsqrt"]
            .iter()
            .any(|p| op.starts_with(p) || op.strip_prefix('f').is_some_and(|o| o.starts_with(p)))
            && (op.ends_with("ps") || op.ends_with("ss") || op.starts_with('f'))
    };
    let found: Vec<_> = operations.filter(|op| float(op)).collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(assembly.contains("add"), "{assembly}");
}
