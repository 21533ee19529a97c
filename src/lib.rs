//! pamc: train and run neural networks without multiplying.

pub mod onnx;
