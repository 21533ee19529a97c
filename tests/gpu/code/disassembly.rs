//! What the inner loops of kernels hold, by disassembling machine code.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::output;

/// Kinds of instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Integer,
    FloatAdd,
    Load,
    Other,
}

/// An instruction of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    address: u64,
    mnemonic: String,
    /// Where it may jump to.
    target: Option<u64>,
}

/// The loop of a kernel that holds its products.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loop {
    /// Instructions of each class, in the order integer, float add, load, other.
    pub counts: [usize; 4],
    /// Products: float additions of one sum each.
    pub products: usize,
    /// Bytes that a thread loads from the device's memory and from shared memory.
    pub loaded: [usize; 2],
    /// Float multiplies and divides, and instructions of double precision.
    pub forbidden: Vec<String>,
}

impl Loop {
    /// Instructions a product, in all.
    pub fn per_product(&self) -> f64 {
        self.counts.iter().sum::<usize>() as f64 / self.products.max(1) as f64
    }
}

/// Instructions of each kernel in NVIDIA machine code.
///
/// # Errors
/// If `nvdisasm` is missing (it lies beside `ptxas`) or refuses the file.
pub fn disassemble_nvidia(
    ptxas: &OsStr,
    cubin: &Path,
) -> Result<BTreeMap<String, Vec<Instruction>>, String> {
    let program = Path::new(ptxas).with_file_name("nvdisasm");
    Ok(read_sass(&output(Command::new(program).arg("-c").arg(cubin))?[0]))
}

/// Instructions of each kernel in AMD machine code.
///
/// # Errors
/// If `llvm-objdump` is missing or refuses the file.
pub fn disassemble_amd(hsaco: &Path) -> Result<BTreeMap<String, Vec<Instruction>>, String> {
    let program = "/usr/lib/llvm-22/bin/llvm-objdump";
    Ok(read_gcn(&output(Command::new(program).arg("-d").arg(hsaco))?[0]))
}

/// The text of `nvdisasm -c`: a section a kernel, labels, `/*0010*/ @!P0 BRA `(.L_x_1) ;`.
fn read_sass(text: &str) -> BTreeMap<String, Vec<Instruction>> {
    let mut out: BTreeMap<String, Vec<Instruction>> = BTreeMap::new();
    let mut kernel = String::new();
    let mut labels: BTreeMap<&str, u64> = BTreeMap::new();
    let mut jumps: Vec<(String, usize, &str)> = Vec::new();
    let mut waiting: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix(".text.").and_then(|l| l.strip_suffix(':')) {
            kernel = name.to_string();
            continue;
        }
        if let Some(label) = line.strip_suffix(':') {
            waiting.push(label);
            continue;
        }
        let Some((address, rest)) = line.strip_prefix("/*").and_then(|l| l.split_once("*/")) else {
            continue;
        };
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        labels.extend(waiting.drain(..).map(|label| (label, address)));
        let words = rest.trim_start_matches(['{', ' ', '\t']).split_whitespace();
        let mut words = words.skip_while(|w| w.starts_with('@'));
        let Some(mnemonic) = words.next() else { continue };
        let list = out.entry(kernel.clone()).or_default();
        if let Some((_, label)) = rest.split_once("`(") {
            let label = label.split(')').next().unwrap_or_default();
            jumps.push((kernel.clone(), list.len(), label));
        }
        let mnemonic = mnemonic.trim_end_matches(';').to_string();
        list.push(Instruction { address, mnemonic, target: None });
    }
    for (kernel, at, label) in jumps {
        if let Some(i) = out.get_mut(&kernel).and_then(|list| list.get_mut(at)) {
            i.target = labels.get(label).copied();
        }
    }
    out
}

/// The text of `llvm-objdump -d`: `0000000000001900 <kernel>:`, then
/// `    s_cbranch_scc1 65482    // 000000001940: BF85FFCA <kernel+0x28>`.
fn read_gcn(text: &str) -> BTreeMap<String, Vec<Instruction>> {
    let mut out: BTreeMap<String, Vec<Instruction>> = BTreeMap::new();
    let (mut kernel, mut start) = (String::new(), 0);
    for line in text.lines() {
        if let Some((address, name)) = line.split_once(" <")
            && let (Ok(address), Some(name)) =
                (u64::from_str_radix(address, 16), name.strip_suffix(">:"))
        {
            (kernel, start) = (name.to_string(), address);
            continue;
        }
        let Some((code, comment)) = line.trim().split_once("//") else { continue };
        let (Some(mnemonic), Some((address, rest))) =
            (code.split_whitespace().next(), comment.trim().split_once(':'))
        else {
            continue;
        };
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        let target = rest.rsplit_once('<').map(|(_, t)| t.trim_end_matches('>'));
        let target = target.map(|t| match t.split_once("+0x") {
            Some((_, offset)) => start + u64::from_str_radix(offset, 16).unwrap_or(0),
            None => start,
        });
        let mnemonic = mnemonic.to_string();
        out.entry(kernel.clone()).or_default().push(Instruction { address, mnemonic, target });
    }
    out
}

/// Products that a block must make to count as the inner part of a contraction, as a part of those of the
/// block that makes the most.
const PART: usize = 4;

/// The ways through a kernel's inner loop: for each block of straight code with many products the block
/// with what else its innermost loop does. Those of the fewest instructions a product come first.
pub fn inner_loops(kernel: &[Instruction]) -> Vec<Loop> {
    let back = |i: &Instruction| Some((i.target.filter(|t| *t <= i.address)?, i.address));
    let loops: Vec<(u64, u64)> = kernel.iter().filter_map(back).collect();
    let blocks: Vec<(&[Instruction], Loop)> =
        blocks(kernel).into_iter().map(|b| (b, look_at(b.iter()))).collect();
    let most = blocks.iter().map(|(_, l)| l.products).max().unwrap_or(0);
    let hot = |l: &Loop| l.products > 0 && l.products * PART >= most;
    let way = |(block, _): &(&[Instruction], Loop)| {
        let at = block[0].address;
        let around = loops.iter().filter(|(from, to)| (*from..=*to).contains(&at));
        let around = around.min_by_key(|(from, to)| to - from);
        let inside = |b: &[Instruction]| {
            b[0].address == at
                || around.is_some_and(|(from, to)| (*from..=*to).contains(&b[0].address))
        };
        let own = |(b, l): &&(&[Instruction], Loop)| b[0].address == at || l.products == 0;
        let parts = blocks.iter().filter(|p| inside(p.0)).filter(own);
        look_at(parts.flat_map(|(b, _)| b.iter()))
    };
    let mut out: Vec<Loop> = blocks.iter().filter(|(_, l)| hot(l)).map(way).collect();
    out.sort_by(|a, b| a.per_product().total_cmp(&b.per_product()));
    out
}

/// Straight pieces of code: no jump but at the end, nothing jumped to but the start.
fn blocks(kernel: &[Instruction]) -> Vec<&[Instruction]> {
    let targets: HashSet<u64> = kernel.iter().filter_map(|i| i.target).collect();
    let mut start = 0;
    let mut out = Vec::new();
    for (at, i) in kernel.iter().enumerate() {
        let next = kernel.get(at + 1).is_none_or(|n| targets.contains(&n.address));
        if next || i.target.is_some() {
            out.push(&kernel[start..=at]);
            start = at + 1;
        }
    }
    out
}

/// Every instruction of a kernel that multiplies floats or computes in double precision.
pub fn multiplies(kernel: &[Instruction]) -> Vec<String> {
    look_at(kernel.iter()).forbidden
}

fn look_at<'a>(instructions: impl Iterator<Item = &'a Instruction>) -> Loop {
    let mut out = Loop::default();
    for i in instructions.filter(|i| !matches!(i.mnemonic.as_str(), "NOP" | "s_nop")) {
        let (class, sums) = class(&i.mnemonic);
        out.counts[class as usize] += 1;
        out.products += sums;
        if let Some((kind, bytes)) = loaded(&i.mnemonic) {
            out.loaded[kind] += bytes;
        }
        if forbidden(&i.mnemonic) {
            out.forbidden.push(i.mnemonic.clone());
        }
    }
    out
}

/// Class of an instruction, and how many float additions it makes.
fn class(mnemonic: &str) -> (Class, usize) {
    const NVIDIA: [&str; 25] = [
        "IADD", "UIADD", "VIADD", "VIMNMX", "VIMNMX3", "LOP3", "ULOP3", "PLOP3", "SHF", "USHF",
        "IMAD", "UIMAD", "LEA", "ULEA", "ISETP", "UISETP", "IMNMX", "IABS", "SEL", "PRMT", "MOV",
        "CS2R", "ISCADD", "BREV", "POPC",
    ];
    const AMD: [&str; 21] = [
        "v_add_u",
        "v_add_i",
        "v_add3",
        "v_add_co",
        "v_sub_u",
        "v_sub_i",
        "v_and",
        "v_or",
        "v_xor",
        "v_bfi",
        "v_lsh",
        "v_ash",
        "v_med3_i",
        "v_med3_u",
        "v_min_i",
        "v_min_u",
        "v_max_i",
        "v_max_u",
        "v_cmp",
        "v_cndmask",
        "v_mov",
    ];
    let starts = |list: &[&str]| list.iter().any(|p| mnemonic.starts_with(p));
    match mnemonic {
        _ if starts(&["FADD2", "v_pk_add_f32"]) => (Class::FloatAdd, 2),
        _ if starts(&["FADD", "v_add_f32", "v_sub_f32"]) => (Class::FloatAdd, 1),
        _ if loaded(mnemonic).is_some() => (Class::Load, 0),
        _ if starts(&NVIDIA) || starts(&AMD) => (Class::Integer, 0),
        _ => (Class::Other, 0),
    }
}

/// From which memory an instruction loads (0 the device's, 1 shared), and how many bytes.
fn loaded(mnemonic: &str) -> Option<(usize, usize)> {
    let wide = |four: usize| match mnemonic {
        m if m.contains("128") || m.contains("dwordx4") => 16,
        m if m.contains(".96") || m.contains("dwordx3") || m.contains("b96") => 12,
        m if m.contains(".64") || m.contains("dwordx2") || m.contains("b64") => 8,
        _ => four,
    };
    match mnemonic {
        m if m.starts_with("LDGSTS") => Some((0, wide(4))),
        m if m.starts_with("LDG") || m == "LD" || m.starts_with("LD.") => Some((0, wide(4))),
        m if m.starts_with("LDS") => Some((1, wide(4))),
        m if m.starts_with("global_load") || m.starts_with("buffer_load") => Some((0, wide(4))),
        m if m.starts_with("flat_load") => Some((0, wide(4))),
        m if m.starts_with("ds_read2") => Some((1, 2 * wide(4))),
        m if m.starts_with("ds_read") => Some((1, wide(4))),
        _ => None,
    }
}

/// Float multiplies, divides and roots, anything of double precision.
fn forbidden(mnemonic: &str) -> bool {
    const NVIDIA: [&str; 10] =
        ["FMUL", "FFMA", "MUFU", "HMUL", "HFMA", "DMUL", "DFMA", "DADD", "HMMA", "DMMA"];
    const AMD: [&str; 12] = [
        "v_mul_f",
        "v_pk_mul_f",
        "v_fma",
        "v_pk_fma",
        "v_mac",
        "v_mad_f",
        "v_rcp",
        "v_rsq",
        "v_sqrt",
        "v_exp",
        "v_log",
        "v_mfma",
    ];
    let moves = mnemonic.starts_with("HFMA2.MMA");
    let double = mnemonic.starts_with("v_") && mnemonic.contains("_f64");
    let starts = |list: &[&str]| list.iter().any(|p| mnemonic.starts_with(p));
    !moves && (double || starts(&NVIDIA) || starts(&AMD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_with_the_products_is_found_in_nvidia_code() {
        let text = "\
\t.section\t.text.matmul_0,\"ax\",@progbits
.text.matmul_0:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
.L_x_2:
        /*0010*/                   LDG.E.128 R4, desc[UR4][R2.64] ;
.L_x_1:
        /*0020*/                   LDS.128 R8, [R12] ;
        /*0030*/                   IADD3 R8, R8, R9, RZ ;
        /*0040*/                   FADD.FTZ R20, R20, R8 ;
        /*0050*/                   VIADDMNMX R9, R8, R9, R10, !PT ;
        /*0060*/                   FADD R21, R21, R9 ;
        /*0070*/              @!P0 BRA `(.L_x_1) ;
        /*0080*/                   FMUL R1, R1, R1 ;
        /*0090*/               @P1 BRA `(.L_x_2) ;
        /*00a0*/                   EXIT ;
.L_x_3:
        /*00b0*/                   BRA `(.L_x_3);
";
        let kernels = read_sass(text);
        let [found] = &inner_loops(&kernels["matmul_0"])[..] else { panic!("one loop") };
        let wanted = Loop { counts: [2, 2, 1, 1], products: 2, loaded: [0, 16], forbidden: vec![] };
        assert_eq!(*found, wanted);
        assert_eq!(found.per_product(), 3.0);
        assert!(look_at(kernels["matmul_0"].iter()).forbidden.contains(&"FMUL".to_string()));
    }

    #[test]
    fn ways_through_a_loop_are_told_apart() {
        let mut text = String::from(".text.k:\n.L_x_0:\n");
        let mut at = 0;
        let mut line = |code: &str, text: &mut String| {
            *text += &format!("        /*{at:04x}*/   {code} ;\n");
            at += 16;
        };
        line("LDG.E R1, desc[UR4][R2.64]", &mut text);
        line("@P0 BRA `(.L_x_1)", &mut text);
        for _ in 0..4 {
            line("IADD3 R1, R1, R2, RZ", &mut text);
            line("FADD R3, R3, R1", &mut text);
        }
        line("BRA `(.L_x_2)", &mut text);
        text += ".L_x_1:\n";
        for code in ["VIADDMNMX R1, R1, R2, R4", "LOP3.LUT R1, R1, R2, R4", "FADD R3, R3, R1"] {
            (0..4).for_each(|_| line(code, &mut text));
        }
        text += ".L_x_2:\n";
        line("@P1 BRA `(.L_x_0)", &mut text);
        line("EXIT", &mut text);
        let ways = inner_loops(&read_sass(&text)["k"]);
        let counts: Vec<_> = ways.iter().map(|w| (w.counts, w.products)).collect();
        assert_eq!(counts, [([4, 4, 1, 3], 4), ([8, 4, 1, 2], 4)]);
    }

    #[test]
    fn the_loop_with_the_products_is_found_in_amd_code() {
        let text = "\
0000000000001900 <matmul_0>:
\ts_load_dwordx4 s[0:3], s[4:5], 0x0                           // 000000001900: C00A0002 00000000
\tds_read_b128 v[0:3], v9                                      // 000000001908: D9FE0000 00000009
\tv_add_u32_e32 v0, v0, v4                                     // 000000001910: 68000900
\tv_pk_add_f32 v[4:5], v[4:5], v[0:1]                          // 000000001914: D3B24004 18020104
\ts_cbranch_scc1 65530                                         // 00000000191C: BF85FFFA <matmul_0+0x8>
\ts_endpgm                                                     // 000000001920: BF810000
";
        let [found] = &inner_loops(&read_gcn(text)["matmul_0"])[..] else { panic!("one loop") };
        let wanted = Loop { counts: [1, 1, 1, 1], products: 2, loaded: [0, 16], forbidden: vec![] };
        assert_eq!(*found, wanted);
    }
}
