//! The inner kernel alone, over panels that stay in the nearest cache: the peak of this machine.

use super::micro::{Micro, Version};
use super::text::Text;
use super::{Arith, CHUNK, KernelTarget, Tile, text::Lanes};
use crate::codegen::Access;

/// Kernel calls in one call of a probe.
const CALLS: usize = 1024;

/// A function `@name(a, b, out)` that computes one register tile over and over.
#[derive(Clone, Debug)]
pub struct Probe {
    /// MLIR functions.
    pub text: String,
    /// Elements (float32) of each parameter, `memref<{len}xf32>`.
    pub lens: [usize; 3],
    /// Products of one call.
    pub products: usize,
}

/// The probe of an arithmetic's peak. The operands of PAM must be finite, normal numbers whose
/// products are.
#[must_use]
pub fn probe(name: &str, target: &KernelTarget, arith: Arith) -> Probe {
    let lanes = Lanes(target.lanes);
    let tile = Tile { rows: (target.registers / 4).min(8), vectors: 2, lanes };
    let version = match arith {
        Arith::Pam => Version::Fast,
        Arith::Float => Version::Fused,
    };
    let micro = Micro { tile, slope_of: None, version };
    let (rows, columns) = (tile.rows, tile.columns());
    let lens = [rows * CHUNK, columns * CHUNK, rows * columns];
    let args =
        lens.iter().enumerate().map(|(i, n)| (format!("%arg{i}"), format!("memref<{n}xf32>")));
    let args: Vec<_> = args.collect();
    let mut t = Text::default();
    t.func(name, Access::Exported, &args, |t| {
        let pointers: Vec<_> = args.iter().map(|(v, ty)| t.pointer(v, ty)).collect();
        let [depth, stride, calls] = [CHUNK, columns, CALLS].map(|x| t.i64(x as i64));
        let zero = t.i64(0);
        t.loop_to(&calls, 1, |t, call| {
            let first = t.def(&format!("arith.cmpi eq, {call}, {zero} : i64"));
            let [a, b, out] = [&pointers[0], &pointers[1], &pointers[2]];
            t.call(&micro.name(), &[a, b, &depth, out, &stride, &first], &micro.types());
        });
    });
    let text = micro.emit() + &t.into_string();
    Probe { text, lens, products: CALLS * rows * columns * CHUNK }
}
