//! Emission from the command line, and what the machine code is made of.

use pamc_lowering::audit;

use super::{Place, repository};

const MODELS: [&str; 6] =
    ["mlp:tiny", "cnn:tiny", "vit:tiny", "mixer:tiny", "gpt:tiny", "translation:tiny"];

fn object(place: &Place, arguments: &str) -> audit::Report {
    place.pamc(&format!("{arguments} --dim batch=2 --emit obj -o step.o")).success();
    let bytes = std::fs::read(place.path("step.o")).expect("an object file");
    audit::object(&bytes).expect("a readable object file")
}

#[test]
fn training_steps_do_not_multiply() {
    let place = Place::new();
    // The tiny sizes, and one whose panels are packed.
    for model in MODELS.into_iter().chain(["mlp"]) {
        let found = object(&place, &format!("@{model} --train --optimizer adamw --clip-norm 1"));
        assert!(found.is_multiplication_free(), "@{model}: {found}");
        assert!(found.operations() > 1000, "@{model}: {found}");
    }
}

#[test]
fn the_ordinary_baseline_does_multiply() {
    let place = Place::new();
    let found = object(&place, "@mlp:tiny --train --arith float");
    assert!(!found.is_multiplication_free(), "{found}");
}

#[test]
fn every_kind_is_emitted() {
    let place = Place::new();
    let emit = |kind: &str| place.pamc(&format!("@mlp:tiny --dim batch=2 --emit {kind}")).success();
    assert!(emit("graph").contains("= matmul "));
    assert!(emit("pam").contains("= pam.matmul "));
    assert!(emit("mlir").contains("func.func"));
    assert!(emit("llvm").contains("define "));
    assert!(emit("asm").contains("ret"));
    place.pamc("@mlp:tiny --dim batch=2 --emit lib -o libmlp.so").success();
    assert_eq!(place.files(), ["libmlp.h", "libmlp.json", "libmlp.so"]);
    let header = std::fs::read_to_string(place.path("libmlp.h")).expect("a header");
    assert!(header.contains("#include <stdint.h>"), "{header}");
}

#[test]
fn an_emitted_graph_is_a_model_again() {
    let place = Place::new();
    place.pamc("@cnn:tiny --dim batch=2 --emit pam -o once.pam").success();
    place.pamc("once.pam --emit pam -o twice.pam").success();
    let [once, twice] = ["once.pam", "twice.pam"]
        .map(|f| std::fs::read_to_string(place.path(f)).expect("a text graph"));
    assert_eq!(once, twice);
}

#[test]
fn a_batch_is_of_one_sample_if_not_said() {
    let place = Place::new();
    let model = repository("models/onnx/mlp_adamw/forward.onnx");
    let text = |dim: &str| place.pamc(&format!("{model} {dim} --emit pam")).success();
    assert_eq!(text(""), text("--dim batch=1"));
    assert_ne!(text(""), text("--dim batch=2"));
    let ran = place.pamc(&format!("{model} --emit gpu -o code"));
    assert!(ran.stderr.contains("--dim batch=SIZE"), "{}", ran.stderr);
    ran.success();
}
