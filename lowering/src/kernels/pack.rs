//! Packing: copies one panel of a strided matrix into `[k][width]` order and learns its facts.
//!
//! Facts are three `i32`, of d = |x| − smallest normal over the panel: the signed maximum (gives
//! the largest magnitude), the unsigned minimum (the smallest nonzero one; zeros wrap to the top),
//! the signed minimum (negative if there is a zero); one that is not 0 if there is an Inf; then for
//! each row or column the pattern of a NaN if it has one, else 0. Subnormals become zeros of their
//! sign on the way.

use super::product::{BIAS, INF, MAGNITUDE, MIN_NORMAL, NAN, SIGN, fraction};
use super::text::{Lanes, Text, Val};
use crate::codegen::Access;

/// Which stride of the source is 1, known when the kernel is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Neighbours along the panel's width.
    Width,
    /// Neighbours along k: the panel is transposed on the way.
    Depth,
    /// Neither.
    None,
}

/// What is stored for each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    /// The bits, with facts.
    Bits,
    /// The bits less the exponent bias, with facts.
    Biased,
    /// The fraction bits alone (0 for zero), no facts.
    Fraction,
    /// The bits untouched, no facts.
    Copy,
}

impl Store {
    fn has_facts(self) -> bool {
        matches!(self, Self::Bits | Self::Biased)
    }
}

/// A packing function.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pack {
    pub width: usize,
    pub lanes: Lanes,
    pub unit: Unit,
    pub store: Store,
    /// Tables say where rows, columns and terms lie.
    pub tabled: bool,
}

const REDUCE: [&str; 3] = ["maxsi", "minui", "minsi"];
const NEUTRAL: [u32; 3] = [0x8000_0000, 0xFFFF_FFFF, 0x7FFF_FFFF];

/// Where the facts of single rows or columns begin.
pub(super) const NAN_FACTS: i64 = 4;

/// Parameter types: source, valid width, depth, width stride, depth stride, panel, facts.
pub(super) const PACK_TYPES: [&str; 7] =
    ["!llvm.ptr", "i64", "i64", "i64", "i64", "!llvm.ptr", "!llvm.ptr"];

/// The same with tables: source, places along the width, depth, places along the depth, panel, facts.
pub(super) const TABLED_TYPES: [&str; 6] =
    ["!llvm.ptr", "!llvm.ptr", "i64", "!llvm.ptr", "!llvm.ptr", "!llvm.ptr"];

impl Pack {
    pub fn name(&self) -> String {
        let unit = match self.unit {
            Unit::Width => "rows",
            Unit::Depth => "transposed",
            Unit::None => "strided",
        };
        let store = match self.store {
            Store::Bits => "bits",
            Store::Biased => "biased",
            Store::Fraction => "fraction",
            Store::Copy => "copy",
        };
        let tabled = if self.tabled { "_tabled" } else { "" };
        format!("pamc_pack_{}x{}_{unit}_{store}{tabled}", self.width, self.lanes.0)
    }

    /// Elements of a panel's facts.
    pub fn facts(&self) -> usize {
        NAN_FACTS as usize + self.width
    }

    /// Vector width of the bulk path: whole vectors of at most one panel width.
    pub(super) fn vector(&self) -> Lanes {
        match self.unit {
            Unit::Width => Lanes(self.lanes.0.min(self.width)),
            _ => self.lanes,
        }
    }

    /// Writes the packing function.
    pub fn emit(&self) -> String {
        let plain = ["%src", "%width", "%depth", "%sw", "%sk", "%panel", "%facts"];
        let tabled = ["%src", "%across", "%depth", "%down", "%panel", "%facts"];
        let names = if self.tabled { &tabled[..] } else { &plain };
        let args = names.iter().zip(self.types()).map(|(n, t)| (n.to_string(), t.to_string()));
        let args: Vec<_> = args.collect();
        let mut t = Text::default();
        t.func(&self.name(), Access::Shared, &args, |t| match self.tabled {
            true => self.tabled_body(t),
            false => self.body(t),
        });
        t.into_string()
    }

    /// Parameter types.
    pub fn types(&self) -> &'static [&'static str] {
        if self.tabled { &TABLED_TYPES } else { &PACK_TYPES }
    }

    fn body(&self, t: &mut Text) {
        let scalar = Lanes(1);
        let mut facts = Self::neutral(t, scalar);
        let mut done = t.i64(0);
        if self.unit != Unit::None {
            let vector = self.vector();
            let whole = self.width as i64;
            let whole = t.i64(whole);
            let full = t.def(&format!("arith.cmpi eq, %width, {whole} : i64"));
            let mut types = vec![vector.int(); 3];
            types.push("i64".into());
            let results = t.branch(
                &full,
                &types,
                |t| self.bulk(t),
                |t| {
                    let mut none = Self::neutral(t, vector);
                    none.push(t.i64(0));
                    none
                },
            );
            done = results[3].clone();
            facts = joined(t, &results, vector);
        }
        let facts = self.rest(t, &done, facts);
        self.note(t, &facts);
    }

    /// What facts start from.
    pub(super) fn neutral(t: &mut Text, lanes: Lanes) -> Vec<Val> {
        NEUTRAL.map(|v| t.bits(v, lanes)).to_vec()
    }

    /// Writes the facts down.
    pub(super) fn note(&self, t: &mut Text, facts: &[Val]) {
        if self.store.has_facts() {
            for (i, fact) in facts.iter().enumerate() {
                let p = t.at_const("%facts", i as i64);
                t.store(fact, &p, "i32");
            }
            self.special_facts(t, &facts[0]);
        }
    }

    /// Looks for Inf and NaN in the packed panel, if its largest element is one. In a panel that is
    /// not filled, what lies beside its elements may be found too, which costs time and no more.
    fn special_facts(&self, t: &mut Text, largest: &str) {
        let some = may_be_special(t, largest);
        let lanes = Lanes(self.lanes.0.min(self.width));
        let none = t.bits(0, lanes);
        let groups: Vec<i64> = (0..self.width as i64).step_by(lanes.0).collect();
        let found = t.branch(
            &some,
            &vec![lanes.int(); 1 + groups.len()],
            |t| {
                let carried = vec![(none.clone(), lanes.int()); 1 + groups.len()];
                let zero = t.i64(0);
                t.loop_with([&zero, "%depth"], 1, &carried, |t, k, mut found| {
                    let at = t.i64_op("muli", k, self.width as i64);
                    let row = t.at("%panel", &at);
                    for (group, at) in groups.iter().enumerate() {
                        let p = t.at_const(&row, *at);
                        let x = t.load(&p, &lanes.int());
                        let [inf, nan] = self.special(t, &x, lanes);
                        found[0] = t.ints("ori", &found[0], &inf, lanes);
                        found[1 + group] = t.ints("ori", &found[1 + group], &nan, lanes);
                    }
                    found
                })
            },
            |_| vec![none.clone(); 1 + groups.len()],
        );
        for (at, nan) in groups.iter().zip(&found[1..]) {
            let p = t.at_const("%facts", NAN_FACTS + at);
            t.store(nan, &p, &lanes.int());
        }
        let infinite = match lanes.0 {
            1 => found[0].clone(),
            _ => t.def(&format!("vector.reduction <or>, {} : {} into i32", found[0], lanes.int())),
        };
        let p = t.at_const("%facts", NAN_FACTS - 1);
        t.store(&infinite, &p, "i32");
    }

    /// Patterns that are not 0 where a stored element is infinite, and where it is a NaN.
    pub(super) fn special(&self, t: &mut Text, x: &str, lanes: Lanes) -> [Val; 2] {
        let [bias, magnitude_mask, infinity, any_nan, none] =
            [BIAS, MAGNITUDE, INF, NAN, 0].map(|v| t.bits(v, lanes));
        let x = match self.store {
            Store::Biased => t.ints("addi", x, &bias, lanes),
            _ => x.to_string(),
        };
        let magnitude = t.ints("andi", &x, &magnitude_mask, lanes);
        let inf = t.cmp("eq", &magnitude, &infinity, lanes);
        let nan = t.cmp("ugt", &magnitude, &infinity, lanes);
        [inf, nan].map(|found| t.select(&found, &any_nan, &none, lanes))
    }

    /// Whole-width panels by vectors; yields the lane-wise facts and the depth that is done.
    fn bulk(&self, t: &mut Text) -> Vec<Val> {
        let vector = self.vector();
        let carried: Vec<_> = NEUTRAL.map(|v| (t.bits(v, vector), vector.int())).to_vec();
        let zero = t.i64(0);
        let (done, step) = match self.unit {
            Unit::Width => ("%depth".to_string(), 1),
            _ => {
                let lanes = self.lanes.0 as i64;
                let blocks = t.i64_op("divui", "%depth", lanes);
                (t.i64_op("muli", &blocks, lanes), lanes)
            }
        };
        let mut results = t.loop_with([&zero, &done], step, &carried, |t, k, facts| {
            let src = t.bin("muli", k, "%sk", "i64");
            let src = t.at("%src", &src);
            let to = t.i64_op("muli", k, self.width as i64);
            let to = t.at("%panel", &to);
            match self.unit {
                Unit::Width => self.copy_row(t, &src, &to, facts),
                _ => self.transpose_block(t, &src, &to, facts),
            }
        });
        results.push(done);
        results
    }

    fn copy_row(&self, t: &mut Text, src: &str, to: &str, mut facts: Vec<Val>) -> Vec<Val> {
        let vector = self.vector();
        for at in (0..self.width).step_by(vector.0) {
            let p = t.at_const(src, at as i64);
            let x = t.load(&p, &vector.int());
            let y = self.element(t, &x, &mut facts, vector);
            let p = t.at_const(to, at as i64);
            t.store(&y, &p, &vector.int());
        }
        facts
    }

    /// One block of `lanes` depths: groups of rows are loaded along k and interleaved pairwise,
    /// each step of which moves one address bit, until k is the slower index.
    fn transpose_block(&self, t: &mut Text, src: &str, to: &str, facts: Vec<Val>) -> Vec<Val> {
        let lanes = self.lanes;
        self.transpose(t, to, facts, |t, rows| {
            rows.map(|row| {
                let at = t.i64_op("muli", "%sw", row as i64);
                let p = t.at(src, &at);
                t.load(&p, &lanes.int())
            })
            .collect()
        })
    }

    /// The same with rows as they are fetched.
    pub(super) fn transpose(
        &self,
        t: &mut Text,
        to: &str,
        mut facts: Vec<Val>,
        mut fetch: impl FnMut(&mut Text, std::ops::Range<usize>) -> Vec<Val>,
    ) -> Vec<Val> {
        let lanes = self.lanes;
        let group = lanes.0.min(self.width);
        for first in (0..self.width).step_by(group) {
            let rows = fetch(t, first..first + group);
            let mut rows: Vec<Val> =
                rows.iter().map(|x| self.element(t, x, &mut facts, lanes)).collect();
            for _ in 0..group.trailing_zeros() {
                rows = interleave(t, &rows, lanes);
            }
            for (i, row) in rows.iter().enumerate() {
                let at = if group == self.width { i * lanes.0 } else { i * self.width + first };
                let p = t.at_const(to, at as i64);
                t.store(row, &p, &lanes.int());
            }
        }
        facts
    }

    /// Element by element: depths from `done` on, valid width only.
    fn rest(&self, t: &mut Text, done: &str, facts: Vec<Val>) -> Vec<Val> {
        let scalar = Lanes(1);
        let carry =
            |facts: Vec<Val>| facts.into_iter().map(|f| (f, scalar.int())).collect::<Vec<_>>();
        t.loop_with([done, "%depth"], 1, &carry(facts), |t, k, facts| {
            let src = t.bin("muli", k, "%sk", "i64");
            let src = t.at("%src", &src);
            let to = t.i64_op("muli", k, self.width as i64);
            let to = t.at("%panel", &to);
            let zero = t.i64(0);
            t.loop_with([&zero, "%width"], 1, &carry(facts), |t, w, mut facts| {
                let at = t.bin("muli", w, "%sw", "i64");
                let p = t.at(&src, &at);
                let x = t.load(&p, "i32");
                let y = self.element(t, &x, &mut facts, scalar);
                let p = t.at(&to, w);
                t.store(&y, &p, "i32");
                facts
            })
        })
    }

    pub(super) fn element(&self, t: &mut Text, x: &str, facts: &mut [Val], lanes: Lanes) -> Val {
        match self.store {
            Store::Copy => return x.to_string(),
            Store::Fraction => return fraction(t, x, lanes),
            Store::Bits | Store::Biased => {}
        }
        let [magnitude_mask, min_normal, sign_mask, none] =
            [MAGNITUDE, MIN_NORMAL, SIGN, 0].map(|v| t.bits(v, lanes));
        let magnitude = t.ints("andi", x, &magnitude_mask, lanes);
        let above = t.ints("subi", &magnitude, &min_normal, lanes);
        for (fact, op) in facts.iter_mut().zip(REDUCE) {
            *fact = t.ints(op, fact, &above, lanes);
        }
        let tiny = t.cmp("slt", &above, &none, lanes);
        let sign = t.ints("andi", x, &sign_mask, lanes);
        let flushed = t.select(&tiny, &sign, x, lanes);
        if self.store == Store::Bits {
            return flushed;
        }
        let bias = t.bits(BIAS, lanes);
        t.ints("subi", &flushed, &bias, lanes)
    }
}

/// Whether a panel whose largest element this is may hold Inf or NaN.
pub(super) fn may_be_special(t: &mut Text, largest: &str) -> Val {
    let least = t.bits(INF - MIN_NORMAL, Lanes(1));
    t.cmp("sge", largest, &least, Lanes(1))
}

/// The facts of all lanes.
pub(super) fn joined(t: &mut Text, facts: &[Val], lanes: Lanes) -> Vec<Val> {
    let one = |(op, fact): (&str, &Val)| match lanes.0 {
        1 => fact.clone(),
        _ => t.def(&format!("vector.reduction <{op}>, {fact} : {} into i32", lanes.int())),
    };
    REDUCE.into_iter().zip(facts).map(one).collect()
}

/// A step of transposition: moves one bit of the lanes' numbers to the rows'.
pub(super) fn interleave(t: &mut Text, rows: &[Val], lanes: Lanes) -> Vec<Val> {
    let half = rows.len() / 2;
    let ty = lanes.int();
    let mut out = Vec::with_capacity(rows.len());
    for i in 0..half {
        for part in 0..2 {
            let from = part * lanes.0 / 2;
            let order: Vec<_> = (from..from + lanes.0 / 2)
                .flat_map(|l| [l.to_string(), (lanes.0 + l).to_string()])
                .collect();
            out.push(t.def(&format!(
                "vector.shuffle {}, {} [{}] : {ty}, {ty}",
                rows[i],
                rows[i + half],
                order.join(", ")
            )));
        }
    }
    out
}
