//! What compiled code really computes with.
#![doc = include_str!("METHOD.md")]

mod amdgcn;
mod calls;
pub mod flow;
mod formats;
mod guards;
mod lanes;
mod llvm_ir;
pub mod machine;
mod memory;
pub(crate) mod mlir;
mod names;
mod native;
mod nodes;
mod ptx;
mod sass;
mod spirv;

pub use calls::{EXTERNALS, External};
pub use formats::{Format, Outcome, audit as file};
pub use nodes::Nodes;

use crate::Error;
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Float multiply.
    Multiply,
    /// Float divide or remainder.
    Divide,
    /// Fused multiply-add, of any signs.
    FusedMultiplyAdd,
    /// Float square root.
    SquareRoot,
    /// Exponential, logarithm, trigonometric function, power.
    Transcendental,
    /// Approximate reciprocal, reciprocal root or exponential.
    Approximation,
    /// Dot and matrix products, convolutions.
    DotProduct,
    /// Integer multiply on vectors: tensor data, not addresses.
    VectorIntegerMultiply,
    /// Scalar integer multiply or divide whose result becomes data.
    IntegerMultiply,
    /// Call of a library function that computes one of these.
    LibraryCall,
    /// Call of a function that is neither in the file nor known.
    UnknownCall,
    /// Instruction or operation that the audit does not know.
    Unknown,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 12] = [
        Kind::Multiply,
        Kind::Divide,
        Kind::FusedMultiplyAdd,
        Kind::SquareRoot,
        Kind::Transcendental,
        Kind::Approximation,
        Kind::DotProduct,
        Kind::VectorIntegerMultiply,
        Kind::IntegerMultiply,
        Kind::LibraryCall,
        Kind::UnknownCall,
        Kind::Unknown,
    ];

    /// True if what was found is a call of a function elsewhere.
    pub fn is_call(self) -> bool {
        matches!(self, Kind::LibraryCall | Kind::UnknownCall)
    }

    /// In words, plural.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Multiply => "float multiplies",
            Kind::Divide => "float divides",
            Kind::FusedMultiplyAdd => "fused multiply-adds",
            Kind::SquareRoot => "square roots",
            Kind::Transcendental => "transcendental functions",
            Kind::Approximation => "reciprocal approximations",
            Kind::DotProduct => "dot products",
            Kind::VectorIntegerMultiply => "vector integer multiplies",
            Kind::IntegerMultiply => "integer multiplies of data",
            Kind::LibraryCall => "calls of the math library",
            Kind::UnknownCall => "calls of unknown functions",
            Kind::Unknown => "unknown operations",
        }
    }
}

/// What is in one function, kernel or graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Number of instructions or operations.
    pub operations: usize,
    /// Integer multiplies and divides that only addresses, bounds and conditions over indices use.
    pub address_multiplies: usize,
    /// Integer multiplies and divides by 0 or ± a power of two: moves, negations, shifts.
    pub shifts: usize,
    /// Multiplies of constants only: they load a number.
    pub constants: usize,
}

/// One operation that must not be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What sort of operation.
    pub kind: Kind,
    /// Function, kernel or graph it is in.
    pub function: String,
    /// Instruction or operation.
    pub what: String,
    /// Address or line in the audited file.
    pub place: String,
    /// Where it comes from: file and line, or nodes of the model, if the file says.
    pub source: Option<String>,
    /// Why an integer multiply is not address arithmetic.
    pub reason: Option<String>,
}

/// What was found in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What sort of file it is.
    pub format: String,
    /// Every function, in the order of the file.
    pub functions: Vec<Function>,
    /// Every finding.
    pub findings: Vec<Finding>,
    /// Bytes in code sections that are no instruction.
    pub undecoded: usize,
}

impl Report {
    /// True if nothing was found and all code was understood.
    pub fn is_multiplication_free(&self) -> bool {
        self.findings.is_empty() && self.undecoded == 0
    }

    /// Number of findings of one kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|f| f.kind == kind).count()
    }

    /// Number of instructions or operations.
    pub fn operations(&self) -> usize {
        self.functions.iter().map(|f| f.operations).sum()
    }

    /// Number of integer multiplies and divides that compute addresses.
    pub fn address_multiplies(&self) -> usize {
        self.functions.iter().map(|f| f.address_multiplies).sum()
    }
}

/// One line of totals, then one for each sort of finding in each function.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} instructions", self.operations())?;
        for kind in Kind::ALL.into_iter().filter(|k| self.count(*k) > 0) {
            write!(f, ", {} {}", self.count(kind), kind.name())?;
        }
        if self.findings.is_empty() {
            write!(f, ", none multiplies data")?;
        }
        write!(f, ", {} integer multiplies for addresses", self.address_multiplies())?;
        let mut lines = BTreeMap::<_, usize>::new();
        for x in &self.findings {
            let key = (&*x.function, &*x.what, x.reason.as_deref(), x.source.as_deref());
            *lines.entry(key).or_default() += 1;
        }
        for ((function, what, reason, source), count) in lines {
            write!(f, "\n  {function}: {count}×{what}")?;
            if let Some(reason) = reason {
                write!(f, ", which {reason}")?;
            }
            if let Some(source) = source {
                write!(f, " ({source})")?;
            }
        }
        if self.undecoded > 0 {
            write!(f, "\n  {} bytes are no instruction", self.undecoded)?;
        }
        Ok(())
    }
}

/// Audits a file of which the caller knows that it is one module or object, such as one it made.
///
/// # Errors
/// As [`file`]; also if it could not be read here.
pub fn one(bytes: &[u8]) -> Result<Report, Error> {
    match file(bytes)?.pop() {
        Some((_, Outcome::Audited(report))) => Ok(report),
        Some((_, Outcome::Skipped(message))) => Err(Error::Audit { message }),
        None => Err(Error::Audit { message: "an archive without members".into() }),
    }
}

/// Audits an ELF object, shared library or executable for x86-64 or AArch64.
///
/// # Errors
/// [`Error::Object`] for a malformed file, [`Error::Llvm`] for another processor.
pub fn object(bytes: &[u8]) -> Result<Report, Error> {
    native::audit(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_method_names_every_kind_format_and_function() {
        let text = include_str!("METHOD.md");
        for kind in Kind::ALL {
            assert!(text.contains(&format!("**{}**", kind.name())), "{}", kind.name());
        }
        for format in Format::ALL {
            assert!(text.contains(format.name()), "{}", format.name());
        }
        for external in calls::EXTERNALS {
            assert!(text.contains(&format!("`{}`", external.name)), "{}", external.name);
            assert!(!external.why.is_empty(), "{}", external.name);
        }
    }
}
