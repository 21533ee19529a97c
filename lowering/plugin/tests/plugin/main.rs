//! The plug-in in stock `mlir-opt-22`: modules as other people write them are lowered, verified and
//! executed, and give the bits of the reference.

mod documentation;
mod execution;
mod foreign;
mod functions;
mod libraries;
mod reports;
mod tools;
