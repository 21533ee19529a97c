//! Attention and its gradients made band by band: the same bits in less memory, by no more kernels.

use pamc_lowering::codegen::{Target, set_threads};
use pamc_lowering::emit::{EmitOptions, Stats, module_for_run};
use pamc_lowering::exec::Executable;
use pamc_passes::arith::Arith;
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{Dims, InputKind, Tensor, parse};
use pamc_passes::program::Program;
use pamc_passes::testing::Random;

fn program(text: &str) -> Program {
    let graph = parse(text, &Dims::default()).unwrap_or_else(|e| panic!("{e} in\n{text}"));
    let arith = if text.contains("f.matmul") { Arith::Float } else { Arith::PAM };
    Program::new(graph, arith).unwrap()
}

fn options(band_bytes: usize) -> EmitOptions {
    EmitOptions { band_bytes, ..EmitOptions::default() }
}

fn stats(program: &Program, band_bytes: usize) -> Stats {
    module_for_run(program, &Target::host(), &options(band_bytes)).unwrap().stats
}

/// Compares a graph with the interpreter, bit for bit, on one thread and two, and tells what was
/// emitted: whole and in bands.
fn check(text: &str, band_bytes: usize) -> [Stats; 2] {
    let program = program(text);
    let mut random = Random::new(3);
    let values: Values = program
        .graph()
        .inputs()
        .iter()
        .map(|input| {
            let ty = program.graph().ty(input.node);
            let tensor = match input.kind {
                _ if ty.dtype == pamc_passes::ir::DType::I32 => {
                    Tensor::from_vec(&ty.shape, (0..ty.len() as i32).map(|i| 77 + i).collect())
                }
                InputKind::Param => {
                    Tensor::from_vec(&ty.shape, (0..ty.len()).map(|_| random.wild()).collect())
                }
                _ => {
                    let number = |i: usize| ((i * 7919 % 1013) as f32 - 500.0) / 250.0;
                    Tensor::from_vec(&ty.shape, (0..ty.len()).map(number).collect())
                }
            };
            (input.name.clone(), tensor.unwrap())
        })
        .collect();
    let expected = run(&program, &values).unwrap();
    let compiled = Executable::new(&program, &options(band_bytes), None).unwrap();
    for threads in [1, 2] {
        set_threads(threads);
        let found = compiled.run(&values).unwrap();
        for (name, value) in &expected {
            assert_eq!(value.first_difference(&found[name]), None, "{name} of\n{text}");
        }
    }
    [stats(&program, usize::MAX), stats(&program, band_bytes)]
}

/// Rows of `%{of}` as softmax leaves them, named `%{to}`.
fn softmax(of: &str, to: &str) -> String {
    format!(
        "%{to}m = reduce_max %{of} {{axes = [-1], keepdims = true}}
         %{to}d = sub %{of}, %{to}m
         %{to}e = pam.exp2 %{to}d
         %{to}s = sum %{to}e {{axes = [-1], keepdims = true}}
         %{to} = pam.div %{to}e, %{to}s\n"
    )
}

fn dims(dims: &[usize]) -> String {
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Attention of `t` queries to `s` keys of `d` numbers, with a batch of some dimensions; `what` comes
/// between the scores `%x0` and the rows `%x` that softmax is taken of.
fn attention(batch: &[usize], (t, s, d): (usize, usize, usize), what: &str, extra: &str) -> String {
    let [q, k] = [[batch, &[t, d]].concat(), [batch, &[s, d]].concat()].map(|x| dims(&x));
    format!(
        "graph @f(%q: f32[{q}], %k: f32[{k}], %v: f32[{k}]{extra}) -> f32[{q}] {{
             %x0 = pam.matmul %q, %k {{tb = true}}
             {what}
             {}
             %y = pam.matmul %p, %v
             return y = %y
         }}",
        softmax("x", "p")
    )
}

const PLAIN: &str = "%scale = const {value = f32[][0.125]}\n%x = pam.mul %x0, %scale";

fn causal(t: usize, s: usize) -> String {
    format!(
        "%row = iota {{axis = 0, dtype = i32, shape = [{t}, {s}]}}
         %column = iota {{axis = 1, dtype = i32, shape = [{t}, {s}]}}
         %seen = ge %row, %column
         %low = const {{value = f32[][-1000000000.0]}}
         %x = select %seen, %x0, %low"
    )
}

/// Asserts that all but `others` of the calls are made so often and that less than the `part`th of the
/// memory is left.
fn assert_banded_but(others: usize, [whole, bands]: &[Stats; 2], count: usize, part: usize) {
    assert_eq!(bands.kernels, whole.kernels, "{whole:?} {bands:?}");
    assert_eq!(bands.calls, (whole.calls - others) * count + others, "{whole:?} {bands:?}");
    assert!(
        bands.arena_bytes * part < whole.arena_bytes,
        "{} of {} bytes",
        bands.arena_bytes,
        whole.arena_bytes
    );
}

fn assert_banded(stats: &[Stats; 2], count: usize, part: usize) {
    assert_banded_but(0, stats, count, part);
}

#[test]
fn heads_and_rows_are_bands_of_the_same_kernels() {
    // Two kernels and a contraction between scores and result; scores and probabilities in memory.
    let matrix = 4 * 96 * 80;
    for (batch, fewer) in [(&[6][..], 3), (&[2, 3], 6), (&[1, 6, 1], 3)] {
        let text = attention(batch, (96, 80, 16), PLAIN, "");
        assert_banded(&check(&text, 2 * matrix), 6, 3);
        assert_banded(&check(&text, 4 * matrix), fewer, 2);
    }
    let text = attention(&[2, 3], (256, 80, 16), PLAIN, "");
    assert_banded(&check(&text, 2 * 4 * 128 * 80), 12, 4);
}

#[test]
fn positions_count_on_from_band_to_band() {
    for (t, s, bands) in [(300, 300, 3), (513, 513, 3), (192, 70, 2)] {
        let text = attention(&[2], (t, s, 16), &causal(t, s), "");
        // The mask is the same for all heads: it is made once, beforehand.
        assert_banded_but(1, &check(&text, 2 * 4 * t * s / bands), 2 * bands, 2);
    }
    let shape = "shape = [2, 192, 70]";
    for dtype in ["i32", "i64"] {
        let what = format!(
            "%head = iota {{axis = 0, dtype = {dtype}, {shape}}}
             %row = iota {{axis = 1, dtype = {dtype}, {shape}}}
             %column = iota {{axis = 2, dtype = {dtype}, {shape}}}
             %sum = add %head, %column
             %seen = ge %row, %sum
             %low = const {{value = f32[][-1000000000.0]}}
             %x = select %seen, %x0, %low"
        );
        let text = attention(&[2], (192, 70, 16), &what, "");
        assert_banded(&check(&text, 2 * 4 * 64 * 70), 6, 3);
    }
}

#[test]
fn dropout_draws_what_it_drew() {
    for batch in [&[4][..], &[2, 2]] {
        let shape = dims(&[batch, &[128, 64]].concat());
        let what = format!(
            "%bits = random_bits %key {{shape = [{shape}], stream = 5}}
             %zero = const {{value = i32[][0]}}
             %drop = lt %bits, %zero
             %none = const {{value = f32[][0.0]}}
             %x = select %drop, %none, %x0"
        );
        let text = attention(batch, (128, 64, 8), &what, ", %key: i32[2]");
        assert_banded(&check(&text, 4 * 128 * 64), 8, 3);
    }
}

#[test]
fn heads_that_share_keys_read_the_same_ones() {
    let text = format!(
        "graph @f(%q: f32[2, 2, 3, 64, 16], %k: f32[2, 2, 1, 80, 16], %v: f32[2, 2, 1, 80, 16],
                  %bias: f32[2, 1, 1, 1, 80]) -> f32[2, 64, 2, 3, 16] {{
             %x0 = pam.matmul %q, %k {{tb = true}}
             %x = add %x0, %bias
             {}
             %y0 = pam.matmul %p, %v
             %y = transpose %y0 {{perm = [0, 3, 1, 2, 4]}}
             return y = %y
         }}",
        softmax("x", "p")
    );
    let [whole, bands] = check(&text, 2 * 4 * 64 * 80);
    assert_eq!(bands.kernels, whole.kernels);
    assert!(bands.arena_bytes * 3 < whole.arena_bytes, "{whole:?} {bands:?}");
}

#[test]
fn operands_in_one_array_with_numbers_of_any_kind() {
    // A parameter holds NaN, infinities, subnormals; heads are interleaved with positions.
    let what = |i: usize| {
        format!(
            "%h{i} = slice %a {{starts = [0, 0, {i}, 0, 0], sizes = [2, 70, 1, 3, 16], steps = [1, 1, 1, 1, 1]}}
             %r{i} = reshape %h{i} {{shape = [2, 70, 3, 16]}}
             %i{i} = transpose %r{i} {{perm = [0, 2, 1, 3]}}\n"
        )
    };
    let text = format!(
        "graph @f(param %a: f32[2, 70, 3, 3, 16]) -> f32[2, 3, 70, 16] {{
             {}{}{}
             %x = pam.matmul %i0, %i1 {{tb = true}}
             {}
             %y = pam.matmul %p, %i2
             return y = %y
         }}",
        what(0),
        what(1),
        what(2),
        softmax("x", "p")
    );
    assert_banded(&check(&text, 2 * 4 * 70 * 70), 6, 2);
}

/// The gradients of attention: the probabilities again, theirs, those of the scores, and of the operands.
fn gradients(batch: &[usize], (t, s, d): (usize, usize, usize), exact: bool) -> String {
    let [q, k] = [[batch, &[t, d]].concat(), [batch, &[s, d]].concat()].map(|x| dims(&x));
    let contractions = match exact {
        true => {
            "%dp = pam.matmul_da %g, %p, %v
             %dv = pam.matmul_db %g, %p, %v"
        }
        false => {
            "%dp = pam.matmul %g, %v {tb = true}
             %dv = pam.matmul %p, %g {ta = true}"
        }
    };
    let last = match exact {
        true => {
            "%dq = pam.matmul_da %ds, %q, %k {tb = true}
             %dk = pam.matmul_db %ds, %q, %k {tb = true}"
        }
        false => {
            "%dq = pam.matmul %ds, %k
             %dk = pam.matmul %ds, %q {ta = true}"
        }
    };
    format!(
        "graph @f(%q: f32[{q}], %k: f32[{k}], %v: f32[{k}], %g: f32[{q}])
                  -> f32[{q}], f32[{k}], f32[{k}] {{
             %x0 = pam.matmul %q, %k {{tb = true}}
             {PLAIN}
             {}
             {contractions}
             %gp = pam.mul %dp, %p
             %sum = sum %gp {{axes = [-1], keepdims = true}}
             %centred = sub %dp, %sum
             %ds = pam.mul %p, %centred
             {last}
             return dq = %dq, dk = %dk, dv = %dv
         }}",
        softmax("x", "p")
    )
}

#[test]
fn gradients_keep_their_matrices_to_a_band() {
    for exact in [false, true] {
        for batch in [&[6][..], &[2, 3]] {
            let text = gradients(batch, (96, 80, 16), exact);
            let [whole, bands] = check(&text, 4 * 4 * 96 * 80);
            assert_eq!(bands.kernels, whole.kernels, "{exact} {whole:?} {bands:?}");
            assert!(bands.calls >= 3 * whole.calls, "{exact} {whole:?} {bands:?}");
            assert!(bands.arena_bytes * 2 < whole.arena_bytes, "{exact} {whole:?} {bands:?}");
        }
    }
}

#[test]
fn ordinary_arithmetic_too() {
    let text = attention(&[4], (128, 64, 16), "%x = neg %x0", "").replace("pam.matmul", "f.matmul");
    let text = text.replace("pam.exp2", "f.exp2").replace("pam.div", "f.div");
    assert_eq!(stats(&program(&text), 2 * 4 * 128 * 64).calls, 4 * 3);
}

#[test]
fn what_others_read_stays_whole() {
    // The probabilities are a result, too: only the scores are local.
    let text = attention(&[6], (96, 80, 16), PLAIN, "");
    let text = text.replace("-> f32[6, 96, 16]", "-> f32[6, 96, 16], f32[6, 96, 80]");
    let text = text.replace("return y = %y", "return y = %y, p = %p");
    let [whole, bands] = check(&text, 4 * 96 * 80);
    assert_eq!((whole.calls, bands.calls), (3, 18));
    assert_eq!(whole.kernels, bands.kernels);
    assert!(bands.arena_bytes * 3 < whole.arena_bytes, "{whole:?} {bands:?}");
    // And so is everything if rows depend on those of other heads.
    let text = "graph @f(%q: f32[6, 96, 16], %v: f32[6, 96, 16]) -> f32[6, 96, 16] {
         %x = pam.matmul %q, %q {tb = true}
         %m = reduce_max %x {axes = [0], keepdims = true}
         %p = sub %x, %m
         %y = pam.matmul %p, %v
         return y = %y
     }";
    let [whole, bands] = check(text, 2 * 4 * 96 * 96);
    assert_eq!(whole, bands);
}
