//! The choice of inner kernel from the facts of two panels.

use super::micro::Version;
use super::plan::SlopeOf;
use super::product::{BIAS, FRACTION, INF, MAX_FINITE, MIN_NORMAL};
use super::text::{Text, Val};

/// The versions that [`choose`] tells apart, in the order of its result.
pub(super) fn versions(slope: bool) -> [Version; 7] {
    [
        Version::Fast,
        Version::Masked { a: true, b: false },
        Version::Masked { a: false, b: true },
        Version::Masked { a: true, b: true },
        if slope { Version::Clamped } else { Version::Flushing },
        Version::Clamped,
        Version::Full,
    ]
}

/// Range of the magnitudes in a panel, as `i64`: largest, smallest nonzero, and 1 if there is a
/// zero; and whether an Inf is in it (`i1`).
pub(super) struct Range {
    largest: Val,
    smallest: Val,
    zero: Val,
    infinite: Val,
}

/// Loads a panel's facts; for a panel that a slope is taken of, the range of its powers of two.
pub(super) fn load_range(t: &mut Text, facts: &str, is_slope: bool) -> Range {
    let load = |t: &mut Text, at, extend: &str| {
        let p = t.at_const(facts, at);
        let x = t.load(&p, "i32");
        t.def(&format!("arith.{extend} {x} : i32 to i64"))
    };
    let above_max = load(t, 0, "extsi");
    let above_min = load(t, 1, "extui");
    let lowest = load(t, 2, "extsi");
    let min_normal = i64::from(MIN_NORMAL);
    let mut largest = t.i64_op("addi", &above_max, min_normal);
    let mut smallest = t.i64_op("addi", &above_min, min_normal);
    if is_slope {
        largest = t.i64_op("andi", &largest, !i64::from(FRACTION));
        largest = t.i64_op("addi", &largest, min_normal);
        smallest = t.i64_op("andi", &smallest, !i64::from(FRACTION));
    }
    // A panel of zeros has no smallest nonzero element: its minimum wrapped around.
    let infinity = t.i64(i64::from(INF) + min_normal);
    let none = t.def(&format!("arith.cmpi sgt, {smallest}, {infinity} : i64"));
    let one = t.i64(i64::from(BIAS));
    let smallest = t.def(&format!("arith.select {none}, {one}, {smallest} : i64"));
    let zero = t.i64(0);
    let zero = t.def(&format!("arith.cmpi slt, {lowest}, {zero} : i64"));
    let zero = t.def(&format!("arith.extui {zero} : i1 to i64"));
    // The slope by an infinite operand is finite.
    let infinite = match is_slope {
        true => t.i64(0),
        false => load(t, 3, "extui"),
    };
    let none = t.i64(0);
    let infinite = t.def(&format!("arith.cmpi ne, {infinite}, {none} : i64"));
    Range { largest, smallest, zero, infinite }
}

/// Index (`i64`) into [`versions`] of the cheapest version that is exact for both ranges.
///
/// With a zero product skipped, a sum must never be −0, which only flushing makes: all terms are
/// multiples of 2⁻²³ of the smallest, so 23 exponents of room below it rule that out.
pub(super) fn choose(t: &mut Text, a: &Range, b: &Range) -> Val {
    let larger = t.bin("maxsi", &a.largest, &b.largest, "i64");
    let infinity = t.i64(i64::from(INF));
    let special = t.def(&format!("arith.cmpi sge, {larger}, {infinity} : i64"));
    let high = t.bin("addi", &a.largest, &b.largest, "i64");
    let limit = t.i64(i64::from(MAX_FINITE) + i64::from(BIAS));
    let saturates = t.def(&format!("arith.cmpi sgt, {high}, {limit} : i64"));
    let clamps = t.bin("ori", &special, &saturates, "i1");
    let infinite = t.bin("ori", &a.infinite, &b.infinite, "i1");
    let twice = t.i64_op("muli", &b.zero, 2);
    let zeros = t.bin("addi", &a.zero, &twice, "i64");
    let none = t.i64(0);
    let any_zero = t.def(&format!("arith.cmpi ne, {zeros}, {none} : i64"));
    let plain = i64::from(BIAS) + i64::from(MIN_NORMAL);
    let [with_zeros, without] = [plain + (23 << 23), plain].map(|v| t.i64(v));
    let floor = t.def(&format!("arith.select {any_zero}, {with_zeros}, {without} : i64"));
    let low = t.bin("addi", &a.smallest, &b.smallest, "i64");
    let flushes = t.def(&format!("arith.cmpi slt, {low}, {floor} : i64"));
    let [flushing, clamped, full] = [4, 5, 6].map(|v| t.i64(v));
    let choice = t.def(&format!("arith.select {flushes}, {flushing}, {zeros} : i64"));
    let choice = t.def(&format!("arith.select {clamps}, {clamped}, {choice} : i64"));
    t.def(&format!("arith.select {infinite}, {full}, {choice} : i64"))
}

/// Whether the left and the right panel are powers of two to a slope kernel.
pub(super) fn slope_sides(of: Option<SlopeOf>) -> [bool; 2] {
    [of == Some(SlopeOf::Left), of == Some(SlopeOf::Right)]
}
