//! Learning rates as functions of the step counter, without a product of two numbers of the run.
//!
//! A line in the step is exact up to rounding: the step's bits select from a constant's multiples
//! by powers of two. The cosine is a table with PAM interpolation between its entries; only the
//! inverse square root has PAM's own error.

use std::f64::consts::PI;
use std::str::FromStr;

use super::spec::{OptionError, Options};
use crate::build::Cx;
use crate::ir::{DType, NodeId, Tensor};

/// Intervals of the cosine table, as a power of two.
const TABLE_BITS: i32 = 8;
/// Bits of the step counter.
const STEP_BITS: i32 = 31;

/// Shape of the curve after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Curve {
    /// Stays at the peak.
    #[default]
    Constant,
    /// A line down to the floor at `total`.
    Linear,
    /// Half a cosine down to the floor at `total`.
    Cosine,
    /// peak · √(warmup / step).
    InverseSqrt,
}

/// A learning-rate schedule: linear warm-up, then a curve.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Schedule {
    /// The curve after the warm-up.
    pub curve: Curve,
    /// Steps of warm-up; step t (from 0) of them has the rate peak · (t + 1) / warmup.
    pub warmup: u32,
    /// Step at which linear and cosine curves reach the floor; they stay there.
    pub total: Option<u32>,
    /// Share of the peak at which they end.
    pub floor: f64,
}

impl FromStr for Schedule {
    type Err = OptionError;

    /// `constant`, `linear:total=1000`, `cosine:warmup=100,total=5000,floor=0.1`,
    /// `inverse_sqrt:warmup=4000`.
    fn from_str(s: &str) -> Result<Self, OptionError> {
        let mut options = Options::new(s);
        let curve = match options.name {
            "constant" => Curve::Constant,
            "linear" => Curve::Linear,
            "cosine" => Curve::Cosine,
            "inverse_sqrt" => Curve::InverseSqrt,
            name => {
                let known = "constant, linear, cosine, inverse_sqrt";
                return Err(OptionError::Kind { what: "schedule", name: name.into(), known });
            }
        };
        let mut schedule = Schedule { curve, ..Schedule::default() };
        options.read("warmup", &mut schedule.warmup)?;
        if matches!(curve, Curve::Linear | Curve::Cosine) {
            let mut total = 0u32;
            options.read("total", &mut total)?;
            schedule.total = (total > 0).then_some(total);
            options.read("floor", &mut schedule.floor)?;
        }
        options.finish()?;
        Ok(schedule)
    }
}

impl Schedule {
    /// True if the rate never moves, so that no step counter is needed.
    pub fn is_fixed(&self) -> bool {
        self.curve == Curve::Constant && self.warmup == 0
    }

    /// What makes no sense about it.
    pub(super) fn problem(&self) -> Option<String> {
        let bounded = matches!(self.curve, Curve::Linear | Curve::Cosine);
        match self.total {
            _ if !(0.0..=1.0).contains(&self.floor) => {
                Some(format!("the floor is {}, but must be a share in [0, 1]", self.floor))
            }
            _ if self.warmup > i32::MAX as u32 => Some("the warm-up is too long".into()),
            None if bounded => Some("the schedule needs the total number of steps".into()),
            Some(n) if bounded && (n <= self.warmup || n > i32::MAX as u32) => Some(format!(
                "the schedule ends at step {n}, but its warm-up takes {} steps",
                self.warmup
            )),
            _ => None,
        }
    }

    /// The real curve, in f64: what [`Schedule::rate`] computes in the program's arithmetic.
    pub fn reference(&self, peak: f64, step: u32) -> f64 {
        let (t, warmup) = (f64::from(step), f64::from(self.warmup));
        if step < self.warmup {
            return peak * (t + 1.0) / warmup;
        }
        let span = f64::from(self.total.unwrap_or(u32::MAX)) - warmup;
        let left = 1.0 - ((t - warmup) / span).min(1.0);
        let fall = |share: f64| peak * (self.floor + (1.0 - self.floor) * share);
        match self.curve {
            Curve::Constant => peak,
            Curve::Linear => fall(left),
            Curve::Cosine => fall((1.0 + ((1.0 - left) * PI).cos()) / 2.0),
            Curve::InverseSqrt => peak * (warmup.max(1.0) / (t + 1.0)).sqrt(),
        }
    }

    /// The learning rate at `step` (i32[], from 0).
    pub(super) fn rate(&self, cx: &mut Cx<'_>, peak: f64, step: NodeId) -> NodeId {
        let warmup = self.warmup as i32;
        let one = cx.scalar(1i32);
        let next = cx.add(step, one);
        let curve = self.curve_at(cx, peak, step, next);
        if warmup == 0 {
            return curve;
        }
        let end = cx.scalar(warmup);
        let warming = cx.lt(step, end);
        let ramp = line(cx, next, peak / f64::from(warmup));
        cx.select(warming, ramp, curve)
    }

    fn curve_at(&self, cx: &mut Cx<'_>, peak: f64, step: NodeId, next: NodeId) -> NodeId {
        let warmup = self.warmup as i32;
        let total = self.total.map_or(i32::MAX, |n| n as i32);
        let span = f64::from(total) - f64::from(warmup);
        match self.curve {
            Curve::Constant => cx.scalar(peak as f32),
            Curve::Linear => {
                let (end, zero) = (cx.scalar(total), cx.scalar(0i32));
                let left = cx.sub(end, step);
                let left = cx.max(left, zero);
                let above = line(cx, left, peak * (1.0 - self.floor) / span);
                cx.add_const(above, (peak * self.floor) as f32)
            }
            Curve::Cosine => {
                let (begin, zero) = (cx.scalar(warmup), cx.scalar(0i32));
                let done = cx.sub(step, begin);
                let done = cx.max(done, zero);
                let last = cx.scalar(total - warmup);
                let done = cx.min(done, last);
                let entries = f64::from(1 << TABLE_BITS);
                let place = line(cx, done, entries / span);
                let at = |i: i32| (1.0 + (PI * f64::from(i) / entries).cos()) / 2.0;
                let value = |i| peak * (self.floor + (1.0 - self.floor) * at(i));
                interpolate(cx, place, &|i| value(i) as f32)
            }
            Curve::InverseSqrt => {
                let n = cx.cast(next, DType::F32);
                let root = cx.sqrt(n);
                let scale = cx.scalar((peak * f64::from(warmup.max(1)).sqrt()) as f32);
                cx.div(scale, root)
            }
        }
    }
}

/// n · c for an i32 scalar n ≥ 0: Σ over the set bits k of n of c · 2ᵏ.
fn line(cx: &mut Cx<'_>, n: NodeId, c: f64) -> NodeId {
    let places = cx.iota(DType::I32, &[STEP_BITS as usize], 0);
    let shifted = cx.shr(n, places);
    let one = cx.scalar(1i32);
    let bit = cx.and(shifted, one);
    let set = cx.cast(bit, DType::Bool);
    let multiples: Vec<f32> = (0..STEP_BITS).map(|k| (c * 2f64.powi(k)) as f32).collect();
    let multiples = cx.constant(Tensor::vector(multiples));
    let zero = cx.scalar(0f32);
    let parts = cx.select(set, multiples, zero);
    cx.sum(parts, &[0], false)
}

/// A function of a place in 0 ..= 2^TABLE_BITS, linear between its values at the whole numbers.
fn interpolate(cx: &mut Cx<'_>, place: NodeId, value: &dyn Fn(i32) -> f32) -> NodeId {
    let n = 1 << TABLE_BITS;
    let values = cx.constant(Tensor::vector((0..=n).map(value).collect::<Vec<_>>()));
    let rises: Vec<f32> = (0..=n).map(|i| value((i + 1).min(n)) - value(i)).collect();
    let rises = cx.constant(Tensor::vector(rises));
    let whole = cx.floor(place);
    let rest = cx.sub(place, whole);
    let index = cx.cast(whole, DType::I32);
    let (low, rise) = (cx.gather(values, index, 0), cx.gather(rises, index, 0));
    let part = cx.mul(rise, rest);
    cx.add(low, part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arith::Arith;
    use crate::interpret::{Values, run};
    use crate::ir::{Graph, InputKind, Origin, TensorType};
    use crate::program::Program;

    fn check(text: &str, arith: Arith, below: f64, above: f64) {
        let schedule: Schedule = text.parse().unwrap();
        assert_eq!(schedule.problem(), None);
        let (peak, mut graph) = (3e-4, Graph::new("schedule"));
        let ty = TensorType::new(DType::I32, []);
        let step = graph.input("step", ty, InputKind::State).unwrap();
        let mut cx = Cx::new(&mut graph, Origin::new("schedule"), arith);
        let rate = schedule.rate(&mut cx, peak, step);
        cx.finish(()).unwrap();
        graph.output("lr", rate).unwrap();
        let program = Program::new(graph, arith).unwrap();
        for t in (0..1200).chain([5000, 123_456_789, i32::MAX - 1]) {
            let inputs = Values::from([("step".to_string(), Tensor::scalar(t))]);
            let got = f64::from(run(&program, &inputs).unwrap()["lr"].item::<f32>().unwrap());
            let want = schedule.reference(peak, t as u32);
            let error = (got - want) / peak.min(want.max(1e-2 * peak));
            assert!((-below..=above).contains(&error), "{text} at {t}: {got} against {want}");
        }
    }

    #[test]
    fn curves_follow_the_real_ones() {
        for arith in [Arith::PAM, Arith::Float] {
            check("constant:warmup=100", arith, 1e-6, 1e-6);
            check("linear:total=1000", arith, 1e-5, 1e-5);
            check("linear:warmup=37,total=1000,floor=0.1", arith, 1e-5, 1e-5);
            check("cosine:total=900", arith, 1e-2, 1e-2);
            check("cosine:warmup=100,total=1000,floor=0.1", arith, 2e-3, 2e-3);
        }
        // ⊘ is up to 12.5 % too large, the root below it up to 6.1 %.
        check("inverse_sqrt:warmup=64", Arith::PAM, 0.061, 0.126);
        check("inverse_sqrt", Arith::PAM, 0.061, 0.126);
        check("inverse_sqrt:warmup=50", Arith::Float, 1e-6, 1e-6);
    }

    #[test]
    fn senseless_schedules() {
        let problem = |s: &str| s.parse::<Schedule>().unwrap().problem();
        assert!(problem("cosine").unwrap().contains("total number of steps"));
        assert!(problem("linear:total=10,warmup=10").unwrap().contains("warm-up takes 10"));
        assert!(problem("linear:total=10,floor=2").unwrap().contains("floor"));
        assert!("constant:total=3".parse::<Schedule>().is_err());
    }
}
