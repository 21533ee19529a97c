//! Losses.

use pamc_passes::ir::{Attrs, DType, Tensor};

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, invalid};

type Out = Made<Vec<Value>>;

/// The weight of each label: its class's, and 0 for the ignored one; `None` where all are 1.
pub(super) fn item_weights(
    s: &mut Site,
    labels: &Value,
    classes: usize,
    operand: usize,
) -> Made<Option<Value>> {
    let ignored = s.opt_int("ignore_index")?;
    let mut weight = match s.opt(operand) {
        None => None,
        Some(w) if s.b.shape(&w) == [classes] => Some(s.b.gather(&w, labels, 0)?),
        Some(w) => return invalid(format!("{} weights for {classes} classes", s.b.ty(&w))),
    };
    if let Some(ignored) = ignored {
        let label = match s.b.dtype(labels) {
            DType::I32 => Tensor::scalar(ignored as i32),
            _ => Tensor::scalar(ignored),
        };
        let skip = s.b.eq(labels, &Value::Const(label))?;
        let (zero, one) = (s.b.scalar(0.0), s.b.scalar(1.0));
        weight = Some(s.b.select(&skip, &zero, &weight.unwrap_or(one))?);
    }
    Ok(weight)
}

/// What a mean loss is divided by.
pub(super) fn total_weight(s: &mut Site, labels: &Value, weight: Option<&Value>) -> Made {
    match weight {
        None => {
            let n = s.b.ty(labels).len();
            Ok(s.b.scalar(n as f32))
        }
        Some(w) => {
            let axes: Vec<usize> = (0..s.b.rank(w)).collect();
            s.b.sum(w, &axes, false)
        }
    }
}

/// Attributes of a classification loss with its classes along axis 1.
fn class_attrs(s: &Site) -> Made<Attrs> {
    let reduction = s.text("reduction", "mean")?;
    let attrs = Attrs::none().with("axis", 1i64).with("reduction", reduction);
    Ok(match s.opt_int("ignore_index")? {
        Some(ignored) => attrs.with("ignore_index", ignored),
        None => attrs,
    })
}

fn loss(s: &mut Site, name: &str) -> Made {
    let mut operands = vec![s.input(0)?, s.input(1)?];
    operands.extend(s.opt(2));
    let attrs = class_attrs(s)?;
    s.b.op(name, &operands.iter().collect::<Vec<_>>(), attrs)
}

pub(in crate::onnx) fn negative_log_likelihood(s: &mut Site) -> Out {
    Ok(vec![loss(s, "nll_loss")?])
}

/// The loss, and the log-probabilities if they are asked for.
pub(in crate::onnx) fn cross_entropy(s: &mut Site) -> Out {
    s.ignore(&["output_type"]);
    let mut out = vec![loss(s, "cross_entropy")?];
    if s.wants(1) {
        let scores = s.input(0)?;
        let attrs = Attrs::none().with("axis", 1i64);
        out.push(s.b.op("log_softmax", &[&scores], attrs)?);
    }
    Ok(out)
}
