//! Scalar PAM arithmetic on float32, bit for bit: the oracle of everything else.
//!
//! These are the definitions of [`semantics`](crate::semantics) for this format; the order of sums and
//! the random numbers, which are defined for it alone, are here. No function uses a float multiply,
//! divide, fma, root or transcendental.

use crate::semantics::Format;

const F: Format = Format::F32;

fn pattern(x: f32) -> i64 {
    i64::from(x.to_bits())
}

fn value(pattern: i64) -> f32 {
    f32::from_bits(pattern as u32)
}

/// log2(e) as float32.
pub const LOG2E: f32 = f32::from_bits(0x3FB8_AA3B);
/// ln(2) as float32.
pub const LN2: f32 = f32::from_bits(0x3F31_7218);

/// A constant factor as signed powers of two: `(negative, exponent)`, summed left to right.
pub type Terms = &'static [(bool, i32)];
/// log2(e) ≈ 1 + 1/2 − 1/16 + 1/128 − 1/512 − 1/2048.
pub const LOG2E_TERMS: Terms =
    &[(false, 0), (false, -1), (true, -4), (false, -7), (true, -9), (true, -11)];
/// ln(2) ≈ 1/2 + 1/8 + 1/16 + 1/256 + 1/512.
pub const LN2_TERMS: Terms = &[(false, -1), (false, -3), (false, -4), (false, -8), (false, -9)];

/// Replace a subnormal by the zero of its sign.
pub fn flush(x: f32) -> f32 {
    value(F.flush(pattern(x)))
}

/// `a + b`, rounded to nearest even, without subnormals.
pub fn add(a: f32, b: f32) -> f32 {
    value(F.add(pattern(a), pattern(b)))
}

/// `a − b`, rounded to nearest even, without subnormals.
pub fn sub(a: f32, b: f32) -> f32 {
    value(F.sub(pattern(a), pattern(b)))
}

/// `a ⊙ b`: the piecewise affine product, by adding magnitudes as integers.
pub fn mul(a: f32, b: f32) -> f32 {
    value(F.mul(pattern(a), pattern(b)))
}

/// `a ⊘ b`: the piecewise affine quotient, by subtracting magnitudes as integers.
pub fn div(a: f32, b: f32) -> f32 {
    value(F.div(pattern(a), pattern(b)))
}

/// `x · 2ᵏ` by adding `k` to the exponent field; flushes and saturates like [`mul`].
pub fn scale2(x: f32, k: i32) -> f32 {
    value(F.scale2(pattern(x), F.clamped_shift(i64::from(k))))
}

/// `x · c` for a constant given as signed powers of two, summed left to right from the first term;
/// a non-finite `x` passes unchanged.
pub fn shift_sum(x: f32, terms: &[(bool, i32)]) -> f32 {
    value(F.shift_sum(pattern(x), terms))
}

/// Piecewise affine base-2 logarithm.
pub fn log2(a: f32) -> f32 {
    value(F.log2(pattern(a)))
}

/// Piecewise affine base-2 exponential.
pub fn exp2(x: f32) -> f32 {
    value(F.exp2(pattern(x)))
}

/// Piecewise affine square root: half the bit pattern.
pub fn sqrt(a: f32) -> f32 {
    value(F.sqrt(pattern(a)))
}

/// Exact ∂(a ⊙ b)/∂a = sgn(b)·2^(E_b + [M_a + M_b ≥ 1]); a signed 0 where b is 0.
pub fn mul_slope(a: f32, b: f32) -> f32 {
    value(F.mul_slope(pattern(a), pattern(b)))
}

/// Exact ∂(a ⊘ b)/∂a = sgn(b)·2^(−E_b − [M_a < M_b]).
pub fn div_slope_a(a: f32, b: f32) -> f32 {
    value(F.div_slope_a(pattern(a), pattern(b)))
}

/// Exact ∂(a ⊘ b)/∂b = −sgn(a)·2^(E_a − 2E_b − [M_a < M_b]); 0 where a is 0.
pub fn div_slope_b(a: f32, b: f32) -> f32 {
    value(F.div_slope_b(pattern(a), pattern(b)))
}

/// Exact slope of [`exp2`]: 2^⌊x⌋, 1 at NaN.
pub fn exp2_slope(x: f32) -> f32 {
    value(F.exp2_slope(pattern(x)))
}

/// Exact slope of [`log2`]: 2^(−E_a).
pub fn log2_slope(a: f32) -> f32 {
    value(F.log2_slope(pattern(a)))
}

/// Exact slope of [`sqrt`]: 2^(⌊E_a/2⌋ − E_a − 1).
pub fn sqrt_slope(a: f32) -> f32 {
    value(F.sqrt_slope(pattern(a)))
}

/// Smaller of two, propagating NaN and ordering −0 below +0.
pub fn min(a: f32, b: f32) -> f32 {
    value(F.min(pattern(a), pattern(b)))
}

/// Larger of two, propagating NaN and ordering −0 below +0.
pub fn max(a: f32, b: f32) -> f32 {
    value(F.max(pattern(a), pattern(b)))
}

/// Lanes of a reduction.
pub const LANES: usize = 16;
/// Products in one chunk of a contraction.
pub const CHUNK: usize = 256;

/// Sum in the order of the numeric contract: 16 interleaved lanes, then a halving tree over them.
pub fn reduce_sum(x: impl Iterator<Item = f32>) -> f32 {
    reduce_sum_with(x, add)
}

/// [`reduce_sum`] with another addition (ordinary arithmetic keeps subnormals out the same way).
pub fn reduce_sum_with(x: impl Iterator<Item = f32>, add: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    x.enumerate().for_each(|(i, v)| lanes[i % LANES] = add(lanes[i % LANES], v));
    let mut width = LANES / 2;
    while width > 0 {
        (0..width).for_each(|l| lanes[l] = add(lanes[l], lanes[l + width]));
        width /= 2;
    }
    lanes[0]
}

/// Sum of products in the order of the numeric contract: ascending inside chunks of 256 from +0,
/// chunk sums added in ascending order to a total that starts at +0.
pub fn contract(products: impl Iterator<Item = f32>) -> f32 {
    let (mut total, mut part, mut n) = (0f32, 0f32, 0);
    for p in products {
        part = add(part, p);
        n += 1;
        if n == CHUNK {
            (total, part, n) = (add(total, part), 0.0, 0);
        }
    }
    if n > 0 { add(total, part) } else { total }
}

/// Threefry-2x32 with 20 rounds (Salmon et al. 2011): add, rotate, xor only. Returns the first of
/// the two output words for the counter `(lo, hi)`.
pub fn threefry(key: [u32; 2], counter: [u32; 2]) -> u32 {
    const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
    let ks = [key[0], key[1], 0x1BD1_1BDA ^ key[0] ^ key[1]];
    let (mut x0, mut x1) = (counter[0].wrapping_add(ks[0]), counter[1].wrapping_add(ks[1]));
    for group in 0..5u32 {
        for i in 0..4 {
            x0 = x0.wrapping_add(x1);
            x1 = x1.rotate_left(ROTATIONS[((group % 2) * 4 + i) as usize]) ^ x0;
        }
        let g = group as usize + 1;
        x0 = x0.wrapping_add(ks[g % 3]);
        x1 = x1.wrapping_add(ks[(g + 1) % 3]).wrapping_add(group + 1);
    }
    x0
}
