//! Conversions: casts, and quantization as arithmetic on f32 and integers.

use pamc_passes::ir::{Attrs, DType, Tensor};

use crate::onnx::import::integer::limits;
use crate::onnx::import::site::{self, Site};
use crate::onnx::import::value::{Build, Fault, Made, Value, invalid, unsupported};
use crate::onnx::proto::DataType;

type Out = Made<Vec<Value>>;

/// A float format of at most 8 bits.
struct Narrow {
    /// Bits of its mantissa.
    mantissa: i64,
    /// Exponent of its smallest normal number.
    smallest: i64,
    largest: f32,
    /// What numbers too large become where they do not saturate.
    beyond: f32,
    /// Else a NaN becomes 0.
    has_nan: bool,
}

fn format(elem: DataType) -> Option<Narrow> {
    use DataType as D;
    let (mantissa, smallest, largest, beyond) = match elem {
        D::Float8E4m3fn => (3, -6, 448.0, f32::NAN),
        D::Float8E4m3fnuz => (3, -7, 240.0, f32::NAN),
        D::Float8E5m2 => (2, -14, 57344.0, f32::INFINITY),
        D::Float8E5m2fnuz => (2, -15, 57344.0, f32::NAN),
        D::Float4E2m1 => (1, 0, 6.0, 6.0),
        _ => return None,
    };
    let has_nan = elem != D::Float4E2m1;
    Some(Narrow { mantissa, smallest, largest, beyond, has_nan })
}

impl Build<'_> {
    fn bits(&mut self, x: &Value) -> Made {
        self.op("bitcast", &[x], Attrs::none().with("to", DType::I32))
    }

    fn float_of_bits(&mut self, x: &Value) -> Made {
        self.op("bitcast", &[x], Attrs::none().with("to", DType::F32))
    }

    fn int_op(&mut self, name: &str, x: &Value, c: i64) -> Made {
        let c = self.int_as(x, c);
        self.op(name, &[x, &c], Attrs::none())
    }

    /// x rounded to the values of a small float format, ties to even.
    fn rounded_to(&mut self, x: &Value, to: &Narrow, saturate: bool) -> Made {
        let bits = self.bits(x)?;
        let exponent = self.int_op("shr", &bits, 23)?;
        let exponent = self.int_op("and", &exponent, 0xff)?;
        let exponent = self.int_op("max", &exponent, 127 + to.smallest)?;
        let quantum = self.int_op("sub", &exponent, to.mantissa)?;
        let quantum = self.int_op("shl", &quantum, 23)?;
        let quantum = self.float_of_bits(&quantum)?;
        let steps = self.div(x, &quantum)?;
        let steps = self.op("round", &[&steps], Attrs::none())?;
        let y = self.mul(&steps, &quantum)?;
        let (size, largest) = (self.op("abs", &[&y], Attrs::none())?, self.scalar(to.largest));
        let over = self.gt(&size, &largest)?;
        let beyond = self.scalar(if saturate { to.largest } else { to.beyond });
        let minus = self.op("neg", &[&beyond], Attrs::none())?;
        let zero = self.scalar(0.0);
        let positive = self.gt(&y, &zero)?;
        let beyond = self.select(&positive, &beyond, &minus)?;
        let y = self.select(&over, &beyond, &y)?;
        if to.has_nan {
            return Ok(y);
        }
        let nan = self.op("ne", &[x, x], Attrs::none())?;
        self.select(&nan, &zero, &y)
    }

    /// x as a power of two: rounded `up`, `down` or to the `nearest`.
    fn power_of_two(&mut self, x: &Value, mode: &str) -> Made {
        let bits = self.bits(x)?;
        let more = match mode {
            "up" => 0x7f_ffff,
            "down" => 0,
            "nearest" => 0x40_0000,
            other => return unsupported(format!("round_mode `{other}`")),
        };
        let bits = self.int_op("add", &bits, more)?;
        let bits = self.int_op("and", &bits, 0x7f80_0000)?;
        self.float_of_bits(&bits)
    }
}

/// x as values of `to`, from those of `from`.
fn converted(s: &mut Site, x: &Value, from: Option<DataType>, to: DataType) -> Made {
    let target = site::dtype(to as i32)?;
    let saturate = s.flag("saturate", true)?;
    let mode = s.text("round_mode", "up")?;
    let source = s.b.dtype(x);
    if let Some(format) = format(to).filter(|_| from != Some(to)) {
        let x = s.b.cast(x, DType::F32)?;
        return s.b.rounded_to(&x, &format, saturate);
    }
    if to == DataType::Float8E8m0 && from != Some(to) {
        let x = s.b.cast(x, DType::F32)?;
        return s.b.power_of_two(&x, mode);
    }
    if limits(to).is_none() || source == DType::Bool {
        return s.b.cast(x, target);
    }
    let wide = if source == DType::F32 { s.b.cast(x, DType::I64)? } else { x.clone() };
    let wide = s.b.wrapped(&wide, Some(to))?;
    s.b.cast(&wide, target)
}

pub(in crate::onnx) fn cast(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let Some(to) = s.opt_int("to")? else { return invalid("no element type is given") };
    let to = site::elem(i32::try_from(to).unwrap_or(0));
    Ok(vec![converted(s, &x, s.elem(0), to)?])
}

pub(in crate::onnx) fn cast_like(s: &mut Site) -> Out {
    let (x, _) = (s.input(0)?, s.input(1)?);
    let Some(to) = s.elem(1) else { return invalid("a type that is unknown") };
    Ok(vec![converted(s, &x, s.elem(0), to)?])
}

/// The same bits under another type of 32 bits.
pub(in crate::onnx) fn bit_cast(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let Some(to) = s.opt_int("to")? else { return invalid("no element type is given") };
    let to = site::elem(i32::try_from(to).unwrap_or(0));
    let from = s.elem(0);
    use DataType as D;
    match (from, to) {
        (Some(a), b) if a == b => Ok(vec![x]),
        (Some(D::Float), D::Int32) => Ok(vec![s.b.bits(&x)?]),
        (Some(D::Int32), D::Float) => Ok(vec![s.b.float_of_bits(&x)?]),
        (Some(D::Float), D::Uint32) => {
            let bits = s.b.bits(&x)?;
            let wide = s.b.cast(&bits, DType::I64)?;
            Ok(vec![s.b.wrapped(&wide, Some(to))?])
        }
        (Some(D::Int32), D::Uint32) => {
            let wide = s.b.cast(&x, DType::I64)?;
            Ok(vec![s.b.wrapped(&wide, Some(to))?])
        }
        (Some(D::Uint32), D::Int32) => Ok(vec![s.b.cast(&x, DType::I32)?]),
        (Some(D::Uint32), D::Float) => {
            let bits = s.b.cast(&x, DType::I32)?;
            Ok(vec![s.b.float_of_bits(&bits)?])
        }
        (Some(a), b) if limits(a).is_some() && limits(b).is_some() => {
            Ok(vec![s.b.wrapped(&x, Some(b))?])
        }
        (from, to) => unsupported(format!("the bits of {from:?} as {to:?}").to_lowercase()),
    }
}

/// A scale or zero point against x: one number, one an index of `axis`, or one a block of it.
fn spread(s: &mut Site, v: &Value, x: &[usize], axis: i64) -> Made {
    let shape = s.b.shape(v);
    let block = usize::try_from(s.int("block_size", 0)?).unwrap_or(0);
    if shape.iter().product::<usize>() == 1 && block == 0 {
        return s.b.reshape(v, &[]);
    }
    let axis = s.axis(axis, x.len())?;
    if shape.len() == 1 && block == 0 && shape[0] == x[axis] {
        let mut wide = vec![1; x.len() - axis];
        wide[0] = x[axis];
        return s.b.reshape(v, &wide);
    }
    if block == 0 || shape.len() != x.len() || shape[axis].saturating_mul(block) < x[axis] {
        return invalid(format!("scales of shape {shape:?} for {x:?} along axis {axis}"));
    }
    let (mut apart, mut wide, mut whole) = (shape.clone(), shape.clone(), shape.clone());
    apart.insert(axis + 1, 1);
    wide.insert(axis + 1, block);
    whole[axis] *= block;
    let v = s.b.reshape(v, &apart)?;
    let v = s.b.expand(&v, &wide)?;
    let v = s.b.reshape(&v, &whole)?;
    s.b.slice(&v, axis, 0, x[axis])
}

/// round(x ÷ scale) + zero, within the limits of `to`.
fn quantized(s: &mut Site, x: &Value, scale: &Value, zero: Option<&Value>, to: DataType) -> Made {
    let y = s.b.div(x, scale)?;
    if let Some(format) = format(to) {
        let saturate = s.flag("saturate", true)?;
        return s.b.rounded_to(&y, &format, saturate);
    }
    let Some((low, high)) = limits(to) else {
        return unsupported(format!("quantization to {to:?}").to_lowercase());
    };
    let mut y = s.b.op("round", &[&y], Attrs::none())?;
    if let Some(zero) = zero {
        let zero = s.b.cast(zero, DType::F32)?;
        y = s.b.add(&y, &zero)?;
    }
    let y = s.b.clamped(&y, low, high)?;
    s.b.cast(&y, site::dtype(to as i32)?)
}

/// The type a QuantizeLinear gives.
pub(super) fn quantized_type(s: &Site) -> DataType {
    let given = s.node.attribute.iter().find(|a| a.name == "output_dtype").map_or(0, |a| a.i);
    match i32::try_from(given).ok().filter(|&code| code != 0) {
        Some(code) => site::elem(code),
        None => s.elem(2).unwrap_or(DataType::Uint8),
    }
}

pub(in crate::onnx) fn quantize_linear(s: &mut Site) -> Out {
    let (x, scale) = (s.input(0)?, s.input(1)?);
    s.ignore(&["output_dtype", "precision", "saturate"]);
    let (shape, axis, to) = (s.b.shape(&x), s.int("axis", 1)?, quantized_type(s));
    let x = s.b.cast(&x, DType::F32)?;
    let scale = s.b.cast(&scale, DType::F32)?;
    let scale = spread(s, &scale, &shape, axis)?;
    let zero = s.opt(2).map(|z| spread(s, &z, &shape, axis)).transpose()?;
    Ok(vec![quantized(s, &x, &scale, zero.as_ref(), to)?])
}

/// (x − zero) · scale.
fn dequantized(s: &mut Site, x: &Value, scale: &Value, zero: Option<&Value>) -> Made {
    let mut y = s.b.cast(x, DType::F32)?;
    if let Some(zero) = zero {
        let zero = s.b.cast(zero, DType::F32)?;
        y = s.b.sub(&y, &zero)?;
    }
    s.b.mul(&y, scale)
}

pub(in crate::onnx) fn dequantize_linear(s: &mut Site) -> Out {
    let (x, scale) = (s.input(0)?, s.input(1)?);
    s.ignore(&["output_dtype"]);
    let (shape, axis) = (s.b.shape(&x), s.int("axis", 1)?);
    let scale = s.b.cast(&scale, DType::F32)?;
    let scale = spread(s, &scale, &shape, axis)?;
    let zero = s.opt(2).map(|z| spread(s, &z, &shape, axis)).transpose()?;
    Ok(vec![dequantized(s, &x, &scale, zero.as_ref())?])
}

/// To uint8 by the range of the operand, widened to hold 0.
pub(in crate::onnx) fn dynamic_quantize_linear(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let zero = s.b.scalar(0.0);
    let axes: Vec<usize> = (0..s.b.rank(&x)).collect();
    let high = s.b.reduce("reduce_max", &x, &axes, false)?;
    let low = s.b.reduce("reduce_min", &x, &axes, false)?;
    let (high, low) = (s.b.max(&high, &zero)?, s.b.op("min", &[&low, &zero], Attrs::none())?);
    let range = s.b.sub(&high, &low)?;
    let levels = s.b.scalar(255.0);
    let scale = s.b.div(&range, &levels)?;
    let start = s.b.div(&low, &scale)?;
    let point = s.b.sub(&zero, &start)?;
    let point = s.b.op("round", &[&point], Attrs::none())?;
    let point = s.b.clamped(&point, 0, 255)?;
    let y = quantized(s, &x, &scale, Some(&point), DataType::Uint8)?;
    let point = s.b.cast(&point, DType::I32)?;
    Ok(vec![y, scale, point])
}

/// A zero point against a matrix: one number, or one a row (of the first) or a column.
fn centred(s: &mut Site, x: &Value, zero: Option<Value>, rows: bool) -> Made {
    let x = s.b.cast(x, DType::F32)?;
    let Some(zero) = zero else { return Ok(x) };
    let mut zero = s.b.cast(&zero, DType::F32)?;
    let shape = s.b.shape(&zero);
    if shape.len() == 1 && rows && shape[0] > 1 {
        zero = s.b.reshape(&zero, &[shape[0], 1])?;
    }
    s.b.sub(&x, &zero)
}

/// The product of integer matrices, computed in f32.
pub(in crate::onnx) fn matmul_integer(s: &mut Site) -> Out {
    let (a, b) = (s.input(0)?, s.input(1)?);
    let (za, zb) = (s.opt(2), s.opt(3));
    let (a, b) = (centred(s, &a, za, true)?, centred(s, &b, zb, false)?);
    let y = s.b.matmul(&a, &b, false, false)?;
    Ok(vec![s.b.cast(&y, DType::I32)?])
}

pub(in crate::onnx) fn conv_integer(s: &mut Site) -> Out {
    let (x, w) = (s.input(0)?, s.input(1)?);
    let (zx, zw) = (s.opt(2), s.opt(3));
    let (x, w) = (centred(s, &x, zx, false)?, filters(s, &w, zw)?);
    let y = super::conv::conv_of(s, &x, &w, None)?;
    Ok(vec![s.b.cast(&y, DType::I32)?])
}

/// Filters less their zero point, one number or one a filter.
fn filters(s: &mut Site, w: &Value, zero: Option<Value>) -> Made {
    let rank = s.b.rank(w);
    let zero = zero.map(|z| per_filter(s, &z, rank)).transpose()?;
    centred(s, w, zero, false)
}

fn per_filter(s: &mut Site, v: &Value, rank: usize) -> Made {
    let n = s.b.ty(v).len();
    if n == 1 {
        return s.b.reshape(v, &[]);
    }
    let mut wide = vec![1; rank];
    wide[0] = n;
    s.b.reshape(v, &wide)
}

/// Dequantized operands multiplied and quantized again.
pub(in crate::onnx) fn qlinear_matmul(s: &mut Site) -> Out {
    let read = |i| s.input(i);
    let (a, sa, b, sb, sy) = (read(0)?, read(1)?, read(3)?, read(4)?, read(6)?);
    let (za, zb, zy) = (s.opt(2), s.opt(5), s.opt(7));
    let (a, b) = (centred(s, &a, za, true)?, centred(s, &b, zb, false)?);
    let y = s.b.matmul(&a, &b, false, false)?;
    let sa = match s.b.shape(&sa)[..] {
        [n] if n > 1 => s.b.reshape(&sa, &[n, 1])?,
        _ => sa,
    };
    let y = s.b.mul(&y, &sa)?;
    let y = s.b.mul(&y, &sb)?;
    let to = s.elem(7).ok_or_else(|| Fault::Invalid("no zero point is given".to_owned()))?;
    Ok(vec![quantized(s, &y, &sy, zy.as_ref(), to)?])
}

pub(in crate::onnx) fn qlinear_conv(s: &mut Site) -> Out {
    let read = |i| s.input(i);
    let (x, sx, w, sw, sy) = (read(0)?, read(1)?, read(3)?, read(4)?, read(6)?);
    let (zx, zw, zy) = (s.opt(2), s.opt(5), s.opt(7));
    let (x, w) = (centred(s, &x, zx, false)?, filters(s, &w, zw)?);
    let (x, rank) = (s.b.mul(&x, &sx)?, s.b.rank(&w));
    let wide = per_filter(s, &sw, rank)?;
    let w = s.b.mul(&w, &wide)?;
    let mut bias = None;
    if let Some(b) = s.opt(8) {
        let b = s.b.cast(&b, DType::F32)?;
        let by = s.b.mul(&sx, &sw)?;
        let by = if s.b.ty(&by).len() == 1 { s.b.reshape(&by, &[])? } else { by };
        bias = Some(s.b.mul(&b, &by)?);
    }
    let y = super::conv::conv_of(s, &x, &w, bias)?;
    let to = s.elem(7).ok_or_else(|| Fault::Invalid("no zero point is given".to_owned()))?;
    Ok(vec![quantized(s, &y, &sy, zy.as_ref(), to)?])
}

/// x shifted by as many bits, within its type.
pub(in crate::onnx) fn bit_shift(s: &mut Site) -> Out {
    let (x, by) = (s.input(0)?, s.input(1)?);
    let name = match s.text("direction", "")? {
        "LEFT" => "shl",
        "RIGHT" => "shr",
        other => return invalid(format!("direction `{other}`")),
    };
    let y = s.b.op(name, &[&x, &by], Attrs::none())?;
    Ok(vec![s.b.wrapped(&y, s.elem(0))?])
}

/// Whether an element is infinite, of either or of one sign.
pub(in crate::onnx) fn is_inf(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let (up, down) = (s.flag("detect_positive", true)?, s.flag("detect_negative", true)?);
    let part = |s: &mut Site, on: bool, bound: f32| -> Made {
        if !on {
            return s.b.expand(&Value::Const(Tensor::scalar(false)), &s.b.shape(&x));
        }
        let bound = s.b.scalar(bound);
        s.b.eq(&x, &bound)
    };
    let (up, down) = (part(s, up, f32::INFINITY)?, part(s, down, f32::NEG_INFINITY)?);
    Ok(vec![s.b.op("or", &[&up, &down], Attrs::none())?])
}
