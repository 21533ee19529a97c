//! Primitives that address by data, index ramps and random bits.

use ndarray::{ArrayD, Axis, Dimension, IxDyn};

use super::{Addition, array, positions, with_number};
use crate::ir::{Array, Attrs, DType, Element, Tensor, TensorType};
use crate::ops::normalize_axis;
use crate::{map_array, reference};

pub fn iota(attrs: &Attrs, ty: &TensorType) -> Tensor {
    let axis = normalize_axis(attrs.int("axis"), ty.rank()).unwrap_or(0);
    let ramp = ArrayD::from_shape_fn(IxDyn(&ty.shape), |at| at.slice()[axis] as i64);
    match ty.dtype {
        DType::I64 => i64::wrap(ramp.into_shared()),
        _ => i32::wrap(ramp.mapv(|i| i as i32).into_shared()),
    }
}

pub fn random_bits(key: &Tensor, attrs: &Attrs, ty: &TensorType) -> Tensor {
    let key = array::<i32>(key);
    let key = [key[[0]] as u32, key[[1]] as u32];
    let stream = attrs.int("stream") as u32;
    let bits = (0..ty.len()).map(|i| reference::threefry(key, [i as u32, stream]) as i32);
    Tensor::from_vec(&ty.shape, bits.collect()).unwrap_or_else(|| Tensor::zeros(ty))
}

pub fn gather(x: &Tensor, index: &Tensor, attrs: &Attrs, ty: &TensorType) -> Tensor {
    let axis = normalize_axis(attrs.int("axis"), x.shape().len()).unwrap_or(0);
    let at = positions(index, x.shape()[axis]);
    let picked = map_array!(x, a => a.select(Axis(axis), &at).into_shared());
    picked.reshaped(&ty.shape).unwrap_or_else(|| Tensor::zeros(ty))
}

fn scatter<T: Addition>(at: &[usize], updates: Array<T>, axis: usize, shape: &[usize]) -> Tensor {
    let mut out = ArrayD::from_elem(IxDyn(shape), T::default());
    for (&slot, update) in at.iter().zip(updates.axis_iter(Axis(axis))) {
        let mut cell = out.index_axis_mut(Axis(axis), slot);
        cell.zip_mut_with(&update, |sum, &u| *sum = sum.plus(u));
    }
    T::wrap(out.into_shared())
}

pub fn scatter_add(index: &Tensor, updates: &Tensor, attrs: &Attrs, ty: &TensorType) -> Tensor {
    let axis = normalize_axis(attrs.int("axis"), ty.rank()).unwrap_or(0);
    let at = positions(index, ty.shape[axis]);
    let end = axis + index.shape().len();
    let merged = [&updates.shape()[..axis], &[at.len()], &updates.shape()[end..]].concat();
    let updates = updates.reshaped(&merged).unwrap_or_else(|| Tensor::zeros(ty));
    with_number!(ty.dtype, T => scatter(&at, array::<T>(&updates), axis, &ty.shape))
}
