//! Rules as graphs: shown in snapshots, and real identities evaluated in ordinary arithmetic.

use std::collections::BTreeMap;

use egg::{ENodeOrVar, PatternAst, Var};

use super::sample::{ENOUGH, Given, constants, parse_example};
use super::{Refused, Rule, variables};
use crate::arith::Arith;
use crate::egraph::{Facts, Kind, Range, Term, attrs_of};
use crate::interpret;
use crate::ir::{Attr, Graph, GraphError, InputKind, NodeId, Origin, Tensor, TensorType};
use crate::pass;
use crate::program::Program;
use crate::testing::Random;

/// Evaluate both sides of a real identity in ordinary arithmetic on its examples.
pub(super) fn check_real(rule: &Rule) -> Result<usize, Refused> {
    let mut samples = 0;
    for (i, example) in rule.spec().examples.iter().enumerate() {
        let (left, right) = graphs(rule, example)?;
        let mut rng = Random::new(i as u64);
        for round in 0..6 {
            let values = left.inputs().iter().map(|input| {
                let ty = left.ty(input.node);
                // Positive values first: they are in the domain of roots and logarithms.
                let mut one = || match round {
                    0..4 => rng.tame().abs() + 0.25,
                    _ => rng.tame(),
                };
                let data = (0..ty.len()).map(|_| one()).collect();
                let t = Tensor::from_vec::<f32>(&ty.shape, data);
                (input.name.clone(), t.unwrap_or_else(|| Tensor::zeros(ty)))
            });
            let values: interpret::Values = values.collect();
            samples +=
                close(rule, ordinary(rule, &left, &values)?, ordinary(rule, &right, &values)?)?;
        }
    }
    if samples < ENOUGH / 2 {
        return Err(Refused::Unsampled { rule: rule.spec().name, samples });
    }
    Ok(samples)
}

/// The values of a side in ordinary arithmetic.
fn ordinary(rule: &Rule, side: &Graph, values: &interpret::Values) -> Result<Vec<f32>, Refused> {
    let malformed = |e: String| Refused::Malformed { rule: rule.spec().name, reason: e };
    let graph = pass::lower(side, Arith::Float).map_err(|e| malformed(e.to_string()))?;
    let graph = pass::expand(&graph).map_err(|e| malformed(e.to_string()))?;
    let program = Program::new(graph, Arith::Float).map_err(|e| malformed(e.to_string()))?;
    let known = values.iter().filter(|(n, _)| side.find_input(n).is_some());
    let known = known.map(|(n, t)| (n.clone(), t.clone())).collect();
    let out = interpret::run(&program, &known).map_err(|e| malformed(e.to_string()))?;
    out.get("y").and_then(Tensor::to_vec).ok_or_else(|| malformed("is not of floats".into()))
}

/// Number of elements at which both sides are finite; they must agree there.
fn close(rule: &Rule, left: Vec<f32>, right: Vec<f32>) -> Result<usize, Refused> {
    let finite = left.iter().zip(&right).filter(|(l, r)| l.is_finite() && r.is_finite());
    let mut samples = 0;
    for (l, r) in finite {
        if (l - r).abs() > 1e-3 * l.abs().max(1.0) {
            return Err(Refused::Counterexample {
                rule: rule.spec().name,
                lhs: rule.spec().lhs,
                rhs: rule.spec().rhs,
                left: l.to_string(),
                right: r.to_string(),
                at: "ordinary arithmetic".into(),
            });
        }
        samples += 1;
    }
    Ok(samples)
}

/// Both sides as graphs: variables are inputs (`f32[4]` unless the example says otherwise) or, where
/// a guard asks for one, constants.
pub(super) fn graphs(rule: &Rule, example: &str) -> Result<(Graph, Graph), Refused> {
    let given = parse_example(rule, example)?;
    let build = |ast: &PatternAst<Term>, name: &str| {
        side(rule, &given, ast, name)
            .map_err(|reason| Refused::Malformed { rule: rule.spec().name, reason })
    };
    Ok((build(rule.left(), "before")?, build(rule.right(), "after")?))
}

/// An ordinary value to show a rule with, another for each variable where there is a choice.
fn plain(values: &[f32], i: usize) -> f32 {
    let usual = |c: &&f32| (0.1..10.0).contains(&c.abs()) && (c.abs() - 1.0).abs() > 0.01;
    let usual: Vec<f32> = values.iter().filter(usual).copied().collect();
    match usual.len() {
        0 => values.first().copied().unwrap_or(0.0),
        n => usual[i % n],
    }
}

/// A node, or an attribute, of a side.
enum Built {
    Node(NodeId),
    Attr(Option<Attr>),
}

fn side(
    rule: &Rule,
    given: &BTreeMap<Var, Given>,
    ast: &PatternAst<Term>,
    name: &str,
) -> Result<Graph, String> {
    let mut graph = Graph::new(name);
    let mut vars: BTreeMap<Var, NodeId> = BTreeMap::new();
    for v in variables(rule.left()) {
        let name = v.to_string();
        let constant = match (given.get(&v), constants(rule, &name)) {
            (Some(Given::Attr(Attr::Float(x))), Some(_)) => Some(*x),
            (None, Some(values)) => Some(plain(&values, vars.len())),
            _ => None,
        };
        let ty = match given.get(&v) {
            _ if constant.is_some() => TensorType::f32([]),
            Some(Given::Attr(_)) => continue,
            Some(Given::Type(ty)) => ty.clone(),
            None => TensorType::f32([4]),
        };
        let id = match constant {
            Some(c) => constant_node(&mut graph, Tensor::scalar(c))?,
            None => graph
                .input(name.trim_start_matches('?'), ty, InputKind::Data)
                .map_err(|e| e.to_string())?,
        };
        vars.insert(v, id);
    }
    let mut done: Vec<Built> = Vec::new();
    for node in ast.as_ref() {
        let made = match node {
            ENodeOrVar::Var(v) => match (vars.get(v), given.get(v)) {
                (Some(id), _) => Built::Node(*id),
                (None, Some(Given::Attr(a))) => Built::Attr(Some(a.clone())),
                _ => return Err(format!("no example gives {v}")),
            },
            ENodeOrVar::ENode(t) => build(&mut graph, t, &done)?,
        };
        done.push(made);
    }
    match done.last() {
        Some(Built::Node(id)) => graph.output("y", *id).map_err(|e| e.to_string())?,
        _ => return Err("has no value".into()),
    }
    graph
        .rewrite(|out, _, n, inputs| out.add(n.op, inputs, n.attrs.clone(), n.origin.clone()))
        .map_err(|e: GraphError| e.to_string())
}

fn constant_node(graph: &mut Graph, t: Tensor) -> Result<NodeId, String> {
    let op = crate::ops::lookup("const").ok_or("there is no op 'const'")?;
    let attrs = crate::ir::Attrs::none().with("value", t);
    graph.add(op, &[], attrs, Origin::default()).map_err(|e| e.to_string())
}

fn build(graph: &mut Graph, t: &Term, done: &[Built]) -> Result<Built, String> {
    let child = |i: usize| &done[usize::from(t.children[i])];
    match t.kind {
        Kind::Attr => Ok(Built::Attr(t.value.as_ref().and_then(|v| v.attr().cloned()))),
        Kind::Const => {
            let t = t.tensor().cloned().ok_or("a constant has no value")?;
            constant_node(graph, t).map(Built::Node)
        }
        Kind::Function(f) => {
            let facts = |i: usize| match child(i) {
                Built::Attr(a) => Facts::Attr(a.clone()),
                Built::Node(id) => match graph.constant(*id) {
                    Some(t) => Facts::constant(t),
                    None => Facts::value(graph.ty(*id).clone(), Range::ANY),
                },
            };
            let arguments: Vec<Facts> = (0..t.children.len()).map(facts).collect();
            let made = f.call(&arguments.iter().collect::<Vec<_>>());
            match made.ok_or_else(|| format!("{} does not fit the example", f.name))? {
                Attr::Tensor(t) => constant_node(graph, t).map(Built::Node),
                other => Ok(Built::Attr(Some(other))),
            }
        }
        Kind::Op(op) => {
            let n = t.operands();
            let node = |i: usize| match child(i) {
                Built::Node(id) => Some(*id),
                Built::Attr(_) => None,
            };
            let inputs: Option<Vec<NodeId>> = (0..n).map(node).collect();
            let values = (n..t.children.len()).map(|i| match child(i) {
                Built::Attr(a) => a.as_ref(),
                Built::Node(_) => None,
            });
            let inputs = inputs.ok_or("an operand is an attribute")?;
            let made = graph.add(op, &inputs, attrs_of(op, values), Origin::default());
            made.map(Built::Node).map_err(|e| e.to_string())
        }
        Kind::Leaf(_) => Err("a rule has no leaves".into()),
    }
}
