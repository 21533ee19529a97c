//! Model-local functions, replaced by their bodies before anything else looks at the graph.

use std::collections::HashMap;
use std::ptr;

use prost::Message;

use super::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};

/// Functions may call functions this deep.
const MAX_DEPTH: usize = 32;
/// Nodes a graph may have after replacement: functions that call functions grow exponentially. Training
/// steps that pamc itself writes have a quarter of a million.
const MAX_NODES: usize = 1 << 19;
/// Bytes that all bodies put in place of calls may take: each copies names and constants.
const MAX_BYTES: usize = 1 << 28;

/// Replaces every call of one of the model's functions in `graphs`, and calls within them.
///
/// Values inside a body get the call's name before theirs, so origins stay readable.
///
/// # Errors
/// Says which function recurses, is called with too many operands, or uses another opset than the
/// model does.
pub(super) fn inline_functions<'g>(
    model: &mut ModelProto,
    graphs: impl Iterator<Item = &'g mut GraphProto>,
) -> Result<(), String> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let functions = std::mem::take(&mut model.functions);
    merge_opsets(model, &functions)?;
    let by_name = functions.iter().map(|f| ((canonical(&f.domain), &*f.name, &*f.overload), f));
    let table: Table = by_name.collect();
    let mut sizes = Sizes { functions: &table, known: HashMap::new() };
    let mut inliner = Inliner { functions: &table, bytes: 0 };
    for graph in graphs {
        sizes.of(&graph.node, 0)?;
        graph.node = inliner.expand_all(std::mem::take(&mut graph.node))?;
    }
    Ok(())
}

type Key<'f> = (&'f str, &'f str, &'f str);
type Table<'f> = HashMap<Key<'f>, &'f FunctionProto>;

fn key(node: &NodeProto) -> Key<'_> {
    (canonical(&node.domain), &node.op_type, &node.overload)
}

/// What calls unfold to, found without unfolding them.
struct Sizes<'f> {
    functions: &'f Table<'f>,
    known: HashMap<*const FunctionProto, Size>,
}

#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    /// How deep functions call each other.
    calls: usize,
}

impl Sizes<'_> {
    /// The size of `nodes` and of the graphs inside them, which are `depth` calls deep themselves.
    fn of(&mut self, nodes: &[NodeProto], depth: usize) -> Result<Size, String> {
        let mut total = Size::default();
        for node in nodes {
            let size = match self.functions.get(&key(node)) {
                Some(function) => self.body(function, depth)?,
                None => self.inside(node, depth)?,
            };
            total.nodes += size.nodes;
            total.calls = total.calls.max(size.calls);
            if total.nodes > MAX_NODES {
                return Err(format!("its functions unfold to more than {MAX_NODES} nodes"));
            }
        }
        Ok(total)
    }

    fn body(&mut self, f: &FunctionProto, depth: usize) -> Result<Size, String> {
        let known = self.known.get(&ptr::from_ref(f)).copied();
        if depth + known.map_or(1, |s| s.calls) > MAX_DEPTH {
            return Err(format!("its function `{}` calls itself, or others too deep", f.name));
        }
        if let Some(size) = known {
            return Ok(size);
        }
        let Size { nodes, calls } = self.of(&f.node, depth + 1)?;
        let size = Size { nodes, calls: calls + 1 };
        self.known.insert(f, size);
        Ok(size)
    }

    fn inside(&mut self, node: &NodeProto, depth: usize) -> Result<Size, String> {
        let mut total = Size { nodes: 1, calls: 0 };
        for graph in node.attribute.iter().flat_map(|a| a.g.as_deref().into_iter().chain(&a.graphs))
        {
            let size = self.of(&graph.node, depth)?;
            total.nodes += size.nodes;
            total.calls = total.calls.max(size.calls);
        }
        Ok(total)
    }
}

/// A node `Gradient` names the value it differentiates in an attribute: puts it after its operands,
/// so that it counts as what it is, something the node needs.
pub(super) fn name_differentiated(nodes: &mut [NodeProto]) {
    let gradient =
        |n: &&mut NodeProto| n.op_type == "Gradient" && n.domain == "ai.onnx.preview.training";
    for node in nodes.iter_mut().filter(gradient) {
        let y = node.attribute.iter().find(|a| a.name == "y");
        let y = y.map(|a| String::from_utf8_lossy(&a.s).into_owned());
        node.input.push(y.unwrap_or_default());
    }
}

fn canonical(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// A node has no opset of its own, so functions must agree with the model.
fn merge_opsets(model: &mut ModelProto, functions: &[FunctionProto]) -> Result<(), String> {
    for f in functions {
        for used in &f.opset_import {
            let same = |o: &&super::proto::OperatorSetIdProto| {
                canonical(&o.domain) == canonical(&used.domain)
            };
            match model.opset_import.iter().find(same) {
                None => model.opset_import.push(used.clone()),
                Some(model) if model.version == used.version => {}
                Some(model) => {
                    return Err(format!(
                        "its function `{}` uses opset {} of the domain `{}`, but the model {}",
                        f.name, used.version, used.domain, model.version
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Puts bodies in place of calls; [`Sizes`] has seen to it that this ends.
struct Inliner<'f> {
    functions: &'f Table<'f>,
    /// Size of the bodies so far.
    bytes: usize,
}

impl Inliner<'_> {
    fn expand_all(&mut self, nodes: Vec<NodeProto>) -> Result<Vec<NodeProto>, String> {
        let mut out = Vec::with_capacity(nodes.len());
        nodes.into_iter().try_for_each(|node| self.expand(node, &mut out))?;
        Ok(out)
    }

    fn expand(&mut self, mut node: NodeProto, out: &mut Vec<NodeProto>) -> Result<(), String> {
        let Some(function) = self.functions.get(&key(&node)) else {
            for attr in &mut node.attribute {
                for graph in attr.g.iter_mut().map(|g| &mut **g).chain(&mut attr.graphs) {
                    graph.node = self.expand_all(std::mem::take(&mut graph.node))?;
                }
            }
            out.push(node);
            return Ok(());
        };
        if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
            return Err(format!(
                "its function `{}` is called with too many operands",
                function.name
            ));
        }
        let names = operands(function, &node);
        for inner in &function.node {
            let body = body_node(inner, function, &node, &names);
            self.bytes += body.encoded_len();
            if self.bytes > MAX_BYTES {
                return Err(format!("its functions unfold to more than {} MiB", MAX_BYTES >> 20));
            }
            self.expand(body, out)?;
        }
        Ok(())
    }
}

/// The values of the graph that a function's operands and results stand for; empty if left out.
fn operands<'f>(function: &'f FunctionProto, call: &NodeProto) -> HashMap<&'f str, String> {
    let given =
        function.input.iter().zip(&call.input).chain(function.output.iter().zip(&call.output));
    let mut names: HashMap<&str, String> =
        given.filter(|(_, g)| !g.is_empty()).map(|(f, g)| (f.as_str(), g.clone())).collect();
    for absent in function.input.iter().skip(call.input.len()) {
        names.insert(absent, String::new());
    }
    for (absent, _) in function.input.iter().zip(&call.input).filter(|(_, g)| g.is_empty()) {
        names.insert(absent, String::new());
    }
    names
}

/// A node of a function's body as it stands in the place of `call`.
fn body_node(
    inner: &NodeProto,
    function: &FunctionProto,
    call: &NodeProto,
    names: &HashMap<&str, String>,
) -> NodeProto {
    let prefix = named(call);
    let rename = |name: &String| match names.get(name.as_str()) {
        Some(given) => given.clone(),
        None if name.is_empty() => String::new(),
        None => format!("{prefix}/{name}"),
    };
    let bind = |a: &AttributeProto| bind(a, call, function);
    NodeProto {
        input: inner.input.iter().map(rename).collect(),
        output: inner.output.iter().map(rename).collect(),
        name: format!("{prefix}/{}", named(inner)),
        attribute: inner
            .attribute
            .iter()
            .filter_map(bind)
            .map(|a| renamed(a, &rename, &bind))
            .collect(),
        op_type: inner.op_type.clone(),
        domain: inner.domain.clone(),
        overload: inner.overload.clone(),
    }
}

/// The name of a node; without one, that of its first output, which nothing else has.
fn named(node: &NodeProto) -> &str {
    let first = node.output.iter().find(|o| !o.is_empty());
    match (node.name.as_str(), first) {
        ("", Some(first)) => first,
        (name, _) => name,
    }
}

/// An attribute that refers to one of the function's takes the call's value, else the function's
/// default; with neither it is left out.
fn bind(
    attr: &AttributeProto,
    call: &NodeProto,
    function: &FunctionProto,
) -> Option<AttributeProto> {
    if attr.ref_attr_name.is_empty() {
        return Some(attr.clone());
    }
    let mut all = call.attribute.iter().chain(&function.attribute_proto);
    let value = all.find(|a| a.name == attr.ref_attr_name)?;
    Some(AttributeProto { name: attr.name.clone(), ..value.clone() })
}

/// Renames the values that a node and the graphs inside it take and make.
pub(super) fn rename_values(node: &mut NodeProto, rename: &dyn Fn(&String) -> String) {
    let names = node.input.iter_mut().chain(&mut node.output);
    names.for_each(|n| *n = rename(n));
    let attributes = std::mem::take(&mut node.attribute).into_iter();
    node.attribute = attributes.map(|a| renamed(a, rename, &|a| Some(a.clone()))).collect();
}

/// An attribute with the values in its graphs renamed and their attributes bound.
fn renamed(
    mut attr: AttributeProto,
    rename: &dyn Fn(&String) -> String,
    bind: &dyn Fn(&AttributeProto) -> Option<AttributeProto>,
) -> AttributeProto {
    for graph in attr.g.iter_mut().map(|g| &mut **g).chain(&mut attr.graphs) {
        let values = graph.input.iter_mut().chain(&mut graph.output);
        values.for_each(|v| v.name = rename(&v.name));
        graph.initializer.iter_mut().for_each(|t| t.name = rename(&t.name));
        for node in &mut graph.node {
            let names = node.input.iter_mut().chain(&mut node.output);
            names.for_each(|n| *n = rename(n));
            let bound = node.attribute.iter().filter_map(bind);
            node.attribute = bound.map(|a| renamed(a, rename, bind)).collect();
        }
    }
    attr
}
