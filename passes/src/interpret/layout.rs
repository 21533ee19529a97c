//! Primitives that move elements.

use ndarray::{ArrayD, Axis, IxDyn, Slice, concatenate};

use super::array;
use crate::ir::{Array, Attrs, Element, Tensor, TensorType};
use crate::map_array;

pub fn transpose(x: &Tensor, attrs: &Attrs) -> Tensor {
    let perm = attrs.sizes("perm");
    map_array!(x, a => a.clone().permuted_axes(IxDyn(&perm)).as_standard_layout().to_shared())
}

pub fn broadcast(x: &Tensor, shape: &[usize]) -> Tensor {
    map_array!(x, a => match a.broadcast(IxDyn(shape)) {
        Some(wide) => wide.to_owned().into_shared(),
        None => a.clone(),
    })
}

pub fn concat(x: &[Tensor], attrs: &Attrs, ty: &TensorType) -> Tensor {
    fn join<T: Element + Default>(x: &[Tensor], axis: usize) -> Option<Array<T>> {
        let arrays: Vec<Array<T>> = x.iter().map(array).collect();
        let views: Vec<_> = arrays.iter().map(|a| a.view()).collect();
        concatenate(Axis(axis), &views).ok().map(ArrayD::into_shared)
    }
    let axis = crate::ops::normalize_axis(attrs.int("axis"), ty.rank()).unwrap_or(0);
    map_array!(&x[0], a => join(x, axis).unwrap_or_else(|| a.clone()))
}

pub fn slice(x: &Tensor, attrs: &Attrs) -> Tensor {
    let (starts, sizes, steps) = (attrs.ints("starts"), attrs.ints("sizes"), attrs.ints("steps"));
    map_array!(x, a => {
        let mut view = a.view();
        for (axis, ((&start, &size), &step)) in starts.iter().zip(sizes).zip(steps).enumerate() {
            // ndarray's negative step runs backwards over [begin, end), so the bounds are swapped.
            let last = start + (size - 1).max(0) * step;
            let (lo, hi) = (start.min(last) as isize, start.max(last) as isize + 1);
            let range = if size == 0 { Slice::new(0, Some(0), 1) } else { Slice::new(lo, Some(hi), step as isize) };
            view.slice_axis_inplace(Axis(axis), range);
        }
        view.to_owned().into_shared()
    })
}

/// A pad value as an element; integers take it truncated.
trait FromPad {
    fn from_pad(x: f32) -> Self;
}
impl FromPad for f32 {
    fn from_pad(x: f32) -> f32 {
        crate::reference::flush(x)
    }
}
impl FromPad for i32 {
    fn from_pad(x: f32) -> i32 {
        x as i32
    }
}
impl FromPad for i64 {
    fn from_pad(x: f32) -> i64 {
        x as i64
    }
}
impl FromPad for bool {
    fn from_pad(x: f32) -> bool {
        x != 0.0
    }
}

pub fn pad(x: &Tensor, attrs: &Attrs, ty: &TensorType) -> Tensor {
    let (lo, interior) = (attrs.sizes("lo"), attrs.sizes("interior"));
    map_array!(x, a => {
        let mut out = ArrayD::from_elem(IxDyn(&ty.shape), FromPad::from_pad(attrs.float("value")));
        let mut view = out.view_mut();
        for axis in 0..lo.len() {
            let (n, step) = (a.shape()[axis], interior[axis] + 1);
            let end = if n == 0 { lo[axis] } else { lo[axis] + (n - 1) * step + 1 };
            let range = Slice::new(lo[axis] as isize, Some(end as isize), step as isize);
            view.slice_axis_inplace(Axis(axis), range);
        }
        view.assign(a);
        out.into_shared()
    })
}

/// For each element of the unfolded array, its index and the index it reads in the spatial array.
struct Windows {
    strides: Vec<usize>,
    dilations: Vec<usize>,
    pads: Vec<usize>,
}

impl Windows {
    fn new(attrs: &Attrs) -> Self {
        Windows {
            strides: attrs.sizes("strides"),
            dilations: attrs.sizes("dilations"),
            pads: attrs.sizes("pads_lo"),
        }
    }

    /// Index into [batch, channels, spatial ...] of the element at `at` of the unfolded array, unless
    /// it lies in the padding.
    fn source(&self, at: &[usize], spatial: &[usize]) -> Option<Vec<usize>> {
        let n = spatial.len();
        let mut out = at[..2].to_vec();
        for i in 0..n {
            let padded = at[2 + n + i] * self.strides[i] + at[2 + i] * self.dilations[i];
            out.push(padded.checked_sub(self.pads[i]).filter(|&p| p < spatial[i])?);
        }
        Some(out)
    }
}

pub fn unfold(x: &Tensor, attrs: &Attrs, ty: &TensorType) -> Tensor {
    let (a, windows) = (array::<f32>(x), Windows::new(attrs));
    let fill = crate::reference::flush(attrs.float("value"));
    let read = |at: ndarray::IxDyn| {
        let at = ndarray::Dimension::slice(&at);
        windows.source(at, &a.shape()[2..]).map_or(fill, |s| a[IxDyn(&s)])
    };
    f32::wrap(ArrayD::from_shape_fn(IxDyn(&ty.shape), read).into_shared())
}

pub fn fold(x: &Tensor, attrs: &Attrs, ty: &TensorType) -> Tensor {
    let (a, windows) = (array::<f32>(x), Windows::new(attrs));
    let mut out = ArrayD::<f32>::zeros(IxDyn(&ty.shape));
    // Row-major order visits the kernel index before the window index, as the sum's order demands.
    for (at, v) in a.indexed_iter() {
        if let Some(s) = windows.source(ndarray::Dimension::slice(&at), &ty.shape[2..]) {
            let cell = &mut out[IxDyn(&s)];
            *cell = crate::reference::add(*cell, *v);
        }
    }
    f32::wrap(out.into_shared())
}
