//! A model file, decoded but not yet translated.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pamc_passes::ir::Extent;
use prost::Message;

use super::checkpoint::NamedTensor;
use super::error::{OnnxError, UnboundDim};
use super::import::{self, ImportOptions, Imported};
use super::inline::inline_functions;
use super::proto::{GraphProto, ModelProto, ValueInfoProto};
use super::tensor::{self, Converted, Decoded};

/// An ONNX model as it stands in its file.
#[derive(Clone, Debug)]
pub struct Model {
    file: PathBuf,
    proto: ModelProto,
    graph: GraphProto,
}

impl Model {
    /// Reads the model at `path`. External tensor data is read when it is asked for.
    ///
    /// # Errors
    /// [`OnnxError::Io`]; [`OnnxError::Decode`] if the file is no ONNX model or is cut short.
    pub fn load(path: &Path) -> Result<Self, OnnxError> {
        let io = |source| OnnxError::Io { file: path.to_owned(), source };
        Self::decode(fs::read(path).map_err(io)?.into(), path)
    }

    /// Decodes a model from memory; `path` is used in messages and to find external data.
    ///
    /// # Errors
    /// [`OnnxError::Decode`] if the bytes are no ONNX model or are cut short.
    pub fn decode(bytes: Bytes, path: &Path) -> Result<Self, OnnxError> {
        let bad = |reason: String| OnnxError::Decode { file: path.to_owned(), reason };
        let mut proto = ModelProto::decode(bytes).map_err(|e| bad(e.to_string()))?;
        let graph = proto.graph.take().ok_or_else(|| bad("it holds no graph".to_owned()))?;
        let node = inline_functions(&mut proto, graph.node).map_err(bad)?;
        let graph = GraphProto { node, ..graph };
        if proto.opset_import.is_empty() {
            return Err(bad("it does not say which operator set it uses".to_owned()));
        }
        Ok(Self { file: path.to_owned(), proto, graph })
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

    /// The constants of the graph in the file's order, and which of them changed type.
    ///
    /// # Errors
    /// [`OnnxError::Tensor`] for the first one that cannot be decoded.
    pub fn initializers(&self) -> Result<(Vec<NamedTensor>, Vec<Converted>), OnnxError> {
        let dense =
            self.graph.initializer.iter().map(|t| (t.name.as_str(), tensor::decode(t, self.dir())));
        let sparse = self.graph.sparse_initializer.iter().map(|s| {
            let name = s.values.as_ref().map_or("", |v| &v.name);
            (name, tensor::densify(s, self.dir()))
        });
        let mut tensors = Vec::new();
        let mut converted = Vec::new();
        for (name, decoded) in dense.chain(sparse) {
            let Decoded { tensor, converted_from } = decoded.map_err(|reason| {
                OnnxError::Tensor { file: self.file.clone(), tensor: name.to_owned(), reason }
            })?;
            if let Some(from) = converted_from {
                converted.push(Converted { tensor: name.to_owned(), from });
            }
            tensors.push(NamedTensor { name: name.to_owned(), tensor });
        }
        Ok((tensors, converted))
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

    pub(super) fn graph(&self) -> &GraphProto {
        &self.graph
    }

    pub(super) fn graph_mut(&mut self) -> &mut GraphProto {
        &mut self.graph
    }

    pub(super) fn dir(&self) -> Option<&Path> {
        self.file.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p })
    }
}
