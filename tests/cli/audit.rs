//! `pamc audit` and `pamc cost` from outside.

use super::Place;

/// Kinds of code for processors, with the file's ending.
const CODE: [(&str, &str); 3] = [("mlir", "mlir"), ("llvm", "ll"), ("obj", "o")];
/// Kinds of code for GPUs, with the target and the files' ending.
const GPU: [(&str, &str, &str); 3] =
    [("ptx", "sm_90", ".ptx"), ("hsaco", "gfx90a", ".hsaco"), ("spirv", "vulkan1.1", ".spv")];
const PROCESSORS: [&str; 2] = ["x86-64-v3", "neoverse-v2"];

/// Audits files, none of which may multiply.
fn clean(place: &Place, files: &[String], what: &str) {
    assert!(!files.is_empty(), "{what}");
    let table = place.pamc(&format!("audit {}", files.join(" "))).success();
    assert_eq!(table.matches("nothing multiplies data").count(), files.len(), "{what}: {table}");
}

/// Emits a program for a GPU and audits its kernels.
fn clean_kernels(place: &Place, model: &str, (kind, target, ending): (&str, &str, &str)) {
    let folder = format!("code_{kind}");
    place.pamc(&format!("{model} --emit {kind} --gpu-arch {target} -o {folder}")).success();
    let entries = std::fs::read_dir(place.path(&folder)).expect("a folder");
    let names = entries.map(|e| e.expect("an entry").file_name().into_string().expect("a name"));
    let code: Vec<String> =
        names.filter(|n| n.ends_with(ending)).map(|n| format!("{folder}/{n}")).collect();
    clean(place, &code, &format!("{model} as {kind} for {target}"));
    std::fs::remove_dir_all(place.path(&folder)).expect("a folder");
}

/// Emits a model for each processor and as ONNX and audits what was written.
fn clean_code(place: &Place, model: &str) {
    for processor in PROCESSORS {
        let mut files = Vec::new();
        for (kind, ending) in CODE {
            let file = format!("code.{ending}");
            place
                .pamc(&format!("{model} --emit {kind} --target-cpu {processor} -o {file}"))
                .success();
            files.push(file);
        }
        clean(place, &files, &format!("{model} for {processor}"));
    }
    place.pamc(&format!("{model} --emit lib -o code.so")).success();
    place.pamc(&format!("{model} --emit onnx -o code.onnx")).success();
    clean(place, &["code.so".into(), "code.onnx".into()], model);
}

#[test]
fn what_pamc_emits_is_clean_in_every_format() {
    let place = Place::new();
    for model in ["mlp:tiny", "cnn:tiny", "vit:tiny", "mixer:tiny", "gpt:tiny", "translation:tiny"]
    {
        clean_code(
            &place,
            &format!("@{model} --dim batch=2 --train --optimizer adamw --clip-norm 1"),
        );
    }
    for gpu in GPU {
        clean_kernels(&place, "@gpt:tiny --dim batch=2 --train", gpu);
    }
}

/// `make audit`: as large as people run them, where code is tiled, packed and spilled.
#[test]
#[ignore = "takes long; make audit runs it"]
fn what_pamc_emits_at_full_size_is_clean_in_every_format() {
    let place = Place::new();
    let cubin = ("cubin", "sm_90", ".cubin");
    let disassembler = std::process::Command::new("nvdisasm").arg("--version").output().is_ok();
    if !disassembler {
        println!("skipped: cubin, since nvdisasm is not found");
    }
    for model in ["mlp", "cnn", "vit", "mixer", "gpt", "translation"] {
        for part in ["", " --train"] {
            let model = format!("@{model} --dim batch=2{part}");
            clean_code(&place, &model);
            for gpu in GPU.into_iter().chain(disassembler.then_some(cubin)) {
                clean_kernels(&place, &model, gpu);
            }
            println!("{model}: nothing multiplies data");
        }
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
