//! Compiled programs against the interpreter, bit for bit.

use pamc_lowering::audit;
use pamc_lowering::codegen::{Options, Target, compile, set_threads};
use pamc_lowering::emit::{EmitOptions, module_for_run, module_for_runs};
use pamc_lowering::exec::{Executable, Session, State};
use pamc_passes::arith::Arith;
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{DType, Dims, Tensor, parse};
use pamc_passes::program::Program;
use pamc_passes::testing::{Random, random_program};

/// Run everything at 1 and 2 threads and compare all outputs with the interpreter's.
fn check(cases: &[(u64, Program, Values)]) {
    let programs: Vec<Program> = cases.iter().map(|(_, p, _)| p.clone()).collect();
    let compiled = Executable::batch(&programs, &EmitOptions::default()).unwrap();
    for ((seed, program, values), executable) in cases.iter().zip(&compiled) {
        let expected = run(program, values).unwrap();
        for threads in [1, 2] {
            set_threads(threads);
            let found = executable.run(values).unwrap();
            assert_eq!(found.len(), expected.len());
            for (name, value) in &expected {
                if let Some(at) = value.first_difference(&found[name]) {
                    panic!(
                        "seed {seed}, {threads} threads: {name}[{at}] differs\n{}\nwanted {:?}\nfound {:?}",
                        program.graph(),
                        value,
                        found[name]
                    );
                }
            }
        }
    }
}

fn seeds(range: std::ops::Range<u64>) {
    for start in range.clone().step_by(32) {
        let cases: Vec<_> = (start..range.end.min(start + 32))
            .map(|seed| {
                let (program, values) = random_program(seed);
                (seed, program, values)
            })
            .collect();
        check(&cases);
    }
}

macro_rules! random_programs {
    ($($name:ident: $range:expr),* $(,)?) => {$(
        #[test]
        fn $name() {
            seeds($range);
        }
    )*};
}

random_programs! {
    random_programs_to_128: 0..128,
    random_programs_to_256: 128..256,
    random_programs_to_384: 256..384,
    random_programs_to_512: 384..512,
}

/// Random values for the inputs of a graph, special ones among them.
fn values(program: &Program, random: &mut Random) -> Values {
    let graph = program.graph();
    let fill = |random: &mut Random, shape: &[usize], dtype| {
        let n = shape.iter().product::<usize>();
        match dtype {
            DType::F32 => Tensor::from_vec(shape, (0..n).map(|_| random.wild()).collect()),
            DType::I32 => Tensor::from_vec(
                shape,
                (0..n).map(|_| random.bits() as i32 >> random.below(32)).collect(),
            ),
            DType::I64 => {
                Tensor::from_vec(shape, (0..n).map(|_| random.below(9) as i64 - 4).collect())
            }
            DType::Bool => Tensor::from_vec(shape, (0..n).map(|_| random.one_in(2)).collect()),
        }
        .unwrap()
    };
    let inputs = graph.inputs().iter();
    inputs
        .map(|i| (i.name.clone(), fill(random, graph.shape(i.node), graph.ty(i.node).dtype)))
        .collect()
}

/// Check a graph in which `N`, `N+1` and so on stand for sizes, at sizes around the vector's.
fn check_text(text: &str, arith: Arith) {
    let mut random = Random::new(3);
    let mut cases = Vec::new();
    for n in [1usize, 3, 15, 16, 17, 33, 48] {
        let text = text.replace("2N", &(2 * n).to_string()).replace('N', &n.to_string());
        let graph = parse(&text, &Dims::default()).unwrap_or_else(|e| panic!("{e}: {text}"));
        let program = Program::new(graph, arith).unwrap();
        let values = values(&program, &mut random);
        cases.push((n as u64, program, values));
    }
    check(&cases);
}

#[test]
fn elementwise_primitives_of_floats() {
    let unary = "neg abs floor round pam.exp2 pam.log2 pam.sqrt pam.exp2_slope pam.log2_slope \
                 pam.sqrt_slope";
    let binary = "add sub min max pam.mul pam.div pam.mul_slope pam.div_slope_a pam.div_slope_b eq \
                  ne lt le gt ge";
    let mut body = String::new();
    let mut results = Vec::new();
    for (i, op) in unary.split_whitespace().enumerate() {
        body += &format!("%u{i} = {op} %x\n");
        results.push((format!("%u{i}"), "f32[3, N]"));
    }
    for (i, op) in binary.split_whitespace().enumerate() {
        body += &format!("%b{i} = {op} %x, %y\n %c{i} = {op} %s, %x\n");
        let ty = if i < 9 { "f32[3, N]" } else { "bool[3, N]" };
        results.extend([(format!("%b{i}"), ty), (format!("%c{i}"), ty)]);
    }
    body += "%scaled = pam.scale2 %x {k = -3}
        %shifted = pam.shift_sum %x {negative = [0, 1, 0], exponents = [1, -2, -5]}
        %chosen = select %t, %x, %y
        %bits = bitcast %x {to = i32}
        %whole = cast %x {to = i32}
        %long = cast %x {to = i64}
        %true = cast %x {to = bool}\n";
    let more = [("scaled", "f32"), ("shifted", "f32"), ("chosen", "f32"), ("bits", "i32")];
    let more = more.into_iter().chain([("whole", "i32"), ("long", "i64"), ("true", "bool")]);
    let more: Vec<_> = more.map(|(n, t)| (format!("%{n}"), format!("{t}[3, N]"))).collect();
    results.extend(more.iter().map(|(n, t)| (n.clone(), t.as_str())));
    let types: Vec<_> = results.iter().map(|r| r.1).collect();
    let names: Vec<_> =
        results.iter().enumerate().map(|(i, r)| format!("r{i} = {}", r.0)).collect();
    check_text(
        &format!(
            "graph @f(%x: f32[3, N], %y: f32[N], %s: f32[], %t: bool[3, 1]) -> {} {{\n{body}return {}\n}}",
            types.join(", "),
            names.join(", ")
        ),
        Arith::PAM,
    );
}

/// Every special number by every other, as a value of the row and as a constant.
#[test]
fn products_and_quotients_by_one_value_of_a_row() {
    let magnitudes = [
        0u32,
        0x0080_0000,
        0x0080_0001,
        0x0100_0000,
        0x1FFF_FFFF,
        0x2000_0000,
        0x2000_0001,
        0x3F00_0000,
        0x3F7F_FFFF,
        0x3F80_0000,
        0x3F80_0001,
        0x3FB8_AA3B,
        0x4000_0000,
        0x5F7F_FFFF,
        0x6000_0000,
        0x7F00_0000,
        0x7F7F_FFFF,
        0x7F80_0000,
        0x7FC0_0000,
    ];
    let all: Vec<u32> = magnitudes.iter().flat_map(|&m| [m, m | 0x8000_0000]).collect();
    let n = all.len();
    let numbers = |shape: &[usize]| {
        let values = all.iter().chain(&[0, 0x8000_0000, 1]).take(shape.iter().product());
        Tensor::from_vec(shape, values.map(|&b| f32::from_bits(b)).collect()).unwrap()
    };
    let mut cases = Vec::new();
    for (i, &bits) in all.iter().enumerate() {
        let text = format!(
            "graph @f(%x: f32[{w}], %y: f32[{n}, 1]) -> f32[{n}, {w}], f32[{n}, {w}], f32[{n}, {w}], f32[{w}], f32[{w}], f32[{w}], f32[{n}, {w}] {{
                %m = pam.mul %x, %y
                %w = pam.mul %y, %x
                %d = pam.div %x, %y
                %c = const {{value = f32[][0x{bits:08X}]}}
                %p = pam.mul %x, %c
                %q = pam.div %x, %c
                %s = pam.mul %x, %x
                %r = pam.div %y, %x
                return m = %m, w = %w, d = %d, p = %p, q = %q, s = %s, r = %r
            }}",
            w = n + 3
        );
        let graph = parse(&text, &Dims::default()).unwrap_or_else(|e| panic!("{e}: {text}"));
        let program = Program::new(graph, Arith::PAM).unwrap();
        let values =
            [("x".to_string(), numbers(&[n + 3])), ("y".to_string(), numbers(&[n, 1]))].into();
        cases.push((i as u64, program, values));
    }
    check(&cases);
}

#[test]
fn elementwise_primitives_of_integers() {
    for ty in ["i32", "i64"] {
        let ops = "add sub min max and or xor shl shr eq lt ge";
        let lines: Vec<_> =
            ops.split(' ').enumerate().map(|(i, op)| format!("%r{i} = {op} %x, %y")).collect();
        let names: Vec<_> = (0..12).map(|i| format!("r{i} = %r{i}")).collect();
        let types: Vec<_> = (0..12)
            .map(|i| if i < 9 { format!("{ty}[2, N]") } else { "bool[2, N]".into() })
            .collect();
        check_text(
            &format!(
                "graph @f(%x: {ty}[2, N], %y: {ty}[2, 1], %t: bool[N]) -> {}, {ty}[2, N], {ty}[2, N], \
                 {ty}[2, N], f32[2, N], bool[2, N], {ty}[N], bool[N], bool[N] {{
                     {}
                     %n = neg %x
                     %a = abs %x
                     %o = not %x
                     %f = cast %x {{to = f32}}
                     %z = cast %x {{to = bool}}
                     %i = cast %t {{to = {ty}}}
                     %not = not %t
                     %xor = xor %t, %not
                     return {}, n = %n, a = %a, o = %o, f = %f, z = %z, i = %i, not = %not, xor = %xor
                 }}",
                types.join(", "),
                lines.join("\n"),
                names.join(", ")
            ),
            Arith::PAM,
        );
    }
}

#[test]
fn reductions_over_every_kind_of_axis() {
    for ty in ["f32", "i32"] {
        for op in ["sum", "reduce_max", "reduce_min"] {
            check_text(
                &format!(
                    "graph @f(%x: {ty}[3, N, 5, 2N]) -> {ty}[], {ty}[3, N, 5, 1], {ty}[N, 5, 2N], \
                     {ty}[N, 2N], {ty}[3, 5], {ty}[N, 5], {ty}[3, N, 5, 2N] {{
                         %a = {op} %x
                         %b = {op} %x {{axes = [3], keepdims = true}}
                         %c = {op} %x {{axes = [0]}}
                         %d = {op} %x {{axes = [0, 2]}}
                         %e = {op} %x {{axes = [1, 3]}}
                         %t = transpose %x {{perm = [0, 2, 3, 1]}}
                         %f = {op} %t {{axes = [0, 2]}}
                         %f1 = transpose %f {{perm = [1, 0]}}
                         %g = sub %x, %b
                         return a = %a, b = %b, c = %c, d = %d, e = %e, f = %f1, g = %g
                     }}"
                ),
                Arith::PAM,
            );
        }
    }
}

#[test]
fn rows_that_depend_on_their_own_reductions() {
    check_text(
        "graph @f(%x: f32[5, N], %g: f32[N]) -> f32[5, N], f32[5, N], f32[5, 1], f32[N] {
             %m = reduce_max %x {axes = [1], keepdims = true}
             %k = floor %m
             %z = sub %x, %k
             %e = pam.exp2 %z
             %s = sum %e {axes = [1], keepdims = true}
             %y = pam.div %e, %s
             %w = pam.mul %y, %g
             %t = sum %w {axes = [1], keepdims = true}
             %v = sub %w, %t
             %q = pam.log2 %t
             %c = sum %v {axes = [0]}
             return y = %y, v = %v, q = %q, c = %c
         }",
        Arith::PAM,
    );
}

#[test]
fn views_of_every_kind() {
    check_text(
        "graph @f(%x: f32[4, N, 6], %y: f32[6, N]) -> f32[N, 4, 6], f32[2N, 12], f32[2, N, 3], \
             f32[4, N, 6], f32[4, N, 6], f32[6, N], f32[2, N, 2], f32[N, 24], f32[4, 1, 6, N] {
             %a = transpose %x {perm = [1, 0, 2]}
             %b = reshape %x {shape = [2N, 12]}
             %c = slice %x {starts = [3, 0, 1], sizes = [2, N, 3], steps = [-2, 1, 2]}
             %d = transpose %y {perm = [1, 0]}
             %e = expand %d {shape = [4, N, 6]}
             %f = add %x, %d
             %g = neg %y
             %h = slice %f {starts = [0, 0, 4], sizes = [2, N, 2], steps = [1, 1, -3]}
             %i = reshape %a {shape = [N, 24]}
             %i1 = abs %i
             %j = transpose %x {perm = [0, 2, 1]}
             %j1 = reshape %j {shape = [4, 1, 6, N]}
             %j2 = pam.exp2 %j1
             return a = %a, b = %b, c = %c, e = %e, f = %f, g = %g, h = %h, i = %i1, j = %j2
         }",
        Arith::PAM,
    );
}

#[test]
fn moves_scans_and_positions() {
    check_text(
        "graph @f(%x: f32[2, 3, N], %i: i64[5], %w: i32[2, 3, N], %u: f32[2, 5, N]) -> \
             f32[2, 7, N], f32[3, 5, 2N], f32[2, 5, N], f32[2, 3, 5], f32[2, 4, N], f32[2, 3, 6], \
             f32[2, 3, N], f32[2, 3, N], i32[2, 3, N], i64[2, N], i64[2, 3, 1], i64[3, N], f32[2, 3, N] {
             %n = neg %x
             %a0 = slice %n {starts = [0, 1, 0], sizes = [2, 1, N], steps = [1, 1, 1]}
             %a = concat %n, %a0, %x {axis = 1}
             %b0 = slice %x {starts = [0, 0, 0], sizes = [1, 3, N], steps = [1, 1, 1]}
             %b1 = reshape %b0 {shape = [3, 1, N]}
             %b = pad %b1 {lo = [0, 1, N], hi = [0, 3, 0], interior = [0, 0, 0], value = -1.5}
             %c = gather %x, %i {axis = 1}
             %d = gather %x, %i {axis = 2}
             %e = scatter_add %i, %u {axis = 1, size = 4}
             %f0 = gather %u, %i {axis = 2}
             %f1 = slice %f0 {starts = [0, 0, 0], sizes = [2, 3, 5], steps = [1, 1, 1]}
             %f = scatter_add %i, %f1 {axis = 2, size = 6}
             %g = cumsum %x {axis = 2}
             %h = cumsum %x {axis = 1, reverse = true, exclusive = true}
             %k = cumsum %w {axis = 0, exclusive = true}
             %l = argmax %x {axis = 1}
             %m = argmin %x {axis = -1, keepdims = true, last = true}
             %o = argmin %w {axis = 0}
             %p0 = pad %x {lo = [0, 0, 0], hi = [0, 0, 0], interior = [1, 0, 0], value = 2.0}
             %p = slice %p0 {starts = [0, 0, 0], sizes = [2, 3, N], steps = [2, 1, 1]}
             return a = %a, b = %b, c = %c, d = %d, e = %e, f = %f, g = %g, h = %h, k = %k, l = %l,
                 m = %m, o = %o, p = %p
         }",
        Arith::PAM,
    );
}

#[test]
fn windows_keys_and_contractions() {
    check_text(
        "graph @f(%x: f32[2, 3, 5, N], %key: i32[2], %a: f32[2, N, 4], %b: f32[4, N], %g: f32[2, N, N]) \
             -> f32[2, 3, 3, 2, 3, 2N], f32[2, 3, 5, N], i32[2, N], f32[2, N, N], f32[2, N, 4], \
             f32[2, 4, N], f32[2, 4, 4], i64[3, N] {
             %w = pad %x {lo = [0, 0, 0, N], hi = [0, 0, 0, 1], interior = [0, 0, 0, 0], value = 0.0}
             %u = unfold %w {kernel = [3, 2], strides = [2, 1], dilations = [1, 1], pads_lo = [1, 0], \
                             pads_hi = [1, 0], value = 0.5}
             %v = fold %u {kernel = [3, 2], strides = [2, 1], dilations = [1, 1], pads_lo = [1, N], \
                           pads_hi = [1, 1], spatial = [5, N]}
             %r = random_bits %key {shape = [2, N], stream = 9}
             %m = pam.matmul %a, %b
             %da = pam.matmul_da %g, %a, %b
             %db = pam.matmul_db %g, %a, %b
             %t = pam.matmul %a, %a {ta = true}
             %i = iota {dtype = i64, shape = [3, N], axis = 1}
             return u = %u, v = %v, r = %r, m = %m, da = %da, db = %db, t = %t, i = %i
         }",
        Arith::PAM,
    );
}

#[test]
fn pam_objects_are_free_of_multiplication_and_ordinary_ones_are_not() {
    let target = Target::host();
    let programs: Vec<Program> = (0..64).map(|seed| random_program(seed).0).collect();
    let (parts, _) = module_for_runs(&programs, &target, &EmitOptions::default()).unwrap();
    let mlir = parts.whole();
    let object = compile(&mlir, &target, &Options::default()).unwrap();
    let report = audit::object(&object.bytes).unwrap();
    assert!(report.is_multiplication_free(), "{report}");
    let text = "graph @f(%x: f32[8, 9], %w: f32[9, 7]) -> f32[8, 7] {
        %y = f.matmul %x, %w
        %z = f.mul %y, %y
        return %z
    }";
    let graph = parse(text, &Dims::default()).unwrap();
    let program = Program::new(graph, Arith::Float).unwrap();
    let mlir = module_for_run(&program, &target, &EmitOptions::default()).unwrap().parts.whole();
    let object = compile(&mlir, &target, &Options::default()).unwrap();
    assert!(!audit::object(&object.bytes).unwrap().is_multiplication_free());
}

#[test]
fn equal_layers_share_their_kernels() {
    let layers = |n: usize| {
        let body: Vec<_> = (0..n)
            .map(|i| format!("%h{} = pam.matmul %x{i}, %w\n%x{} = abs %h{}", i + 1, i + 1, i + 1))
            .collect();
        let text = format!(
            "graph @f(%x0: f32[40, 40], param %w: f32[40, 40]) -> f32[40, 40] {{ {}\nreturn %x{n} }}",
            body.join("\n")
        );
        let graph = parse(&text, &Dims::default()).unwrap();
        let program = Program::new(graph, Arith::PAM).unwrap();
        module_for_run(&program, &Target::host(), &EmitOptions::default()).unwrap().stats
    };
    let (few, many) = (layers(6), layers(24));
    assert_eq!(few.kernels, many.kernels);
    assert!(few.calls < many.calls);
    // Two values at a time, and scratch.
    assert_eq!(few.arena_bytes, many.arena_bytes);
}

#[test]
fn wrong_values_are_refused() {
    let text = "graph @f(%x: f32[2], state %s: f32[3]) -> f32[2] { %y = neg %x\nreturn y = %y }";
    let graph = parse(text, &Dims::default()).unwrap();
    let program = Program::new(graph, Arith::PAM).unwrap();
    let executable = Executable::new(&program, &EmitOptions::default(), None).unwrap();
    let wrong = Values::from([("x".into(), Tensor::vector(vec![1f32]))]);
    let mut state = State::new(executable.layout());
    assert!(
        state
            .set("s", &Tensor::vector(vec![1i32, 2, 3]))
            .unwrap_err()
            .to_string()
            .contains("f32[3]")
    );
    assert!(state.set("t", &Tensor::vector(vec![1f32])).unwrap_err().to_string().contains("t"));
    state.set("s", &Tensor::vector(vec![1.0, 1e-40, 2.0f32])).unwrap();
    assert_eq!(state.get("s").unwrap().to_vec::<f32>().unwrap(), [1.0, 0.0, 2.0]);
    let mut session = Session::new(&executable, state);
    assert!(session.run(&wrong).unwrap_err().to_string().contains("f32[2]"));
    assert!(session.run(&Values::new()).unwrap_err().to_string().contains("missing"));
    assert!(executable.run(&wrong).is_err());
    let header = executable.layout().c_header();
    assert!(
        header.contains("int pamc_run(void *state") && header.contains("PAMC_STATE_S 0"),
        "{header}"
    );
}
