//! Shapes, layouts, batches, vector widths and threads.

use super::{check, data, host, rows, slope_spec, spec, transpose_all};
use pamc_lowering::kernels::{Arith, KernelTarget, MatmulSpec, Operand};

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
        s.a = Operand { len: 2 * 48 * 96, strides, ..Operand::default() };
        s.b = Operand { strides: vec![48 * 96, 24, 1, 96], ..s.a.clone() };
        s
    };
    let offset = {
        let mut s = spec(&[], 30, 40, 50);
        s.a = Operand { len: 30 * 44 + 9, offset: 7, strides: vec![44, 1], ..Operand::default() };
        s.out = Operand { len: 30 * 101, offset: 1, strides: vec![101, 2], ..Operand::default() };
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
