//! Integers without multiplying: products and quotients by shifts and adds, and the narrow types of
//! a file, whose values are kept in wider ones.

use pamc_passes::ir::{Attrs, DType};

use super::value::{Build, Made, Value};
use crate::onnx::proto::DataType;

/// Smallest and largest value of an integer type narrower than the one that holds it here.
pub(super) fn limits(elem: DataType) -> Option<(i64, i64)> {
    use DataType as D;
    Some(match elem {
        D::Uint2 => (0, 3),
        D::Int2 => (-2, 1),
        D::Uint4 => (0, 15),
        D::Int4 => (-8, 7),
        D::Uint8 => (0, 255),
        D::Int8 => (-128, 127),
        D::Uint16 => (0, 65535),
        D::Int16 => (-32768, 32767),
        D::Uint32 => (0, u32::MAX.into()),
        _ => return None,
    })
}

impl Build<'_> {
    fn bitwise(&mut self, name: &str, a: &Value, b: &Value) -> Made {
        self.op(name, &[a, b], Attrs::none())
    }

    fn width(&self, x: &Value) -> i64 {
        8 * self.dtype(x).size() as i64
    }

    /// The low bits of integers as values of a narrow type; others as they are.
    pub fn wrapped(&mut self, x: &Value, elem: Option<DataType>) -> Made {
        let Some((low, high)) = elem.and_then(limits).filter(|_| self.dtype(x).is_int()) else {
            return Ok(x.clone());
        };
        let mask = self.int_as(x, high - low);
        let bits = self.bitwise("and", x, &mask)?;
        if low == 0 {
            return Ok(bits);
        }
        // Flipping the sign bit and taking it off again extends it.
        let sign = self.int_as(x, -low);
        let flipped = self.bitwise("xor", &bits, &sign)?;
        self.sub(&flipped, &sign)
    }

    /// Every bit of x like its bit `k`: 0 or −1.
    fn spread_bit(&mut self, x: &Value, k: i64) -> Made {
        let (k, one) = (self.int_as(x, k), self.int_as(x, 1));
        let bit = self.bitwise("shr", x, &k)?;
        let bit = self.bitwise("and", &bit, &one)?;
        self.op("neg", &[&bit], Attrs::none())
    }

    /// a · b, wrapping: a shifted by every set bit of b.
    pub fn integer_product(&mut self, a: &Value, b: &Value) -> Made {
        let mut total: Option<Value> = None;
        for k in 0..self.width(b) {
            let on = self.spread_bit(b, k)?;
            let k = self.int_as(a, k);
            let shifted = self.bitwise("shl", a, &k)?;
            let part = self.bitwise("and", &shifted, &on)?;
            total = Some(match total {
                None => part,
                Some(total) => self.add(&total, &part)?,
            });
        }
        Ok(total.unwrap_or_else(|| a.clone()))
    }

    /// ⌊|a| ÷ |b|⌋ and the remainder, bit by bit; a quotient by 0 is meaningless.
    fn magnitudes(&mut self, a: &Value, b: &Value) -> Made<(Value, Value)> {
        let abs = |s: &mut Self, x: &Value| s.op("abs", &[x], Attrs::none());
        let (mut rest, by) = (abs(self, a)?, abs(self, b)?);
        let zero = self.int_as(a, 0);
        let mut quotient = zero.clone();
        let bits = self.width(a) - 1;
        // A constant divisor spares the bits that its own take.
        let spared = match &by {
            Value::Const(t) => super::site::integers(t, "divisor")?
                .iter()
                .map(|d| 63 - d.max(&1).leading_zeros())
                .min()
                .map_or(0, i64::from),
            _ => 0,
        };
        for k in (0..bits - spared).rev() {
            let step = self.int_as(a, k);
            let high = self.bitwise("shr", &rest, &step)?;
            let fits = self.op("ge", &[&high, &by], Attrs::none())?;
            let shifted = self.bitwise("shl", &by, &step)?;
            let taken = self.select(&fits, &shifted, &zero)?;
            rest = self.sub(&rest, &taken)?;
            let bit = self.int_as(a, 1 << k);
            let bit = self.select(&fits, &bit, &zero)?;
            quotient = self.add(&quotient, &bit)?;
        }
        Ok((quotient, rest))
    }

    fn negative(&mut self, x: &Value) -> Made {
        let zero = self.int_as(x, 0);
        self.op("lt", &[x, &zero], Attrs::none())
    }

    fn negated_where(&mut self, condition: &Value, x: &Value) -> Made {
        let minus = self.op("neg", &[x], Attrs::none())?;
        self.select(condition, &minus, x)
    }

    /// `div` towards zero, `mod` with the sign of the divisor or `fmod` with the dividend's.
    pub fn integer_quotient(&mut self, name: &str, a: &Value, b: &Value) -> Made {
        let (quotient, rest) = self.magnitudes(a, b)?;
        let (minus_a, minus_b) = (self.negative(a)?, self.negative(b)?);
        if name == "div" {
            let minus = self.op("ne", &[&minus_a, &minus_b], Attrs::none())?;
            return self.negated_where(&minus, &quotient);
        }
        let rest = self.negated_where(&minus_a, &rest)?;
        if name == "fmod" {
            return Ok(rest);
        }
        let zero = self.int_as(a, 0);
        let some = self.op("ne", &[&rest, &zero], Attrs::none())?;
        let apart = self.op("ne", &[&minus_a, &minus_b], Attrs::none())?;
        let off = self.bitwise("and", &some, &apart)?;
        let moved = self.add(&rest, b)?;
        self.select(&off, &moved, &rest)
    }

    /// The remainder with the sign of x, or with `mod` that of y.
    pub fn float_remainder(&mut self, name: &str, x: &Value, y: &Value) -> Made {
        let rest = self.op("fmod", &[x, y], Attrs::none())?;
        if name == "fmod" {
            return Ok(rest);
        }
        let zero = self.scalar(0.0);
        let below = |b: &mut Self, x: &Value| b.op("lt", &[x, &zero], Attrs::none());
        let (minus_rest, minus_y) = (below(self, &rest)?, below(self, y)?);
        let some = self.op("ne", &[&rest, &zero], Attrs::none())?;
        let apart = self.op("ne", &[&minus_rest, &minus_y], Attrs::none())?;
        let off = self.bitwise("and", &some, &apart)?;
        let moved = self.add(&rest, y)?;
        self.select(&off, &moved, &rest)
    }

    /// Within `low` and `high`, in x's type.
    pub fn clamped(&mut self, x: &Value, low: i64, high: i64) -> Made {
        let bound = |s: &Self, v: i64| match s.dtype(x) {
            DType::F32 => s.scalar(v as f32),
            _ => s.int_as(x, v),
        };
        let (low, high) = (bound(self, low), bound(self, high));
        let x = self.max(x, &low)?;
        self.op("min", &[&x, &high], Attrs::none())
    }
}
