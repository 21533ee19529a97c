//! Derivatives: against the committed vectors, against differences, against plain formulas.

mod adjoint;
mod common;
mod errors;
mod exact;
mod formulas;
mod rules;
mod smooth;
