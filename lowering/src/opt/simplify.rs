//! `pamc-simplify`: the bit-exact identities of the rule table, on operations of the pam dialect.
//!
//! In each block the operations of one type that are pam's, or sums, negations, extrema and constants
//! among them, become a graph; the e-graph engine simplifies it; where that saves operations, the
//! graph is written back.

use super::{
    ir::{Attribute, Op, Ty, Val, create, operations},
    term,
};
use mlir_sys::MlirBlock;
use pamc_passes::{
    ir::{Attr, Attrs, DType, Graph, InputKind, NodeId, Origin, Tensor, TensorType},
    ops::{Kind, Prim, lookup},
    pass::simplify,
};
use std::{
    collections::{HashMap, HashSet},
    ffi::c_void,
};

/// Sums, negations and extrema, under their names in the arith dialect and in the op table.
const PLAIN: &[(&str, &str)] = &[
    ("arith.addf", "add"),
    ("arith.subf", "sub"),
    ("arith.negf", "neg"),
    ("arith.minimumf", "min"),
    ("arith.maximumf", "max"),
];

type Key = *const c_void;

/// Runs the pass.
///
/// # Errors
/// Only if the rule table itself is faulty.
pub(super) fn run(root: Op, _values: &[&str]) -> Result<(), String> {
    let blocks: Vec<MlirBlock> = root.all().into_iter().flat_map(|op| op.blocks()).collect();
    for block in blocks {
        let found = operations(block);
        let pam = found.iter().filter(|op| term::pam_row(op.name()).is_some());
        let mut types: Vec<Ty> = pam.filter_map(|op| op.results().next()).map(Val::ty).collect();
        types.dedup_by_key(|ty| ty.text());
        for ty in types {
            let dynamic = ty.is_tensor() && !(ty.is_ranked_tensor() && ty.has_static_shape());
            if ty.element().text() == "f32" && !dynamic {
                // Not from before: an earlier type's rewrite has changed the block.
                Region::of(&operations(block), ty)?.rewrite()?;
            }
        }
    }
    Ok(())
}

/// Operations of one block and type, as a graph on scalars.
struct Region {
    ty: Ty,
    graph: Graph,
    // In order, each with its node.
    members: Vec<(Op, NodeId)>,
    // Values from elsewhere, in the order of the graph's inputs.
    leaves: Vec<Val>,
}

impl Region {
    fn of(operations: &[Op], ty: Ty) -> Result<Self, String> {
        let mut region =
            Region { ty, graph: Graph::new("block"), members: Vec::new(), leaves: Vec::new() };
        let mut nodes: HashMap<Key, NodeId> = HashMap::new();
        let name = ty.text();
        let typed = |op: &&Op| op.results().next().is_some_and(|r| r.ty().text() == name);
        for &op in operations.iter().filter(typed) {
            let Some((row, attrs)) = row(op) else { continue };
            let row = lookup(row).ok_or("a row is missing")?;
            let mut inputs = Vec::new();
            for value in op.operands() {
                let node = match nodes.get(&value.0.ptr) {
                    Some(node) => *node,
                    None => region.leaf(value)?,
                };
                nodes.insert(value.0.ptr, node);
                inputs.push(node);
            }
            let node = region.graph.add(row, &inputs, attrs, Origin::default());
            let node = node.map_err(|e| e.to_string())?;
            for result in op.results() {
                nodes.insert(result.0.ptr, node);
            }
            region.members.push((op, node));
        }
        Ok(region)
    }

    fn leaf(&mut self, value: Val) -> Result<NodeId, String> {
        let name = format!("x{}", self.leaves.len());
        self.leaves.push(value);
        let ty = TensorType::new(DType::F32, []);
        self.graph.input(name, ty, InputKind::Data).map_err(|e| e.to_string())
    }

    /// Members that something outside uses, in order.
    fn results(&self) -> Vec<(Op, NodeId)> {
        let inside = |op: Op| self.members.iter().any(|(member, _)| member.0.ptr == op.0.ptr);
        let wanted = |(op, _): &&(Op, NodeId)| {
            op.results().any(|r| r.uses().into_iter().any(|(user, _)| !inside(user)))
        };
        // A constant stays where it is.
        let computed = |(op, _): &&(Op, NodeId)| op.name() != "arith.constant";
        self.members.iter().filter(computed).filter(wanted).copied().collect()
    }

    fn rewrite(mut self) -> Result<(), String> {
        let results = self.results();
        for (i, (_, node)) in results.iter().enumerate() {
            self.graph.output(format!("y{i}"), *node).map_err(|e| e.to_string())?;
        }
        let (better, _) = simplify(&self.graph).map_err(|e| e.to_string())?;
        if operation_count(&better) >= operation_count(&self.graph) {
            return Ok(());
        }
        let Some(leaves) = self.leaves_of(&better) else { return Ok(()) };
        if !writable(&better) || !self.is_dominated(&results, &better, &leaves) {
            return Ok(());
        }
        let mut values: HashMap<NodeId, Val> = leaves;
        for ((op, _), (_, output)) in results.iter().zip(better.outputs()) {
            let new = self.write(&better, *output, *op, &mut values)?;
            op.results().for_each(|old| old.replace_uses(new));
        }
        for (op, _) in self.members.iter().rev() {
            if op.results().all(|r| r.uses().is_empty()) {
                op.erase();
            }
        }
        Ok(())
    }

    /// The actual values of another graph's inputs, by name.
    fn leaves_of(&self, graph: &Graph) -> Option<HashMap<NodeId, Val>> {
        let value = |name: &str| self.leaves.get(name.strip_prefix('x')?.parse::<usize>().ok()?);
        graph.inputs().iter().map(|i| Some((i.node, *value(&i.name)?))).collect()
    }

    /// True if every value that a new term reads exists where the term will stand.
    fn is_dominated(
        &self,
        results: &[(Op, NodeId)],
        graph: &Graph,
        leaves: &HashMap<NodeId, Val>,
    ) -> bool {
        results.iter().zip(graph.outputs()).all(|((site, _), (_, output))| {
            let (mut pending, mut seen) = (vec![*output], HashSet::new());
            while let Some(id) = pending.pop() {
                if !seen.insert(id) {
                    continue;
                }
                pending.extend(&graph.node(id).inputs);
                let definition = leaves.get(&id).and_then(|v| v.definition());
                let late = definition
                    .is_some_and(|op| op.block().ptr == site.block().ptr && !op.is_before(*site));
                if late {
                    return false;
                }
            }
            true
        })
    }

    /// Writes a node and what it needs before `site`.
    fn write(
        &self,
        graph: &Graph,
        id: NodeId,
        site: Op,
        values: &mut HashMap<NodeId, Val>,
    ) -> Result<Val, String> {
        if let Some(value) = values.get(&id) {
            return Ok(*value);
        }
        let node = graph.node(id);
        let operands: Vec<Val> = (node.inputs.iter())
            .map(|&input| self.write(graph, input, site, values))
            .collect::<Result<_, _>>()?;
        let context = site.context();
        let mut attributes = Vec::new();
        if let Some(value) = graph.constant(id).and_then(|t| t.to_vec::<f32>()) {
            let bits = value.first().copied().unwrap_or_default().to_bits();
            let number = Attribute::parse(context, &format!("0x{bits:08X} : f32"))?;
            let value = if self.ty.is_shaped() { number.splat(self.ty) } else { number };
            attributes.push(value.named(context, "value"));
        } else {
            for (name, value) in node.attrs.iter() {
                let text = match value {
                    Attr::Int(k) => format!("{k} : i64"),
                    Attr::Ints(list) => format!("{list:?}"),
                    _ => continue,
                };
                attributes.push(Attribute::parse(context, &text)?.named(context, name));
            }
        }
        let new = create(written_as(node.op.name), site, &operands, &[self.ty], &attributes);
        site.insert_before(new);
        let value = new.results().next().ok_or("an operation without a result")?;
        values.insert(id, value);
        Ok(value)
    }
}

/// The row an operation is, `None` if it takes no part.
fn row(op: Op) -> Option<(&'static str, Attrs)> {
    if let Some(row) = term::pam_row(op.name()) {
        return Some((row.name, term::pam_attributes(op, row)));
    }
    if op.name() == "arith.constant" {
        let value = op.attribute("value")?.number()? as f32;
        return Some(("const", Attrs::none().with("value", Tensor::scalar(value))));
    }
    let strict = op.attribute("fastmath").is_none_or(|f| f.text() == "#arith.fastmath<none>");
    let (_, row) = PLAIN.iter().find(|(name, _)| *name == op.name() && strict)?;
    Some((row, Attrs::none()))
}

/// The operation that a row is written as.
fn written_as(row: &'static str) -> &'static str {
    match PLAIN.iter().find(|(_, known)| *known == row) {
        Some((name, _)) => name,
        None if row == "const" => "arith.constant",
        None => row,
    }
}

/// True if every node has an operation to be written as.
fn writable(graph: &Graph) -> bool {
    graph.nodes().all(|(_, node)| {
        let name = node.op.name;
        let leaf = matches!(node.op.kind, Kind::Prim(Prim::Input | Prim::Const));
        leaf || term::pam_row(name).is_some() || PLAIN.iter().any(|(_, row)| *row == name)
    })
}

/// Operations that an output needs, constants and inputs not counted.
fn operation_count(graph: &Graph) -> usize {
    let live = graph.live();
    let counted = |(id, node): &(NodeId, &pamc_passes::ir::Node)| {
        live[id.index()] && !matches!(node.op.kind, Kind::Prim(Prim::Input | Prim::Const))
    };
    graph.nodes().filter(counted).count()
}
