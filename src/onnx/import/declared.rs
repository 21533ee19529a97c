//! What a graph declares: inputs and initializers, and who feeds them.

use std::collections::HashMap;

use pamc_passes::ir::{DType, Extent, InputKind, Tensor, TensorType};

use super::Parameters;
use super::context::Walk;
use super::interface::{inputs, named_dims, tensor_type};
use super::site;
use super::value::{Value, check_extents};
use crate::onnx::error::{OnnxError, UnboundDim};
use crate::onnx::proto::{DataType, ValueInfoProto};
use crate::onnx::tensor::{self, Converted};
use crate::runtime::data::fit;

impl<'a> Walk<'a> {
    /// Who feeds an input or initializer; `None`: it is a constant, if it has a value.
    fn kind(&mut self, name: &str, stored: Option<&Tensor>) -> Option<InputKind> {
        if self.statistics.updated.contains(name) || self.options.state.iter().any(|n| n == name) {
            return Some(InputKind::State);
        }
        let parameter = match (&self.options.parameters, stored) {
            (Parameters::Named(names), _) => names.iter().any(|n| n == name),
            (Parameters::Selected(_), None) => false,
            (Parameters::Selected(selection), Some(tensor)) => {
                let floats = tensor.dtype() == DType::F32;
                let why = || self.roles.why_fixed(name, tensor, &self.statistics);
                let why = match selection.says(name) {
                    Some(true) => None,
                    Some(false) => Some("--frozen says so"),
                    None => why(),
                };
                if let Some(why) = why.filter(|_| floats && tensor.ty().len() > 1) {
                    self.out.fixed.push((name.to_owned(), why));
                }
                floats && why.is_none()
            }
        };
        match (parameter, stored) {
            (true, _) => Some(InputKind::Param),
            (false, None) => Some(InputKind::Data),
            (false, Some(_)) => None,
        }
    }

    /// Inputs and initializers; data inputs become graph inputs before the others do.
    pub(super) fn interface(&mut self) -> Result<(), OnnxError> {
        let graph = self.model.graph();
        let inputs = inputs(self.model);
        let types = self.input_types(&inputs)?;
        for data in [true, false] {
            for (input, (ty, elem)) in inputs.iter().zip(&types) {
                let kind = self.kind(&input.name, None).unwrap_or(InputKind::Data);
                if (kind == InputKind::Data) == data {
                    self.input(&input.name, ty.clone(), *elem, kind)?;
                }
            }
        }
        let rounded = inputs.iter().zip(&types).filter_map(|(input, (_, elem))| {
            let from = tensor::rounded(*elem)?;
            Some(Converted { tensor: input.name.clone(), from })
        });
        self.out.converted = rounded.chain(self.model.converted().iter().cloned()).collect();
        let dense = graph.initializer.iter();
        let names = dense.chain(graph.sparse_initializer.iter().filter_map(|t| t.values.as_ref()));
        let names: HashMap<&str, (&'a str, DataType)> =
            names.map(|t| (t.name.as_str(), (t.name.as_str(), site::elem(t.data_type)))).collect();
        for stored in self.model.initializers().iter().cloned() {
            let Some(&(key, elem)) = names.get(stored.name.as_str()) else { continue };
            let ty = stored.tensor.ty();
            match self.kind(key, Some(&stored.tensor)) {
                Some(kind) => {
                    self.input(key, ty, elem, kind)?;
                    match kind {
                        InputKind::State => self.out.states.push(stored),
                        _ => self.out.parameters.push(stored),
                    }
                }
                None => self.define(key, Some((Value::Const(stored.tensor), elem)))?,
            }
        }
        Ok(())
    }

    fn input(
        &mut self,
        name: &'a str,
        ty: TensorType,
        elem: DataType,
        kind: InputKind,
    ) -> Result<(), OnnxError> {
        if let Some(bound) = self.options.bind.get(name) {
            let Some(value) = fit(bound, &ty) else {
                let reason = format!("`{name}` is {ty}, but is given {}", bound.ty());
                return Err(self.bad_graph(reason));
            };
            return self.define(name, Some((Value::Const(value), elem)));
        }
        let added = self.out.graph.input(name, ty, kind);
        let node = added.map_err(|e| self.bad_graph(e.to_string()))?;
        self.define(name, Some((Value::Node(node), elem)))
    }

    /// Types of the inputs with every named dimension replaced by its size.
    fn input_types(
        &self,
        inputs: &[&'a ValueInfoProto],
    ) -> Result<Vec<(TensorType, DataType)>, OnnxError> {
        let unbound: Vec<UnboundDim> = named_dims(self.model, inputs)?
            .into_iter()
            .filter(|u| !self.options.dims.contains_key(&u.dim))
            .collect();
        if !unbound.is_empty() {
            return Err(OnnxError::UnboundDims {
                file: self.model.file().to_owned(),
                dims: unbound,
            });
        }
        let size = |dim: Extent| match dim {
            Extent::Size(n) => n,
            Extent::Symbol(name) => self.options.dims.get(&name).copied().unwrap_or_default(),
        };
        let mut types = Vec::with_capacity(inputs.len());
        for input in inputs {
            let (code, dims) = tensor_type(self.model, input)?;
            let dtype = site::dtype(code).map_err(|e| {
                self.bad_graph(format!("input `{}`: {} is not supported", input.name, e.reason()))
            })?;
            let shape: Vec<usize> = dims.into_iter().map(size).collect();
            if check_extents(&shape).is_err() {
                let reason = format!("input `{}` of shape {shape:?} is too large", input.name);
                return Err(self.bad_graph(reason));
            }
            types.push((TensorType::new(dtype, shape), site::elem(code)));
        }
        Ok(types)
    }
}
