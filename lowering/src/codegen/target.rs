//! The processors code can be generated for.

use super::llvm;
use crate::Error;
use std::ffi::CStr;

/// Instruction set family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

/// A processor to generate code for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// LLVM target triple.
    pub triple: String,
    /// LLVM's name of the processor.
    pub cpu: String,
    /// LLVM feature string (`+avx512f,-sse4a`), empty for the processor's own set.
    pub features: String,
    /// Widest vector register, in bits.
    pub vector_bits: usize,
    /// Instruction set family.
    pub arch: Arch,
}

const X86_TRIPLE: &str = "x86_64-unknown-linux-gnu";
const ARM_TRIPLE: &str = "aarch64-unknown-linux-gnu";

/// Accepted name, LLVM processor name, family, vector width in bits.
const NAMED: &[(&str, &str, Arch, usize)] = &[
    ("x86-64-v2", "x86-64-v2", Arch::X86_64, 128),
    ("x86-64-v3", "x86-64-v3", Arch::X86_64, 256),
    ("x86-64-v4", "x86-64-v4", Arch::X86_64, 512),
    ("haswell", "haswell", Arch::X86_64, 256),
    ("skylake-avx512", "skylake-avx512", Arch::X86_64, 512),
    ("icelake-server", "icelake-server", Arch::X86_64, 512),
    ("sapphirerapids", "sapphirerapids", Arch::X86_64, 512),
    ("znver2", "znver2", Arch::X86_64, 256),
    ("znver3", "znver3", Arch::X86_64, 256),
    ("znver4", "znver4", Arch::X86_64, 512),
    ("znver5", "znver5", Arch::X86_64, 512),
    ("generic-aarch64", "generic", Arch::Aarch64, 128),
    ("cortex-a76", "cortex-a76", Arch::Aarch64, 128),
    ("neoverse-n1", "neoverse-n1", Arch::Aarch64, 128),
    ("neoverse-v1", "neoverse-v1", Arch::Aarch64, 128),
    ("neoverse-v2", "neoverse-v2", Arch::Aarch64, 128),
    ("apple-m1", "apple-m1", Arch::Aarch64, 128),
];

impl Target {
    /// The processor this runs on, with exactly its features.
    pub fn host() -> Self {
        let (cpu, features) = llvm::host_cpu();
        let has = |feature: &str| features.split(',').any(|f| f == feature);
        let (arch, triple) = if cfg!(target_arch = "aarch64") {
            (Arch::Aarch64, ARM_TRIPLE)
        } else {
            (Arch::X86_64, X86_TRIPLE)
        };
        let vector_bits = match arch {
            Arch::X86_64 if has("+avx512f") => 512,
            Arch::X86_64 if has("+avx2") => 256,
            _ => 128,
        };
        Self { triple: triple.into(), cpu, features, vector_bits, arch }
    }

    /// A processor by name; `native` is [`Target::host`].
    ///
    /// # Errors
    /// [`Error::UnknownTarget`], listing all names.
    pub fn named(name: &str) -> Result<Self, Error> {
        if name == "native" {
            return Ok(Self::host());
        }
        let row = NAMED.iter().find(|row| row.0 == name).ok_or_else(|| Error::UnknownTarget {
            name: name.into(),
            known: Self::names().map(Into::into).collect(),
        })?;
        let &(_, cpu, arch, vector_bits) = row;
        let triple = match arch {
            Arch::X86_64 => X86_TRIPLE,
            Arch::Aarch64 => ARM_TRIPLE,
        };
        let (triple, cpu) = (triple.into(), cpu.into());
        Ok(Self { triple, cpu, features: String::new(), vector_bits, arch })
    }

    /// Every name [`Target::named`] accepts.
    pub fn names() -> impl Iterator<Item = &'static str> {
        std::iter::once("native").chain(NAMED.iter().map(|row| row.0))
    }

    /// Number of float32 lanes in the widest vector register.
    pub fn lanes(&self) -> usize {
        self.vector_bits / 32
    }

    /// Whether code for this target can be loaded into this process.
    pub fn is_host_family(&self) -> bool {
        self.arch == Self::host().arch
    }
}

/// Copies a C string that LLVM allocated and frees it.
///
/// # Safety
/// `text` is a NUL-terminated string from an LLVM function whose result is freed with
/// `LLVMDisposeMessage`.
pub(super) unsafe fn take_message(text: *mut std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe {
        let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
        llvm_sys::core::LLVMDisposeMessage(text);
        copy
    }
}
