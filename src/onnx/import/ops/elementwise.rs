//! Operators that work element by element.

use pamc_passes::ir::{Attrs, DType, Tensor};

use crate::onnx::import::SeededDropout;
use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Build, Fault, Made, Value, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// An operator that is one row of the op table, operand for operand.
pub(in crate::onnx) fn row<const N: usize>(s: &mut Site, name: &str) -> Out {
    let operands = (0..N).map(|i| s.input(i)).collect::<Made<Vec<_>>>()?;
    align(s)?;
    let y = s.b.op(name, &operands.iter().collect::<Vec<_>>(), Attrs::none())?;
    // What may leave the range of a narrow integer.
    let wraps = matches!(name, "add" | "sub" | "neg" | "not" | "abs");
    Ok(vec![if wraps { s.b.wrapped(&y, s.elem(0))? } else { y }])
}

macro_rules! rows {
    ($($name:ident = $n:literal $row:literal),* $(,)?) => {$(
        pub(in crate::onnx) fn $name(s: &mut Site) -> Out {
            row::<$n>(s, $row)
        }
    )*};
}

rows! {
    abs = 1 "abs", ceil = 1 "ceil", neg = 1 "neg", floor = 1 "floor", round = 1 "round",
    sign = 1 "sign",
    exp = 1 "exp", log = 1 "log", sqrt = 1 "sqrt", reciprocal = 1 "reciprocal",
    sigmoid = 1 "sigmoid", tanh = 1 "tanh", erf = 1 "erf", relu = 1 "relu",
    softplus = 1 "softplus", sin = 1 "sin", cos = 1 "cos", tan = 1 "tan",
    asin = 1 "asin", acos = 1 "acos", atan = 1 "atan", sinh = 1 "sinh", cosh = 1 "cosh",
    asinh = 1 "asinh", acosh = 1 "acosh", atanh = 1 "atanh", not = 1 "not",
    hard_swish = 1 "hard_swish", mish = 1 "mish", prelu = 2 "prelu",
    add = 2 "add", sub = 2 "sub",
    and = 2 "and", or = 2 "or", xor = 2 "xor",
    equal = 2 "eq", less = 2 "lt", greater = 2 "gt", less_equal = 2 "le", greater_equal = 2 "ge",
}

/// Before opset 7, operands were broadcast only where an attribute said so.
fn align(s: &Site) -> Made<()> {
    if s.int("broadcast", 0)? != 0 { unsupported("the attribute `broadcast`") } else { Ok(()) }
}

pub(in crate::onnx) fn mul(s: &mut Site) -> Out {
    let (a, b) = (s.input(0)?, s.input(1)?);
    let y = s.b.mul(&a, &b)?;
    Ok(vec![s.b.wrapped(&y, s.elem(0))?])
}

pub(in crate::onnx) fn div(s: &mut Site) -> Out {
    let (a, b) = (s.input(0)?, s.input(1)?);
    Ok(vec![s.b.div(&a, &b)?])
}

pub(in crate::onnx) fn modulo(s: &mut Site) -> Out {
    let (a, b) = (s.input(0)?, s.input(1)?);
    let name = if s.flag("fmod", false)? { "fmod" } else { "mod" };
    Ok(vec![s.b.arithmetic(name, &a, &b)?])
}

pub(in crate::onnx) fn pow(s: &mut Site) -> Out {
    let (x, p) = (s.input(0)?, s.input(1)?);
    let dtype = s.b.dtype(&x);
    if dtype.is_int()
        && let Value::Const(p) = s.b.cast(&p, DType::I64)?
        && let Some(n @ 1..=64) = p.item::<i64>()
    {
        let mut y = x.clone();
        for _ in 1..n {
            y = s.b.mul(&y, &x)?;
        }
        return Ok(vec![s.b.wrapped(&y, s.elem(0))?]);
    }
    let (x, p) = (s.b.cast(&x, DType::F32)?, s.b.cast(&p, DType::F32)?);
    let y = s.b.op("pow", &[&x, &p], Attrs::none())?;
    Ok(vec![s.b.cast(&y, dtype)?])
}

/// Folds two or more operands from the left.
fn variadic(s: &mut Site, name: &str) -> Made {
    s.ignore(&["consumed_inputs"]);
    let mut total = s.input(0)?;
    for i in 1..s.inputs.len() {
        let next = s.input(i)?;
        total = s.b.op(name, &[&total, &next], Attrs::none())?;
    }
    Ok(total)
}

pub(in crate::onnx) fn min(s: &mut Site) -> Out {
    Ok(vec![variadic(s, "min")?])
}

pub(in crate::onnx) fn max(s: &mut Site) -> Out {
    Ok(vec![variadic(s, "max")?])
}

pub(in crate::onnx) fn sum(s: &mut Site) -> Out {
    Ok(vec![variadic(s, "add")?])
}

pub(in crate::onnx) fn mean(s: &mut Site) -> Out {
    let (total, n) = (variadic(s, "add")?, s.inputs.len());
    let n = s.b.scalar(n as f32);
    Ok(vec![s.b.div(&total, &n)?])
}

pub(in crate::onnx) fn select(s: &mut Site) -> Out {
    let (condition, a, b) = (s.input(0)?, s.input(1)?, s.input(2)?);
    Ok(vec![s.b.select(&condition, &a, &b)?])
}

pub(in crate::onnx) fn clip(s: &mut Site) -> Out {
    let mut x = s.input(0)?;
    let (low, high) = if s.opset < 11 {
        let bound = |v: Option<f32>| v.map(|v| Value::Const(Tensor::scalar(v)));
        (bound(s.opt_float("min")?), bound(s.opt_float("max")?))
    } else {
        (s.opt(1), s.opt(2))
    };
    if let Some(low) = low {
        x = s.b.max(&x, &low)?;
    }
    if let Some(high) = high {
        x = s.b.op("min", &[&x, &high], Attrs::none())?;
    }
    Ok(vec![x])
}

pub(in crate::onnx) fn is_nan(s: &mut Site) -> Out {
    let x = s.input(0)?;
    Ok(vec![s.b.op("ne", &[&x, &x], Attrs::none())?])
}

/// A row with float attributes, each with ONNX's default.
fn with_floats(s: &mut Site, name: &str, attrs: &[(&'static str, f32)]) -> Out {
    let x = s.input(0)?;
    let mut given = Attrs::none();
    for &(attr, default) in attrs {
        given = given.with(attr, s.float(attr, default)?);
    }
    Ok(vec![s.b.op(name, &[&x], given)?])
}

pub(in crate::onnx) fn leaky_relu(s: &mut Site) -> Out {
    with_floats(s, "leaky_relu", &[("alpha", 0.01)])
}

pub(in crate::onnx) fn elu(s: &mut Site) -> Out {
    with_floats(s, "elu", &[("alpha", 1.0)])
}

pub(in crate::onnx) fn selu(s: &mut Site) -> Out {
    with_floats(s, "selu", &[("alpha", 1.673_263_2), ("gamma", 1.050_701)])
}

pub(in crate::onnx) fn celu(s: &mut Site) -> Out {
    with_floats(s, "celu", &[("alpha", 1.0)])
}

pub(in crate::onnx) fn hard_sigmoid(s: &mut Site) -> Out {
    with_floats(s, "hard_sigmoid", &[("alpha", 0.2), ("beta", 0.5)])
}

pub(in crate::onnx) fn thresholded_relu(s: &mut Site) -> Out {
    let (x, alpha) = (s.input(0)?, s.float("alpha", 1.0)?);
    let (alpha, zero) = (s.b.scalar(alpha), s.b.scalar(0.0));
    let above = s.b.gt(&x, &alpha)?;
    Ok(vec![s.b.select(&above, &x, &zero)?])
}

/// x ÷ (1 + |x|).
pub(super) fn softsign_of(b: &mut Build, x: &Value) -> Made {
    let size = b.op("abs", &[x], Attrs::none())?;
    let below = b.add_const(&size, 1.0)?;
    b.div(x, &below)
}

pub(in crate::onnx) fn softsign(s: &mut Site) -> Out {
    let x = s.input(0)?;
    Ok(vec![softsign_of(&mut s.b, &x)?])
}

/// Towards zero by `bias`, and zero within `lambd` of it.
pub(in crate::onnx) fn shrink(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let dtype = s.b.dtype(&x);
    let (bias, limit) = (s.float("bias", 0.0)?, s.float("lambd", 0.5)?);
    let x = s.b.cast(&x, DType::F32)?;
    let (low, high, zero) = (s.b.scalar(-limit), s.b.scalar(limit), s.b.scalar(0.0));
    let (up, down) = (s.b.add_const(&x, bias)?, s.b.add_const(&x, -bias)?);
    let (below, above) = (s.b.op("lt", &[&x, &low], Attrs::none())?, s.b.gt(&x, &high)?);
    let y = s.b.select(&below, &up, &zero)?;
    let y = s.b.select(&above, &down, &y)?;
    Ok(vec![s.b.cast(&y, dtype)?])
}

/// 1 above a threshold, else 0: ai.onnx.ml's Binarizer.
pub(in crate::onnx) fn binarizer(s: &mut Site) -> Out {
    let (x, threshold) = (s.input(0)?, s.float("threshold", 0.0)?);
    let threshold = s.b.scalar(threshold);
    let above = s.b.gt(&x, &threshold)?;
    Ok(vec![s.b.cast(&above, DType::F32)?])
}

/// The determinant of each matrix, by its first row.
pub(in crate::onnx) fn det(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let shape = s.b.shape(&x);
    match shape[..] {
        [.., rows, cols] if rows == cols && (1..=5).contains(&rows) => {}
        _ => return unsupported(format!("the determinant of {shape:?}")),
    }
    let rank = shape.len();
    let rows = (0..shape[rank - 2]).map(|i| s.b.pick(&x, rank - 2, i)).collect::<Made<Vec<_>>>()?;
    let all: Vec<usize> = (0..rows.len()).collect();
    Ok(vec![minor(&mut s.b, &rows, &all)?])
}

/// The determinant of the given columns of the last as many rows.
fn minor(b: &mut Build, rows: &[Value], columns: &[usize]) -> Made {
    let (row, axis) = (&rows[rows.len() - columns.len()], b.rank(&rows[0]) - 1);
    let mut total: Option<Value> = None;
    for (i, &column) in columns.iter().enumerate() {
        let mut term = b.pick(row, axis, column)?;
        if columns.len() > 1 {
            let rest: Vec<usize> = columns.iter().copied().filter(|&c| c != column).collect();
            let rest = minor(b, rows, &rest)?;
            term = b.mul(&term, &rest)?;
        }
        total = Some(match total {
            None => term,
            Some(total) if i % 2 == 0 => b.add(&total, &term)?,
            Some(total) => b.sub(&total, &term)?,
        });
    }
    total.map_or_else(|| invalid("an empty matrix"), Ok)
}

/// x · σ(αx): Swish, com.microsoft.QuickGelu.
pub(in crate::onnx) fn swish(s: &mut Site) -> Out {
    let default = if s.node.op_type == "QuickGelu" { 1.702 } else { 1.0 };
    let (x, alpha) = (s.input(0)?, s.float("alpha", default)?);
    if alpha == 1.0 {
        return Ok(vec![s.b.op("silu", &[&x], Attrs::none())?]);
    }
    let gate = s.b.mul_const(&x, alpha)?;
    let gate = s.b.sigmoid(&gate)?;
    Ok(vec![s.b.mul(&x, &gate)?])
}

fn gelu_of(s: &mut Site, x: &Value, tanh: bool) -> Out {
    let attrs = Attrs::none().with("approximate", if tanh { "tanh" } else { "none" });
    Ok(vec![s.b.op("gelu", &[x], attrs)?])
}

pub(in crate::onnx) fn gelu(s: &mut Site) -> Out {
    let x = s.input(0)?;
    match s.text("approximate", "none")? {
        "none" => gelu_of(s, &x, false),
        "tanh" => gelu_of(s, &x, true),
        other => unsupported(format!("approximation `{other}`")),
    }
}

pub(super) fn biased(s: &mut Site) -> Made {
    let x = s.input(0)?;
    s.opt(1).map_or(Ok(x.clone()), |bias| s.b.add(&x, &bias))
}

pub(in crate::onnx) fn bias_gelu(s: &mut Site) -> Out {
    let x = biased(s)?;
    gelu_of(s, &x, false)
}

pub(in crate::onnx) fn fast_gelu(s: &mut Site) -> Out {
    let x = biased(s)?;
    gelu_of(s, &x, true)
}

/// com.microsoft.Scale: by a constant, or by its reciprocal.
pub(in crate::onnx) fn scale(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let Some(by) = s.const_float(1, "scale")? else { return invalid("no scale is given") };
    let by = s.b.scalar(by);
    Ok(vec![if s.flag("scale_down", false)? { s.b.div(&x, &by)? } else { s.b.mul(&x, &by)? }])
}

/// Identity at inference; in training mode elements are zeroed at random and the rest scaled up.
pub(in crate::onnx) fn dropout(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let seed = s.opt_int("seed")?;
    let ratio = if s.opset < 12 {
        s.float("ratio", 0.5)?
    } else {
        s.const_float(1, "ratio")?.unwrap_or(0.5)
    };
    let training = match s.constant(2, "training_mode")? {
        Some(t) => t
            .item::<bool>()
            .ok_or_else(|| Fault::Invalid("`training_mode` is not one truth value".to_owned()))?,
        None => false,
    };
    if let (SeededDropout::Reference, Some(seed), true) = (s.seeded_dropout, seed, training) {
        return reference_dropout(s, &x, ratio, seed);
    }
    let mut out = vec![x.clone()];
    let key = (training && ratio != 0.0).then(|| super::random::key(s)).transpose()?;
    let drop = |s: &mut Site, x: &Value, (key, stream): &(Value, i64)| {
        let attrs = Attrs::none().with("p", ratio).with("stream", *stream);
        s.b.op("dropout", &[x, key], attrs)
    };
    if let Some(key) = &key {
        out[0] = drop(s, &x, key)?;
    }
    if s.wants(1) {
        let ones = s.b.expand(&Value::Const(Tensor::scalar(1f32)), &s.b.shape(&x))?;
        let kept = match &key {
            // The same random bits decide.
            Some(key) => drop(s, &ones, key)?,
            None => ones,
        };
        let zero = s.b.scalar(0.0);
        out.push(s.b.gt(&kept, &zero)?);
    }
    Ok(out)
}

/// With the mask of ONNX's reference implementation: kept where numpy's `RandomState(seed)` gives a
/// uniform number of at least the ratio.
fn reference_dropout(s: &mut Site, x: &Value, ratio: f32, seed: i64) -> Out {
    let shape = s.b.shape(x);
    let mut twister = rand_mt::Mt::new(seed as u32);
    let mut uniform = || {
        let (high, low) = (twister.next_u32() >> 5, twister.next_u32() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    };
    let n = crate::onnx::import::value::few(&shape)?;
    let kept = (0..n).map(|_| ratio == 0.0 || uniform() >= f64::from(ratio)).collect();
    let Some(kept) = Tensor::from_vec::<bool>(&shape, kept).map(Value::Const) else {
        return invalid("a mask of a wrong size");
    };
    let (scaled, zero) = (s.b.mul_const(x, 1.0 / (1.0 - ratio))?, s.b.scalar(0.0));
    Ok(vec![s.b.select(&kept, &scaled, &zero)?, kept])
}
