//! Measures the contraction kernels: `cargo run --release -p pamc-lowering --example
//! contraction_speed [n] [threads]`.
//!
//! Prints billions of products a second for n³ products of ordinary values, with zeros, with tiny
//! values that flush, with an Inf in every panel, the exact slopes, and the float baseline.
//! `PAMC_ASM=FILE` keeps the assembly, `PAMC_MLIR=FILE` the MLIR.

use pamc_lowering::codegen::{Jit, Options, Target, compile, set_threads};
use pamc_lowering::kernels::{
    Arith, KernelTarget, Kernels, Kind, MatmulSpec, Operand, Output, scratch_len,
};
use std::{env, error::Error, ffi::c_void, fs, mem::transmute, time::Instant};

type Product = extern "C" fn(*const f32, *const f32, *mut f32, *mut f32);
type Slope = extern "C" fn(*const f32, *const f32, *const f32, *mut f32, *mut f32);

fn square(n: usize, arith: Arith, slope: bool) -> MatmulSpec {
    let whole = Operand { len: n * n, strides: vec![n as i64, 1], ..Operand::default() };
    let kind = if slope { Kind::Slope { at: whole.clone() } } else { Kind::Product };
    let (a, b, out) = (whole.clone(), whole.clone(), whole);
    MatmulSpec { batch: vec![], m: n, k: n, n, a, b, out, output: Output::Store, arith, kind }
}

/// Contractions of a small GPT's training step: batch, m, k, n.
const SHAPES: [(usize, [usize; 3]); 6] = [
    (1, [1, 768, 768]),
    (1, [2048, 192, 768]),
    (1, [2048, 768, 192]),
    (1, [192, 2048, 768]),
    (96, [128, 32, 128]),
    (96, [128, 128, 32]),
];

fn rows(batch: usize, rows: usize, columns: usize) -> Operand {
    let size = rows * columns;
    Operand {
        len: batch * size,
        strides: vec![size as i64, columns as i64, 1],
        ..Operand::default()
    }
}

fn batched(batch: usize, [m, k, n]: [usize; 3]) -> MatmulSpec {
    MatmulSpec {
        batch: vec![batch],
        m,
        k,
        n,
        a: rows(batch, m, k),
        b: rows(batch, k, n),
        out: rows(batch, m, n),
        output: Output::Store,
        arith: Arith::Pam,
        kind: Kind::Product,
    }
}

/// Best of several runs, in billions of products a second.
fn rate(products: usize, mut run: impl FnMut()) -> f64 {
    let times = (0..12).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    products as f64 / times.fold(f64::INFINITY, f64::min) / 1e9
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let n: usize = arguments.next().map_or(Ok(512), |s| s.parse())?;
    let threads: usize = arguments.next().map_or(Ok(1), |s| s.parse())?;
    let machine = Target::host();
    let target = KernelTarget::new(&machine, threads > 1);
    let mut kernels = Kernels::new(target);
    let specs = [
        ("product", square(n, Arith::Pam, false)),
        ("float", square(n, Arith::Float, false)),
        ("slope", square(n, Arith::Pam, true)),
    ];
    let mut scratch = 0;
    for (name, spec) in &specs {
        kernels.matmul(name, spec)?;
        scratch = scratch.max(scratch_len(spec, &target)?);
    }
    for (i, &(batch, shape)) in SHAPES.iter().enumerate() {
        let spec = batched(batch, shape);
        kernels.matmul(&format!("shape{i}"), &spec)?;
        scratch = scratch.max(scratch_len(&spec, &target)?);
    }
    let options = Options { keep_assembly: true, ..Options::default() };
    let start = Instant::now();
    let text = kernels.finish();
    if let Ok(path) = env::var("PAMC_MLIR") {
        fs::write(path, &text)?;
    }
    let object = compile(&text, &machine, &options)?;
    println!("compiled in {:.2} s", start.elapsed().as_secs_f64());
    if let (Ok(path), Some(text)) = (env::var("PAMC_ASM"), &object.assembly) {
        fs::write(path, text)?;
    }
    let jit = Jit::load(&[object])?;
    set_threads(threads);
    let symbol = |name: &str| jit.symbol(name);
    // SAFETY: the signatures that `Kernels::matmul` documents, with bare pointers.
    let (product, float, slope) = unsafe {
        (
            transmute::<*const c_void, Product>(symbol("product")?),
            transmute::<*const c_void, Product>(symbol("float")?),
            transmute::<*const c_void, Slope>(symbol("slope")?),
        )
    };
    let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 0.9991;
    let ordinary: Vec<f32> = (0..n * n).map(value).collect();
    let change = |f: fn(usize, f32) -> f32| -> Vec<f32> {
        ordinary.iter().enumerate().map(|(i, &x)| f(i, x)).collect()
    };
    let half = change(|i, x| if (i * 40_503) >> 7 & 1 == 0 { x } else { 0.0 });
    let tiny = change(|_, x| f32::from_bits(x.to_bits() - (90 << 23)));
    let infinite = change(|i, x| if i % 97 == 0 { f32::INFINITY } else { x });
    let (mut out, mut scratch) = (vec![0f32; n * n], vec![0f32; scratch]);
    let cases = [
        ("ordinary values", product, &ordinary, &ordinary),
        ("left half zeros", product, &half, &ordinary),
        ("right half zeros", product, &ordinary, &half),
        ("both half zeros", product, &half, &half),
        ("tiny values", product, &tiny, &tiny),
        ("infinities", product, &infinite, &ordinary),
        ("float", float, &ordinary, &ordinary),
    ];
    for (name, f, a, b) in cases {
        let run = || f(a.as_ptr(), b.as_ptr(), out.as_mut_ptr(), scratch.as_mut_ptr());
        println!("{name:>20} {:7.2} G/s", rate(n * n * n, run));
    }
    for (name, g) in [("slope", &ordinary), ("slope, half zeros", &half)] {
        let (b, at) = (ordinary.as_ptr(), ordinary.as_ptr());
        let run = || slope(g.as_ptr(), b, at, out.as_mut_ptr(), scratch.as_mut_ptr());
        println!("{name:>20} {:7.2} G/s", rate(n * n * n, run));
    }
    for (i, &(batch, [m, k, n])) in SHAPES.iter().enumerate() {
        // SAFETY: as above.
        let f = unsafe { transmute::<*const c_void, Product>(symbol(&format!("shape{i}"))?) };
        let fill = |len: usize| (0..len).map(value).collect::<Vec<_>>();
        let (a, b) = (fill(batch * m * k), fill(batch * k * n));
        let mut out = vec![0f32; batch * m * n];
        let run = || f(a.as_ptr(), b.as_ptr(), out.as_mut_ptr(), scratch.as_mut_ptr());
        println!("{:>20} {:7.2} G/s", format!("{batch}x{m}x{k}x{n}"), rate(batch * m * k * n, run));
    }
    Ok(())
}
