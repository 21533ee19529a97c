//! Translations of operators, by kind, and the table of them.

mod contract;
mod conv;
mod einsum;
mod elementwise;
mod fused;
mod grad;
mod grid;
mod heads;
mod index;
mod layout;
mod loss;
mod norm;
mod pool;
mod preview;
mod quantize;
mod random;
mod rank;
mod reduce;
mod resize;
mod rnn;
mod sample;
mod sequence;
mod shape;
mod signal;
mod table;
mod window;

use pamc_passes::ir::DType;

use super::site::{self, Site};
use super::value::Value;
use crate::onnx::proto::DataType;

pub(super) use pool::{pool_index, pool_index_type};
pub use table::{OpSupport, supported_ops};
pub(super) use table::{Row, find};

/// The element type in the file of result `i`: as its operator says, else as that of the first
/// operand which is kept in the same type here.
pub(super) fn result_elem(s: &Site, i: usize, value: &Value) -> DataType {
    let attr = |name: &str| s.node.attribute.iter().find(|a| a.name == name);
    let coded = |name: &str| attr(name).and_then(|a| i32::try_from(a.i).ok()).map(site::elem);
    let stated = match (s.node.op_type.as_str(), i) {
        ("Cast" | "BitCast", _) => coded("to"),
        ("CastLike", _) => s.elem(1),
        ("QuantizeLinear", _) => Some(quantize::quantized_type(s)),
        ("QLinearMatMul" | "QLinearConv", _) => s.elem(7),
        ("DynamicQuantizeLinear", 0 | 2) => Some(DataType::Uint8),
        ("Constant" | "ConstantOfShape", _) => {
            attr("value").and_then(|a| a.t.as_ref()).map(|t| site::elem(t.data_type))
        }
        ("MatMulInteger" | "ConvInteger" | "DequantizeLinear", _) => None,
        _ => {
            let dtype = s.b.dtype(value);
            let alike = |e: &DataType| site::dtype(*e as i32).is_ok_and(|d| d == dtype);
            (0..s.inputs.len()).filter_map(|i| s.elem(i)).find(alike)
        }
    };
    stated.unwrap_or(match s.b.dtype(value) {
        DType::F32 => DataType::Float,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::Bool => DataType::Bool,
    })
}
