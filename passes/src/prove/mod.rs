//! Proofs: every bit-exact rule as a bit-vector problem for a solver in float32, and by trying every
//! value in 16-bit formats.
//!
//! Both come from the one place where arithmetic has its meaning, [`semantics`](crate::semantics): on
//! symbols it gives the problem, on numbers the trial. What is proven of a rule is that its sides
//! agree in every bit, any NaN being as good as another, wherever its guards' promises hold of the
//! operands, which are any bit patterns but subnormals.

mod exhaust;
mod guard;
mod problem;
pub mod record;
mod rules;
pub mod solver;
pub mod term;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub use exhaust::{Outcome, domains};
pub use problem::{Class, Problem};
pub use rules::{Exhaust, obligations, of_rule};
pub use solver::Solver;

/// What became of an obligation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// A solver found nothing against it.
    Proven(Solver),
    /// Everything was tried; how many cases.
    Exhaustive(u64),
    /// So many cases were tried, which are not all.
    Tried(u64),
    /// It is false, by this counterexample.
    Refuted(String),
    /// No solver decided within the time.
    TimedOut,
}

impl Status {
    /// Whether it is known to hold, or on all cases that were to be tried.
    pub fn holds(&self) -> bool {
        matches!(self, Status::Proven(_) | Status::Exhaustive(_) | Status::Tried(_))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Proven(solver) => write!(f, "proven by {}", solver.name()),
            Status::Exhaustive(n) => write!(f, "exhaustive, {n} cases"),
            Status::Tried(n) => write!(f, "sampled, {n} cases"),
            Status::Refuted(at) => write!(f, "refuted: {at}"),
            Status::TimedOut => f.write_str("timed out"),
        }
    }
}

type Work<'a> = Box<dyn Fn(Duration) -> io::Result<Status> + Send + Sync + 'a>;

/// Something to be proven.
pub struct Obligation<'a> {
    /// What kind of thing it is about: `rule`, `primitive`, `kernel`, `bound`.
    pub kind: &'static str,
    /// What it is about.
    pub subject: String,
    /// Where it is claimed: a format, an integer type.
    pub domain: String,
    /// True if the proof itself uses all processors.
    pub wide: bool,
    /// Finds the status; takes a time limit for each call of a solver.
    pub work: Work<'a>,
}

/// A finished obligation.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// As in [`Obligation`].
    pub kind: &'static str,
    /// As in [`Obligation`].
    pub subject: String,
    /// As in [`Obligation`].
    pub domain: String,
    /// What became of it.
    pub status: Status,
    /// How long that took.
    pub seconds: f64,
}

impl Obligation<'_> {
    /// Find its status, with this time limit for each call of a solver.
    ///
    /// # Errors
    /// If a solver cannot be run or rejects the problem.
    pub fn discharge(&self, limit: Duration) -> io::Result<Verdict> {
        let start = Instant::now();
        let status = (self.work)(limit)?;
        Ok(Verdict {
            kind: self.kind,
            subject: self.subject.clone(),
            domain: self.domain.clone(),
            status,
            seconds: start.elapsed().as_secs_f64(),
        })
    }
}

/// Discharge all, telling of each as it is done: solvers side by side, then one by one those proofs
/// that use all processors themselves. In the order given.
///
/// # Errors
/// If a solver cannot be run or rejects a problem.
pub fn discharge(
    obligations: &[Obligation<'_>],
    limit: Duration,
    done: impl Fn(&Verdict) + Sync,
) -> io::Result<Vec<Verdict>> {
    let narrow: Vec<usize> = (0..obligations.len()).filter(|&i| !obligations[i].wide).collect();
    let verdicts: Mutex<Vec<(usize, io::Result<Verdict>)>> = Mutex::default();
    let next = AtomicUsize::new(0);
    let run = |i: usize| {
        let verdict = obligations[i].discharge(limit);
        if let Ok(v) = &verdict {
            done(v);
        }
        verdicts.lock().unwrap_or_else(|e| e.into_inner()).push((i, verdict));
    };
    let work = || {
        while let Some(&i) = narrow.get(next.fetch_add(1, Ordering::Relaxed)) {
            run(i);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|s| (0..threads).for_each(|_| drop(s.spawn(work))));
    (0..obligations.len()).filter(|&i| obligations[i].wide).for_each(run);
    let mut verdicts = verdicts.into_inner().unwrap_or_else(|e| e.into_inner());
    verdicts.sort_by_key(|(i, _)| *i);
    verdicts.into_iter().map(|(_, v)| v).collect()
}
