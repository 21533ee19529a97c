//! Matrix products and attention.

use pamc_passes::ir::{Attrs, DType, Tensor};

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Fault, Made, Value, few, invalid, unsupported};

type Out = Made<Vec<Value>>;

pub(in crate::onnx) fn matmul(s: &mut Site) -> Out {
    let (a, b) = (s.input(0)?, s.input(1)?);
    Ok(vec![s.b.matmul(&a, &b, false, false)?])
}

/// com.microsoft.FusedMatMul: α · A·B with either operand transposed.
pub(in crate::onnx) fn fused_matmul(s: &mut Site) -> Out {
    let (a, b, alpha) = (s.input(0)?, s.input(1)?, s.float("alpha", 1.0)?);
    if s.flag("transBatchA", false)? || s.flag("transBatchB", false)? {
        return unsupported("transposed batches");
    }
    let (ta, tb) = (s.flag("transA", false)?, s.flag("transB", false)?);
    // A vector has nothing to transpose.
    let (ta, tb) = (ta && s.b.rank(&a) > 1, tb && s.b.rank(&b) > 1);
    let y = s.b.matmul(&a, &b, ta, tb)?;
    Ok(vec![s.b.mul_const(&y, alpha)?])
}

/// α · A·B + β · C.
pub(in crate::onnx) fn gemm(s: &mut Site) -> Out {
    let (a, b) = (s.input(0)?, s.input(1)?);
    let (alpha, beta) = (s.float("alpha", 1.0)?, s.float("beta", 1.0)?);
    let (ta, tb) = (s.flag("transA", false)?, s.flag("transB", false)?);
    s.ignore(&["broadcast"]);
    let y = s.b.matmul(&a, &b, ta, tb)?;
    let mut y = s.b.mul_const(&y, alpha)?;
    if let Some(c) = s.opt(2).filter(|_| beta != 0.0) {
        let c = s.b.mul_const(&c, beta)?;
        y = s.b.add(&y, &c)?;
    }
    Ok(vec![y])
}

/// Heads in `[batch, heads, length, size]`, split from `[batch, length, heads · size]` if need be.
pub(super) fn heads(s: &mut Site, x: &Value, count: Option<i64>) -> Made {
    match s.b.shape(x)[..] {
        [_, _, _, _] => Ok(x.clone()),
        [n, len, width] => {
            let count = count.and_then(|c| usize::try_from(c).ok());
            let Some(h) = count.filter(|&h| h > 0 && width.is_multiple_of(h)) else {
                return invalid(format!("{width} elements do not divide into the heads given"));
            };
            let x = s.b.reshape(x, &[n, len, h, width / h])?;
            s.b.transpose(&x, &[0, 2, 1, 3])
        }
        ref other => invalid(format!("an operand of shape {other:?} has no heads")),
    }
}

/// Key and value heads repeated until there is one for each query head.
pub(super) fn repeat_heads(s: &mut Site, x: &Value, query_heads: usize) -> Made {
    let [n, h, len, d] = s.b.shape(x)[..] else { return invalid("heads of a wrong rank") };
    if h == 0 || !query_heads.is_multiple_of(h) {
        return invalid(format!("{query_heads} query heads share {h} key heads"));
    }
    let group = query_heads / h;
    let x = s.b.reshape(x, &[n, h, 1, len, d])?;
    let x = s.b.expand(&x, &[n, h, group, len, d])?;
    s.b.reshape(&x, &[n, query_heads, len, d])
}

/// The causal mask: query i sees keys up to i + `past`, the last so many of them or all.
pub(super) fn causal(queries: usize, keys: usize, past: usize, window: Option<usize>) -> Made {
    let sees = |query: usize, key: usize| {
        key <= query + past && window.is_none_or(|window| key + window > query + past)
    };
    let seen = (0..few(&[queries, keys])?).map(|at| sees(at / keys, at % keys)).collect();
    Tensor::from_vec(&[queries, keys], seen)
        .map(Value::Const)
        .ok_or_else(|| Fault::Invalid("a mask of a wrong size".to_owned()))
}

pub(super) fn masked(s: &mut Site, scores: &Value, mask: &Value) -> Made {
    let hidden = s.b.scalar(f32::NEG_INFINITY);
    match s.b.dtype(mask) {
        DType::Bool => s.b.select(mask, scores, &hidden),
        _ => s.b.add(scores, mask),
    }
}

/// A mask for fewer keys than there are hides the rest.
fn widened(s: &mut Site, mask: &Value, keys: usize) -> Made {
    let mut shape = s.b.shape(mask);
    let Some(last) = shape.last_mut().filter(|n| **n > 1 && **n < keys) else {
        return Ok(mask.clone());
    };
    *last = keys - *last;
    let hidden = match s.b.dtype(mask) {
        DType::Bool => Tensor::scalar(false),
        _ => Tensor::scalar(f32::NEG_INFINITY),
    };
    let hidden = s.b.expand(&Value::Const(hidden), &shape)?;
    s.b.concat(&[mask, &hidden], shape.len() - 1)
}

/// Scaled dot-product attention, with grouped heads, mask, soft cap and cached keys and values.
pub(in crate::onnx) fn attention(s: &mut Site) -> Out {
    let (q, k, v) = (s.input(0)?, s.input(1)?, s.input(2)?);
    s.ignore(&["softmax_precision"]);
    let shown = s.int("qk_matmul_output_mode", 0)?;
    let flat = s.b.rank(&q) == 3;
    let (hq, hk) = (s.opt_int("q_num_heads")?, s.opt_int("kv_num_heads")?);
    let (q, mut k, mut v) = (heads(s, &q, hq)?, heads(s, &k, hk)?, heads(s, &v, hk)?);
    let mut past = 0;
    if let (Some(pk), Some(pv)) = (s.opt(4), s.opt(5)) {
        past = s.b.shape(&pk).get(2).copied().unwrap_or(0);
        (k, v) = (s.b.concat(&[&pk, &k], 2)?, s.b.concat(&[&pv, &v], 2)?);
    }
    let [n, query_heads, queries, size] = s.b.shape(&q)[..] else {
        return invalid("queries of a wrong rank");
    };
    let present = [k.clone(), v.clone()];
    if s.b.shape(&k).get(1) != Some(&query_heads) {
        (k, v) = (repeat_heads(s, &k, query_heads)?, repeat_heads(s, &v, query_heads)?);
    }
    let keys = s.b.shape(&k)[2];
    let scale = s.float("scale", 1.0 / (size as f32).sqrt())?;
    let scores = s.b.matmul(&q, &k, false, true)?;
    let mut scores = s.b.mul_const(&scores, scale)?;
    let mut seen = scores.clone();
    if let Some(mask) = s.opt(3) {
        let mask = widened(s, &mask, keys)?;
        scores = masked(s, &scores, &mask)?;
    }
    if s.flag("is_causal", false)? {
        scores = masked(s, &scores, &causal(queries, keys, past, None)?)?;
    }
    if let Some(lens) = s.opt(6) {
        let lens = s.b.reshape(&lens, &[n, 1, 1, 1])?;
        let at = s.b.ramp(s.b.dtype(&lens), &[keys])?;
        let inside = s.b.op("lt", &[&at, &lens], Attrs::none())?;
        scores = masked(s, &scores, &inside)?;
    }
    if shown == 1 {
        seen = scores.clone();
    }
    let cap = s.float("softcap", 0.0)?;
    if cap != 0.0 {
        let bent = s.b.mul_const(&scores, 1.0 / cap)?;
        let bent = s.b.tanh(&bent)?;
        scores = s.b.mul_const(&bent, cap)?;
    }
    if shown == 2 {
        seen = scores.clone();
    }
    let weights = s.b.op("softmax", &[&scores], Attrs::none().with("axis", 3i64))?;
    if shown == 3 {
        seen = weights.clone();
    }
    let mut y = s.b.matmul(&weights, &v, false, false)?;
    if flat {
        let width = query_heads.saturating_mul(s.b.shape(&v)[3]);
        y = s.b.transpose(&y, &[0, 2, 1, 3])?;
        y = s.b.reshape(&y, &[n, queries, width])?;
    }
    let [present_key, present_value] = present;
    Ok(vec![y, present_key, present_value, seen])
}

/// The rotation of pairs of elements of each head by angles that grow with the position.
pub(in crate::onnx) fn rotary_embedding(s: &mut Site) -> Out {
    let (x, mut cos, mut sin) = (s.input(0)?, s.input(1)?, s.input(2)?);
    let shape = s.b.shape(&x);
    let (interleaved, heads) = (s.flag("interleaved", false)?, s.int("num_heads", 0)?);
    // [batch, length, heads, size]
    let wide = match shape[..] {
        [_, _, _, _] => s.b.transpose(&x, &[0, 2, 1, 3])?,
        [n, len, width] => {
            let heads = usize::try_from(heads).ok().filter(|&h| h > 0 && width.is_multiple_of(h));
            let Some(h) = heads else {
                return invalid(format!("{width} elements in {heads:?} heads"));
            };
            s.b.reshape(&x, &[n, len, h, width / h])?
        }
        _ => return invalid(format!("an operand of shape {shape:?}")),
    };
    let size = s.b.shape(&wide)[3];
    let turned = usize::try_from(s.int("rotary_embedding_dim", 0)?).unwrap_or(0);
    let turned = if turned == 0 { size } else { turned };
    if turned > size || !turned.is_multiple_of(2) {
        return invalid(format!("{turned} of {size} elements are to be rotated"));
    }
    if let Some(positions) = s.opt(3) {
        let positions = s.b.cast(&positions, DType::I64)?;
        (cos, sin) = (s.b.gather(&cos, &positions, 0)?, s.b.gather(&sin, &positions, 0)?);
    }
    let y = rotated(s, &wide, [&cos, &sin], turned, interleaved)?;
    if shape.len() == 4 {
        return Ok(vec![s.b.transpose(&y, &[0, 2, 1, 3])?]);
    }
    Ok(vec![s.b.reshape(&y, &shape)?])
}

/// The first `turned` elements of each head of `[batch, length, heads, size]`, rotated by angles
/// given as cosines and sines `[batch or 1, length, turned / 2]`.
pub(super) fn rotated(
    s: &mut Site,
    wide: &Value,
    [cos, sin]: [&Value; 2],
    turned: usize,
    interleaved: bool,
) -> Made {
    let [n, len, h, size] = s.b.shape(wide)[..] else { return invalid("a wrong rank") };
    let half = turned / 2;
    let angle = |s: &mut Site, v: &Value| match s.b.shape(v)[..] {
        [b, l, d] if d == half && l == len => s.b.reshape(v, &[b, l, 1, d]),
        ref other => Err(Fault::Invalid(format!("angles of shape {other:?}"))),
    };
    let (cos, sin) = (angle(s, cos)?, angle(s, sin)?);
    let part = s.b.slice(wide, 3, 0, turned)?;
    let (a, b) = if interleaved {
        let pairs = s.b.reshape(&part, &[n, len, h, half, 2])?;
        (s.b.pick(&pairs, 4, 0)?, s.b.pick(&pairs, 4, 1)?)
    } else {
        (s.b.slice(&part, 3, 0, half)?, s.b.slice(&part, 3, half, half)?)
    };
    let (ac, bs) = (s.b.mul(&cos, &a)?, s.b.mul(&sin, &b)?);
    let (sa, bc) = (s.b.mul(&sin, &a)?, s.b.mul(&cos, &b)?);
    let (real, imaginary) = (s.b.sub(&ac, &bs)?, s.b.add(&sa, &bc)?);
    let mut y = if interleaved {
        let pairs = s.b.stack(&[real, imaginary], 4)?;
        s.b.reshape(&pairs, &[n, len, h, turned])?
    } else {
        s.b.concat(&[&real, &imaginary], 3)?
    };
    if turned < size {
        let rest = s.b.slice(wide, 3, turned, size - turned)?;
        y = s.b.concat(&[&y, &rest], 3)?;
    }
    Ok(y)
}
