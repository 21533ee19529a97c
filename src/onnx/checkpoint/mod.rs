//! The `checkpoint` file of ONNX Runtime training: parameters, optimizer state, properties.
//!
//! A flatbuffer with identifier "ODTC". Every offset is verified before anything is read, and
//! nothing is allocated that the file does not contain. Data above 1.8 GB lies in a second file,
//! `<checkpoint>.data`.

mod schema;
mod write;

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flatbuffers::{ForwardsUOffset, Vector, VerifierOptions};
use pamc_passes::ir::Tensor;

use super::error::{OnnxError, TensorError};
use super::tensor;

const IDENTIFIER: &str = "ODTC";
/// The format versions whose layout this is: ONNX Runtime 1.15 to 1.19.
const VERSIONS: std::ops::RangeInclusive<i32> = 1..=2;

/// A checkpoint of ONNX Runtime training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// Parameters the optimizer updates.
    pub trainable: Vec<NamedTensor>,
    /// Parameters and buffers that stay as they are.
    pub frozen: Vec<NamedTensor>,
    /// Optimizer state; ONNX Runtime writes at most one group, `group0`.
    pub optimizer_groups: Vec<OptimizerGroup>,
    /// Whatever the user stored along, in the file's order: integers, floats, texts.
    pub properties: Vec<(String, Property)>,
}

/// A tensor and its name.
#[derive(Clone, Debug)]
pub struct NamedTensor {
    /// The parameter's or moment's name.
    pub name: String,
    /// Its value.
    pub tensor: Tensor,
}

impl PartialEq for NamedTensor {
    /// The same name and the same bits.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.tensor.same_bits(&other.tensor)
    }
}

/// The state of one optimizer.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerGroup {
    /// The group's name.
    pub name: String,
    /// Updates done so far.
    pub step: i64,
    /// Learning rate before any schedule.
    pub initial_learning_rate: f32,
    /// Moments of each parameter.
    pub states: Vec<ParameterState>,
}

/// The moments an optimizer keeps for one parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterState {
    /// The parameter.
    pub parameter: String,
    /// `momentum0`, `momentum1`: moving averages of the gradient and of its square.
    pub moments: Vec<NamedTensor>,
}

/// A user's property.
#[derive(Clone, Debug, PartialEq)]
pub enum Property {
    /// A 64-bit integer.
    Int(i64),
    /// A 32-bit float.
    Float(f32),
    /// Text.
    Text(String),
}

impl Checkpoint {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`OnnxError::Io`], or [`OnnxError::Checkpoint`] / [`OnnxError::Tensor`] if the file is
    /// damaged, of an unknown version, or "nominal" (names without values).
    pub fn load(path: &Path) -> Result<Self, OnnxError> {
        let io = |source| OnnxError::Io { file: path.to_owned(), source };
        let bytes = fs::read(path).map_err(io)?;
        Self::decode(&bytes, path)
    }

    /// Reads a checkpoint from memory; `path` is used in messages and to find external data.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Self, OnnxError> {
        let reader = Reader { path };
        let root = reader.verified_root(bytes)?;
        let version = root.version().unwrap_or(0);
        if !VERSIONS.contains(&version) {
            return Err(reader.damaged(format!("format version {version} is unknown")));
        }
        let module = root.module_state().ok_or_else(|| reader.damaged("no parameters"))?;
        if module.is_nominal_state().unwrap_or(false) {
            return Err(
                reader.damaged("a nominal checkpoint has names but no values; load the full one")
            );
        }
        let external = if module.has_external_data().unwrap_or(false) {
            Some(reader.open_external()?)
        } else {
            None
        };
        let mut properties = Vec::new();
        if let Some(bag) = root.property_bag() {
            reader.properties(bag, &mut properties)?;
        }
        Ok(Self {
            trainable: reader.tensors(module.requires_grad_params(), external.as_ref())?,
            frozen: reader.tensors(module.frozen_params(), external.as_ref())?,
            optimizer_groups: items(root.optimizer_groups())
                .map(|group| reader.group(group))
                .collect::<Result<_, _>>()?,
            properties,
        })
    }

    /// Every parameter, trainable ones first.
    pub fn parameters(&self) -> impl Iterator<Item = &NamedTensor> {
        self.trainable.iter().chain(&self.frozen)
    }
}

/// The elements of an optional vector of tables.
fn items<'a, T>(
    list: Option<Vector<'a, ForwardsUOffset<T>>>,
) -> impl Iterator<Item = <ForwardsUOffset<T> as flatbuffers::Follow<'a>>::Inner>
where
    T: flatbuffers::Follow<'a> + 'a,
{
    list.into_iter().flatten()
}

struct ExternalData {
    path: PathBuf,
    file: File,
    len: u64,
}

struct Reader<'p> {
    path: &'p Path,
}

impl Reader<'_> {
    fn damaged(&self, reason: impl Into<String>) -> OnnxError {
        OnnxError::Checkpoint { file: self.path.to_owned(), reason: reason.into() }
    }

    fn verified_root<'b>(&self, bytes: &'b [u8]) -> Result<schema::Root<'b>, OnnxError> {
        if bytes.len() < 8 || &bytes[4..8] != IDENTIFIER.as_bytes() {
            return Err(self.damaged("the file identifier \"ODTC\" is missing"));
        }
        let options = VerifierOptions {
            // Tables may share contents, but a file that unfolds to many times its size is a bomb.
            max_apparent_size: bytes.len().saturating_mul(4),
            ..VerifierOptions::default()
        };
        flatbuffers::root_with_opts::<schema::Root>(&options, bytes).map_err(|e| {
            let text = e.to_string();
            self.damaged(text.lines().next().unwrap_or("invalid flatbuffer"))
        })
    }

    fn open_external(&self) -> Result<ExternalData, OnnxError> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".data");
        let dir = self.path.parent().unwrap_or(Path::new(""));
        let (file, len) = tensor::open_inside(dir, Path::new(&name)).map_err(|reason| {
            let tensor = name.to_string_lossy().into_owned();
            OnnxError::Tensor { file: self.path.to_owned(), tensor, reason }
        })?;
        Ok(ExternalData { path: dir.join(name), file, len })
    }

    fn tensors<'a>(
        &self,
        list: Option<Vector<'a, ForwardsUOffset<schema::Tensor<'a>>>>,
        external: Option<&ExternalData>,
    ) -> Result<Vec<NamedTensor>, OnnxError> {
        items(list).map(|t| self.tensor(t, external)).collect()
    }

    fn tensor(
        &self,
        t: schema::Tensor,
        external: Option<&ExternalData>,
    ) -> Result<NamedTensor, OnnxError> {
        let name = t.name().ok_or_else(|| self.damaged("a tensor has no name"))?.to_owned();
        let fail =
            |reason| OnnxError::Tensor { file: self.path.to_owned(), tensor: name.clone(), reason };
        let dims: Vec<i64> = t.dims().into_iter().flatten().collect();
        let dtype = t.data_type().unwrap_or(0);
        let offset = t.external_data_offset().unwrap_or(-1);
        let decoded = match (external, u64::try_from(offset)) {
            (Some(external), Ok(offset)) => {
                let bytes = read_external(external, offset, &dims, dtype).map_err(fail)?;
                tensor::decode_raw(&dims, dtype, &bytes)
            }
            (None, Ok(_)) => {
                return Err(self.damaged("a tensor points to external data, which is not declared"));
            }
            (_, Err(_)) => {
                let bytes = t.raw_data().map_or(&[][..], |v| v.bytes());
                tensor::decode_raw(&dims, dtype, bytes)
            }
        };
        let tensor = decoded.map_err(fail)?.tensor;
        Ok(NamedTensor { name, tensor })
    }

    fn group(&self, group: schema::OptimizerGroup) -> Result<OptimizerGroup, OnnxError> {
        let state = |state: schema::ParameterOptimizerState| {
            let parameter = self.text(state.param_name(), "an optimizer state")?;
            Ok(ParameterState { parameter, moments: self.tensors(state.momentums(), None)? })
        };
        Ok(OptimizerGroup {
            name: self.text(group.group_name(), "an optimizer group")?,
            step: group.step().unwrap_or(0),
            initial_learning_rate: group.initial_learning_rate().unwrap_or(0.0),
            states: items(group.optimizer_states()).map(state).collect::<Result<_, _>>()?,
        })
    }

    fn properties(
        &self,
        bag: schema::PropertyBag,
        out: &mut Vec<(String, Property)>,
    ) -> Result<(), OnnxError> {
        for p in items(bag.ints()) {
            out.push((self.property(p.name())?, Property::Int(p.value().unwrap_or(0))));
        }
        for p in items(bag.floats()) {
            out.push((self.property(p.name())?, Property::Float(p.value().unwrap_or(0.0))));
        }
        for p in items(bag.strings()) {
            let text = p.value().unwrap_or("").to_owned();
            out.push((self.property(p.name())?, Property::Text(text)));
        }
        Ok(())
    }

    fn property(&self, name: Option<&str>) -> Result<String, OnnxError> {
        self.text(name, "a property")
    }

    fn text(&self, text: Option<&str>, owner: &str) -> Result<String, OnnxError> {
        text.map(str::to_owned).ok_or_else(|| self.damaged(format!("{owner} has no name")))
    }
}

fn read_external(
    external: &ExternalData,
    offset: u64,
    dims: &[i64],
    dtype: i32,
) -> Result<Vec<u8>, TensorError> {
    let len = tensor::raw_len(dims, dtype)?;
    let found = external.len.saturating_sub(offset);
    if found < len as u64 {
        return Err(TensorError::Size { expected: len as u64, found, unit: "bytes" });
    }
    let io = |source| TensorError::ExternalIo { file: external.path.clone(), source };
    let mut file = &external.file;
    file.seek(SeekFrom::Start(offset)).map_err(io)?;
    let mut bytes = vec![0; len];
    file.read_exact(&mut bytes).map_err(io)?;
    Ok(bytes)
}
