//! Pieces of shape rules.

use super::expect_dtype;
use crate::ir::{Attrs, DType, TensorType};

/// Result of a shape rule.
pub type Inferred = Result<TensorType, String>;
/// Operand types of a shape rule.
pub type Types<'a, 'b> = &'a [&'b TensorType];

/// Numpy's broadcasting of two or more shapes.
///
/// # Errors
/// Names the extents that do not fit.
pub fn broadcast_shapes(shapes: &[&[usize]]) -> Result<Vec<usize>, String> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![1; rank];
    for shape in shapes {
        let skip = rank - shape.len();
        for (axis, &d) in shape.iter().enumerate() {
            let o = &mut out[skip + axis];
            if *o == 1 {
                *o = d;
            } else if d != 1 && d != *o {
                let all: Vec<_> = shapes.iter().map(|s| format!("{s:?}")).collect();
                return Err(format!("shapes {} do not broadcast: {o} against {d}", all.join(", ")));
            }
        }
    }
    Ok(out)
}

/// An axis counted from the front, negative ones from the back.
///
/// # Errors
/// If it is outside the rank.
pub fn normalize_axis(axis: i64, rank: usize) -> Result<usize, String> {
    let n = rank as i64;
    let a = if axis < 0 { axis + n } else { axis };
    if (0..n).contains(&a) { Ok(a as usize) } else { Err(format!("axis {axis} of rank {rank}")) }
}

/// Sorted, distinct, normalized axes; an empty list means all.
pub fn axes_of(attrs: &Attrs, rank: usize) -> Result<Vec<usize>, String> {
    let given = attrs.ints("axes");
    if given.is_empty() {
        return Ok((0..rank).collect());
    }
    let mut axes: Vec<_> =
        given.iter().map(|&a| normalize_axis(a, rank)).collect::<Result<_, _>>()?;
    axes.sort_unstable();
    if axes.windows(2).any(|w| w[0] == w[1]) {
        return Err(format!("axes {given:?} name one axis twice"));
    }
    Ok(axes)
}

/// Elementwise on operands of one type, which the result has too.
pub fn same(types: Types, allowed: &[DType]) -> Inferred {
    expect_dtype("operand 1", types[0], allowed)?;
    if let Some(other) = types.iter().find(|t| t.dtype != types[0].dtype) {
        return Err(format!("operands are of types {} and {}", types[0], other));
    }
    let shapes: Vec<_> = types.iter().map(|t| &t.shape[..]).collect();
    Ok(TensorType::new(types[0].dtype, broadcast_shapes(&shapes)?))
}

/// Elementwise on `f32`.
pub fn float(types: Types, _: &Attrs) -> Inferred {
    same(types, &[DType::F32])
}

/// Elementwise on numbers.
pub fn number(types: Types, _: &Attrs) -> Inferred {
    same(types, &[DType::F32, DType::I32, DType::I64])
}

/// Elementwise on truth values or integers.
pub fn logical(types: Types, _: &Attrs) -> Inferred {
    same(types, &[DType::Bool, DType::I32, DType::I64])
}

/// Elementwise on integers.
pub fn integer(types: Types, _: &Attrs) -> Inferred {
    same(types, &[DType::I32, DType::I64])
}

/// Comparison: operands of one type, result `bool`.
pub fn compare(types: Types, _: &Attrs) -> Inferred {
    Ok(TensorType::new(DType::Bool, same(types, &DType::ALL)?.shape))
}

/// Sizes from an attribute.
///
/// # Errors
/// If one is negative.
pub fn sizes(attrs: &Attrs, name: &str) -> Result<Vec<usize>, String> {
    attrs
        .ints(name)
        .iter()
        .map(|&d| usize::try_from(d).map_err(|_| format!("attribute '{name}' has {d} in it")))
        .collect()
}

/// Check the length of a list attribute.
pub fn expect_len(attrs: &Attrs, name: &str, n: usize) -> Result<(), String> {
    let got = attrs.ints(name).len();
    if got == n { Ok(()) } else { Err(format!("'{name}' has {got} entries, not {n}")) }
}

/// The shape with the given axes removed or set to 1.
pub fn reduced(shape: &[usize], axes: &[usize], keep: bool) -> Vec<usize> {
    let pick = |(i, &d): (usize, &usize)| match (axes.contains(&i), keep) {
        (false, _) => Some(d),
        (true, true) => Some(1),
        (true, false) => None,
    };
    shape.iter().enumerate().filter_map(pick).collect()
}
