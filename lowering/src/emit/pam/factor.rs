//! Products and quotients by a value that stays the same for many.

use super::super::builder::Builder;
use super::super::types::Value;
use super::{BIAS, Bits, INF, MAX_FINITE, MIN_NORMAL, NAN};

/// What scales a vector by `⊙ y` or `⊘ y` with one y for a whole loop, worked out once: the
/// magnitude m of a finite operand becomes `min(m + shift, cap)` from `low` on and `under` below it,
/// that of Inf or NaN `m | special`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Factor {
    shift: Value,
    low: Value,
    /// None if `m + shift` is finite for every finite operand.
    cap: Option<Value>,
    under: Value,
    special: Value,
    sign: Value,
}

impl Factor {
    /// The factor of `⊙ y`, or of `⊘ y`; `shrinks` promises that results are no larger than operands.
    pub(crate) fn new(b: &mut Builder, y: Value, divide: bool, shrinks: bool) -> Self {
        const EVERYTHING: i64 = 0x8000_0000;
        const NEVER: i64 = 0xFFFF_FFFF;
        let mut e = Bits::new(b, y);
        let bits = e.of(y);
        let (m, sign) = (e.magnitude(bits), e.sign(bits));
        let (zero, special) = (e.test("slt", m, MIN_NORMAL), e.test("sge", m, INF));
        let unit = e.int(BIAS);
        let (grows, by) = if divide { (unit, m) } else { (m, unit) };
        let shift = e.b.binary("arith.subi", grows, by);
        let lost = e.b.binary("arith.subi", by, grows);
        let lost = e.with("arith.maxsi", lost, 0);
        let low = e.add(lost, MIN_NORMAL);
        let (shift, low, cap, under, special) = if divide {
            let low = e.instead(zero, MIN_NORMAL, low);
            let infinity = e.int(INF);
            let nan = e.test("sgt", m, INF);
            let undefined = e.b.binary("arith.ori", zero, nan);
            (
                e.instead(zero, EVERYTHING, shift),
                e.instead(special, NEVER, low),
                e.or_else(zero, infinity, MAX_FINITE),
                e.constant_if(undefined, NAN),
                e.constant_if(special, NAN),
            )
        } else {
            let low = e.instead(special, MIN_NORMAL, low);
            let kept = e.or_else(special, m, 0);
            (
                e.instead(special, EVERYTHING, shift),
                e.instead(zero, NEVER, low),
                e.or_else(special, m, MAX_FINITE),
                e.constant_if(special, NAN),
                e.instead(zero, NAN, kept),
            )
        };
        Factor { shift, low, cap: (!shrinks).then_some(cap), under, special, sign }
    }

    /// With every part as `f` makes it.
    pub(crate) fn map(&self, mut f: impl FnMut(Value) -> Value) -> Self {
        Factor {
            shift: f(self.shift),
            low: f(self.low),
            cap: self.cap.map(&mut f),
            under: f(self.under),
            special: f(self.special),
            sign: f(self.sign),
        }
    }

    /// Scales a value of as many lanes as the factor has.
    pub(crate) fn apply(&self, b: &mut Builder, x: Value) -> Value {
        let mut e = Bits::new(b, x);
        let bits = e.of(x);
        let m = e.magnitude(bits);
        let stays = e.b.compare("uge", m, self.low);
        let mut moved = e.b.binary("arith.addi", m, self.shift);
        if let Some(cap) = self.cap {
            moved = e.b.binary("arith.minui", moved, cap);
        }
        let finite = e.b.select(stays, moved, self.under);
        let is_special = e.test("sge", m, INF);
        let special = e.b.binary("arith.ori", m, self.special);
        let magnitude = e.b.select(is_special, special, finite);
        let sign = e.sign_of_product(bits, self.sign);
        e.signed(magnitude, sign)
    }
}
