//! Planted multiplications are found; what PAM compiles to is clean.

mod common;

use common::{Case, cases, module};
use pamc_lowering::{
    Error,
    audit::{self, Kind, Report},
    codegen::{Options, Target, compile, link_shared},
};
use pamc_passes::ops::Prim;

/// Processors with different instructions for the same thing.
const TARGETS: [&str; 4] = ["x86-64-v2", "x86-64-v3", "x86-64-v4", "neoverse-v2"];

/// Audits a function that applies one operation to three floats or vectors of floats.
fn audit_of(operation: &str, ty: &str, target: &str) -> Report {
    let text = format!(
        "func.func @clean(%a: {ty}, %b: {ty}, %c: {ty}) -> {ty} {{
           %y = arith.addf %a, %b : {ty}
           return %y : {ty}
         }}
         func.func @planted(%a: {ty}, %b: {ty}, %c: {ty}) -> {ty} {{
           %y = {operation} : {ty}
           return %y : {ty}
         }}"
    );
    let object = compile(&text, &Target::named(target).unwrap(), &Options::default()).unwrap();
    audit::object(&object.bytes).unwrap()
}

#[test]
fn planted_operations_are_found_where_they_are() {
    let planted = [
        ("arith.mulf %a, %b", Kind::Multiply),
        ("arith.divf %a, %b", Kind::Divide),
        ("math.sqrt %a", Kind::SquareRoot),
        ("math.fma %a, %b, %c", Kind::FusedMultiplyAdd),
    ];
    for target in TARGETS {
        for ty in ["f32", "vector<4xf32>", "f64"] {
            for (operation, kind) in planted {
                let report = audit_of(operation, ty, target);
                let place = format!("{operation} on {ty} for {target}: {report}");
                assert!(!report.is_multiplication_free(), "{place}");
                if kind == Kind::FusedMultiplyAdd && target == "x86-64-v2" {
                    assert!(report.findings.iter().all(|f| f.what.starts_with("fma")), "{place}");
                    continue;
                }
                assert!(report.count(kind) > 0, "{place}");
                assert!(report.findings.iter().all(|f| f.function == "planted"), "{place}");
            }
        }
    }
}

#[test]
fn vector_integer_multiplies_and_library_calls_are_found() {
    for target in TARGETS {
        let text = "func.func @f(%a: vector<16xi32>, %b: vector<16xi32>) -> vector<16xi32> {
            %y = arith.muli %a, %b : vector<16xi32> return %y : vector<16xi32> }
          func.func @g(%a: i64, %b: i64) -> i64 { %y = arith.muli %a, %b : i64 return %y : i64 }";
        let object = compile(text, &Target::named(target).unwrap(), &Options::default()).unwrap();
        let report = audit::object(&object.bytes).unwrap();
        assert!(report.count(Kind::VectorIntegerMultiply) > 0, "{target}: {report}");
        assert_eq!(report.count(Kind::IntegerMultiply), 1, "{target}: {report}");
        let report = audit_of("math.exp %a", "f32", target);
        assert_eq!(report.count(Kind::LibraryCall), 1, "{target}");
        assert!(!report.is_multiplication_free());
    }
}

#[test]
fn every_pam_primitive_compiles_to_code_without_multiplication() {
    let cases = cases();
    let clean: Vec<_> = cases.iter().filter(|case| !case.prim.is_ordinary()).collect();
    assert!(clean.len() > 60 && clean.len() < cases.len());
    std::thread::scope(|scope| {
        for target in TARGETS {
            let clean = &clean;
            scope.spawn(move || assert_clean(clean, target));
        }
    });
}

fn assert_clean(cases: &[&Case], target: &str) {
    // SSE shifts all lanes by one count; LLVM makes a count for each lane of a multiply by 2ⁿ.
    let lacks_lane_shifts = target == "x86-64-v2";
    let kept = cases.iter().filter(|case| !(lacks_lane_shifts && case.prim == Prim::Shl));
    let text = module(kept.copied());
    let object = compile(&text, &Target::named(target).unwrap(), &Options::default()).unwrap();
    let report = audit::object(&object.bytes).unwrap();
    assert!(report.functions.len() > 120, "{target}: {}", report.functions.len());
    assert!(report.is_multiplication_free(), "{target}: {report}");
}

#[test]
fn shared_libraries_are_audited_and_reports_are_json() {
    let text = "func.func @f(%a: f32) -> f32 { %y = arith.mulf %a, %a : f32 return %y : f32 }";
    let object = compile(text, &Target::host(), &Options::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.so");
    link_shared(&[object], &path).unwrap();
    let report = audit::object(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(report.count(Kind::Multiply), 1, "{report}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"][0]["function"], "f");
    assert_eq!(json["findings"][0]["kind"], "multiply");
    assert!(matches!(audit::object(b"not an object"), Err(Error::Object(_))));
}
