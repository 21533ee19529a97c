//! GPU machine code, looked at without a GPU: what assemblers say of it, and what its inner loops hold.

pub mod disassembly;

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

/// What a kernel uses of its processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes (NVIDIA) or registers (AMD) kept in memory for lack of registers; AMD's scalar ones are kept
    /// in vector registers instead.
    pub spilled: u32,
    /// Bytes of shared memory of a group.
    pub shared: u32,
}

/// Where `ptxas` is: `$PTXAS`, else on the path; `make test-gpu` and `make bench-gpu` install it.
pub fn ptxas() -> Option<OsString> {
    let program = env::var_os("PTXAS").unwrap_or_else(|| "ptxas".into());
    let runs = Command::new(&program).arg("--version").output().is_ok_and(|o| o.status.success());
    runs.then_some(program)
}

/// A command's standard output and error.
///
/// # Errors
/// If it is not there or fails, with what it said.
pub fn output(command: &mut Command) -> Result<[String; 2], String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    let [out, err] =
        [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    if output.status.success() { Ok([out, err]) } else { Err(format!("{name}: {out}{err}")) }
}

/// Assemble PTX, writing machine code to a file; what each kernel uses.
///
/// # Errors
/// What `ptxas` says against the code.
pub fn assemble(
    ptxas: &OsStr,
    ptx: &Path,
    chip: &str,
    to: &Path,
) -> Result<BTreeMap<String, Usage>, String> {
    let arch = format!("-arch={chip}");
    let mut command = Command::new(ptxas);
    let [_, said] = output(command.arg("-v").arg(arch).arg(ptx).arg("-o").arg(to))?;
    Ok(ptxas_usage(&said))
}

fn number_before(line: &str, what: &str) -> Option<u32> {
    line[..line.find(what)?].trim_end().rsplit([' ', ',']).next()?.parse().ok()
}

/// What `ptxas -v` tells.
fn ptxas_usage(said: &str) -> BTreeMap<String, Usage> {
    let mut out = BTreeMap::new();
    let mut name = String::new();
    for line in said.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            name = rest.split('\'').next().unwrap_or_default().to_string();
        }
        let usage: &mut Usage = out.entry(name.clone()).or_default();
        let spills = ["bytes spill stores", "bytes spill loads"];
        usage.spilled += spills.iter().filter_map(|s| number_before(line, s)).sum::<u32>();
        usage.registers = number_before(line, "registers").unwrap_or(usage.registers);
        usage.shared = number_before(line, "bytes smem").unwrap_or(usage.shared);
    }
    out.remove("");
    out
}

/// Assemble AMDGPU assembly and link it.
///
/// # Errors
/// What LLVM's tools say against the code.
pub fn assemble_amd(source: &Path, chip: &str, to: &Path) -> Result<(), String> {
    let object = to.with_extension("o");
    let cpu = format!("-mcpu={chip}");
    let mut assembler = Command::new("/usr/lib/llvm-22/bin/llvm-mc");
    assembler.args(["--triple=amdgcn-amd-amdhsa", &cpu, "--filetype=obj"]);
    output(assembler.arg(source).arg("-o").arg(&object))?;
    let mut linker = Command::new("/usr/lib/llvm-22/bin/ld.lld");
    output(linker.arg("-shared").arg(&object).arg("-o").arg(to))?;
    Ok(())
}

/// What the metadata in AMDGPU assembly tells of each kernel.
pub fn amd_usage(assembly: &str) -> BTreeMap<String, Usage> {
    let metadata = assembly.rsplit_once("amdhsa.kernels:").map_or("", |(_, m)| m);
    let mut out = BTreeMap::new();
    // A kernel's own entries are indented by four, its first one stands behind a dash.
    for kernel in metadata.split("\n  - ").skip(1) {
        let entries = kernel.lines().filter_map(|l| l.trim_start().split_once(':'));
        let entries: Vec<_> = entries.map(|(key, value)| (key, value.trim())).collect();
        let number = |wanted: &str| {
            let found = entries.iter().find(|(key, _)| *key == wanted);
            found.and_then(|(_, value)| value.parse::<u32>().ok()).unwrap_or(0)
        };
        let usage = Usage {
            registers: number(".vgpr_count"),
            spilled: number(".vgpr_spill_count"),
            shared: number(".group_segment_fixed_size"),
        };
        if let Some((_, symbol)) = entries.iter().find(|(key, _)| *key == ".symbol") {
            out.insert(symbol.trim_end_matches(".kd").to_string(), usage);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ptxas_says_is_read() {
        let said = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'matmul_0' for 'sm_90'
ptxas info    : Function properties for matmul_0
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 33024 bytes smem
ptxas info    : Compiling entry function 'nest_1' for 'sm_90'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers
";
        let usage = ptxas_usage(said);
        assert_eq!(usage["matmul_0"], Usage { registers: 168, spilled: 16, shared: 33024 });
        assert_eq!(usage["nest_1"], Usage { registers: 12, spilled: 0, shared: 0 });
        assert_eq!(usage.len(), 2);
    }

    #[test]
    fn amd_metadata_is_read() {
        let text = "\
amdhsa.kernels:
  - .agpr_count:     0
    .args:
      - .offset:         0
    .group_segment_fixed_size: 1024
    .name:           one
    .sgpr_spill_count: 1
    .symbol:         one.kd
    .vgpr_count:     44
    .vgpr_spill_count: 2
  - .agpr_count:     0
    .group_segment_fixed_size: 0
    .symbol:         two.kd
    .vgpr_count:     3
";
        let usage = amd_usage(text);
        assert_eq!(usage["one"], Usage { registers: 44, spilled: 2, shared: 1024 });
        assert_eq!(usage["two"], Usage { registers: 3, spilled: 0, shared: 0 });
    }
}
