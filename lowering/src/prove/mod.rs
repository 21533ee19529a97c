//! Proofs that emitted code computes what the reference does.
//!
//! The MLIR that is emitted is translated, operation by operation, into SMT-LIB, beside the one definition
//! of each primitive ([`pamc_passes::semantics`]) on symbols; a solver looks for operands on which they
//! differ. This covers every elementwise primitive, in code for each sort of machine, and every version of
//! a product in the contraction kernels, with the packing that learns what their operands are and the
//! choice of a version from it.

mod bound;
mod every;
mod kernel;
mod pairs;
mod primitive;
mod smt;
mod sum;
#[cfg(test)]
mod tests;
mod trial;

use std::io;
use std::time::Duration;

use pamc_passes::prove::solver::{Answer, decide};
use pamc_passes::prove::{Obligation, Status};
use pamc_passes::semantics::Format;

use crate::Error;

pub use pairs::exhaust;

const F: Format = Format::F32;

/// What has to be proven of emitted code.
///
/// # Errors
/// If a primitive is not emitted.
pub fn obligations() -> Result<Vec<Obligation<'static>>, Error> {
    let mut all = sum::obligations();
    all.extend(primitive::obligations()?);
    all.extend(kernel::obligations()?);
    all.extend(every::obligations());
    all.extend(bound::obligations());
    Ok(all)
}

/// Something claimed of operands.
#[derive(Clone, Debug)]
struct Problem {
    /// Definitions, and what is assumed, as SMT-LIB.
    given: String,
    /// What then holds.
    claim: String,
    /// Names of the operands.
    operands: Vec<String>,
}

impl Problem {
    /// What counterexamples alone satisfy.
    fn refutation(&self) -> String {
        format!("{}(assert (not {}))\n", self.given, self.claim)
    }

    fn solve(&self, name: &str, limit: Duration) -> io::Result<Status> {
        let (solver, answer, _) = decide(&self.refutation(), &self.operands, limit)?;
        Ok(match (solver, answer) {
            (Some(solver), Answer::Unsatisfiable) => Status::Proven(solver),
            (_, Answer::Satisfiable(at)) => {
                let at: Vec<_> = at.iter().map(|x| format!("{x:#010x}")).collect();
                Status::Refuted(format!("{name} differs from the reference at {}", at.join(", ")))
            }
            _ => Status::TimedOut,
        })
    }

    fn obligation(self, kind: &'static str, subject: String, domain: &str) -> Obligation<'static> {
        let name = subject.clone();
        Obligation {
            kind,
            subject,
            domain: domain.into(),
            wide: false,
            work: Box::new(move |limit| self.solve(&name, limit)),
        }
    }
}
