//! The contraction kernels: what is packed is the operands and the truth about them, and the version that
//! these facts choose adds the reference's product to the sum.

use pamc_passes::prove::Obligation;
use pamc_passes::prove::term::{Arena, Fact, Sym};
use pamc_passes::semantics::Int;

use super::smt::{self, Function};
use super::{F, Problem};
use crate::Error;
use crate::codegen::with_module;
use crate::kernels::claims::{Claim, RANGE_FACTS, Told, arg, claims, packing, reading, slot};

/// `below x` is the distance of |x| from the smallest normal number, of which the facts are extrema.
const HEAD: &str = "\
(define-fun magnitude ((x (_ BitVec 32))) (_ BitVec 32) (bvand x #x7fffffff))
(define-fun above ((x (_ BitVec 32))) (_ BitVec 32) (bvsub (magnitude x) #x00800000))
(define-fun infinite ((x (_ BitVec 32))) Bool (= (magnitude x) #x7f800000))
(define-fun normal ((x (_ BitVec 32))) (_ BitVec 32) (flushed x))
";

/// The text of a problem under construction.
struct Script(String);

impl Script {
    fn assert(&mut self, fact: &str) {
        self.0 += &format!("(assert {fact})\n");
    }

    /// What the packing promises of an element `x` in a panel with these facts.
    fn covers(&mut self, x: &str, facts: [&str; 3]) {
        let [largest, smallest, lowest] = facts;
        self.assert(&format!("(bvsge {largest} (above {x}))"));
        self.assert(&format!("(bvule {smallest} (above {x}))"));
        self.assert(&format!("(bvsle {lowest} (above {x}))"));
        self.assert(&format!("(bvsle {largest} #x7f7fffff)"));
        self.assert(&format!("(bvsge {lowest} #xff800000)"));
    }
}

fn needed(function: &Function, pointer: usize, place: usize) -> Result<&str, Error> {
    let missing = || Error::Untranslatable(format!("nothing at {place} of parameter {pointer}"));
    function.at(pointer, place).ok_or_else(missing)
}

/// Whether the emitted bits `name` are those of `want`, or both are NaN.
fn same<'a>(arena: &'a Arena, name: &str, want: Sym<'a>) -> Fact<'a> {
    let got = arena.variable(name);
    got.eq(want) | (F.is_nan(got) & F.is_nan(want))
}

/// What the kernel of a claim does wrong, if anything; `text` is its function.
pub(super) fn product(claim: &Claim, text: &str) -> Result<Problem, Error> {
    let f = with_module(text, smt::translate)??;
    let arena = Arena::new(F, F.bits() + 2).with_sums(smt::PLUS);
    let [x, y, at, sum] = ["wx", "wy", "wat", "wsum"].map(|n| arena.variable(n));
    let [left, right] = claim.slopes;
    let term = match (left, right) {
        (true, _) => F.mul(F.mul_slope(at, x), y),
        (_, true) => F.mul(x, F.mul_slope(at, y)),
        _ => F.mul(x, y),
    };
    let exact = same(&arena, "got", F.add(sum, term));
    let (no_nan, nan_term) = (!F.is_nan(term), F.is_nan(term));
    // Multiples of the smallest normal number: see the facts about sums.
    let on_grid = F.magnitude(term).eq(0.into()) | !F.magnitude(term).lt((24 << 23).into());
    // A term makes each fact known to the text.
    let named = [exact, no_nan, nan_term, on_grid].map(|fact| arena.name(fact));
    let [exact, _, nan_term, on_grid] = &named;
    let mut s = Script(f.text.clone() + HEAD + &arena.text());
    for (wide, i) in [("wx", arg::LEFT), ("wy", arg::RIGHT), ("wat", arg::AT), ("wsum", arg::SUM)] {
        s.assert(&format!("(= {wide} ((_ zero_extend 2) x{i}))"));
    }
    s.assert(&format!("(= got ((_ zero_extend 2) {}))", needed(&f, arg::RESULTS, slot::SUM)?));
    let mut claims = Vec::new();
    let mut when = String::from("true");
    if let Told::Chosen(version) = claim.told {
        told(&mut s, &f, claim, version)?;
        let start = needed(&f, arg::RESULTS, slot::START)?;
        if claim.starts_from_nan {
            let is_nan = |side: usize| format!("(nan x{})", [arg::LEFT, arg::RIGHT][side]);
            let sides: Vec<usize> = (0..2).filter(|&i| !claim.slopes[i]).collect();
            let some: Vec<String> = sides.iter().map(|&i| is_nan(i)).collect();
            when = format!("(not (or {} false))", some.join(" "));
            claims.push(format!("(or {when} (and (nan {start}) {nan_term}))"));
            let got = needed(&f, arg::RESULTS, slot::SUM)?;
            claims.push(format!("(=> (nan x{}) (nan {got}))", arg::SUM));
            let facts = sides.iter().filter_map(|&i| f.at(arg::FACTS[i], RANGE_FACTS));
            let none: Vec<String> = facts.map(|fact| format!("(= {fact} #x00000000)")).collect();
            claims.push(format!("(=> (and {} true) (= {start} #x00000000))", none.join(" ")));
        } else {
            claims.push(format!("(= {start} #x00000000)"));
        }
    }
    if claim.skips_zeros {
        s.assert(&format!("(= (flushed x{0}) x{0})", arg::SUM));
        s.assert(&format!("(distinct x{} #x80000000)", arg::SUM));
        claims.push(on_grid.clone());
    }
    claims.push(format!("(=> {when} {exact})"));
    let operands = [arg::LEFT, arg::RIGHT, arg::AT, arg::SUM].map(|i| format!("x{i}")).to_vec();
    Ok(Problem { given: s.0, claim: format!("(and {})", claims.join(" ")), operands })
}

/// What is known where a version runs: the facts hold of the operands, and choose it.
fn told(s: &mut Script, f: &Function, claim: &Claim, version: usize) -> Result<(), Error> {
    let choice = needed(f, arg::RESULTS, slot::CHOICE)?;
    s.assert(&format!("(= {choice} (_ bv{version} 64))"));
    for (side, x) in [arg::LEFT, arg::RIGHT].into_iter().enumerate() {
        let x = format!("x{x}");
        let fact = |i| needed(f, arg::FACTS[side], i);
        s.covers(&x, [fact(0)?, fact(1)?, fact(2)?]);
        if !claim.slopes[side] {
            let infinite = fact(RANGE_FACTS - 1)?;
            s.assert(&format!("(=> (infinite {x}) (distinct {infinite} #x00000000))"));
        }
        if let Some(nan) = f.at(arg::FACTS[side], RANGE_FACTS) {
            s.assert(&format!("(or (= {nan} #x00000000) (= {nan} #x7fc00000))"));
            s.assert(&format!("(=> (nan {x}) (= {nan} #x7fc00000))"));
        }
    }
    Ok(())
}

/// What packing an element does wrong, if anything.
pub(super) fn packed(right: bool, text: &str) -> Result<Problem, Error> {
    let f = with_module(text, smt::translate)??;
    let mut s = Script(f.text.clone() + HEAD);
    let result = |place| needed(&f, arg::RESULTS, place);
    let bias = if right { "#x3f800000" } else { "#x00000000" };
    let mut claims = vec![format!("(= (bvadd {} {bias}) (flushed x0))", result(slot::PACKED)?)];
    // Each fact is that of the element or the one before, and goes for both.
    for (i, order) in ["bvsge", "bvule", "bvsle"].into_iter().enumerate() {
        let (new, old) = (result(slot::FACTS + i)?, format!("fact{i}"));
        s.0 += &format!("(declare-const {old} (_ BitVec 32))\n");
        s.assert(&format!("(= {old} m{}_{i})", arg::FACTS[0]));
        claims.push(format!("(and ({order} {new} {old}) ({order} {new} (above x0)))"));
        claims.push(format!("(or (= {new} {old}) (= {new} (above x0)))"));
    }
    let special = "(bvuge (magnitude x0) #x7f800000)";
    claims.push(format!("(=> {special} (= {} #x00000001))", result(slot::LOOKS)?));
    let [inf, nan] = slot::FOUND;
    claims.push(format!("(= (infinite x0) (distinct {} #x00000000))", result(inf)?));
    claims.push(format!("(= {} (ite (nan x0) #x7fc00000 #x00000000))", result(nan)?));
    let claim = format!("(and {})", claims.join(" "));
    Ok(Problem { given: s.0, claim, operands: vec!["x0".into()] })
}

/// What looking at an element where it lies does wrong, if anything.
pub(super) fn read(text: &str) -> Result<Problem, Error> {
    let f = with_module(text, smt::translate)??;
    let mut s = Script(f.text.clone() + HEAD);
    let result = |place| needed(&f, arg::RESULTS, slot::SEEN + place);
    // Extrema are magnitudes, and stay so.
    for i in 0..2 {
        s.assert(&format!("(bvule m{}_{i} #x7fffffff)", arg::FACTS[0]));
    }
    let mut claims = Vec::new();
    for i in 0..2 {
        claims.push(format!("(bvule {} #x7fffffff)", result(8 + i)?));
    }
    // Each fact goes for the element and for those before.
    for (i, order) in ["bvsge", "bvule", "bvsle"].into_iter().enumerate() {
        let (new, old) = (result(i)?, result(4 + i)?);
        claims.push(format!("(and ({order} {new} {old}) ({order} {new} (above x0)))"));
    }
    let (new, old) = (result(3)?, result(7)?);
    claims.push(format!("(=> (infinite x0) (distinct {new} #x00000000))"));
    claims.push(format!("(=> (distinct {old} #x00000000) (distinct {new} #x00000000))"));
    claims.push(format!("(bvsle {} #x7f7fffff)", result(0)?));
    claims.push(format!("(bvsge {} #xff800000)", result(2)?));
    let claim = format!("(and {})", claims.join(" "));
    Ok(Problem { given: s.0, claim, operands: vec!["x0".into()] })
}

/// What has to be proven of the kernels.
///
/// # Errors
/// If one cannot be translated.
pub(super) fn obligations() -> Result<Vec<Obligation<'static>>, Error> {
    let mut out = Vec::new();
    for (right, name) in [(false, "packing left"), (true, "packing right")] {
        out.push(packed(right, &packing(right))?.obligation("kernel", name.into(), "f32"));
    }
    out.push(read(&reading())?.obligation("kernel", "reading in place".into(), "f32"));
    for claim in claims() {
        let problem = product(&claim, &claim.text())?;
        out.push(problem.obligation("kernel", claim.name.clone(), "f32"));
    }
    Ok(out)
}
