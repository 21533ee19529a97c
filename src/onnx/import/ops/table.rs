//! THE table of ONNX operators: name, first opset whose definition is understood, translation.

use super::super::site::Site;
use super::super::value::{Made, Value};
use super::{
    contract as c, conv, elementwise as e, grad as g, layout as l, loss, norm, reduce as r,
    shape as s,
};

/// The last opset of ONNX's own domain whose definitions were read.
const LAST_OPSET: i64 = 26;

/// One operator.
pub(in crate::onnx::import) struct Row {
    op: &'static str,
    since: i64,
    pub make: for<'a, 'g> fn(&mut Site<'a, 'g>) -> Made<Vec<Value>>,
}

const fn row(
    op: &'static str,
    since: i64,
    make: for<'a, 'g> fn(&mut Site<'a, 'g>) -> Made<Vec<Value>>,
) -> Row {
    Row { op, since, make }
}

/// Operators of ONNX itself.
static ONNX: &[Row] = &[
    row("Abs", 6, e::abs),
    row("Add", 7, e::add),
    row("And", 7, e::and),
    row("ArgMax", 1, r::arg_max),
    row("ArgMin", 1, r::arg_min),
    row("Attention", 23, c::attention),
    row("AveragePool", 7, conv::average_pool),
    row("AveragePoolGrad", 9, conv::average_pool_grad),
    row("BatchNormalization", 7, norm::batch_norm),
    row("BitwiseAnd", 18, e::and),
    row("BitwiseOr", 18, e::or),
    row("BitwiseXor", 18, e::xor),
    row("Cast", 6, e::cast),
    row("CastLike", 15, e::cast_like),
    row("Ceil", 6, e::ceil),
    row("Celu", 12, e::celu),
    row("Clip", 6, e::clip),
    row("Concat", 4, l::concat),
    row("Constant", 1, s::constant),
    row("ConstantOfShape", 9, s::constant_of_shape),
    row("Conv", 1, conv::conv),
    row("ConvTranspose", 1, conv::conv_transpose),
    row("Cos", 7, e::cos),
    row("CumSum", 11, r::cum_sum),
    row("DepthToSpace", 1, l::depth_to_space),
    row("Div", 7, e::div),
    row("Dropout", 7, e::dropout),
    row("Elu", 6, e::elu),
    row("Equal", 7, e::equal),
    row("Erf", 9, e::erf),
    row("Exp", 6, e::exp),
    row("Expand", 8, l::expand),
    row("EyeLike", 9, s::eye_like),
    row("Flatten", 1, l::flatten),
    row("Floor", 6, e::floor),
    row("Gather", 1, s::gather),
    row("Gelu", 20, e::gelu),
    row("Gemm", 7, c::gemm),
    row("GlobalAveragePool", 1, conv::global_average_pool),
    row("GlobalMaxPool", 1, conv::global_max_pool),
    row("Greater", 7, e::greater),
    row("GreaterOrEqual", 12, e::greater_equal),
    row("GroupNormalization", 18, norm::group_norm),
    row("HardSigmoid", 6, e::hard_sigmoid),
    row("HardSwish", 14, e::hard_swish),
    row("Hardmax", 13, r::hardmax),
    row("Identity", 1, l::identity),
    row("InstanceNormalization", 6, norm::instance_norm),
    row("IsNaN", 9, e::is_nan),
    row("LayerNormalization", 17, norm::layer_norm),
    row("LeakyRelu", 6, e::leaky_relu),
    row("Less", 7, e::less),
    row("LessOrEqual", 12, e::less_equal),
    row("Log", 6, e::log),
    row("LogSoftmax", 1, r::log_softmax),
    row("MatMul", 1, c::matmul),
    row("Max", 8, e::max),
    row("MaxPool", 1, conv::max_pool),
    row("MaxPoolGrad", 9, conv::max_pool_grad),
    row("Mean", 8, e::mean),
    row("Min", 8, e::min),
    row("Mish", 18, e::mish),
    row("Mod", 10, e::modulo),
    row("Mul", 7, e::mul),
    row("Neg", 6, e::neg),
    row("NegativeLogLikelihoodLoss", 12, loss::negative_log_likelihood),
    row("Not", 1, e::not),
    row("OneHot", 9, s::one_hot),
    row("Or", 7, e::or),
    row("PRelu", 7, e::prelu),
    row("Pad", 2, l::pad),
    row("Pow", 7, e::pow),
    row("RMSNormalization", 23, norm::rms_norm),
    row("Range", 11, s::range),
    row("Reciprocal", 6, e::reciprocal),
    row("ReduceL1", 1, r::l1),
    row("ReduceL2", 1, r::l2),
    row("ReduceLogSum", 1, r::log_sum),
    row("ReduceLogSumExp", 1, r::log_sum_exp),
    row("ReduceMax", 1, r::max),
    row("ReduceMean", 1, r::mean),
    row("ReduceMin", 1, r::min),
    row("ReduceSum", 1, r::sum),
    row("ReduceSumSquare", 1, r::sum_square),
    row("Relu", 6, e::relu),
    row("Reshape", 5, l::reshape),
    row("Round", 11, e::round),
    row("Selu", 6, e::selu),
    row("Shape", 1, s::shape),
    row("Sigmoid", 6, e::sigmoid),
    row("Sign", 9, e::sign),
    row("SimplifiedLayerNormalization", 1, norm::rms_norm),
    row("Sin", 7, e::sin),
    row("Size", 1, s::size),
    row("Slice", 1, l::slice),
    row("Softmax", 1, r::softmax),
    row("SoftmaxCrossEntropyLoss", 12, loss::cross_entropy),
    row("Softplus", 1, e::softplus),
    row("Softsign", 1, e::softsign),
    row("SpaceToDepth", 1, l::space_to_depth),
    row("Split", 2, l::split),
    row("Sqrt", 6, e::sqrt),
    row("Squeeze", 1, l::squeeze),
    row("Sub", 7, e::sub),
    row("Sum", 8, e::sum),
    row("Swish", 24, e::swish),
    row("Tanh", 6, e::tanh),
    row("ThresholdedRelu", 10, e::thresholded_relu),
    row("Tile", 6, l::tile),
    row("Transpose", 1, l::transpose),
    row("Trilu", 14, s::trilu),
    row("Unsqueeze", 1, l::unsqueeze),
    row("Where", 9, e::select),
    row("Xor", 7, e::xor),
];

/// Operators of ONNX Runtime, most of them gradients.
static MICROSOFT: &[Row] = &[
    row("AveragePoolGrad", 1, conv::average_pool_grad),
    row("BatchNormInternal", 1, norm::batch_norm_internal),
    row("BatchNormalizationGrad", 1, g::batch_norm),
    row("BiasFastGeluGrad_dX", 1, g::fast_gelu),
    row("BiasGelu", 1, e::bias_gelu),
    row("BiasGeluGrad_dX", 1, g::gelu),
    row("ConcatTraining", 1, l::concat_training),
    row("ConvGrad", 1, conv::conv_grad),
    row("DivGrad", 1, g::div),
    row("DropoutGrad", 1, g::dropout),
    row("FastGelu", 1, e::fast_gelu),
    row("FastGeluGrad", 1, g::fast_gelu),
    row("FusedMatMul", 1, c::fused_matmul),
    row("GatherGrad", 1, g::gather),
    row("Gelu", 1, e::bias_gelu),
    row("GeluGrad", 1, g::gelu),
    row("InPlaceAccumulatorV2", 1, g::accumulate),
    row("LayerNormalizationGrad", 1, g::layer_norm),
    row("LeakyReluGrad", 1, g::leaky_relu),
    row("LogSoftmaxGrad_13", 1, g::log_softmax),
    row("MaxPoolGrad", 1, conv::max_pool_grad),
    row("QuickGelu", 1, e::swish),
    row("QuickGeluGrad", 1, g::quick_gelu),
    row("ReluGrad", 1, g::relu),
    row("Scale", 1, e::scale),
    row("SigmoidGrad", 1, g::sigmoid),
    row("SimplifiedLayerNormalization", 1, norm::rms_norm),
    row("SimplifiedLayerNormalizationGrad", 1, g::rms_norm),
    row("SliceGrad", 1, g::slice),
    row("SoftmaxCrossEntropyLossGrad", 1, g::cross_entropy),
    row("SoftmaxGrad_13", 1, g::softmax),
    row("SplitTraining", 1, l::split),
    row("TanhGrad", 1, g::tanh),
];

fn domain(name: &str) -> Option<&'static [Row]> {
    match name {
        "" | "ai.onnx" => Some(ONNX),
        "com.microsoft" => Some(MICROSOFT),
        _ => None,
    }
}

/// The translation of an operator at an opset, or why there is none.
pub(in crate::onnx::import) fn find(
    domain_name: &str,
    op: &str,
    opset: i64,
) -> Result<&'static Row, String> {
    let rows =
        domain(domain_name).ok_or_else(|| format!("the domain `{domain_name}` is unknown"))?;
    let row = rows.iter().find(|r| r.op == op).ok_or("the operator is unknown")?;
    let last = if std::ptr::eq(rows, ONNX) { LAST_OPSET } else { i64::MAX };
    if (row.since..=last).contains(&opset) {
        return Ok(row);
    }
    Err(format!("known are opsets {} to {last}", row.since))
}

/// An ONNX operator that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpSupport {
    /// Its domain; empty for ONNX's own.
    pub domain: &'static str,
    /// Its name.
    pub op: &'static str,
    /// First version of the domain from which it is understood.
    pub since: i64,
    /// Last version, if there is a limit.
    pub until: Option<i64>,
}

/// Every operator that can be imported, by domain and name.
pub fn supported_ops() -> impl Iterator<Item = OpSupport> {
    let list = |domain, rows: &'static [Row], until| {
        rows.iter().map(move |r| OpSupport { domain, op: r.op, since: r.since, until })
    };
    list("", ONNX, Some(LAST_OPSET)).chain(list("com.microsoft", MICROSOFT, None))
}
