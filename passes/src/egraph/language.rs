//! Terms over the op table as egg's language: the children of a term are its operands followed by
//! its attributes, in the order of the table row, so that patterns match and build both.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use egg::{FromOp, Id, Language};

use super::function::{self, Function};
use crate::ir::{Attr, Attrs, DType, Tensor};
use crate::ops::{self, Op};

/// An attribute value, or its absence, ordered by its text.
#[derive(Clone, Debug)]
pub struct Value {
    text: Arc<str>,
    attr: Option<Attr>,
}

impl Value {
    /// The value of an attribute; `None` for an optional one that is not there.
    pub fn new(attr: Option<Attr>) -> Self {
        let text = attr.as_ref().map_or_else(|| "none".to_string(), ToString::to_string);
        Value { text: text.into(), attr }
    }

    /// The attribute.
    pub fn attr(&self) -> Option<&Attr> {
        self.attr.as_ref()
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// What stands at the head of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A value from outside the template.
    Leaf(u32),
    /// A row of the op table.
    Op(&'static Op),
    /// A constant tensor.
    Const,
    /// An attribute.
    Attr,
    /// A computation on attributes and constants, on the right of a rule only.
    Function(&'static Function),
}

impl Kind {
    fn key(&self) -> (u8, u32, &'static str) {
        match self {
            Kind::Leaf(i) => (0, *i, ""),
            Kind::Const => (1, 0, ""),
            Kind::Attr => (2, 0, ""),
            Kind::Op(op) => (3, 0, op.name),
            Kind::Function(f) => (4, 0, f.name),
        }
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// One term; its children are classes of an e-graph or earlier terms of an expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    /// Its head.
    pub kind: Kind,
    /// Value of an attribute or constant.
    pub value: Option<Value>,
    /// Operands, then attributes.
    pub children: Vec<Id>,
}

impl Term {
    /// The `i`-th value from outside.
    pub fn leaf(i: usize) -> Self {
        Term { kind: Kind::Leaf(i as u32), value: None, children: Vec::new() }
    }

    /// An op on operands and attributes.
    pub fn op(op: &'static Op, children: Vec<Id>) -> Self {
        Term { kind: Kind::Op(op), value: None, children }
    }

    /// A constant.
    pub fn constant(value: Tensor) -> Self {
        let value = Some(Value::new(Some(Attr::Tensor(value))));
        Term { kind: Kind::Const, value, children: Vec::new() }
    }

    /// An attribute.
    pub fn attr(attr: Option<Attr>) -> Self {
        Term { kind: Kind::Attr, value: Some(Value::new(attr)), children: Vec::new() }
    }

    /// The constant tensor it is, if it is one.
    pub fn tensor(&self) -> Option<&Tensor> {
        match (self.kind, self.value.as_ref()?.attr()?) {
            (Kind::Const, Attr::Tensor(t)) => Some(t),
            _ => None,
        }
    }

    /// Number of operands among the children; the rest are attributes.
    pub fn operands(&self) -> usize {
        match self.kind {
            Kind::Op(op) => self.children.len().saturating_sub(op.attrs.len()),
            _ => 0,
        }
    }
}

/// Attributes of an op from its attribute children's values.
pub fn attrs_of<'a>(op: &'static Op, values: impl Iterator<Item = Option<&'a Attr>>) -> Attrs {
    let mut attrs = Attrs::none();
    for (spec, value) in op.attrs.iter().zip(values) {
        if let Some(value) = value {
            attrs.set(spec.name, value.clone());
        }
    }
    attrs
}

impl Language for Term {
    type Discriminant = (Kind, Option<Value>, usize);

    fn discriminant(&self) -> Self::Discriminant {
        (self.kind, self.value.clone(), self.children.len())
    }

    fn matches(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.value == other.value
            && self.children.len() == other.children.len()
    }

    fn children(&self) -> &[Id] {
        &self.children
    }

    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.children
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.value) {
            (Kind::Leaf(i), _) => write!(f, "%{i}"),
            (Kind::Op(op), _) => f.write_str(op.name),
            (Kind::Function(g), _) => f.write_str(g.name),
            (Kind::Attr, Some(v)) => write!(f, "#{}", v.text),
            (_, Some(v)) => f.write_str(&v.text),
            (_, None) => f.write_str("?"),
        }
    }
}

/// A literal attribute of a pattern: `#3`, `#0.5`, `#true`, `#[1, 0]`, `#f32`, else a string.
fn literal(text: &str) -> Option<Attr> {
    let list = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    Some(if let Some(items) = list {
        let parts = items.split(',').filter(|p| !p.is_empty());
        Attr::Ints(parts.map(|p| p.parse().ok()).collect::<Option<_>>()?)
    } else if let Ok(i) = text.parse() {
        Attr::Int(i)
    } else if let (Ok(x), true) = (text.parse(), text.contains('.')) {
        Attr::Float(x)
    } else if let Ok(b) = text.parse() {
        Attr::Bool(b)
    } else if let Some(d) = DType::from_name(text) {
        Attr::DType(d)
    } else {
        Attr::Str(text.into())
    })
}

impl FromOp for Term {
    type Error = String;

    fn from_op(head: &str, children: Vec<Id>) -> Result<Self, String> {
        if let Some(text) = head.strip_prefix('#') {
            return Ok(Term::attr(Some(
                literal(text).ok_or_else(|| format!("what is '{head}'?"))?,
            )));
        }
        if head.starts_with('$') {
            let f = function::lookup(head).ok_or_else(|| format!("no function '{head}'"))?;
            return Ok(Term { kind: Kind::Function(f), value: None, children });
        }
        if let (Ok(x), true) = (head.parse::<f32>(), children.is_empty()) {
            return Ok(Term::constant(Tensor::scalar(x)));
        }
        let op = ops::lookup(head).ok_or_else(|| format!("no op '{head}'"))?;
        let operands = children.len().checked_sub(op.attrs.len());
        let (lo, hi) = op.arity();
        match operands {
            Some(n) if (lo..=hi).contains(&n) => Ok(Term::op(op, children)),
            _ => Err(format!(
                "'{head}' takes {} and the attributes ({}) in a pattern, not {} children",
                op.args.join(" "),
                op.attrs.iter().map(|a| a.name).collect::<Vec<_>>().join(" "),
                children.len()
            )),
        }
    }
}
