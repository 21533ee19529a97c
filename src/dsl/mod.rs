//! The Rust front end: models written as Rust functions.
//!
//! A [`Net`] is the model under construction, a [`Var`] a value in it, with operators and a method
//! for every row of the op table; [`layers`] hold parameters. Shapes are checked where they are
//! written: a mistake is reported with its file and line, all of them at once, by [`Net::finish`].
//!
//! ```
//! use pamc::dsl::{Loss, Mode, Net, layers::Linear};
//! use pamc_passes::ir::TensorType;
//!
//! let net = Net::new("classifier", Mode::Train);
//! let x = net.input("input", TensorType::f32([32, 784]));
//! let hidden = Linear::new(128).apply("fc1", x).relu();
//! net.output("logits", Linear::new(10).apply("fc2", hidden));
//! net.loss(Loss::cross_entropy());
//! let model = net.finish()?;
//! assert_eq!(model.parameter_count(), 784 * 128 + 128 + 128 * 10 + 10);
//!
//! let net = Net::new("mistaken", Mode::Train);
//! let x = net.input("input", TensorType::f32([32, 784]));
//! let w = net.param("w", &[100, 10], pamc::dsl::Init::Zeros);
//! net.output("logits", x.matmul(w));
//! let error = net.finish().unwrap_err().to_string();
//! assert!(error.contains("matmul(f32[32, 784], f32[100, 10])"), "{error}");
//! # Ok::<(), pamc::dsl::DslError>(())
//! ```

mod error;
mod init;
pub mod layers;
mod methods;
mod model;
mod net;
mod var;

pub use error::{DslError, Problem};
pub use init::Init;
pub use methods::Window;
pub use model::{Loss, LossKind, Model};
pub use net::{Mode, Net, RNG, Scope};
pub use var::{Operand, Var};

#[cfg(test)]
mod tests;
