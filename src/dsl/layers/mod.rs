//! Layers: descriptions whose `apply` makes the parameters below the given name and computes.
//!
//! A layer takes its input extents from the value it is applied to. Its parameters are named as in
//! PyTorch (`weight`, `bias`, `running_mean` …), below the path of the enclosing scopes.

mod attention;
mod conv;
mod linear;
mod norm;
mod transformer;

pub use attention::{MultiHeadAttention, causal_mask};
pub use conv::Conv2d;
pub use linear::{Embedding, Linear};
pub use norm::{BatchNorm, LayerNorm, RmsNorm};
pub use transformer::{Activation, FeedForward, TransformerBlock};
