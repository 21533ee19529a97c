//! `pamc audit` and `pamc cost` from outside.

use super::Place;
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

/// Kinds of code for processors as text, with the file's ending.
const TEXTS: [(&str, &str); 2] = [("mlir", "mlir"), ("llvm", "ll")];
const PROCESSORS: [&str; 2] = ["x86-64-v3", "neoverse-v2"];
/// Processors besides with instructions of their own.
const MORE_PROCESSORS: [&str; 5] = ["x86-64-v2", "x86-64-v4", "native", "apple-m1", "cortex-a76"];
/// Kinds of code for GPUs with the target.
const GPU: [(&str, &str); 3] = [("ptx", "sm_90"), ("hsaco", "gfx90a"), ("spirv", "vulkan1.1")];
const MORE_GPU: [(&str, &str); 2] = [("ptx", "sm_80"), ("hsaco", "gfx942")];

/// Audits files, none of which may multiply.
fn clean(place: &Place, files: &str, what: &str) {
    let json = place.pamc(&format!("audit {files} --json")).success();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let rows = json.as_array().expect("a row a file");
    let operations = |row: &serde_json::Value| -> u64 {
        let functions = row["audited"]["functions"].as_array();
        functions.into_iter().flatten().filter_map(|f| f["operations"].as_u64()).sum()
    };
    assert!(rows.iter().any(|row| operations(row) > 0), "{what}: {json}");
    for row in rows.iter().filter(|row| row.get("data").is_none()) {
        assert_eq!(row["audited"]["findings"], serde_json::json!([]), "{what}: {row}");
    }
}

/// Emits a program for a GPU and audits the folder.
fn clean_kernels(place: &Place, model: &str, (kind, target): (&str, &str)) {
    let folder = format!("code_{kind}");
    place.pamc(&format!("{model} --emit {kind} --gpu-arch {target} -o {folder}")).success();
    clean(place, &folder, &format!("{model} as {kind} for {target}"));
    std::fs::remove_dir_all(place.path(&folder)).expect("a folder");
}

/// Emits a model for a processor as some kind of code and audits it.
fn clean_code(place: &Place, model: &str, (kind, ending): (&str, &str), processor: &str) {
    let file = format!("code.{ending}");
    place.pamc(&format!("{model} --emit {kind} --target-cpu {processor} -o {file}")).success();
    clean(place, &file, &format!("{model} as {kind} for {processor}"));
}

/// Emits a model as each kind of code but that of GPUs, and as ONNX, and audits what was written.
fn clean_on_processors(place: &Place, model: &str, more: &[&str]) {
    for processor in PROCESSORS {
        TEXTS.iter().for_each(|kind| clean_code(place, model, *kind, processor));
    }
    for processor in PROCESSORS.iter().chain(more) {
        clean_code(place, model, ("obj", "o"), processor);
    }
    place.pamc(&format!("{model} --emit lib -o code.so")).success();
    place.pamc(&format!("{model} --emit onnx -o code.onnx")).success();
    clean(place, "code.so code.onnx", model);
}

#[test]
fn what_pamc_emits_is_clean_in_every_format() {
    let place = Place::new();
    for model in ["mlp:tiny", "cnn:tiny", "vit:tiny", "mixer:tiny", "gpt:tiny", "translation:tiny"]
    {
        let model = format!("@{model} --dim batch=2 --train --optimizer adamw --clip-norm 1");
        clean_on_processors(&place, &model, &[]);
    }
    for gpu in GPU {
        clean_kernels(&place, "@gpt:tiny --dim batch=2 --train", gpu);
        // Random numbers in loops, whose keys are added several times.
        clean_kernels(&place, "@translation:tiny,d=64 --dim batch=2 --train", gpu);
    }
}

/// LLVM's optimizer makes products of shifts and additions.
#[test]
fn integers_times_constants_are_clean_in_every_format() {
    let place = Place::new();
    place.write(
        "scaled.pam",
        "graph @scaled(%a: i32[200], %b: i64[5], %c: i64[1]) -> i32[200], i64[5], i64[1], f32[5] {
            %ten = const {value = i32[][10]}
            %large = const {value = i64[][1000003]}
            %less = const {value = i64[][-5]}
            %x = mul %a, %ten
            %y = mul %b, %large
            %z = mul %c, %less
            %f = cast %y {to = f32}
            return %x, %y, %z, %f
        }",
    );
    clean_on_processors(&place, "scaled.pam", &["x86-64-v4"]);
    for gpu in GPU.into_iter().chain(MORE_GPU) {
        clean_kernels(&place, "scaled.pam", gpu);
    }
}

/// Models that come with pamc as large as they are by default, and exported ones, run and trained.
fn everything() -> Vec<String> {
    let models = pamc::models::MODELS.iter().map(|m| format!("@{}", m.name));
    let ways = ["", " --train --grad approx", " --train --grad exact"];
    let mut all: Vec<String> = models.flat_map(|m| ways.map(|way| format!("{m}{way}"))).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/onnx");
    let mut exported: Vec<_> = (std::fs::read_dir(folder).expect("models"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("forward.onnx").is_file())
        .collect();
    exported.sort();
    assert!(exported.len() > 3, "{folder}");
    for path in exported.iter().map(|p| p.display()) {
        all.extend([
            format!("{path}/forward.onnx --dim batch=4"),
            format!("{path} --train --dim batch=4"),
        ]);
    }
    all
}

/// Emits a model in every format for every target and audits what was written. Gives what failed.
fn failures(model: &str, gpu: &[(&str, &str)]) -> Vec<String> {
    let place = Place::new();
    let mut failed = Vec::new();
    let mut run = |what: &str, check: &dyn Fn()| {
        let result = catch_unwind(AssertUnwindSafe(check));
        let text =
            |e: Box<dyn Any + Send>| e.downcast::<String>().map_or_else(|_| what.into(), |t| *t);
        failed.extend(result.err().map(|e| format!("{model} as {what}: {}", text(e))));
    };
    run("code for processors", &|| clean_on_processors(&place, model, &MORE_PROCESSORS));
    for kind in gpu {
        run(&format!("{} for {}", kind.0, kind.1), &|| clean_kernels(&place, model, *kind));
    }
    failed
}

/// `make audit`: as large as people run them, where code is tiled, packed and spilled.
#[test]
#[ignore = "takes long; make audit runs it"]
fn what_pamc_emits_at_full_size_is_clean_in_every_format() {
    let runs = |tool: &str| std::process::Command::new(tool).arg("--version").output().is_ok();
    let cubin = ["ptxas", "nvdisasm"].into_iter().all(runs);
    if !cubin {
        println!("skipped: cubin, since ptxas or nvdisasm is not found");
    }
    let cubin = cubin.then_some(("cubin", "sm_90"));
    let gpu: Vec<_> = GPU.into_iter().chain(MORE_GPU).chain(cubin).collect();
    let models = everything();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        while let Some(model) = models.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            let found = failures(model, &gpu);
            let result = match found.as_slice() {
                [] => "nothing multiplies data".into(),
                found => format!("FAILED\n{}", found.join("\n")),
            };
            println!("{model}: {result} ({:.0?})", start.elapsed());
            failed.lock().expect("no panic").extend(found);
        }
    };
    // GPU code is compiled by one thread.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|s| (0..threads).for_each(|_| drop(s.spawn(worker))));
    let failed = failed.into_inner().expect("no panic");
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), models.len(), failed.join("\n"));
}

#[test]
fn of_a_folder_only_code_is_audited() {
    let place = Place::new();
    place.pamc("@mlp:tiny --dim batch=2 --emit ptx -o code").success();
    let table = place.pamc("audit code").success();
    assert_eq!(table.matches("data: the ").count(), 4, "{table}");
    assert!(table.contains("nothing multiplies data"), "{table}");
    // Without the plan nothing says what the others are.
    std::fs::remove_file(place.path("code/plan.json")).expect("a plan");
    let failed = place.pamc("audit code");
    assert_eq!(failed.stdout.matches("skipped: ").count(), 3, "{}", failed.stdout);
    failed.failure(&["3 of 4 audited files"]);
    place.pamc("audit .").failure(&["no file in"]);
}

#[test]
fn floats_and_onnx_models_are_found_to_multiply() {
    let place = Place::new();
    place.pamc("@mlp:tiny --dim batch=2 --arith float --emit lib -o libmlp.so").success();
    let failed = place.pamc("audit libmlp.so --json");
    let json: serde_json::Value = serde_json::from_str(&failed.stdout).expect("JSON");
    assert_eq!(json[0]["audited"]["format"], "ELF");
    let findings = json[0]["audited"]["findings"].as_array().expect("findings");
    assert!(!findings.is_empty() && findings.iter().all(|f| f["source"].is_string()), "{json}");
    failed.failure(&["multiply data"]);
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/onnx/lm_tiny/eval_model.onnx");
    let failed = place.pamc(&format!("audit {model}"));
    assert!(failed.stdout.contains("MatMul"), "{}", failed.stdout);
    failed.failure(&["multiply data"]);
}

/// Kernels as LLVM IR with a multiply planted in one of them, compiled by LLVM's own compiler.
#[test]
fn a_planted_multiply_is_traced_to_its_node() {
    let place = Place::new();
    let model = "@mlp:tiny --dim batch=2";
    let llvm = place.pamc(&format!("{model} --emit llvm --target-cpu x86-64-v3")).success();
    let add = llvm.lines().position(|l| l.contains(" = fadd ")).expect("a sum");
    let planted: Vec<String> = llvm
        .lines()
        .enumerate()
        .map(|(n, l)| if n == add { l.replace("fadd", "fmul") } else { l.into() })
        .collect();
    place.write("planted.ll", planted.join("\n"));
    let output = std::process::Command::new("/usr/lib/llvm-22/bin/llc")
        .args(["-O1", "-filetype=obj", "planted.ll", "-o", "planted.o"])
        .current_dir(place.path(""))
        .output()
        .expect("llc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in ["planted.ll", "planted.o"] {
        let failed = place.pamc(&format!("audit {file} --json"));
        let json: serde_json::Value = serde_json::from_str(&failed.stdout).expect("JSON");
        let findings = json[0]["audited"]["findings"].as_array().expect("findings");
        assert!(!findings.is_empty(), "{json}");
        let source = findings[0]["source"].as_str().expect("nodes").to_owned();
        assert!(source.contains("mlp.rs"), "{json}");
        let table = place.pamc(&format!("audit {file}"));
        assert!(table.stdout.contains(&source), "{}", table.stdout);
        table.failure(&["1 of 1"]);
    }
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
