//! Contractions large enough for tiles, with operands of each sort that kernels tell apart.

use pamc_passes::arith::Arith;
use pamc_passes::interpret::{self, Values};
use pamc_passes::ir::{Dims, Tensor, parse};
use pamc_passes::pass::{expand, lower};
use pamc_passes::program::Program;
use pamc_passes::testing::Random;

/// What the operands hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// Numbers around 1: the short kernel.
    Plain,
    /// Zeros of both signs and products that underflow: the general kernel.
    Zeros,
    /// Also huge numbers, infinities and NaN: the kernel for anything.
    Special,
    /// Some tiles of each sort.
    Mixed,
}

/// Elements in row-major order.
fn values(random: &mut Random, shape: &[usize], sort: Sort) -> Tensor {
    let count: usize = shape.iter().product();
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

fn check(name: &str, text: &str, sort: Sort) {
    let Some(machine) = super::device() else { return };
    let graph = parse(text, &Dims::new()).expect(name);
    let graph = expand(&lower(&graph, Arith::PAM).expect(name)).expect(name);
    let program = Program::new(graph, Arith::PAM).expect(name);
    let mut random = Random::new(7);
    let inputs: Values = program
        .graph()
        .inputs()
        .iter()
        .map(|i| {
            let shape = program.graph().shape(i.node).to_vec();
            (i.name.clone(), values(&mut random, &shape, sort))
        })
        .collect();
    let wanted = interpret::run(&program, &inputs).expect(name);
    let found = super::run(machine, &program, &inputs).expect(name);
    for (output, value) in &wanted {
        let differs = value.first_difference(&found[output]);
        assert_eq!(differs, None, "{name}: {output} with {sort:?} operands");
    }
}

#[test]
fn tiles_of_plain_numbers_over_more_than_a_chunk() {
    let text = "graph @f(%a: f32[64, 272], %b: f32[272, 64]) -> f32[64, 64] {
        %y = matmul %a, %b
        return %y
    }";
    check("plain", text, Sort::Plain);
}

#[test]
fn tiles_with_zeros_and_odd_edges() {
    let text = "graph @f(%a: f32[65, 37], %b: f32[37, 35]) -> f32[65, 35] {
        %y = matmul %a, %b
        return %y
    }";
    check("edges", text, Sort::Zeros);
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
    check("transposed", text, Sort::Zeros);
}

#[test]
fn tiles_that_share_nothing_but_their_size() {
    let text = "graph @f(%a: f32[33, 300], %b: f32[300, 64]) -> f32[33, 64] {
        %y = matmul %a, %b
        return %y
    }";
    check("special", text, Sort::Special);
    check("mixed", text, Sort::Mixed);
}
