//! The interpreter: evaluates a program node by node with the scalar reference. It is the oracle that
//! every backend equals bit for bit.

mod contract;
mod elementwise;
mod index;
mod layout;
mod reduce;

use std::collections::HashMap;

use thiserror::Error;

use crate::ir::{Attrs, DType, Element, Graph, NodeId, Tensor, TensorType};
use crate::ops::Prim;
use crate::program::Program;
use crate::reference;

/// Tensors by input or output name.
pub type Values = HashMap<String, Tensor>;

/// Why a program could not be run.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum RunError {
    /// Inputs that were not fed, all of them.
    #[error("no value for the input(s) {}", .0.join(", "))]
    Missing(Vec<String>),
    /// An input of the wrong type.
    #[error("input '{name}' is {got}, but the program takes {wanted}")]
    Type {
        /// Name of the input.
        name: String,
        /// Type it was given.
        got: String,
        /// Type it needs.
        wanted: String,
    },
    /// Values for inputs that do not exist.
    #[error("the program has no input(s) {} (it has: {})", .unknown.join(", "), .known.join(", "))]
    Unknown {
        /// The names that fit nothing.
        unknown: Vec<String>,
        /// The names there are.
        known: Vec<String>,
    },
}

/// Check that `values` feed exactly the inputs of a graph.
///
/// # Errors
/// Names every unknown and every missing input, or the first of a wrong type.
pub fn check_inputs(graph: &Graph, values: &Values) -> Result<(), RunError> {
    let mut unknown: Vec<_> =
        values.keys().filter(|n| graph.find_input(n).is_none()).cloned().collect();
    if !unknown.is_empty() {
        unknown.sort();
        let known = graph.inputs().iter().map(|i| i.name.clone()).collect();
        return Err(RunError::Unknown { unknown, known });
    }
    let missing: Vec<_> = graph
        .inputs()
        .iter()
        .filter(|i| !values.contains_key(&i.name))
        .map(|i| i.name.clone())
        .collect();
    if !missing.is_empty() {
        return Err(RunError::Missing(missing));
    }
    for input in graph.inputs() {
        let (got, wanted) = (values[&input.name].ty(), graph.ty(input.node));
        if got != *wanted {
            return Err(RunError::Type {
                name: input.name.clone(),
                got: got.to_string(),
                wanted: wanted.to_string(),
            });
        }
    }
    Ok(())
}

/// Evaluate a program; subnormals in the inputs are zeros.
///
/// # Errors
/// If the inputs do not fit.
pub fn run(program: &Program, inputs: &Values) -> Result<Values, RunError> {
    let graph = program.graph();
    check_inputs(graph, inputs)?;
    let mut values: Vec<Option<Tensor>> = vec![None; graph.len()];
    for input in graph.inputs() {
        values[input.node.index()] = Some(flush(&inputs[&input.name]));
    }
    let mut uses = graph.use_counts();
    for (id, node) in graph.nodes() {
        if uses[id.index()] == 0 || values[id.index()].is_some() {
            continue;
        }
        let Some(prim) = node.op.prim() else { continue };
        let operands: Vec<Tensor> =
            node.inputs.iter().filter_map(|i| values[i.index()].clone()).collect();
        values[id.index()] = Some(eval(prim, &operands, &node.attrs, &node.ty));
        for i in &node.inputs {
            uses[i.index()] -= 1;
            if uses[i.index()] == 0 {
                values[i.index()] = None;
            }
        }
    }
    let value = |id: &NodeId| values[id.index()].clone();
    Ok(graph.outputs().iter().filter_map(|(n, v)| Some((n.clone(), value(v)?))).collect())
}

/// Replace subnormals by zeros of their sign.
pub fn flush(t: &Tensor) -> Tensor {
    match t {
        Tensor::F32(a) => Tensor::F32(a.mapv(reference::flush).into_shared()),
        other => other.clone(),
    }
}

/// Evaluate one primitive on operands that fit it (as [`Graph::add`] has checked).
pub fn eval(prim: Prim, x: &[Tensor], attrs: &Attrs, ty: &TensorType) -> Tensor {
    match prim {
        Prim::Input => Tensor::zeros(ty),
        Prim::Const => attrs.tensor("value").map_or_else(|| Tensor::zeros(ty), flush),
        Prim::Iota => index::iota(attrs, ty),
        Prim::RandomBits => index::random_bits(&x[0], attrs, ty),
        Prim::PamMatmul => contract::matmul(&x[0], &x[1], attrs, ty, contract::pam),
        Prim::FMatmul => contract::matmul(&x[0], &x[1], attrs, ty, contract::fused),
        Prim::PamMatmulDa => contract::matmul_da(&x[0], &x[1], &x[2], attrs, ty),
        Prim::PamMatmulDb => contract::matmul_db(&x[0], &x[1], &x[2], attrs, ty),
        Prim::ReduceSum | Prim::ReduceMax | Prim::ReduceMin => {
            reduce::reduce(prim, &x[0], attrs, ty)
        }
        Prim::ArgMax | Prim::ArgMin => reduce::arg(prim, &x[0], attrs, ty),
        Prim::CumSum => reduce::cumsum(&x[0], attrs),
        Prim::Reshape => x[0].reshaped(&ty.shape).unwrap_or_else(|| Tensor::zeros(ty)),
        Prim::Transpose => layout::transpose(&x[0], attrs),
        Prim::Broadcast => layout::broadcast(&x[0], &ty.shape),
        Prim::Concat => layout::concat(x, attrs, ty),
        Prim::Slice => layout::slice(&x[0], attrs),
        Prim::Pad => layout::pad(&x[0], attrs, ty),
        Prim::Unfold => layout::unfold(&x[0], attrs, ty),
        Prim::Fold => layout::fold(&x[0], attrs, ty),
        Prim::Gather => index::gather(&x[0], &x[1], attrs, ty),
        Prim::ScatterAdd => index::scatter_add(&x[0], &x[1], attrs, ty),
        _ => elementwise::eval(prim, x, attrs, ty),
    }
}

/// The typed array of a tensor whose element type the shape rule has fixed.
fn array<T: Element + Default>(t: &Tensor) -> crate::ir::Array<T> {
    T::of(t).cloned().unwrap_or_default()
}

/// Elementwise addition of the four element types, as `sum` and `add` mean it.
trait Addition: Element + Default {
    fn plus(self, other: Self) -> Self;
}

impl Addition for f32 {
    fn plus(self, other: f32) -> f32 {
        reference::add(self, other)
    }
}

impl Addition for i32 {
    fn plus(self, other: i32) -> i32 {
        self.wrapping_add(other)
    }
}

impl Addition for i64 {
    fn plus(self, other: i64) -> i64 {
        self.wrapping_add(other)
    }
}

/// Run `$body` with `$t` standing for the number type of a dtype; truth values count as i32.
macro_rules! with_number {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $t = f32;
                $body
            }
            DType::I64 => {
                type $t = i64;
                $body
            }
            DType::I32 | DType::Bool => {
                type $t = i32;
                $body
            }
        }
    };
}
use with_number;

/// `index` as positions along an axis of extent `n`: negative from the end, then clamped.
fn positions(index: &Tensor, n: usize) -> Vec<usize> {
    let wide: Vec<i64> = match index.dtype() {
        DType::I64 => array::<i64>(index).iter().copied().collect(),
        _ => array::<i32>(index).iter().map(|&i| i64::from(i)).collect(),
    };
    let last = n.saturating_sub(1) as i64;
    let place = |i: i64| if i < 0 { i.saturating_add(n as i64) } else { i };
    wide.into_iter().map(|i| place(i).clamp(0, last) as usize).collect()
}
