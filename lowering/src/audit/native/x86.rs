//! What x86-64 instructions read and write, from LLVM's text in AT&T's spelling.

mod operands;

use super::super::{
    flow::{Role, Source},
    machine::{Callee, Control, Instruction, Reg},
};
use super::{
    classify::{self, split},
    stack::{Decoded, Memory, Pointer},
};
pub(super) use operands::number;
use operands::*;

/// Number of the stack pointer.
pub const SP: Reg = 4;
const FLAGS: Reg = 100;
const VECTORS: Reg = 32;
const MASKS: Reg = 64;
const AX: Reg = 0;
const CX: Reg = 1;
const DX: Reg = 2;
const SI: Reg = 6;
const DI: Reg = 7;

/// Registers of integer arguments, in order.
pub const ARGUMENTS: &[Reg] = &[DI, SI, DX, CX, 8, 9];
/// Registers of results.
pub const RESULTS: &[Reg] = &[AX, DX, VECTORS];

const STORED: Role = Role::Sink("is stored in memory");
const CONVERTED: Role = Role::Sink("is converted to a float");

/// Writes that leave nothing of the old value: moves, conversions, counts and three-operand forms.
const MOVES: &[&str] = &[
    "mov",
    "lea",
    "bsf",
    "bsr",
    "lzcnt",
    "tzcnt",
    "popcnt",
    "rorx",
    "shlx",
    "sarx",
    "shrx",
    "andn",
    "bextr",
    "bls",
    "pext",
    "pdep",
    "cvt",
    "pop",
    "stmxcsr",
    "bzhi",
    "kmov",
    "pshufd",
    "broadcast",
    "lddqu",
    "pmov",
    "pabs",
];
/// AVX instructions that read their destination.
const ACCUMULATE: &[&str] = &[
    "vpternlog",
    "vpermi2",
    "vpermt2",
    "vpsh",
    "vfm",
    "vfn",
    "vpdp",
    "vpmadd52",
    "vdpbf16",
    "vexpand",
    "vpexpand",
    "vpcmov",
    "vgather",
    "vpgather",
];
/// Instructions that write nothing but flags.
const TESTS: &[&str] = &[
    "cmp", "test", "ucomis", "comis", "vucomis", "vcomis", "bt", "ktest", "kortest", "ptest",
    "vptest", "vtest",
];
/// Instructions whose operands leave no trace in registers or memory.
const IDLE: &[&str] =
    &["nop", "prefetch", "endbr", "lfence", "sfence", "mfence", "pause", "vzero", "emms"];

fn begins(name: &str, stems: &[&str]) -> bool {
    stems.iter().any(|s| name.starts_with(s))
}

/// Decodes the instruction at an address whose successor is at `next`; `call` is what a relocation or
/// an address makes of the target of a jump or call.
pub fn decode(
    place: u64,
    next: u64,
    text: &str,
    call: &dyn Fn(Option<u64>) -> Option<Callee>,
) -> Decoded {
    let (name, rest) = split(text);
    let mut decoded = Decoded::new(Instruction::new(place, name));
    decoded.instruction.action = classify::x86(name);
    if control(&mut decoded, name, rest, next, call) || special(&mut decoded, name, rest) {
        return decoded;
    }
    ordinary(&mut decoded, name, rest);
    decoded
}

/// Jumps, calls and returns.
fn control(
    d: &mut Decoded,
    name: &str,
    rest: &str,
    next: u64,
    call: &dyn Fn(Option<u64>) -> Option<Callee>,
) -> bool {
    let c = &mut d.instruction;
    let relative = number(rest.trim()).map(|n| next.wrapping_add(n as u64));
    let indirect = operands(rest.trim().trim_start_matches('*'));
    let through_register = rest.trim().starts_with('*');
    if through_register && let Some(first) = indirect.first() {
        match first {
            Operand::Register(reg, _) => c.reads.push((*reg, Role::Address)),
            Operand::Memory { base, index, offset } => {
                let (base, index, offset) = (*base, *index, *offset);
                d.memory = Some(Memory {
                    base,
                    index,
                    offset,
                    bytes: 8,
                    load: Some(Role::Address),
                    store: false,
                    whole: None,
                });
            }
            _ => {}
        }
    }
    c.control = match name {
        "retq" | "ret" | "retl" => Control::Return,
        "callq" | "call" => Control::Call(call(relative).unwrap_or(Callee::Unknown)),
        "jmp" | "jmpq" => match (relative, call(relative)) {
            (_, Some(callee)) => Control::TailCall(callee),
            (Some(to), None) => Control::Jump(to),
            (None, None) => Control::Indirect,
        },
        "ud2" | "hlt" | "int3" => Control::Stop,
        _ if name.starts_with('j') => {
            c.reads.push((FLAGS, Role::Condition));
            match (call(relative), relative) {
                (Some(callee), _) => Control::TailCall(callee),
                (None, Some(to)) => Control::Branch(to),
                _ => Control::Indirect,
            }
        }
        _ => return false,
    };
    true
}

/// Instructions with operands that are not written, or that move the stack pointer.
fn special(d: &mut Decoded, name: &str, rest: &str) -> bool {
    let list = operands(rest);
    let c = &mut d.instruction;
    if begins(name, IDLE) {
        return true;
    }
    let stack = |load, store| {
        let whole = match list.first() {
            Some(Operand::Register(reg, 8)) => Some(*reg),
            _ => None,
        };
        Memory { base: Some(SP), index: None, offset: 0, bytes: 8, load, store, whole }
    };
    match name {
        "pushq" | "push" => {
            if let Some(Operand::Register(reg, _)) = list.first() {
                c.reads.push((*reg, STORED));
            }
            d.before = Some(Pointer::Move { to: SP, from: SP, add: -8 });
            d.memory = Some(stack(None, true));
        }
        "popq" | "pop" => {
            if let Some(Operand::Register(reg, _)) = list.first() {
                c.writes.push(*reg);
            }
            d.memory = Some(stack(Some(Role::Value), false));
            d.after = Some(Pointer::Move { to: SP, from: SP, add: 8 });
        }
        "leave" | "leaveq" => {
            c.writes.push(5);
            d.before = Some(Pointer::Move { to: SP, from: 5, add: 0 });
            d.memory = Some(stack(Some(Role::Value), false));
            d.after = Some(Pointer::Move { to: SP, from: SP, add: 8 });
        }
        "cqto" | "cltd" | "cwtd" => {
            c.reads.push((AX, Role::Value));
            c.writes.push(DX);
        }
        "cltq" | "cwtl" | "cbtw" => {
            c.reads.push((AX, Role::Value));
            c.writes.push(AX);
        }
        _ if begins(name, &["stos"]) => {
            c.reads = vec![(AX, STORED), (CX, Role::Address), (DI, Role::Address)];
            c.keeps = vec![CX, DI];
        }
        _ if begins(name, &["movsb", "movsw", "movsl", "movsq"])
            && !rest.contains(", %r")
            && rest.contains("(%rsi)") =>
        {
            c.reads = vec![(CX, Role::Address), (SI, Role::Address), (DI, Role::Address)];
            c.keeps = vec![CX, SI, DI];
        }
        _ if list.len() == 1 && begins(name, &["mul", "imul", "div", "idiv"]) => {
            wide(d, name, &list[0]);
        }
        _ => return false,
    }
    true
}

/// The one-operand multiplies and divisions, on `rdx:rax`.
fn wide(d: &mut Decoded, name: &str, operand: &Operand) {
    let divides = name.contains("div");
    let c = &mut d.instruction;
    c.reads.push((AX, if divides { Role::Dividend } else { Role::Factor }));
    if divides {
        c.reads.push((DX, Role::Dividend));
    }
    match operand {
        Operand::Register(reg, _) => c.reads.push((*reg, Role::Factor)),
        Operand::Memory { base, index, offset } => {
            let (base, index, offset) = (*base, *index, *offset);
            let bytes = width(name, &[]);
            let (load, whole) = (Some(Role::Factor), None);
            d.memory = Some(Memory { base, index, offset, bytes, load, store: false, whole });
        }
        _ => {}
    }
    c.writes = vec![AX, DX, FLAGS];
}

/// Instructions with their operands written out, the destination last.
fn ordinary(d: &mut Decoded, name: &str, rest: &str) {
    let list = operands(rest);
    let c = &mut d.instruction;
    let base_name = name.strip_prefix('v').unwrap_or(name);
    let multiplies = begins(name, &["imul", "mulx"]);
    let compares = begins(base_name, &["cmp", "pcmp", "ptestm", "ptestnm"]);
    let tests =
        begins(name, TESTS) && !name.starts_with("cmpxchg") && !(compares && list.len() > 2);
    let role = match () {
        _ if multiplies => Role::Factor,
        _ if compares && !tests && !name.starts_with("cmpxchg") => Role::Condition,
        _ if begins(
            base_name,
            &["cvtsi2s", "cvtusi2s", "cvtdq2p", "cvtudq2p", "cvtqq2p", "cvtuqq2p"],
        ) =>
        {
            CONVERTED
        }
        _ => Role::Value,
    };
    let takes_flags = begins(name, &["set", "cmov", "adc", "sbb", "rcl", "rcr", "adox", "adcx"]);
    if takes_flags {
        let carry = begins(name, &["adc", "sbb", "rcl", "rcr", "adox", "adcx"]);
        c.reads.push((FLAGS, if carry { Role::Value } else { Role::Condition }));
    }
    let Some((last, first)) = list.split_last() else { return };
    let zero = zeroing(base_name, &list);
    for (i, operand) in first.iter().enumerate() {
        match operand {
            Operand::Register(reg, _) if !zero => c.reads.push((*reg, role)),
            Operand::Immediate(value) if multiplies && i == 0 => c.constants.push((*value, role)),
            _ => {}
        }
    }
    c.reads.extend(masks(rest).map(|k| (k, Role::Condition)));
    if multiplies && name.starts_with("mulx") {
        c.reads.push((DX, Role::Factor));
        // The two destinations come last.
        if let Some(Operand::Register(low, _)) = first.last() {
            c.reads.retain(|r| r.0 != *low || r.0 == DX);
            c.writes.push(*low);
        }
    }
    let moves = begins(base_name, MOVES) && !masks(rest).any(|_| true);
    let replaces = moves
        || zero
        || (name.starts_with('v') && !begins(name, ACCUMULATE) && !masks(rest).any(|_| true))
        || (multiplies && list.len() == 3)
        || name.starts_with("set");
    let bytes = width(name, &list) / repeats(rest);
    match last {
        Operand::Register(reg, _) if tests => c.reads.push((*reg, role)),
        Operand::Register(reg, width) => {
            // Half a register keeps its other half; scalar moves within SSE do too.
            let part = *width < 4
                || (base_name == "movss" || base_name == "movsd") && memory(first).is_none();
            if !replaces {
                c.reads.push((*reg, role));
            }
            if part && !zero {
                c.keeps.push(*reg)
            } else {
                c.writes.push(*reg)
            }
            c.pointers.spoils = *width < 4;
        }
        _ => {}
    }
    if *name == *"xchgq"
        || *name == *"xchgl"
        || name.starts_with("xadd")
        || name.starts_with("cmpxchg")
    {
        both_ways(c, &list);
    }
    if tests || flags(base_name, name) {
        c.writes.push(FLAGS);
    }
    if zero {
        c.source = Source::Constant(0);
    } else if let [Operand::Immediate(value), Operand::Register(..)] = list[..]
        && name.starts_with("mov")
    {
        c.source = Source::Constant(value);
    }
    if let ("addq", [Operand::Register(..), Operand::Register(to, 8)]) = (name, &list[..]) {
        d.sum = Some((*to, 0));
    }
    place(d, name, &list, bytes, role, tests, replaces);
    pointers(d, name, &list);
}

/// The operand in memory, if one is.
fn memory(list: &[Operand]) -> Option<&Operand> {
    list.iter().find(|o| matches!(o, Operand::Memory { .. }))
}

/// Attaches the operand in memory.
fn place(
    d: &mut Decoded,
    name: &str,
    list: &[Operand],
    bytes: i64,
    role: Role,
    tests: bool,
    replaces: bool,
) {
    let Some(Operand::Memory { base, index, offset }) = memory(list) else { return };
    let (base, index, offset) = (*base, *index, *offset);
    let c = &mut d.instruction;
    if name.starts_with("lea") {
        // Adds and shifts registers; nothing is accessed.
        c.reads.extend([base, index].into_iter().flatten().map(|r| (r, Role::Value)));
        if let Some(Operand::Register(to, 8)) = list.last() {
            d.sum = Some((*to, offset));
        }
        return;
    }
    let loads = tests || name.ends_with("ldmxcsr");
    let store = matches!(list.last(), Some(Operand::Memory { .. })) && !loads;
    if store {
        for read in &mut c.reads {
            if read.1 == Role::Value && read.0 != FLAGS {
                read.1 = STORED;
            }
        }
    }
    let load = (!store || !replaces).then_some(role);
    let whole = match list {
        [Operand::Register(reg, 8), _] | [_, Operand::Register(reg, 8)] if name == "movq" => {
            Some(*reg).filter(|reg| *reg < VECTORS)
        }
        _ => None,
    };
    d.memory = Some(Memory { base, index, offset, bytes, load, store, whole });
}

/// Exchanges write every register they name.
fn both_ways(c: &mut Instruction, list: &[Operand]) {
    for operand in list {
        if let Operand::Register(reg, _) = operand {
            c.keeps.push(*reg);
        }
    }
    if c.name.starts_with("cmpxchg") {
        c.keeps.push(AX);
    }
}

/// Whether the instruction clears its destination.
fn zeroing(base_name: &str, list: &[Operand]) -> bool {
    let clears = begins(base_name, &["xor", "pxor", "sub", "psub", "kxor"]);
    match list {
        [Operand::Register(a, _), Operand::Register(b, _)] => clears && a == b,
        [Operand::Register(a, _), Operand::Register(b, _), Operand::Register(..)] => {
            clears && a == b
        }
        _ => false,
    }
}

/// Whether general-purpose arithmetic sets the flags.
fn flags(base_name: &str, name: &str) -> bool {
    base_name == name
        && begins(
            name,
            &[
                "add", "sub", "and", "or", "xor", "inc", "dec", "neg", "shl", "shr", "sar", "imul",
                "adc", "sbb", "rol", "ror", "bsf", "bsr", "tzcnt", "lzcnt", "popcnt", "bls",
                "xadd", "cmpxchg", "bzhi", "bextr", "shld", "shrd",
            ],
        )
        && !begins(name, &["addp", "adds", "subp", "subs", "andp", "andn", "orp", "xorp"])
        || begins(name, &["addsub"])
}

/// Moves of the stack pointer and of pointers into the frame.
fn pointers(d: &mut Decoded, name: &str, list: &[Operand]) {
    d.after = match list {
        [Operand::Immediate(n), Operand::Register(reg, 8)] => {
            let n = *n as i64;
            match name {
                "addq" => Some(Pointer::Move { to: *reg, from: *reg, add: n }),
                "subq" => Some(Pointer::Move { to: *reg, from: *reg, add: -n }),
                "andq" if n < 0 => Some(Pointer::Align(*reg)),
                _ => None,
            }
        }
        [Operand::Register(reg, 8)] if name == "incq" => {
            Some(Pointer::Move { to: *reg, from: *reg, add: 1 })
        }
        [Operand::Register(from, 8), Operand::Register(to, 8)] if name == "movq" => {
            Some(Pointer::Move { to: *to, from: *from, add: 0 })
        }
        [Operand::Memory { base: Some(base), index: None, offset }, Operand::Register(to, 8)]
            if name == "leaq" =>
        {
            Some(Pointer::Move { to: *to, from: *base, add: *offset })
        }
        _ => None,
    };
}
