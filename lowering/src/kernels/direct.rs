//! Tiny contractions: no packing, one element at a time, right on every input.

use super::axis::Axis;
use super::driver::{Pointers, batch_offset};
use super::plan::{Plan, SlopeOf};
use super::product::{Parts, fraction, full_product, full_slope};
use super::text::{Lanes, Text, Val};
use super::{Arith, CHUNK, Kind, Operand, Output};

const ONE: Lanes = Lanes(1);

/// Writes the body of a contraction function that loops over all output elements.
pub(super) fn body(t: &mut Text, plan: &Plan, operands: &Pointers) {
    let spec = &plan.spec;
    if plan.batch() == 0 {
        return;
    }
    t.each(plan.parallel, plan.batch() as i64, |t, element| {
        let base = |t: &mut Text, pointer: &str, operand: &Operand| {
            let offset = batch_offset(t, plan, operand, element);
            t.at(pointer, &offset)
        };
        let a = base(t, &operands.left, &spec.a);
        let b = base(t, &operands.right, &spec.b);
        let out = base(t, &operands.out, &spec.out);
        let at = match (&operands.at, &spec.kind) {
            (Some(pointer), Kind::Slope { at }) => Some((base(t, pointer, at), at)),
            _ => None,
        };
        let [m, n] = [spec.m, spec.n].map(|x| t.i64(x as i64));
        t.loop_to(&m, 1, |t, row| {
            t.loop_to(&n, 1, |t, column| {
                let fraction = at.as_ref().map(|(pointer, operand)| {
                    let p = cell(t, pointer, operand, ([row, column], [spec.m, spec.n]));
                    let x = t.load(&p, "i32");
                    fraction(t, &x, ONE)
                });
                let total = sum(t, plan, [&a, &b], [row, column], fraction.as_deref());
                let p = cell(t, &out, &spec.out, ([row, column], [spec.m, spec.n]));
                let total = match spec.output {
                    Output::Store => total,
                    _ => {
                        let before = t.load(&p, "f32");
                        t.bin("addf", &before, &total, "f32")
                    }
                };
                t.store(&total, &p, "f32");
            });
        });
    });
}

/// Where the element at the given row and column lies in an operand of the given extents.
fn cell(
    t: &mut Text,
    base: &str,
    operand: &Operand,
    (at, extents): ([&str; 2], [usize; 2]),
) -> Val {
    let [row, column] = [0, 1].map(|i| Axis::of(operand, i, extents[i]).offset(t, at[i]));
    let index = t.bin("addi", &row, &column, "i64");
    t.at(base, &index)
}

fn sum(
    t: &mut Text,
    plan: &Plan,
    [a, b]: [&str; 2],
    [row, column]: [&str; 2],
    fraction: Option<&str>,
) -> Val {
    let spec = &plan.spec;
    let float = ONE.float();
    let zero = t.zero(ONE);
    let [none, depth] = [0, spec.k as i64].map(|v| t.i64(v));
    let start = [(zero.clone(), float.clone())];
    let chunk = CHUNK as i64;
    let total = t.loop_with([&none, &depth], chunk, &start, |t, first, total| {
        let end = t.i64_op("addi", first, chunk);
        let end = t.bin("minsi", &end, &depth, "i64");
        let part = t.loop_with([first, &end], 1, &start, |t, k, part| {
            let p = cell(t, a, &spec.a, ([row, k], [spec.m, spec.k]));
            let x = t.load(&p, "i32");
            let p = cell(t, b, &spec.b, ([k, column], [spec.k, spec.n]));
            let y = t.load(&p, "i32");
            if spec.arith == Arith::Float {
                let [x, y] = [x, y].map(|v| t.as_float(&v, ONE));
                return vec![t.def(&format!("math.fma {x}, {y}, {} : f32", part[0]))];
            }
            let term = product(t, plan.slope_of, [&x, &y], fraction);
            vec![t.bin("addf", &part[0], &term, &float)]
        });
        vec![t.bin("addf", &total[0], &part[0], &float)]
    });
    total[0].clone()
}

/// A term of the sum from the bits of its operands and the fraction bits of what a slope is taken at.
pub(super) fn product(
    t: &mut Text,
    slope_of: Option<SlopeOf>,
    [x, y]: [&str; 2],
    fraction: Option<&str>,
) -> Val {
    let (x, y) = match (slope_of, fraction) {
        (Some(SlopeOf::Left), Some(f)) => (full_slope(t, f, x, ONE), y.to_string()),
        (Some(SlopeOf::Right), Some(f)) => (x.to_string(), full_slope(t, f, y, ONE)),
        _ => (x.to_string(), y.to_string()),
    };
    let [x, y] = [x, y].map(|v| Parts::of(t, &v, ONE));
    let term = full_product(t, &x, &y, ONE);
    t.as_float(&term, ONE)
}
