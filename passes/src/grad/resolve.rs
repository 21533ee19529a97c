//! Derivatives that a graph itself asks for, by nodes `gradient`.

use std::collections::HashMap;

use super::{GradError, GradSpec, differentiate};
use crate::arith::Arith;
use crate::ir::{Graph, Node, NodeId};

/// Name of the op: the derivative of a scalar with respect to a graph input.
const GRADIENT: &str = "gradient";

/// Replace every `gradient` node of a lowered graph by the derivative it stands for. Those of the same
/// value are computed together.
///
/// # Errors
/// As [`differentiate`]; [`GradError::NotInput`] for a node whose second operand is no graph input.
pub fn resolve(graph: &Graph, arith: Arith, spec: &GradSpec) -> Result<Graph, GradError> {
    let wanted: Vec<&Node> =
        graph.nodes().map(|(_, n)| n).filter(|n| n.op.name == GRADIENT).collect();
    let mut made: HashMap<(NodeId, NodeId), NodeId> = HashMap::new();
    graph.rewrite(|out, _, node, inputs| {
        if node.op.name != GRADIENT {
            return out
                .add(node.op, inputs, node.attrs.clone(), node.origin.clone())
                .map_err(GradError::from);
        }
        let key = (node.inputs[0], node.inputs[1]);
        if let Some(&value) = made.get(&key) {
            return Ok(value);
        }
        let mut of: Vec<NodeId> =
            wanted.iter().filter(|n| n.inputs[0] == key.0).map(|n| n.inputs[1]).collect();
        of.sort_unstable_by_key(|x| x.0);
        of.dedup();
        let new = |x: &NodeId| {
            let input = graph.inputs().iter().find(|i| i.node == *x);
            let input = input.and_then(|i| out.find_input(&i.name));
            input.map(|i| i.node).ok_or_else(|| GradError::NotInput(node.origin.to_string()))
        };
        let wrt = of.iter().map(new).collect::<Result<Vec<_>, _>>()?;
        let gradients = differentiate(out, arith, inputs[0], &wrt, spec)?;
        made.extend(of.iter().map(|&x| (key.0, x)).zip(gradients.values));
        Ok(made[&key])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::{self, Values};
    use crate::ir::{Dims, Tensor, parse};
    use crate::pass;
    use crate::program::Program;

    #[test]
    fn gradients_are_values_like_others() {
        // d = (a + b) · a, so ∂d/∂a = 2a + b and ∂d/∂b = a; the update takes them.
        let text = "graph @g(%a: f32[], %b: f32[]) -> f32[], f32[] {
            %c = add %a, %b
            %d = mul %c, %a
            %ga = gradient %d, %a
            %gb = gradient %d, %b
            %new = sub %a, %ga
            return new = %new, gb = %gb
        }";
        let graph = parse(text, &Dims::new()).unwrap();
        let lowered = pass::lower(&graph, Arith::Float).unwrap();
        let resolved = resolve(&lowered, Arith::Float, &GradSpec::default()).unwrap();
        let program = Program::new(pass::expand(&resolved).unwrap(), Arith::Float).unwrap();
        let values: Values =
            [("a", 3.0f32), ("b", 4.0)].map(|(n, x)| (n.to_string(), Tensor::scalar(x))).into();
        let made = interpret::run(&program, &values).unwrap();
        assert_eq!(made["new"].item::<f32>(), Some(3.0 - 10.0));
        assert_eq!(made["gb"].item::<f32>(), Some(3.0));
    }
}
