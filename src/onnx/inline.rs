//! Model-local functions, replaced by their bodies before anything else looks at the graph.

use std::collections::HashMap;

use super::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};

/// Functions may call functions this deep.
const MAX_DEPTH: usize = 32;
/// Nodes a graph may have after replacement: functions that call functions grow exponentially.
const MAX_NODES: usize = 1 << 17;

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
    for graph in graphs {
        let nodes = std::mem::take(&mut graph.node);
        graph.node.reserve(nodes.len());
        nodes.into_iter().try_for_each(|node| expand(node, &table, 0, &mut graph.node))?;
    }
    Ok(())
}

type Table<'f> = HashMap<(&'f str, &'f str, &'f str), &'f FunctionProto>;

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

fn expand(
    node: NodeProto,
    functions: &Table,
    depth: usize,
    out: &mut Vec<NodeProto>,
) -> Result<(), String> {
    let key = (canonical(&node.domain), &*node.op_type, &*node.overload);
    let Some(function) = functions.get(&key) else {
        if out.len() >= MAX_NODES {
            return Err(format!("its functions unfold to more than {MAX_NODES} nodes"));
        }
        out.push(expand_inside(node, functions, depth)?);
        return Ok(());
    };
    if depth >= MAX_DEPTH {
        return Err(format!("its function `{}` calls itself, or others too deep", function.name));
    }
    if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
        return Err(format!("its function `{}` is called with too many operands", function.name));
    }
    let call = named(&node).to_owned();
    let given =
        function.input.iter().zip(&node.input).chain(function.output.iter().zip(&node.output));
    let mut names: HashMap<&str, String> =
        given.filter(|(_, g)| !g.is_empty()).map(|(f, g)| (f.as_str(), g.clone())).collect();
    for absent in function.input.iter().skip(node.input.len()) {
        names.insert(absent, String::new());
    }
    for (absent, _) in function.input.iter().zip(&node.input).filter(|(_, g)| g.is_empty()) {
        names.insert(absent, String::new());
    }
    let rename = |name: &String| match names.get(name.as_str()) {
        Some(given) => given.clone(),
        None if name.is_empty() => String::new(),
        None => format!("{call}/{name}"),
    };
    for inner in &function.node {
        let body = NodeProto {
            input: inner.input.iter().map(rename).collect(),
            output: inner.output.iter().map(rename).collect(),
            name: format!("{call}/{}", named(inner)),
            attribute: inner
                .attribute
                .iter()
                .filter_map(|a| bind(a, &node, function))
                .map(|a| renamed(a, &rename, &|a| bind(a, &node, function)))
                .collect(),
            ..inner.clone()
        };
        expand(body, functions, depth + 1, out)?;
    }
    Ok(())
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

/// Replaces the calls in graphs inside a node.
fn expand_inside(
    mut node: NodeProto,
    functions: &Table,
    depth: usize,
) -> Result<NodeProto, String> {
    for attr in &mut node.attribute {
        for graph in attr.g.iter_mut().map(|g| &mut **g).chain(&mut attr.graphs) {
            let mut out = Vec::with_capacity(graph.node.len());
            let nodes = std::mem::take(&mut graph.node);
            nodes.into_iter().try_for_each(|n| expand(n, functions, depth, &mut out))?;
            graph.node = out;
        }
    }
    Ok(node)
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
