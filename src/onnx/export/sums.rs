//! Sums in the order of the numeric contract: contractions and reductions.

use pamc_passes::ir::{DType, Tensor, TensorType};
use pamc_passes::ops::Prim;
use pamc_passes::reference::{CHUNK, LANES};

use super::body::{Body, element, graph, int, value};
use crate::onnx::proto::{DataType, GraphProto};

/// Zeros after the last element of an axis, up to `len` elements.
fn padded(b: &mut Body, x: &str, shape: &[usize], axis: usize, len: usize) -> String {
    if shape[axis] == len {
        return x.to_owned();
    }
    let mut pads = vec![0i64; 2 * shape.len()];
    pads[shape.len() + axis] = (len - shape[axis]) as i64;
    let pads = b.ints(&pads);
    let zero = b.constant(&Tensor::scalar(0f32));
    b.op("Pad", &[x, &pads, &zero])
}

/// A loop `times` times that carries one f32 value of `shape`; `step` makes the next from the loop's
/// index (an i64 scalar) and the value.
pub(super) fn repeat(
    b: &mut Body,
    times: usize,
    start: &str,
    shape: &[usize],
    step: impl FnOnce(&mut Body, &str, &str) -> String,
) -> String {
    let outer = b.fresh();
    let mut inner = Body::new(&format!("{outer}."));
    let [index, go, carried] = ["i", "go", "sum"].map(|n| format!("{outer}.{n}"));
    let next = step(&mut inner, &index, &carried);
    let on = inner.op("Identity", &[&go]);
    let body = GraphProto {
        name: outer.clone(),
        input: vec![
            value(&index, DataType::Int64, Some(&[])),
            value(&go, DataType::Bool, Some(&[])),
            value(&carried, DataType::Float, Some(shape)),
        ],
        output: vec![
            value(&on, DataType::Bool, Some(&[])),
            value(&next, DataType::Float, Some(shape)),
        ],
        node: inner.nodes,
        ..GraphProto::default()
    };
    let times = b.constant(&Tensor::scalar(times as i64));
    b.push("", "Loop", &[&times, "", start], &[&outer], vec![graph("body", body)]);
    outer
}

pub(super) fn zeros(b: &mut Body, shape: &[usize]) -> String {
    let zero = b.constant(&Tensor::scalar(0f32));
    let shape = b.ints(&shape.iter().map(|&d| d as i64).collect::<Vec<_>>());
    b.op("Expand", &[&zero, &shape])
}

fn take(b: &mut Body, x: &str, index: &str, axis: usize) -> String {
    b.with("Gather", &[x, index], vec![int("axis", axis as i64)])
}

/// The sum over the last axis of products that `term` makes of position `l` of the contraction, from
/// `[batch …, chunks, …]` operands. Chunks run side by side, their sums are added in order.
fn chunked(
    b: &mut Body,
    batch: &[usize],
    k: usize,
    (rows, cols): (usize, usize),
    term: impl FnOnce(&mut Body, &str) -> String,
) -> String {
    let chunks = k.div_ceil(CHUNK).max(1);
    let shape = [batch, &[chunks, rows, cols]].concat();
    let start = zeros(b, &shape);
    let parts = repeat(b, k.min(CHUNK), &start, &shape, |b, l, sum| {
        let product = term(b, l);
        b.call("add", &[sum, &product])
    });
    let axis = batch.len();
    let mut total = zeros(b, &[batch, &[rows, cols]].concat());
    for chunk in 0..chunks {
        let at = b.constant(&Tensor::scalar(chunk as i64));
        let part = take(b, &parts, &at, axis);
        total = b.call("add", &[&total, &part]);
    }
    total
}

/// The last two axes exchanged.
fn swapped(b: &mut Body, x: &str, rank: usize, swap: bool) -> String {
    let mut perm: Vec<usize> = (0..rank).collect();
    if swap {
        perm.swap(rank - 2, rank - 1);
    }
    b.transpose(x, &perm)
}

/// `[batch …, m, k]` as `[batch …, chunks, k per chunk, m]`, so that position l of every chunk is one
/// gather along the axis before the last.
fn by_chunk(b: &mut Body, x: &str, shape: &[usize]) -> String {
    let rank = shape.len();
    let (k, m) = (shape[rank - 1], shape[rank - 2]);
    let x = swapped(b, x, rank, true);
    let flipped = [&shape[..rank - 2], &[k, m]].concat();
    let chunks = k.div_ceil(CHUNK).max(1);
    let each = k.min(CHUNK);
    let x = padded(b, &x, &flipped, rank - 2, chunks * each);
    b.reshape(&x, &[&shape[..rank - 2], &[chunks, each, m]].concat())
}

/// The shape after the last two axes were perhaps exchanged.
fn turned(shape: &[usize], swap: bool) -> Vec<usize> {
    let mut out = shape.to_vec();
    let n = out.len();
    if swap {
        out.swap(n - 2, n - 1);
    }
    out
}

/// An operand and its type.
pub(super) type Operand<'a> = (&'a str, &'a TensorType);

pub(super) fn matmul(
    b: &mut Body,
    (x, tx): Operand,
    (y, ty): Operand,
    (ta, tb): (bool, bool),
    out: &TensorType,
) -> String {
    let (sx, sy) = (turned(&tx.shape, ta), turned(&ty.shape, !tb));
    let (k, m, n) = (sx[sx.len() - 1], sx[sx.len() - 2], sy[sy.len() - 2]);
    let x = swapped(b, x, sx.len(), ta);
    let y = swapped(b, y, sy.len(), !tb);
    let (x, y) = (by_chunk(b, &x, &sx), by_chunk(b, &y, &sy));
    let batch = out.shape[..out.rank() - 2].to_vec();
    let (ax, ay) = (sx.len() - 1, sy.len() - 1);
    chunked(b, &batch, k, (m, n), |b, l| {
        // [batch, chunks, m] and [batch, chunks, n].
        let (x, y) = (take(b, &x, l, ax), take(b, &y, l, ay));
        let (last, before) = (b.ints(&[-1]), b.ints(&[-2]));
        let (x, y) = (b.op("Unsqueeze", &[&x, &last]), b.op("Unsqueeze", &[&y, &before]));
        b.call("mul", &[&x, &y])
    })
}

/// `out[i, j] = Σ_l g[i, l] ⊙ slope(at[i, j], of[j, l])`; each operand with whether its last two axes
/// are exchanged first.
pub(super) fn slopes(
    b: &mut Body,
    [(g, tg), (at, tat), (of, tof)]: [Operand; 3],
    swap: (bool, bool, bool),
    back: bool,
    out: &TensorType,
) -> String {
    let [sg, sat, sof] =
        [turned(&tg.shape, swap.0), turned(&tat.shape, swap.1), turned(&tof.shape, swap.2)];
    let g = swapped(b, g, sg.len(), swap.0);
    let at = swapped(b, at, sat.len(), swap.1);
    let of = swapped(b, of, sof.len(), swap.2);
    let k = sg[sg.len() - 1];
    let (rows, cols) = (sat[sat.len() - 2], sat[sat.len() - 1]);
    // The chunks stand before the matrices.
    let axis = b.ints(&[sat.len() as i64 - 2]);
    let at = b.op("Unsqueeze", &[&at, &axis]);
    let (g, of) = (by_chunk(b, &g, &sg), by_chunk(b, &of, &sof));
    let batch = out.shape[..out.rank() - 2].to_vec();
    let (ag, aof) = (sg.len() - 1, sof.len() - 1);
    let sum = chunked(b, &batch, k, (rows, cols), |b, l| {
        let (g, of) = (take(b, &g, l, ag), take(b, &of, l, aof));
        let (last, before) = (b.ints(&[-1]), b.ints(&[-2]));
        let (g, of) = (b.op("Unsqueeze", &[&g, &last]), b.op("Unsqueeze", &[&of, &before]));
        let slope = b.call("mul_slope", &[&at, &of]);
        b.call("mul", &[&g, &slope])
    });
    swapped(b, &sum, batch.len() + 2, back)
}

/// A reduction over `axes`.
pub(super) fn reduce(
    b: &mut Body,
    prim: Prim,
    (x, ty): Operand,
    axes: &[usize],
    out: &TensorType,
) -> String {
    if ty.dtype == DType::F32 && prim == Prim::ReduceSum {
        let sum = sum_rows(b, (x, ty), axes);
        return b.reshape(&sum, &out.shape);
    }
    let axes = b.ints(&axes.iter().map(|&a| a as i64).collect::<Vec<_>>());
    let (op, nan) = match prim {
        Prim::ReduceSum => ("ReduceSum", 0),
        Prim::ReduceMin => ("ReduceMin", 0xFFC0_0000u32),
        _ => ("ReduceMax", 0x7FC0_0000u32),
    };
    let made = if ty.dtype == DType::F32 {
        let keys = keys(b, x, nan as i32);
        let most = b.op(op, &[&keys, &axes]);
        let bits = b.call("order", &[&most]);
        b.bits(&bits, DataType::Float)
    } else if ty.dtype == DType::Bool {
        let x = b.cast(x, DataType::Int32);
        let made = b.op(op, &[&x, &axes]);
        b.cast(&made, element(out.dtype))
    } else {
        b.op(op, &[x, &axes])
    };
    b.reshape(&made, &out.shape)
}

/// Integers ordered as the floats are, every NaN as the bits `nan`.
pub(super) fn keys(b: &mut Body, x: &str, nan: i32) -> String {
    let is_nan = b.op("IsNaN", &[x]);
    let bits = b.bits(x, DataType::Int32);
    let nan = b.int(nan);
    let bits = b.op("Where", &[&is_nan, &nan, &bits]);
    b.call("order", &[&bits])
}

/// Sixteen lanes, then a halving tree over them; the reduced axes have become the last one, of 1.
fn sum_rows(b: &mut Body, (x, ty): Operand, axes: &[usize]) -> String {
    let kept: Vec<usize> = (0..ty.rank()).filter(|a| !axes.contains(a)).collect();
    let outer: Vec<usize> = kept.iter().map(|&a| ty.shape[a]).collect();
    let n: usize = axes.iter().map(|&a| ty.shape[a]).product();
    let x = b.transpose(x, &[&kept[..], axes].concat());
    let flat = [&outer[..], &[n]].concat();
    let x = b.reshape(&x, &flat);
    let turns = n.div_ceil(LANES).max(1);
    let x = padded(b, &x, &flat, outer.len(), turns * LANES);
    let x = b.reshape(&x, &[&outer[..], &[turns, LANES]].concat());
    let lanes = [&outer[..], &[LANES]].concat();
    let start = zeros(b, &lanes);
    let mut sum = repeat(b, turns, &start, &lanes, |b, i, sum| {
        let row = take(b, &x, i, outer.len());
        b.call("add", &[sum, &row])
    });
    let mut width = LANES / 2;
    while width > 0 {
        let low = b.slice(&sum, outer.len(), 0, width);
        let high = b.slice(&sum, outer.len(), width, width);
        sum = b.call("add", &[&low, &high]);
        width /= 2;
    }
    sum
}

/// Running sums along an axis.
pub(super) fn cumsum(
    b: &mut Body,
    (x, ty): Operand,
    axis: usize,
    (exclusive, reverse): (bool, bool),
) -> String {
    let n = ty.shape[axis];
    let mut cell = ty.shape.clone();
    cell.remove(axis);
    let mut sum = zeros(b, &cell);
    let mut made = vec![String::new(); n];
    for turn in 0..n {
        let i = if reverse { n - 1 - turn } else { turn };
        let at = b.constant(&Tensor::scalar(i as i64));
        let element = take(b, x, &at, axis);
        let next = b.call("add", &[&sum, &element]);
        made[i] = if exclusive { sum } else { next.clone() };
        sum = next;
    }
    let axes = b.ints(&[axis as i64]);
    let made: Vec<String> = made.iter().map(|m| b.op("Unsqueeze", &[m, &axes])).collect();
    let made: Vec<&str> = made.iter().map(String::as_str).collect();
    b.with("Concat", &made, vec![int("axis", axis as i64)])
}
