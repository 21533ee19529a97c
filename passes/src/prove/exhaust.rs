//! Trying every value of every variable in a narrow format.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use egg::Var;

use super::problem::{Class, Problem, exponents};
use crate::semantics::{Format, Lanes};

/// Most tuples that are tried here.
pub const FEW: u64 = 1 << 28;
/// Most tuples that are tried by something faster.
pub const PAIRS: u64 = 1 << 33;

/// How trying every value ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sides agree on all; how many tuples the guards let through.
    Holds(u64),
    /// They differ at these values of the variables.
    Fails(Vec<i64>),
}

/// What each variable ranges over, less what guards about it alone exclude.
pub fn domains(problem: &Problem<'_>, f: Format) -> Vec<Vec<i64>> {
    let all = |class: Class| -> Vec<i64> {
        let values = match class {
            Class::Float | Class::Integer => 0..1 << f.bits(),
            Class::Truth => 0..2,
            Class::Exponent => *exponents(f).start()..exponents(f).end() + 1,
        };
        values.filter(|x| Problem::admissible(f, class, *x)).collect()
    };
    let domain = |&(v, class): &(Var, Class)| {
        let name = v.to_string();
        let guards = problem.rule.spec().guards.iter();
        let alone: Vec<_> = guards.filter(|g| g.variables() == [name.as_str()]).collect();
        let holds = |x: &i64| {
            alone.iter().all(|g| super::guard::promise(f, g, |_| Some(*x)).unwrap_or(false))
        };
        all(class).into_iter().filter(holds).collect()
    };
    problem.variables.iter().map(domain).collect()
}

/// How many tuples [`exhaust`] would try.
pub fn count(problem: &Problem<'_>, f: Format) -> u64 {
    domains(problem, f).iter().fold(1, |n, d| n.saturating_mul(d.len() as u64))
}

/// Try them all, on all processors.
pub fn exhaust(problem: &Problem<'_>, f: Format) -> Outcome {
    let mut order: Vec<(Var, Vec<i64>)> =
        problem.variables.iter().map(|v| v.0).zip(domains(problem, f)).collect();
    // The longest is run through in lanes, innermost.
    order.sort_by_key(|(_, d)| std::cmp::Reverse(d.len()));
    let Some((lanes, rest)) = order.split_first() else { return Outcome::Holds(0) };
    let outer: usize = rest.iter().map(|(_, d)| d.len()).product();
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let result = Mutex::new((0u64, None));
    let search = Search { problem, f, lanes, rest };
    let work = || {
        let mut passed = 0;
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= outer || stop.load(Ordering::Relaxed) {
                break;
            }
            match search.row(i) {
                Outcome::Holds(n) => passed += n,
                Outcome::Fails(at) => {
                    stop.store(true, Ordering::Relaxed);
                    result.lock().unwrap_or_else(|e| e.into_inner()).1 = Some(at);
                }
            }
        }
        result.lock().unwrap_or_else(|e| e.into_inner()).0 += passed;
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|s| (0..threads).for_each(|_| drop(s.spawn(work))));
    let (passed, failed) = result.into_inner().unwrap_or_else(|e| e.into_inner());
    failed.map_or(Outcome::Holds(passed), Outcome::Fails)
}

struct Search<'a> {
    problem: &'a Problem<'a>,
    f: Format,
    lanes: &'a (Var, Vec<i64>),
    rest: &'a [(Var, Vec<i64>)],
}

impl Search<'_> {
    /// All values of the lanes' variable with the `i`-th choice of the others.
    fn row(&self, mut i: usize) -> Outcome {
        let mut fixed: Vec<(Var, i64)> = Vec::with_capacity(self.rest.len());
        for (v, domain) in self.rest {
            fixed.push((*v, domain[i % domain.len()]));
            i /= domain.len();
        }
        let mut passed = 0;
        for chunk in self.lanes.1.chunks(Lanes::COUNT) {
            // A short chunk is filled up with its last value.
            let mut values = [0; Lanes::COUNT];
            for (k, x) in values.iter_mut().enumerate() {
                *x = chunk[k.min(chunk.len() - 1)] as i32;
            }
            let value = |v: Var| match fixed.iter().find(|(w, _)| *w == v) {
                Some((_, x)) => Lanes::from(*x),
                None => Lanes(values),
            };
            let holds = self.problem.promises(self.f, |v| Some(value(v)));
            let agrees = self.problem.agrees(Some(self.f), value);
            let (Some(holds), Some(agrees)) = (holds, agrees) else { continue };
            if let Some(k) = (holds & !agrees).first() {
                let at = |&(v, _): &(Var, Class)| i64::from(value(v).0[k]);
                return Outcome::Fails(self.problem.variables.iter().map(at).collect());
            }
            passed += holds.0[..chunk.len()].iter().filter(|&&x| x != 0).count() as u64;
        }
        Outcome::Holds(passed)
    }
}
