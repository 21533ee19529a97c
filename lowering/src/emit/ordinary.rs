//! Ordinary float arithmetic, for programs of the float baseline only.

use super::{builder::Builder, types::Value};

/// One operation of the arith or math dialect on floats.
pub(super) fn apply(b: &mut Builder, op: &str, x: &[Value]) -> Option<Value> {
    Some(match *x {
        [a] => b.unary(op, a),
        [a, c] => b.binary(op, a, c),
        _ => return None,
    })
}
