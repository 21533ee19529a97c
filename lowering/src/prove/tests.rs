use super::*;
use crate::kernels::claims::{claims, packing, reading};
use pamc_passes::ops::Checked;
use pamc_passes::prove::discharge;

const LIMIT: Duration = Duration::from_secs(60);

/// By solvers; a share of what is tried follows.
#[test]
fn emitted_code_is_the_reference() {
    let mut all = obligations().unwrap();
    all.retain(|o| !o.wide);
    assert!(all.len() >= 100, "{}", all.len());
    let verdicts = discharge(&all, LIMIT, |_| ()).unwrap();
    let open: Vec<_> = verdicts.iter().filter(|v| !v.status.holds()).collect();
    assert!(open.is_empty(), "{open:#?}");
}

/// Every elementwise primitive is proven, or there is no definition of it but IEEE-754's.
#[test]
fn only_roundings_are_left_to_trials() {
    let open = |case: &primitive::Case| {
        let problem = primitive::problem(case, &case.text().unwrap()).unwrap();
        problem.is_none().then(|| format!("{} of {}", case.name, case.domain()))
    };
    let left: Vec<_> = primitive::plain().iter().filter_map(open).collect();
    assert_eq!(left, ["floor of f32", "round of f32", "cast to f32 of i32", "cast to f32 of i64"]);
}

/// What is proven is about something: there are operands for which each version runs.
#[test]
fn every_version_can_be_chosen() {
    for claim in claims() {
        let problem = kernel::product(&claim, &claim.text()).unwrap();
        let (_, answer, _) = decide(&problem.given, &problem.operands, LIMIT).unwrap();
        // A slope's clamped version stands in for the flushing one too.
        assert!(matches!(answer, Answer::Satisfiable(_)), "{}: {answer:?}", claim.name);
    }
}

fn refuted(problem: &Problem, what: &str) {
    let status = problem.solve(what, LIMIT).unwrap();
    assert!(matches!(status, Status::Refuted(_)), "{what}: {status:?}");
}

fn changed(text: &str, right: &str, wrong: &str) -> String {
    assert!(text.contains(right), "{right} is not in {text}");
    text.replace(right, wrong)
}

/// One changed constant or operation in the emitted text is found.
#[test]
fn planted_mistakes_in_primitives_are_refuted() {
    let mistakes = [
        ("pam.mul", "arith.minui", "arith.minsi"),
        ("pam.mul", "2139095040 : i32", "2139095041 : i32"),
        ("pam.mul x x", "arith.minui", "arith.minsi"),
        ("pam.mul by a factor", "arith.minui", "arith.minsi"),
        ("pam.div by a small factor", "uge", "ugt"),
        ("pam.div", "uno", "ord"),
        ("pam.sqrt", "532676608 : i32", "532676609 : i32"),
        ("pam.mul_slope", "arith.minui", "arith.maxui"),
        ("pam.exp2", "math.roundeven", "math.floor"),
        ("add (SPIR-V)", "2139095040 : i32", "1069547520 : i32"),
        ("min (SPIR-V)", "sle", "sge"),
        ("cast to i32", "llvm.fptosi.sat", "llvm.floor"),
        // Halves away from even, and numbers cut off one place too high.
        ("cast to f32 (GPU)", "274877906943 : i64", "274877906944 : i64"),
        ("cast to i64 (GPU)", "150 : i64", "151 : i64"),
        ("cast to bool", "une", "one"),
        ("shl", "32 : i32", "33 : i32"),
        ("bitcast to f32", "2139095040 : i32", "2143289344 : i32"),
        ("select", "%v2, %v3", "%v3, %v2"),
    ];
    for (name, right, wrong) in mistakes {
        let case = primitive::named(name);
        let text = changed(&case.text().unwrap(), right, wrong);
        // A text that is no longer MLIR of the same types is found without a solver.
        match primitive::problem(&case, &text) {
            Ok(problem) => refuted(&problem.unwrap(), name),
            Err(e) => assert!(matches!(e, Error::Mlir { .. } | Error::Untranslatable(_)), "{e:?}"),
        }
    }
}

/// Kernels that would be wrong for some operands, or run where they are not exact.
#[test]
fn planted_mistakes_in_kernels_are_refuted() {
    let mistakes = [
        // The largest sum that does not saturate, one too large; and the smallest that is positive, one
        // too small, as those between it and the normal ones count as zeros.
        ("product fast 0", "3204448255 : i64", "3204448256 : i64"),
        ("product fast 0", "1073741824 : i64", "1065353215 : i64"),
        // An exponent less of room below skipped zeros.
        ("product masked_a 1", "1266679808 : i64", "1258291200 : i64"),
        // −0 is not taken for a zero.
        ("product masked_a 1", "2147483647 : i32", "-1 : i32"),
        ("product masked_b 2", "2147483647 : i32", "-1 : i32"),
        ("product flushing 4", "1065353215 : i64", "1065353216 : i64"),
        ("product flushing 4", "arith.maxsi", "arith.maxui"),
        // A NaN of the row alone is forgotten.
        ("product clamped 5", "%a_facts[4]", "%b_facts[4]"),
        ("product clamped 5", "1073741823 : i32", "1073741824 : i32"),
        ("product full 6", "arith.minui", "arith.minsi"),
        ("slope of left fast 0", "-8388608 : i32", "-8388609 : i32"),
        ("slope of right clamped 5", "2139095039 : i32", "2139095040 : i32"),
        ("product direct", "ugt", "uge"),
        ("product straight fast 0", "3204448255 : i64", "3204448256 : i64"),
        ("product straight masked_a 1", "2147483647 : i32", "-1 : i32"),
    ];
    for (name, right, wrong) in mistakes {
        let claim = claims().into_iter().find(|c| c.name == name).unwrap();
        let text = changed(&claim.text(), right, wrong);
        refuted(&kernel::product(&claim, &text).unwrap(), name);
    }
    let mistakes = [
        (false, "minui", "maxui"),
        (false, "slt", "sle"),
        (true, "ugt", "uge"),
        // A panel with nothing but Inf is not looked through.
        (true, "sge", "sgt"),
    ];
    for (side, right, wrong) in mistakes {
        let text = changed(&packing(side), right, wrong);
        refuted(&kernel::packed(side, &text).unwrap(), right);
    }
    // A zero hides the smallest of the others, an Inf is not seen, and −0 is taken for large.
    for (right, wrong) in [("maxsi", "minsi"), ("uge", "ugt"), ("2147483647 : i32", "-1 : i32")] {
        let text = changed(&reading(), right, wrong);
        refuted(&kernel::read(&text).unwrap(), right);
    }
}

/// A share of what is tried in full by `pamc prove`.
#[test]
fn compiled_primitives_are_the_reference() {
    let mut tried = 0;
    for all in primitive::plain().into_iter().filter_map(|c| every::All::new(c, 4099)) {
        let status = all.run().unwrap();
        assert!(matches!(status, Status::Exhaustive(1..)), "{}: {status:?}", all.case.name);
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
}

/// Likewise.
#[test]
fn bounds_hold() {
    for op in bound::rows(Checked::Every) {
        let status = bound::Floats::new(op, op.bound.unwrap(), 1021).run().unwrap();
        assert!(matches!(status, Status::Exhaustive(1..)), "{}: {status:?}", op.name);
    }
}

#[test]
fn planted_bounds_are_refuted() {
    let row = |name| pamc_passes::ops::lookup(name).unwrap();
    for name in ["tanh", "exp", "log", "sqrt", "rsqrt", "gelu", "sigmoid", "softplus", "sin"] {
        let bound = row(name).bound.unwrap();
        // What the tests of the lowerings leave for declared bounds to be too wide.
        let (rel, abs) = (0.7 * bound.rel, 0.7 * bound.abs);
        let tight = pamc_passes::ops::Bound { rel, abs, holds: (0.25, 8.0), ..bound };
        let status = bound::Floats::new(row(name), tight, 1).run().unwrap();
        assert!(matches!(status, Status::Refuted(_)), "{name}: {status:?}");
    }
    for name in ["mul", "div"] {
        let bound = row(name).bound.unwrap();
        let tight = pamc_passes::ops::Bound { rel: 0.999 * bound.rel - 1e-3, ..bound };
        let status = bound::Pairs::new(row(name), tight).run().unwrap();
        assert!(matches!(status, Status::Refuted(_)), "{name}: {status:?}");
    }
}
