//! Matrix products, one thread.

use std::ffi::c_void;
use std::mem::transmute;
use std::time::Instant;

use pamc_lowering::codegen::{Jit, Options, Target, compile};
use pamc_lowering::exec::Block;
use pamc_lowering::kernels::{
    Arith, KernelTarget, Kind, MatmulSpec, Operand, Output, emit_matmul, scratch_len,
};
use serde_json::json;

use super::{Case, OF_PRODUCTS, Result, Runner};

/// Products in one measurement, at least.
const PRODUCTS: usize = 1 << 29;

/// What stands among the ordinary operands.
#[derive(Clone, Copy)]
enum Data {
    Ordinary,
    Zeros {
        left: bool,
        right: bool,
    },
    /// In every row and column panel something that underflows, something that saturates, and a NaN.
    Adversarial,
    Slope,
}

fn operand(batch: usize, rows: usize, columns: usize, transposed: bool) -> Operand {
    let mut strides = if transposed { vec![1, rows as i64] } else { vec![columns as i64, 1] };
    let len = batch * rows * columns;
    if batch > 1 {
        strides.insert(0, (rows * columns) as i64);
    }
    Operand { len, strides, ..Operand::default() }
}

fn spec(batch: usize, [m, k, n]: [usize; 3], [ta, tb]: [bool; 2], kind: Kind) -> MatmulSpec {
    MatmulSpec {
        batch: if batch > 1 { vec![batch] } else { vec![] },
        m,
        k,
        n,
        a: operand(batch, m, k, ta),
        b: operand(batch, k, n, tb),
        out: operand(batch, m, n, false),
        output: Output::Store,
        arith: Arith::Pam,
        kind,
    }
}

fn fill(len: usize, seed: u32, zeros: bool, extremes: bool) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let value = |i: usize| {
        let bits = next();
        let x = f32::from_bits((bits & 0x807F_FFFF) | ((0x78 + bits % 8) << 23));
        match i % 677 {
            3 if extremes => f32::MIN_POSITIVE,
            211 if extremes => f32::MAX,
            400 if extremes && i.is_multiple_of(3) => f32::NAN,
            _ if zeros && bits & 1 << 30 != 0 => 0.0,
            _ => x,
        }
    };
    (0..len).map(value).collect()
}

fn case(
    name: &str,
    batch: usize,
    [m, k, n]: [usize; 3],
    transposed: [bool; 2],
    data: Data,
) -> Case {
    let products = batch * m * k * n;
    let calls = PRODUCTS.div_ceil(products);
    let make = move |arith: Arith| -> Result<Option<Runner>> {
        let kind = match data {
            Data::Slope => Kind::Slope { at: operand(batch, m, n, false) },
            _ => Kind::Product,
        };
        let spec = MatmulSpec { arith, ..spec(batch, [m, k, n], transposed, kind) };
        if arith == Arith::Float && matches!(data, Data::Slope) {
            return Ok(None);
        }
        let target = Target::host();
        let kernel = KernelTarget::new(&target, false);
        let text = emit_matmul("contract", &spec, &kernel)?;
        let code = Jit::load(&[compile(&text, &target, &Options::default())?])?;
        let address = code.symbol("contract")?;
        let (left, right) = match data {
            Data::Zeros { left, right } => (left, right),
            _ => (false, false),
        };
        let extremes = matches!(data, Data::Adversarial);
        let a = block(&fill(spec.a.len, 77, left, extremes));
        let b = block(&fill(spec.b.len, 78, right, extremes));
        let at = block(&fill(spec.out.len, 79, false, false));
        let [mut out, mut scratch] =
            [spec.out.len, scratch_len(&spec, &kernel)?].map(|len| Block::new(4 * len));
        let run = move || {
            let _ = &code;
            let start = Instant::now();
            for _ in 0..calls {
                call(address, [&a, &b, &at], [&mut out, &mut scratch], matches!(data, Data::Slope));
            }
            Ok(start.elapsed().as_secs_f64())
        };
        Ok(Some(Runner { run: Box::new(run), bytes: None }))
    };
    Case {
        name: name.into(),
        unit: OF_PRODUCTS,
        work: (calls * products) as f64 / 1e9,
        threads: &[1],
        peer: json!({ "what": "matmul", "batch": batch, "m": m, "k": k, "n": n,
                      "transposed": transposed, "calls": calls }),
        make: Box::new(make),
    }
}

/// Numbers in the memory that compiled programs have.
fn block(numbers: &[f32]) -> Block {
    let mut block = Block::new(size_of_val(numbers));
    for (bytes, x) in block.bytes_mut().chunks_exact_mut(4).zip(numbers) {
        bytes.copy_from_slice(&x.to_ne_bytes());
    }
    block
}

fn call(address: *const c_void, operands: [&Block; 3], results: [&mut Block; 2], slope: bool) {
    type P = *const f32;
    type M = *mut f32;
    let [a, b, at] = operands.map(|b| b.bytes().as_ptr() as P);
    let [out, scratch] = results.map(|b| b.bytes_mut().as_mut_ptr() as M);
    // SAFETY: the signatures of the two kinds with bare pointers to buffers of the spec's lengths.
    unsafe {
        if slope {
            let f = transmute::<*const c_void, extern "C" fn(P, P, P, M, M)>(address);
            f(a, b, at, out, scratch);
        } else {
            let f = transmute::<*const c_void, extern "C" fn(P, P, M, M)>(address);
            f(a, b, out, scratch);
        }
    }
}

pub fn cases() -> Vec<Case> {
    let zeros = |left, right| Data::Zeros { left, right };
    let plain = [false, false];
    let square = |name: &str, n, data| case(name, 1, [n, n, n], plain, data);
    vec![
        square("matmul 512", 512, Data::Ordinary),
        square("matmul 1024", 1024, Data::Ordinary),
        square("matmul 2048", 2048, Data::Ordinary),
        case("matmul 2048x192x768", 1, [2048, 192, 768], plain, Data::Ordinary),
        case("matmul 2048x768x192", 1, [2048, 768, 192], plain, Data::Ordinary),
        case("matmul 192x2048x768, A'B", 1, [192, 2048, 768], [true, false], Data::Ordinary),
        square("matmul 1024, half zeros left", 1024, zeros(true, false)),
        square("matmul 1024, half zeros right", 1024, zeros(false, true)),
        square("matmul 1024, half zeros in both", 1024, zeros(true, true)),
        square("matmul 1024, adversarial", 1024, Data::Adversarial),
        square("matmul 1024, exact slopes", 1024, Data::Slope),
        case("matmul 96 x 128x32x128, AB'", 96, [128, 32, 128], [false, true], Data::Ordinary),
        case("matmul 96 x 128x128x32", 96, [128, 128, 32], plain, Data::Ordinary),
        case("matmul 96 x 128x128x32, A'B", 96, [128, 128, 32], [true, false], Data::Ordinary),
        case("matmul 1x768x768", 1, [1, 768, 768], plain, Data::Ordinary),
        case("matmul 1x768x768, AB'", 1, [1, 768, 768], [false, true], Data::Ordinary),
        case("matmul 4x768x768, AB'", 1, [4, 768, 768], [false, true], Data::Ordinary),
        case("matmul 96 x 1x32x128, AB'", 96, [1, 32, 128], [false, true], Data::Ordinary),
    ]
}
