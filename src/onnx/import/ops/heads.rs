//! Attention as ONNX Runtime's optimizer fuses it (`com.microsoft`).

use pamc_passes::ir::{Attrs, DType};

use super::contract::{causal, heads, masked, repeat_heads, rotated};
use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// What of the keys each query sees, and how.
struct View {
    scale: Option<f32>,
    cap: f32,
    /// Query i sees keys up to i + this.
    causal: Option<usize>,
    /// The last so many of these, or all.
    window: Option<usize>,
    /// A score of each head `[heads]` that takes part in the softmax and has no value.
    sink: Option<Value>,
    /// Added to the scores.
    biases: Vec<Value>,
}

/// Attention of heads `[batch, heads, length, size]`, joined to `[batch, length, heads · size]`.
fn attend(s: &mut Site, q: &Value, k: &Value, v: &Value, view: View) -> Made {
    let [n, h, queries, size] = s.b.shape(q)[..] else { return invalid("queries without heads") };
    let (k, v) = (repeat_heads(s, k, h)?, repeat_heads(s, v, h)?);
    let keys = s.b.shape(&k)[2];
    let scale = view.scale.filter(|x| *x != 0.0).unwrap_or(1.0 / (size as f32).sqrt());
    let scores = s.b.matmul(q, &k, false, true)?;
    let mut scores = s.b.mul_const(&scores, scale)?;
    if view.cap != 0.0 {
        let bent = s.b.mul_const(&scores, 1.0 / view.cap)?;
        let bent = s.b.tanh(&bent)?;
        scores = s.b.mul_const(&bent, view.cap)?;
    }
    for bias in &view.biases {
        scores = s.b.add(&scores, bias)?;
    }
    if let Some(past) = view.causal {
        scores = masked(s, &scores, &causal(queries, keys, past, view.window)?)?;
    }
    if let Some(sink) = &view.sink {
        let sink = s.b.reshape(sink, &[1, h, 1, 1])?;
        let sink = s.b.expand(&sink, &[n, h, queries, 1])?;
        scores = s.b.concat(&[&scores, &sink], 3)?;
    }
    let weights = s.b.op("softmax", &[&scores], Attrs::none().with("axis", 3i64))?;
    let weights = s.b.slice(&weights, 3, 0, keys)?;
    let y = s.b.matmul(&weights, &v, false, false)?;
    let width = h * s.b.shape(&v)[3];
    let y = s.b.transpose(&y, &[0, 2, 1, 3])?;
    s.b.reshape(&y, &[n, queries, width])
}

/// What is added to scores where a mask of integers, or the number of keys, says that there is
/// nothing to see.
fn padding(s: &mut Site, mask: &Value, batch: usize, keys: usize) -> Made {
    let hidden = s.float("mask_filter_value", -10_000.0)?;
    let shape = s.b.shape(mask);
    let zero = s.b.scalar_as(mask, 0);
    let seen = match shape[..] {
        [n] if n == batch => {
            let lengths = s.b.reshape(mask, &[n, 1, 1, 1])?;
            let at = s.b.ramp(s.b.dtype(mask), &[keys])?;
            s.b.op("lt", &[&at, &lengths], Attrs::none())?
        }
        [n, m] if m == keys => {
            let mask = s.b.reshape(mask, &[n, 1, 1, m])?;
            s.b.gt(&mask, &zero)?
        }
        [n, q, m] if m == keys => {
            let mask = s.b.reshape(mask, &[n, 1, q, m])?;
            s.b.gt(&mask, &zero)?
        }
        _ => return unsupported(format!("a mask of shape {shape:?} for {keys} keys")),
    };
    let (seen_value, hidden) = (s.b.scalar(0.0), s.b.scalar(hidden));
    s.b.select(&seen, &seen_value, &hidden)
}

/// The parts of a last axis of these sizes.
fn parts<const N: usize>(s: &mut Site, x: &Value, sizes: [usize; N]) -> Made<[Value; N]> {
    let shape = s.b.shape(x);
    let Some(axis) =
        shape.len().checked_sub(1).filter(|&a| shape[a] == sizes.iter().sum::<usize>())
    else {
        return invalid(format!("{shape:?} does not divide into {sizes:?}"));
    };
    let mut start = 0;
    let mut out = sizes.map(|_| x.clone());
    for (part, size) in out.iter_mut().zip(sizes) {
        *part = s.b.slice(x, axis, start, size)?;
        start += size;
    }
    Ok(out)
}

/// Keys and values with those of earlier calls before them, and how many these are.
fn after(s: &mut Site, past: [Option<Value>; 2], new: [Value; 2]) -> Made<([Value; 2], usize)> {
    let [Some(k), Some(v)] = past else { return Ok((new, 0)) };
    let count = s.b.shape(&k).get(2).copied().unwrap_or(0);
    let [new_k, new_v] = new;
    Ok(([s.b.concat(&[&k, &new_k], 2)?, s.b.concat(&[&v, &new_v], 2)?], count))
}

fn view(s: &Site, past: usize) -> Made<View> {
    let unidirectional = s.flag("unidirectional", false)?;
    Ok(View {
        scale: s.opt_float("scale")?,
        cap: 0.0,
        causal: unidirectional.then_some(past),
        window: None,
        sink: None,
        biases: Vec::new(),
    })
}

/// com.microsoft.Attention: operands x, weights and bias of queries, keys and values in one, mask,
/// past, added scores.
pub(in crate::onnx) fn attention(s: &mut Site) -> Out {
    let (x, w) = (s.input(0)?, s.input(1)?);
    s.ignore(&["past_present_share_buffer", "do_rotary"]);
    if s.flag("do_rotary", false)? || s.flag("past_present_share_buffer", false)? {
        return unsupported("rotation or shared buffers inside Attention");
    }
    let count = s.opt_int("num_heads")?;
    let total = s.b.shape(&w).last().copied().unwrap_or(0);
    let sizes = match s.ints("qkv_hidden_sizes")? {
        Some(list) => super::layout::sizes(&list)?,
        None => vec![total / 3; 3],
    };
    let Ok(sizes) = <[usize; 3]>::try_from(sizes) else { return invalid("`qkv_hidden_sizes`") };
    let mut all = s.b.matmul(&x, &w, false, false)?;
    if let Some(bias) = s.opt(2) {
        all = s.b.add(&all, &bias)?;
    }
    let [q, k, v] = parts(s, &all, sizes)?;
    let (q, k, v) = (heads(s, &q, count)?, heads(s, &k, count)?, heads(s, &v, count)?);
    let past = match s.opt(4) {
        Some(both) => [Some(s.b.pick(&both, 0, 0)?), Some(s.b.pick(&both, 0, 1)?)],
        None => [None, None],
    };
    let ([k, v], past) = after(s, past, [k, v])?;
    let mut view = view(s, past)?;
    let (batch, keys) = (s.b.shape(&q)[0], s.b.shape(&k)[2]);
    if let Some(mask) = s.opt(3) {
        view.biases.push(padding(s, &mask, batch, keys)?);
    }
    view.biases.extend(s.opt(5));
    s.ignore(&["mask_filter_value"]);
    let y = attend(s, &q, &k, &v, view)?;
    let present = if s.wants(1) { s.b.stack(&[k, v], 0)? } else { y.clone() };
    Ok(vec![y, present])
}

/// com.microsoft.MultiHeadAttention: operands queries, keys, values, one bias for the three, mask
/// of keys, added scores, past keys and values.
pub(in crate::onnx) fn multi_head(s: &mut Site) -> Out {
    let count = s.opt_int("num_heads")?;
    let [mut q, mut k, mut v] = three(s)?;
    if let Some(bias) = s.opt(3) {
        let width = |s: &Site, x: &Value| s.b.shape(x).last().copied().unwrap_or(0);
        let sizes = [width(s, &q), width(s, &k), width(s, &v)];
        if s.b.rank(&k) != 3 {
            return unsupported("a bias of keys that have their heads already");
        }
        let [bq, bk, bv] = parts(s, &bias, sizes)?;
        (q, k, v) = (s.b.add(&q, &bq)?, s.b.add(&k, &bk)?, s.b.add(&v, &bv)?);
    }
    let (q, k, v) = (heads(s, &q, count)?, heads(s, &k, count)?, heads(s, &v, count)?);
    let ([k, v], past) = after(s, [s.opt(6), s.opt(7)], [k, v])?;
    let mut view = view(s, past)?;
    let (batch, keys) = (s.b.shape(&q)[0], s.b.shape(&k)[2]);
    if let Some(mask) = s.opt(4) {
        view.biases.push(padding(s, &mask, batch, keys)?);
    }
    view.biases.extend(s.opt(5));
    s.ignore(&["mask_filter_value"]);
    let y = attend(s, &q, &k, &v, view)?;
    Ok(vec![y, k, v])
}

/// Queries, keys and values, which may come in one tensor `[batch, length, heads, 3, size]`, or keys
/// and values in one.
fn three(s: &mut Site) -> Made<[Value; 3]> {
    let q = s.input(0)?;
    let flat = |s: &mut Site, x: &Value, i: usize| {
        let part = s.b.pick(x, 3, i)?;
        let [n, len, h, size] = s.b.shape(&part)[..] else { return invalid("packed operands") };
        s.b.reshape(&part, &[n, len, h * size])
    };
    match (s.opt(1), s.opt(2)) {
        (None, None) if s.b.rank(&q) == 5 => {
            Ok([flat(s, &q, 0)?, flat(s, &q, 1)?, flat(s, &q, 2)?])
        }
        (Some(kv), None) if s.b.rank(&kv) == 5 => Ok([q, flat(s, &kv, 0)?, flat(s, &kv, 1)?]),
        (Some(k), Some(v)) => Ok([q, k, v]),
        _ => invalid("keys or values are missing"),
    }
}

/// com.microsoft.GroupQueryAttention: causal, several query heads to a key head; operands queries,
/// keys, values, past keys and values, lengths, whole length, cosines and sines, positions, added
/// scores, a score of each head for nothing.
pub(in crate::onnx) fn group_query(s: &mut Site) -> Out {
    s.ignore(&["kv_cache_bit_width"]);
    let (nq, nk) = (s.int("num_heads", 0)?, s.int("kv_num_heads", 0)?);
    let (mut q, k, v) = (s.input(0)?, s.opt(1), s.opt(2));
    let (k, v) = match (k, v) {
        (Some(k), Some(v)) => (k, v),
        _ => {
            let width = s.b.shape(&q).last().copied().unwrap_or(0);
            let (Ok(a), Ok(b)) = (usize::try_from(nq), usize::try_from(nk)) else {
                return invalid("a negative number of heads");
            };
            let all = a.saturating_add(b.saturating_mul(2));
            let Some(size) = width.checked_div(all) else { return invalid("no heads") };
            let [pq, pk, pv] = parts(s, &q, [a * size, b * size, b * size])?;
            q = pq;
            (pk, pv)
        }
    };
    let (mut q, mut k, v) =
        (heads(s, &q, Some(nq))?, heads(s, &k, Some(nk))?, heads(s, &v, Some(nk))?);
    let new = s.b.shape(&q)[2];
    let past = s.opt(3).map_or(0, |p| s.b.shape(&p).get(2).copied().unwrap_or(0));
    if s.const_int(6, "total_sequence_length")
        .ok()
        .flatten()
        .is_some_and(|n| n != (past + new) as i64)
    {
        return unsupported("a cache with more room than there are keys");
    }
    let interleaved = s.flag("rotary_interleaved", false)?;
    if s.flag("do_rotary", false)? {
        q = turned(s, &q, past, interleaved)?;
        k = turned(s, &k, past, interleaved)?;
    }
    let ([k, v], past) = after(s, [s.opt(3), s.opt(4)], [k, v])?;
    let view = View {
        scale: s.opt_float("scale")?,
        cap: s.float("softcap", 0.0)?,
        causal: Some(past),
        window: usize::try_from(s.int("local_window_size", -1)?).ok().filter(|n| *n > 0),
        sink: sink(s)?,
        biases: s.opt(10).into_iter().collect(),
    };
    let y = attend(s, &q, &k, &v, view)?;
    Ok(vec![y, k, v])
}

/// The score without a value: operand 11, or zero with a smooth softmax.
fn sink(s: &mut Site) -> Made<Option<Value>> {
    let smooth = s.flag("smooth_softmax", false)?;
    if let Some(sink) = s.opt(11) {
        return Ok(Some(sink));
    }
    let heads = usize::try_from(s.int("num_heads", 0)?).unwrap_or(0);
    let zero = s.b.scalar(0.0);
    smooth.then(|| s.b.expand(&zero, &[heads])).transpose()
}

/// Heads turned by operands 7 and 8, from position `past` on unless operand 9 says where.
fn turned(s: &mut Site, x: &Value, past: usize, interleaved: bool) -> Made {
    let (cos, sin) = (s.input(7)?, s.input(8)?);
    let len = s.b.shape(x)[2];
    let half = s.b.shape(&cos).last().copied().unwrap_or(0);
    let [cos, sin] = match s.opt(9) {
        Some(at) => [s.b.gather(&cos, &at, 0)?, s.b.gather(&sin, &at, 0)?],
        None if past + len <= s.b.shape(&cos)[0] => {
            let cos = s.b.slice(&cos, 0, past, len)?;
            let sin = s.b.slice(&sin, 0, past, len)?;
            [s.b.reshape(&cos, &[1, len, half])?, s.b.reshape(&sin, &[1, len, half])?]
        }
        None => return invalid("more positions than there are angles"),
    };
    let wide = s.b.transpose(x, &[0, 2, 1, 3])?;
    let y = rotated(s, &wide, [&cos, &sin], 2 * half, interleaved)?;
    s.b.transpose(&y, &[0, 2, 1, 3])
}

/// com.microsoft.RotaryEmbedding: operands x, positions or the first one, cosines and sines.
pub(in crate::onnx) fn rotary_embedding(s: &mut Site) -> Out {
    let (x, at, cos, sin) = (s.input(0)?, s.input(1)?, s.input(2)?, s.input(3)?);
    s.ignore(&["scale", "is_packed_batching"]);
    if s.float("scale", 1.0)? != 1.0 || s.flag("is_packed_batching", false)? {
        return unsupported("a scale or packed batches");
    }
    let shape = s.b.shape(&x);
    let half = s.b.shape(&cos).last().copied().unwrap_or(0);
    let count = s.int("num_heads", 0)?;
    let size = usize::try_from(s.int("rotary_embedding_dim", 0)?).unwrap_or(0);
    let wide = match shape[..] {
        [_, _, _, _] => s.b.transpose(&x, &[0, 2, 1, 3])?,
        [n, len, width] => {
            let h = if count > 0 { count as usize } else { width / (2 * half).max(1) };
            if h == 0 || !width.is_multiple_of(h) {
                return invalid(format!("{width} elements in {h} heads"));
            }
            s.b.reshape(&x, &[n, len, h, width / h])?
        }
        _ => return invalid(format!("an operand of shape {shape:?}")),
    };
    let [n, len, _, whole] = s.b.shape(&wide)[..] else { return invalid("a wrong rank") };
    if 2 * half > whole || (size != 0 && size != 2 * half) {
        return invalid(format!("{half} angles for heads of {whole} elements"));
    }
    let at = s.b.cast(&at, DType::I64)?;
    let at = if s.b.ty(&at).len() == 1 && [n, len] != [1, 1] {
        let ramp = s.b.ramp(DType::I64, &[1, len])?;
        let at = s.b.reshape(&at, &[1, 1])?;
        s.b.add(&ramp, &at)?
    } else {
        s.b.reshape(&at, &[n, len])?
    };
    let (cos, sin) = (s.b.gather(&cos, &at, 0)?, s.b.gather(&sin, &at, 0)?);
    let interleaved = s.flag("interleaved", false)?;
    let y = rotated(s, &wide, [&cos, &sin], 2 * half, interleaved)?;
    if shape.len() == 4 {
        return Ok(vec![s.b.transpose(&y, &[0, 2, 1, 3])?]);
    }
    Ok(vec![s.b.reshape(&y, &shape)?])
}
