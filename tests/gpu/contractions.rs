//! Contractions large enough for tiles, with operands of each sort that kernels tell apart.

use pamc_passes::arith::Arith;
use pamc_passes::interpret::{self, Values};
use pamc_passes::ir::{DType, Dims, Graph, Tensor, TensorType, parse};
use pamc_passes::pass::{expand, lower};
use pamc_passes::program::Program;
use pamc_passes::testing::Random;

/// What the operands hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Numbers around 1: the short kernel.
    Plain,
    /// Zeros of both signs and products that underflow: the general kernel.
    Zeros,
    /// Also huge numbers, infinities and NaN: the kernel for anything.
    Special,
    /// Some tiles of each sort.
    Mixed,
}

/// Elements in row-major order; integers are places among 40, from either end.
fn values(random: &mut Random, ty: &TensorType, sort: Sort) -> Tensor {
    let (shape, count) = (&ty.shape[..], ty.len());
    if ty.dtype == DType::I64 {
        let data: Vec<i64> = (0..count).map(|_| random.below(80) as i64 - 40).collect();
        return Tensor::from_vec(shape, data).expect("as many elements as the shape has");
    }
    let element = |i: usize, random: &mut Random| {
        let x = f32::from_bits(random.below(1 << 23) as u32 | 0x3F00_0000);
        let x = if random.below(2) == 0 { x } else { -x };
        let sort = match sort {
            Sort::Mixed if i * 3 / count == 0 => Sort::Plain,
            Sort::Mixed if i * 3 / count == 1 => Sort::Zeros,
            Sort::Mixed => Sort::Special,
            other => other,
        };
        match (sort, random.below(40)) {
            (Sort::Zeros | Sort::Special, 0..10) => 0.0f32.copysign(x),
            (Sort::Zeros | Sort::Special, 10..15) => x * 2f32.powi(-70),
            (Sort::Special, 15) => x * 2f32.powi(90),
            (Sort::Special, 16) if random.below(50) == 0 => f32::INFINITY.copysign(x),
            (Sort::Special, 17) if random.below(50) == 0 => f32::NAN,
            _ => x,
        }
    };
    let data: Vec<f32> = (0..count).map(|i| element(i, random)).collect();
    Tensor::from_vec(shape, data).expect("as many elements as the shape has")
}

pub(super) fn check(name: &str, text: &str, sorts: &[Sort]) {
    let graph = parse(text, &Dims::new()).expect(name);
    check_lowered(name, &lower(&graph, Arith::PAM).expect(name), sorts);
}

/// Compare a lowered graph's outputs with the interpreter's, for operands of each of some sorts.
pub(super) fn check_lowered(name: &str, graph: &Graph, sorts: &[Sort]) {
    let Some(machine) = super::device() else { return };
    let program = Program::new(expand(graph).expect(name), Arith::PAM).expect(name);
    let mut forward = super::load(machine, &program).expect(name);
    let mut random = Random::new(7);
    for sort in sorts {
        let inputs: Values = program
            .graph()
            .inputs()
            .iter()
            .map(|i| {
                let ty = program.graph().ty(i.node);
                (i.name.clone(), values(&mut random, ty, *sort))
            })
            .collect();
        let wanted = interpret::run(&program, &inputs).expect(name);
        let found = super::feed(&mut forward, &program, &inputs).expect(name);
        for (output, value) in &wanted {
            let differs = value.first_difference(&found[output]);
            assert_eq!(differs, None, "{name}: {output} with {sort:?} operands");
        }
    }
}

#[test]
fn tiles_of_plain_numbers_over_more_than_a_chunk() {
    let text = "graph @f(%a: f32[64, 272], %b: f32[272, 64]) -> f32[64, 64] {
        %y = matmul %a, %b
        return %y
    }";
    check("plain", text, &[Sort::Plain]);
}

#[test]
fn tiles_with_zeros_and_odd_edges() {
    let text = "graph @f(%a: f32[65, 37], %b: f32[37, 35]) -> f32[65, 35] {
        %y = matmul %a, %b
        return %y
    }";
    check("edges", text, &[Sort::Zeros]);
}

#[test]
fn tiles_with_zeros_and_edges_of_whole_vectors() {
    let text =
        "graph @f(%a: f32[68, 36], %b: f32[36, 36], %c: f32[44, 36]) -> f32[68, 36], f32[68, 44] {
        %y = matmul %a, %b
        %z = matmul %a, %c {tb = true}
        return %y, %z
    }";
    check("edges of vectors", text, &[Sort::Zeros]);
}

#[test]
fn tiles_of_transposed_operands_and_batches() {
    let text = "graph @f(%a: f32[3, 48, 32], %b: f32[3, 40, 48]) -> f32[3, 40, 32] {
        %ta = transpose %a {perm = [0, 2, 1]}
        %tb = transpose %b {perm = [0, 2, 1]}
        %p = matmul %ta, %tb
        %y = transpose %p {perm = [0, 2, 1]}
        return %y
    }";
    check("transposed", text, &[Sort::Zeros]);
}

#[test]
fn tiles_that_share_nothing_but_their_size() {
    let text = "graph @f(%a: f32[33, 300], %b: f32[300, 64]) -> f32[33, 64] {
        %y = matmul %a, %b
        return %y
    }";
    check("anything", text, &[Sort::Special, Sort::Mixed]);
}

/// The gradient of an operand by exact slopes, in every arrangement of the operands.
fn check_slopes(row: &str, [ta, tb]: [bool; 2], (m, k, n): (usize, usize, usize)) {
    let shape = |swap: bool, a: usize, b: usize| if swap { [b, a] } else { [a, b] };
    let (a, b) = (shape(ta, m, k), shape(tb, k, n));
    let of = if row == "pam.matmul_da" { a } else { b };
    let batched = |[p, q]: [usize; 2]| format!("f32[2, {p}, {q}]");
    let [g, a, b, of] = [[m, n], a, b, of].map(batched);
    let text = format!(
        "graph @f(%g: {g}, %a: {a}, %b: {b}) -> {of} {{
            %y = {row} %g, %a, %b {{ta = {ta}, tb = {tb}}}
            return %y
        }}"
    );
    let sorts = [Sort::Plain, Sort::Zeros, Sort::Special, Sort::Mixed];
    check(&format!("{row}, ta = {ta}, tb = {tb}"), &text, &sorts);
}

#[test]
fn tiles_of_exact_slopes_with_even_edges() {
    check_slopes("pam.matmul_da", [false, false], (64, 64, 272));
    check_slopes("pam.matmul_db", [true, true], (272, 64, 32));
}

#[test]
fn tiles_of_exact_slopes_with_odd_edges() {
    check_slopes("pam.matmul_da", [true, false], (37, 35, 70));
    check_slopes("pam.matmul_db", [false, true], (70, 41, 37));
}
