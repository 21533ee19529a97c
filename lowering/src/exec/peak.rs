//! How many products a second one core of this machine can do at best.

use std::ffi::c_void;
use std::mem::transmute;
use std::time::Instant;

use crate::Error;
use crate::codegen::{Jit, Options, Target, compile};
use crate::kernels::{Arith, KernelTarget, Probe, probe};

/// Runs of which the fastest counts.
const ROUNDS: usize = 9;

/// Products and sums with operands in registers and the nearest cache: ordinary fused multiply-add, or the
/// two-instruction PAM kernel.
pub struct Peak {
    code: Jit,
    operands: [Vec<f32>; 3],
    products: usize,
}

impl Peak {
    /// Generates their code.
    ///
    /// # Errors
    /// If code generation fails.
    pub fn new(arith: Arith) -> Result<Peak, Error> {
        let target = Target::host();
        let Probe { text, lens, products } =
            probe("peak", &KernelTarget::new(&target, false), arith);
        let object = compile(&text, &target, &Options::default())?;
        let code = Jit::load(&[object])?;
        Ok(Peak { code, operands: lens.map(|n| vec![1.5f32; n]), products })
    }

    /// Products a second on the calling thread, now.
    ///
    /// # Errors
    /// If the code is not there.
    pub fn measure(&mut self) -> Result<f64, Error> {
        // SAFETY: the probe's signature with bare pointers.
        let run = unsafe {
            transmute::<*const c_void, extern "C" fn(*const f32, *const f32, *mut f32)>(
                self.code.symbol("peak")?,
            )
        };
        let [a, b, out] = &mut self.operands;
        let start = Instant::now();
        run(a.as_ptr(), b.as_ptr(), out.as_mut_ptr());
        Ok(self.products as f64 / start.elapsed().as_secs_f64())
    }
}

/// Products a second on one thread at best.
///
/// # Errors
/// If code generation fails.
pub fn products_per_second(arith: Arith) -> Result<f64, Error> {
    let mut peak = Peak::new(arith)?;
    (0..ROUNDS).try_fold(0f64, |most, _| Ok(most.max(peak.measure()?)))
}
