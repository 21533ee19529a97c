//! Every elementwise primitive, compiled for vectors and for scalars, against the interpreter.

use pamc_lowering::{
    codegen::{Jit, Options, Target, compile},
    emit::{Builder, Elem, Value, VecTy, scalar},
};
use pamc_passes::{
    interpret,
    ir::{Attrs, DType, Tensor, TensorType},
    ops::{Prim, all},
    reference,
};
use std::{ffi::c_void, mem::transmute, path::Path};

/// Elements of each operand: more than a million, a multiple of the lanes.
const N: usize = 1 << 20;
const LANES: [Option<usize>; 2] = [None, Some(16)];

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

/// One application of a primitive.
struct Case {
    name: String,
    prim: Prim,
    attrs: Attrs,
    operands: Vec<DType>,
    result: DType,
}

fn terms(terms: &[(bool, i32)]) -> Attrs {
    let negative: Vec<i64> = terms.iter().map(|t| i64::from(t.0)).collect();
    let exponents: Vec<i64> = terms.iter().map(|t| i64::from(t.1)).collect();
    Attrs::none().with("negative", negative).with("exponents", exponents)
}

/// The attribute sets a primitive is tried with.
fn settings(prim: Prim) -> Vec<Attrs> {
    match prim {
        Prim::Cast | Prim::Bitcast => {
            DType::ALL.iter().map(|&to| Attrs::none().with("to", to)).collect()
        }
        Prim::Scale2 => [-600i64, -254, -253, -126, -23, -1, 0, 1, 23, 127, 254, 255, 600]
            .iter()
            .map(|&k| Attrs::none().with("k", k))
            .collect(),
        Prim::ShiftSum => vec![
            terms(reference::LOG2E_TERMS),
            terms(reference::LN2_TERMS),
            terms(&[(true, 3), (false, -100)]),
        ],
        _ => vec![Attrs::none()],
    }
}

/// Every elementwise row of the op table with every element type it accepts.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in all() {
        let Some(prim) = op.prim().filter(|p| p.is_elementwise()) else { continue };
        let before = cases.len();
        for dtype in DType::ALL {
            let mut operands = vec![dtype; op.arity().0];
            if prim == Prim::Select {
                operands[0] = DType::Bool;
            }
            let types: Vec<_> = operands.iter().map(|&d| TensorType::new(d, [N])).collect();
            for attrs in settings(prim) {
                let refs: Vec<_> = types.iter().collect();
                let Ok(result) = (op.shape)(&refs, &attrs) else { continue };
                let name = format!("case{}_{}", cases.len(), op.name.replace('.', "_"));
                let operands = operands.clone();
                cases.push(Case { name, prim, attrs, operands, result: result.dtype });
            }
        }
        assert!(cases.len() > before, "no element type fits {}", op.name);
    }
    cases
}

/// Element type in memory.
fn stored(dtype: DType) -> Elem {
    if dtype == DType::Bool { Elem::I8 } else { dtype.into() }
}

fn ty(elem: Elem, lanes: Option<usize>) -> VecTy {
    VecTy { elem, lanes }
}

fn load(b: &mut Builder, memref: &str, dtype: DType, lanes: Option<usize>) -> Value {
    let stored = stored(dtype);
    let value = match lanes {
        None => b.define(
            ty(stored, None),
            format_args!("memref.load {memref}[%i] : memref<{N}x{}>", stored.name()),
        ),
        Some(_) => {
            let ty = ty(stored, lanes);
            b.define(
                ty,
                format_args!("vector.load {memref}[%i] : memref<{N}x{}>, {ty}", stored.name()),
            )
        }
    };
    match dtype {
        DType::F32 => scalar::flush(b, value),
        DType::Bool => {
            let zero = b.int(value.ty, 0);
            b.compare("ne", value, zero)
        }
        _ => value,
    }
}

fn store(b: &mut Builder, value: Value, memref: &str, dtype: DType) {
    let elem = stored(dtype);
    let value = if dtype == DType::Bool { b.convert("arith.extui", value, elem) } else { value };
    let memory = format!("{memref}[%i] : memref<{N}x{}>", elem.name());
    match value.ty.lanes {
        None => b.line(format_args!("memref.store {value}, {memory}")),
        Some(_) => b.line(format_args!("vector.store {value}, {memory}, {}", value.ty)),
    }
}

/// A function `(operands..., result)` over arrays of `N` elements.
fn kernel(
    b: &mut Builder,
    name: &str,
    operands: &[DType],
    result: DType,
    lanes: Option<usize>,
    body: impl FnOnce(&mut Builder, &[Value]) -> Value,
) {
    let all = operands.iter().chain([&result]).enumerate();
    let parameters: Vec<_> =
        all.map(|(i, &d)| format!("%p{i}: memref<{N}x{}>", stored(d).name())).collect();
    b.region(format_args!("func.func @{name}({})", parameters.join(", ")), |b| {
        b.line("%low = arith.constant 0 : index");
        b.line(format_args!("%high = arith.constant {N} : index"));
        b.line(format_args!("%step = arith.constant {} : index", lanes.unwrap_or(1)));
        b.region("scf.for %i = %low to %high step %step", |b| {
            let x: Vec<_> = (operands.iter().enumerate())
                .map(|(i, &d)| load(b, &format!("%p{i}"), d, lanes))
                .collect();
            let y = body(b, &x);
            store(b, y, &format!("%p{}", operands.len()), result);
        });
        b.line("return");
    });
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

/// Whether a float result is as specified: ordinary arithmetic is free within a few units in the last
/// place in its functions, and may flush what would round up to the smallest normal.
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
    let mut b = Builder::new();
    for case in &cases {
        for lanes in LANES {
            b.locate(&case.name);
            let name = format!("{}_{}", case.name, lanes.unwrap_or(1));
            kernel(&mut b, &name, &case.operands, case.result, lanes, |b, x| {
                scalar::emit(b, case.prim, &case.attrs, x, case.result.into())
                    .unwrap_or_else(|| panic!("{} is not emitted", case.name))
            });
        }
    }
    let object = compile(&b.finish(), &Target::host(), &Options::default()).unwrap();
    let jit = Jit::load(&[object]).unwrap();
    for case in &cases {
        let x: Vec<_> = (case.operands.iter().enumerate()).map(|(i, &d)| operand(d, i)).collect();
        let flushed: Vec<_> = x.iter().map(interpret::flush).collect();
        let ty = TensorType::new(case.result, [N]);
        let want = interpret::eval(case.prim, &flushed, &case.attrs, &ty);
        for lanes in LANES {
            let name = format!("{}_{}", case.name, lanes.unwrap_or(1));
            compare(case, lanes, &run(&jit, &name, &x, case.result), &want, &x);
        }
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
