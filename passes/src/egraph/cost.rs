//! What a term costs: the row's cost times the elements it works on.

use super::analysis::ValueFacts;
use crate::ops::{self, Op, Prim};

/// Cost of an op on its operands, without theirs.
pub fn cost(op: &Op, operands: &[&ValueFacts], result: &ValueFacts) -> u64 {
    let elements = match op.prim() {
        // They read more than they write.
        Some(Prim::ReduceSum | Prim::ReduceMax | Prim::ReduceMin | Prim::ArgMax | Prim::ArgMin) => {
            operands.iter().map(|o| o.ty.len()).max().unwrap_or(0)
        }
        _ => result.ty.len(),
    };
    // Every node costs something, so that of two terms of equal work the shorter is taken.
    1 + u64::from(weight(op)) * elements as u64
}

/// Real operations are lowered to several primitives each; what matters among real terms is that
/// fewer and more specific ones are better, and that a power is dearer than a product.
fn weight(op: &Op) -> u32 {
    match op.kind {
        ops::Kind::Prim(_) | ops::Kind::Composite => op.cost,
        ops::Kind::Real => match op.name {
            "pow" => 40,
            "exp" | "log" | "exp2" | "log2" | "erf" | "tanh" | "sin" | "cos" => 24,
            "mul" | "square" => 4,
            _ => 8,
        },
    }
}
