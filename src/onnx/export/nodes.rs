//! Primitives as ONNX nodes.

use pamc_passes::ir::{Attrs, DType, Node, Tensor, TensorType};
use pamc_passes::ops::{Prim, normalize_axis, reduced_axes};

use super::body::{Body, element, int};
use super::functions;
use super::random::random_bits;
use super::sums::{self, Operand};
use crate::onnx::proto::DataType;

/// A primitive that ONNX has no exact counterpart of yet.
pub(super) struct Inexpressible;

type Made = Result<String, Inexpressible>;

/// One primitive; `x` are its operands with their types.
pub(super) fn translate(b: &mut Body, prim: Prim, x: &[Operand], node: &Node) -> Made {
    use Prim::*;
    let (attrs, ty) = (&node.attrs, &node.ty);
    let names: Vec<&str> = x.iter().map(|x| x.0).collect();
    let float = x.first().is_some_and(|x| x.1.dtype == DType::F32);
    if let (true, Some(function)) = (float, functions::of(prim)) {
        return Ok(b.call(function, &names));
    }
    Ok(match prim {
        Const => b.constant(&attrs.tensor("value").cloned().unwrap_or_else(|| Tensor::zeros(ty))),
        Iota => iota(b, attrs, ty),
        RandomBits => random_bits(b, names[0], attrs, ty),
        Add | Sub | Neg | Abs | Min | Max => b.op(integer(prim), &names),
        Floor => b.op("Floor", &names),
        Round => b.op("Round", &names),
        Eq | Ne | Lt | Le | Gt | Ge => compare(b, prim, x),
        And | Or | Xor | Not => b.op(bitwise(prim, ty.dtype), &names),
        Shl | Shr => shift(b, prim == Shr, x, ty),
        Select => select(b, x, ty),
        Cast => cast(b, x[0], ty.dtype),
        Bitcast if ty.dtype == DType::I32 => b.bits(names[0], DataType::Int32),
        Bitcast => {
            let float = b.bits(names[0], DataType::Float);
            b.call("flush", &[&float])
        }
        Scale2 => scaled(b, names[0], attrs.int("k")),
        ShiftSum => shift_sum(b, names[0], attrs),
        PamMatmul => sums::matmul(b, x[0], x[1], (attrs.flag("ta"), attrs.flag("tb")), ty),
        PamMatmulDa => {
            let (ta, tb) = (attrs.flag("ta"), attrs.flag("tb"));
            sums::slopes(b, [x[0], x[1], x[2]], (false, ta, tb), ta, ty)
        }
        PamMatmulDb => {
            let (ta, tb) = (!attrs.flag("ta"), !attrs.flag("tb"));
            sums::slopes(b, [x[0], x[2], x[1]], (true, tb, ta), tb, ty)
        }
        ReduceSum | ReduceMax | ReduceMin => {
            let axes = reduced_axes(attrs, x[0].1.rank()).map_err(|_| Inexpressible)?;
            sums::reduce(b, prim, x[0], &axes, ty)
        }
        ArgMax | ArgMin => arg(b, prim, x[0], attrs, ty),
        CumSum => {
            let axis = axis(attrs, x[0].1.rank())?;
            let (exclusive, reverse) = (attrs.flag("exclusive"), attrs.flag("reverse"));
            if float {
                sums::cumsum(b, x[0], axis, (exclusive, reverse))
            } else {
                let at = b.constant(&Tensor::scalar(axis as i64));
                let switches =
                    vec![int("exclusive", exclusive.into()), int("reverse", reverse.into())];
                b.with("CumSum", &[names[0], &at], switches)
            }
        }
        Reshape => b.reshape(names[0], &ty.shape),
        Transpose => b.transpose(names[0], &attrs.sizes("perm")),
        Broadcast => {
            let shape = b.ints(attrs.ints("shape"));
            b.op("Expand", &[names[0], &shape])
        }
        Concat => {
            let axis = axis(attrs, ty.rank())?;
            b.with("Concat", &names, vec![int("axis", axis as i64)])
        }
        Slice => slice(b, names[0], attrs),
        Pad => pad(b, x[0], attrs),
        Unfold => unfold(b, x[0], attrs, ty),
        Fold => fold(b, x[0], attrs, ty),
        Gather => gather(b, x, attrs)?,
        ScatterAdd => scatter_add(b, x, attrs, ty)?,
        _ => return Err(Inexpressible),
    })
}

fn axis(attrs: &Attrs, rank: usize) -> Result<usize, Inexpressible> {
    normalize_axis(attrs.int("axis"), rank).map_err(|_| Inexpressible)
}

fn integer(prim: Prim) -> &'static str {
    match prim {
        Prim::Add => "Add",
        Prim::Sub => "Sub",
        Prim::Neg => "Neg",
        Prim::Abs => "Abs",
        Prim::Min => "Min",
        _ => "Max",
    }
}

fn bitwise(prim: Prim, dtype: DType) -> &'static str {
    match (prim, dtype == DType::Bool) {
        (Prim::And, true) => "And",
        (Prim::Or, true) => "Or",
        (Prim::Xor, true) => "Xor",
        (_, true) => "Not",
        (Prim::And, _) => "BitwiseAnd",
        (Prim::Or, _) => "BitwiseOr",
        (Prim::Xor, _) => "BitwiseXor",
        _ => "BitwiseNot",
    }
}

fn iota(b: &mut Body, attrs: &Attrs, ty: &TensorType) -> String {
    let axis = normalize_axis(attrs.int("axis"), ty.rank()).unwrap_or(0);
    let n = ty.shape.get(axis).copied().unwrap_or(1);
    let [from, to, step] = [0, n as i64, 1].map(|v| b.constant(&Tensor::scalar(v)));
    let ramp = b.op("Range", &[&from, &to, &step]);
    let ramp = b.cast(&ramp, element(ty.dtype));
    let mut narrow = vec![1; ty.rank()];
    if let Some(extent) = narrow.get_mut(axis) {
        *extent = n;
    }
    let ramp = b.reshape(&ramp, &narrow);
    let shape = b.ints(&ty.shape.iter().map(|&d| d as i64).collect::<Vec<_>>());
    b.op("Expand", &[&ramp, &shape])
}

fn compare(b: &mut Body, prim: Prim, x: &[Operand]) -> String {
    let mut names = [x[0].0.to_owned(), x[1].0.to_owned()];
    if x[0].1.dtype == DType::Bool {
        names = names.map(|n| b.cast(&n, DataType::Int32));
    }
    let operands = [names[0].as_str(), names[1].as_str()];
    let op = match prim {
        Prim::Lt => "Less",
        Prim::Le => "LessOrEqual",
        Prim::Gt => "Greater",
        Prim::Ge => "GreaterOrEqual",
        _ => "Equal",
    };
    let made = b.op(op, &operands);
    if prim == Prim::Ne { b.op("Not", &[&made]) } else { made }
}

/// A shift by as many bits as the type has, or more, gives 0.
fn shift(b: &mut Body, right: bool, x: &[Operand], ty: &TensorType) -> String {
    let wide = ty.dtype == DType::I64;
    let unsigned = if wide { DataType::Uint64 } else { DataType::Uint32 };
    let scalar = |v: i64| if wide { Tensor::scalar(v) } else { Tensor::scalar(v as i32) };
    let (zero, bits) = (b.constant(&scalar(0)), b.constant(&scalar(if wide { 64 } else { 32 })));
    let (low, high) = (b.op("GreaterOrEqual", &[x[1].0, &zero]), b.op("Less", &[x[1].0, &bits]));
    let fits = b.op("And", &[&low, &high]);
    let by = b.op("Where", &[&fits, x[1].0, &zero]);
    let (a, by) = (b.bits(x[0].0, unsigned), b.bits(&by, unsigned));
    let direction = super::body::text("direction", if right { "RIGHT" } else { "LEFT" });
    let made = b.with("BitShift", &[&a, &by], vec![direction]);
    let made = b.bits(&made, element(ty.dtype));
    b.op("Where", &[&fits, &made, &zero])
}

fn select(b: &mut Body, x: &[Operand], ty: &TensorType) -> String {
    if ty.dtype != DType::Bool {
        return b.op("Where", &[x[0].0, x[1].0, x[2].0]);
    }
    let not = b.op("Not", &[x[0].0]);
    let (yes, no) = (b.op("And", &[x[0].0, x[1].0]), b.op("And", &[&not, x[2].0]));
    b.op("Or", &[&yes, &no])
}

fn cast(b: &mut Body, (x, ty): Operand, to: DType) -> String {
    match (ty.dtype, to) {
        (DType::F32, DType::I32) => b.call("to_int", &[x]),
        (from, DType::Bool) if from != DType::Bool => {
            let zero = b.constant(&Tensor::zeros(&TensorType::new(from, [])));
            let is_zero = b.op("Equal", &[x, &zero]);
            b.op("Not", &[&is_zero])
        }
        _ => b.cast(x, element(to)),
    }
}

/// Beyond ±254 a power of two saturates or flushes whatever it is applied to.
fn scaled(b: &mut Body, x: &str, k: i64) -> String {
    let k = b.int((k.clamp(-254, 254) as i32) << 23);
    b.call("scale2", &[x, &k])
}

/// Signed powers of two, summed from the left; what is not finite passes.
fn shift_sum(b: &mut Body, x: &str, attrs: &Attrs) -> String {
    let mut sum: Option<String> = None;
    for (&negative, &k) in attrs.ints("negative").iter().zip(attrs.ints("exponents")) {
        let mut term = scaled(b, x, k);
        if negative != 0 {
            term = b.call("neg", &[&term]);
        }
        sum = Some(match sum {
            None => term,
            Some(sum) => b.call("add", &[&sum, &term]),
        });
    }
    let sum = sum.unwrap_or_else(|| b.constant(&Tensor::scalar(0f32)));
    let size = b.call("abs", &[x]);
    let inf = b.constant(&Tensor::scalar(f32::INFINITY));
    let finite = b.op("Less", &[&size, &inf]);
    b.op("Where", &[&finite, &sum, x])
}

fn arg(b: &mut Body, prim: Prim, (x, ty): Operand, attrs: &Attrs, out: &TensorType) -> String {
    let least = prim == Prim::ArgMin;
    let mut keys = x.to_owned();
    if ty.dtype == DType::F32 {
        let nan = if least { 0xFFC0_0000u32 } else { 0x7FC0_0000 };
        let ordered = sums::keys(b, x, nan as i32);
        // Zeros of both signs are equal here.
        let zero = b.constant(&Tensor::scalar(0f32));
        let zeros = b.op("Equal", &[x, &zero]);
        let none = b.int(0);
        keys = b.op("Where", &[&zeros, &none, &ordered]);
    }
    let switches = vec![
        int("axis", attrs.int("axis")),
        int("keepdims", 0),
        int("select_last_index", attrs.flag("last").into()),
    ];
    let made = b.with(if least { "ArgMin" } else { "ArgMax" }, &[&keys], switches);
    b.reshape(&made, &out.shape)
}

fn slice(b: &mut Body, x: &str, attrs: &Attrs) -> String {
    let (starts, steps) = (attrs.ints("starts"), attrs.ints("steps"));
    let mut made = x.to_owned();
    let ends: Vec<i64> = (0..starts.len())
        .map(|i| {
            let end = starts[i] + attrs.ints("sizes")[i] * steps[i];
            // Before the first element; −1 would count from the end.
            if end < 0 { i64::MIN } else { end }
        })
        .collect();
    if !starts.is_empty() {
        let axes: Vec<i64> = (0..starts.len() as i64).collect();
        let [s, e, a, t] = [starts, &ends, &axes, steps].map(|v| b.ints(v));
        made = b.op("Slice", &[x, &s, &e, &a, &t]);
    }
    made
}

fn pad(b: &mut Body, (x, ty): Operand, attrs: &Attrs) -> String {
    let value = attrs.float("value");
    let (lo, hi, interior) = (attrs.ints("lo"), attrs.ints("hi"), attrs.ints("interior"));
    let mut made = x.to_owned();
    let mut shape = ty.shape.clone();
    for axis in (0..shape.len()).filter(|&a| interior[a] > 0 && ty.shape[a] > 1) {
        // A new axis behind takes the elements between; the last of them go again.
        let step = interior[axis] as usize + 1;
        let behind = [&shape[..=axis], &[1], &shape[axis + 1..]].concat();
        made = b.reshape(&made, &behind);
        let mut pads = vec![0; 2 * behind.len()];
        pads[behind.len() + axis + 1] = interior[axis];
        made = filled(b, &made, &pads, value, ty.dtype);
        let n = shape[axis];
        shape[axis] = n * step;
        made = b.reshape(&made, &shape);
        shape[axis] = (n - 1) * step + 1;
        made = b.slice(&made, axis, 0, shape[axis]);
    }
    filled(b, &made, &[lo, hi].concat(), value, ty.dtype)
}

fn filled(b: &mut Body, x: &str, pads: &[i64], value: f32, dtype: DType) -> String {
    if pads.iter().all(|&p| p == 0) {
        return x.to_owned();
    }
    let pads = b.ints(pads);
    let value = match dtype {
        DType::F32 => Tensor::scalar(value),
        DType::I32 => Tensor::scalar(value as i32),
        DType::I64 => Tensor::scalar(value as i64),
        DType::Bool => Tensor::scalar(value != 0.0),
    };
    let value = b.constant(&value);
    b.op("Pad", &[x, &pads, &value])
}

/// Each spatial axis becomes kernel × windows by a gather, then the kernels come first.
fn unfold(b: &mut Body, (x, ty): Operand, attrs: &Attrs, out: &TensorType) -> String {
    let n = ty.rank() - 2;
    let both = |name: &str| [&[0, 0], attrs.ints(name)].concat();
    let pads = [both("pads_lo"), both("pads_hi")].concat();
    let mut made = filled(b, x, &pads, attrs.float("value"), ty.dtype);
    let (strides, dilations) = (attrs.ints("strides"), attrs.ints("dilations"));
    for i in (0..n).rev() {
        let (kernel, windows) = (out.shape[2 + i], out.shape[2 + n + i]);
        let at: Vec<i64> = (0..kernel as i64)
            .flat_map(|k| (0..windows as i64).map(move |w| (k, w)))
            .map(|(k, w)| k * dilations[i] + w * strides[i])
            .collect();
        let index = b.ints(&at);
        let index = b.reshape(&index, &[kernel, windows]);
        made = b.with("Gather", &[&made, &index], vec![int("axis", 2 + i as i64)]);
    }
    // [batch, channels, k₁, w₁, k₂, w₂, …] to [batch, channels, k₁, k₂, …, w₁, w₂, …].
    let kernels = (0..n).map(|i| 2 + 2 * i);
    let windows = (0..n).map(|i| 3 + 2 * i);
    b.transpose(&made, &[0, 1].into_iter().chain(kernels).chain(windows).collect::<Vec<_>>())
}

/// For each position of the kernel, in order, its windows spread over the space and added.
fn fold(b: &mut Body, (x, ty): Operand, attrs: &Attrs, out: &TensorType) -> String {
    let n = out.rank() - 2;
    let kernel = &ty.shape[2..2 + n];
    let (strides, dilations) = (attrs.ints("strides"), attrs.ints("dilations"));
    let lo = attrs.ints("pads_lo");
    let mut sum = sums::zeros(b, &out.shape);
    for position in 0..kernel.iter().product() {
        let (mut rest, mut at) = (position, vec![0; n]);
        for i in (0..n).rev() {
            (at[i], rest) = (rest % kernel[i], rest / kernel[i]);
        }
        let mut part = x.to_owned();
        for &k in &at {
            let k = b.constant(&Tensor::scalar(k as i64));
            part = b.with("Gather", &[&part, &k], vec![int("axis", 2)]);
        }
        let windows = TensorType::f32([&ty.shape[..2], &ty.shape[2 + n..]].concat());
        let spread: Vec<i64> = strides.iter().map(|s| s - 1).collect();
        let (mut before, mut after) = (vec![0i64; 2], vec![0i64; 2]);
        for i in 0..n {
            let reach = (windows.shape[2 + i] as i64 - 1).max(0) * strides[i] + 1;
            before.push(at[i] as i64 * dilations[i] - lo[i]);
            after.push(out.shape[2 + i] as i64 - before[2 + i] - reach);
        }
        let none = vec![0i64; n + 2];
        let interior = [vec![0, 0], spread].concat();
        let attrs = Attrs::none().with("lo", none.clone()).with("hi", none);
        let attrs = attrs.with("interior", interior).with("value", 0f32);
        part = pad(b, (&part, &windows), &attrs);
        // Negative pads take away what lies in the padding.
        part = filled(b, &part, &[before, after].concat(), 0.0, DType::F32);
        sum = b.call("add", &[&sum, &part]);
    }
    sum
}

/// The index with negative ones counted from the end, then clamped into the axis.
fn clamped(b: &mut Body, (index, ty): Operand, n: usize) -> String {
    let scalar = |v: i64| match ty.dtype {
        DType::I64 => Tensor::scalar(v),
        _ => Tensor::scalar(v as i32),
    };
    let [zero, size, last] = [0, n as i64, n as i64 - 1].map(|v| b.constant(&scalar(v)));
    let negative = b.op("Less", &[index, &zero]);
    let wrapped = b.op("Add", &[index, &size]);
    let index = b.op("Where", &[&negative, &wrapped, index]);
    let index = b.op("Max", &[&index, &zero]);
    b.op("Min", &[&index, &last])
}

fn gather(b: &mut Body, x: &[Operand], attrs: &Attrs) -> Made {
    let axis = axis(attrs, x[0].1.rank())?;
    let index = clamped(b, x[1], x[0].1.shape[axis]);
    Ok(b.with("Gather", &[x[0].0, &index], vec![int("axis", axis as i64)]))
}

/// One update after the other, in the order of the index's positions.
fn scatter_add(b: &mut Body, x: &[Operand], attrs: &Attrs, ty: &TensorType) -> Made {
    let (index, updates) = (x[0], x[1]);
    if ty.dtype != DType::F32 {
        return Err(Inexpressible);
    }
    let axis = axis(attrs, ty.rank())?;
    let end = axis + index.1.rank();
    let count = index.1.len();
    let slots = clamped(b, index, ty.shape[axis]);
    let slots = b.reshape(&slots, &[count]);
    let merged = [&updates.1.shape[..axis], &[count], &updates.1.shape[end..]].concat();
    let rows = b.reshape(updates.0, &merged);
    let rank = ty.rank();
    // The axis first, and back.
    let front: Vec<usize> = std::iter::once(axis).chain((0..rank).filter(|&a| a != axis)).collect();
    let back: Vec<usize> =
        (0..rank).map(|a| front.iter().position(|&f| f == a).unwrap_or(0)).collect();
    let rows = b.transpose(&rows, &front);
    let shape: Vec<usize> = front.iter().map(|&a| ty.shape[a]).collect();
    let start = sums::zeros(b, &shape);
    let made = sums::repeat(b, count, &start, &shape, |b, i, sum| {
        let slot = b.with("Gather", &[&slots, i], vec![int("axis", 0)]);
        let (old, new) = (
            b.with("Gather", &[sum, &slot], vec![int("axis", 0)]),
            b.with("Gather", &[&rows, i], vec![int("axis", 0)]),
        );
        let new = b.call("add", &[&old, &new]);
        let first = b.ints(&[0]);
        let new = b.op("Unsqueeze", &[&new, &first]);
        let slot = b.cast(&slot, DataType::Int64);
        let at = b.reshape(&slot, &[1, 1]);
        b.op("ScatterND", &[sum, &at, &new])
    });
    Ok(b.transpose(&made, &back))
}
