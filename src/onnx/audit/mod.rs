//! What an ONNX model multiplies.

mod tables;

use std::collections::HashMap;

use pamc_lowering::audit::flow::{Action, Flow, Operation, Role, Source, Value};
use pamc_lowering::audit::{Kind, Report};

use self::tables::{NEUTRAL, POSITIONS, PRODUCTS};
use super::Model;
use super::proto::{DataType, GraphProto, NodeProto, TensorProto, TypeValue};

struct Walk {
    flow: Flow,
    values: HashMap<String, Value>,
    types: HashMap<String, i32>,
    at: usize,
}

/// Audits a model: its graph, the bodies of its control flow and its functions.
pub fn audit(model: &Model) -> Report {
    let mut walk =
        Walk { flow: Flow::default(), values: HashMap::new(), types: HashMap::new(), at: 0 };
    walk.at = walk.flow.function(model.graph().name.clone());
    walk.graph(model.graph(), true);
    let findings = walk.flow.judge();
    Report { format: "ONNX".into(), functions: walk.flow.functions, findings, undecoded: 0 }
}

/// Integer types, whose products may be of positions.
fn is_integer(kind: i32) -> bool {
    [
        DataType::Int64,
        DataType::Int32,
        DataType::Int16,
        DataType::Int8,
        DataType::Uint8,
        DataType::Uint16,
        DataType::Uint32,
        DataType::Uint64,
    ]
    .iter()
    .any(|t| *t as i32 == kind)
}

/// The one number of a constant, or that it is constant.
fn constant(tensor: &TensorProto) -> Source {
    let count: i64 = tensor.dims.iter().product();
    if count != 1 || !is_integer(tensor.data_type) {
        return Source::Fixed;
    }
    let listed =
        tensor.int64_data.first().copied().or(tensor.int32_data.first().map(|v| (*v).into()));
    let raw = tensor.raw_data.as_ref().and_then(|raw| match raw.len() {
        8 => Some(i64::from_le_bytes(raw[..].try_into().ok()?)),
        4 => Some(i32::from_le_bytes(raw[..].try_into().ok()?).into()),
        _ => None,
    });
    listed.or(raw).map_or(Source::Fixed, |v| Source::Constant(v.into()))
}

impl Walk {
    fn value(&mut self, name: &str) -> Value {
        if let Some(value) = self.values.get(name) {
            return *value;
        }
        let value = self.flow.value(Source::Operands);
        self.values.insert(name.to_owned(), value);
        value
    }

    fn graph(&mut self, graph: &GraphProto, outermost: bool) {
        for tensor in &graph.initializer {
            let value = self.value(&tensor.name);
            self.flow.set_source(value, constant(tensor));
            self.types.insert(tensor.name.clone(), tensor.data_type);
        }
        for info in graph.input.iter().chain(&graph.value_info).chain(&graph.output) {
            if let Some(TypeValue::Tensor(t)) = info.r#type.as_ref().and_then(|t| t.value.as_ref())
            {
                self.types.insert(info.name.clone(), t.elem_type);
            }
        }
        for input in &graph.input {
            let value = self.value(&input.name);
            if self.flow.source(value) == Source::Operands && outermost {
                self.flow.set_source(value, Source::Data);
            }
        }
        for (n, node) in graph.node.iter().enumerate() {
            self.node(n, node);
        }
        if outermost {
            for output in &graph.output {
                let operands =
                    vec![(self.value(&output.name), Role::Sink("is an output of the model"))];
                self.flow.push_uncounted(Operation {
                    function: self.at,
                    name: "output".into(),
                    place: String::new(),
                    source: None,
                    action: Action::None,
                    operands,
                    results: Vec::new(),
                });
            }
        }
    }

    /// The element type of a node's results, if it can be told.
    fn infer(&mut self, node: &NodeProto) {
        let kind = match node.op_type.as_str() {
            "Shape" | "Size" | "NonZero" | "ArgMax" | "ArgMin" => Some(DataType::Int64 as i32),
            "Cast" | "BitCast" => {
                node.attribute.iter().find(|a| a.name == "to").map(|a| a.i as i32)
            }
            "Constant" => node.attribute.iter().find_map(|a| match a.name.as_str() {
                "value" => a.t.as_ref().map(|t| t.data_type),
                "value_int" | "value_ints" => Some(DataType::Int64 as i32),
                "value_float" | "value_floats" => Some(DataType::Float as i32),
                _ => None,
            }),
            "Where" => node.input.get(1).and_then(|i| self.types.get(i)).copied(),
            _ => node.input.first().and_then(|i| self.types.get(i)).copied(),
        };
        if let Some(kind) = kind {
            for output in &node.output {
                self.types.entry(output.clone()).or_insert(kind);
            }
        }
    }

    fn action(&self, node: &NodeProto) -> Action {
        let op = node.op_type.as_str();
        let integers = node
            .input
            .iter()
            .chain(&node.output)
            .any(|n| self.types.get(n).is_some_and(|t| is_integer(*t)));
        // The number of elements of a shape.
        if op == "ReduceProd"
            && node.input.first().and_then(|n| self.types.get(n)).is_some_and(|t| is_integer(*t))
        {
            return Action::Integer;
        }
        // Without a third input it does not train, and is the identity.
        if op == "Dropout" && node.input.len() < 3 {
            return Action::None;
        }
        if let Some((kind, _)) = PRODUCTS.iter().find(|(_, names)| names.contains(&op)) {
            return Action::Data(*kind);
        }
        match op {
            "Mul" | "Div" | "Mod" if integers => Action::Integer,
            "Mul" => Action::Data(Kind::Multiply),
            "Div" | "Mod" => Action::Data(Kind::Divide),
            _ if NEUTRAL.contains(&op) => Action::None,
            _ => Action::Data(Kind::Unknown),
        }
    }

    fn node(&mut self, n: usize, node: &NodeProto) {
        self.infer(node);
        let action = self.action(node);
        let op = node.op_type.as_str();
        let positions = POSITIONS.iter().find(|p| p.0 == op).map_or(usize::MAX, |p| p.1);
        let mut operands = Vec::new();
        for (i, input) in node.input.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let value = self.value(input);
            let divides = matches!(op, "Div" | "Mod");
            let role = match action {
                Action::Data(_) => Role::Factor,
                Action::Integer if divides && i == 0 => Role::Dividend,
                // The axes of a product.
                Action::Integer if op == "ReduceProd" && i > 0 => Role::Address,
                Action::Integer => Role::Factor,
                Action::None => self.role(node, i, positions),
            };
            operands.push((value, role));
        }
        let source = match op {
            "Constant" => node
                .attribute
                .iter()
                .find_map(|a| a.t.as_ref())
                .map_or(Source::Fixed, |t| constant(t)),
            // A shape is known without its tensor's elements.
            _ => Source::Operands,
        };
        if matches!(op, "Shape" | "Size") {
            operands.clear();
        }
        let results: Vec<Value> =
            node.output.iter().filter(|o| !o.is_empty()).map(|o| self.value(o)).collect();
        results.iter().for_each(|r| self.flow.set_source(*r, source));
        for graph in node.attribute.iter().flat_map(|a| a.g.as_deref().into_iter().chain(&a.graphs))
        {
            self.body(graph, &operands, &results);
        }
        let name = if node.name.is_empty() { node.output.first() } else { Some(&node.name) };
        let name = name.cloned().unwrap_or_default();
        self.flow.push(Operation {
            function: self.at,
            name: node.op_type.clone(),
            place: format!("node {n}"),
            source: Some(name),
            action,
            operands,
            results,
        });
    }

    /// A body of a loop or branch: operands may come in as any input, and its outputs go out.
    fn body(&mut self, graph: &GraphProto, operands: &[(Value, Role)], results: &[Value]) {
        self.graph(graph, false);
        for input in &graph.input {
            let inner = self.value(&input.name);
            operands.iter().for_each(|(v, _)| self.flow.copy(*v, inner));
        }
        for output in &graph.output {
            let inner = self.value(&output.name);
            results.iter().for_each(|r| self.flow.copy(inner, *r));
        }
    }

    fn role(&self, node: &NodeProto, i: usize, positions: usize) -> Role {
        let last = node.input.len().saturating_sub(1);
        match node.op_type.as_str() {
            "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "IsNaN" | "IsInf"
            | "ArgMax" | "ArgMin" | "NonZero" => Role::Condition,
            "Where" | "If" | "Loop" if i == 0 => Role::Condition,
            "Pad" if i == 1 || i == 3 => Role::Address,
            "ScatterND" | "ScatterElements" | "Scatter" if i == 1 => Role::Address,
            "OneHot" if i < 2 => Role::Address,
            "Range" if i <= last => Role::Value,
            "Cast" | "BitCast" => {
                match node.attribute.iter().find(|a| a.name == "to").map(|a| a.i as i32) {
                    Some(to) if !is_integer(to) && to != DataType::Bool as i32 => {
                        match self.types.get(&node.input[0]) {
                            Some(from) if is_integer(*from) => {
                                Role::Sink("is converted to a float")
                            }
                            _ => Role::Value,
                        }
                    }
                    _ => Role::Value,
                }
            }
            _ if i >= positions => Role::Address,
            _ => Role::Value,
        }
    }
}
