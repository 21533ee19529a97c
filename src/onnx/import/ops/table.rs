//! THE table of ONNX operators: name, first opset whose definition is understood, translation.

use super::super::site::Site;
use super::super::value::{Fault, Made, Value};
use super::{
    contract as c, conv, einsum, elementwise as e, fused, grad as g, grid, heads, index as i,
    layout as l, loss, norm, pool, preview, quantize as q, random as rand, rank, reduce as r,
    resize, rnn, sample, sequence as seq, shape as s, signal as sig,
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
    row("Acos", 7, e::acos),
    row("Acosh", 9, e::acosh),
    row("Add", 7, e::add),
    row("AffineGrid", 20, grid::affine_grid),
    row("And", 7, e::and),
    row("ArgMax", 1, r::arg_max),
    row("ArgMin", 1, r::arg_min),
    row("Asin", 7, e::asin),
    row("Asinh", 9, e::asinh),
    row("Atan", 7, e::atan),
    row("Atanh", 9, e::atanh),
    row("Attention", 23, c::attention),
    row("AveragePool", 7, pool::average_pool),
    row("AveragePoolGrad", 9, pool::average_pool_grad),
    row("BatchNormalization", 7, norm::batch_norm),
    row("Bernoulli", 15, rand::bernoulli),
    row("BitCast", 26, q::bit_cast),
    row("BitShift", 11, q::bit_shift),
    row("BitwiseAnd", 18, e::and),
    row("BitwiseNot", 18, e::not),
    row("BitwiseOr", 18, e::or),
    row("BitwiseXor", 18, e::xor),
    row("BlackmanWindow", 17, sig::blackman),
    row("Cast", 6, q::cast),
    row("CastLike", 15, q::cast_like),
    row("Ceil", 6, e::ceil),
    row("Celu", 12, e::celu),
    row("CenterCropPad", 18, l::center_crop_pad),
    row("Clip", 6, e::clip),
    row("Col2Im", 18, pool::col2im),
    row("Compress", 9, i::compress),
    row("Concat", 4, l::concat),
    row("ConcatFromSequence", 11, seq::concat),
    row("Constant", 1, s::constant),
    row("ConstantOfShape", 9, s::constant_of_shape),
    row("Conv", 1, conv::conv),
    row("ConvInteger", 10, q::conv_integer),
    row("ConvTranspose", 1, conv::conv_transpose),
    row("Cos", 7, e::cos),
    row("Cosh", 9, e::cosh),
    row("CumProd", 26, r::cum_prod),
    row("CumSum", 11, r::cum_sum),
    row("DFT", 17, sig::dft),
    row("DeformConv", 19, sample::deform_conv),
    row("DepthToSpace", 1, l::depth_to_space),
    row("DequantizeLinear", 10, q::dequantize_linear),
    row("Det", 11, e::det),
    row("Div", 7, e::div),
    row("Dropout", 7, e::dropout),
    row("DynamicQuantizeLinear", 11, q::dynamic_quantize_linear),
    row("Einsum", 12, einsum::einsum),
    row("Elu", 6, e::elu),
    row("Equal", 7, e::equal),
    row("Erf", 9, e::erf),
    row("Exp", 6, e::exp),
    row("Expand", 8, l::expand),
    row("EyeLike", 9, s::eye_like),
    row("Flatten", 1, l::flatten),
    row("Floor", 6, e::floor),
    row("GRU", 7, rnn::gru),
    row("Gather", 1, s::gather),
    row("GatherElements", 11, i::gather_elements),
    row("GatherND", 11, i::gather_nd),
    row("Gelu", 20, e::gelu),
    row("Gemm", 7, c::gemm),
    row("GlobalAveragePool", 1, pool::global_average_pool),
    row("GlobalLpPool", 2, pool::global_lp_pool),
    row("GlobalMaxPool", 1, pool::global_max_pool),
    row("Greater", 7, e::greater),
    row("GreaterOrEqual", 12, e::greater_equal),
    row("GridSample", 16, grid::grid_sample),
    row("GroupNormalization", 18, norm::group_norm),
    row("HammingWindow", 17, sig::hamming),
    row("HannWindow", 17, sig::hann),
    row("HardSigmoid", 6, e::hard_sigmoid),
    row("HardSwish", 14, e::hard_swish),
    row("Hardmax", 1, r::hardmax),
    row("Identity", 1, l::identity),
    row("InstanceNormalization", 6, norm::instance_norm),
    row("IsInf", 10, q::is_inf),
    row("IsNaN", 9, e::is_nan),
    row("LRN", 1, norm::lrn),
    row("LSTM", 7, rnn::lstm),
    row("LayerNormalization", 1, norm::layer_norm),
    row("LeakyRelu", 6, e::leaky_relu),
    row("Less", 7, e::less),
    row("LessOrEqual", 12, e::less_equal),
    row("Log", 6, e::log),
    row("LogSoftmax", 1, r::log_softmax),
    row("LpNormalization", 1, norm::lp_norm),
    row("LpPool", 2, pool::lp_pool),
    row("MatMul", 1, c::matmul),
    row("MatMulInteger", 10, q::matmul_integer),
    row("Max", 6, e::max),
    row("MaxPool", 1, pool::max_pool),
    row("MaxPoolGrad", 9, pool::max_pool_grad),
    row("MaxUnpool", 9, pool::max_unpool),
    row("Mean", 6, e::mean),
    row("MeanVarianceNormalization", 9, norm::mean_variance),
    row("MelWeightMatrix", 17, sig::mel_weight_matrix),
    row("Min", 6, e::min),
    row("Mish", 18, e::mish),
    row("Mod", 10, e::modulo),
    row("Mul", 7, e::mul),
    row("Neg", 6, e::neg),
    row("NegativeLogLikelihoodLoss", 12, loss::negative_log_likelihood),
    row("NonZero", 9, i::non_zero),
    row("Not", 1, e::not),
    row("OneHot", 9, s::one_hot),
    row("Optional", 15, seq::optional),
    row("OptionalGetElement", 15, seq::get_element),
    row("OptionalHasElement", 15, seq::has_element),
    row("Or", 7, e::or),
    row("PRelu", 7, e::prelu),
    row("Pad", 2, l::pad),
    row("Pow", 7, e::pow),
    row("QLinearConv", 10, q::qlinear_conv),
    row("QLinearMatMul", 10, q::qlinear_matmul),
    row("QuantizeLinear", 10, q::quantize_linear),
    row("RMSNormalization", 23, norm::rms_norm),
    row("RNN", 7, rnn::rnn),
    row("RandomNormal", 1, rand::random_normal),
    row("RandomNormalLike", 1, rand::random_normal),
    row("RandomUniform", 1, rand::random_uniform),
    row("RandomUniformLike", 1, rand::random_uniform),
    row("Range", 11, s::range),
    row("Reciprocal", 6, e::reciprocal),
    row("ReduceL1", 1, r::l1),
    row("ReduceL2", 1, r::l2),
    row("ReduceLogSum", 1, r::log_sum),
    row("ReduceLogSumExp", 1, r::log_sum_exp),
    row("ReduceMax", 1, r::max),
    row("ReduceMean", 1, r::mean),
    row("ReduceMin", 1, r::min),
    row("ReduceProd", 1, r::product),
    row("ReduceSum", 1, r::sum),
    row("ReduceSumSquare", 1, r::sum_square),
    row("Relu", 6, e::relu),
    row("Reshape", 5, l::reshape),
    row("Resize", 10, resize::resize),
    row("ReverseSequence", 10, i::reverse_sequence),
    row("RoiAlign", 10, sample::roi_align),
    row("RotaryEmbedding", 23, c::rotary_embedding),
    row("Round", 11, e::round),
    row("STFT", 17, sig::stft),
    row("Scatter", 9, i::scatter_elements),
    row("ScatterElements", 11, i::scatter_elements),
    row("ScatterND", 11, i::scatter_nd),
    row("Selu", 6, e::selu),
    row("SequenceAt", 11, seq::at),
    row("SequenceConstruct", 11, seq::construct),
    row("SequenceEmpty", 11, seq::empty),
    row("SequenceErase", 11, seq::erase),
    row("SequenceInsert", 11, seq::insert),
    row("SequenceLength", 11, seq::length),
    row("Shape", 1, s::shape),
    row("Shrink", 9, e::shrink),
    row("Sigmoid", 6, e::sigmoid),
    row("Sign", 9, e::sign),
    row("SimplifiedLayerNormalization", 1, norm::rms_norm),
    row("Sin", 7, e::sin),
    row("Sinh", 9, e::sinh),
    row("Size", 1, s::size),
    row("Slice", 1, l::slice),
    row("Softmax", 1, r::softmax),
    row("SoftmaxCrossEntropyLoss", 12, loss::cross_entropy),
    row("Softplus", 1, e::softplus),
    row("Softsign", 1, e::softsign),
    row("SpaceToDepth", 1, l::space_to_depth),
    row("Split", 2, l::split),
    row("SplitToSequence", 11, seq::split),
    row("Sqrt", 6, e::sqrt),
    row("Squeeze", 1, l::squeeze),
    row("Sub", 7, e::sub),
    row("Sum", 6, e::sum),
    row("Swish", 24, e::swish),
    row("Tan", 7, e::tan),
    row("Tanh", 6, e::tanh),
    row("TensorScatter", 24, i::tensor_scatter),
    row("ThresholdedRelu", 10, e::thresholded_relu),
    row("Tile", 6, l::tile),
    row("TopK", 1, rank::top_k),
    row("Transpose", 1, l::transpose),
    row("Trilu", 14, s::trilu),
    row("Unique", 11, rank::unique),
    row("Unsqueeze", 1, l::unsqueeze),
    row("Upsample", 7, resize::upsample),
    row("Where", 9, e::select),
    row("Xor", 7, e::xor),
];

/// Operators of ONNX's domain for other machine learning.
static ML: &[Row] = &[
    row("ArrayFeatureExtractor", 1, i::array_feature_extractor),
    row("Binarizer", 1, e::binarizer),
];

/// Operators of ONNX Runtime, most of them gradients.
static MICROSOFT: &[Row] = &[
    row("Attention", 1, heads::attention),
    row("AveragePoolGrad", 1, pool::average_pool_grad),
    row("BatchNormInternal", 1, norm::batch_norm_internal),
    row("BatchNormalizationGrad", 1, g::batch_norm),
    row("BiasFastGeluGrad_dX", 1, g::fast_gelu),
    row("BiasGelu", 1, e::bias_gelu),
    row("BiasGeluGrad_dX", 1, g::gelu),
    row("ConcatTraining", 1, l::concat_training),
    row("ConvGrad", 1, conv::conv_grad),
    row("ConvTransposeGrad", 1, conv::conv_transpose_grad),
    row("DivGrad", 1, g::div),
    row("DropoutGrad", 1, g::dropout),
    row("EluGrad", 1, g::elu),
    row("EmbedLayerNormalization", 1, fused::embed_layer_norm),
    row("FastGelu", 1, e::fast_gelu),
    row("FastGeluGrad", 1, g::fast_gelu),
    row("FusedConv", 1, fused::fused_conv),
    row("FusedGemm", 1, fused::fused_gemm),
    row("FusedMatMul", 1, c::fused_matmul),
    row("GRUTraining", 1, rnn::gru_training),
    row("GatherElementsGrad", 1, i::gather_elements_grad),
    row("GatherGrad", 1, g::gather),
    row("GatherNDGrad", 1, i::gather_nd_grad),
    row("Gelu", 1, e::bias_gelu),
    row("GeluGrad", 1, g::gelu),
    row("GroupQueryAttention", 1, heads::group_query),
    row("InPlaceAccumulatorV2", 1, g::accumulate),
    row("LSTMTraining", 1, rnn::lstm_training),
    row("LayerNormalizationGrad", 1, g::layer_norm),
    row("LeakyReluGrad", 1, g::leaky_relu),
    row("LogSoftmaxGrad_13", 1, g::log_softmax),
    row("MaxPoolGrad", 1, pool::max_pool_grad),
    row("MultiHeadAttention", 1, heads::multi_head),
    row("QuickGelu", 1, e::swish),
    row("QuickGeluGrad", 1, g::quick_gelu),
    row("ReluGrad", 1, g::relu),
    row("RotaryEmbedding", 1, heads::rotary_embedding),
    row("Scale", 1, e::scale),
    row("SigmoidGrad", 1, g::sigmoid),
    row("SimplifiedLayerNormalization", 1, norm::rms_norm),
    row("SimplifiedLayerNormalizationGrad", 1, g::rms_norm),
    row("SinGrad", 1, g::sin),
    row("SkipLayerNormalization", 1, fused::skip_layer_norm),
    row("SkipSimplifiedLayerNormalization", 1, fused::skip_rms_norm),
    row("SliceGrad", 1, g::slice),
    row("SoftmaxCrossEntropyLossGrad", 1, g::cross_entropy),
    row("SoftmaxGrad_13", 1, g::softmax),
    row("SplitTraining", 1, l::split),
    row("TanhGrad", 1, g::tanh),
];

/// Training operators of ONNX itself.
static PREVIEW: &[Row] = &[
    row("Adagrad", 1, preview::adagrad),
    row("Adam", 1, preview::adam),
    row("Gradient", 1, preview::gradient),
    row("Momentum", 1, preview::momentum),
];

/// Operators that hold graphs, with the first opset that is understood; the walk over the graph
/// translates them.
static CONTROL: &[(&str, i64)] = &[("If", 1), ("Loop", 1), ("Scan", 8), ("SequenceMap", 17)];

/// Operators that are known and not translated: why, and the nearest way out.
static MISSING: &[(&str, &str, &str)] = &[
    (
        "NonMaxSuppression",
        LENGTH,
        "end the model before it (its scores and boxes) and select outside",
    ),
    ("StringConcat", STRINGS, OUTSIDE),
    ("StringNormalizer", STRINGS, OUTSIDE),
    ("StringSplit", STRINGS, OUTSIDE),
    ("RegexFullMatch", STRINGS, OUTSIDE),
    ("TfIdfVectorizer", STRINGS, OUTSIDE),
    ("ImageDecoder", "it decodes image files", OUTSIDE),
    ("Multinomial", "it is not implemented", "draw the samples outside and feed them as an input"),
    ("MaxRoiPool", "it is not implemented", "use RoiAlign with mode `max`"),
];

/// The same of ONNX Runtime's.
static MICROSOFT_MISSING: &[(&str, &str, &str)] =
    &[("GRUGrad", GRADIENT, DERIVE), ("LSTMGrad", GRADIENT, DERIVE)];

const GRADIENT: &str = "its gates are kept in a form of ONNX Runtime's own";
/// The way out of gradients in a form of ONNX Runtime's own.
pub(super) const DERIVE: &str =
    "keep the file's loss and let pamc derive the gradients: --gradients derive";
const STRINGS: &str = "it works on strings";
const OUTSIDE: &str = "do it before the model, and feed numbers";
const LENGTH: &str = "the length of its result is known only at run time";

fn domain(name: &str) -> Option<&'static [Row]> {
    match name {
        "" | "ai.onnx" => Some(ONNX),
        "ai.onnx.ml" => Some(ML),
        "ai.onnx.preview.training" => Some(PREVIEW),
        "com.microsoft" => Some(MICROSOFT),
        _ => None,
    }
}

/// The translation of an operator at an opset, or why there is none.
pub(in crate::onnx::import) fn find(
    domain_name: &str,
    op: &str,
    opset: i64,
) -> Result<&'static Row, Fault> {
    let Some(rows) = domain(domain_name) else {
        return Err(Fault::Unsupported(format!("the domain `{domain_name}` is unknown")));
    };
    let official = std::ptr::eq(rows, ONNX);
    let Some(row) = rows.iter().find(|r| r.op == op) else {
        let missing = match domain_name {
            "com.microsoft" => MICROSOFT_MISSING,
            _ if official => MISSING,
            _ => &[],
        };
        let known = missing.iter().find(|m| m.0 == op);
        return Err(match known {
            Some((_, reason, way_out)) => {
                Fault::Advised { reason: (*reason).into(), way_out: (*way_out).into() }
            }
            None => Fault::Unsupported("the operator is unknown".to_owned()),
        });
    };
    let last = if official { LAST_OPSET } else { i64::MAX };
    if (row.since..=last).contains(&opset) {
        return Ok(row);
    }
    let (reason, to) = match opset > last {
        true => (format!("opsets after {last} are unknown"), last),
        false => (format!("it is understood from opset {} on", row.since), row.since.max(7)),
    };
    let way_out = format!("export for opset {to}, or convert with onnx.version_converter");
    Err(Fault::Advised { reason, way_out })
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
    let control = |&(op, since): &(&'static str, i64)| OpSupport {
        domain: "",
        op,
        since,
        until: Some(LAST_OPSET),
    };
    let mut own: Vec<OpSupport> = list("", ONNX, Some(LAST_OPSET)).collect();
    own.extend(CONTROL.iter().map(control));
    own.sort_by_key(|o| o.op);
    own.into_iter()
        .chain(list("ai.onnx.ml", ML, None))
        .chain(list("ai.onnx.preview.training", PREVIEW, None))
        .chain(list("com.microsoft", MICROSOFT, None))
}
