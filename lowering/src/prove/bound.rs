//! The declared error bounds of lowerings to PAM, against the real functions: on every float32 of the
//! declared domain for functions of one operand, by trials for those of two.
//!
//! Compiled code runs on every float. The real function is not evaluated as often: where it is monotone
//! between two floats, its values between are between its values there, and so if the smallest and the
//! largest result are near enough to both, all are. Intervals for which this does not decide are split,
//! down to single floats.

use std::f64::consts::{FRAC_PI_2, PI};
use std::io;
use std::ops::RangeInclusive;

use pamc_passes::ir::{Attrs, TensorType};
use pamc_passes::ops::{self, Bound, Checked, Kind, Op};
use pamc_passes::prove::{Obligation, Status};

use super::trial::{CHUNK, Check, program, run};

/// Relative error of a result that is right but for its rounding to a float.
const ROUNDING: f64 = 1.0 / (1 << 23) as f64;
/// Intervals are split into so many.
const SPLIT: usize = 8;

/// The rows whose bounds are checked so.
pub(super) fn rows(checked: Checked) -> impl Iterator<Item = &'static Op> {
    ops::all().filter(move |op| op.kind == Kind::Real && op.checked() == Some(checked))
}

/// Where a real function of one operand stops rising or falling, inside its declared domain.
fn turns(op: &Op, (lo, hi): (f64, f64)) -> Vec<f64> {
    let waves = |first: f64| {
        let from = ((lo - first) / PI).floor() as i64;
        (from..).map(|k| first + PI * k as f64).take_while(|x| *x <= hi).collect()
    };
    match op.name {
        "sin" => waves(FRAC_PI_2),
        "cos" => waves(0.0),
        "gelu" => vec![-0.751_791_524_693_564_5],
        "silu" => vec![-1.278_464_542_761_073_7],
        "mish" => vec![-1.192_441_400_543_5],
        "hard_swish" => vec![-3.0, -1.5],
        _ => Vec::new(),
    }
}

/// Whether a result is as near to the real one as the bound says, but for the ends of the range: what is
/// too small to be normal counts as zero, what is too large as the largest number.
fn within(bound: &Bound, got: f64, real: f64) -> bool {
    let (most, size) = (f64::from(f32::MAX), real.abs());
    if size > most {
        let least = (size * (1.0 - bound.rel) - bound.abs).min(most);
        return got.abs() >= least && got.signum() == real.signum();
    }
    let exact = bound.rel + bound.abs == 0.0;
    let allowed = (bound.rel + if exact { 0.0 } else { ROUNDING }) * size + bound.abs;
    let vanishes = size < f64::from(f32::MIN_POSITIVE) && got == 0.0;
    (got - real).abs() <= allowed + if exact { 0.0 } else { f64::from(f32::MIN_POSITIVE) }
        || vanishes
}

/// The operand as a program has it.
fn value(x: u32) -> f64 {
    f64::from(pamc_passes::reference::flush(f32::from_bits(x)))
}

/// Every float of a domain, by runs of neighbouring patterns.
pub(super) struct Floats {
    op: &'static Op,
    bound: Bound,
    turns: Vec<f64>,
    /// First patterns of chunks.
    starts: Vec<u32>,
}

impl Floats {
    /// The floats of the row's domain, in every `step`-th chunk; `None` without a real function.
    pub fn new(op: &'static Op, bound: Bound, step: usize) -> Floats {
        let (lo, hi) = bound.holds;
        let starts = (0..(1u64 << 32) / CHUNK as u64).map(|c| (c * CHUNK as u64) as u32);
        // A chunk has one sign, and if its ends are no NaN it holds none.
        let meets = |&first: &u32| {
            let ends = [first, first + (CHUNK as u32 - 1)].map(value);
            let (a, b) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            !ends.iter().any(|x| x.is_nan()) && a <= hi && b >= lo
        };
        let starts = starts.filter(meets).step_by(step).collect();
        Floats { op, bound, turns: turns(op, bound.holds), starts }
    }

    /// Run the row's lowering on them.
    ///
    /// # Errors
    /// If it cannot be compiled.
    pub fn run(&self) -> io::Result<Status> {
        let ty = TensorType::f32([CHUNK]);
        run(&program(self.op, &[ty], Attrs::none())?, self)
    }

    fn real(&self, x: f64) -> f64 {
        self.op.real.map_or(f64::NAN, |f| f(&[x]))
    }

    fn inside(&self, x: f64) -> bool {
        (self.bound.holds.0..=self.bound.holds.1).contains(&x)
    }

    /// Whether the results for operands above 8 are near a function that comes ever closer to its operand
    /// there: by their differences from the operand, which rise or fall throughout.
    fn beside(&self, x: &[u32], y: &[f32]) -> bool {
        let follows = ["relu", "gelu", "silu", "elu", "celu", "softplus", "mish", "clip"];
        let ends = [value(x[0]), value(x[x.len() - 1])];
        if ends[0].min(ends[1]) < 8.0 || !follows.contains(&self.op.name) {
            return false;
        }
        let (mut least, mut most, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
        for (&x, &y) in x.iter().zip(y) {
            let rest = f64::from(y) - f64::from(f32::from_bits(x));
            (least, most, nan) = (least.min(rest), most.max(rest), nan | rest.is_nan());
        }
        let near =
            |rest: f64| ends.iter().all(|x| (self.real(*x) - x - rest).abs() <= self.bound.abs);
        !nan && near(least) && near(most)
    }

    /// Whether all results are near the function, which is monotone between the first and the last
    /// operand.
    fn near(&self, [first, last]: [f64; 2], y: &[f32]) -> Result<bool, String> {
        if self.turns.iter().any(|t| (first.min(last)..=first.max(last)).contains(t)) {
            return Ok(false);
        }
        let [a, b] = [first, last].map(|x| self.real(x));
        let (low, high) = (a.min(b), a.max(b));
        let middle = self.real(0.5 * (first + last));
        let slack = 1e-9 * low.abs().max(high.abs()) + 1e-9;
        if middle < low - slack || middle > high + slack {
            return Err(format!("{} turns between {first} and {last}", self.op.name));
        }
        let (mut least, mut most, mut nan) = (f32::INFINITY, f32::NEG_INFINITY, false);
        for &y in y {
            least = if y < least { y } else { least };
            most = if y > most { y } else { most };
            nan |= y.is_nan();
        }
        let all = [least, most].map(f64::from);
        Ok(!nan && all.iter().all(|y| within(&self.bound, *y, a) && within(&self.bound, *y, b)))
    }

    fn check(&self, x: &[u32], y: &[f32]) -> Result<(), String> {
        if x.len() > SPLIT {
            let ends = [value(x[0]), value(x[x.len() - 1])];
            let inside = ends.iter().all(|e| self.inside(*e));
            if inside && (self.beside(x, y) || self.near(ends, y)?) {
                return Ok(());
            }
            let size = x.len().div_ceil(SPLIT);
            return x.chunks(size).zip(y.chunks(size)).try_for_each(|(x, y)| self.check(x, y));
        }
        for (&x, &y) in x.iter().zip(y) {
            let v = value(x);
            let real = self.real(v);
            if self.inside(v) && !within(&self.bound, f64::from(y), real) {
                let name = self.op.name;
                return Err(format!("{name} of {v} ({x:#010x}) gives {y}, not {real}"));
            }
        }
        Ok(())
    }
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

impl Check for Floats {
    fn chunks(&self) -> usize {
        self.starts.len()
    }

    fn fill(&self, chunk: usize, operands: &mut [&mut [u32]]) {
        let first = self.starts[chunk];
        operands[0].iter_mut().zip(first..=u32::MAX).for_each(|(x, v)| *x = v);
    }

    fn judge(&self, operands: &[&[u32]], results: &[u8]) -> Result<u64, String> {
        let x = operands[0];
        self.check(x, &floats(results))?;
        let ends = [x[0], x[x.len() - 1]];
        if ends.iter().all(|e| self.inside(value(*e))) {
            return Ok(x.len() as u64);
        }
        Ok(x.iter().filter(|x| self.inside(value(**x))).count() as u64)
    }
}

/// Bits of the fractions of which all pairs are tried.
const FRACTION: u32 = 11;
/// Chunks of random pairs.
const RANDOM: usize = 512;

/// Pairs of floats of a domain: those of all short fractions, with small and large exponents and both
/// signs, and random ones.
pub(super) struct Pairs {
    op: &'static Op,
    bound: Bound,
    /// Upper halves of the operands: signs and exponents.
    heads: Vec<[u32; 2]>,
}

impl Pairs {
    /// The pairs for a row, with fractions shortened by so many bits.
    pub fn new(op: &'static Op, bound: Bound) -> Pairs {
        let (lo, hi) = bound.domain;
        let meets = |&head: &u32| {
            let ends = [head, head | 0x007F_FFFF].map(value);
            let (a, b) = (ends[0].min(ends[1]), ends[0].max(ends[1]));
            a <= hi && b >= lo
        };
        let small = [1u32, 2, 64, 100];
        let fields = || small.into_iter().chain(120..=134);
        let heads: Vec<u32> =
            fields().flat_map(|e| [e << 23, e << 23 | 1 << 31]).filter(meets).collect();
        let pairs = heads.iter().flat_map(|&a| heads.iter().map(move |&b| [a, b]));
        Pairs { op, bound, heads: pairs.collect() }
    }

    /// Run the row's lowering on them, which are not all pairs there are.
    ///
    /// # Errors
    /// If it cannot be compiled.
    pub fn run(&self) -> io::Result<Status> {
        let ty = TensorType::f32([CHUNK]);
        Ok(match run(&program(self.op, &[ty.clone(), ty], Attrs::none())?, self)? {
            Status::Exhaustive(pairs) => Status::Tried(pairs),
            other => other,
        })
    }

    /// Chunks for each pair of signs and exponents.
    fn each(&self) -> usize {
        (1usize << (2 * FRACTION)) / CHUNK
    }
}

fn mixed(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Check for Pairs {
    fn chunks(&self) -> usize {
        self.heads.len() * self.each() + RANDOM
    }

    fn fill(&self, chunk: usize, operands: &mut [&mut [u32]]) {
        let [a, b] = operands else { return };
        let (head, part) = (chunk / self.each(), chunk % self.each());
        for (i, (a, b)) in a.iter_mut().zip(b.iter_mut()).enumerate() {
            if let Some(heads) = self.heads.get(head) {
                let at = (part * CHUNK + i) as u32;
                let shift = 23 - FRACTION;
                *a = heads[0] | (at >> FRACTION) << shift;
                *b = heads[1] | (at & ((1 << FRACTION) - 1)) << shift;
            } else {
                let random = mixed((chunk * CHUNK + i) as u64);
                let heads = self.heads[(random >> 46) as usize % self.heads.len()];
                *a = heads[0] | random as u32 & 0x007F_FFFF;
                *b = heads[1] | (random >> 23) as u32 & 0x007F_FFFF;
            }
        }
    }

    fn judge(&self, operands: &[&[u32]], results: &[u8]) -> Result<u64, String> {
        let inside: RangeInclusive<f64> = self.bound.domain.0..=self.bound.domain.1;
        let real = self.op.real.unwrap_or(|_| f64::NAN);
        let mut count = 0;
        let pairs = operands[0].iter().zip(operands[1]);
        for ((&a, &b), y) in pairs.zip(results.as_chunks().0) {
            let (x, y) = ([a, b].map(value), f64::from(f32::from_le_bytes(*y)));
            if !x.iter().all(|x| inside.contains(x)) {
                continue;
            }
            count += 1;
            let want = real(&x);
            if !within(&self.bound, y, want) {
                let name = self.op.name;
                return Err(format!("{name} of {} and {} gives {y}, not {want}", x[0], x[1]));
            }
        }
        Ok(count)
    }
}

/// What has to be verified.
pub(super) fn obligations() -> Vec<Obligation<'static>> {
    let mut out = Vec::new();
    for op in rows(Checked::Every) {
        let Some(bound) = op.bound else { continue };
        let (lo, hi) = bound.holds;
        out.push(Obligation {
            kind: "bound",
            subject: op.name.into(),
            domain: format!("every f32 in [{lo:?}, {hi:?}]"),
            wide: true,
            work: Box::new(move |_| Floats::new(op, bound, 1).run()),
        });
    }
    for op in rows(Checked::Pairs) {
        let Some(bound) = op.bound else { continue };
        out.push(Obligation {
            kind: "bound",
            subject: op.name.into(),
            domain: format!("pairs of {FRACTION}-bit fractions, random ones"),
            wide: true,
            work: Box::new(move |_| Pairs::new(op, bound).run()),
        });
    }
    out
}
