//! Reductions and scans.

use ndarray::{ArrayView1, Axis, IxDyn};

use super::{Addition, array, with_number};
use crate::ir::{Array, Attrs, DType, Element, Tensor, TensorType};
use crate::map_array;
use crate::ops::{Prim, normalize_axis};
use crate::reference as r;

/// The operand with the reduced axes last and merged into one, in row-major order.
fn rows(x: &Tensor, axes: &[usize]) -> Tensor {
    let rank = x.shape().len();
    let kept: Vec<_> = (0..rank).filter(|a| !axes.contains(a)).collect();
    let order = [&kept[..], axes].concat();
    let n: usize = axes.iter().map(|&a| x.shape()[a]).product();
    let mut shape: Vec<_> = kept.iter().map(|&a| x.shape()[a]).collect();
    shape.push(n);
    let moved = map_array!(x, a => a.clone().permuted_axes(IxDyn(&order)));
    moved.reshaped(&shape).unwrap_or(moved)
}

fn along<T: Element, U: Element>(x: &Array<T>, f: impl Fn(ArrayView1<T>) -> U) -> Array<U> {
    x.map_axis(Axis(x.ndim() - 1), f).into_shared()
}

fn reduce_with<T: Addition + PartialOrd>(
    prim: Prim,
    x: &Tensor,
    pick: impl Fn(T, T) -> T,
    total: impl Fn(ArrayView1<T>) -> T,
) -> Tensor {
    let x = array::<T>(x);
    T::wrap(match prim {
        Prim::ReduceSum => along(&x, total),
        _ => along(&x, |v| v.iter().copied().reduce(&pick).unwrap_or_default()),
    })
}

pub fn reduce(prim: Prim, x: &Tensor, attrs: &Attrs, ty: &TensorType) -> Tensor {
    let axes = crate::ops::reduced_axes(attrs, x.shape().len()).unwrap_or_default();
    let x = rows(x, &axes);
    let least = prim == Prim::ReduceMin;
    let out = match x.dtype() {
        DType::F32 => reduce_with::<f32>(prim, &x, if least { r::min } else { r::max }, |v| {
            r::reduce_sum(v.iter().copied())
        }),
        _ => with_number!(x.dtype(), T => reduce_with::<T>(
            prim,
            &x,
            |a, b| if (a < b) == least { a } else { b },
            |v| v.iter().fold(T::default(), |s, &e| s.plus(e)),
        )),
    };
    out.reshaped(&ty.shape).unwrap_or(out)
}

/// True if `b` takes the place of the best so far, `a`.
fn beats<T: PartialOrd>(a: T, b: T, least: bool, last: bool) -> bool {
    #[allow(clippy::eq_op, reason = "a NaN differs from itself")]
    let nan = |x: &T| x != x;
    match (nan(&a), nan(&b)) {
        (true, other) => other && last,
        (false, true) => true,
        _ if a == b => last,
        _ => (b < a) == least,
    }
}

pub fn arg(prim: Prim, x: &Tensor, attrs: &Attrs, ty: &TensorType) -> Tensor {
    let axis = normalize_axis(attrs.int("axis"), x.shape().len()).unwrap_or(0);
    let (least, last) = (prim == Prim::ArgMin, attrs.flag("last"));
    let x = rows(x, &[axis]);
    let out: Array<i64> = with_number!(x.dtype(), T => along(&array::<T>(&x), |v| {
        let mut best = 0;
        (1..v.len()).for_each(|i| if beats(v[best], v[i], least, last) { best = i });
        best as i64
    }));
    let out = i64::wrap(out);
    out.reshaped(&ty.shape).unwrap_or(out)
}

pub fn cumsum(x: &Tensor, attrs: &Attrs) -> Tensor {
    let axis = normalize_axis(attrs.int("axis"), x.shape().len()).unwrap_or(0);
    let (exclusive, reverse) = (attrs.flag("exclusive"), attrs.flag("reverse"));
    with_number!(x.dtype(), T => {
        let mut out = array::<T>(x).to_owned();
        for mut lane in out.lanes_mut(Axis(axis)) {
            let mut sum = T::default();
            let n = lane.len();
            for i in 0..n {
                let cell = &mut lane[if reverse { n - 1 - i } else { i }];
                let before = sum;
                sum = sum.plus(*cell);
                *cell = if exclusive { before } else { sum };
            }
        }
        T::wrap(out.into_shared())
    })
}
