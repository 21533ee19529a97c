//! Contractions that take in what surrounds them: elementwise kernels behind them, windows before and
//! behind them.

use pamc_lowering::codegen::{Target, set_threads};
use pamc_lowering::emit::{EmitOptions, Stats, module_for_run};
use pamc_lowering::exec::Executable;
use pamc_passes::arith::Arith;
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{Dims, Tensor, parse};
use pamc_passes::program::Program;
use pamc_passes::testing::Random;

/// Compares a graph with the interpreter, bit for bit, and tells what was emitted.
fn check(text: &str) -> Stats {
    let program = Program::new(parse(text, &Dims::default()).unwrap(), Arith::PAM).unwrap();
    let mut random = Random::new(5);
    let values: Values = program
        .graph()
        .inputs()
        .iter()
        .map(|input| {
            let shape = program.graph().shape(input.node);
            let count = shape.iter().product::<usize>();
            let data = (0..count).map(|_| random.wild()).collect();
            (input.name.clone(), Tensor::from_vec::<f32>(shape, data).unwrap())
        })
        .collect();
    let expected = run(&program, &values).unwrap();
    let compiled = Executable::new(&program, &EmitOptions::default(), None).unwrap();
    for threads in [1, 2] {
        set_threads(threads);
        let found = compiled.run(&values).unwrap();
        for (name, value) in &expected {
            assert_eq!(value.first_difference(&found[name]), None, "{name} of\n{text}");
        }
    }
    module_for_run(&program, &Target::host(), &EmitOptions::default()).unwrap().stats
}

/// Rows, columns and batch sizes around those of tiles, blocks and vectors.
const SHAPES: [(usize, usize, usize); 5] =
    [(1, 70, 48), (3, 9, 16), (2, 150, 300), (5, 33, 47), (1, 257, 31)];

#[test]
fn bias_activation_and_residual_join_the_contraction() {
    for (batch, m, n) in SHAPES {
        let stats = check(&format!(
            "graph @f(%x: f32[{batch}, {m}, 40], %w: f32[40, {n}], %b: f32[{n}], %r: f32[{batch}, {m}, {n}]) \
                 -> f32[{batch}, {m}, {n}], bool[{batch}, {m}, {n}] {{
                 %zero = const {{value = f32[][0.0]}}
                 %y = pam.matmul %x, %w
                 %s = add %y, %b
                 %negative = lt %s, %zero
                 %a = select %negative, %zero, %s
                 %z = add %a, %r
                 return z = %z, negative = %negative
             }}"
        ));
        assert_eq!((stats.calls, stats.kernels), (1, 1), "{batch}, {m}, {n}");
    }
}

/// Also where kernels compute the transpose, packed or not.
#[test]
fn what_follows_few_rows_or_columns_finds_its_place() {
    for (batch, m, n) in [(1, 150, 8), (3, 150, 3), (2, 1, 150), (2, 4, 70), (2, 5, 2), (3, 150, 1)]
    {
        let stats = check(&format!(
            "graph @f(%x: f32[{batch}, {m}, 40], %w: f32[{batch}, 40, {n}], %b: f32[{n}], \
                      %r: f32[{batch}, {m}, {n}]) -> f32[{batch}, {m}, {n}] {{
                 %y = pam.matmul %x, %w
                 %s = add %y, %b
                 %z = sub %s, %r
                 return z = %z
             }}"
        ));
        if n > 8 {
            assert_eq!((stats.calls, stats.kernels), (1, 1), "{batch}, {m}, {n}");
        }
    }
}

#[test]
fn a_result_that_others_read_or_that_rows_depend_on_is_left_alone() {
    let stats = check(
        "graph @f(%x: f32[40, 40], %w: f32[40, 48]) -> f32[40, 48], f32[40, 48] {
             %y = pam.matmul %x, %w
             %z = neg %y
             return y = %y, z = %z
         }",
    );
    assert_eq!(stats.calls, 2);
    let stats = check(
        "graph @f(%x: f32[40, 40], %w: f32[40, 48]) -> f32[40, 48] {
             %y = pam.matmul %x, %w
             %m = reduce_max %y {axes = [1], keepdims = true}
             %z = sub %y, %m
             return z = %z
         }",
    );
    assert_eq!(stats.calls, 2);
}

#[test]
fn convolutions_and_their_gradients_hold_no_windows() {
    for (stride, pad, side) in [(1, 1, 12), (2, 0, 5), (1, 0, 10)] {
        let attrs = format!(
            "{{kernel = [3, 3], strides = [{stride}, {stride}], dilations = [1, 1], \
              pads_lo = [{pad}, {pad}], pads_hi = [{pad}, {pad}], "
        );
        let count = side * side;
        let stats = check(&format!(
            "graph @f(%x: f32[3, 4, 12, 12], %w: f32[9, 36], %g: f32[3, 9, {count}]) \
                 -> f32[3, 9, {count}], f32[9, 36], f32[3, 4, 12, 12], f32[3, 4, 12, 12] {{
                 %u = unfold %x {attrs} value = 0.0}}
                 %c = reshape %u {{shape = [3, 36, {count}]}}
                 %y = pam.matmul %w, %c
                 %h = transpose %g {{perm = [1, 0, 2]}}
                 %h1 = reshape %h {{shape = [9, {all}]}}
                 %t = transpose %c {{perm = [1, 0, 2]}}
                 %t1 = reshape %t {{shape = [36, {all}]}}
                 %dw = pam.matmul %h1, %t1 {{tb = true}}
                 %dc = pam.matmul %w, %g {{ta = true}}
                 %d = reshape %dc {{shape = [3, 4, 3, 3, {side}, {side}]}}
                 %dx = fold %d {attrs} spatial = [12, 12]}}
                 %ec = pam.matmul_db %g, %w, %c
                 %e = reshape %ec {{shape = [3, 4, 3, 3, {side}, {side}]}}
                 %ex = fold %e {attrs} spatial = [12, 12]}}
                 return y = %y, dw = %dw, dx = %dx, ex = %ex
             }}",
            all = 3 * count
        ));
        // Two padded images and the packed panels of one contraction.
        let panels = 4 * (36 + 9 + 64) * 8 * count;
        assert!(stats.arena_bytes < 2 * 4 * 3 * 4 * 14 * 14 + panels, "{}", stats.arena_bytes);
    }
}
