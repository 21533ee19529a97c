//! pamc: train and run neural networks without multiplying.

pub mod cli;
pub mod compile;
pub mod cost;
pub mod dsl;
pub mod error;
#[path = "../models/mod.rs"]
pub mod models;
pub mod onnx;
pub mod runtime;
pub mod select;
pub mod source;

pub use error::Error;

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
