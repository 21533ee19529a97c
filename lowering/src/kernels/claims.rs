//! The kernels' work on one element and one product as straight-line functions, which proofs are about:
//! written by what writes the kernels, with one lane in place of a vector's.
//!
//! Parameters of each function stand in [`arg`], what it computes is stored at places of [`slot`].

use super::direct;
use super::micro::{Micro, Version};
use super::pack::{Pack, Store, Unit, may_be_special};
use super::plan::SlopeOf;
use super::product::{BIAS, MIN_NORMAL, fraction};
use super::select::{choose, load_range, slope_sides, versions};
use super::straight;
use super::text::{Lanes, Text, Val};
use super::{CHUNK, Tile};
use crate::codegen::Access;

const ONE: Lanes = Lanes(1);

/// Numbers of the functions' parameters.
pub(crate) mod arg {
    /// Bits of an element of the left operand.
    pub(crate) const LEFT: usize = 0;
    /// Bits of an element of the right operand.
    pub(crate) const RIGHT: usize = 1;
    /// Bits of what a slope is taken at.
    pub(crate) const AT: usize = 2;
    /// The sum so far, a float.
    pub(crate) const SUM: usize = 3;
    /// Facts of the panels, left and right.
    pub(crate) const FACTS: [usize; 2] = [5, 6];
    /// Where results go.
    pub(crate) const RESULTS: usize = 7;
}

/// Places of results.
pub(crate) mod slot {
    /// Index of the chosen version.
    pub(crate) const CHOICE: usize = 0;
    /// The sum with the product.
    pub(crate) const SUM: usize = 2;
    /// What a chunk's sum starts from.
    pub(crate) const START: usize = 3;
    /// The element as it is packed.
    pub(crate) const PACKED: usize = 8;
    /// The three facts with the element.
    pub(crate) const FACTS: usize = 9;
    /// Whether the panel is looked through for Inf and NaN.
    pub(crate) const LOOKS: usize = 12;
    /// What is then found in the element: Inf, NaN.
    pub(crate) const FOUND: [usize; 2] = [13, 14];
    /// Four facts with an element that is read where it lies, the same before it, and the extrema.
    pub(crate) const SEEN: usize = 16;
}

/// Where the facts of rows and columns begin: a NaN of the row or column, or 0.
pub(crate) const RANGE_FACTS: usize = super::pack::NAN_FACTS as usize;

const PARAMETERS: [(&str, &str); 8] = [
    ("%x", "i32"),
    ("%y", "i32"),
    ("%at", "i32"),
    ("%sum", "f32"),
    ("%a", "!llvm.ptr"),
    ("%a_facts", "!llvm.ptr"),
    ("%b_facts", "!llvm.ptr"),
    ("%results", "!llvm.ptr"),
];

/// What is known of a version's panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The version that two panels' facts choose has this index.
    Chosen(usize),
    /// Nothing: contractions that are not packed.
    Nothing,
}

/// One version of the product, as it is chosen.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// Names the version and what a slope is taken of.
    pub name: String,
    /// Which panel is one of slopes: left, right.
    pub slopes: [bool; 2],
    /// When it runs.
    pub told: Told,
    /// True if it passes over zero products, for which sums must never be −0.
    pub skips_zeros: bool,
    /// True if sums that meet a NaN start from it, for which products of NaN may be anything.
    pub starts_from_nan: bool,
    version: Option<Version>,
    slope_of: Option<SlopeOf>,
    /// The right operand is read where it lies.
    straight: bool,
}

fn function(body: impl FnOnce(&mut Text)) -> String {
    let parameters = PARAMETERS.map(|(name, ty)| (name.to_string(), ty.to_string()));
    let mut t = Text::default();
    t.func("f", Access::Exported, &parameters, body);
    t.into_string()
}

fn give(t: &mut Text, value: &str, slot: usize, ty: &str) {
    let p = t.at_const("%results", slot as i64);
    t.store(value, &p, ty);
}

fn pack(store: Store) -> Pack {
    Pack { width: 1, lanes: ONE, unit: Unit::None, store, tabled: false }
}

/// Every version of every kernel.
pub(crate) fn claims() -> Vec<Claim> {
    let mut out = Vec::new();
    for slope_of in [None, Some(SlopeOf::Left), Some(SlopeOf::Right)] {
        let what = match slope_of {
            None => "product",
            Some(SlopeOf::Left) => "slope of left",
            Some(SlopeOf::Right) => "slope of right",
        };
        let claim = |told, version: Option<Version>, suffix: &str| Claim {
            name: format!("{what} {suffix}"),
            slopes: slope_sides(slope_of),
            told,
            skips_zeros: matches!(version, Some(Version::Masked { .. })),
            starts_from_nan: version.is_some_and(|v| v == Version::Clamped),
            version,
            slope_of,
            straight: false,
        };
        for (i, version) in versions(slope_of.is_some()).into_iter().enumerate() {
            let suffix = format!("{} {i}", version.suffix());
            out.push(claim(Told::Chosen(i), Some(version), &suffix));
        }
        out.push(claim(Told::Nothing, None, "direct"));
        let straight = straight::VERSIONS.into_iter().enumerate().filter(|_| slope_of.is_none());
        for (i, version) in straight {
            let suffix = format!("straight {} {i}", version.suffix());
            let claim = claim(Told::Chosen(i), Some(version), &suffix);
            out.push(Claim { straight: true, ..claim });
        }
    }
    out
}

impl Claim {
    /// The function: both elements are packed, facts choose a version, and this version adds the
    /// product to the sum.
    pub(crate) fn text(&self) -> String {
        function(|t| match self.version {
            Some(version) => self.packed(t, version),
            None => {
                let fraction = self.slope_of.map(|_| fraction(t, "%at", ONE));
                let term = direct::product(t, self.slope_of, ["%x", "%y"], fraction.as_deref());
                let sum = t.bin("addf", "%sum", &term, "f32");
                give(t, &sum, slot::SUM, "f32");
            }
        })
    }

    fn packed(&self, t: &mut Text, version: Version) {
        let tile = Tile { rows: 1, vectors: 1, lanes: ONE };
        let micro = Micro { tile, slope_of: self.slope_of, version };
        let ranges = [0, 1].map(|s| load_range(t, PARAMETERS[arg::FACTS[s]].0, self.slopes[s]));
        let choice = choose(t, &ranges[0], &ranges[1]);
        give(t, &choice, slot::CHOICE, "i64");
        let stored = |t: &mut Text, store, x| pack(store).element(t, x, &mut [], ONE);
        let left = stored(t, Store::Bits, "%x");
        let right = match self.straight {
            true => "%y".to_string(),
            false => stored(t, Store::Biased, "%y"),
        };
        let parts = if self.straight {
            straight::parts(t, &micro, &left, ONE)
        } else if micro.split_rows() {
            let zero = micro.zero_magnitude(t, "%b_facts", MIN_NORMAL - 1 + BIAS, ONE);
            micro.split(t, &left, &zero, ONE)
        } else {
            vec![left]
        };
        for (i, part) in parts.iter().enumerate() {
            let p = t.at_const("%a", (i * CHUNK) as i64);
            t.store(part, &p, "i32");
        }
        let row = micro.row(t, "%a", 0);
        let column = micro.column(t, right);
        let fraction = self.slope_of.map(|_| pack(Store::Fraction).element(t, "%at", &mut [], ONE));
        let sum = micro.accumulate(t, &row, &column, fraction.as_deref(), "%sum");
        give(t, &sum, slot::SUM, "f32");
        let (start, _) = micro.starts(t, 1).swap_remove(0);
        give(t, &start, slot::START, "f32");
    }
}

/// The function that packs one element of the left operand, or of the right one, and updates the facts
/// of its panel.
pub(crate) fn packing(right: bool) -> String {
    function(|t| {
        let pack = pack(if right { Store::Biased } else { Store::Bits });
        let mut facts: Vec<Val> = (0..3)
            .map(|i| {
                let p = t.at_const("%a_facts", i);
                t.load(&p, "i32")
            })
            .collect();
        let packed = pack.element(t, "%x", &mut facts, ONE);
        give(t, &packed, slot::PACKED, "i32");
        for (i, fact) in facts.iter().enumerate() {
            give(t, fact, slot::FACTS + i, "i32");
        }
        let looks = may_be_special(t, &facts[0]);
        let none = t.bits(0, ONE);
        let one = t.bits(1, ONE);
        let looks = t.select(&looks, &one, &none, ONE);
        give(t, &looks, slot::LOOKS, "i32");
        for (found, slot) in pack.special(t, &packed, ONE).iter().zip(slot::FOUND) {
            give(t, found, slot, "i32");
        }
    })
}

/// The function that looks at an element of a matrix that is read where it lies: places 0 and 1 of
/// `arg::FACTS[0]` are the largest and the smallest magnitude before it; the facts with it go to
/// [`slot::SEEN`], those before to the four places behind.
pub(crate) fn reading() -> String {
    function(|t| {
        let before = [0, 1].map(|i| {
            let p = t.at_const("%a_facts", i);
            t.load(&p, "i32")
        });
        let with = straight::look(t, "%x", &before, ONE);
        for (i, seen) in [&with, &before].into_iter().enumerate() {
            for (j, fact) in straight::facts_of(t, [&seen[0], &seen[1]]).iter().enumerate() {
                give(t, fact, slot::SEEN + 4 * i + j, "i32");
            }
        }
        for (i, seen) in with.iter().enumerate() {
            give(t, seen, slot::SEEN + 8 + i, "i32");
        }
    })
}
