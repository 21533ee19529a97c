//! Which format a file is in.

use super::{Report, amdgcn, llvm_ir, mlir, native, ptx, sass, spirv};
use crate::Error;
use object::read::archive::ArchiveFile;
use serde::Serialize;

/// A format that the audit reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Format {
    /// ELF with code for x86-64 or AArch64: objects, shared libraries, executables.
    #[serde(rename = "ELF")]
    Native,
    /// An archive of objects.
    #[serde(rename = "archive")]
    Archive,
    /// ELF with code for AMD's GPUs.
    #[serde(rename = "AMDGCN")]
    Amdgcn,
    /// ELF with SASS for NVIDIA's GPUs.
    #[serde(rename = "cubin")]
    Cubin,
    /// Text of NVIDIA's virtual machine.
    #[serde(rename = "PTX")]
    Ptx,
    /// SPIR-V binary.
    #[serde(rename = "SPIR-V")]
    Spirv,
    /// MLIR, text or bytecode.
    #[serde(rename = "MLIR")]
    Mlir,
    /// LLVM IR, text or bitcode.
    #[serde(rename = "LLVM IR")]
    LlvmIr,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 8] = [
        Format::Native,
        Format::Archive,
        Format::Amdgcn,
        Format::Cubin,
        Format::Ptx,
        Format::Spirv,
        Format::Mlir,
        Format::LlvmIr,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Native => "ELF",
            Format::Archive => "archive",
            Format::Amdgcn => "AMDGCN",
            Format::Cubin => "cubin",
            Format::Ptx => "PTX",
            Format::Spirv => "SPIR-V",
            Format::Mlir => "MLIR",
            Format::LlvmIr => "LLVM IR",
        }
    }

    /// The format of a file by what it begins with; `None` if it is none of these.
    pub fn of(bytes: &[u8]) -> Option<Format> {
        const AMDGPU: u16 = 224;
        const CUDA: u16 = 190;
        match bytes {
            [0x7f, b'E', b'L', b'F', ..] => {
                match bytes.get(18..20).map(|m| u16::from_le_bytes([m[0], m[1]]))? {
                    AMDGPU => Some(Format::Amdgcn),
                    CUDA => Some(Format::Cubin),
                    _ => Some(Format::Native),
                }
            }
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => Some(Format::Archive),
            [0x03, 0x02, 0x23, 0x07, ..] | [0x07, 0x23, 0x02, 0x03, ..] => Some(Format::Spirv),
            [b'M', b'L', 0xef, b'R', ..] => Some(Format::Mlir),
            [b'B', b'C', 0xc0, 0xde, ..] | [0xde, 0xc0, 0x17, 0x0b, ..] => Some(Format::LlvmIr),
            _ => Self::of_text(std::str::from_utf8(bytes).ok()?),
        }
    }

    fn of_text(text: &str) -> Option<Format> {
        let mut lines =
            text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with("//"));
        if lines.clone().any(|l| l.starts_with(".version")) && text.contains(".target") {
            return Some(Format::Ptx);
        }
        let llvm = [
            "; ModuleID",
            "source_filename",
            "target datalayout",
            "target triple",
            "define ",
            "declare ",
        ];
        let first = lines.clone().find(|l| llvm.iter().any(|p| l.starts_with(p)));
        let mlir = lines.any(|l| {
            let word = l.split([' ', '(', '{', '<']).next().unwrap_or_default().trim_matches('"');
            word == "module"
                || l.starts_with('#') && l.contains(" = ")
                || word.contains('.')
                    && word.split('.').all(|w| w.chars().all(|c| c.is_alphanumeric() || c == '_'))
        });
        match (first, mlir) {
            (Some(_), _) => Some(Format::LlvmIr),
            (None, true) => Some(Format::Mlir),
            (None, false) => None,
        }
    }
}

/// What became of one file, or of one member of an archive.
#[derive(Clone, Debug, Serialize)]
pub enum Outcome {
    /// It was audited.
    #[serde(rename = "audited")]
    Audited(Report),
    /// It could not be read here; says why, and how to get what is missing.
    #[serde(rename = "skipped")]
    Skipped(String),
}

/// Audits a file of any format but ONNX: one outcome, or one with its name for each member of an
/// archive.
///
/// # Errors
/// If the file is of no known format or malformed.
pub fn audit(bytes: &[u8]) -> Result<Vec<(String, Outcome)>, Error> {
    let Some(format) = Format::of(bytes) else {
        let known: Vec<_> = Format::ALL.iter().map(|f| f.name()).collect();
        let message = format!("of no known format; known: {}, ONNX", known.join(", "));
        return Err(Error::Audit { message });
    };
    if format == Format::Archive {
        let archive = ArchiveFile::parse(bytes)?;
        let mut out = Vec::new();
        for member in archive.members() {
            let member = member?;
            let name = String::from_utf8_lossy(member.name()).into_owned();
            for (_, outcome) in audit(member.data(bytes)?)? {
                out.push((name.clone(), outcome));
            }
        }
        return Ok(out);
    }
    let outcome = match format {
        Format::Cubin => sass::audit(bytes)?,
        Format::Native => Outcome::Audited(native::audit(bytes)?),
        Format::Amdgcn => Outcome::Audited(amdgcn::audit(bytes)?),
        Format::Spirv => Outcome::Audited(spirv::audit(bytes)?),
        Format::Mlir => Outcome::Audited(mlir::audit(bytes)?),
        Format::LlvmIr => Outcome::Audited(llvm_ir::audit(bytes)?),
        Format::Ptx | Format::Archive => {
            Outcome::Audited(ptx::audit(&String::from_utf8_lossy(bytes)))
        }
    };
    let labelled = match outcome {
        Outcome::Audited(report) => {
            Outcome::Audited(Report { format: format.name().into(), ..report })
        }
        skipped => skipped,
    };
    Ok(vec![(String::new(), labelled)])
}
