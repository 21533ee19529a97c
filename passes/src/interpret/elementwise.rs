//! Elementwise primitives.

use ndarray::{IxDyn, Zip};

use super::{array, with_number};
use crate::ir::{Array, Attrs, DType, Element, Tensor, TensorType};
use crate::ops::Prim;
use crate::reference as r;

fn map<A: Element + Default, B: Element>(x: &Tensor, f: impl Fn(A) -> B) -> Tensor {
    B::wrap(array::<A>(x).map(|v| f(*v)).into_shared())
}

fn zip<A: Element + Default, B: Element>(
    x: &[Tensor],
    shape: &[usize],
    f: impl Fn(A, A) -> B,
) -> Tensor {
    let (a, b): (Array<A>, Array<A>) = (array(&x[0]), array(&x[1]));
    let (Some(a), Some(b)) = (a.broadcast(IxDyn(shape)), b.broadcast(IxDyn(shape))) else {
        return Tensor::zeros(&TensorType::new(B::DTYPE, shape));
    };
    B::wrap(Zip::from(a).and(b).map_collect(|p, q| f(*p, *q)).into_shared())
}

fn select(x: &[Tensor], shape: &[usize]) -> Tensor {
    let condition: Array<bool> = array(&x[0]);
    let Some(c) = condition.broadcast(IxDyn(shape)) else { return x[1].clone() };
    crate::map_array!(&x[1], a => {
        let b = Element::of(&x[2]).cloned().unwrap_or_default();
        match (a.broadcast(IxDyn(shape)), b.broadcast(IxDyn(shape))) {
            (Some(a), Some(b)) => {
                Zip::from(c).and(a).and(b).map_collect(|c, a, b| if *c { *a } else { *b }).into_shared()
            }
            _ => a.clone(),
        }
    })
}

fn cast(x: &Tensor, to: DType) -> Tensor {
    match (x.dtype(), to) {
        (DType::F32, DType::I32) => map(x, |v: f32| v as i32),
        (DType::F32, DType::I64) => map(x, |v: f32| v as i64),
        (DType::F32, DType::Bool) => map(x, |v: f32| v != 0.0),
        (DType::I32, DType::F32) => map(x, |v: i32| v as f32),
        (DType::I32, DType::I64) => map(x, |v: i32| i64::from(v)),
        (DType::I32, DType::Bool) => map(x, |v: i32| v != 0),
        (DType::I64, DType::F32) => map(x, |v: i64| v as f32),
        (DType::I64, DType::I32) => map(x, |v: i64| v as i32),
        (DType::I64, DType::Bool) => map(x, |v: i64| v != 0),
        (DType::Bool, DType::F32) => map(x, |v: bool| if v { 1f32 } else { 0.0 }),
        (DType::Bool, DType::I32) => map(x, |v: bool| i32::from(v)),
        (DType::Bool, DType::I64) => map(x, |v: bool| i64::from(v)),
        _ => x.clone(),
    }
}

fn bitcast(x: &Tensor, to: DType) -> Tensor {
    match to {
        DType::I32 => map(x, |v: f32| v.to_bits() as i32),
        _ => map(x, |v: i32| r::flush(f32::from_bits(v as u32))),
    }
}

fn compare(prim: Prim, x: &[Tensor], shape: &[usize]) -> Tensor {
    if x[0].dtype() == DType::Bool {
        return compare_with::<bool>(prim, x, shape);
    }
    with_number!(x[0].dtype(), T => compare_with::<T>(prim, x, shape))
}

fn compare_with<T: Element + Default + PartialOrd>(
    prim: Prim,
    x: &[Tensor],
    shape: &[usize],
) -> Tensor {
    zip(x, shape, |a: T, b: T| match prim {
        Prim::Eq => a == b,
        Prim::Ne => a != b,
        Prim::Lt => a < b,
        Prim::Le => a <= b,
        Prim::Gt => a > b,
        _ => a >= b,
    })
}

/// And, or, xor, not, shifts on integers (through the 64 or 32 bits of the type).
fn bitwise(prim: Prim, x: &[Tensor], ty: &TensorType) -> Tensor {
    macro_rules! on {
        ($t:ty, $u:ty) => {{
            if prim == Prim::Not {
                return map(&x[0], |a: $t| !a);
            }
            zip(x, &ty.shape, |a: $t, b: $t| match prim {
                Prim::And => a & b,
                Prim::Or => a | b,
                Prim::Xor => a ^ b,
                Prim::Shl if (b as $u) < <$u>::BITS as $u => a << b,
                Prim::Shr if (b as $u) < <$u>::BITS as $u => ((a as $u) >> b) as $t,
                _ => 0,
            })
        }};
    }
    match ty.dtype {
        DType::Bool if prim == Prim::Not => map(&x[0], |a: bool| !a),
        DType::Bool => zip(x, &ty.shape, |a: bool, b: bool| match prim {
            Prim::And => a & b,
            Prim::Or => a | b,
            _ => a ^ b,
        }),
        DType::I64 => on!(i64, u64),
        _ => on!(i32, u32),
    }
}

fn integer(prim: Prim, x: &[Tensor], ty: &TensorType) -> Tensor {
    macro_rules! on {
        ($t:ty) => {
            match prim {
                Prim::Neg => map(&x[0], |a: $t| a.wrapping_neg()),
                Prim::Abs => map(&x[0], |a: $t| a.wrapping_abs()),
                _ => zip(x, &ty.shape, |a: $t, b: $t| match prim {
                    Prim::Add => a.wrapping_add(b),
                    Prim::Sub => a.wrapping_sub(b),
                    Prim::Min => a.min(b),
                    _ => a.max(b),
                }),
            }
        };
    }
    if ty.dtype == DType::I64 { on!(i64) } else { on!(i32) }
}

/// The scalar function of a unary `f32` primitive.
fn unary(prim: Prim) -> Option<fn(f32) -> f32> {
    Some(match prim {
        Prim::Neg => |x| -x,
        Prim::Abs => f32::abs,
        Prim::Floor => f32::floor,
        Prim::Round => f32::round_ties_even,
        Prim::PamExp2 => r::exp2,
        Prim::PamLog2 => r::log2,
        Prim::PamSqrt => r::sqrt,
        Prim::Exp2Slope => r::exp2_slope,
        Prim::Log2Slope => r::log2_slope,
        Prim::SqrtSlope => r::sqrt_slope,
        Prim::FSqrt => f32::sqrt,
        Prim::FExp => |x| r::flush(x.exp()),
        Prim::FLog => f32::ln,
        Prim::FExp2 => |x| r::flush(x.exp2()),
        Prim::FLog2 => f32::log2,
        _ => return None,
    })
}

/// The scalar function of a binary `f32` primitive.
fn binary(prim: Prim) -> Option<fn(f32, f32) -> f32> {
    Some(match prim {
        Prim::Add => r::add,
        Prim::Sub => r::sub,
        Prim::Min => r::min,
        Prim::Max => r::max,
        Prim::PamMul => r::mul,
        Prim::PamDiv => r::div,
        Prim::MulSlope => r::mul_slope,
        Prim::DivSlopeA => r::div_slope_a,
        Prim::DivSlopeB => r::div_slope_b,
        Prim::FMul => |a, b| r::flush(a * b),
        Prim::FDiv => |a, b| r::flush(a / b),
        _ => return None,
    })
}

/// The signed powers of two of a `pam.shift_sum` node.
pub(crate) fn terms(attrs: &Attrs) -> Vec<(bool, i32)> {
    let exponents = attrs.ints("exponents").iter();
    attrs.ints("negative").iter().zip(exponents).map(|(&n, &k)| (n != 0, k as i32)).collect()
}

pub fn eval(prim: Prim, x: &[Tensor], attrs: &Attrs, ty: &TensorType) -> Tensor {
    use Prim::*;
    match prim {
        Select => select(x, &ty.shape),
        Cast => cast(&x[0], ty.dtype),
        Bitcast => bitcast(&x[0], ty.dtype),
        Eq | Ne | Lt | Le | Gt | Ge => compare(prim, x, &ty.shape),
        And | Or | Xor | Not | Shl | Shr => bitwise(prim, x, ty),
        Scale2 => {
            let k = attrs.int("k").clamp(-512, 512) as i32;
            map(&x[0], |v: f32| r::scale2(v, k))
        }
        ShiftSum => {
            let terms = terms(attrs);
            map(&x[0], |v: f32| r::shift_sum(v, &terms))
        }
        _ if ty.dtype != DType::F32 => integer(prim, x, ty),
        _ => match (unary(prim), binary(prim)) {
            (Some(f), _) => map(&x[0], f),
            (_, Some(f)) => zip(x, &ty.shape, f),
            _ => Tensor::zeros(ty),
        },
    }
}
