//! Exact gradients are the differences of the program inside a segment, `==`.

use pamc_passes::arith::Arith;
use pamc_passes::build::Cx;
use pamc_passes::ir::NodeId;
use pamc_passes::reference::LN2_TERMS;

use crate::common::*;

/// Compare the exact gradient of an elementwise term with its difference quotients. A sample counts
/// where the term is affine over x − h, x, x + 3h/4, x + h by its own values (around a zero factor
/// there is a segment for each power of two); returns how many did.
fn check(arith: Arith, x: &[Vec<f32>], step_bits: i32, f: Term<'_>) -> usize {
    let n = x[0].len();
    let inputs: Vec<_> = x.iter().map(|v| tensor(&[n], v)).collect();
    let ones = tensor(&[n], &vec![1.0; n]);
    let got = gradients(arith, "exact", &inputs, &ones, f);
    let y = floats(&got, "y");
    let mut counted = 0;
    for (i, v) in x.iter().enumerate() {
        let step = |x: &f32| {
            let exponent = (x.abs().to_bits() >> 23) as i32 - 127;
            2f32.powi(exponent - step_bits)
        };
        let moved = |sign: f32| {
            let mut inputs = inputs.clone();
            let shifted: Vec<f32> = v.iter().map(|x| x + sign * step(x)).collect();
            inputs[i] = tensor(&[n], &shifted);
            evaluate(arith, &inputs, f).to_vec::<f32>().unwrap()
        };
        let [up, most, down] = [1.0, 0.75, -1.0].map(moved);
        let slope = floats(&got, &format!("g{i}"));
        for j in 0..n {
            let rise = f64::from(up[j]) - f64::from(y[j]);
            let fall = f64::from(y[j]) - f64::from(down[j]);
            if rise == fall && f64::from(most[j]) - f64::from(y[j]) == 0.75 * rise {
                let quotient = rise / f64::from(step(&v[j]));
                let at: Vec<f32> = x.iter().map(|v| v[j]).collect();
                assert_eq!(f64::from(slope[j]), quotient, "operand {i} at {at:?}, y = {}", y[j]);
                counted += 1;
            }
        }
    }
    counted
}

/// Mantissas of 8 bits and steps of 2^(E − 10): every result is exact in 24 bits.
#[test]
fn primitives() {
    type Case = (&'static str, usize, bool, fn(&mut Cx<'_>, &[NodeId]) -> NodeId);
    let cases: [Case; 18] = [
        ("mul", 2, true, |cx, x| cx.mul(x[0], x[1])),
        ("div", 2, true, |cx, x| cx.div(x[0], x[1])),
        ("square", 1, true, |cx, x| cx.mul(x[0], x[0])),
        ("exp2", 1, true, |cx, x| cx.exp2(x[0])),
        ("log2", 1, false, |cx, x| cx.log2(x[0])),
        ("sqrt", 1, false, |cx, x| cx.sqrt(x[0])),
        ("scale2", 1, true, |cx, x| cx.scale2(x[0], -3)),
        ("shift_sum", 1, true, |cx, x| cx.shift_sum(x[0], LN2_TERMS)),
        ("add", 2, true, |cx, x| cx.add(x[0], x[1])),
        ("sub", 2, true, |cx, x| cx.sub(x[0], x[1])),
        ("neg", 1, true, |cx, x| cx.neg(x[0])),
        ("abs", 1, true, |cx, x| cx.abs(x[0])),
        ("min", 2, true, |cx, x| cx.min(x[0], x[1])),
        ("max", 2, true, |cx, x| cx.max(x[0], x[1])),
        ("floor", 1, true, |cx, x| cx.floor(x[0])),
        ("relu", 1, true, |cx, x| {
            let zero = cx.scalar(0f32);
            let below = cx.lt(x[0], zero);
            cx.select(below, zero, x[0])
        }),
        ("matmul", 2, true, |cx, x| {
            let n = cx.shape(x[0])[0];
            let (a, b) = (cx.reshape(x[0], &[n, 1, 1]), cx.reshape(x[1], &[n, 1, 1]));
            let y = cx.matmul(a, b, false, false);
            cx.reshape(y, &[n])
        }),
        ("reduce_max", 2, true, |cx, x| {
            let n = cx.shape(x[0])[0];
            let (a, b) = (cx.reshape(x[0], &[n, 1]), cx.reshape(x[1], &[n, 1]));
            let attrs = pamc_passes::ir::Attrs::none().with("axis", 1i64);
            let both = cx.op_with("concat", &[a, b], attrs);
            cx.reduce_max(both, &[1], false)
        }),
    ];
    let mut rng = Rng(11);
    for (name, arity, signed, f) in cases {
        let x: Vec<Vec<f32>> =
            (0..arity).map(|_| (0..500).map(|_| rng.coarse(8, 3, signed)).collect()).collect();
        let counted = check(PAPER, &x, 10, &f);
        // Most samples are away from a kink; "floor" counts the zero slope.
        assert!(counted >= 400 * arity, "{name}: only {counted} samples of {}", 500 * arity);
    }
}

fn random_term(rng: &mut Rng) -> Vec<(usize, usize, usize)> {
    (0..2 + rng.below(4)).map(|_| (rng.below(11), rng.below(8), rng.below(8))).collect()
}

fn apply(cx: &mut Cx<'_>, inputs: &[NodeId], steps: &[(usize, usize, usize)]) -> NodeId {
    let mut values = inputs.to_vec();
    for &(op, i, j) in steps {
        let (a, b) = (values[values.len() - 1 - i % values.len().min(2)], values[j % values.len()]);
        let y = match op {
            0 | 1 => cx.mul(a, b),
            2 => cx.div(a, b),
            3 => {
                // Keep out of saturation.
                let (low, high) = (cx.scalar(-4f32), cx.scalar(4f32));
                let bounded = cx.max(a, low);
                let bounded = cx.min(bounded, high);
                cx.exp2(bounded)
            }
            4 => {
                let magnitude = cx.abs(a);
                cx.log2(magnitude)
            }
            5 => {
                let magnitude = cx.abs(a);
                cx.sqrt(magnitude)
            }
            6 => cx.add(a, b),
            7 => cx.sub(a, b),
            8 => cx.max(a, b),
            9 => cx.min(a, b),
            _ => cx.scale2(a, 1),
        };
        values.push(y);
    }
    values[values.len() - 1]
}

/// Chains of up to five operations on three inputs, at points of few enough bits to be exact.
#[test]
fn random_compositions() {
    let mut counted = 0;
    // Where an inner function has a kink, two kinks may cancel in the value but not in the product
    // of slopes: odd mantissas keep the samples off the kinks.
    let odd = |x: f32| f32::from_bits(x.to_bits() | 1 << 17);
    for seed in 0..200 {
        let mut rng = Rng(1000 + seed);
        let steps = random_term(&mut rng);
        let x: Vec<Vec<f32>> =
            (0..3).map(|_| (0..30).map(|_| odd(rng.coarse(5, 1, true))).collect()).collect();
        counted += check(PAPER, &x, 8, &|cx, x| apply(cx, x, &steps));
    }
    assert!(counted > 10_000, "only {counted} samples of 18000 were inside a segment");
}
