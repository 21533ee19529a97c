//! What reads files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{fs, io};

use bytes::Bytes;
use pamc::onnx::{
    Algorithm, Checkpoint, ImportOptions, Imported, Model, OnnxTrainingSet, TrainingFiles, audit,
    with_weights,
};
use pamc::runtime::files::{read_npz, read_safetensors};
use pamc_passes::ir::{Dims, Extent, parse};
use tempfile::TempDir;

/// A reader of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// ONNX models: imported with every open size 2, with the training they describe or in the
    /// training set they belong to, audited, and written back with their weights.
    Onnx,
    /// Checkpoints of ONNX Runtime, and the training set they belong to.
    Checkpoint,
    /// Graphs as text.
    Text,
    /// Archives of arrays.
    Npz,
    /// One array.
    Npy,
    /// Weights.
    Safetensors,
}

impl Target {
    /// The reader of files with that name.
    fn of(path: &Path) -> Option<Self> {
        if path.file_name()? == "checkpoint" {
            return Some(Target::Checkpoint);
        }
        Some(match path.extension()?.to_str()? {
            "onnx" => Target::Onnx,
            "pam" => Target::Text,
            "npz" => Target::Npz,
            "npy" => Target::Npy,
            "safetensors" => Target::Safetensors,
            _ => return None,
        })
    }
}

/// A file to begin with.
pub struct Seed {
    /// What reads it.
    pub target: Target,
    /// Where it is; what lies beside it can be read as external data.
    pub path: PathBuf,
    /// What is in it, which a fuzzer that brings its own inputs does not read.
    #[cfg_attr(feature = "libfuzzer", allow(dead_code))]
    pub bytes: Vec<u8>,
    /// The training set it is a file of.
    set: Option<Rc<TrainingFiles>>,
}

impl Seed {
    /// The files at these paths that something reads.
    pub fn read(paths: Vec<PathBuf>) -> Vec<Seed> {
        let mut sets: HashMap<PathBuf, Option<Rc<TrainingFiles>>> = HashMap::new();
        let seed = |path: PathBuf| {
            let target = Target::of(&path)?;
            let bytes = fs::read(&path).ok()?;
            let dir = path.parent().unwrap_or(&path);
            let load = || Some(Rc::new(TrainingFiles::load(dir).ok()?));
            let set = sets.entry(dir.to_owned()).or_insert_with(load).clone();
            Some(Seed { target, path, bytes, set })
        };
        paths.into_iter().filter_map(seed).collect()
    }
}

/// Runs readers.
pub struct Runner {
    /// Where inputs lie that are read from files only.
    scratch: TempDir,
}

impl Runner {
    /// One with a folder of its own.
    pub fn new() -> io::Result<Self> {
        Ok(Runner { scratch: tempfile::tempdir()? })
    }

    /// Reads an input made of `seed`; an error is as good as a result.
    pub fn run(&self, seed: &Seed, input: &[u8]) {
        match seed.target {
            Target::Onnx => self.onnx(seed, input),
            Target::Checkpoint => {
                let checkpoint = Checkpoint::decode(input, &seed.path);
                if let (Ok(checkpoint), Some(files)) = (checkpoint, &seed.set) {
                    set(TrainingFiles { checkpoint, ..TrainingFiles::clone(files) });
                }
            }
            Target::Text => {
                if let Ok(text) = std::str::from_utf8(input) {
                    drop(parse(text, &Dims::from([("N".to_owned(), 2)])));
                }
            }
            Target::Npz => drop(read_npz(&self.written(input, "fuzz.npz"))),
            Target::Npy => drop(read_npz(&self.written(input, "fuzz.npy"))),
            Target::Safetensors => drop(read_safetensors(&self.written(input, "fuzz.safetensors"))),
        }
    }

    fn onnx(&self, seed: &Seed, input: &[u8]) {
        let Ok(model) = Model::decode(Bytes::copy_from_slice(input), &seed.path) else { return };
        drop(audit(&model));
        let open = model.symbolic_dims().unwrap_or_default();
        let dims: HashMap<String, usize> = open.into_iter().map(|d| (d.dim, 2)).collect();
        let options = ImportOptions { dims: dims.clone(), ..ImportOptions::default() };
        if let Ok(imported) = model.import(&options) {
            self.save(input, imported);
        }
        if let Ok(Some(algorithm)) = Algorithm::of(&model) {
            described(&algorithm, dims);
        }
        if let Some(files) = &seed.set {
            set(replaced(files, seed, model));
        }
    }

    /// Writes a model back as training does.
    fn save(&self, input: &[u8], imported: Imported) {
        let weights = imported.parameters.into_iter().map(|p| (p.name, p.tensor));
        let weights: BTreeMap<_, _> = weights.collect();
        let source = self.written(input, "fuzz.onnx");
        drop(with_weights(&source, &weights, &source.with_file_name("out.onnx")));
    }

    /// The input as a file: some readers take nothing else.
    fn written(&self, input: &[u8], name: &str) -> PathBuf {
        let path = self.scratch.path().join(name);
        // What cannot be written cannot be read either, which is an error as good as any.
        let _ = fs::write(&path, input);
        path
    }
}

/// The training that a model describes.
fn described(algorithm: &Algorithm, mut dims: HashMap<String, usize>) {
    for (_, extents) in algorithm.data_extents().unwrap_or_default() {
        dims.extend(symbols(extents));
    }
    let options = ImportOptions { dims, ..ImportOptions::default() };
    drop((algorithm.iteration(&options), algorithm.loss(&options), algorithm.forward(&options)));
    drop(algorithm.initializations());
}

/// The set with `model` for the file that `seed` is.
fn replaced(files: &TrainingFiles, seed: &Seed, model: Model) -> TrainingFiles {
    let mut files = files.clone();
    match seed.path.file_name().and_then(|n| n.to_str()) {
        Some("training_model.onnx") => files.training = model,
        Some("eval_model.onnx") => files.eval = model,
        Some("optimizer_model.onnx") => files.optimizer = model,
        _ => files.forward = Some(model),
    }
    files
}

/// The graphs of a training set, with the gradients of its own.
fn set(files: TrainingFiles) {
    let Ok(set) = OnnxTrainingSet::of(files) else { return };
    let mut dims = HashMap::new();
    for (_, extents) in set.data_extents().unwrap_or_default() {
        dims.extend(symbols(extents));
    }
    if let Ok(graphs) = set.graphs(&dims) {
        drop(set.own_gradients(&graphs.dims));
    }
}

fn symbols(extents: Vec<Extent>) -> impl Iterator<Item = (String, usize)> {
    extents.into_iter().filter_map(|e| match e {
        Extent::Symbol(name) => Some((name, 2)),
        Extent::Size(_) => None,
    })
}
