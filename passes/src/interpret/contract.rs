//! Contractions.

use ndarray::{Array2, ArrayView2, Axis, IxDyn};

use super::array;
use crate::ir::{Array, Attrs, Element, Tensor, TensorType};
use crate::reference as r;

/// How a product joins a partial sum.
pub type Join = fn(f32, f32, f32) -> f32;

/// `sum + a ⊙ b`.
pub fn pam(sum: f32, a: f32, b: f32) -> f32 {
    r::add(sum, r::mul(a, b))
}

/// One fused multiply-add, subnormals flushed.
pub fn fused(sum: f32, a: f32, b: f32) -> f32 {
    r::flush(a.mul_add(b, sum))
}

/// The matrices of a batch, broadcast to the batch shape, in row-major order of the batch index.
fn matrices(x: &Array<f32>, batch: &[usize], swap: bool) -> Vec<Array2<f32>> {
    let (rows, cols) = (x.shape()[x.ndim() - 2], x.shape()[x.ndim() - 1]);
    let shape = [batch, &[rows, cols]].concat();
    let Some(wide) = x.broadcast(IxDyn(&shape)) else { return Vec::new() };
    let count: usize = batch.iter().product();
    let mut out = Vec::with_capacity(count);
    for b in 0..count {
        let mut view = wide.view();
        let mut rest = b;
        let mut indices = vec![0; batch.len()];
        for (axis, &n) in batch.iter().enumerate().rev() {
            (indices[axis], rest) = (rest % n, rest / n);
        }
        indices.iter().for_each(|&i| view.index_axis_inplace(Axis(0), i));
        let Ok(m) = view.into_dimensionality::<ndarray::Ix2>() else { return Vec::new() };
        out.push(if swap { m.t().to_owned() } else { m.to_owned() });
    }
    out
}

/// `out[i, j] = Σ_l join(…)` in contraction order, by rows so that the inner loop runs along j.
fn contract_rows(
    (m, k, n): (usize, usize, usize),
    mut join: impl FnMut(f32, usize, usize, usize) -> f32,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        let mut total = vec![0f32; n];
        for start in (0..k).step_by(r::CHUNK) {
            let mut part = vec![0f32; n];
            for l in start..k.min(start + r::CHUNK) {
                for (j, p) in part.iter_mut().enumerate() {
                    *p = join(*p, i, j, l);
                }
            }
            total.iter_mut().zip(&part).for_each(|(t, p)| *t = r::add(*t, *p));
        }
        out.extend(total);
    }
    out
}

fn product(a: ArrayView2<f32>, b: ArrayView2<f32>, join: Join) -> Vec<f32> {
    let dims = (a.nrows(), a.ncols(), b.ncols());
    contract_rows(dims, |sum, i, j, l| join(sum, a[[i, l]], b[[l, j]]))
}

fn tensor(ty: &TensorType, data: Vec<f32>) -> Tensor {
    Tensor::from_vec(&ty.shape, data).unwrap_or_else(|| Tensor::zeros(ty))
}

fn batch(ty: &TensorType) -> &[usize] {
    &ty.shape[..ty.rank() - 2]
}

pub fn matmul(a: &Tensor, b: &Tensor, attrs: &Attrs, ty: &TensorType, join: Join) -> Tensor {
    let a = matrices(&array(a), batch(ty), attrs.flag("ta"));
    let b = matrices(&array(b), batch(ty), attrs.flag("tb"));
    let data = a.iter().zip(&b).flat_map(|(a, b)| product(a.view(), b.view(), join));
    tensor(ty, data.collect())
}

/// Σₙ g[m, n] ⊙ slope(a[m, k], b[k, n]), laid out as the operand a.
pub fn matmul_da(g: &Tensor, a: &Tensor, b: &Tensor, attrs: &Attrs, ty: &TensorType) -> Tensor {
    slopes([g, a, b], ty, (false, attrs.flag("ta"), attrs.flag("tb")), attrs.flag("ta"))
}

/// Σₘ g[m, n] ⊙ slope(b[k, n], a[m, k]), laid out as the operand b: the mirror image of `matmul_da`.
pub fn matmul_db(g: &Tensor, a: &Tensor, b: &Tensor, attrs: &Attrs, ty: &TensorType) -> Tensor {
    slopes([g, b, a], ty, (true, !attrs.flag("tb"), !attrs.flag("ta")), !attrs.flag("tb"))
}

/// `out[i, j] = Σ_l g[i, l] ⊙ slope(at[i, j], of[j, l])` for each matrix of the batch, the three
/// operands transposed as told, the result too.
fn slopes(x: [&Tensor; 3], ty: &TensorType, swap: (bool, bool, bool), back: bool) -> Tensor {
    let g = matrices(&array(x[0]), batch(ty), swap.0);
    let at = matrices(&array(x[1]), batch(ty), swap.1);
    let of = matrices(&array(x[2]), batch(ty), swap.2);
    let mut data = Vec::with_capacity(ty.len());
    for ((g, at), of) in g.iter().zip(&at).zip(&of) {
        let (m, k) = at.dim();
        let rows = contract_rows((m, g.ncols(), k), |sum, i, j, l| {
            r::add(sum, r::mul(g[[i, l]], r::mul_slope(at[[i, j]], of[[j, l]])))
        });
        match (back, Array2::from_shape_vec((m, k), rows)) {
            (true, Ok(a)) => data.extend(a.t().iter()),
            (_, Ok(a)) => data.extend(a.iter()),
            _ => {}
        }
    }
    f32::wrap(array(&tensor(ty, data)))
}
