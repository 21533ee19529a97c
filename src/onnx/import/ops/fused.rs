//! Several operators in one, as ONNX Runtime's optimizer writes them (`com.microsoft`).

use pamc_passes::ir::{Attrs, DType};

use super::contract::gemm;
use super::conv::conv_of;
use super::norm::along;
use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// Normalization of the last axis of a sum; operands from `first` on are scale and shift, and the
/// results are that, nothing twice, and the sum.
fn normalized(s: &mut Site, sum: Value, gamma: Value, beta: Option<Value>, row: &str) -> Out {
    let epsilon = s.float("epsilon", 1e-12)?;
    let Some(axis) = s.b.rank(&sum).checked_sub(1) else { return invalid("a scalar operand") };
    if s.wants(1) || s.wants(2) {
        return unsupported("its mean or deviation as a result");
    }
    let mut operands = vec![sum.clone(), along(s, &gamma, &sum, axis)?];
    if let Some(beta) = beta {
        operands.push(along(s, &beta, &sum, axis)?);
    }
    let attrs = Attrs::none().with("eps", epsilon).with("axis", axis as i64);
    let y = s.b.op(row, &operands.iter().collect::<Vec<_>>(), attrs)?;
    Ok(vec![y, sum.clone(), sum.clone(), sum])
}

/// x + skip, and a bias where there is one.
fn skipped(s: &mut Site, bias: usize) -> Made {
    let (x, skip) = (s.input(0)?, s.input(1)?);
    let sum = s.b.add(&x, &skip)?;
    match s.opt(bias) {
        Some(bias) => s.b.add(&sum, &bias),
        None => Ok(sum),
    }
}

/// SkipLayerNormalization: operands x, skip, scale, shift, bias.
pub(in crate::onnx) fn skip_layer_norm(s: &mut Site) -> Out {
    let (sum, gamma, beta) = (skipped(s, 4)?, s.input(2)?, s.opt(3));
    normalized(s, sum, gamma, beta, "layer_norm")
}

/// SkipSimplifiedLayerNormalization: operands x, skip, scale, bias.
pub(in crate::onnx) fn skip_rms_norm(s: &mut Site) -> Out {
    let (sum, gamma) = (skipped(s, 3)?, s.input(2)?);
    normalized(s, sum, gamma, None, "rms_norm")
}

/// EmbedLayerNormalization: word, position and segment embeddings, added and normalized; operands
/// ids, segments, the three tables, scale, shift, mask, positions. Results: that, the number of
/// positions that the mask leaves in each sample, the sum.
pub(in crate::onnx) fn embed_layer_norm(s: &mut Site) -> Out {
    s.ignore(&["mask_index_type"]);
    let ids = s.input(0)?;
    let [n, len] = s.b.shape(&ids)[..] else { return invalid("ids of a wrong rank") };
    let (words, places) = (s.input(2)?, s.input(3)?);
    let words = s.b.gather(&words, &ids, 0)?;
    let places = match s.opt(8) {
        Some(at) => s.b.gather(&places, &at, 0)?,
        None if s.b.shape(&places).first().is_some_and(|&rows| rows >= len) => {
            s.b.slice(&places, 0, 0, len)?
        }
        None => return invalid("more positions than there are embeddings"),
    };
    let mut sum = s.b.add(&words, &places)?;
    if let (Some(segments), Some(table)) = (s.opt(1), s.opt(4)) {
        let segments = s.b.gather(&table, &segments, 0)?;
        sum = s.b.add(&sum, &segments)?;
    }
    let (gamma, beta) = (s.input(5)?, s.input(6)?);
    let epsilon = s.float("epsilon", 1e-12)?;
    let (gamma, beta) = (along(s, &gamma, &sum, 2)?, along(s, &beta, &sum, 2)?);
    let attrs = Attrs::none().with("eps", epsilon).with("axis", 2i64);
    let y = s.b.op("layer_norm", &[&sum, &gamma, &beta], attrs)?;
    let count = match s.opt(7) {
        Some(mask) => {
            let mask = s.b.cast(&mask, DType::I32)?;
            s.b.sum(&mask, &[1], false)?
        }
        None => {
            let zero = s.b.ramp(DType::I32, &[1])?;
            s.b.expand(&zero, &[n])?
        }
    };
    Ok(vec![y, count, sum])
}

/// The activation that attributes name, with its numbers in the order of its attributes.
fn activated(s: &mut Site, x: &Value, name: &str, given: &[f32]) -> Made {
    let number = |i: usize, default: f32| given.get(i).copied().unwrap_or(default);
    let with = |s: &mut Site, row: &str, attrs| s.b.op(row, &[x], attrs);
    match name {
        "" => Ok(x.clone()),
        "Relu" => with(s, "relu", Attrs::none()),
        "Tanh" => with(s, "tanh", Attrs::none()),
        "Sigmoid" => with(s, "sigmoid", Attrs::none()),
        "LeakyRelu" => with(s, "leaky_relu", Attrs::none().with("alpha", number(0, 0.01))),
        "HardSigmoid" => {
            let attrs = Attrs::none().with("alpha", number(0, 0.2)).with("beta", number(1, 0.5));
            with(s, "hard_sigmoid", attrs)
        }
        "Clip" => {
            let (low, high) = (s.b.scalar(number(0, f32::MIN)), s.b.scalar(number(1, f32::MAX)));
            let y = s.b.max(x, &low)?;
            s.b.op("min", &[&y, &high], Attrs::none())
        }
        other => unsupported(format!("the activation `{other}`")),
    }
}

/// FusedGemm: Gemm, then an activation.
pub(in crate::onnx) fn fused_gemm(s: &mut Site) -> Out {
    let y = gemm(s)?.swap_remove(0);
    let name = s.text("activation", "")?.to_owned();
    let numbers = ["activation_alpha", "activation_beta", "activation_gamma"];
    let given =
        numbers.iter().map_while(|n| s.opt_float(n).transpose()).collect::<Made<Vec<_>>>()?;
    Ok(vec![activated(s, &y, &name, &given)?])
}

/// FusedConv: Conv, a fourth operand added, then an activation.
pub(in crate::onnx) fn fused_conv(s: &mut Site) -> Out {
    let (x, w, bias) = (s.input(0)?, s.input(1)?, s.opt(2));
    let mut y = conv_of(s, &x, &w, bias)?;
    if let Some(z) = s.opt(3) {
        y = s.b.add(&y, &z)?;
    }
    let name = s.text("activation", "")?.to_owned();
    let given = s.floats("activation_params")?.unwrap_or_default();
    Ok(vec![activated(s, &y, &name, &given)?])
}
