//! The command line from outside: what it prints, its exit codes, what it leaves on the disk.

mod audit;
mod devices;
mod emit;
mod errors;
mod gpu_code;
mod opt;
mod profile;
mod training;
mod training_info;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pamc::dsl::Mode;
use pamc::runtime::files::{Tensors, write_npz};
use pamc_passes::ir::{DType, InputKind, Tensor, TensorType};
use tempfile::TempDir;

/// What a run of the command gave.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Ran { code: output.status.code(), stdout, stderr }
    }

    /// Standard output of a success.
    #[track_caller]
    fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }

    /// A failure whose message holds all of these.
    #[track_caller]
    fn failure(self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{}\n{}", self.stdout, self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "no '{part}' in: {}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// An empty folder to run in.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Place(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a writable folder");
        path.display().to_string()
    }

    /// Run `pamc` here; arguments are separated by spaces.
    fn pamc(&self, arguments: &str) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pamc"));
        command
            .env("PAMC_CACHE", env!("CARGO_TARGET_TMPDIR"))
            .current_dir(self.0.path())
            .args(arguments.split_whitespace());
        Ran::new(command.output().expect("pamc starts"))
    }

    /// Names of the files here.
    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("a readable folder");
        let name = |e: std::io::Result<std::fs::DirEntry>| e.expect("an entry").file_name();
        let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// Write samples that a built-in model trains on, in which labels follow from the inputs.
    fn samples(&self, file: &str, model: &str, samples: usize) {
        let batch = 2;
        let built = pamc::models::build(model, Some(batch), Mode::Train).expect("a model");
        let mut arrays = Tensors::new();
        let data = built.graph.inputs().iter().filter(|i| i.kind == InputKind::Data);
        for (seed, input) in data.enumerate() {
            let ty = built.graph.ty(input.node);
            arrays.insert(input.name.clone(), pattern(ty, samples, seed));
        }
        let logits = built.graph.find_output("logits").expect("the models give logits");
        let mut shape = built.graph.shape(logits).to_vec();
        let classes = shape.pop().expect("a class axis");
        shape[0] = samples;
        let labels = (0..shape.iter().product::<usize>()).map(|i| (i * 7 % classes) as i64);
        let labels = Tensor::from_vec(&shape, labels.collect()).expect("as many labels");
        arrays.insert("labels".into(), labels);
        write_npz(&self.path(file), &arrays).expect("written");
    }
}

/// Values for so many samples of an input: small integers, or floats between −1 and 1.
fn pattern(ty: &TensorType, samples: usize, seed: usize) -> Tensor {
    let mut shape = ty.shape.clone();
    shape[0] = samples;
    let n = shape.iter().product::<usize>();
    let at = |i: usize| ((i + seed) * 2_654_435_761) >> 7 & 1023;
    let made = match ty.dtype {
        DType::F32 => {
            Tensor::from_vec(&shape, (0..n).map(|i| at(i) as f32 / 512.0 - 1.0).collect())
        }
        _ => Tensor::from_vec(&shape, (0..n).map(|i| (at(i) % 8) as i64).collect()),
    };
    made.expect("as many elements")
}

fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).display().to_string()
}

#[test]
fn proofs_are_named_exactly_or_by_patterns() {
    let place = Place::new();
    let proven = |names: &str| -> Vec<String> {
        let json = place.pamc(&format!("prove {names} --json")).success();
        let rows: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let rows = rows.as_array().expect("a row a proof").iter();
        rows.map(|row| row["subject"].as_str().expect("a name").to_owned()).collect()
    };
    assert!(proven("neg-neg").iter().all(|name| name == "neg-neg"));
    let both = proven("abs-n* neg-neg");
    for name in ["abs-neg", "abs-nonnegative", "neg-neg"] {
        assert!(both.iter().any(|n| n == name), "{name}: {both:?}");
    }
    assert!(both.iter().all(|n| n.starts_with("abs-n") || n == "neg-neg"), "{both:?}");
    place.pamc("prove neg-ne").failure(&["'neg-ne'", "`neg-neg`"]);
    place.pamc("prove neg-neg zz*").failure(&["'zz*'"]);
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let place = Place::new();
    let whole = place.pamc("--help").success();
    let listed = whole.lines().skip_while(|l| *l != "Commands:").skip(1);
    let commands: Vec<&str> = listed
        .take_while(|l| l.starts_with("  "))
        .filter(|l| !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    for name in ["run", "train", "devices", "explain", "opt", "ops", "rules"] {
        assert!(commands.contains(&name), "no {name} in {commands:?}");
    }
    for name in &commands {
        let help = place.pamc(&format!("{name} --help")).success();
        assert!(help.contains(&format!("  pamc {name}")), "no example in:\n{help}");
        assert!(help.contains("Usage: pamc"), "{help}");
    }
    assert!(whole.contains("Examples:\n  pamc "), "{whole}");
    assert!(place.pamc("--version").success().starts_with("pamc "));
}

#[test]
fn wrong_arguments_end_with_code_2() {
    let place = Place::new();
    for arguments in ["", "--no-such-flag", "train", "run @mlp --threads many", "@mlp --emit wasm"]
    {
        let ran = place.pamc(arguments);
        assert_eq!(ran.code, Some(2), "pamc {arguments}: {}", ran.stderr);
    }
}

#[test]
fn tables_are_printed_for_people_and_for_programs() {
    let place = Place::new();
    for (command, known) in [("ops", "softmax"), ("ops --onnx", "Softmax"), ("rules", "div")] {
        let text = place.pamc(command).success();
        assert!(text.lines().count() > 10 && text.contains(known), "pamc {command}:\n{text}");
        let json = place.pamc(&format!("{command} --json")).success();
        let rows: Vec<BTreeMap<String, serde_json::Value>> =
            serde_json::from_str(&json).expect("JSON");
        assert_eq!(rows.len(), text.lines().count() - 1, "one line a row under the head");
        assert!(rows.iter().all(|r| r["name"].as_str().is_some_and(|n| !n.is_empty())));
    }
}
