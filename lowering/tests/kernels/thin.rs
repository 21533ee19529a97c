//! Products with few rows or columns, whose matrix is read where it lies.

use super::{
    Data, Kernel, Noise, assert_same, check, data, expected, host, rows, spec, transposed,
};
use pamc_lowering::kernels::{Arith, KernelTarget, MatmulSpec, Operand, scratch_len};

/// Machines: AVX-512, AVX2, NEON, and one with few narrow registers.
const TARGETS: [(usize, usize); 4] = [(16, 32), (8, 16), (4, 32), (4, 16)];

fn target((lanes, registers): (usize, usize)) -> KernelTarget {
    KernelTarget { lanes, registers, parallel: false }
}

/// The matrix as it is in memory or its transpose, on either side.
fn layouts(m: usize, k: usize, n: usize) -> [MatmulSpec; 4] {
    let plain = spec(&[], m, k, n);
    let linear = MatmulSpec { b: transposed(&[], k, n), ..plain.clone() };
    let columns = spec(&[], n, k, m);
    let turned = MatmulSpec { a: transposed(&[], n, k), ..columns.clone() };
    [plain, linear, columns, turned]
}

/// Nothing is packed where it does not pay, so there is no memory for it.
fn assert_thin(spec: &MatmulSpec, target: &KernelTarget) {
    assert_eq!(scratch_len(spec, target), Ok(0), "{spec:?}");
}

#[test]
fn depths_around_chunks_and_widths_around_vectors() {
    for (i, &at) in TARGETS.iter().enumerate() {
        let depths = [0, 1, 255, 256, 257, 530].into_iter().zip([600, 520, 47, 33, 64, 81]);
        for (m, (k, n)) in [1, 2, 3, 5, 7, 8].into_iter().zip(depths) {
            let all = layouts(m, k, n);
            all.iter().for_each(|spec| assert_thin(spec, &target(at)));
            let spec = &all[(i + m) % all.len()];
            check(spec, &target(at), &data(spec, i as u64), &format!("{m}x{k}x{n} of {}", at.0));
        }
    }
}

#[test]
fn one_row_of_every_depth() {
    for (i, k) in [1, 255, 256, 257].into_iter().enumerate() {
        let spec = &layouts(1, k, 531)[i];
        check(spec, &host(false), &data(spec, 3), &format!("1x{k}x531"));
    }
}

/// Batches, strides, shared operands, threads, and results that lie apart.
#[test]
fn batches_and_strides() {
    let heads = {
        let mut s = spec(&[3, 4], 1, 24, 90);
        let strides = vec![90 * 96, 24, 1, 96];
        s.b = Operand { len: 3 * 90 * 96, strides, ..Operand::default() };
        s
    };
    let shared = {
        let mut s = spec(&[5], 3, 70, 60);
        s.b = Operand { strides: vec![0, 60, 1], ..rows(&[], 70, 60) };
        s.a = Operand { strides: vec![1, 350, 5], ..rows(&[5], 3, 70) };
        s
    };
    let apart = {
        let mut s = spec(&[], 4, 300, 150);
        s.a = Operand { len: 2 * 1200 + 7, offset: 7, strides: vec![2, 8], ..Operand::default() };
        s.b = Operand { len: 300 * 160, offset: 9, strides: vec![160, 1], ..Operand::default() };
        s.out = Operand { len: 4 * 301, offset: 1, strides: vec![301, 2], ..Operand::default() };
        s
    };
    let columns = spec(&[7], 130, 33, 3);
    let wide = spec(&[], 2, 600, 1000);
    let linear = MatmulSpec { b: transposed(&[], 600, 1000), ..wide.clone() };
    let cases = [heads, shared, apart, columns, wide, linear];
    for (i, spec) in cases.iter().enumerate() {
        assert_thin(spec, &host(true));
        check(spec, &host(true), &data(spec, 8), &format!("case {i}"));
        let float = MatmulSpec { arith: Arith::Float, ..spec.clone() };
        check(&float, &host(true), &data(spec, 9), &format!("case {i}, float"));
    }
}

const SPECIAL: [u32; 16] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x807F_FFFF,
    0x0080_0000,
    0x8080_0000,
    0x3F80_0000,
    0x7F7F_FFFF,
    0xFF7F_FFFF,
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0xFFFF_FFFF,
    0x1F80_0000,
    0x6000_0000,
    0x0100_0000,
];

/// One value at a time in the vectors, in the matrix and in both; then everywhere.
#[test]
fn special_values() {
    for at in TARGETS {
        for spec in layouts(3, 300, 45) {
            let mut kernel = Kernel::new(&spec, &target(at));
            let mut verify = |data: &Data, what: &str| {
                let mut out = vec![f32::NAN; spec.out.len];
                kernel.run(data, &mut out);
                assert_same(&out, &expected(&spec, data), what);
            };
            let mut noise = Noise(91);
            for value in SPECIAL {
                for sides in 1..4 {
                    let mut data = data(&spec, u64::from(value));
                    for (bit, side) in [(1, &mut data.a), (2, &mut data.b)] {
                        let place = noise.bits() as usize % side.len();
                        if sides & bit != 0 {
                            side[place] = f32::from_bits(value);
                        }
                    }
                    verify(&data, &format!("{value:08x} in {sides}"));
                }
            }
            for every in [1, 2, 40] {
                let mut data = data(&spec, 4);
                for x in data.a.iter_mut().chain(&mut data.b).step_by(every) {
                    *x = f32::from_bits(SPECIAL[(noise.bits() % 16) as usize]);
                }
                verify(&data, &format!("special values, every {every}"));
            }
        }
    }
}

/// All products next to a bound of what the versions may assume, on either side of it, with and without
/// zeros among the vectors.
#[test]
fn values_at_the_bounds() {
    for spec in layouts(2, 270, 40) {
        let mut kernel = Kernel::new(&spec, &host(false));
        let vectors_first = spec.m == 2;
        for exponent in [1, 2, 10, 11, 12, 13, 14, 33, 34, 35, 36, 37, 239, 240, 241, 242, 254] {
            for zeros in [false, true] {
                let mut data = data(&spec, exponent);
                let other: u32 = if exponent > 200 { 140 } else { 116 };
                let set = |x: &mut f32, e: u32| {
                    *x = f32::from_bits(x.to_bits() & 0x807F_FFFF | e << 23);
                };
                let [x, w] = match vectors_first {
                    true => [&mut data.a, &mut data.b],
                    false => [&mut data.b, &mut data.a],
                };
                w.iter_mut().enumerate().for_each(|(i, w)| {
                    set(w, (exponent as u32 + i as u32 % 2).min(254));
                });
                x.iter_mut().for_each(|x| set(x, other));
                if zeros {
                    x.iter_mut().step_by(3).for_each(|x| *x = -0.0);
                }
                let mut out = vec![f32::NAN; spec.out.len];
                kernel.run(&data, &mut out);
                let what = format!("exponents {exponent} and {other}, zeros: {zeros}");
                assert_same(&out, &expected(&spec, &data), &what);
            }
        }
    }
}
