//! Trained weights, back into the file the model came from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use half::{bf16, f16};
use pamc_passes::ir::Tensor;
use prost::Message;

use super::error::{OnnxError, TensorError};
use super::model::number;
use super::proto::{DataType, SparseTensorProto, StringStringEntryProto, TensorProto};
use super::tensor;
use super::wire::{Fields, put_field};

/// Fields of `TensorProto` that hold its data: float_data to int64_data, raw_data to uint64_data,
/// external_data and data_location.
const DATA: [u32; 9] = [4, 5, 6, 7, 9, 10, 11, 13, 14];
/// `TensorProto.raw_data`.
const RAW_DATA: u32 = 9;
/// `TensorProto.external_data`.
const EXTERNAL_DATA: u32 = 13;
/// `TensorProto.data_location`, as key and value: in another file.
const ELSEWHERE: [u8; 2] = [14 << 3, 1];
/// Protobuf messages cannot be longer.
const MAX_MODEL: usize = i32::MAX as usize;
/// External data begins at multiples of this, so that it can be mapped.
const PAGE: usize = 4096;

/// A model file with new weights.
pub struct Saved {
    /// The bytes of the model.
    pub model: Vec<u8>,
    /// The file beside it, by name, that tensor data lies in which lay in another file before.
    pub data: Option<(PathBuf, Vec<u8>)>,
}

/// The model file `source` with other values for its initializers `weights`, to be written to `to`.
/// Everything else stays as it is: names, metadata, operator sets, also what pamc does not know.
/// Tensors that lie in other files are put in one, called as `to` with `.data` at its end.
///
/// # Errors
/// [`OnnxError::Io`]; [`OnnxError::Tensor`] for a weight that the file has in another shape, or in
/// an element type that cannot hold it; [`OnnxError::Graph`] if a weight is no initializer.
pub fn with_weights(
    source: &Path,
    weights: &BTreeMap<String, Tensor>,
    to: &Path,
) -> Result<Saved, OnnxError> {
    let bytes =
        fs::read(source).map_err(|e| OnnxError::Io { file: source.to_owned(), source: e })?;
    let mut beside = to.file_name().unwrap_or_default().to_owned();
    beside.push(".data");
    let mut writer = Writer { source, weights, written: 0, beside: beside.into(), data: None };
    let mut model = Vec::with_capacity(bytes.len());
    writer.fields(&bytes, &mut model, |w, number, payload, out| match number {
        number::GRAPH => w.graph(number, payload, out),
        number::TRAINING_INFO => w.training_info(payload, out),
        _ => Ok(false),
    })?;
    let bad = |reason: String| OnnxError::Graph { file: source.to_owned(), reason };
    if writer.written != weights.len() {
        let n = weights.len() - writer.written;
        return Err(bad(format!("{n} of the trained tensors are not among its initializers")));
    }
    if model.len() > MAX_MODEL {
        return Err(bad("with its weights it is longer than the 2 GB that the format allows; \
                        give it external data first"
            .to_owned()));
    }
    Ok(Saved { model, data: writer.data.map(|data| (writer.beside, data)) })
}

struct Writer<'a> {
    source: &'a Path,
    weights: &'a BTreeMap<String, Tensor>,
    written: usize,
    beside: PathBuf,
    data: Option<Vec<u8>>,
}

impl Writer<'_> {
    /// Copies the fields of a message, but for those that `replace` takes care of.
    fn fields(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        mut replace: impl FnMut(&mut Self, u32, &[u8], &mut Vec<u8>) -> Result<bool, OnnxError>,
    ) -> Result<(), OnnxError> {
        let file = || self.source.to_owned();
        let bad = |e: std::io::Error| OnnxError::Decode { file: file(), reason: e.to_string() };
        let mut reader = message;
        let mut at = 0;
        loop {
            let mut fields = Fields::new(&mut reader, (message.len() - at) as u64);
            let Some(field) = fields.next().map_err(bad)? else { return Ok(()) };
            let start = at + field.head.len();
            let end = start + field.len as usize;
            let payload = &message[start..end];
            if !replace(self, field.number, payload, out)? {
                out.extend_from_slice(&message[at..end]);
            }
            at = end;
            reader = &message[at..];
        }
    }

    /// A graph, to be put as field `number`.
    fn graph(&mut self, number: u32, message: &[u8], out: &mut Vec<u8>) -> Result<bool, OnnxError> {
        let mut graph = Vec::with_capacity(message.len());
        self.fields(message, &mut graph, |w, number, payload, out| match number {
            number::INITIALIZER => w.initializer(payload, out),
            number::SPARSE_INITIALIZER => w.sparse(payload, out),
            _ => Ok(false),
        })?;
        put_field(out, number, &graph);
        Ok(true)
    }

    /// What the algorithm of a training info counts and averages goes back into its graph.
    fn training_info(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<bool, OnnxError> {
        let mut info = Vec::with_capacity(message.len());
        self.fields(message, &mut info, |w, number, payload, out| match number {
            number::ALGORITHM => w.graph(number, payload, out),
            _ => Ok(false),
        })?;
        put_field(out, number::TRAINING_INFO, &info);
        Ok(true)
    }

    fn fault(&self, name: &str, reason: TensorError) -> OnnxError {
        OnnxError::Tensor { file: self.source.to_owned(), tensor: name.to_owned(), reason }
    }

    fn decode<M: Message + Default>(&self, payload: &[u8]) -> Result<M, OnnxError> {
        let file = self.source.to_owned();
        M::decode(Bytes::copy_from_slice(payload))
            .map_err(|e| OnnxError::Decode { file, reason: e.to_string() })
    }

    /// A trained initializer with its new value, one of another file with its old one.
    fn initializer(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<bool, OnnxError> {
        let proto: TensorProto = self.decode(payload)?;
        let elsewhere = proto.data_location == 1;
        let raw = match self.weights.get(&proto.name) {
            Some(new) => {
                self.written += 1;
                encode(new, &proto).map_err(|e| self.fault(&proto.name, e))?
            }
            None if elsewhere => tensor::external_bytes(&proto, self.source.parent())
                .map_err(|e| self.fault(&proto.name, e))?,
            None => return Ok(false),
        };
        let mut message = Vec::with_capacity(payload.len());
        self.fields(payload, &mut message, |_, number, _, _| Ok(DATA.contains(&number)))?;
        if elsewhere {
            self.put_beside(&raw, &mut message);
        } else {
            put_field(&mut message, RAW_DATA, &raw);
        }
        put_field(out, number::INITIALIZER, &message);
        Ok(true)
    }

    fn put_beside(&mut self, raw: &[u8], message: &mut Vec<u8>) {
        let data = self.data.get_or_insert_default();
        data.resize(data.len().next_multiple_of(PAGE), 0);
        let entries = [
            ("location", self.beside.to_string_lossy().into_owned()),
            ("offset", data.len().to_string()),
            ("length", raw.len().to_string()),
        ];
        data.extend_from_slice(raw);
        for (key, value) in entries {
            let entry = StringStringEntryProto { key: key.to_owned(), value };
            put_field(message, EXTERNAL_DATA, &entry.encode_to_vec());
        }
        message.extend_from_slice(&ELSEWHERE);
    }

    /// A trained sparse initializer becomes a dense one.
    fn sparse(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<bool, OnnxError> {
        let proto: SparseTensorProto = self.decode(payload)?;
        let Some(values) = proto.values else { return Ok(false) };
        let Some(new) = self.weights.get(&values.name) else { return Ok(false) };
        self.written += 1;
        let dense = TensorProto { dims: proto.dims, ..values.without_data() };
        let raw = encode(new, &dense).map_err(|e| self.fault(&dense.name, e))?;
        let mut message = dense.encode_to_vec();
        put_field(&mut message, RAW_DATA, &raw);
        put_field(out, number::INITIALIZER, &message);
        Ok(true)
    }
}

/// The raw bytes of a tensor in the element type of `like`, whose shape it must have.
fn encode(t: &Tensor, like: &TensorProto) -> Result<Vec<u8>, TensorError> {
    let (shape, _) = tensor::element_count(&like.dims)?;
    if t.shape() != shape {
        return Err(TensorError::Shape(like.dims.clone()));
    }
    let dtype = tensor::data_type(like.data_type)?;
    let each = |f: &dyn Fn(f32) -> Vec<u8>| {
        t.to_vec::<f32>().map(|v| v.into_iter().flat_map(f).collect::<Vec<u8>>())
    };
    let raw = match (t, dtype) {
        (Tensor::F32(_), DataType::Double) => each(&|x| f64::from(x).to_le_bytes().to_vec()),
        (Tensor::F32(_), DataType::Float16) => each(&|x| f16::from_f32(x).to_le_bytes().to_vec()),
        (Tensor::F32(_), DataType::Bfloat16) => each(&|x| bf16::from_f32(x).to_le_bytes().to_vec()),
        (Tensor::F32(_), DataType::Float)
        | (Tensor::I32(_), DataType::Int32)
        | (Tensor::I64(_), DataType::Int64)
        | (Tensor::Bool(_), DataType::Bool) => Some(t.to_bytes()),
        _ => None,
    };
    raw.ok_or_else(|| TensorError::Dtype(format!("{dtype:?}").to_lowercase()))
}
