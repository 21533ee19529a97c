use egg::Var;

use super::exhaust::{Outcome, exhaust};
use super::guard::promise;
use super::problem::{Class, Problem};
use super::rules::{Domain, export, of_rule};
use super::solver::{Answer, decide};
use super::term::{Arena, Sym};
use super::*;
use crate::egraph::{Facts, Range};
use crate::ir::{DType, Tensor, TensorType};
use crate::ops::Prim;
use crate::rules::{Guard, Rule, Spec, bit_exact, planted};
use crate::semantics::{Format, Int, Lanes};
use crate::testing::{EDGES, Random};

const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn every_rule_is_proven() {
    let quick = |o: &Obligation<'_>| !o.wide || o.domain == "f8";
    let all: Vec<_> = obligations(None).unwrap().into_iter().filter(quick).collect();
    let verdicts = discharge(&all, LIMIT, |_| ()).unwrap();
    for rule in bit_exact().unwrap().rules() {
        let name = rule.spec().name;
        assert!(verdicts.iter().any(|v| v.subject == name), "{name} is about nothing");
    }
    let open: Vec<_> = verdicts.iter().filter(|v| !v.status.holds()).collect();
    assert!(open.is_empty(), "{open:#?}");
}

/// Rules of one variable, in the two formats of 16 bits.
#[test]
fn sixteen_bits_are_tried() {
    let mut tried = 0;
    for rule in bit_exact().unwrap().rules() {
        for problem in Problem::of(rule).unwrap() {
            for f in [Format::F16, Format::BF16] {
                if exhaust::count(&problem, f) <= 1 << 18 {
                    let outcome = exhaust(&problem, f);
                    let name = rule.spec().name;
                    assert!(matches!(outcome, Outcome::Holds(1..)), "{name} {f:?} {outcome:?}");
                    tried += 1;
                }
            }
        }
    }
    assert!(tried >= 40, "{tried}");
}

/// Wrong rules: by a solver, with a counterexample that the interpreter confirms, and by trying.
#[test]
fn planted_rules_are_refuted() {
    for spec in planted() {
        let rule = Rule::unsampled(spec).unwrap();
        let all = of_rule(&rule, None).unwrap();
        let refutes = |domain: &str| {
            let o = all.iter().find(|o| o.domain == domain)?;
            match o.discharge(LIMIT).unwrap().status {
                Status::Refuted(at) => Some(at),
                other => panic!("{} in {domain}: {other:?}", spec.name),
            }
        };
        let at = refutes("f32").or_else(|| refutes("shapes")).unwrap_or_else(|| panic!("{spec:?}"));
        assert!(at.contains("does not hold"), "{}: {at}", spec.name);
        for problem in Problem::of(&rule).unwrap() {
            let outcome = exhaust(&problem, Format::F8);
            assert!(matches!(outcome, Outcome::Fails(_)), "{} {outcome:?}", spec.name);
        }
    }
}

/// A guard that nothing satisfies proves nothing.
#[test]
fn vacuous_rules_are_refuted() {
    let never: &'static [Guard] = &[Guard::Is("?a", 1.0), Guard::Is("?a", 2.0)];
    let spec = Spec { name: "never", lhs: "(neg ?a)", rhs: "?a", guards: never, ..planted()[0] };
    let rule = Rule::unsampled(spec).unwrap();
    let all = of_rule(&rule, None).unwrap();
    let tried = all.iter().find(|o| o.domain == "f16").unwrap();
    let status = tried.discharge(LIMIT).unwrap().status;
    assert!(matches!(status, Status::Refuted(_)), "{status:?}");
}

/// What the engine lets through keeps the guard's promise; on single values the two are the same.
#[test]
fn guards_promise_what_they_hold() {
    let mut random = Random::new(7);
    let value = |random: &mut Random| {
        let x = if random.one_in(2) { random.pick(EDGES) } else { random.wild() };
        crate::reference::flush(x)
    };
    let specs: Vec<_> = bit_exact().unwrap().rules().iter().map(|r| *r.spec()).collect();
    for guard in specs.iter().flat_map(|s| s.guards) {
        let names = guard.variables();
        let is_float = promise(Format::F32, guard, |_| Some(0i64)).is_some();
        let about_floats = !matches!(
            guard,
            Guard::SameSign(..)
                | Guard::Equals(..)
                | Guard::True(_)
                | Guard::False(_)
                | Guard::ScaleInRange(..)
        );
        if !is_float || !about_floats {
            continue;
        }
        for _ in 0..4000 {
            let points: Vec<f32> = names.iter().map(|_| value(&mut random)).collect();
            let at = |x: &str| names.iter().position(|n| *n == x);
            let pattern = |x: &str| Some(i64::from(points[at(x)?].to_bits()));
            let promised = promise(Format::F32, guard, pattern).unwrap();
            let known: Vec<_> =
                points.iter().map(|x| Facts::constant(&Tensor::scalar(*x))).collect();
            let held = guard.holds(|x| Some(&known[at(x)?]));
            let near_nan = points.iter().any(|x| x.is_nan());
            assert!(held == promised || near_nan && !held, "{guard} {points:?}: {held}");
            // A range around the value: what holds of it holds of the value.
            let around = |x: &f32| {
                let range = Range::of(*x).join(Range::of(value(&mut random)));
                Facts::value(TensorType::new(DType::F32, [2]), range)
            };
            let ranges: Vec<_> = points.iter().map(around).collect();
            if guard.holds(|x| Some(&ranges[at(x)?])) {
                assert!(promised, "{guard} {points:?} {ranges:?}");
            }
        }
    }
}

const UNARY: [Prim; 8] = [
    Prim::Neg,
    Prim::Abs,
    Prim::PamExp2,
    Prim::PamLog2,
    Prim::PamSqrt,
    Prim::Exp2Slope,
    Prim::Log2Slope,
    Prim::SqrtSlope,
];
const BINARY: [Prim; 9] = [
    Prim::Add,
    Prim::Sub,
    Prim::Min,
    Prim::Max,
    Prim::PamMul,
    Prim::PamDiv,
    Prim::MulSlope,
    Prim::DivSlopeA,
    Prim::DivSlopeB,
];

#[test]
fn lanes_are_numbers() {
    let mut random = Random::new(3);
    for f in [Format::F16, Format::BF16, Format::F8] {
        for x in 0..1i64 << f.bits() {
            for prim in UNARY {
                let want = i64::unary(f, prim, x).unwrap();
                let got = Lanes::unary(f, prim, Lanes::from(x)).unwrap();
                assert_eq!(i64::from(got.0[5]), want, "{f:?} {prim:?} {x:x}");
            }
            let y = i64::from(random.bits()) & (2 * f.sign_bit() - 1);
            for prim in BINARY {
                let want = i64::binary(f, prim, x, y).unwrap();
                let got = Lanes::binary(f, prim, Lanes::from(x), Lanes::from(y)).unwrap();
                assert_eq!(i64::from(got.0[60]), want, "{f:?} {prim:?} {x:x} {y:x}");
            }
        }
    }
}

/// The terms mean to a solver what the definitions give on numbers.
#[test]
fn symbols_are_numbers() {
    let mut random = Random::new(5);
    let f = Format::F32;
    let arity = UNARY.map(|p| (p, 1)).into_iter().chain(BINARY.map(|p| (p, 2)));
    for (prim, n) in arity {
        let apply = |x: &[i64]| match n {
            1 => i64::unary(f, prim, x[0]),
            _ => i64::binary(f, prim, x[0], x[1]),
        };
        let arena = Arena::new(f, f.bits() + 2);
        let x = [arena.variable("x"), arena.variable("y")];
        let y = match n {
            1 => Sym::unary(f, prim, x[0]),
            _ => Sym::binary(f, prim, x[0], x[1]),
        };
        let y = y.unwrap();
        let mut cases = String::new();
        for i in 0..12 {
            let mut one = || {
                let x = if i < 6 { random.pick(EDGES) } else { random.wild() };
                i64::from(crate::reference::flush(x).to_bits())
            };
            let at = [one(), one()];
            let want = apply(&at).unwrap();
            let same = y.eq(want.into()) | (f.is_nan(y) & f.is_nan(Sym::from(want)));
            let here = x[0].eq(at[0].into()) & x[1].eq(at[1].into());
            cases += &format!(" {}", arena.name(here & !same));
        }
        let text = format!("{}(assert (or{cases}))\n", arena.text());
        let (_, answer, _) = decide(&text, &["x".into(), "y".into()], LIMIT).unwrap();
        assert_eq!(answer, Answer::Unsatisfiable, "{prim:?}");
    }
}

#[test]
fn exported_problems_are_readable() {
    let rules = bit_exact().unwrap().rules();
    let rule = rules.iter().find(|r| r.spec().name == "neg-neg").unwrap();
    let problem = &Problem::of(rule).unwrap()[0];
    assert_eq!(problem.variables, [("?a".parse::<Var>().unwrap(), Class::Float)]);
    let (text, names) = export(problem, Domain::Float(Format::F32));
    assert_eq!(names, ["v_a"]);
    assert!(text.starts_with("(declare-const v_a (_ BitVec 34))\n"), "{text}");
}

/// The document is that of the rules as they are, and every rule is proven in it.
#[test]
fn the_record_is_current() {
    let rules = bit_exact().unwrap().rules();
    let open: Vec<_> =
        rules.iter().filter(|r| record::proven(r).is_none()).map(|r| r.spec().name).collect();
    assert!(open.is_empty(), "PAMC_BLESS=1 make prove records proofs of {open:?}");
    let rendered = record::render(&record::parse(record::committed())).unwrap();
    assert!(rendered == record::committed(), "PAMC_BLESS=1 make prove renews passes/docs/rules.md");
}
