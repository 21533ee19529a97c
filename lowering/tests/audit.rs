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

/// A loop over threads whose body divides a number that the function around it has left in the
/// context: the expression of `%base`.
fn through_context(base: &str) -> String {
    format!(
        "func.func private @element(%out: !llvm.ptr, %e: i64)
             attributes {{passthrough = [\"noinline\"], llvm.linkage = #llvm.linkage<internal>}} {{
           %c0 = arith.constant 0 : i64
           %c1 = arith.constant 1 : i64
           %c6 = arith.constant 6 : i64
           %bits = arith.constant 7 : i32
           %q = arith.divui %e, %c6 : i64
           %p = llvm.getelementptr %out[%e] : (!llvm.ptr, i64) -> !llvm.ptr, i32
           scf.for %k = %c0 to %q step %c1 : i64 {{
             %at = llvm.getelementptr %p[%k] : (!llvm.ptr, i64) -> !llvm.ptr, i32
             llvm.store volatile %bits, %at : i32, !llvm.ptr
           }}
           return
         }}
         func.func @f(%m: memref<4096xf32>, %n: memref<4xi64>) {{
           %c0 = arith.constant 0 : index
           %c1 = arith.constant 1 : index
           %c3 = arith.constant 3 : index
           %c32 = arith.constant 32 : index
           %w = arith.constant 32 : i64
           %a = memref.extract_aligned_pointer_as_index %m : memref<4096xf32> -> index
           %b = arith.index_cast %a : index to i64
           %out = llvm.inttoptr %b : i64 to !llvm.ptr
           scf.for %i = %c0 to %c3 step %c1 {{
             %ii = arith.index_cast %i : index to i64
             %base = {base}
             scf.parallel (%j) = (%c0) to (%c32) step (%c1) {{
               %jj = arith.index_cast %j : index to i64
               %e = arith.addi %base, %jj : i64
               func.call @element(%out, %e) : (!llvm.ptr, i64) -> ()
               scf.reduce
             }}
           }}
           return
         }}"
    )
}

#[test]
fn numbers_are_followed_through_the_memory_that_a_loop_over_threads_is_given() {
    for target in ["x86-64-v3", "neoverse-v2"] {
        let report = |base: &str| {
            let target = Target::named(target).unwrap();
            let options = Options { keep_llvm: true, ..Options::default() };
            let object = compile(&through_context(base), &target, &options).unwrap();
            let own = audit::object(&object.bytes).unwrap();
            let llvm = audit::one(object.llvm.as_deref().unwrap().as_bytes()).unwrap();
            if !target.is_host_family() {
                return vec![own, llvm];
            }
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("f.so");
            link_shared(&[object], &path).unwrap();
            vec![own, llvm, audit::object(&std::fs::read(&path).unwrap()).unwrap()]
        };
        for clean in report("arith.muli %ii, %w : i64") {
            assert!(clean.is_multiplication_free(), "{target}: {clean}");
            assert!(clean.address_multiplies() > 0, "{target}: {clean}");
        }
        for planted in report("memref.load %n[%i] : memref<4xi64>") {
            assert_eq!(planted.count(Kind::IntegerMultiply), 1, "{target}: {planted}");
            assert_eq!(planted.findings[0].function, "element", "{target}: {planted}");
        }
    }
}

/// An archive as `ar` writes it.
fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let (name, size) = (format!("{name}/"), content.len());
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 644).bytes());
        bytes.extend(*content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

#[test]
fn every_member_of_an_archive_is_audited() {
    let object = |operation: &str| {
        let text = format!(
            "func.func @f(%a: f32) -> f32 {{ %y = {operation} %a, %a : f32 return %y : f32 }}"
        );
        compile(&text, &Target::host(), &Options::default()).unwrap().bytes
    };
    let (sum, product) = (object("arith.addf"), object("arith.mulf"));
    let outcomes = audit::file(&archive(&[("sum.o", &sum), ("product.o", &product)])).unwrap();
    let found: Vec<(&str, usize)> = outcomes
        .iter()
        .map(|(name, outcome)| match outcome {
            audit::Outcome::Audited(report) => (name.as_str(), report.count(Kind::Multiply)),
            audit::Outcome::Skipped(why) => panic!("{name}: {why}"),
        })
        .collect();
    assert_eq!(found, [("sum.o", 0), ("product.o", 1)]);
    assert!(audit::file(b"!<arch>\nnot a header").is_err());
}
