use super::*;
use crate::testing::{EDGES, Random};

fn holds(range: Range, x: f32) -> bool {
    let x = r::flush(x);
    let power = x.is_infinite() || x.to_bits() & 0x007F_FFFF == 0;
    match x {
        _ if x.is_nan() => range.nan,
        _ if x == 0.0 => {
            let listed = if x.is_sign_negative() { range.neg_zero } else { range.pos_zero };
            listed && range.lo <= 0.0 && range.hi >= 0.0
        }
        _ => range.lo <= x && x <= range.hi && x.abs() >= range.tiny && (!range.pow2 || power),
    }
}

fn some(rng: &mut Random) -> Vec<f32> {
    (0..1 + rng.below(3))
        .map(|_| if rng.one_in(2) { rng.wild() } else { rng.pick(EDGES) })
        .collect()
}

fn hull(x: &[f32]) -> Range {
    x.iter().fold(Range::NONE, |all, v| all.join(Range::of(*v)))
}

/// Every transfer function holds the results of every combination of sampled values.
#[test]
fn transfer_functions_are_sound() {
    type Unary = (&'static str, fn(Range) -> Range, fn(f32) -> f32);
    let unary: [Unary; 9] = [
        ("neg", Range::negated, |x| -x),
        ("abs", Range::abs, f32::abs),
        ("exp2", Range::exp2, r::exp2),
        ("log2", Range::log2, r::log2),
        ("sqrt", Range::sqrt, r::sqrt),
        ("scale2", |a| a.scale2(-3), |x| r::scale2(x, -3)),
        ("floor", |a| a.rounded(f32::floor), f32::floor),
        ("coarse", Range::coarse, |x| x),
        ("sum of one", |a| a.sum(1), |x| r::reduce_sum([x].into_iter())),
    ];
    type Binary = (&'static str, fn(Range, Range) -> Range, fn(f32, f32) -> f32);
    let binary: [Binary; 5] = [
        ("mul", Range::times, r::mul),
        ("div", Range::over, r::div),
        ("add", Range::plus, r::add),
        ("min", |a, b| a.extremum(b, true), r::min),
        ("max", |a, b| a.extremum(b, false), r::max),
    ];
    let mut rng = Random::new(1);
    for _ in 0..20_000 {
        let (a, b) = (some(&mut rng), some(&mut rng));
        let (ra, rb) = (hull(&a), hull(&b));
        for x in a.iter().map(|x| r::flush(*x)) {
            for (name, range, f) in unary {
                assert!(
                    holds(range(ra), f(x)),
                    "{name}({x:?}) = {:?} is not in {:?} from {ra:?}",
                    f(x),
                    range(ra)
                );
            }
            for y in b.iter().map(|y| r::flush(*y)) {
                for (name, range, f) in binary {
                    let (z, set) = (f(x, y), range(ra, rb));
                    assert!(
                        holds(set, z),
                        "{name}({x:?}, {y:?}) = {z:?} is not in {set:?} from {ra:?}, {rb:?}"
                    );
                }
                assert!(holds(ra.join(rb), x));
            }
            assert!(holds(ra.meet(Range::ANY), x));
        }
    }
}
