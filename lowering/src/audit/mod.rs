//! What a compiled object really computes with: multiplications counted by disassembly.
//!
//! "Free of multiplication" is said of tensor data. Scalar integer multiplies compute addresses and
//! are counted apart; everything that multiplies, divides or takes roots of floats, and every
//! integer multiply on vectors, is a finding.

mod classify;
mod disassemble;

pub use classify::Kind;

use crate::{Error, codegen::Arch};
use classify::{Class, classify, is_arithmetic_call};
use disassemble::Disassembler;
use object::{Architecture, Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// What was found in one function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Function {
    /// Symbol name; empty for code before the first symbol.
    pub name: String,
    /// Number of instructions.
    pub instructions: usize,
    /// Number of findings of each kind.
    pub findings: BTreeMap<Kind, usize>,
    /// The findings again, by mnemonic.
    pub mnemonics: BTreeMap<String, usize>,
    /// Scalar integer multiplies and divides: address arithmetic.
    pub integer_multiplies: usize,
}

/// What was found in an object file or shared library.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Every function, in address order.
    pub functions: Vec<Function>,
    /// Undefined symbols that compute products, quotients, roots or transcendentals, sorted.
    pub library_calls: Vec<String>,
    /// Bytes in code sections that are no instruction.
    pub undecoded: usize,
}

impl Report {
    /// True if nothing was found and all code was understood.
    pub fn is_multiplication_free(&self) -> bool {
        self.total() == 0 && self.library_calls.is_empty() && self.undecoded == 0
    }

    /// Number of findings of one kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.functions.iter().filter_map(|f| f.findings.get(&kind)).sum()
    }

    /// Number of findings of all kinds, library calls apart.
    pub fn total(&self) -> usize {
        self.functions.iter().flat_map(|f| f.findings.values()).sum()
    }

    /// Number of instructions.
    pub fn instructions(&self) -> usize {
        self.functions.iter().map(|f| f.instructions).sum()
    }

    /// Number of scalar integer multiplies and divides.
    pub fn integer_multiplies(&self) -> usize {
        self.functions.iter().map(|f| f.integer_multiplies).sum()
    }
}

/// One line of totals, then one for each function with findings.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} instructions", self.instructions())?;
        for kind in Kind::ALL {
            write!(f, ", {} {}", self.count(kind), kind.name())?;
        }
        write!(f, ", {} scalar integer multiplies", self.integer_multiplies())?;
        for function in self.functions.iter().filter(|f| !f.findings.is_empty()) {
            write!(f, "\n  {}:", function.name)?;
            for (mnemonic, count) in &function.mnemonics {
                write!(f, " {count}×{mnemonic}")?;
            }
        }
        if !self.library_calls.is_empty() {
            write!(f, "\n  calls {}", self.library_calls.join(", "))?;
        }
        if self.undecoded > 0 {
            write!(f, "\n  {} bytes are no instruction", self.undecoded)?;
        }
        Ok(())
    }
}

/// Disassembles every code section of an ELF object or shared library for x86-64 or AArch64.
///
/// # Errors
/// [`Error::Object`] for a malformed file, [`Error::Llvm`] for another processor.
pub fn object(bytes: &[u8]) -> Result<Report, Error> {
    let file = object::File::parse(bytes)?;
    let arch = match file.architecture() {
        Architecture::X86_64 => Arch::X86_64,
        Architecture::Aarch64 => Arch::Aarch64,
        other => {
            let message = format!("code for {other:?} is not understood");
            return Err(Error::Llvm { stage: "disassemble", message });
        }
    };
    let disassembler = Disassembler::new(arch)?;
    let mut report = Report::default();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let mut symbols: Vec<_> = (file.symbols().chain(file.dynamic_symbols()))
            .filter(|s| s.kind() == SymbolKind::Text && s.section_index() == Some(section.index()))
            .map(|s| (s.address(), s.name().unwrap_or_default()))
            .collect();
        symbols.sort_unstable();
        symbols.dedup_by_key(|s| s.0);
        let code = Code { start: section.address(), bytes: section.data()?, symbols };
        code.audit(arch, &disassembler, &mut report);
    }
    report.library_calls = (file.symbols().chain(file.dynamic_symbols()))
        .filter(|s| s.is_undefined())
        .filter_map(|s| s.name().ok())
        .filter(|name| is_arithmetic_call(name))
        .map(Into::into)
        .collect();
    report.library_calls.sort_unstable();
    report.library_calls.dedup();
    Ok(report)
}

/// One code section.
struct Code<'a> {
    start: u64,
    bytes: &'a [u8],
    // Address and name of each function, ascending.
    symbols: Vec<(u64, &'a str)>,
}

impl Code<'_> {
    fn audit(&self, arch: Arch, disassembler: &Disassembler, report: &mut Report) {
        let mut functions = BTreeMap::<u64, Function>::new();
        let mut offset = 0;
        while offset < self.bytes.len() {
            let address = self.start + offset as u64;
            let Some((length, text)) = disassembler.decode(&self.bytes[offset..], address) else {
                let step = disassembler.step().min(self.bytes.len() - offset);
                report.undecoded += step;
                offset += step;
                continue;
            };
            offset += length;
            let after = self.symbols.partition_point(|s| s.0 <= address);
            let (entry, name) = after.checked_sub(1).map_or((0, ""), |i| self.symbols[i]);
            let function = functions.entry(entry).or_default();
            function.name = name.into();
            function.instructions += 1;
            match classify(arch, &text) {
                Class::Other => {}
                Class::ScalarInteger => function.integer_multiplies += 1,
                Class::Finding(kind) => {
                    *function.findings.entry(kind).or_default() += 1;
                    let mnemonic = classify::split(&text).0.to_owned();
                    *function.mnemonics.entry(mnemonic).or_default() += 1;
                }
            }
        }
        report.functions.extend(functions.into_values());
    }
}
