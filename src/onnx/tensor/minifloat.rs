//! Floats of 8 and 4 bits (ONNX "float8" types, after arXiv 2209.05433 and 2206.02915; OCP MX).

/// How the codes at the top of the range and negative zero are used.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Special {
    /// As IEEE 754: the highest exponent is infinity and NaN.
    Ieee,
    /// All bits set is NaN, there is no infinity ("FN").
    NanAllOnes,
    /// The code of negative zero is NaN, there is neither infinity nor −0 ("FNUZ").
    NanNegativeZero,
    /// Every code is a number.
    None,
}

/// Layout of a small float: one sign bit, `exponent` bits with `bias`, `mantissa` bits.
pub(super) struct Format {
    pub exponent: u32,
    pub mantissa: u32,
    pub bias: i32,
    pub special: Special,
}

pub(super) const E4M3FN: Format =
    Format { exponent: 4, mantissa: 3, bias: 7, special: Special::NanAllOnes };
pub(super) const E4M3FNUZ: Format =
    Format { exponent: 4, mantissa: 3, bias: 8, special: Special::NanNegativeZero };
pub(super) const E5M2: Format =
    Format { exponent: 5, mantissa: 2, bias: 15, special: Special::Ieee };
pub(super) const E5M2FNUZ: Format =
    Format { exponent: 5, mantissa: 2, bias: 16, special: Special::NanNegativeZero };
pub(super) const E2M1: Format =
    Format { exponent: 2, mantissa: 1, bias: 1, special: Special::None };

/// The value of code `bits`; exact, since f32 holds every one of them.
pub(super) fn decode(bits: u8, format: &Format) -> f32 {
    let Format { exponent, mantissa, bias, special } = *format;
    let bits = u32::from(bits);
    let sign_bit = exponent + mantissa;
    let negative = bits >> sign_bit & 1 == 1;
    let magnitude = bits & ((1 << sign_bit) - 1);
    let (e, m) = (magnitude >> mantissa, magnitude & ((1 << mantissa) - 1));
    let top = e == (1 << exponent) - 1;
    let value = match special {
        Special::NanNegativeZero if negative && magnitude == 0 => return f32::NAN,
        Special::NanAllOnes if top && m == (1 << mantissa) - 1 => f32::NAN,
        Special::Ieee if top && m == 0 => f32::INFINITY,
        Special::Ieee if top => f32::NAN,
        _ => {
            let significand = if e == 0 { m } else { m | 1 << mantissa };
            significand as f32 * pow2(e.max(1) as i32 - bias - mantissa as i32)
        }
    };
    if negative { -value } else { value }
}

/// The power of two 2^(bits − 127); code 255 is NaN ("E8M0", the scales of OCP MX).
pub(super) fn decode_e8m0(bits: u8) -> f32 {
    match bits {
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        e => f32::from_bits(u32::from(e) << 23),
    }
}

fn pow2(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_codes() {
        for (bits, format, value) in [
            (0x7e, &E4M3FN, 448.0),
            (0x01, &E4M3FN, 0.001953125),
            (0xb8, &E4M3FN, -1.0),
            (0x7f, &E4M3FNUZ, 240.0),
            (0x7b, &E5M2, 57344.0),
            (0x7c, &E5M2, f32::INFINITY),
            (0x01, &E5M2, 2f32.powi(-16)),
            (0x7f, &E5M2FNUZ, 57344.0),
            (0x07, &E2M1, 6.0),
            (0x09, &E2M1, -0.5),
        ] {
            assert_eq!(decode(bits, format), value, "{bits:#x}");
        }
        for (bits, format) in
            [(0x7f, &E4M3FN), (0xff, &E4M3FN), (0x80, &E4M3FNUZ), (0x7d, &E5M2), (0x80, &E5M2FNUZ)]
        {
            assert!(decode(bits, format).is_nan(), "{bits:#x}");
        }
        assert_eq!(decode_e8m0(127), 1.0);
        assert_eq!(decode_e8m0(0), 2f32.powi(-127));
    }
}
