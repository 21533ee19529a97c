//! The text of a term: from operands of rank 0 through the op table to scalar operations.

use super::{
    ir::Op,
    meaning::{Meaning, TermFn},
    options::{Dialect, LowerOptions},
};
use crate::emit::{Builder, Elem, Value, VecTy, scalar};
use pamc_passes::{
    arith::Arith,
    build::Cx,
    ir::{Attr, Attrs, DType, Graph, InputKind, Origin, Tensor, TensorType},
    ops::{AttrType, Kind, Op as Row, Prim, all, lookup},
    pass::{expand, lower},
    program::MulFree,
};
use std::fmt::Write;

/// What is known of an operand beforehand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operand {
    /// A float; 16-bit ones are converted to f32.
    Float,
    /// A 32-bit integer.
    Int,
    /// This float, whatever is passed.
    Constant(f32),
}

/// What is to be computed: an operation by its meaning, or a primitive of the pam dialect.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A row or a term of rows.
    Row(&'static str),
    /// A term of rows.
    Term(TermFn),
    /// A row of the pam dialect with its attributes.
    Pam(&'static str, Attrs),
}

impl TryFrom<Meaning> for What {
    type Error = &'static str;

    fn try_from(meaning: Meaning) -> Result<Self, &'static str> {
        match meaning {
            Meaning::Row(name) => Ok(What::Row(name)),
            Meaning::Term(term) => Ok(What::Term(term)),
            Meaning::Undefined(why) => Err(why),
        }
    }
}

/// The one factor of a product that is a usable constant, and the place of the other.
fn constant_factor(operands: &[Operand]) -> Option<(f32, usize)> {
    let usable = |o: &Operand| match *o {
        Operand::Constant(c) if c.is_normal() => Some(c),
        _ => None,
    };
    match operands {
        [Operand::Float, c] => usable(c).map(|c| (c, 0)),
        [c, Operand::Float] => usable(c).map(|c| (c, 1)),
        _ => None,
    }
}

/// The multiplication-free program of an operation on scalars: inputs are the operands that are no
/// constants, outputs the results.
///
/// # Errors
/// If the op table cannot lower it.
pub(super) fn program(
    what: &What,
    operands: &[Operand],
    options: &LowerOptions,
) -> Result<MulFree, String> {
    let mut graph = Graph::new("term");
    let mut inputs = Vec::new();
    let mut cx = Cx::new(&mut graph, Origin::default(), Arith::Pam(options.recipe));
    for (i, operand) in operands.iter().enumerate() {
        let name = format!("x{i}");
        let scalar = |dtype| TensorType::new(dtype, []);
        inputs.push(match *operand {
            Operand::Float => cx.input(&name, scalar(DType::F32), InputKind::Data),
            Operand::Int => cx.input(&name, scalar(DType::I32), InputKind::Data),
            Operand::Constant(c) => cx.constant(Tensor::scalar(c)),
        });
    }
    let factor = constant_factor(operands).filter(|_| options.compensate);
    let results = match (what, factor) {
        (What::Row("mul"), Some((c, x))) => vec![cx.times(inputs[x], c)],
        (What::Row(name), _) => vec![cx.op(name, &inputs)],
        (What::Term(term), _) => term(&mut cx, &inputs),
        (What::Pam(name, attrs), _) => vec![cx.op_with(name, &inputs, attrs.clone())],
    };
    let results = cx.finish(results).map_err(|e| e.to_string())?;
    for (i, &result) in results.iter().enumerate() {
        graph.output(format!("y{i}"), result).map_err(|e| e.to_string())?;
    }
    let lowered = lower(&graph, Arith::Pam(options.recipe)).map_err(|e| e.to_string())?;
    let expanded = expand(&lowered).map_err(|e| e.to_string())?;
    MulFree::new(expanded).map_err(|e| e.to_string())
}

/// Writes a program on scalars; `x` are its inputs in order. Gives its outputs.
///
/// # Errors
/// If a node is no elementwise primitive.
pub(super) fn emit(
    b: &mut Builder,
    program: &MulFree,
    x: &[Value],
    options: &LowerOptions,
) -> Result<Vec<Value>, String> {
    let graph = program.graph();
    let mut values = vec![None; graph.nodes().len()];
    for (input, value) in graph.inputs().iter().zip(x) {
        values[input.node.index()] = Some(*value);
    }
    let used = graph.live();
    for (id, node) in graph.nodes().filter(|(id, _)| used[id.index()]) {
        if values[id.index()].is_some() {
            continue;
        }
        let operands: Option<Vec<Value>> = node.inputs.iter().map(|i| values[i.index()]).collect();
        let operands = operands.ok_or("a node is used before it is made")?;
        let Kind::Prim(prim) = node.op.kind else {
            return Err(format!("{} is left", node.op.name));
        };
        let value = match (prim, operands.as_slice()) {
            (Prim::Const, _) => graph.constant(id).and_then(|t| constant(b, t)),
            // Of one element, every layout is the same.
            (Prim::Reshape | Prim::Broadcast | Prim::Transpose, [same]) => Some(*same),
            _ if options.to == Dialect::Pam && node.op.name.starts_with("pam.") => {
                Some(pam(b, node.op.name, &node.attrs, &operands, options))
            }
            _ => scalar::emit(b, prim, &node.attrs, &operands, Elem::from(node.ty.dtype)),
        };
        values[id.index()] =
            Some(value.ok_or_else(|| format!("{} is not elementwise", node.op.name))?);
    }
    let outputs = graph.outputs().iter().map(|(_, id)| values[id.index()]);
    outputs.collect::<Option<_>>().ok_or_else(|| "an output is missing".into())
}

fn constant(b: &mut Builder, value: &Tensor) -> Option<Value> {
    if let Some(x) = value.to_vec::<f32>() {
        return Some(b.float(VecTy::scalar(Elem::F32), *x.first()?));
    }
    let integer = |b: &mut Builder, elem, x| b.int(VecTy::scalar(elem), x);
    if let Some(x) = value.to_vec::<i32>() {
        return Some(integer(b, Elem::I32, i64::from(*x.first()?)));
    }
    let truth = value.to_vec::<bool>()?;
    Some(integer(b, Elem::I1, i64::from(*truth.first()?)))
}

/// One operation of the pam dialect, in generic form.
fn pam(b: &mut Builder, name: &str, attrs: &Attrs, x: &[Value], options: &LowerOptions) -> Value {
    let mut text = String::new();
    for (name, value) in attrs.iter() {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = match value {
            Attr::Int(k) => write!(text, "{separator}{name} = {k} : i64"),
            Attr::Ints(list) => write!(text, "{separator}{name} = {list:?}"),
            _ => Ok(()),
        };
    }
    if let Some(grad) = options.grad {
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{separator}grad = \"{grad}\"");
    }
    let ty = VecTy::scalar(Elem::F32);
    let names: Vec<String> = x.iter().map(ToString::to_string).collect();
    let types = vec![ty.to_string(); x.len()].join(", ");
    let attributes = if text.is_empty() { text } else { format!(" {{{text}}}") };
    b.define(ty, format_args!("\"{name}\"({}){attributes} : ({types}) -> {ty}", names.join(", ")))
}

/// The rows that make the pam dialect: what has a meaning on bits of its own, elementwise.
pub(super) fn pam_rows() -> impl Iterator<Item = &'static Row> {
    all()
        .filter(|op| op.name.starts_with("pam."))
        .filter(|op| op.prim().is_some_and(Prim::is_elementwise))
}

/// A row of the pam dialect by the operation's name.
pub(super) fn pam_row(name: &str) -> Option<&'static Row> {
    let elementwise = |op: &&Row| op.prim().is_some_and(Prim::is_elementwise);
    lookup(name).filter(|_| name.starts_with("pam.")).filter(elementwise)
}

/// Attributes of an operation of the pam dialect, as its row has them.
pub(super) fn pam_attributes(op: Op, row: &Row) -> Attrs {
    let mut attrs = Attrs::none();
    for spec in row.attrs {
        let Some(values) = op.attribute(spec.name).and_then(|a| a.integers()) else { continue };
        match (spec.ty, values.as_slice()) {
            (AttrType::Int, [k]) => attrs.set(spec.name, Attr::Int(*k)),
            (AttrType::Ints, _) => attrs.set(spec.name, Attr::Ints(values)),
            _ => {}
        }
    }
    attrs
}
