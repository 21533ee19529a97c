//! How many products a second one core of this machine can do at best.

use std::ffi::c_void;
use std::mem::transmute;
use std::time::Instant;

use crate::Error;
use crate::codegen::{Jit, Options, Target, compile};
use crate::kernels::{Arith, KernelTarget, Probe, probe};

/// Runs of which the fastest counts.
const ROUNDS: usize = 9;

/// Products and sums a second on one thread with operands in registers and the nearest cache: of
/// ordinary fused multiply-add, or of the two-instruction PAM kernel.
///
/// # Errors
/// If code generation fails.
pub fn products_per_second(arith: Arith) -> Result<f64, Error> {
    let target = Target::host();
    let Probe { text, lens, products } = probe("peak", &KernelTarget::new(&target, false), arith);
    let object = compile(&text, &target, &Options::default())?;
    let code = Jit::load(&[object])?;
    // SAFETY: the probe's signature with bare pointers.
    let run = unsafe {
        transmute::<*const c_void, extern "C" fn(*const f32, *const f32, *mut f32)>(
            code.symbol("peak")?,
        )
    };
    let [a, b, mut out] = lens.map(|n| vec![1.5f32; n]);
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        run(a.as_ptr(), b.as_ptr(), out.as_mut_ptr());
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(products as f64 / least)
}
