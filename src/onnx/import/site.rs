//! What the translation of one node gets to see: operands, attributes, opset.

use std::cell::RefCell;
use std::path::Path;

use pamc_passes::ir::{DType, Tensor};
use pamc_passes::ops::normalize_axis;

use super::SeededDropout;
use super::value::{Build, Fault, Made, Value, at_run_time, invalid, unsupported};
use crate::onnx::proto::{AttributeProto, AttributeType, DataType, NodeProto};
use crate::onnx::tensor;

/// One node being translated.
pub(super) struct Site<'a, 'g> {
    pub node: &'a NodeProto,
    /// Version of the node's operator domain.
    pub opset: i64,
    pub b: Build<'g>,
    /// Operands; `None` where one is left out.
    pub inputs: Vec<Option<Value>>,
    /// Their element types in the file.
    elems: Vec<Option<DataType>>,
    /// Which outputs somebody uses.
    pub wanted: Vec<bool>,
    /// The model's folder, for constants in other files.
    pub dir: Option<&'a Path>,
    /// What `seed` means to a dropout.
    pub seeded_dropout: SeededDropout,
    read: RefCell<Vec<&'a str>>,
}

/// What surrounds a node.
pub(super) struct Operands<'a> {
    pub inputs: Vec<Option<Value>>,
    pub elems: Vec<Option<DataType>>,
    pub wanted: Vec<bool>,
    pub dir: Option<&'a Path>,
    pub seeded_dropout: SeededDropout,
}

impl<'a, 'g> Site<'a, 'g> {
    /// A node with nothing read yet.
    pub fn new(node: &'a NodeProto, opset: i64, b: Build<'g>, operands: Operands<'a>) -> Self {
        let Operands { inputs, elems, wanted, dir, seeded_dropout } = operands;
        let read = RefCell::default();
        Site { node, opset, b, inputs, elems, dir, wanted, seeded_dropout, read }
    }

    /// Element type in the file of operand `i`.
    pub fn elem(&self, i: usize) -> Option<DataType> {
        self.elems.get(i).copied().flatten()
    }

    /// Whether somebody uses output `i`.
    pub fn wants(&self, i: usize) -> bool {
        self.wanted.get(i).copied().unwrap_or(false)
    }

    /// Operand `i`, which must be there.
    pub fn input(&self, i: usize) -> Made {
        self.opt(i).ok_or_else(|| Fault::Invalid(format!("operand {} is missing", i + 1)))
    }

    /// Operand `i`, if it is there.
    pub fn opt(&self, i: usize) -> Option<Value> {
        self.inputs.get(i).cloned().flatten()
    }

    /// Operand `i` as a constant; `what` names it in the message if it is not one.
    pub fn constant(&self, i: usize, what: &str) -> Made<Option<Tensor>> {
        match self.opt(i) {
            None => Ok(None),
            Some(Value::Const(t)) => Ok(Some(t)),
            Some(_) => at_run_time(what),
        }
    }

    /// Operand `i` as constant integers.
    pub fn const_ints(&self, i: usize, what: &str) -> Made<Option<Vec<i64>>> {
        self.constant(i, what)?.map(|t| integers(&t, what)).transpose()
    }

    /// Operand `i` as one constant integer.
    pub fn const_int(&self, i: usize, what: &str) -> Made<Option<i64>> {
        match self.const_ints(i, what)?.as_deref() {
            None => Ok(None),
            Some([x]) => Ok(Some(*x)),
            Some(_) => invalid(format!("`{what}` is not one number")),
        }
    }

    /// Operand `i` as one constant real number.
    pub fn const_float(&self, i: usize, what: &str) -> Made<Option<f32>> {
        let Some(t) = self.constant(i, what)? else { return Ok(None) };
        let x = match &t {
            Tensor::F32(_) => t.item::<f32>(),
            Tensor::I32(_) => t.item::<i32>().map(|x| x as f32),
            Tensor::I64(_) => t.item::<i64>().map(|x| x as f32),
            Tensor::Bool(_) => None,
        };
        x.map(Some).ok_or_else(|| Fault::Invalid(format!("`{what}` is not one number")))
    }

    fn attr(&self, name: &str, kind: AttributeType) -> Made<Option<&'a AttributeProto>> {
        let Some(attr) = self.node.attribute.iter().find(|a| a.name == name) else {
            return Ok(None);
        };
        self.read.borrow_mut().push(&attr.name);
        // Files of IR version 1 leave the type out.
        if attr.kind != kind as i32 && attr.kind != 0 {
            return invalid(format!("attribute `{name}` is not of type {kind:?}"));
        }
        Ok(Some(attr))
    }

    pub fn opt_int(&self, name: &str) -> Made<Option<i64>> {
        Ok(self.attr(name, AttributeType::Int)?.map(|a| a.i))
    }

    pub fn int(&self, name: &str, default: i64) -> Made<i64> {
        Ok(self.opt_int(name)?.unwrap_or(default))
    }

    pub fn flag(&self, name: &str, default: bool) -> Made<bool> {
        Ok(self.int(name, default.into())? != 0)
    }

    pub fn opt_float(&self, name: &str) -> Made<Option<f32>> {
        Ok(self.attr(name, AttributeType::Float)?.map(|a| a.f))
    }

    pub fn float(&self, name: &str, default: f32) -> Made<f32> {
        Ok(self.opt_float(name)?.unwrap_or(default))
    }

    pub fn ints(&self, name: &str) -> Made<Option<Vec<i64>>> {
        Ok(self.attr(name, AttributeType::Ints)?.map(|a| a.ints.clone()))
    }

    pub fn floats(&self, name: &str) -> Made<Option<Vec<f32>>> {
        Ok(self.attr(name, AttributeType::Floats)?.map(|a| a.floats.clone()))
    }

    pub fn texts(&self, name: &str) -> Made<Option<Vec<&'a str>>> {
        let Some(attr) = self.attr(name, AttributeType::Strings)? else { return Ok(None) };
        let texts = attr.strings.iter().map(|s| std::str::from_utf8(s).ok());
        match texts.collect::<Option<Vec<_>>>() {
            Some(texts) => Ok(Some(texts)),
            None => invalid(format!("attribute `{name}` is not UTF-8")),
        }
    }

    pub fn text(&self, name: &str, default: &'a str) -> Made<&'a str> {
        match self.attr(name, AttributeType::String)? {
            None => Ok(default),
            Some(a) => std::str::from_utf8(&a.s)
                .map_err(|_| Fault::Invalid(format!("attribute `{name}` is not UTF-8"))),
        }
    }

    /// A dense tensor attribute.
    pub fn tensor(&self, name: &str) -> Made<Option<Tensor>> {
        let Some(attr) = self.attr(name, AttributeType::Tensor)? else { return Ok(None) };
        let Some(t) = &attr.t else { return invalid(format!("attribute `{name}` is empty")) };
        match tensor::decode(t, self.dir) {
            Ok(decoded) => Ok(Some(decoded.tensor)),
            Err(e) => invalid(format!("attribute `{name}`: {e}")),
        }
    }

    /// A sparse tensor attribute, written out.
    pub fn sparse_tensor(&self, name: &str) -> Made<Option<Tensor>> {
        let Some(attr) = self.attr(name, AttributeType::SparseTensor)? else { return Ok(None) };
        let Some(t) = &attr.sparse_tensor else {
            return invalid(format!("attribute `{name}` is empty"));
        };
        match tensor::densify(t, self.dir) {
            Ok(decoded) => Ok(Some(decoded.tensor)),
            Err(e) => invalid(format!("attribute `{name}`: {e}")),
        }
    }

    /// Attributes that change nothing in what is computed here.
    pub fn ignore(&self, names: &[&str]) {
        let given = self.node.attribute.iter().filter(|a| names.contains(&a.name.as_str()));
        self.read.borrow_mut().extend(given.map(|a| a.name.as_str()));
    }

    /// Attributes nobody asked for.
    pub fn unread(&self) -> Vec<&'a str> {
        let read = self.read.borrow();
        let names = self.node.attribute.iter().map(|a| a.name.as_str());
        names.filter(|n| !read.contains(n)).collect()
    }

    /// One axis of a value of that rank.
    pub fn axis(&self, axis: i64, rank: usize) -> Made<usize> {
        normalize_axis(axis, rank).map_err(Fault::Invalid)
    }

    /// Several axes, sorted; naming one twice is an error.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Made<Vec<usize>> {
        let mut out = axes.iter().map(|&a| self.axis(a, rank)).collect::<Made<Vec<_>>>()?;
        out.sort_unstable();
        if out.windows(2).any(|w| w[0] == w[1]) {
            return invalid(format!("axes {axes:?} name one axis twice"));
        }
        Ok(out)
    }

    /// `name` as an attribute before opset `since`, as operand `i` from then on.
    pub fn ints_moved(&self, name: &str, since: i64, i: usize) -> Made<Option<Vec<i64>>> {
        if self.opset < since { self.ints(name) } else { self.const_ints(i, name) }
    }
}

/// The integers of a constant.
pub(super) fn integers(t: &Tensor, what: &str) -> Made<Vec<i64>> {
    match t {
        Tensor::I64(a) => Ok(a.iter().copied().collect()),
        Tensor::I32(a) => Ok(a.iter().map(|&x| x.into()).collect()),
        _ => invalid(format!("`{what}` is {}, not integers", t.ty())),
    }
}

/// The element type that stands for one of ONNX's.
pub(super) fn dtype(code: i32) -> Made<DType> {
    use DataType as D;
    Ok(match DataType::try_from(code) {
        Ok(D::Float | D::Double | D::Float16 | D::Bfloat16) => DType::F32,
        Ok(D::Float8E4m3fn | D::Float8E4m3fnuz | D::Float8E5m2 | D::Float8E5m2fnuz) => DType::F32,
        Ok(D::Float8E8m0 | D::Float4E2m1) => DType::F32,
        Ok(D::Int32 | D::Int16 | D::Int8 | D::Uint16 | D::Uint8) => DType::I32,
        Ok(D::Int4 | D::Uint4 | D::Int2 | D::Uint2) => DType::I32,
        Ok(D::Int64 | D::Uint32 | D::Uint64) => DType::I64,
        Ok(D::Bool) => DType::Bool,
        Ok(other) => return unsupported(format!("element type {other:?}").to_lowercase()),
        Err(_) => return invalid(format!("element type number {code}")),
    })
}

/// ONNX's element type of that number.
pub(super) fn elem(code: i32) -> DataType {
    DataType::try_from(code).unwrap_or(DataType::Undefined)
}
