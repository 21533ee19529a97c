//! Machine-independent half of pamc: the graph, the op table, what PAM arithmetic means, and the
//! passes from graph to graph. Nothing here knows MLIR or LLVM.

pub mod arith;
pub mod build;
pub mod egraph;
pub mod grad;
pub mod interpret;
pub mod ir;
pub mod manager;
pub mod ops;
pub mod pass;
pub mod program;
pub mod prove;
pub mod reference;
pub mod rules;
pub mod semantics;
pub mod testing;
pub mod train;
