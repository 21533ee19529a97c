//! Random numbers, from the program's state `rng`, which every step advances.

use pamc_passes::ir::{Attrs, DType, InputKind, TensorType};

use super::layout::sizes;
use crate::onnx::import::site::{self, Site};
use crate::onnx::import::value::{Made, Value, invalid};

type Out = Made<Vec<Value>>;

/// The program's random state, and a stream of its own for the node.
pub(super) fn key(s: &mut Site) -> Made<(Value, i64)> {
    let graph = &mut *s.b.graph;
    let key = match graph.find_input("rng") {
        Some(input) => input.node,
        None => graph.input("rng", TensorType::new(DType::I32, [2]), InputKind::State)?,
    };
    let draws = |name: &str| matches!(name, "dropout" | "random_bits");
    let streams = graph.nodes().filter(|(_, n)| draws(n.op.name));
    let last = streams.map(|(_, n)| n.attrs.int("stream")).max();
    Ok((Value::Node(key), last.map_or(0, |n| n + 1)))
}

/// Uniform from 0 to less than 1, by 23 random bits of a mantissa.
fn uniform(s: &mut Site, shape: &[usize]) -> Made {
    s.ignore(&["seed"]);
    let (key, stream) = key(s)?;
    let attrs = Attrs::none().with("shape", shape).with("stream", stream);
    let bits = s.b.op("random_bits", &[&key], attrs)?;
    let (by, one) = (s.b.int_as(&bits, 9), s.b.int_as(&bits, 0x3f80_0000));
    let mantissa = s.b.op("shr", &[&bits, &by], Attrs::none())?;
    let bits = s.b.op("or", &[&mantissa, &one], Attrs::none())?;
    let from_one = s.b.op("bitcast", &[&bits], Attrs::none().with("to", DType::F32))?;
    s.b.add_const(&from_one, -1.0)
}

/// Normal by Box & Muller: √(−2 ln u) · cos 2πv.
fn normal(s: &mut Site, shape: &[usize]) -> Made {
    let (u, v) = (uniform(s, shape)?, uniform(s, shape)?);
    let one = s.b.scalar(1.0);
    let u = s.b.sub(&one, &u)?;
    let log = s.b.log(&u)?;
    let square = s.b.mul_const(&log, -2.0)?;
    let radius = s.b.sqrt(&square)?;
    let angle = s.b.mul_const(&v, std::f32::consts::TAU)?;
    let cos = s.b.op("cos", &[&angle], Attrs::none())?;
    s.b.mul(&radius, &cos)
}

/// The shape that an attribute or the operand has.
fn wanted(s: &Site) -> Made<Vec<usize>> {
    match (s.ints("shape")?, s.opt(0)) {
        (Some(shape), _) => sizes(&shape),
        (None, Some(like)) => Ok(s.b.shape(&like)),
        (None, None) => invalid("no shape is given"),
    }
}

fn typed(s: &mut Site, x: &Value) -> Out {
    let to = s.opt_int("dtype")?.map(|code| site::dtype(code as i32)).transpose()?;
    Ok(vec![s.b.cast(x, to.unwrap_or(DType::F32))?])
}

/// RandomUniform and RandomUniformLike.
pub(in crate::onnx) fn random_uniform(s: &mut Site) -> Out {
    let (shape, low, high) = (wanted(s)?, s.float("low", 0.0)?, s.float("high", 1.0)?);
    let u = uniform(s, &shape)?;
    let y = s.b.mul_const(&u, high - low)?;
    let y = s.b.add_const(&y, low)?;
    typed(s, &y)
}

/// RandomNormal and RandomNormalLike.
pub(in crate::onnx) fn random_normal(s: &mut Site) -> Out {
    let (shape, mean, scale) = (wanted(s)?, s.float("mean", 0.0)?, s.float("scale", 1.0)?);
    let n = normal(s, &shape)?;
    let y = s.b.mul_const(&n, scale)?;
    let y = s.b.add_const(&y, mean)?;
    typed(s, &y)
}

/// 1 with the probability that the operand gives, else 0.
pub(in crate::onnx) fn bernoulli(s: &mut Site) -> Out {
    let p = s.input(0)?;
    let dtype = s.b.dtype(&p);
    let u = uniform(s, &s.b.shape(&p))?;
    let p = s.b.cast(&p, DType::F32)?;
    let hit = s.b.op("lt", &[&u, &p], Attrs::none())?;
    let to = s.opt_int("dtype")?.map(|code| site::dtype(code as i32)).transpose()?;
    Ok(vec![s.b.cast(&hit, to.unwrap_or(dtype))?])
}
