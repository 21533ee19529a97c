//! Code objects for AMD's GPUs, through LLVM's disassembler.

mod text;

use std::collections::HashSet;

use super::{
    Kind, Nodes, Report,
    flow::{Action, Flow, Role, Source},
    guards::{self, Guard},
    lanes,
    machine::{self, Callee, Control, Convention, Instruction, Reg, Routine},
    names::split,
    native::Disassembler,
};
use crate::Error;
use object::{FileFlags, Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use text::*;

const STORED: Role = Role::Sink("is stored in memory");
const CONVERTED: Role = Role::Sink("is converted to a float");

/// Audits a code object.
pub(super) fn audit(bytes: &[u8]) -> Result<Report, Error> {
    let file = object::File::parse(bytes)?;
    let flags = match file.flags() {
        FileFlags::Elf { e_flags, .. } => e_flags & 0xff,
        _ => 0,
    };
    let Some((_, processor)) = PROCESSORS.iter().find(|p| p.0 == flags) else {
        let message = format!("AMD processor {flags:#x} is not known");
        return Err(Error::Audit { message });
    };
    let disassembler = Disassembler::amdgcn(processor)?;
    let mut report = Report::default();
    let mut routines = Vec::new();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let mut symbols: Vec<(u64, u64, String)> = (file.symbols().chain(file.dynamic_symbols()))
            .filter(|s| s.kind() == SymbolKind::Text && s.section_index() == Some(section.index()))
            .map(|s| (s.address(), s.size(), s.name().unwrap_or_default().to_owned()))
            .collect();
        symbols.sort_unstable();
        symbols.dedup_by_key(|s| s.0);
        let data = section.data()?;
        for (i, (start, size, name)) in symbols.iter().enumerate() {
            let end = symbols.get(i + 1).map_or(section.address() + section.size(), |s| s.0);
            let end = if *size > 0 { (start + size).min(end) } else { end };
            let code = data
                .get((start - section.address()) as usize..(end - section.address()) as usize)
                .unwrap_or_default();
            let place = (section.index().0 as u64) << 40 | start;
            let code = decode(&disassembler, code, place, &mut report.undecoded);
            routines.push(Routine {
                name: name.clone(),
                exported: true,
                callback: false,
                listed: false,
                code,
            });
        }
        if symbols.is_empty() {
            let place = (section.index().0 as u64) << 40 | section.address();
            let code = decode(&disassembler, data, place, &mut report.undecoded);
            let name = section.name().unwrap_or_default().to_owned();
            routines.push(Routine { name, exported: true, callback: false, listed: false, code });
        }
    }
    let mut flow = Flow::default();
    let descriptors = file.symbols().chain(file.dynamic_symbols());
    let kernels = descriptors.filter_map(|s| s.name().ok()?.strip_suffix(".kd").map(String::from));
    let convention = Amdgcn { kernels: kernels.collect() };
    report.findings = machine::build(&routines, &convention, &mut flow);
    report.findings.extend(flow.judge());
    report.functions = flow.functions;
    Nodes::of_elf(bytes)?.attribute(&mut report);
    Ok(report)
}

/// State of a walk over a kernel's code in order.
#[derive(Default)]
struct Mode {
    // Lanes are switched off and no branch skips the code.
    masked: bool,
    // The registers that point to the kernel's parameters.
    parameters: Option<Vec<Reg>>,
}

fn decode(
    disassembler: &Disassembler,
    bytes: &[u8],
    start: u64,
    undecoded: &mut usize,
) -> Vec<Instruction> {
    let mut out: Vec<Instruction> = Vec::new();
    let mut masks: Vec<Option<Guard>> = Vec::new();
    let mut mode = Mode::default();
    let mut offset = 0;
    while offset < bytes.len() {
        let place = start + offset as u64;
        let Some((length, text)) = disassembler.decode(&bytes[offset..], 0) else {
            // Kernels are padded with zeros.
            if bytes[offset..].iter().take(4).any(|b| *b != 0) {
                *undecoded += 4.min(bytes.len() - offset);
            }
            offset += 4;
            continue;
        };
        offset += length;
        let next = start + offset as u64;
        // Two operations in one instruction.
        for (n, part) in text.split("::").enumerate() {
            let c = instruction(place + n as u64, next, part.trim(), &mut mode);
            masks.push(mask(&c, &mode));
            out.push(c);
        }
    }
    lanes::settle(&mut out, EXEC);
    guards::split(out, &masks)
}

/// The mask of lanes under which an instruction of vectors leaves its results or not.
fn mask(c: &Instruction, mode: &Mode) -> Option<Guard> {
    let vectors = ["v_", "ds_", "global_", "flat_", "buffer_", "tbuffer_", "scratch_", "image_"];
    let scalar = |reg: &Reg| *reg >= SCALARS;
    let masked = mode.masked
        && vectors.iter().any(|stem| c.name.starts_with(stem))
        && !c.writes.iter().chain(&c.keeps).any(scalar);
    masked.then_some((EXEC, false))
}

fn instruction(place: u64, next: u64, text: &str, mode: &mut Mode) -> Instruction {
    let (full, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let name = ["_e32", "_e64", "_dpp", "_sdwa", "_e64_dpp"]
        .iter()
        .find_map(|s| full.strip_suffix(s))
        .unwrap_or(full);
    let mut c = Instruction::new(place, name);
    c.action = action(name);
    let list = split(rest);
    if control(&mut c, name, next, &list, mode) || memory(&mut c, name, &list, mode) {
        return c;
    }
    arithmetic(&mut c, name, &list, mode);
    c
}

fn control(c: &mut Instruction, name: &str, next: u64, list: &[&str], mode: &mut Mode) -> bool {
    let offset =
        list.first().and_then(|o| o.parse::<u32>().ok()).map(|n| i64::from(n as u16 as i16) * 4);
    let target = offset.map(|o| next.wrapping_add_signed(o));
    let condition = match () {
        _ if name.contains("scc") => SCC,
        _ if name.contains("vcc") => VCC,
        _ => EXEC,
    };
    c.control = match name {
        "s_endpgm" | "s_endpgm_saved" | "s_trap" => Control::Stop,
        "s_branch" => target.map_or(Control::Indirect, Control::Jump),
        _ if name.starts_with("s_cbranch") => {
            c.reads.push((condition, Role::Condition));
            // Code that is jumped over where no lane is left merges at its end.
            if name.contains("execz") {
                mode.masked = false;
            }
            target.map_or(Control::Indirect, Control::Branch)
        }
        "s_setpc_b64" => Control::Indirect,
        "s_swappc_b64" | "s_call_b64" => Control::Call(Callee::Unknown),
        _ if [
            "s_nop",
            "s_waitcnt",
            "s_wait_",
            "s_barrier",
            "s_sleep",
            "s_inst_prefetch",
            "s_clause",
            "s_delay",
            "s_code_end",
            "s_sendmsg",
            "s_icache",
            "s_dcache",
            "buffer_gl",
            "buffer_wb",
            "buffer_inv",
            "global_inv",
            "global_wb",
            "s_set_inst",
            "s_setprio",
            "s_setreg",
            "s_round_mode",
            "s_denorm_mode",
            "s_ttrace",
            "s_version",
            "s_setkill",
            "s_prefetch",
            "s_singleuse",
            "v_nop",
            "s_decperf",
            "s_incperf",
            "s_set_gpr",
        ]
        .iter()
        .any(|s| name.starts_with(s)) =>
        {
            return true;
        }
        _ => return false,
    };
    true
}

/// Loads, stores and atomics; true if it was one.
fn memory(c: &mut Instruction, name: &str, list: &[&str], mode: &mut Mode) -> bool {
    let scalar = ["s_load", "s_buffer_load", "s_scratch_load"].iter().any(|s| name.starts_with(s));
    let vector = ["global_", "flat_", "buffer_", "tbuffer_", "scratch_", "ds_", "image_"]
        .iter()
        .any(|s| name.starts_with(s));
    if !scalar && !vector {
        return false;
    }
    let address = |c: &mut Instruction, operands: &[&str]| {
        c.reads.extend(operands.iter().flat_map(|o| registers(o)).map(|r| (r, Role::Address)));
    };
    if name.contains("store")
        || name.contains("write")
        || name.contains("atomic")
        || name.starts_with("ds_add")
        || name.starts_with("ds_m")
    {
        // Which operand is data differs; with atomics all are.
        let data: &[usize] = match () {
            _ if name.starts_with("buffer")
                || name.starts_with("tbuffer")
                || name.starts_with("image") =>
            {
                &[0]
            }
            _ if name.contains("atomic") => &[1, 2],
            _ if name.starts_with("ds_") => &[1, 2],
            _ => &[1],
        };
        for (n, operand) in list.iter().enumerate() {
            let role = if data.contains(&n) { STORED } else { Role::Address };
            c.reads.extend(registers(operand).into_iter().map(|r| (r, role)));
        }
        if name.contains("atomic") && list.len() > 2 {
            c.keeps.extend(list.first().map(|o| registers(o)).unwrap_or_default());
            c.source = Source::Data;
        }
        return true;
    }
    let Some((first, rest)) = list.split_first() else { return true };
    if name.starts_with("ds_bpermute")
        || name.starts_with("ds_permute")
        || name.starts_with("ds_swizzle")
    {
        c.reads.extend(rest.iter().flat_map(|o| registers(o)).map(|r| (r, Role::Value)));
    } else {
        address(c, rest);
        c.source = Source::Data;
    }
    let base = rest.first().map(|o| registers(o)).unwrap_or_default();
    if scalar && *mode.parameters.get_or_insert_with(|| base.clone()) == base {
        c.source = Source::Operands;
    }
    writes(c, registers(first), mode);
    true
}

/// Writes of lanes that are switched off leave the old values.
fn writes(c: &mut Instruction, all: Vec<Reg>, mode: &mut Mode) {
    if let Some(parameters) = &mode.parameters
        && all.iter().any(|r| parameters.contains(r))
    {
        // No register pair is this one: further loads are of data.
        mode.parameters = Some(Vec::new());
    }
    for reg in all {
        if mode.masked && reg < SCALARS { c.keeps.push(reg) } else { c.writes.push(reg) }
    }
}

fn arithmetic(c: &mut Instruction, name: &str, list: &[&str], mode: &mut Mode) {
    let operation = name.split_once('_').map_or("", |(_, rest)| rest);
    let scalar = name.starts_with("s_");
    let compares = operation.starts_with("cmp") || name.starts_with("s_bitcmp");
    let sets_only_scc = scalar && compares;
    let extended = ["_co_", "v_mad_u64", "v_mad_i64", "v_div_scale", "v_mad_co"]
        .iter()
        .any(|s| name.contains(s));
    let written = if sets_only_scc {
        0
    } else if extended {
        2
    } else {
        1
    };
    if scalar && (operation.starts_with("addc") || operation.starts_with("subb")) {
        c.reads.push((SCC, Role::Value));
    }
    if scalar && (operation.starts_with("cselect") || operation.starts_with("cmov")) {
        c.reads.push((SCC, Role::Condition));
    }
    let last = list.len().saturating_sub(1);
    for (n, operand) in list.iter().enumerate().skip(written) {
        let position = n - written;
        let select = operation.starts_with("cndmask") && n == last;
        let factor = match c.action {
            Action::Integer => position < 2,
            Action::Data(_) => true,
            Action::None => false,
        };
        let role = match () {
            _ if select || compares => Role::Condition,
            _ if factor => Role::Factor,
            _ if operation.starts_with("cvt_f")
                && ["_i32", "_u32", "_i16", "_u16", "_ubyte"]
                    .iter()
                    .any(|t| operation.contains(t)) =>
            {
                CONVERTED
            }
            _ => Role::Value,
        };
        let found = registers(operand);
        if found.is_empty()
            && factor
            && let Some(value) = number(operand)
        {
            c.constants.push((value, role));
        }
        c.reads.extend(found.into_iter().map(|r| (r, role)));
    }
    let targets: Vec<Reg> = list.iter().take(written).flat_map(|o| registers(o)).collect();
    let accumulates = operation.starts_with("mac")
        || operation.starts_with("fmac")
        || operation.starts_with("writelane")
        || name == "s_addk_i32"
        || name == "s_mulk_i32"
        || operation.starts_with("cmov");
    if accumulates {
        c.reads.extend(targets.iter().map(|r| (*r, Role::Value)));
    }
    if name == "s_mulk_i32" {
        c.reads.extend(targets.iter().map(|r| (*r, Role::Factor)));
    }
    exec(c, name, &targets, mode);
    if matches!(name, "v_mov_b32" | "s_mov_b32" | "s_movk_i32" | "s_mov_b64")
        && let Some(value) = list.get(1).and_then(|o| number(o))
    {
        c.source = Source::Constant(value);
    }
    if operation.starts_with("cvt_i32_f")
        || operation.starts_with("cvt_u32_f")
        || operation.starts_with("cvt_flr")
        || operation.starts_with("cvt_rpi")
        || operation.starts_with("cvt_nearest")
    {
        c.source = Source::Data;
    }
    writes(c, targets, mode);
    let keeps_scc = [
        "mov",
        "cselect",
        "cmov",
        "movk",
        "mul",
        "getpc",
        "bfm",
        "ff",
        "sext",
        "brev",
        "flbit",
        "pack",
        "getreg",
        "clz",
        "ctz",
        "bitset",
        "bitreplicate",
        "movrel",
        "cls",
    ];
    if scalar && !keeps_scc.iter().any(|s| operation.starts_with(s)) || sets_only_scc {
        c.writes.push(SCC);
    }
}

/// Follows which lanes are switched on.
fn exec(c: &mut Instruction, name: &str, targets: &[Reg], mode: &mut Mode) {
    let narrows = name.contains("saveexec");
    if narrows {
        c.writes.push(EXEC);
    }
    if narrows || targets.contains(&EXEC) || name.starts_with("v_cmpx") {
        let restores = name.starts_with("s_or") || name.starts_with("s_mov");
        mode.masked = !restores;
    }
}

/// Kernels neither take nor return registers that others see.
struct Amdgcn {
    // Routines that are kernels.
    kernels: HashSet<String>,
}

impl Convention for Amdgcn {
    /// A kernel begins with the numbers of its thread and the addresses of its parameters.
    fn entry(&self, routine: &str) -> Source {
        if self.kernels.contains(routine) { Source::Position } else { Source::Operands }
    }
    fn place(&self, place: u64) -> String {
        format!("{:#x}", place & ((1 << 40) - 1))
    }
}
