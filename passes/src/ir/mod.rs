//! The typed tensor graph: types, values, nodes, text form, verifier.

mod graph;
mod tensor;
mod text;
mod types;
mod verify;

pub use graph::{Graph, GraphError, Input, InputKind, Node, NodeId, Origin, Region, Step};
pub use tensor::{Array, Element, Tensor};
pub use text::{
    Declared, Dims, Extent, TextError, parse, parse_inputs, parse_value, print_tensor, print_term,
};
pub use types::{Attr, Attrs, DType, TensorType};
pub use verify::{VerifyError, verify};
