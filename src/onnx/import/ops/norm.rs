//! Normalizations.

use pamc_passes::ir::{Attrs, DType};

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// Mean and variance over `axes`, which are kept.
fn moments(s: &mut Site, x: &Value, axes: &[usize]) -> Made<[Value; 2]> {
    let mean = s.b.mean(x, axes, true)?;
    let centred = s.b.sub(x, &mean)?;
    let square = s.b.mul(&centred, &centred)?;
    let variance = s.b.mean(&square, axes, true)?;
    Ok([mean, variance])
}

/// 1/√(x + ε).
fn inverse_root(s: &mut Site, x: &Value, epsilon: f32) -> Made {
    let x = s.b.add_const(x, epsilon)?;
    s.b.op("rsqrt", &[&x], Attrs::none())
}

/// A scale or shift with one value an element of the normalized axes.
pub(super) fn along(s: &mut Site, v: &Value, x: &Value, axis: usize) -> Made {
    let inner = s.b.shape(x).split_off(axis);
    s.b.expand(v, &inner)
}

/// Over all axes from `axis` on; further results are the mean and 1/σ of each row.
pub(in crate::onnx) fn layer_norm(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let epsilon = s.float("epsilon", 1e-5)?;
    s.ignore(&["stash_type"]);
    let rank = s.b.rank(&x);
    let axis = s.int("axis", -1)?;
    let axis = s.axis(axis, rank)?;
    let gamma = s.input(1)?;
    let mut operands = vec![x.clone(), along(s, &gamma, &x, axis)?];
    if let Some(beta) = s.opt(2) {
        operands.push(along(s, &beta, &x, axis)?);
    }
    let attrs = Attrs::none().with("eps", epsilon).with("axis", axis as i64);
    let mut out = vec![s.b.op("layer_norm", &operands.iter().collect::<Vec<_>>(), attrs)?];
    if s.wants(1) || s.wants(2) {
        let axes: Vec<usize> = (axis..rank).collect();
        let [mean, variance] = moments(s, &x, &axes)?;
        out.extend([mean, inverse_root(s, &variance, epsilon)?]);
    }
    Ok(out)
}

/// Like [`layer_norm`] with no mean; the further result is 1/rms of each row.
pub(in crate::onnx) fn rms_norm(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let epsilon = s.float("epsilon", 1e-5)?;
    s.ignore(&["stash_type"]);
    let rank = s.b.rank(&x);
    let axis = s.int("axis", -1)?;
    let axis = s.axis(axis, rank)?;
    let gamma = s.input(1)?;
    let gamma = along(s, &gamma, &x, axis)?;
    let attrs = Attrs::none().with("eps", epsilon).with("axis", axis as i64);
    let mut out = vec![s.b.op("rms_norm", &[&x, &gamma], attrs)?];
    if s.wants(1) {
        let square = s.b.mul(&x, &x)?;
        let mean = s.b.mean(&square, &(axis..rank).collect::<Vec<_>>(), true)?;
        out.push(inverse_root(s, &mean, epsilon)?);
    }
    Ok(out)
}

/// Normalized by the batch's own statistics; further results are the updated running ones and
/// the batch's mean and 1/σ.
fn batch_statistics(s: &mut Site) -> Out {
    let (x, gamma, beta) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let (epsilon, momentum) = (s.float("epsilon", 1e-5)?, s.float("momentum", 0.9)?);
    let shape = s.b.shape(&x);
    let Some(&channels) = shape.get(1) else { return invalid("the operand has no channels") };
    let axes: Vec<usize> = (0..shape.len()).filter(|&i| i != 1).collect();
    let [mean, variance] = moments(s, &x, &axes)?;
    let mean = s.b.reshape(&mean, &[channels])?;
    let variance = s.b.reshape(&variance, &[channels])?;
    let attrs = Attrs::none().with("eps", epsilon);
    let mut out = vec![s.b.op("batch_norm", &[&x, &gamma, &beta, &mean, &variance], attrs)?];
    for (operand, new) in [(3, &mean), (4, &variance)] {
        let running = s.input(operand)?;
        let old = s.b.mul_const(&running, momentum)?;
        let new = s.b.mul_const(new, 1.0 - momentum)?;
        out.push(s.b.add(&old, &new)?);
    }
    let r = inverse_root(s, &variance, epsilon)?;
    out.extend([mean, r]);
    Ok(out)
}

pub(in crate::onnx) fn batch_norm(s: &mut Site) -> Out {
    if !s.flag("spatial", true)? {
        return unsupported("statistics for each position");
    }
    if s.flag("training_mode", false)? {
        let mut out = batch_statistics(s)?;
        out.truncate(3);
        return Ok(out);
    }
    s.ignore(&["momentum"]);
    let operands = (0..5).map(|i| s.input(i)).collect::<Made<Vec<_>>>()?;
    let attrs = Attrs::none().with("eps", s.float("epsilon", 1e-5)?);
    Ok(vec![s.b.op("batch_norm", &operands.iter().collect::<Vec<_>>(), attrs)?])
}

/// com.microsoft.BatchNormInternal: batch normalization in training mode that also gives the
/// batch's mean and 1/σ.
pub(in crate::onnx) fn batch_norm_internal(s: &mut Site) -> Out {
    s.ignore(&["training_mode"]);
    batch_statistics(s)
}

/// x ÷ (bias + α/size · Σ x²)^β, the sum over the neighbouring channels.
pub(in crate::onnx) fn lrn(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let (alpha, beta) = (s.float("alpha", 1e-4)?, s.float("beta", 0.75)?);
    let (bias, size) = (s.float("bias", 1.0)?, s.int("size", 0)?);
    let Some(size) = usize::try_from(size).ok().filter(|n| (1..1 << 12).contains(n)) else {
        return invalid(format!("a neighbourhood of {size}"));
    };
    let shape = s.b.shape(&x);
    let Some(&channels) = shape.get(1) else { return invalid("the operand has no channels") };
    let square = s.b.mul(&x, &x)?;
    let (before, after) = ((size - 1) / 2, size / 2);
    let (mut lo, mut hi) = (vec![0i64; shape.len()], vec![0i64; shape.len()]);
    (lo[1], hi[1]) = (before as i64, after as i64);
    let attrs = Attrs::none().with("lo", lo).with("hi", hi);
    let attrs = attrs.with("interior", vec![0; shape.len()]).with("value", 0f32);
    let padded = s.b.op("pad", &[&square], attrs)?;
    let mut total = s.b.slice(&padded, 1, 0, channels)?;
    for i in 1..size {
        let part = s.b.slice(&padded, 1, i, channels)?;
        total = s.b.add(&total, &part)?;
    }
    let total = s.b.mul_const(&total, alpha / size as f32)?;
    let total = s.b.add_const(&total, bias)?;
    let beta = s.b.scalar(beta);
    let power = s.b.op("pow", &[&total, &beta], Attrs::none())?;
    Ok(vec![s.b.div(&x, &power)?])
}

/// x ÷ its norm along an axis.
pub(in crate::onnx) fn lp_norm(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let axis = s.int("axis", -1)?;
    let axis = s.axis(axis, s.b.rank(&x))?;
    let norm = match s.int("p", 2)? {
        1 => {
            let size = s.b.op("abs", &[&x], Attrs::none())?;
            s.b.sum(&size, &[axis], true)?
        }
        2 => {
            let square = s.b.mul(&x, &x)?;
            let total = s.b.sum(&square, &[axis], true)?;
            s.b.sqrt(&total)?
        }
        p => return unsupported(format!("the norm of order {p}")),
    };
    Ok(vec![s.b.div(&x, &norm)?])
}

/// (x − mean) ÷ (σ + 10⁻⁹) over axes.
pub(in crate::onnx) fn mean_variance(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let axes = s.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = s.axes(&axes, s.b.rank(&x))?;
    let x = s.b.cast(&x, DType::F32)?;
    let mean = s.b.mean(&x, &axes, true)?;
    let centred = s.b.sub(&x, &mean)?;
    let square = s.b.mul(&centred, &centred)?;
    let variance = s.b.mean(&square, &axes, true)?;
    let root = s.b.sqrt(&variance)?;
    let root = s.b.add_const(&root, 1e-9)?;
    Ok(vec![s.b.div(&centred, &root)?])
}

pub(in crate::onnx) fn instance_norm(s: &mut Site) -> Out {
    let (x, gamma, beta) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let attrs = Attrs::none().with("eps", s.float("epsilon", 1e-5)?);
    Ok(vec![s.b.op("instance_norm", &[&x, &gamma, &beta], attrs)?])
}

/// Scale and shift belong to groups up to opset 20, to channels from 21 on.
pub(in crate::onnx) fn group_norm(s: &mut Site) -> Out {
    let (x, mut gamma, mut beta) = (s.input(0)?, s.input(1)?, s.input(2)?);
    s.ignore(&["stash_type"]);
    let groups = s.int("num_groups", 0)?;
    let channels = s.b.shape(&x).get(1).copied().unwrap_or(0);
    let count = usize::try_from(groups).ok().filter(|&g| g > 0 && channels.is_multiple_of(g));
    let Some(count) = count else {
        return invalid(format!("{channels} channels in {groups} groups"));
    };
    if s.opset < 21 {
        for v in [&mut gamma, &mut beta] {
            let column = s.b.reshape(v, &[count, 1])?;
            let wide = s.b.expand(&column, &[count, channels / count])?;
            *v = s.b.reshape(&wide, &[channels])?;
        }
    }
    let attrs = Attrs::none().with("eps", s.float("epsilon", 1e-5)?).with("groups", groups);
    Ok(vec![s.b.op("group_norm", &[&x, &gamma, &beta], attrs)?])
}
