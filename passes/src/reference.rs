//! Scalar PAM arithmetic on float32, bit for bit: the oracle of everything else.
//!
//! Source: Kosson & Jaggi 2023 (arXiv 2305.17190), after Mogami 2020 and Mitchell 1962. There are
//! no subnormals: operands and results that would be one are zeros of the same sign. No function
//! here uses a float multiply, divide, fma, root or transcendental.

const BIAS: i64 = 0x3F80_0000;
const MIN_NORMAL: i64 = 0x0080_0000;
const INF: i64 = 0x7F80_0000;
const MAX_FINITE: i64 = 0x7F7F_FFFF;
const SIGN: u32 = 0x8000_0000;

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

fn magnitude(x: f32) -> i64 {
    i64::from(x.to_bits() & !SIGN)
}

fn sign(x: f32) -> u32 {
    x.to_bits() & SIGN
}

/// Magnitude with subnormals taken as zero.
fn flushed(x: f32) -> i64 {
    let m = magnitude(x);
    if m < MIN_NORMAL { 0 } else { m }
}

/// Flush an underflowing magnitude to zero, saturate an overflowing one to the largest finite.
fn range(m: i64) -> u32 {
    if m < MIN_NORMAL {
        0
    } else if m >= INF {
        MAX_FINITE as u32
    } else {
        m as u32
    }
}

fn pow2(sign: u32, e: i64) -> f32 {
    f32::from_bits(sign | range((e + 127) << 23))
}

/// Replace a subnormal by the zero of its sign.
pub fn flush(x: f32) -> f32 {
    if magnitude(x) < MIN_NORMAL { f32::from_bits(sign(x)) } else { x }
}

/// `a + b`, rounded to nearest even, without subnormals.
pub fn add(a: f32, b: f32) -> f32 {
    flush(flush(a) + flush(b))
}

/// `a − b`, rounded to nearest even, without subnormals.
pub fn sub(a: f32, b: f32) -> f32 {
    flush(flush(a) - flush(b))
}

/// `a ⊙ b`: the piecewise affine product, by adding magnitudes as integers.
pub fn mul(a: f32, b: f32) -> f32 {
    let (ma, mb, s) = (flushed(a), flushed(b), sign(a) ^ sign(b));
    if ma > INF || mb > INF {
        return f32::NAN;
    }
    let (zero, inf) = (ma == 0 || mb == 0, ma == INF || mb == INF);
    match (zero, inf) {
        (true, true) => f32::NAN,
        (true, false) => f32::from_bits(s),
        (false, true) => f32::from_bits(s | INF as u32),
        (false, false) => f32::from_bits(s | range(ma + mb - BIAS)),
    }
}

/// `a ⊘ b`: the piecewise affine quotient, by subtracting magnitudes as integers.
pub fn div(a: f32, b: f32) -> f32 {
    let (ma, mb, s) = (flushed(a), flushed(b), sign(a) ^ sign(b));
    if ma > INF || mb > INF || (ma == 0 && mb == 0) || (ma == INF && mb == INF) {
        f32::NAN
    } else if mb == 0 || ma == INF {
        f32::from_bits(s | INF as u32)
    } else if ma == 0 || mb == INF {
        f32::from_bits(s)
    } else {
        f32::from_bits(s | range(ma - mb + BIAS))
    }
}

/// `x · 2ᵏ` by adding `k` to the exponent field; flushes and saturates like [`mul`].
pub fn scale2(x: f32, k: i32) -> f32 {
    let m = flushed(x);
    if m > INF {
        f32::NAN
    } else if m == 0 || m == INF {
        f32::from_bits(sign(x) | m as u32)
    } else {
        f32::from_bits(sign(x) | range(m + (i64::from(k) << 23)))
    }
}

/// Piecewise affine base-2 logarithm.
pub fn log2(a: f32) -> f32 {
    let m = flushed(a);
    if m > INF || (sign(a) != 0 && m != 0) {
        f32::NAN
    } else if m == 0 {
        f32::NEG_INFINITY
    } else if m == INF {
        f32::INFINITY
    } else {
        scale2((m - BIAS) as f32, -23)
    }
}

/// Piecewise affine base-2 exponential.
pub fn exp2(x: f32) -> f32 {
    if x.is_nan() {
        f32::NAN
    } else if x == f32::INFINITY {
        f32::INFINITY
    } else if x >= 128.0 {
        f32::from_bits(MAX_FINITE as u32)
    } else if x < -126.0 {
        0.0
    } else {
        // x · 2²³ is exact after scaling; the conversion then rounds ties to even.
        let n = scale2(x, 23).round_ties_even() as i64;
        f32::from_bits((n + BIAS) as u32)
    }
}

/// Piecewise affine square root: half the bit pattern.
pub fn sqrt(a: f32) -> f32 {
    let m = flushed(a);
    if m > INF || (sign(a) != 0 && m != 0) {
        f32::NAN
    } else if m == 0 {
        0.0
    } else if m == INF {
        f32::INFINITY
    } else {
        f32::from_bits(((m + BIAS) >> 1) as u32)
    }
}

/// `x · c` for a constant given as signed powers of two, summed left to right from the first term;
/// a non-finite `x` passes unchanged.
pub fn shift_sum(x: f32, terms: &[(bool, i32)]) -> f32 {
    if !x.is_finite() {
        return x;
    }
    let mut parts = terms.iter().map(|&(negative, k)| {
        let t = scale2(x, k);
        if negative { -t } else { t }
    });
    let first = parts.next().unwrap_or(0.0);
    parts.fold(first, add)
}

/// Exponent and mantissa fields of a flushed operand; a zero has mantissa 0.
fn parts(x: f32) -> (i64, i64, bool) {
    let m = magnitude(x);
    let zero = m < MIN_NORMAL;
    ((m >> 23) - 127, if zero { 0 } else { m & 0x7F_FFFF }, zero)
}

/// Exact ∂(a ⊙ b)/∂a = sgn(b)·2^(E_b + [M_a + M_b ≥ 1]); a signed 0 where b is 0.
pub fn mul_slope(a: f32, b: f32) -> f32 {
    let ((_, fa, _), (eb, fb, zb)) = (parts(a), parts(b));
    if zb { f32::from_bits(sign(b)) } else { pow2(sign(b), eb + ((fa + fb) >> 23)) }
}

/// Exact ∂(a ⊘ b)/∂a = sgn(b)·2^(−E_b − [M_a < M_b]).
pub fn div_slope_a(a: f32, b: f32) -> f32 {
    let ((_, fa, _), (eb, _, _)) = (parts(a), parts(b));
    let fb = magnitude(b) & 0x7F_FFFF;
    pow2(sign(b), -eb - i64::from(fa < fb))
}

/// Exact ∂(a ⊘ b)/∂b = −sgn(a)·2^(E_a − 2E_b − [M_a < M_b]); 0 where a is 0.
pub fn div_slope_b(a: f32, b: f32) -> f32 {
    let ((ea, fa, za), (eb, _, _)) = (parts(a), parts(b));
    let fb = magnitude(b) & 0x7F_FFFF;
    if za { 0.0 } else { pow2(sign(a) ^ SIGN, ea - 2 * eb - i64::from(fa < fb)) }
}

/// Exact slope of [`exp2`]: 2^⌊x⌋, with x clamped to ±200 (NaN to 0).
pub fn exp2_slope(x: f32) -> f32 {
    let x = if x.is_nan() { 0.0 } else { x.clamp(-200.0, 200.0) };
    pow2(0, x.floor() as i64)
}

/// Exact slope of [`log2`]: 2^(−E_a).
pub fn log2_slope(a: f32) -> f32 {
    pow2(0, -parts(a).0)
}

/// Exact slope of [`sqrt`]: 2^(⌊E_a/2⌋ − E_a − 1).
pub fn sqrt_slope(a: f32) -> f32 {
    let ea = parts(a).0;
    pow2(0, (ea >> 1) - ea - 1)
}

/// Smaller of two, propagating NaN and ordering −0 below +0.
pub fn min(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else if a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

/// Larger of two, propagating NaN and ordering −0 below +0.
pub fn max(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        f32::NAN
    } else if a > b || (a == b && b.is_sign_negative()) {
        a
    } else {
        b
    }
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
