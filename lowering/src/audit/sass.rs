//! Cubins: SASS, the machine code of NVIDIA's GPUs, through `nvdisasm`.

mod frame;
mod opcodes;

use super::{
    Kind, Nodes, Report,
    flow::{Action, Flow, Role, Source},
    formats::Outcome,
    guards::{self, Guard},
    machine::{self, Callee, Control, Convention, Instruction, Reg, Routine},
    names::split,
};
use crate::Error;
use opcodes::action;
use std::{collections::HashMap, io::ErrorKind, process::Command};

const STORED: Role = Role::Sink("is stored in memory");

/// Audits a cubin, if `nvdisasm` is on the path or named by `NVDISASM`.
pub(super) fn audit(bytes: &[u8]) -> Result<Outcome, Error> {
    let folder = tempfile::tempdir().map_err(Error::io("a temporary folder"))?;
    let file = folder.path().join("input.cubin");
    std::fs::write(&file, bytes).map_err(Error::io(&file))?;
    let program = std::env::var("NVDISASM").unwrap_or_else(|_| "nvdisasm".into());
    let output = match Command::new(&program).arg("-c").arg(&file).output() {
        Ok(output) if output.status.success() => output,
        Ok(output) => {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::Audit { message: format!("{program} failed: {message}") });
        }
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(Outcome::Skipped(format!(
                "{program} is needed to read SASS and cannot be run ({error}); `pip install \
                 nvidia-cuda-nvdisasm` has it: make it executable and name it in the variable NVDISASM"
            )));
        }
        Err(error) => return Err(Error::io(&program)(error)),
    };
    let mut report = listing(&String::from_utf8_lossy(&output.stdout));
    Nodes::of_elf(bytes)?.attribute(&mut report);
    Ok(Outcome::Audited(report))
}

/// Audits a listing of `nvdisasm -c`.
pub(super) fn listing(text: &str) -> Report {
    let mut routines: Vec<Routine> = Vec::new();
    let mut labels: HashMap<String, u64> = HashMap::new();
    let mut pending: Vec<String> = Vec::new();
    let mut guards: Vec<Vec<Option<Guard>>> = Vec::new();
    let mut texts: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(section) =
            line.strip_prefix(".section").map(str::trim).and_then(|s| s.strip_prefix(".text."))
        {
            let name = section
                .split([',', ' ', '\t'])
                .next()
                .unwrap_or(section)
                .trim_matches('"')
                .to_owned();
            routines.push(Routine {
                name,
                exported: true,
                callback: false,
                listed: false,
                code: Vec::new(),
            });
            guards.push(Vec::new());
            texts.push(Vec::new());
        } else if let Some(label) = line.strip_suffix(':') {
            pending.push(label.trim().to_owned());
        } else if let Some((address, code)) = instruction_text(line) {
            let at = (routines.len() as u64) << 40 | address;
            labels.extend(pending.drain(..).map(|label| (label, at)));
            if let Some(routine) = routines.last_mut() {
                routine.code.push(decode(at, code));
                guards.last_mut().into_iter().for_each(|g| g.push(guard(code)));
                texts.last_mut().into_iter().for_each(|t| t.push(code));
            }
        }
    }
    for routine in &mut routines {
        for c in &mut routine.code {
            resolve(c, &labels);
        }
    }
    for ((routine, guards), texts) in routines.iter_mut().zip(guards).zip(&texts) {
        let code = std::mem::take(&mut routine.code);
        let (code, guards) = frame::slots(code, guards, texts);
        routine.code = guards::split(code, &guards);
    }
    let mut flow = Flow::default();
    let mut findings = machine::build(&routines, &Sass, &mut flow);
    findings.extend(flow.judge());
    Report { functions: flow.functions, findings, ..Report::default() }
}

/// Address and text of a line `/*0040*/ IADD3 R1, R2, R3, RZ ;`.
fn instruction_text(line: &str) -> Option<(u64, &str)> {
    let rest = line.strip_prefix("/*")?;
    let (address, rest) = rest.split_once("*/")?;
    let address = u64::from_str_radix(address.trim(), 16).ok()?;
    let code = rest.split(';').next()?.trim().trim_start_matches('{').trim();
    (!code.is_empty() && !code.starts_with("/*")).then_some((address, code))
}

const UNIFORM: Reg = 256;
const PREDICATES: Reg = 512;
const UNIFORM_PREDICATES: Reg = 520;

/// The registers that an operand names; the zero registers are none.
fn registers(text: &str) -> Vec<Reg> {
    let wide = if text.contains(".64") { 2 } else { 1 };
    let mut found = Vec::new();
    for word in text.split(|c: char| !(c.is_alphanumeric())) {
        let (class, digits) = match word {
            w if w.starts_with("UP") => (UNIFORM_PREDICATES, &w[2..]),
            w if w.starts_with("UR") => (UNIFORM, &w[2..]),
            w if w.starts_with('P') => (PREDICATES, &w[1..]),
            w if w.starts_with('R') => (0, &w[1..]),
            _ => continue,
        };
        if let Ok(number) = digits.parse::<Reg>() {
            found.extend((0..wide).map(|n| class + number + n));
        }
    }
    found
}

/// Whether an operand is a zero register or a number.
fn constant(text: &str) -> Option<i128> {
    let text = text.trim().trim_start_matches(['-', '|', '~', '!']).trim_end_matches('|');
    let text = text.split(".H").next().unwrap_or(text).trim_end_matches(".reuse");
    if matches!(text, "RZ" | "URZ" | "SRZ") {
        return Some(0);
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return i128::from_str_radix(hex, 16).ok();
    }
    // A float: a constant, of which only that it is one matters.
    text.parse::<i128>().ok().or_else(|| text.parse::<f64>().ok().map(|_| 3))
}

/// The predicate that an instruction with results stands under.
fn guard(text: &str) -> Option<Guard> {
    let (guard, rest) = text.strip_prefix('@')?.split_once(' ')?;
    let opcode = rest.trim().split([' ', '.']).next()?;
    let moves_on = ["BRA", "EXIT", "RET", "BRX", "CALL", "BSSY", "BSYNC"].contains(&opcode);
    let predicate = registers(guard).first().copied()?;
    (!moves_on).then_some((predicate, guard.starts_with('!')))
}

/// Registers written by an instruction with a first register.
fn span(opcode: &str, first: Reg) -> Vec<Reg> {
    let loads = ["LD", "ATOM", "TEX", "TLD", "SULD"].iter().any(|l| opcode.starts_with(l))
        || opcode.starts_with('U');
    let wide = opcode.contains(".WIDE")
        || opcode.contains(".64")
        || opcode.starts_with('D')
        || opcode == "CS2R";
    let count = match () {
        _ if loads && opcode.contains(".128") => 4,
        _ if wide => 2,
        _ if opcode.contains("MMA") => 4,
        _ => 1,
    };
    (0..count).map(|n| first + n).collect()
}

fn decode(place: u64, text: &str) -> Instruction {
    let (guard, text) = match text.strip_prefix('@') {
        Some(rest) => rest.split_once(' ').map_or((None, rest), |(g, t)| (Some(g), t.trim())),
        None => (None, text),
    };
    let (opcode, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut c = Instruction::new(place, opcode);
    c.action = action(opcode);
    let guards = guard.map(registers).unwrap_or_default();
    c.reads.extend(guards.iter().map(|r| (*r, Role::Condition)));
    let guarded = !guards.is_empty();
    let first = opcode.split('.').next().unwrap_or(opcode);
    let list = split(rest);
    match first {
        "EXIT" | "RET" if !guarded => c.control = Control::Return,
        "BRA" => {
            // The target is resolved once all labels are known.
            let label =
                rest.split("`(").nth(1).and_then(|l| l.split(')').next()).unwrap_or_default();
            c.name = format!("BRA to {label}");
            let conditions: Vec<Reg> =
                list.iter().filter(|o| !o.contains('`')).flat_map(|o| registers(o)).collect();
            let conditional = guarded || !conditions.is_empty();
            c.reads.extend(conditions.into_iter().map(|r| (r, Role::Condition)));
            c.control = if conditional { Control::Branch(0) } else { Control::Jump(0) };
        }
        "BRX" | "JMX" | "JMP" | "BRXU" => c.control = Control::Indirect,
        "CALL" => {
            let name = rest.split("`(").nth(1).and_then(|l| l.split(')').next());
            c.name = format!("CALL to {}", name.unwrap_or_default());
            c.control = Control::Call(Callee::Unknown);
        }
        "BSSY" | "BSYNC" | "WARPSYNC" | "BREAK" | "NOP" | "BAR" | "MEMBAR" | "DEPBAR" | "YIELD"
        | "EXIT" | "RET" => {}
        _ => operands(&mut c, opcode, first, &list, guarded),
    }
    c
}

/// Labels become places; calls of them are inside the file.
fn resolve(c: &mut Instruction, labels: &HashMap<String, u64>) {
    let Some((_, label)) = c.name.split_once(" to ") else { return };
    let to = labels.get(label).copied();
    c.control = match (&c.control, to) {
        (Control::Branch(_), Some(to)) => Control::Branch(to),
        (Control::Jump(_), Some(to)) => Control::Jump(to),
        // A subroutine shares its caller's registers, and its code is audited in its place: to the
        // chains it is a jump whose way back is not followed.
        (Control::Call(_), Some(_)) => Control::Indirect,
        (Control::Call(_), None) => Control::Call(Callee::Unknown),
        _ => Control::Indirect,
    };
}

fn operands(c: &mut Instruction, opcode: &str, first: &str, list: &[&str], guarded: bool) {
    let stores = ["ST", "STG", "STL", "STS", "RED", "REDG", "SUST", "STSM", "STAS", "REDAS"]
        .contains(&first);
    let loads = first.starts_with("LD") && !first.starts_with("LDC")
        || first.starts_with("ATOM")
        || first == "TEX";
    let constants = first.starts_with("LDC")
        || first.starts_with("ULDC")
        || first.starts_with("S2")
        || first == "CS2R";
    let predicates = |o: &&&str| {
        let o = o.trim_start_matches('!');
        o.starts_with('P') || o.starts_with("UP")
    };
    // Comparisons write their first two operands, which are predicates; sums may write carries.
    let written =
        if stores { 0 } else { 1 + list.iter().skip(1).take_while(predicates).count().min(2) };
    let leading = if list.first().is_some_and(|o| predicates(&o)) {
        list.iter().take(2).take_while(predicates).count()
    } else {
        written
    };
    let compares = first.ends_with("SETP") || first.ends_with("SET") || first.starts_with("VOTE");
    for operand in list.iter().take(leading.max(usize::from(!stores))) {
        for reg in registers(operand) {
            let all = if reg < PREDICATES { span(opcode, reg) } else { vec![reg] };
            if guarded { c.keeps.extend(all) } else { c.writes.extend(all) }
        }
    }
    let integer = c.action == Action::Integer;
    let wide = opcode.contains(".WIDE");
    let sources: Vec<&&str> = list.iter().skip(leading.max(usize::from(!stores))).collect();
    let mut data = 0;
    for operand in sources {
        if operand.contains('[')
            && !operand.starts_with("c[")
            && !operand.contains("c[0x")
            && !operand.starts_with("cx[")
        {
            let all = registers(operand);
            let reach: Vec<Reg> = if operand.contains(".64") || opcode.contains(".E") {
                all.iter().flat_map(|r| [*r, r + 1]).collect()
            } else {
                all
            };
            c.reads.extend(reach.into_iter().map(|r| (r, Role::Address)));
            continue;
        }
        let predicate = predicates(&operand);
        let role = match () {
            // The carry of a sum of several words.
            _ if predicate && opcode.split('.').any(|w| w == "X") => Role::Value,
            _ if predicate => Role::Condition,
            _ if stores || first.starts_with("ATOM") => STORED,
            _ if compares => Role::Condition,
            _ if first.starts_with("I2F") || first.starts_with("UI2F") => {
                Role::Sink("is converted to a float")
            }
            // The factors come first, the addend last.
            _ if (integer
                || matches!(c.action, Action::Data(Kind::Multiply | Kind::FusedMultiplyAdd)))
                && data < 2 =>
            {
                Role::Factor
            }
            _ if matches!(
                c.action,
                Action::Data(
                    Kind::Approximation
                        | Kind::SquareRoot
                        | Kind::Transcendental
                        | Kind::DotProduct
                )
            ) =>
            {
                Role::Factor
            }
            _ => Role::Value,
        };
        if !predicate {
            data += 1;
        }
        let found = registers(operand);
        if found.is_empty() && role == Role::Factor {
            match constant(operand) {
                Some(value) => c.constants.push((value, role)),
                // A bank of constants holds parameters: sizes and addresses.
                None => c.reads.push((PARAMETER, role)),
            }
        }
        for reg in found {
            let addend = integer && wide && data > 2;
            let stored = stores && opcode.contains(".64");
            let count = if opcode.contains(".128") && stores {
                4
            } else if addend || stored || first.starts_with('D') {
                2
            } else {
                1
            };
            c.reads.extend((0..count).map(|n| (reg + n, role)));
        }
    }
    c.source = match () {
        _ if loads => Source::Data,
        _ if matches!(first, "S2R" | "S2UR") && list.get(1).is_some_and(|o| is_position(o)) => {
            Source::Position
        }
        _ if constants => Source::Operands,
        _ if first == "F2I" => Source::Data,
        _ if matches!(first, "MOV" | "UMOV" | "MOV32I") => {
            match list.get(1).and_then(|o| constant(o)) {
                Some(value) => Source::Constant(value),
                None => Source::Operands,
            }
        }
        _ => Source::Operands,
    };
}

/// Special registers that tell threads apart.
fn is_position(register: &str) -> bool {
    ["SR_TID", "SR_CTAID", "SR_LANEID"].iter().any(|name| register.starts_with(name))
}

/// Stands for the bank of constants.
const PARAMETER: Reg = 600;

/// Kernels neither take nor return registers.
struct Sass;

impl Convention for Sass {
    fn place(&self, place: u64) -> String {
        format!("{:#06x}", place & ((1 << 40) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spilled_registers_are_followed() {
        // A place that is computed from a loaded number, spilled beside data and loaded back.
        let code = |last: &'static str| {
            [
                "IMAD R6, R3, 0x5, RZ",
                "MOV R7, R3",
                "STL.64 [R1+0x8], R6",
                "LDL.64 R6, [R1+0x8]",
                last,
            ]
        };
        let report = audited(&code("LDG.E R5, desc[UR4][R6.64]"));
        assert!(report.findings.is_empty(), "{report}");
        let report = audited(&code("FADD R5, R7, R7"));
        assert!(report.findings.is_empty(), "{report}");
        let report = audited(&code("MOV R5, R6"));
        assert_eq!(report.count(Kind::IntegerMultiply), 1, "{report}");
        // Where its address is taken, local memory is memory.
        let taken =
            ["IADD3 R10, R1, 0x8, RZ"].into_iter().chain(code("LDG.E R5, desc[UR4][R6.64]"));
        let report = audited(&taken.collect::<Vec<_>>());
        assert_eq!(report.count(Kind::IntegerMultiply), 1, "{report}");
    }

    #[test]
    fn what_threads_are_numbered_by_is_a_place() {
        let product = ["S2R R4, SR_CTAID.X", "IMAD R4, R4, 0x7, R0", "I2F R5, R4"];
        let report = audited(&product);
        assert!(report.is_multiplication_free(), "{report}");
        let report = audited(&["IMAD R4, R3, 0x7, R0", "I2F R5, R4"]);
        assert_eq!(report.count(Kind::IntegerMultiply), 1, "{report}");
    }

    /// A kernel that loads `R3` from the place `R2`, and stores `R5` there.
    fn audited(instructions: &[&str]) -> Report {
        let head = ["S2R R0, SR_TID.X", "HFMA2.MMA R9, -RZ, RZ, 0, 2.384185791015625e-07"];
        let load = ["IMAD.WIDE.U32 R2, R0, R9, c[0x0][0x210]", "LDG.E R3, desc[UR4][R2.64]"];
        let tail = ["STG.E desc[UR4][R2.64], R5", "EXIT"];
        let mut text = String::from(".section\t.text.k,\"ax\",@progbits\n");
        let code = head.iter().chain(&load).chain(instructions).chain(&tail);
        for (n, instruction) in code.enumerate() {
            text.push_str(&format!("        /*{:04x}*/    {instruction} ;\n", 16 * n));
        }
        listing(&text)
    }

    #[test]
    fn planted_instructions_are_found() {
        for (instruction, kind) in [
            ("FMUL R5, R3, R3", Kind::Multiply),
            ("FFMA.FTZ R5, R3, R3, RZ", Kind::FusedMultiplyAdd),
            ("FFMA R5, R3, 1, R3", Kind::FusedMultiplyAdd),
            ("HMUL2 R5, R3, R3", Kind::Multiply),
            ("HFMA2.MMA R5, R3, R3, RZ", Kind::FusedMultiplyAdd),
            ("MUFU.RCP R5, R3", Kind::Approximation),
            ("MUFU.SQRT R5, R3", Kind::SquareRoot),
            ("MUFU.EX2 R5, R3", Kind::Transcendental),
            ("HMMA.16816.F32 R4, R8, R6, R4", Kind::DotProduct),
            ("IDP.4A.U8.U8 R5, R3, R3, RZ", Kind::DotProduct),
            ("IMAD R5, R3, R3, RZ", Kind::IntegerMultiply),
            ("IMAD R5, R3, 0x5, RZ", Kind::IntegerMultiply),
            ("NEWOP R5, R3", Kind::Unknown),
        ] {
            let report = audited(&[instruction]);
            assert_eq!(report.findings.len(), 1, "{instruction}: {report}");
            assert_eq!(report.count(kind), 1, "{instruction}: {report}");
        }
        let report = audited(&["IMAD R6, R3, R3, RZ", "I2F R5, R6"]);
        assert_eq!(report.count(Kind::IntegerMultiply), 1, "{report}");
    }

    #[test]
    fn moves_shifts_and_addresses_are_clean() {
        for instructions in [
            &["FADD.FTZ R5, R3, R3"][..],
            &["IMAD.MOV.U32 R5, RZ, RZ, R3"],
            &["IMAD.IADD R5, R3, 0x1, R3"],
            &["IMAD.SHL.U32 R5, R3, 0x800000, RZ"],
            &["IMAD.WIDE R6, R3, 0xc, R2", "LDG.E R5, desc[UR4][R6.64]"],
            // Where P0 holds, R6 is what was loaded, not the product it was before.
            &[
                "IMAD R6, R3, 0x5, RZ",
                "LDG.E R7, desc[UR4][R6.64]",
                "@P0 LDG.E R6, desc[UR4][R2.64]",
                "@P0 FADD R5, R6, R6",
                "@!P0 IMAD.MOV.U32 R5, RZ, RZ, RZ",
            ],
            // Two registers are cleared.
            &[
                "IMAD.WIDE.U32 R6, R0, 0x28, R2",
                "LDG.E R8, desc[UR4][R6.64]",
                "CS2R R6, SRZ",
                "FADD R5, R7, R8",
            ],
        ] {
            let report = audited(instructions);
            assert!(report.is_multiplication_free(), "{instructions:?}: {report}");
        }
    }
}
