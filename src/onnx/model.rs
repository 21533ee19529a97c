//! A model file, decoded but not yet translated.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::iter::once;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pamc_passes::ir::Extent;
use prost::Message;

use super::checkpoint::NamedTensor;
use super::error::{OnnxError, TensorError, UnboundDim};
use super::import::{self, ImportOptions, Imported};
use super::inline::{inline_functions, name_differentiated};
use super::proto::{
    GraphProto, ModelProto, SparseTensorProto, TensorProto, TrainingInfoProto, ValueInfoProto,
};
use super::tensor::{self, Converted, Decoded};
use super::wire::Fields;

/// Numbers of the fields of messages that are taken apart.
pub(super) mod number {
    /// `ModelProto.graph`.
    pub const GRAPH: u32 = 7;
    /// `ModelProto.training_info`.
    pub const TRAINING_INFO: u32 = 20;
    /// `TrainingInfoProto.algorithm`.
    pub const ALGORITHM: u32 = 2;
    /// `GraphProto.initializer`.
    pub const INITIALIZER: u32 = 5;
    /// `GraphProto.sparse_initializer`.
    pub const SPARSE_INITIALIZER: u32 = 15;
}

/// An ONNX model as it stands in its file, its constants decoded.
#[derive(Clone, Debug)]
pub struct Model {
    file: PathBuf,
    proto: ModelProto,
    /// Without the data of its initializers.
    graph: GraphProto,
    initializers: Vec<NamedTensor>,
    converted: Vec<Converted>,
}

impl Model {
    /// Reads the model at `path` and the files its tensor data lies in.
    ///
    /// # Errors
    /// [`OnnxError::Io`]; [`OnnxError::Decode`] if the file is no ONNX model or is cut short;
    /// [`OnnxError::Tensor`] for a constant that cannot be decoded.
    pub fn load(path: &Path) -> Result<Self, OnnxError> {
        let io = |source| OnnxError::Io { file: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() {
            return Err(io(io::Error::other("it is not a regular file")));
        }
        Self::read(&mut BufReader::new(file), meta.len(), path)
    }

    /// Decodes a model from memory; `path` is used in messages and to find external data.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn decode(bytes: Bytes, path: &Path) -> Result<Self, OnnxError> {
        Self::read(&mut &bytes[..], bytes.len() as u64, path)
    }

    fn read(reader: &mut impl Read, len: u64, path: &Path) -> Result<Self, OnnxError> {
        let bad = |reason: String| OnnxError::Decode { file: path.to_owned(), reason };
        let mut parts = Parts {
            path,
            rest: [Vec::new(), Vec::new()],
            constants: Vec::new(),
            found_graph: false,
        };
        parts.read(reader, len)?;
        let [model, graph] = parts.rest.map(Bytes::from);
        let mut proto = ModelProto::decode(model).map_err(|e| bad(e.to_string()))?;
        if !parts.found_graph {
            return Err(bad("it holds no graph".to_owned()));
        }
        let mut graph = GraphProto::decode(graph).map_err(|e| bad(e.to_string()))?;
        let mut training = std::mem::take(&mut proto.training_info);
        let more =
            training.iter_mut().flat_map(|t| t.initialization.iter_mut().chain(&mut t.algorithm));
        inline_functions(&mut proto, once(&mut graph).chain(more)).map_err(bad)?;
        name_differentiated(&mut graph.node);
        let algorithms = training.iter_mut().filter_map(|t| t.algorithm.as_mut());
        algorithms.for_each(|a| name_differentiated(&mut a.node));
        proto.training_info = training;
        if proto.opset_import.is_empty() {
            return Err(bad("it does not say which operator set it uses".to_owned()));
        }
        let mut model = Self {
            file: path.to_owned(),
            proto,
            graph: GraphProto::default(),
            initializers: Vec::new(),
            converted: Vec::new(),
        };
        // Dense ones first, as the graph lists them.
        let (dense, sparse): (Vec<_>, Vec<_>) =
            parts.constants.into_iter().partition(|c| matches!(c.shell, Shell::Dense(_)));
        for constant in dense.into_iter().chain(sparse) {
            let name = constant.shell.name().to_owned();
            if let Some(from) = constant.decoded.converted_from {
                model.converted.push(Converted { tensor: name.clone(), from });
            }
            model.initializers.push(NamedTensor { name, tensor: constant.decoded.tensor });
            match constant.shell {
                Shell::Dense(t) => graph.initializer.push(*t),
                Shell::Sparse(t) => graph.sparse_initializer.push(*t),
            }
        }
        model.graph = graph;
        Ok(model)
    }

    /// The file it came from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The program that wrote it, with its version.
    pub fn producer(&self) -> String {
        format!("{} {}", self.proto.producer_name, self.proto.producer_version).trim().to_owned()
    }

    /// The version of operator domain `domain` the model uses (`""` is ONNX's own).
    pub fn opset(&self, domain: &str) -> Option<i64> {
        let canonical = |d: &str| if d == "ai.onnx" { "" } else { d }.to_owned();
        let wanted = canonical(domain);
        self.proto.opset_import.iter().find(|o| canonical(&o.domain) == wanted).map(|o| o.version)
    }

    /// The constants of the graph in the file's order.
    pub fn initializers(&self) -> &[NamedTensor] {
        &self.initializers
    }

    /// Which constants changed type.
    pub fn converted(&self) -> &[Converted] {
        &self.converted
    }

    /// Translates the graph; every symbolic dimension needs a size in `options`.
    ///
    /// # Errors
    /// [`OnnxError::UnboundDims`] and [`OnnxError::Unsupported`] list everything of their kind at
    /// once; [`OnnxError::Node`], [`OnnxError::Graph`] and [`OnnxError::Tensor`] name what
    /// contradicts itself.
    pub fn import(&self, options: &ImportOptions) -> Result<Imported, OnnxError> {
        import::import(self, options)
    }

    /// The named dimensions of the data inputs, each with the first input that has it.
    ///
    /// # Errors
    /// [`OnnxError::Graph`] if an input is no tensor.
    pub fn symbolic_dims(&self) -> Result<Vec<UnboundDim>, OnnxError> {
        import::symbolic_dims(self)
    }

    /// Domain (empty for ONNX's own) and name of every operator that is used.
    pub fn operators(&self) -> BTreeSet<(String, String)> {
        let mut out = BTreeSet::new();
        import::operators(&self.graph.node, &mut out);
        out
    }

    /// Names of the outputs, in the file's order.
    pub fn output_names(&self) -> Vec<String> {
        self.graph.output.iter().map(|o| o.name.clone()).collect()
    }

    /// The extents of the data inputs, which are not initializers.
    ///
    /// # Errors
    /// [`OnnxError::Graph`] if an input is no tensor.
    pub fn data_extents(&self) -> Result<Vec<(String, Vec<Extent>)>, OnnxError> {
        import::data_extents(self)
    }

    /// Makes the values of these names the outputs and drops inputs that nothing needs then.
    pub(super) fn end_at(&mut self, names: &[String]) {
        let output = |name: &String| ValueInfoProto { name: name.clone(), r#type: None };
        self.graph.output = names.iter().map(output).collect();
        let needed = import::needed_names(&self.graph);
        let keep: Vec<bool> = self.graph.input.iter().map(|i| needed.contains(&i.name)).collect();
        let mut keep = keep.into_iter();
        self.graph.input.retain(|_| keep.next().unwrap_or(false));
    }

    /// The same file and operator sets with another graph.
    pub(super) fn with_graph(&self, graph: GraphProto, initializers: Vec<NamedTensor>) -> Model {
        let proto = ModelProto { training_info: Vec::new(), ..self.proto.clone() };
        Model { proto, graph, initializers, ..self.clone() }
    }

    /// What the file says about training.
    pub(super) fn training_info(&self) -> &[TrainingInfoProto] {
        &self.proto.training_info
    }

    pub(super) fn graph(&self) -> &GraphProto {
        &self.graph
    }

    pub(super) fn graph_mut(&mut self) -> &mut GraphProto {
        &mut self.graph
    }

    pub(super) fn dir(&self) -> Option<&Path> {
        folder(&self.file)
    }
}

/// A constant's message without its data.
enum Shell {
    Dense(Box<TensorProto>),
    Sparse(Box<SparseTensorProto>),
}

impl Shell {
    fn name(&self) -> &str {
        match self {
            Shell::Dense(t) => &t.name,
            Shell::Sparse(s) => s.values.as_ref().map_or("", |v| &v.name),
        }
    }
}

struct Constant {
    shell: Shell,
    decoded: Decoded,
}

/// A model file taken apart: each constant is decoded as soon as it is read.
struct Parts<'p> {
    path: &'p Path,
    /// The fields of the model without the graph, those of the graph without its constants.
    rest: [Vec<u8>; 2],
    constants: Vec<Constant>,
    found_graph: bool,
}

impl Parts<'_> {
    fn bad(&self, reason: impl ToString) -> OnnxError {
        OnnxError::Decode { file: self.path.to_owned(), reason: reason.to_string() }
    }

    fn io(&self, e: io::Error) -> OnnxError {
        match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => self.bad(e),
            _ => OnnxError::Io { file: self.path.to_owned(), source: e },
        }
    }

    fn read(&mut self, reader: &mut impl Read, len: u64) -> Result<(), OnnxError> {
        let mut fields = Fields::new(reader, len);
        while let Some(field) = fields.next().map_err(|e| self.io(e))? {
            if field.number == number::GRAPH && field.wire == 2 {
                self.found_graph = true;
                self.graph(fields.inner(&field))?;
            } else {
                let payload = fields.payload(&field).map_err(|e| self.io(e))?;
                self.rest[0].extend(field.head.into_iter().chain(payload));
            }
        }
        Ok(())
    }

    fn graph<R: Read>(&mut self, mut fields: Fields<'_, R>) -> Result<(), OnnxError> {
        while let Some(field) = fields.next().map_err(|e| self.io(e))? {
            let payload = fields.payload(&field).map_err(|e| self.io(e))?;
            match (field.number, field.wire) {
                (number::INITIALIZER, 2) => self.dense(payload.into())?,
                (number::SPARSE_INITIALIZER, 2) => self.sparse(payload.into())?,
                _ => self.rest[1].extend(field.head.into_iter().chain(payload)),
            }
        }
        Ok(())
    }

    fn constant(
        &mut self,
        shell: Shell,
        decoded: Result<Decoded, TensorError>,
    ) -> Result<(), OnnxError> {
        let tensor = || shell.name().to_owned();
        let decoded = decoded.map_err(|reason| OnnxError::Tensor {
            file: self.path.to_owned(),
            tensor: tensor(),
            reason,
        })?;
        self.constants.push(Constant { shell, decoded });
        Ok(())
    }

    fn dense(&mut self, payload: Bytes) -> Result<(), OnnxError> {
        let proto = TensorProto::decode(payload).map_err(|e| self.bad(e))?;
        let decoded = tensor::decode(&proto, folder(self.path));
        self.constant(Shell::Dense(Box::new(proto.without_data())), decoded)
    }

    fn sparse(&mut self, payload: Bytes) -> Result<(), OnnxError> {
        let proto = SparseTensorProto::decode(payload).map_err(|e| self.bad(e))?;
        let decoded = tensor::densify(&proto, folder(self.path));
        let values = proto.values.map(TensorProto::without_data);
        let shell = SparseTensorProto { values, indices: None, dims: proto.dims };
        self.constant(Shell::Sparse(Box::new(shell)), decoded)
    }
}

fn folder(file: &Path) -> Option<&Path> {
    file.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p })
}
