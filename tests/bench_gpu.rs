//! `make bench-gpu`: what contractions cost on GPUs, told from their machine code: instructions a product
//! in the inner loop, registers, shared memory, occupancy, bytes a product. A table, or JSON with
//! `--json`; it judges nothing, and needs no GPU.

#[allow(dead_code, unused_imports)]
#[path = "gpu/code/mod.rs"]
mod code;
#[path = "gpu/matmuls.rs"]
mod matmuls;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;

use code::Usage;
use code::disassembly::{Instruction, Loop, disassemble_amd, disassemble_nvidia, inner_loops};
use pamc_lowering::gpu::plan::Format;
use pamc_lowering::gpu::{AmdChip, GpuTarget};
use serde_json::{Value, json};

/// What a processor of a chip (SM or CU) has, by the vendors' tables.
struct Chip {
    target: GpuTarget,
    /// Threads of a warp (wave), and the most of those at once.
    warp: u32,
    warps: u32,
    /// Registers of 32 bits for all threads, and in how many a warp gets them.
    registers: u32,
    step: u32,
    /// Bytes of shared memory, and what a group takes besides its own.
    shared: u32,
    reserved: u32,
}

const CHIPS: [Chip; 4] = [
    Chip {
        target: GpuTarget::Nvidia(80),
        warp: 32,
        warps: 64,
        registers: 65_536,
        step: 256,
        shared: 164 << 10,
        reserved: 1 << 10,
    },
    Chip {
        target: GpuTarget::Nvidia(90),
        warp: 32,
        warps: 64,
        registers: 65_536,
        step: 256,
        shared: 228 << 10,
        reserved: 1 << 10,
    },
    Chip {
        target: GpuTarget::Amd(AmdChip::Gfx90a),
        warp: 64,
        warps: 32,
        registers: 131_072,
        step: 512,
        shared: 64 << 10,
        reserved: 0,
    },
    Chip {
        target: GpuTarget::Amd(AmdChip::Gfx942),
        warp: 64,
        warps: 32,
        registers: 131_072,
        step: 512,
        shared: 64 << 10,
        reserved: 0,
    },
];

impl Chip {
    /// Part of the warps that can be at work at once.
    fn occupancy(&self, usage: &Usage, threads: u32) -> f64 {
        let warps = threads.div_ceil(self.warp).max(1);
        let registers = (usage.registers * self.warp).next_multiple_of(self.step).max(self.step);
        let by_registers = self.registers / registers / warps;
        let by_shared = self.shared / (usage.shared + self.reserved).max(1);
        let groups = by_registers.min(by_shared).min(self.warps / warps);
        f64::from(groups * warps) / f64::from(self.warps)
    }
}

/// A kernel of a case on a chip.
struct Row {
    case: &'static str,
    way: &'static str,
    chip: String,
    kernel: String,
    usage: Usage,
    inner: Loop,
    threads: u32,
    tile: Option<[usize; 3]>,
    occupancy: f64,
}

/// The ways through a contraction's inner loop: for tiles without zeros and extremes, for those without
/// infinities and NaN, for all.
const WAYS: [&str; 3] = ["short", "general", "full"];

type Found = (BTreeMap<String, Usage>, BTreeMap<String, Vec<Instruction>>);

/// Assemble and disassemble.
fn look(ptxas: Option<&OsStr>, chip: &Chip, module: &[u8], folder: &Path) -> Result<Found, String> {
    let name = chip.target.name();
    let [source, target] = ["kernels.s", "kernels.o"].map(|n| folder.join(n));
    std::fs::write(&source, module).map_err(|e| e.to_string())?;
    match (chip.target, ptxas) {
        (GpuTarget::Nvidia(_), Some(ptxas)) => {
            let usage = code::assemble(ptxas, &source, &name, &target)?;
            Ok((usage, disassemble_nvidia(ptxas, &target)?))
        }
        (GpuTarget::Nvidia(_), None) => Err("ptxas is not installed".into()),
        _ => {
            let target = folder.join("kernels.hsaco");
            code::assemble_amd(&source, &name, &target)?;
            let usage = code::amd_usage(&String::from_utf8_lossy(module));
            Ok((usage, disassemble_amd(&target)?))
        }
    }
}

fn rows(chip: &Chip, ptxas: Option<&OsStr>) -> Result<Vec<Row>, String> {
    let format = match chip.target {
        GpuTarget::Nvidia(_) => Format::Ptx,
        _ => Format::Amdgcn,
    };
    let mut out = Vec::new();
    for (case, text) in matmuls::CASES {
        let made = matmuls::code(text, chip.target, format)?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        for (number, module) in made.modules.iter().enumerate() {
            let (usage, instructions) = look(ptxas, chip, &module.bytes, folder.path())?;
            let contractions = made.plan.kernels.iter().filter(|k| k.module == number);
            for kernel in contractions.filter(|k| k.entry.starts_with("contract")) {
                let missing = || format!("no kernel {} in the machine code", kernel.entry);
                let usage = *usage.get(&kernel.entry).ok_or_else(missing)?;
                let code = instructions.get(&kernel.entry).ok_or_else(missing)?;
                let threads = kernel.workgroup.iter().product();
                for (way, inner) in WAYS.iter().chain(&["further"; 8]).zip(inner_loops(code)) {
                    out.push(Row {
                        case,
                        way,
                        chip: chip.target.name(),
                        kernel: kernel.entry.clone(),
                        usage,
                        inner,
                        threads,
                        tile: kernel.tile,
                        occupancy: chip.occupancy(&usage, threads),
                    });
                }
            }
        }
    }
    Ok(out)
}

impl Row {
    /// Bytes from memory a product: each element of a tile comes once.
    fn memory_bytes(&self) -> f64 {
        let bytes = |[rows, columns, _]: [usize; 3]| {
            size_of::<f32>() as f64 * (rows + columns) as f64 / (rows * columns) as f64
        };
        self.tile.map_or(f64::NAN, bytes)
    }

    /// Numbers a product: integer, float add, load, other, all; bytes from memory and from shared memory.
    fn numbers(&self) -> [f64; 7] {
        let each = |n: usize| n as f64 / self.inner.products.max(1) as f64;
        let [integer, add, load, other] = self.inner.counts.map(each);
        let [_, shared] = self.inner.loaded.map(each);
        [integer, add, load, other, self.inner.per_product(), self.memory_bytes(), shared]
    }

    fn json(&self) -> Value {
        let [integer, float_add, load, other, all, global, shared] = self.numbers();
        json!({
            "case": self.case, "way": self.way, "chip": self.chip, "kernel": self.kernel, "threads": self.threads,
            "products_in_loop": self.inner.products, "tile": self.tile,
            "instructions_per_product": {
                "integer": integer, "float_add": float_add, "load": load, "other": other, "all": all,
            },
            "bytes_per_product": { "memory": global, "shared": shared },
            "registers": self.usage.registers, "shared_bytes": self.usage.shared,
            "spilled": self.usage.spilled, "occupancy": self.occupancy,
            "multiplies": self.inner.forbidden,
        })
    }

    fn print(&self) {
        let [integer, add, load, other, all, global, shared] = self.numbers();
        println!(
            "{:18}{:9}{:8}{:>12}{:>8.2}{:>8.2}{:>8.2}{:>8.2}{:>8.2}{:>7}{:>7}{:>8}{:>7.0} %{:>8.3}{:>8.2}  {}",
            self.case,
            self.way,
            self.chip,
            self.tile.map_or(String::new(), |[m, n, k]| format!("{m}×{n}×{k}")),
            integer,
            add,
            load,
            other,
            all,
            self.usage.registers,
            self.usage.spilled,
            self.usage.shared,
            100.0 * self.occupancy,
            global,
            shared,
            self.inner.forbidden.join(" ")
        );
    }
}

fn main() -> Result<(), String> {
    let ptxas = code::ptxas();
    let mut all = Vec::new();
    for chip in &CHIPS {
        if matches!(chip.target, GpuTarget::Nvidia(_)) && ptxas.is_none() {
            eprintln!("skipped: {}: ptxas is not installed", chip.target.name());
            continue;
        }
        all.extend(rows(chip, ptxas.as_deref())?);
    }
    if std::env::args().any(|a| a == "--json") {
        println!("{:#}", Value::Array(all.iter().map(Row::json).collect()));
        return Ok(());
    }
    println!(
        "{:47}{:>40}{:>7}{:>7}{:>8}{:>9}{:>16}",
        "", "instructions a product", "", "", "", "", "bytes a product"
    );
    println!(
        "{:18}{:9}{:8}{:>12}{:>8}{:>8}{:>8}{:>8}{:>8}{:>7}{:>7}{:>8}{:>9}{:>8}{:>8}  multiplies",
        "",
        "",
        "chip",
        "tile",
        "integer",
        "add",
        "load",
        "other",
        "all",
        "regs",
        "spills",
        "shared",
        "occup.",
        "memory",
        "shared"
    );
    all.iter().for_each(Row::print);
    Ok(())
}
