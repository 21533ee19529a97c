//! Every elementwise primitive, compiled for vectors and for scalars, against the interpreter.

mod common;

use common::{Case, LANES, N, cases, kernel, terms};
use pamc_lowering::{
    codegen::{Jit, Options, Target, compile},
    emit::{Builder, Elem, Value, scalar},
};
use pamc_passes::{
    interpret,
    ir::{Attrs, DType, Tensor, TensorType},
    ops::Prim,
    reference,
};
use std::{ffi::c_void, mem::transmute, path::Path};

const EDGES: [u32; 30] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x007F_FFFF,
    0x0080_0000,
    0x8080_0000,
    0x3F80_0000,
    0xBF80_0000,
    0x3FC0_0000,
    0x3F00_0000,
    0x4049_0FDB,
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
    0xFFFF_FFFF,
    0x4300_0000,
    0x42FF_FFFF,
    0xC2FC_0000,
    0xC2FC_0001,
    0x4F00_0000,
    0xDF00_0000,
    0x4B00_0001,
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// All pairs of edge values, then random bit patterns, some of them near 1 and some small counts.
fn operand(dtype: DType, index: usize) -> Tensor {
    let mut random = Random(index as u64 + 1);
    let mut bits = |i: usize| -> u64 {
        let edges = EDGES.len();
        if i < edges * edges {
            let edge = if index == 0 { i / edges } else { i % edges };
            return u64::from(EDGES[edge]);
        }
        let word = random.word();
        match i % 4 {
            0 => (word & 0x8FFF_FFFF) | 0x3800_0000,
            1 => word % 130,
            _ => word,
        }
    };
    let tensor = match dtype {
        DType::F32 => {
            Tensor::from_vec(&[N], (0..N).map(|i| f32::from_bits(bits(i) as u32)).collect())
        }
        DType::I32 => Tensor::from_vec(&[N], (0..N).map(|i| bits(i) as i32).collect::<Vec<_>>()),
        DType::I64 => Tensor::from_vec(&[N], (0..N).map(|i| bits(i) as i64).collect::<Vec<_>>()),
        DType::Bool => Tensor::from_vec(&[N], (0..N).map(|i| bits(i) & 1 == 1).collect()),
    };
    tensor.unwrap()
}

/// Runs a compiled kernel on tensors of `N` elements.
fn run(jit: &Jit, name: &str, operands: &[Tensor], result: DType) -> Tensor {
    let inputs: Vec<_> = operands.iter().map(Tensor::to_bytes).collect();
    let mut output = vec![0u8; N * result.size()];
    let symbol = jit.symbol(name).unwrap();
    type P = *const u8;
    // SAFETY: the kernel takes one pointer an operand and one for the result, of `N` elements each.
    unsafe {
        match inputs.as_slice() {
            [a] => transmute::<*const c_void, extern "C" fn(P, *mut u8)>(symbol)(
                a.as_ptr(),
                output.as_mut_ptr(),
            ),
            [a, b] => transmute::<*const c_void, extern "C" fn(P, P, *mut u8)>(symbol)(
                a.as_ptr(),
                b.as_ptr(),
                output.as_mut_ptr(),
            ),
            [a, b, c] => transmute::<*const c_void, extern "C" fn(P, P, P, *mut u8)>(symbol)(
                a.as_ptr(),
                b.as_ptr(),
                c.as_ptr(),
                output.as_mut_ptr(),
            ),
            _ => panic!("{name} has {} operands", inputs.len()),
        }
    }
    Tensor::from_bytes(&TensorType::new(result, [N]), &output).unwrap()
}

/// Whether a float result is as specified: ordinary arithmetic is free within a few units in the
/// last place in its functions, and may flush what would round up to the smallest normal.
fn accepted(prim: Prim, got: f32, want: f32) -> bool {
    let tiny = |x: f32| x.abs() <= f32::MIN_POSITIVE;
    match prim {
        _ if got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()) => true,
        Prim::FMul | Prim::FDiv => tiny(got) && tiny(want),
        Prim::FExp | Prim::FLog | Prim::FExp2 | Prim::FLog2 => {
            (tiny(got) && tiny(want)) || (got - want).abs() <= want.abs() * 5e-7
        }
        _ => false,
    }
}

fn compare(case: &Case, lanes: Option<usize>, got: &Tensor, want: &Tensor, x: &[Tensor]) {
    let difference = match (got.to_vec::<f32>(), want.to_vec::<f32>()) {
        (Some(got), Some(want)) => {
            got.iter().zip(&want).position(|(a, b)| !accepted(case.prim, *a, *b))
        }
        _ => got.first_difference(want),
    };
    if let Some(i) = difference {
        let word = |t: &Tensor| {
            let size = t.dtype().size();
            let bytes = &t.to_bytes()[i * size..(i + 1) * size];
            bytes.iter().rev().map(|b| format!("{b:02x}")).collect::<String>()
        };
        let operands: Vec<_> = x.iter().map(word).collect();
        panic!(
            "{} {:?} lanes {lanes:?}: {operands:?} gave {}, want {}",
            case.name,
            case.attrs,
            word(got),
            word(want)
        );
    }
}

#[test]
fn primitives_equal_the_interpreter() {
    let cases = cases();
    assert!(cases.len() > 60, "{}", cases.len());
    let object = compile(&common::module(&cases), &Target::host(), &Options::default()).unwrap();
    let jit = Jit::load(&[object]).unwrap();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        for share in cases.chunks(cases.len().div_ceil(threads)) {
            scope.spawn(|| share.iter().for_each(|case| check(&jit, case)));
        }
    });
}

fn check(jit: &Jit, case: &Case) {
    let x: Vec<_> = (case.operands.iter().enumerate()).map(|(i, &d)| operand(d, i)).collect();
    let flushed: Vec<_> = x.iter().map(interpret::flush).collect();
    let ty = TensorType::new(case.result, [N]);
    let want = interpret::eval(case.prim, &flushed, &case.attrs, &ty);
    for lanes in LANES {
        let name = format!("{}_{}", case.name, lanes.unwrap_or(1));
        compare(case, lanes, &run(jit, &name, &x, case.result), &want, &x);
    }
}

/// Columns of a vector file, each padded with zeros to `N`, and the number of rows.
fn columns(file: &str) -> (Vec<Vec<f32>>, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut columns: Vec<Vec<f32>> = Vec::new();
    let rows = text.lines().skip(1);
    let count = rows.clone().count();
    for (i, row) in rows.enumerate() {
        for (c, word) in row.split(' ').enumerate() {
            if columns.len() <= c {
                columns.push(vec![0.0; N]);
            }
            columns[c][i] = f32::from_bits(u32::from_str_radix(word, 16).unwrap());
        }
    }
    (columns, count)
}

type Composite = fn(&mut Builder, &[Value]) -> Value;

fn apply(b: &mut Builder, prim: Prim, x: &[Value]) -> Value {
    scalar::emit(b, prim, &Attrs::none(), x, Elem::F32).unwrap()
}

fn log2e(b: &mut Builder, x: Value) -> Value {
    b.float(x.ty, reference::LOG2E)
}

/// Vector file, number of input columns, column of the result, and the composition it holds.
const FILES: &[(&str, usize, usize, Composite)] = &[
    ("mul.txt", 2, 2, |b, x| apply(b, Prim::PamMul, x)),
    ("div.txt", 2, 2, |b, x| apply(b, Prim::PamDiv, x)),
    ("add.txt", 2, 2, |b, x| apply(b, Prim::Add, x)),
    ("exp2.txt", 1, 1, |b, x| apply(b, Prim::PamExp2, x)),
    ("log2.txt", 1, 1, |b, x| apply(b, Prim::PamLog2, x)),
    ("sqrt.txt", 1, 1, |b, x| apply(b, Prim::PamSqrt, x)),
    ("exp.txt", 1, 1, |b, x| {
        let c = log2e(b, x[0]);
        let z = apply(b, Prim::PamMul, &[x[0], c]);
        apply(b, Prim::PamExp2, &[z])
    }),
    ("log.txt", 1, 1, |b, x| {
        let c = log2e(b, x[0]);
        let z = apply(b, Prim::PamLog2, x);
        apply(b, Prim::PamDiv, &[z, c])
    }),
    ("exp_best.txt", 1, 1, |b, x| {
        let attrs = terms(reference::LOG2E_TERMS);
        let z = scalar::emit(b, Prim::ShiftSum, &attrs, x, Elem::F32).unwrap();
        apply(b, Prim::PamExp2, &[z])
    }),
    ("log_best.txt", 1, 1, |b, x| {
        let z = apply(b, Prim::PamLog2, x);
        let attrs = terms(reference::LN2_TERMS);
        scalar::emit(b, Prim::ShiftSum, &attrs, &[z], Elem::F32).unwrap()
    }),
    ("grad_mul_exact.txt", 3, 3, |b, x| {
        let slope = apply(b, Prim::MulSlope, &[x[1], x[2]]);
        apply(b, Prim::PamMul, &[x[0], slope])
    }),
    ("grad_mul_exact.txt", 3, 4, |b, x| {
        let slope = apply(b, Prim::MulSlope, &[x[2], x[1]]);
        apply(b, Prim::PamMul, &[x[0], slope])
    }),
    ("grad_div_exact.txt", 3, 3, |b, x| {
        let slope = apply(b, Prim::DivSlopeA, &[x[1], x[2]]);
        apply(b, Prim::PamMul, &[x[0], slope])
    }),
    ("grad_div_exact.txt", 3, 4, |b, x| {
        let slope = apply(b, Prim::DivSlopeB, &[x[1], x[2]]);
        apply(b, Prim::PamMul, &[x[0], slope])
    }),
    ("grad_exp2_exact.txt", 2, 2, |b, x| {
        let slope = apply(b, Prim::Exp2Slope, &[x[1]]);
        apply(b, Prim::PamMul, &[x[0], slope])
    }),
    ("grad_log2_exact.txt", 2, 2, |b, x| {
        let slope = apply(b, Prim::Log2Slope, &[x[1]]);
        apply(b, Prim::PamMul, &[x[0], slope])
    }),
    ("grad_sqrt_exact.txt", 2, 2, |b, x| {
        let slope = apply(b, Prim::SqrtSlope, &[x[1]]);
        apply(b, Prim::PamMul, &[x[0], slope])
    }),
];

#[test]
fn compositions_equal_the_vectors() {
    let mut b = Builder::new();
    for (i, &(_, inputs, _, body)) in FILES.iter().enumerate() {
        for lanes in LANES {
            let name = format!("file{i}_{}", lanes.unwrap_or(1));
            kernel(&mut b, &name, &vec![DType::F32; inputs], DType::F32, lanes, body);
        }
    }
    let object = compile(&b.finish(), &Target::host(), &Options::default()).unwrap();
    let jit = Jit::load(&[object]).unwrap();
    for (i, &(file, inputs, column, _)) in FILES.iter().enumerate() {
        let (columns, rows) = columns(file);
        assert!(rows > 1000, "{file} has {rows} rows");
        let tensor = |c: usize| Tensor::from_vec(&[N], columns[c].clone()).unwrap();
        let x: Vec<_> = (0..inputs).map(tensor).collect();
        for lanes in LANES {
            let name = format!("file{i}_{}", lanes.unwrap_or(1));
            let got = run(&jit, &name, &x, DType::F32).to_vec::<f32>().unwrap();
            for r in 0..rows {
                let (got, want) = (got[r], columns[column][r]);
                let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
                assert!(same, "{file} row {r} column {column} lanes {lanes:?}: {got:e} {want:e}");
            }
        }
    }
}
