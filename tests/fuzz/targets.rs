//! What reads files.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use pamc::onnx::{Algorithm, Checkpoint, ImportOptions, Model};
use pamc::runtime::files::{read_npz, read_safetensors};
use pamc_passes::ir::{Dims, Extent, parse};

/// A reader of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// ONNX models, imported with every open size 2, and the training they describe.
    Onnx,
    /// Checkpoints of ONNX Runtime.
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
    pub fn of(path: &Path) -> Option<Self> {
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

    /// Whether inputs are protobuf messages.
    pub fn is_protobuf(self) -> bool {
        self == Target::Onnx
    }

    /// Reads an input; an error is as good as a result.
    pub fn run(self, input: &[u8]) {
        match self {
            Target::Onnx => onnx(input),
            Target::Checkpoint => drop(Checkpoint::decode(input, Path::new("checkpoint"))),
            Target::Text => {
                if let Ok(text) = std::str::from_utf8(input) {
                    drop(parse(text, &Dims::from([("N".to_owned(), 2)])));
                }
            }
            Target::Npz => drop(read_npz(&written(input, "fuzz.npz"))),
            Target::Npy => drop(read_npz(&written(input, "fuzz.npy"))),
            Target::Safetensors => drop(read_safetensors(&written(input, "fuzz.safetensors"))),
        }
    }
}

fn onnx(input: &[u8]) {
    let model = Model::decode(input.to_vec().into(), Path::new("fuzz/model.onnx"));
    let Ok(model) = model else { return };
    let open = model.symbolic_dims().unwrap_or_default();
    let mut dims: HashMap<String, usize> = open.into_iter().map(|d| (d.dim, 2)).collect();
    let _ = model.import(&ImportOptions { dims: dims.clone(), ..ImportOptions::default() });
    let Ok(Some(algorithm)) = Algorithm::of(&model) else { return };
    for (_, extents) in algorithm.data_extents().unwrap_or_default() {
        let named = extents.into_iter().filter_map(|e| match e {
            Extent::Symbol(name) => Some((name, 2)),
            Extent::Size(_) => None,
        });
        dims.extend(named);
    }
    let options = ImportOptions { dims, ..ImportOptions::default() };
    drop((algorithm.iteration(&options), algorithm.forward(&options), algorithm.initializations()));
}

/// The input as a file: these readers take nothing else.
fn written(input: &[u8], name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("pamc-{}-{name}", std::process::id()));
    // What cannot be written cannot be read either, which is an error as good as any.
    let _ = fs::write(&path, input);
    path
}
