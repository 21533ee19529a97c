//! Writing a checkpoint that ONNX Runtime 1.19 loads.

use std::io::Write;
use std::path::Path;

use flatbuffers::{FlatBufferBuilder, UOffsetT, Vector, WIPOffset};

use pamc_passes::ir::{DType, Tensor};

use super::schema::slot;
use super::{Checkpoint, IDENTIFIER, NamedTensor, OptimizerGroup, Property, VERSIONS};
use crate::onnx::error::OnnxError;
use crate::onnx::proto::DataType;

/// Offsets in a flatbuffer are 31 bits; the rest of the file needs some of them too.
const MAX_DATA: usize = (1 << 31) - (1 << 24);

type Builder = FlatBufferBuilder<'static>;
type Offset = WIPOffset<flatbuffers::TableFinishedWIPOffset>;
type Offsets<'a> =
    WIPOffset<Vector<'a, flatbuffers::ForwardsUOffset<flatbuffers::TableFinishedWIPOffset>>>;

impl Checkpoint {
    /// The checkpoint as bytes of the file format, version 2, all data inline.
    ///
    /// # Errors
    /// [`OnnxError::Checkpoint`] above 2 GB of data, which the format cannot hold inline; `path`
    /// is named in the message.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>, OnnxError> {
        let moments = self.optimizer_groups.iter().flat_map(|g| &g.states).flat_map(|s| &s.moments);
        let total: usize = self.parameters().chain(moments).map(|t| t.tensor.ty().bytes()).sum();
        if total > MAX_DATA {
            let reason = format!("{total} bytes of data are more than a flatbuffer can hold");
            return Err(OnnxError::Checkpoint { file: path.to_owned(), reason });
        }
        let mut b = Builder::new();
        let trainable = tensors(&mut b, &self.trainable);
        let frozen = tensors(&mut b, &self.frozen);
        let module = table(&mut b, |b| {
            b.push_slot_always(slot(0), trainable);
            b.push_slot_always(slot(1), frozen);
        });
        let groups: Vec<Offset> = self.optimizer_groups.iter().map(|g| group(&mut b, g)).collect();
        let groups = (!groups.is_empty()).then(|| b.create_vector(&groups));
        let bag = (!self.properties.is_empty()).then(|| property_bag(&mut b, &self.properties));
        let root = table(&mut b, |b| {
            b.push_slot_always(slot(0), *VERSIONS.end());
            b.push_slot_always(slot(1), module);
            optional(b, 2, groups);
            optional(b, 3, bag);
        });
        b.finish(root, Some(IDENTIFIER));
        Ok(b.finished_data().to_vec())
    }

    /// Writes the checkpoint to `path`; an existing file stays whole until the new one is.
    ///
    /// # Errors
    /// [`OnnxError::Io`], and as [`Checkpoint::encode`].
    pub fn save(&self, path: &Path) -> Result<(), OnnxError> {
        let bytes = self.encode(path)?;
        let io = |source| OnnxError::Io { file: path.to_owned(), source };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        let mut file =
            tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(io)?;
        file.write_all(&bytes).map_err(io)?;
        file.persist(path).map_err(|e| io(e.error))?;
        Ok(())
    }
}

fn table(b: &mut Builder, fill: impl FnOnce(&mut Builder)) -> Offset {
    let start = b.start_table();
    fill(b);
    let end: WIPOffset<UOffsetT> = WIPOffset::new(b.end_table(start).value());
    WIPOffset::new(end.value())
}

fn optional<T>(b: &mut Builder, field: u16, offset: Option<WIPOffset<T>>) {
    if let Some(offset) = offset {
        b.push_slot_always(slot(field), offset);
    }
}

fn tensors(b: &mut Builder, list: &[NamedTensor]) -> Offsets<'static> {
    let tensors: Vec<Offset> = list.iter().map(|t| tensor(b, &t.name, &t.tensor)).collect();
    b.create_vector(&tensors)
}

fn tensor(b: &mut Builder, name: &str, t: &Tensor) -> Offset {
    let name = b.create_string(name);
    let dims: Vec<i64> = t.shape().iter().map(|&d| d as i64).collect();
    let dims = b.create_vector(&dims);
    let data = b.create_vector(&t.to_bytes());
    table(b, |b| {
        b.push_slot_always(slot(0), name);
        b.push_slot_always(slot(2), dims);
        b.push_slot_always(slot(3), code(t.dtype()) as i32);
        b.push_slot_always(slot(4), data);
    })
}

fn group(b: &mut Builder, group: &OptimizerGroup) -> Offset {
    let mut states = Vec::with_capacity(group.states.len());
    for state in &group.states {
        let name = b.create_string(&state.parameter);
        let moments = tensors(b, &state.moments);
        states.push(table(b, |b| {
            b.push_slot_always(slot(0), name);
            b.push_slot_always(slot(1), moments);
        }));
    }
    let name = b.create_string(&group.name);
    let states = b.create_vector(&states);
    table(b, |b| {
        b.push_slot_always(slot(0), name);
        b.push_slot(slot(1), group.step, 0);
        b.push_slot(slot(2), group.initial_learning_rate, 0.0);
        b.push_slot_always(slot(3), states);
    })
}

fn property_bag(b: &mut Builder, properties: &[(String, Property)]) -> Offset {
    let mut lists: [Vec<Offset>; 3] = Default::default();
    for (name, value) in properties {
        let name = b.create_string(name);
        let (list, entry) = match value {
            Property::Int(x) => (0, named(b, name, |b| b.push_slot(slot(1), *x, 0))),
            Property::Float(x) => (1, named(b, name, |b| b.push_slot(slot(1), *x, 0.0))),
            Property::Text(x) => {
                let text = b.create_string(x);
                (2, named(b, name, |b| b.push_slot_always(slot(1), text)))
            }
        };
        lists[list].push(entry);
    }
    let lists = lists.map(|list| (!list.is_empty()).then(|| b.create_vector(&list)));
    table(b, |b| {
        for (field, list) in lists.into_iter().enumerate() {
            optional(b, field as u16, list);
        }
    })
}

fn named(b: &mut Builder, name: WIPOffset<&str>, value: impl FnOnce(&mut Builder)) -> Offset {
    table(b, |b| {
        b.push_slot_always(slot(0), name);
        value(b);
    })
}

fn code(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::Float,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::Bool => DataType::Bool,
    }
}
