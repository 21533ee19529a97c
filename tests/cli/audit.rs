//! `pamc audit` and `pamc cost` from outside.

use super::Place;

#[test]
fn what_pamc_emits_is_clean_in_every_format() {
    let place = Place::new();
    for model in ["mlp:tiny", "cnn:tiny", "vit:tiny", "mixer:tiny", "gpt:tiny", "translation:tiny"]
    {
        let step = format!("@{model} --dim batch=2 --train --optimizer adamw --clip-norm 1");
        for (kind, file) in [("mlir", "step.mlir"), ("llvm", "step.ll"), ("obj", "step.o")] {
            place.pamc(&format!("{step} --emit {kind} -o {file}")).success();
        }
        let table = place.pamc("audit step.mlir step.ll step.o").success();
        assert_eq!(table.matches("nothing multiplies data").count(), 3, "@{model}: {table}");
    }
    for (arch, ending) in [("sm_90", ".ptx"), ("gfx90a", ".hsaco"), ("vulkan1.1", ".spv")] {
        let emit =
            format!("@gpt:tiny --dim batch=2 --train --emit gpu --gpu-arch {arch} -o {arch}");
        place.pamc(&emit).success();
        let entries = std::fs::read_dir(place.path(arch)).expect("a folder");
        let names =
            entries.map(|e| e.expect("an entry").file_name().into_string().expect("a name"));
        let code: Vec<String> =
            names.filter(|n| n.ends_with(ending)).map(|n| format!("{arch}/{n}")).collect();
        assert!(!code.is_empty(), "{arch}");
        let table = place.pamc(&format!("audit {}", code.join(" "))).success();
        assert_eq!(table.matches("nothing multiplies data").count(), code.len(), "{arch}: {table}");
    }
}

#[test]
fn floats_and_onnx_models_are_found_to_multiply() {
    let place = Place::new();
    place.pamc("@mlp:tiny --dim batch=2 --arith float --emit lib -o libmlp.so").success();
    let failed = place.pamc("audit libmlp.so --json");
    let json: serde_json::Value = serde_json::from_str(&failed.stdout).expect("JSON");
    assert_eq!(json[0]["audited"]["format"], "ELF");
    assert!(json[0]["audited"]["findings"].as_array().is_some_and(|f| !f.is_empty()));
    failed.failure(&["multiply data"]);
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/onnx/lm_tiny/eval_model.onnx");
    let failed = place.pamc(&format!("audit {model}"));
    assert!(failed.stdout.contains("MatMul"), "{}", failed.stdout);
    failed.failure(&["multiply data"]);
}

#[test]
fn costs_are_counted_and_drawn() {
    let place = Place::new();
    let text = place.pamc("cost @mlp:tiny --dim batch=1 --train --json --svg cost.svg").success();
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["after"]["multiply"], 0);
    assert!(json["float"]["multiply"].as_u64().is_some_and(|n| n > 0));
    let of = |n: usize| json["machines"][n]["energy"].as_f64().unwrap_or(f64::NAN);
    assert!(of(3) < of(0), "PAM on adders takes less than float32 multiplies: {text}");
    let drawing = std::fs::read_to_string(place.path("cost.svg")).expect("a drawing");
    assert!(drawing.starts_with("<svg") && drawing.contains("float32 multiply"), "{drawing}");
}
