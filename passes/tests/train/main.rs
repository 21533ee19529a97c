//! Training steps against plain scalar loops of the same formulas.

mod common;
mod optimizers;
mod steps;
