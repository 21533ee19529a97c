//! Elements of matrices that lie in the windows of an image.

use super::super::builder::Builder;
use super::super::kernel;
use super::super::nest::INDEX;
use super::super::types::Value;
use super::loops::index;
use crate::schedule::windows::Windows;

/// The address of the element in a row and column, and whether it is there at all, if some are not: the
/// others are zeros, and any address serves.
pub(super) fn locate(
    b: &mut Builder,
    windows: &Windows,
    base: Value,
    at: [Value; 2],
) -> (Value, Option<Value>) {
    let mut address = base;
    let before = |&(lo, _): &(i64, usize)| lo;
    let mut positions: Vec<Value> =
        windows.axes.iter().map(before).map(|lo| b.int(INDEX, -lo)).collect();
    for (at, digits) in at.into_iter().zip(&windows.digits) {
        let extents: Vec<usize> = digits.iter().map(|d| d.extent).collect();
        let values = kernel::split(b, at, &extents);
        for (value, digit) in values.into_iter().zip(digits) {
            address = moved(b, address, value, digit.stride);
            if let Some((axis, far)) = digit.moves {
                positions[axis] = moved(b, positions[axis], value, far);
            }
        }
    }
    let mut inside: Option<Value> = None;
    for (position, &(_, extent)) in positions.into_iter().zip(&windows.axes) {
        // One before the first is a large number.
        let end = index(b, extent);
        let here = b.compare("ult", position, end);
        inside = Some(inside.map_or(here, |all| b.binary("arith.andi", all, here)));
    }
    if let Some(inside) = inside {
        let first = index(b, 0);
        address = b.select(inside, address, first);
    }
    (address, inside)
}

fn moved(b: &mut Builder, from: Value, by: Value, stride: i64) -> Value {
    let stride = b.int(INDEX, stride);
    let term = b.binary("arith.muli", by, stride);
    b.binary("arith.addi", from, term)
}
