//! ONNX's own tests of its operators: with ordinary arithmetic the results are ONNX's, and what gives
//! them in ordinary arithmetic gives the same bits in PAM on every machine.
//!
//! `make test` runs the selection in `selected/`; `make conformance` fetches and runs all of them.
//! `exceptions.md` lists those that do not pass, each under its reason. A test that is listed and
//! passes is an error, as is one that fails and is not listed.

mod case;
mod table;

use std::any::Any;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pamc::compile::{Settings, compile};
use pamc::onnx::{Model, OpSupport, supported_ops};
use pamc_lowering::emit::EmitOptions;
use pamc_lowering::exec::Executable;
use pamc_passes::arith::Arith;
use pamc_passes::interpret::{self, Values};
use pamc_passes::manager::Manager;
use pamc_passes::program::Program;

use case::{Case, Loaded, close};

/// Where the full set lies, once `make conformance` has put it there.
const FOLDER: &str = "PAMC_ONNX_NODE_TESTS";

#[test]
fn selection() {
    all_pass("selected");
}

/// Operators of ONNX Runtime, against it (`microsoft.py`).
#[test]
fn microsoft() {
    all_pass("microsoft");
}

#[track_caller]
fn all_pass(folder: &str) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(folder);
    let failed = run_all(&dir).into_iter().filter_map(|(name, r)| Some((name, r.err()?)));
    let failed: Vec<_> = failed.map(|(name, why)| format!("{name}: {why}")).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
#[ignore = "needs the tests of the package onnx: `make conformance` fetches them"]
fn everything() {
    let dir = std::env::var(FOLDER).expect("`make conformance` sets the folder of the tests");
    let results = run_all(Path::new(&dir));
    let passed = results.iter().filter(|(_, r)| r.is_ok()).count();
    println!("{passed} of {} node tests pass", results.len());
    if let Ok(out) = std::env::var("PAMC_CONFORMANCE_REPORT") {
        let line = |(n, r): &(String, Result<(), String>)| match r {
            Ok(()) => format!("ok\t{n}\n"),
            Err(why) => format!("fail\t{n}\t{}\n", why.replace('\n', " ")),
        };
        std::fs::write(out, results.iter().map(line).collect::<String>()).expect("the report");
    }
    let mut wrong = table::compare(include_str!("exceptions.md"), &results);
    wrong.extend(untested(Path::new(&dir), &results));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Operators that no node test can show: those of ONNX Runtime, those whose tests want numpy's random
/// numbers or sequences as inputs of the model, and those that came later. The unit tests of the
/// importer have them.
const WITHOUT_TEST: &[&str] = &[
    "AveragePoolGrad",
    "Bernoulli",
    "BitCast",
    "ConcatFromSequence",
    "CumProd",
    "GlobalLpPool",
    "MaxPoolGrad",
    "Optional",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Scatter",
    "SequenceAt",
    "SequenceConstruct",
    "SequenceEmpty",
    "SequenceErase",
    "SequenceInsert",
    "SequenceLength",
    "SequenceMap",
    "SimplifiedLayerNormalization",
    "SplitToSequence",
];

/// Operators of ONNX itself that the importer lists and no test that passes has.
fn untested(dir: &Path, results: &[(String, Result<(), String>)]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for (name, _) in results.iter().filter(|(_, r)| r.is_ok()) {
        if let Ok(model) = Model::load(&dir.join(name).join("model.onnx")) {
            seen.extend(model.operators());
        }
    }
    let own = supported_ops().filter(|o| o.domain.is_empty() && !WITHOUT_TEST.contains(&o.op));
    let tested = |op: &str| seen.contains(&(String::new(), op.to_owned()));
    own.filter(|o| !tested(o.op)).map(|o| format!("no test of {} passes", o.op)).collect()
}

/// `src/onnx/OPERATORS.md` is the importer's own list; with `PAMC_BLESS=1` it is written anew.
#[test]
fn the_list_of_operators_is_the_importers() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/onnx/OPERATORS.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let head = "| operator | domain | opsets |\n|---|---|---|\n";
    let row = |o: OpSupport| {
        let domain = if o.domain.is_empty() { "ai.onnx" } else { o.domain };
        let until = o.until.map_or("later".into(), |u| u.to_string());
        format!("| {} | {domain} | {} to {until} |\n", o.op, o.since)
    };
    let (text, _) = written.split_once(head).unwrap_or((&written, ""));
    let wanted = format!("{text}{head}{}", supported_ops().map(row).collect::<String>());
    if std::env::var("PAMC_BLESS").is_ok_and(|v| v == "1") {
        std::fs::write(&path, &wanted).expect("a writable file");
    }
    let same = written == wanted || std::env::var_os("PAMC_BLESS").is_some();
    assert!(same, "{} is out of date: run this test with PAMC_BLESS=1", path.display());
}

/// Runs every test of a folder, in as many threads as there are cores.
fn run_all(dir: &Path) -> Vec<(String, Result<(), String>)> {
    let only = std::env::var("PAMC_CONFORMANCE_ONLY").unwrap_or_default();
    let entries = std::fs::read_dir(dir).expect("the folder of the tests");
    let mut dirs: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    dirs.retain(|d| d.join("model.onnx").is_file() && d.to_string_lossy().contains(&only));
    dirs.sort();
    assert!(!dirs.is_empty(), "there are no tests in {}", dir.display());
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(dir) = dirs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    let result = std::panic::catch_unwind(|| run(dir))
                        .unwrap_or_else(|panic| Err(format!("panic: {}", message(&*panic))));
                    results.lock().expect("no thread panicked").push((name, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panicked");
    results.sort();
    results
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// One test in both arithmetics.
fn run(dir: &Path) -> Result<(), String> {
    let case = Case::read(dir)?;
    let loaded = case.load()?;
    let (interpreted, compiled) = both(&loaded, Arith::Float)?;
    for (name, wanted) in &case.expected {
        close(name, wanted, interpreted.get(name))?;
        close(name, wanted, compiled.get(name)).map_err(|e| format!("compiled: {e}"))?;
    }
    let (interpreted, compiled) = both(&loaded, Arith::PAM)?;
    for (name, wanted) in &interpreted {
        if !compiled.get(name).is_some_and(|got| got.same_value(wanted)) {
            return Err(format!(
                "in PAM compiled code gives another `{name}` than the interpreter"
            ));
        }
    }
    Ok(())
}

fn both(loaded: &Loaded, arith: Arith) -> Result<(Values, Values), String> {
    let settings = Settings { arith, train: None, manager: Manager::default() };
    let program = compile(loaded.graph.clone(), &settings).map_err(|e| e.to_string())?.program;
    if arith == Arith::PAM && !program.is_mul_free() {
        return Err("the PAM program multiplies".into());
    }
    let interpreted = interpret::run(&program, &loaded.values).map_err(|e| e.to_string())?;
    Ok((interpreted, compiled(&program, &loaded.values)?))
}

fn compiled(program: &Program, values: &Values) -> Result<Values, String> {
    if std::env::var_os("PAMC_CONFORMANCE_INTERPRET").is_some() {
        return interpret::run(program, values).map_err(|e| e.to_string());
    }
    let executable =
        Executable::new(program, &EmitOptions::default(), None).map_err(|e| e.to_string())?;
    executable.run(values).map_err(|e| e.to_string())
}
