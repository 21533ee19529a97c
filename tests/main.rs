//! Integration tests, one binary: a link against MLIR takes a second each.

mod cli;
mod conformance;
mod filetest;
mod gpu;
