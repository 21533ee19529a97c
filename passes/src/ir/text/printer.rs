//! Printing.

use std::fmt::{self, Write as _};

use super::lexer::is_word;
use crate::ir::graph::{Graph, Input, InputKind, Node, NodeId, Region};
use crate::ir::tensor::Tensor;
use crate::ir::types::Attr;

/// Elements up to which a constant is printed as numbers; larger ones as hex bytes.
const READABLE: usize = 64;

fn quoted(s: &str) -> String {
    format!("\"{}\"", s.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn name(s: &str) -> String {
    let plain = !s.is_empty()
        && s.chars().all(is_word)
        && !s.contains("->")
        && !s.starts_with(|c: char| c.is_ascii_digit());
    if plain { s.to_string() } else { quoted(s) }
}

fn float(x: f32) -> String {
    if x.is_nan() { format!("0x{:08x}", x.to_bits()) } else { format!("{x:?}") }
}

fn list<T>(items: impl Iterator<Item = T>, f: impl Fn(T) -> String) -> String {
    format!("[{}]", items.map(f).collect::<Vec<_>>().join(", "))
}

/// A tensor as `f32[2][1.0, 2.0]`, or with its bytes in hex if it is large.
pub fn print_tensor(t: &Tensor) -> String {
    if t.len() > READABLE {
        let mut hex = String::with_capacity(2 * t.ty().bytes());
        t.to_bytes().iter().for_each(|b| {
            let _ = write!(hex, "{b:02x}");
        });
        return format!("{}\"{hex}\"", t.ty());
    }
    let values = match t {
        Tensor::F32(a) => list(a.iter(), |x| float(*x)),
        Tensor::I32(a) => list(a.iter(), i32::to_string),
        Tensor::I64(a) => list(a.iter(), i64::to_string),
        Tensor::Bool(a) => list(a.iter(), bool::to_string),
    };
    format!("{}{values}", t.ty())
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Int(x) => write!(f, "{x}"),
            Attr::Float(x) => f.write_str(&float(*x)),
            Attr::Bool(x) => write!(f, "{x}"),
            Attr::Str(x) => f.write_str(&quoted(x)),
            Attr::Ints(x) => f.write_str(&list(x.iter(), i64::to_string)),
            Attr::DType(x) => write!(f, "{x}"),
            Attr::Tensor(x) => f.write_str(&print_tensor(x)),
        }
    }
}

fn location(node: &Node) -> String {
    let o = &node.origin;
    let mut out = String::new();
    if !o.source.is_empty() {
        out.push_str(&quoted(&o.source));
    }
    let mut field = |key: &str, value: String| {
        let comma = if out.is_empty() { "" } else { ", " };
        let _ = write!(out, "{comma}{key} = {value}");
    };
    if !o.scope.is_empty() {
        field("scope", quoted(&o.scope));
    }
    if *o.op != *node.op.name {
        field("op", quoted(&o.op));
    }
    if o.region != Region::Forward {
        field("region", o.region.to_string());
    }
    if out.is_empty() { out } else { format!(" loc({out})") }
}

fn attrs(node: &Node) -> String {
    let attrs: Vec<_> = node.attrs.iter().map(|(n, a)| format!("{n} = {a}")).collect();
    if attrs.is_empty() { String::new() } else { format!(" {{{}}}", attrs.join(", ")) }
}

/// One node as a term over its operands' types: `softmax f32[2, 3] {axis = -1}`.
pub fn print_term(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    let types: Vec<_> = node.inputs.iter().map(|i| graph.ty(*i).to_string()).collect();
    let space = if types.is_empty() { "" } else { " " };
    format!("{}{space}{}{}", node.op.name, types.join(", "), attrs(node))
}

fn parameter(graph: &Graph, input: &Input) -> String {
    let kind = match input.kind {
        InputKind::Data => "",
        InputKind::Param => "param ",
        InputKind::State => "state ",
    };
    format!("{kind}%{}: {}", name(&input.name), graph.ty(input.node))
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inputs: Vec<_> = self.inputs().iter().map(|i| parameter(self, i)).collect();
        let types: Vec<_> = self.outputs().iter().map(|(_, v)| self.ty(*v).to_string()).collect();
        writeln!(
            f,
            "graph @{}({}) -> {} {{",
            name(&self.name),
            inputs.join(", "),
            types.join(", ")
        )?;
        let names: std::collections::HashMap<NodeId, String> =
            self.inputs().iter().map(|i| (i.node, format!("%{}", name(&i.name)))).collect();
        let show = |id: &NodeId| names.get(id).cloned().unwrap_or_else(|| format!("%{}", id.0));
        for (id, node) in self.nodes() {
            if names.contains_key(&id) {
                continue;
            }
            let operands: Vec<_> = node.inputs.iter().map(show).collect();
            write!(f, "    %{} = {}", id.0, node.op.name)?;
            if !operands.is_empty() {
                write!(f, " {}", operands.join(", "))?;
            }
            writeln!(f, "{}{}", attrs(node), location(node))?;
        }
        let outputs: Vec<_> =
            self.outputs().iter().map(|(n, v)| format!("{} = {}", name(n), show(v))).collect();
        writeln!(f, "    return {}\n}}", outputs.join(", "))
    }
}
