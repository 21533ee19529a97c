//! `pamc explain`: what became of a node.

use clap::Args;
use pamc_passes::ir::{Graph, Node, NodeId};

use super::args::{ArithArgs, CompilerArgs, ModelArgs};
use super::output::put;
use crate::compile::{Settings, compile};
use crate::dsl::Mode;
use crate::error::Error;

/// Arguments of `pamc explain`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  pamc explain @mlp --node fc1
  pamc explain model.onnx --dim batch=1 --node /layers.0/attn/Softmax")]
pub struct ExplainArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The node: its ONNX name, layer path, or the file:line that made it; a part of it is enough
    #[arg(long)]
    node: String,
    #[command(flatten)]
    arith: ArithArgs,
    #[command(flatten)]
    compiler: CompilerArgs,
}

fn matches(node: &Node, wanted: &str) -> bool {
    node.origin.source.contains(wanted) || node.origin.scope.contains(wanted)
}

/// One node as a line of text.
fn term(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    let operands: Vec<String> = node.inputs.iter().map(|i| format!("%{}", i.0)).collect();
    format!("%{} = {} {} : {}", id.0, node.op.name, operands.join(", "), node.ty)
}

/// Show the nodes of the source that match, and what stands for them in the end.
pub fn run(args: &ExplainArgs) -> Result<(), Error> {
    let mut dims = args.model.dims();
    dims.entry("batch".into()).or_insert(1);
    let model = args.model.open()?.build(&dims, Mode::Infer, args.model.seed)?;
    let settings =
        Settings { arith: args.arith.arith(), train: None, manager: args.compiler.manager()? };
    let before: Vec<NodeId> =
        model.graph.nodes().filter(|(_, n)| matches(n, &args.node)).map(|(id, _)| id).collect();
    if before.is_empty() {
        return Err(no_such_node(&model.graph, &args.node));
    }
    let mut out = String::from("in the source:\n");
    for id in &before {
        let node = model.graph.node(*id);
        out.push_str(&format!("  {}    ; {}\n", term(&model.graph, *id), node.origin));
    }
    let compiled = compile(model.graph, &settings)?;
    let graph = compiled.program.graph();
    out.push_str("\nwhat is emitted for it, and how it came to be:\n");
    let after: Vec<NodeId> =
        graph.nodes().filter(|(_, n)| matches(n, &args.node)).map(|(id, _)| id).collect();
    for id in &after {
        let node = graph.node(*id);
        out.push_str(&format!("  {}    ; {}\n", term(graph, *id), node.origin));
        for step in node.origin.trail.iter() {
            out.push_str(&format!("      {} {}: {}\n", step.what, step.name, step.before));
        }
    }
    if after.is_empty() {
        out.push_str("  nothing: it folded into constants or into its neighbours\n");
    }
    put(None, out.as_bytes())
}

fn no_such_node(graph: &Graph, wanted: &str) -> Error {
    let mut names: Vec<String> =
        graph.nodes().map(|(_, n)| n.origin.to_string()).filter(|n| !n.is_empty()).collect();
    names.sort();
    names.dedup();
    let shown = names.len().min(20);
    let more =
        if names.len() > shown { format!(" … ({} in all)", names.len()) } else { String::new() };
    Error::usage(format!(
        "no node matches '{wanted}'; there are: {}{more}",
        names[..shown].join(", ")
    ))
}
