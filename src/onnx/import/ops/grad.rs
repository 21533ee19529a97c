//! Gradient operators of ONNX Runtime training (`com.microsoft`), in terms of forward ones.

use pamc_passes::ir::{Attrs, DType};

use super::layout::sizes;
use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, invalid, unsupported};

type Out = Made<Vec<Value>>;

const SQRT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// 1 / √(2π).
const NORMAL: f32 = 0.398_942_3;
/// √(2/π), the scale inside tanh-GELU.
const TANH_SCALE: f32 = 0.797_884_6;
const TANH_CUBE: f32 = 0.044_715;

/// ReluGrad: the gradient where the input, or the output, is positive.
pub(in crate::onnx) fn relu(s: &mut Site) -> Out {
    let (g, x) = (s.input(0)?, s.input(1)?);
    let zero = s.b.scalar(0.0);
    let positive = s.b.gt(&x, &zero)?;
    Ok(vec![s.b.select(&positive, &g, &zero)?])
}

/// LeakyReluGrad, from the output, whose sign is the input's.
pub(in crate::onnx) fn leaky_relu(s: &mut Site) -> Out {
    let (g, y, alpha) = (s.input(0)?, s.input(1)?, s.float("alpha", 0.01)?);
    let zero = s.b.scalar(0.0);
    let (positive, scaled) = (s.b.gt(&y, &zero)?, s.b.mul_const(&g, alpha)?);
    Ok(vec![s.b.select(&positive, &g, &scaled)?])
}

/// EluGrad, from the output: g where it is positive, else g (y + α).
pub(in crate::onnx) fn elu(s: &mut Site) -> Out {
    let (g, y, alpha) = (s.input(0)?, s.input(1)?, s.float("alpha", 1.0)?);
    let zero = s.b.scalar(0.0);
    let positive = s.b.gt(&y, &zero)?;
    let slope = s.b.add_const(&y, alpha)?;
    let bent = s.b.mul(&g, &slope)?;
    Ok(vec![s.b.select(&positive, &g, &bent)?])
}

/// SinGrad: g cos x.
pub(in crate::onnx) fn sin(s: &mut Site) -> Out {
    let (g, x) = (s.input(0)?, s.input(1)?);
    let slope = s.b.op("cos", &[&x], Attrs::none())?;
    Ok(vec![s.b.mul(&g, &slope)?])
}

/// 1 − x.
fn complement(s: &mut Site, x: &Value) -> Made {
    let one = s.b.scalar(1.0);
    s.b.sub(&one, x)
}

/// TanhGrad, from the output: g (1 − y²).
pub(in crate::onnx) fn tanh(s: &mut Site) -> Out {
    let (g, y) = (s.input(0)?, s.input(1)?);
    let square = s.b.mul(&y, &y)?;
    let slope = complement(s, &square)?;
    Ok(vec![s.b.mul(&g, &slope)?])
}

/// SigmoidGrad, from the output: g y (1 − y).
pub(in crate::onnx) fn sigmoid(s: &mut Site) -> Out {
    let (g, y) = (s.input(0)?, s.input(1)?);
    let rest = complement(s, &y)?;
    let slope = s.b.mul(&y, &rest)?;
    Ok(vec![s.b.mul(&g, &slope)?])
}

/// DivGrad: operands g, a, b; results g ⊘ b and −((g ⊙ (a ⊘ b)) ⊘ b), summed where an operand was
/// broadcast.
pub(in crate::onnx) fn div(s: &mut Site) -> Out {
    let (g, a, b) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let da = s.b.div(&g, &b)?;
    let da = unbroadcast(s, &da, &a)?;
    let quotient = s.b.div(&a, &b)?;
    let db = s.b.mul(&g, &quotient)?;
    let db = s.b.div(&db, &b)?;
    let db = s.b.op("neg", &[&db], Attrs::none())?;
    let db = unbroadcast(s, &db, &b)?;
    Ok(vec![da, db])
}

/// Sums `g` over the axes along which `of` was broadcast to its shape.
fn unbroadcast(s: &mut Site, g: &Value, of: &Value) -> Made {
    let (from, to) = (s.b.shape(g), s.b.shape(of));
    let lead = from.len().saturating_sub(to.len());
    let wide = |i: &usize| *i < lead || (to[i - lead] == 1 && from[*i] != 1);
    let axes: Vec<usize> = (0..from.len()).filter(wide).collect();
    let sum = s.b.sum(g, &axes, true)?;
    s.b.reshape(&sum, &to)
}

/// GeluGrad and BiasGeluGrad_dX: g (Φ(x) + x φ(x)); x may have a bias to add.
pub(in crate::onnx) fn gelu(s: &mut Site) -> Out {
    let (g, mut x) = (s.input(0)?, s.input(1)?);
    if let Some(bias) = s.opt(2) {
        x = s.b.add(&x, &bias)?;
    }
    let z = s.b.mul_const(&x, SQRT_HALF)?;
    let erf = s.b.erf(&z)?;
    let cdf = s.b.add_const(&erf, 1.0)?;
    let cdf = s.b.mul_const(&cdf, 0.5)?;
    let square = s.b.mul(&x, &x)?;
    let exponent = s.b.mul_const(&square, -0.5)?;
    let bell = s.b.exp(&exponent)?;
    let density = s.b.mul_const(&bell, NORMAL)?;
    let tail = s.b.mul(&x, &density)?;
    let slope = s.b.add(&cdf, &tail)?;
    Ok(vec![s.b.mul(&g, &slope)?])
}

/// FastGeluGrad and BiasFastGeluGrad_dX: with t = tanh(a (x + b x³)), g (½ (1 + t) + ½ x (1 − t²) a (1 + 3 b x²)).
pub(in crate::onnx) fn fast_gelu(s: &mut Site) -> Out {
    let (g, mut x) = (s.input(0)?, s.input(1)?);
    if let Some(bias) = s.opt(2) {
        x = s.b.add(&x, &bias)?;
    }
    let square = s.b.mul(&x, &x)?;
    let cube = s.b.mul(&square, &x)?;
    let bend = s.b.mul_const(&cube, TANH_CUBE)?;
    let inner = s.b.add(&x, &bend)?;
    let inner = s.b.mul_const(&inner, TANH_SCALE)?;
    let t = s.b.tanh(&inner)?;
    let left = s.b.add_const(&t, 1.0)?;
    let left = s.b.mul_const(&left, 0.5)?;
    let t2 = s.b.mul(&t, &t)?;
    let sech2 = complement(s, &t2)?;
    let inner_slope = s.b.mul_const(&square, 3.0 * TANH_CUBE)?;
    let inner_slope = s.b.add_const(&inner_slope, 1.0)?;
    let inner_slope = s.b.mul_const(&inner_slope, 0.5 * TANH_SCALE)?;
    let right = s.b.mul(&x, &sech2)?;
    let right = s.b.mul(&right, &inner_slope)?;
    let slope = s.b.add(&left, &right)?;
    Ok(vec![s.b.mul(&g, &slope)?])
}

/// QuickGeluGrad: with σ = sigmoid(αx), g σ (1 + αx (1 − σ)).
pub(in crate::onnx) fn quick_gelu(s: &mut Site) -> Out {
    let (g, x, alpha) = (s.input(0)?, s.input(1)?, s.float("alpha", 1.702)?);
    let z = s.b.mul_const(&x, alpha)?;
    let gate = s.b.sigmoid(&z)?;
    let rest = complement(s, &gate)?;
    let bend = s.b.mul(&z, &rest)?;
    let bend = s.b.add_const(&bend, 1.0)?;
    let slope = s.b.mul(&gate, &bend)?;
    Ok(vec![s.b.mul(&g, &slope)?])
}

/// SoftmaxGrad_13, from the output: y (g − Σ g y).
pub(in crate::onnx) fn softmax(s: &mut Site) -> Out {
    let (g, y) = (s.input(0)?, s.input(1)?);
    let axis = s.int("axis", -1)?;
    let axis = s.axis(axis, s.b.rank(&y))?;
    let weighted = s.b.mul(&g, &y)?;
    let total = s.b.sum(&weighted, &[axis], true)?;
    let centred = s.b.sub(&g, &total)?;
    Ok(vec![s.b.mul(&y, &centred)?])
}

/// LogSoftmaxGrad_13, from the output: g − eʸ Σ g.
pub(in crate::onnx) fn log_softmax(s: &mut Site) -> Out {
    let (g, y) = (s.input(0)?, s.input(1)?);
    let axis = s.int("axis", -1)?;
    let axis = s.axis(axis, s.b.rank(&y))?;
    let total = s.b.sum(&g, &[axis], true)?;
    let probability = s.b.exp(&y)?;
    let shared = s.b.mul(&probability, &total)?;
    Ok(vec![s.b.sub(&g, &shared)?])
}

/// The gradient of (x − μ) · r over `axes`, given x̂ and what reaches it:
/// r (g − mean g − x̂ mean(g x̂)); without `centred` the first mean is left out.
fn standardize(
    s: &mut Site,
    g: &Value,
    x_hat: &Value,
    r: &Value,
    axes: &[usize],
    centred: bool,
) -> Made {
    let weighted = s.b.mul(g, x_hat)?;
    let weighted = s.b.mean(&weighted, axes, true)?;
    let mut rest = g.clone();
    if centred {
        let mean = s.b.mean(g, axes, true)?;
        rest = s.b.sub(&rest, &mean)?;
    }
    let along = s.b.mul(x_hat, &weighted)?;
    rest = s.b.sub(&rest, &along)?;
    s.b.mul(&rest, r)
}

/// LayerNormalizationGrad: operands g, x, γ, mean, 1/σ; results for x, γ and β.
pub(in crate::onnx) fn layer_norm(s: &mut Site) -> Out {
    let (mean, r) = (s.input(3)?, s.input(4)?);
    normalization(s, Some(&mean), &r)
}

/// SimplifiedLayerNormalizationGrad: operands g, x, γ, 1/rms; results for x and γ.
pub(in crate::onnx) fn rms_norm(s: &mut Site) -> Out {
    let r = s.input(3)?;
    normalization(s, None, &r)
}

fn normalization(s: &mut Site, mean: Option<&Value>, r: &Value) -> Out {
    let (g, x, gamma) = (s.input(0)?, s.input(1)?, s.input(2)?);
    s.ignore(&["stash_type", "epsilon"]);
    let rank = s.b.rank(&x);
    let axis = s.int("axis", -1)?;
    let axis = s.axis(axis, rank)?;
    let (outer, inner): (Vec<usize>, Vec<usize>) = (0..rank).partition(|&i| i < axis);
    let centred = mean.map_or(Ok(x.clone()), |mean| s.b.sub(&x, mean))?;
    let x_hat = s.b.mul(&centred, r)?;
    let reaching = s.b.mul(&g, &gamma)?;
    let dx = standardize(s, &reaching, &x_hat, r, &inner, mean.is_some())?;
    let dgamma = s.b.mul(&g, &x_hat)?;
    let dgamma = s.b.sum(&dgamma, &outer, false)?;
    let dbeta = s.b.sum(&g, &outer, false)?;
    Ok(vec![dx, dgamma, dbeta])
}

/// BatchNormalizationGrad: operands g, x, γ, mean, 1/σ of the batch; results for x, γ and β.
pub(in crate::onnx) fn batch_norm(s: &mut Site) -> Out {
    let (g, x, gamma) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let (mean, r) = (s.input(3)?, s.input(4)?);
    s.ignore(&["epsilon", "momentum"]);
    let shape = s.b.shape(&x);
    if shape.len() < 2 {
        return invalid("the operand has no channels");
    }
    let axes: Vec<usize> = (0..shape.len()).filter(|&i| i != 1).collect();
    let mut per_channel = vec![1; shape.len()];
    per_channel[1] = shape[1];
    let mean = s.b.reshape(&mean, &per_channel)?;
    let r = s.b.reshape(&r, &per_channel)?;
    let gamma = s.b.reshape(&gamma, &per_channel)?;
    let centred = s.b.sub(&x, &mean)?;
    let x_hat = s.b.mul(&centred, &r)?;
    let reaching = s.b.mul(&g, &gamma)?;
    let dx = standardize(s, &reaching, &x_hat, &r, &axes, true)?;
    let dgamma = s.b.mul(&g, &x_hat)?;
    let dgamma = s.b.sum(&dgamma, &axes, false)?;
    let dbeta = s.b.sum(&g, &axes, false)?;
    Ok(vec![dx, dgamma, dbeta])
}

/// GatherGrad: each row of the gradient added to the slot its index names.
pub(in crate::onnx) fn gather(s: &mut Site) -> Out {
    let Some(shape) = s.const_ints(0, "shape")? else { return invalid("no shape is given") };
    let (index, g) = (s.input(1)?, s.input(2)?);
    let shape = sizes(&shape)?;
    let axis = s.int("axis", 0)?;
    let axis = s.axis(axis, shape.len())?;
    let attrs = Attrs::none().with("axis", axis as i64).with("size", shape[axis] as i64);
    Ok(vec![s.b.op("scatter_add", &[&index, &g], attrs)?])
}

/// SliceGrad: the gradient at the places that the slice took, zeros elsewhere. Operands: g, the
/// shape of what was sliced, then as Slice.
pub(in crate::onnx) fn slice(s: &mut Site) -> Out {
    let g = s.input(0)?;
    let Some(shape) = s.const_ints(1, "shape")? else { return invalid("no shape is given") };
    let shape = sizes(&shape)?;
    let cut = super::layout::slice_operands(s, 2, &shape)?;
    if s.b.shape(&g) != cut.sizes {
        return invalid(format!("the gradient is {}, the slice {:?}", s.b.ty(&g), cut.sizes));
    }
    let rank = shape.len();
    let mut flips = vec![1i64; rank];
    let (mut lo, mut hi, mut interior) = (vec![0i64; rank], vec![0i64; rank], vec![0i64; rank]);
    for axis in 0..rank {
        let (step, len) = (cut.steps[axis], cut.sizes[axis] as i64);
        let reach = (len - 1).max(0) * step;
        flips[axis] = step.signum();
        lo[axis] = cut.starts[axis] + reach.min(0);
        interior[axis] = step.abs() - 1;
        hi[axis] = shape[axis] as i64 - lo[axis] - if len == 0 { 0 } else { reach.abs() + 1 };
    }
    let ends = cut.sizes.iter().zip(&flips);
    let starts: Vec<i64> = ends.map(|(&n, &f)| if f < 0 { n as i64 - 1 } else { 0 }).collect();
    let g = s.b.slice_by(&g, &starts, &cut.sizes, Some(&flips))?;
    let attrs = Attrs::none().with("lo", lo).with("hi", hi).with("interior", interior);
    Ok(vec![s.b.op("pad", &[&g], attrs.with("value", 0f32))?])
}

/// DropoutGrad: the gradient where the mask is set, scaled as the kept elements were.
pub(in crate::onnx) fn dropout(s: &mut Site) -> Out {
    let (g, mask) = (s.input(0)?, s.input(1)?);
    let ratio = s.const_float(2, "ratio")?.unwrap_or(0.5);
    let training = s.constant(3, "training_mode")?.and_then(|t| t.item::<bool>());
    if training == Some(false) || ratio == 0.0 {
        return Ok(vec![g]);
    }
    let zero = s.b.scalar(0.0);
    let scaled = s.b.mul_const(&g, 1.0 / (1.0 - ratio))?;
    Ok(vec![s.b.select(&mask, &scaled, &zero)?])
}

/// SoftmaxCrossEntropyLossGrad, from the log-probabilities: g w (p − onehot), over the total
/// weight if the loss was a mean. Operands: g, log p `[N, C, …]`, labels `[N, …]`, weights of
/// the classes.
pub(in crate::onnx) fn cross_entropy(s: &mut Site) -> Out {
    let (g, log_p, labels) = (s.input(0)?, s.input(1)?, s.input(2)?);
    s.ignore(&["output_type"]);
    if s.opt(4).is_some() {
        return unsupported("a bias added to the gradient");
    }
    let mean = match s.text("reduction", "mean")? {
        "mean" => true,
        "sum" | "none" => false,
        other => return unsupported(format!("reduction `{other}`")),
    };
    let per_item = s.text("reduction", "mean")? == "none";
    let shape = s.b.shape(&log_p);
    let Some(&classes) = shape.get(1) else { return invalid("the scores have no classes") };
    let p = s.b.exp(&log_p)?;
    let on = s.b.one_hot(&labels, classes, 1)?;
    let on = s.b.cast(&on, DType::F32)?;
    let mut d = s.b.sub(&p, &on)?;
    let weight = super::loss::item_weights(s, &labels, classes, 3)?;
    let mut g = g;
    if mean {
        let total = super::loss::total_weight(s, &labels, weight.as_ref())?;
        g = s.b.div(&g, &total)?;
    }
    if let Some(weight) = weight {
        g = s.b.mul(&g, &weight)?;
    }
    if per_item || s.b.rank(&g) > 0 {
        let mut wide = s.b.shape(&g);
        if wide.len() > 1 || wide.first().is_some_and(|&n| n != 1) {
            wide.insert(1, 1);
            g = s.b.reshape(&g, &wide)?;
        }
    }
    d = s.b.mul(&d, &g)?;
    Ok(vec![s.b.expand(&d, &shape)?])
}

/// InPlaceAccumulatorV2: the gradient buffer plus the gradient, or the gradient alone if the
/// buffer is to be reset. The file's result is a flag and the buffer changes in place; here the
/// result is the buffer's new content.
pub(in crate::onnx) fn accumulate(s: &mut Site) -> Out {
    let (buffer, g) = (s.input(0)?, s.input(1)?);
    let Some(reset) = s.opt(2) else { return Ok(vec![s.b.add(&buffer, &g)?]) };
    if let Value::Const(t) = &reset
        && t.item::<bool>() == Some(true)
    {
        return Ok(vec![g]);
    }
    let sum = s.b.add(&buffer, &g)?;
    Ok(vec![s.b.select(&reset, &g, &sum)?])
}
