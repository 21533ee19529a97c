//! Primitives of one 32-bit operand, as they are compiled for this machine, on all 2³² of them.

use std::io;

use pamc_passes::ir::{DType, TensorType};
use pamc_passes::ops::Prim;
use pamc_passes::prove::{Obligation, Status};
use pamc_passes::semantics::Int;

use super::F;
use super::primitive::{Case, plain};
use super::trial::{CHUNK, Check, program, row, run};

/// What the reference gives.
#[derive(Clone, Copy)]
struct Reference {
    /// For one pattern, as the bits of a result.
    one: fn(u32) -> u64,
    /// Whether these are the results for these patterns.
    all: fn(&[u32], &[u8]) -> bool,
}

/// Bits of a result.
trait Word: Copy + PartialEq + Into<u64> {
    /// From their bytes.
    fn of(bytes: &[u8]) -> Option<&[Self]>;
}

macro_rules! word {
    ($($t:ty),*) => {
        $(impl Word for $t {
            fn of(bytes: &[u8]) -> Option<&[Self]> {
                // SAFETY: any bits are an integer.
                let (before, words, after) = unsafe { bytes.align_to() };
                (before.is_empty() && after.is_empty()).then_some(words)
            }
        })*
    };
}
word!(u8, u32, u64);

#[inline(always)]
fn matches<T: Word>(
    x: &[u32],
    y: &[u8],
    f: impl Fn(u32) -> T,
    same: impl Fn(T, T) -> bool,
) -> bool {
    let Some(y) = T::of(y) else { return false };
    let wrong = x.iter().zip(y).fold(0u32, |n, (x, y)| n | u32::from(!same(f(*x), *y)));
    wrong == 0 && x.len() == y.len()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw")]
fn matches_avx512<T: Word>(
    x: &[u32],
    y: &[u8],
    f: impl Fn(u32) -> T,
    same: impl Fn(T, T) -> bool,
) -> bool {
    matches(x, y, f, same)
}

/// [`matches`] with the vectors that there are.
fn all<T: Word>(x: &[u32], y: &[u8], f: impl Fn(u32) -> T, same: impl Fn(T, T) -> bool) -> bool {
    #[cfg(target_arch = "x86_64")]
    if has_avx512() {
        // SAFETY: the processor has the features.
        return unsafe { matches_avx512(x, y, f, same) };
    }
    matches(x, y, f, same)
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512dq") && has!("avx512vl") && has!("avx512bw")
}

/// Bits that are equal, or both those of a NaN.
#[inline(always)]
fn float_same(a: u32, b: u32) -> bool {
    let nan = |x: u32| x & 0x7FFF_FFFF > 0x7F80_0000;
    a == b || nan(a) && nan(b)
}

macro_rules! reference {
    (float $f:expr) => {
        Reference {
            one: |x| u64::from($f(x)),
            all: |x, y| all::<u32>(x, y, |x| $f(x), float_same),
        }
    };
    ($t:ty, $f:expr) => {
        Reference {
            one: |x| u64::from($f(x)),
            all: |x, y| all::<$t>(x, y, |x| $f(x), |a, b| a == b),
        }
    };
    (unary $prim:expr) => {
        reference!(float |x: u32| Int::unary(F, $prim, flushed(x)).map_or(0, |y: i64| y as u32))
    };
}

fn reference(case: &Case) -> Option<Reference> {
    use DType::*;
    Some(match (case.prim, case.from[0], case.to) {
        (Prim::Neg, F32, _) => reference!(unary Prim::Neg),
        (Prim::Abs, F32, _) => reference!(unary Prim::Abs),
        (Prim::PamExp2, ..) => reference!(unary Prim::PamExp2),
        (Prim::PamLog2, ..) => reference!(unary Prim::PamLog2),
        (Prim::PamSqrt, ..) => reference!(unary Prim::PamSqrt),
        (Prim::Exp2Slope, ..) => reference!(unary Prim::Exp2Slope),
        (Prim::Log2Slope, ..) => reference!(unary Prim::Log2Slope),
        (Prim::SqrtSlope, ..) => reference!(unary Prim::SqrtSlope),
        (Prim::Neg, I32, _) => reference!(u32, |x: u32| x.wrapping_neg()),
        (Prim::Abs, I32, _) => reference!(u32, |x: u32| (x as i32).wrapping_abs() as u32),
        (Prim::Not, I32, _) => reference!(u32, |x: u32| !x),
        (Prim::Floor, ..) => reference!(float |x: u32| float(x).floor().to_bits()),
        (Prim::Round, ..) => reference!(float |x: u32| float(x).round_ties_even().to_bits()),
        // As an operand that enters a program, and as a result that is a float.
        (Prim::Bitcast, ..) => reference!(u32, |x: u32| flushed(x) as u32),
        (Prim::Cast, F32, I32) => reference!(u32, |x: u32| float(x) as i32 as u32),
        (Prim::Cast, F32, I64) => reference!(u64, |x: u32| float(x) as i64 as u64),
        (Prim::Cast, F32, Bool) => reference!(u8, |x: u32| u8::from(float(x) != 0.0)),
        (Prim::Cast, I32, F32) => reference!(float |x: u32| (x as i32 as f32).to_bits()),
        (Prim::Cast, I32, I64) => reference!(u64, |x: u32| i64::from(x as i32) as u64),
        (Prim::Cast, I32, Bool) => reference!(u8, |x: u32| u8::from(x != 0)),
        _ => return None,
    })
}

/// Data that enters a program has no subnormals.
#[inline(always)]
fn flushed(x: u32) -> i64 {
    F.flush(i64::from(x))
}

#[inline(always)]
fn float(x: u32) -> f32 {
    f32::from_bits(flushed(x) as u32)
}

/// Chunks of all patterns, a share of them: every `step`-th.
pub(super) struct All {
    pub case: Case,
    pub step: usize,
    reference: Reference,
}

impl All {
    /// Of a case, if it has one operand of 32 bits and a reference for it.
    pub fn new(case: Case, step: usize) -> Option<All> {
        let narrow = matches!(case.from[..], [DType::F32 | DType::I32]);
        let reference = if narrow { reference(&case)? } else { return None };
        Some(All { case, step, reference })
    }

    /// Try them.
    ///
    /// # Errors
    /// If the case cannot be compiled.
    pub fn run(&self) -> io::Result<Status> {
        let op = row(self.case.op)?;
        let ty = TensorType::new(self.case.from[0], [CHUNK]);
        run(&program(op, &[ty], self.case.attrs.clone())?, self)
    }
}

impl Check for All {
    fn chunks(&self) -> usize {
        (1 << 32) / CHUNK / self.step
    }

    fn fill(&self, chunk: usize, operands: &mut [&mut [u32]]) {
        let first = (chunk * self.step * CHUNK) as u32;
        operands[0].iter_mut().zip(first..=u32::MAX).for_each(|(x, v)| *x = v);
    }

    fn judge(&self, operands: &[&[u32]], results: &[u8]) -> Result<u64, String> {
        let x = operands[0];
        if (self.reference.all)(x, results) {
            return Ok(x.len() as u64);
        }
        let size = results.len() / x.len();
        let mut wrong = Vec::new();
        for (i, &x) in x.iter().enumerate() {
            let (x, y) = (&[x][..], &results[i * size..][..size]);
            if !(self.reference.all)(x, y) {
                wrong.push((x[0], y.to_vec()));
            }
        }
        let (x, y) = wrong.swap_remove(0);
        let (name, want) = (&self.case.name, (self.reference.one)(x));
        Err(format!("{name} of {x:#010x} gives the bytes {y:02x?}, not {want:#x}"))
    }
}

/// What has to be tried.
pub(super) fn obligations() -> Vec<Obligation<'static>> {
    let all = plain().into_iter().filter_map(|case| All::new(case, 1));
    let obligation = |all: All| Obligation {
        kind: "primitive",
        subject: all.case.name.clone(),
        domain: format!("every {}", all.case.domain()),
        wide: true,
        work: Box::new(move |_| all.run()),
    };
    all.map(obligation).collect()
}
