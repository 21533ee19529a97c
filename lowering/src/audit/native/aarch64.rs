//! What AArch64 instructions read and write, from LLVM's text.

mod operands;

use super::super::{
    flow::{Role, Source},
    machine::{Callee, Control, Instruction, Reg},
};
use super::{
    classify::{self, split},
    stack::{Decoded, Memory, Pointer},
    x86::number,
};
use operands::{Operand, operands, register};

/// Number of the stack pointer.
pub const SP: Reg = 31;
const ZERO: Reg = 98;
const FLAGS: Reg = 100;
const VECTORS: Reg = 32;
const PREDICATES: Reg = 64;

/// Registers of integer arguments, in order.
pub const ARGUMENTS: &[Reg] = &[0, 1, 2, 3, 4, 5, 6, 7];
/// Registers of results.
pub const RESULTS: &[Reg] = &[0, 1, VECTORS];

/// Bytes of a vector register, those of scalable ones among them: code that fits every length fits the
/// least, and other code is made for it.
const VECTOR: i64 = 16;

const STORED: Role = Role::Sink("is stored in memory");
const CONVERTED: Role = Role::Sink("is converted to a float");

/// The address that an addition to the address of a page computes; notes addresses of pages.
pub(super) fn page(
    text: &str,
    at: u64,
    pages: &mut std::collections::HashMap<Reg, u64>,
) -> Option<u64> {
    let (name, rest) = split(text);
    match (name, &operands(rest)[..]) {
        ("adrp", [Operand::Register(to, _), Operand::Immediate(n)]) => {
            pages.insert(*to, (at & !0xfff).wrapping_add(*n as u64));
            None
        }
        ("add", [Operand::Register(to, 8), Operand::Register(from, 8), Operand::Immediate(n)]) => {
            let page = pages.get(from).copied();
            pages.remove(to);
            page.map(|page| page.wrapping_add(*n as u64))
        }
        (_, [Operand::Register(to, _), ..]) => {
            pages.remove(to);
            None
        }
        _ => None,
    }
}

fn begins(name: &str, stems: &[&str]) -> bool {
    stems.iter().any(|s| name.starts_with(s))
}

const TESTS: &[&str] = &["cmp", "cmn", "tst", "ccmp", "ccmn", "fcmp", "fccmp", "ptest"];
const SELECTS: &[&str] =
    &["csel", "cset", "csinc", "csinv", "csneg", "cinc", "cinv", "cneg", "fcsel"];
const COMPARES: &[&str] =
    &["cmeq", "cmg", "cmh", "cml", "cmtst", "fcm", "fac", "cmp", "cmn", "tst", "ccm", "while"];
const INSERTS: &[&str] = &[
    "movk", "bfi", "bfm", "bfxil", "bfc", "ins", "inc", "dec", "sqinc", "sqdec", "uqinc", "uqdec",
];
/// Vector instructions that read their destination without naming it twice.
const ACCUMULATE: &[&str] = &[
    "mla", "mls", "smla", "smls", "umla", "umls", "sqdml", "sqrdml", "fml", "fnml", "fmad", "fmsb",
    "fnmad", "fnmsb", "mad", "msb", "cmla", "fcmla", "sqrdcmla", "bfml", "bfdot", "bfvdot", "bfmm",
    "fmm", "sdot", "udot", "usdot", "sudot", "fdot", "fvdot", "cdot", "smmla", "ummla", "usmmla",
    "saba", "uaba", "sadalp", "uadalp", "ssra", "usra", "srsra", "ursra", "sli", "sri", "bif",
    "bit", "bsl", "tbx", "suqadd", "usqadd", "sha1", "sha256", "sha512", "aes", "sm3", "sm4",
    "insr", "adcl", "sbcl", "eorbt", "eortb",
];
const IDLE: &[&str] = &[
    "nop", "prfm", "prfb", "prfd", "prfw", "hint", "bti", "pac", "aut", "dmb", "dsb", "isb",
    "setffr", "xpac",
];

/// Decodes the instruction at an address; `call` is what a relocation or an address makes of the
/// target of a branch. Loads and stores of pairs are two; one that moves its base is two as well, for
/// what is loaded is not computed from the base and the base not from what is loaded.
pub fn decode(
    place: u64,
    text: &str,
    call: &dyn Fn(Option<u64>) -> Option<Callee>,
) -> Vec<Decoded> {
    let Some(parts) = parts(text) else { return vec![single(place, text, call)] };
    let parts = (place..).zip(parts);
    let decoded = parts.map(|(place, (text, counts))| {
        let mut decoded = single(place, &text, call);
        if !counts {
            decoded.instruction.name.clear();
        }
        decoded
    });
    decoded.collect()
}

/// The instructions that a load or store of a pair, or one that moves its base, stands for, and
/// whether each counts as one.
fn parts(text: &str) -> Option<Vec<(String, bool)>> {
    let (name, rest) = split(text);
    if !begins(name, &["ld", "st"]) {
        return None;
    }
    let (registers, address) = rest.split_at(rest.rfind(", [")?);
    let (inner, after) = address.strip_prefix(", [")?.split_once(']')?;
    let base = inner.split(',').next()?.trim();
    let offset = inner[base.len()..].trim_start_matches(',').trim();
    let after = after.trim_start_matches(',').trim();
    let pair = ["stp", "stnp", "ldp", "ldnp", "ldpsw"].contains(&name);
    if !pair && after.is_empty() {
        return None;
    }
    let update = match after {
        "" => None,
        "!" => Some(offset),
        step => Some(step),
    };
    let update = update.map(|step| (format!("add {base}, {base}, {step}"), false));
    let own = if after == "!" { "" } else { offset };
    let mut accesses = match pair {
        true => accesses_of_pair(name, registers, base, own)?,
        false if own.is_empty() => vec![format!("{name} {registers}, [{base}]")],
        false => vec![format!("{name} {registers}, [{base}, {own}]")],
    };
    let mut parts: Vec<(String, bool)> = accesses.drain(..).map(|text| (text, true)).collect();
    match update {
        Some(update) if after == "!" => parts.insert(0, update),
        Some(update) => parts.push(update),
        None => {}
    }
    Some(parts)
}

/// The two accesses of a pair; one that loads the base comes last.
fn accesses_of_pair(name: &str, registers: &str, base: &str, offset: &str) -> Option<Vec<String>> {
    let kind = match name {
        "ldpsw" => "ldrsw",
        _ if name.starts_with("st") => "str",
        _ => "ldr",
    };
    let (a, b) = registers.split_once(',')?;
    let (a, b) = (a.trim(), b.trim());
    let width = if name == "ldpsw" { 4 } else { i128::from(register(a)?.1) };
    let offset = offset.strip_prefix('#').map_or(Some(0), number)?;
    let access = |reg, offset| format!("{kind} {reg}, [{base}, #{offset}]");
    let mut both = vec![access(a, offset), access(b, offset + width)];
    if a == base {
        both.reverse();
    }
    Some(both)
}

fn single(place: u64, text: &str, call: &dyn Fn(Option<u64>) -> Option<Callee>) -> Decoded {
    let (name, rest) = split(text);
    let mut d = Decoded::new(Instruction::new(place, name));
    d.instruction.action = classify::aarch64(name, rest);
    if begins(name, IDLE) || control(&mut d, name, rest, call) {
        return d;
    }
    ordinary(&mut d, name, rest);
    d.instruction.reads.retain(|r| r.0 != ZERO);
    d.instruction.writes.retain(|r| *r != ZERO);
    d.instruction.keeps.retain(|r| *r != ZERO);
    d
}

/// Branches, calls and returns.
fn control(
    d: &mut Decoded,
    name: &str,
    rest: &str,
    call: &dyn Fn(Option<u64>) -> Option<Callee>,
) -> bool {
    let c = &mut d.instruction;
    let last = rest.rsplit(',').next().unwrap_or(rest).trim();
    let relative = last.strip_prefix('#').and_then(number).map(|n| c.place.wrapping_add(n as u64));
    let condition = |c: &mut Instruction| {
        if let Some((reg, _)) = rest.split(',').next().and_then(register) {
            c.reads.push((reg, Role::Condition));
        }
    };
    c.control = match name {
        "ret" => Control::Return,
        "bl" => Control::Call(call(relative).unwrap_or(Callee::Unknown)),
        "blr" => Control::Call(Callee::Unknown),
        "br" => call(None).map_or(Control::Indirect, Control::TailCall),
        "b" => match (call(relative), relative) {
            (Some(callee), _) => Control::TailCall(callee),
            (None, Some(to)) => Control::Jump(to),
            (None, None) => Control::Indirect,
        },
        "cbz" | "cbnz" | "tbz" | "tbnz" => {
            condition(c);
            relative.map_or(Control::Indirect, Control::Branch)
        }
        "brk" | "udf" | "hlt" => Control::Stop,
        _ if name.starts_with("b.") || name.starts_with("bc.") => {
            c.reads.push((FLAGS, Role::Condition));
            relative.map_or(Control::Indirect, Control::Branch)
        }
        _ => return false,
    };
    if name == "br" || name == "blr" {
        condition(c);
    }
    true
}

/// Loads, stores and arithmetic.
fn ordinary(d: &mut Decoded, name: &str, rest: &str) {
    let list = operands(rest);
    if let Some(position) = list.iter().position(|o| matches!(o, Operand::Memory { .. })) {
        return access(d, name, rest, &list, position);
    }
    let c = &mut d.instruction;
    let multiplies = matches!(c.action, super::super::flow::Action::Integer);
    let divides = name.ends_with("div");
    let compares = begins(name, COMPARES);
    let tests = begins(name, TESTS)
        && !matches!(list.first(), Some(Operand::Register(r, _)) if *r >= PREDICATES && *r < ZERO);
    let role = match () {
        _ if compares => Role::Condition,
        _ if begins(name, &["scvtf", "ucvtf"]) => CONVERTED,
        _ => Role::Value,
    };
    // A flag is written by what was compared and read by what decides.
    let role = if tests { Role::Value } else { role };
    if begins(name, SELECTS) || begins(name, &["ccmp", "fccmp"]) {
        c.reads.push((FLAGS, Role::Condition));
    }
    if begins(name, &["adc", "sbc", "ngc"]) {
        c.reads.push((FLAGS, Role::Value));
    }
    let skip = usize::from(!tests);
    for (i, operand) in list.iter().enumerate().skip(skip) {
        // The last operand of a multiply-add is added.
        let factor = multiplies && i <= 2 && !(divides && i == 1);
        match operand {
            Operand::Register(reg, _) | Operand::Lane(reg) => {
                let governs = (PREDICATES..ZERO).contains(reg);
                let role = match () {
                    _ if governs => Role::Condition,
                    _ if divides && i == 1 => Role::Dividend,
                    _ if factor => Role::Factor,
                    _ => role,
                };
                if *reg == ZERO && factor {
                    c.constants.push((0, Role::Factor));
                }
                c.reads.push((*reg, role));
            }
            Operand::Immediate(value) if factor => c.constants.push((*value, Role::Factor)),
            _ => {}
        }
    }
    let sets_flags =
        ["adds", "subs", "ands", "bics", "negs", "adcs", "sbcs", "ngcs"].contains(&name);
    if tests || sets_flags || begins(name, &["while"]) {
        c.writes.push(FLAGS);
    }
    match list.first() {
        _ if tests => {}
        Some(Operand::Register(reg, _)) => {
            let vector = (VECTORS..PREDICATES).contains(reg);
            if begins(name, INSERTS) || vector && accumulates(name, rest, &list) {
                c.keeps.push(*reg)
            } else {
                c.writes.push(*reg)
            }
        }
        Some(Operand::Lane(reg)) => c.keeps.push(*reg),
        _ => {}
    }
    match list[..] {
        [Operand::Register(..), Operand::Immediate(value)] if name == "mov" || name == "movz" => {
            c.source = Source::Constant(value);
        }
        [Operand::Register(..), Operand::Register(ZERO, _)] if name == "mov" => {
            c.source = Source::Constant(0);
        }
        _ if name == "adr" || name == "adrp" => c.source = Source::Fixed,
        _ => {}
    }
    pointers(d, name, &list);
}

/// Whether a vector instruction reads its destination without naming it twice: to add to it, to write
/// the upper or odd half of narrower elements, to leave lanes as they are, to set or clear some bits.
fn accumulates(name: &str, rest: &str, list: &[Operand]) -> bool {
    begins(name, ACCUMULATE)
        || name.ends_with("n2") && name != "trn2"
        || name.ends_with("nt") && name != "cnt"
        || rest.contains("/m")
        || begins(name, &["bic", "orr"]) && matches!(list[1..], [Operand::Immediate(_), ..])
}

/// Moves of the stack pointer and of pointers into the frame.
fn pointers(d: &mut Decoded, name: &str, list: &[Operand]) {
    d.after = match *list {
        [Operand::Register(to, 8), Operand::Register(from, 8), Operand::Immediate(n)] => match name
        {
            "add" => Some(Pointer::Move { to, from, add: n as i64 }),
            "sub" => Some(Pointer::Move { to, from, add: -(n as i64) }),
            "addvl" => Some(Pointer::Move { to, from, add: n as i64 * VECTOR }),
            "addpl" => Some(Pointer::Move { to, from, add: n as i64 * VECTOR / 8 }),
            "and" if to == SP => Some(Pointer::Align(to)),
            _ => None,
        },
        // A shifted constant follows the two registers.
        [
            Operand::Register(to, 8),
            Operand::Register(from, 8),
            Operand::Immediate(n),
            Operand::Other,
        ] => match name {
            "add" => Some(Pointer::Move { to, from, add: (n as i64) << 12 }),
            "sub" => Some(Pointer::Move { to, from, add: -((n as i64) << 12) }),
            _ => None,
        },
        [Operand::Register(to, 8), Operand::Register(from, 8)] if name == "mov" => {
            Some(Pointer::Move { to, from, add: 0 })
        }
        _ => None,
    };
    if let ("add", [Operand::Register(to, 8), Operand::Register(..), Operand::Register(..), ..]) =
        (name, list)
    {
        d.sum = Some((*to, 0));
    }
    // An alignment may go through another register.
    if name == "and"
        && let [Operand::Register(SP, _), Operand::Register(from, _), Operand::Immediate(_)] = *list
    {
        d.before = Some(Pointer::Move { to: SP, from, add: 0 });
        d.after = Some(Pointer::Align(SP));
    }
}

/// Loads and stores.
fn access(d: &mut Decoded, name: &str, rest: &str, list: &[Operand], position: usize) {
    let Operand::Memory { base, index, offset, scaled } = list[position] else { return };
    let c = &mut d.instruction;
    let store = name.starts_with("st");
    let whole_register = ["ldr", "str"].contains(&name);
    let mut bytes = 0;
    for operand in &list[..position] {
        let (reg, width) = match operand {
            Operand::Register(reg, width) => (*reg, *width),
            Operand::Lane(reg) => (*reg, 4),
            _ => continue,
        };
        bytes += width;
        if (PREDICATES..ZERO).contains(&reg) && !whole_register {
            c.reads.push((reg, Role::Condition));
        } else if store {
            c.reads.push((reg, STORED));
        } else if matches!(operand, Operand::Lane(_)) || begins(name, &["ldadd", "swp", "cas"]) {
            c.keeps.push(reg);
        } else {
            c.writes.push(reg);
        }
    }
    // The first register of an exclusive store takes its outcome.
    let narrow = match name
        .trim_start_matches("ldr")
        .trim_start_matches("ldur")
        .trim_start_matches("str")
        .trim_start_matches("stur")
    {
        "b" | "sb" => Some(1),
        "h" | "sh" => Some(2),
        "sw" => Some(4),
        _ => None,
    };
    // A store under a predicate leaves what it does not write.
    let governed = |o: &Operand| matches!(o, Operand::Register(PREDICATES..ZERO, _));
    let partly = !whole_register && list[..position].iter().any(governed);
    let load = (!store || partly).then_some(Role::Value);
    let whole = match list[..position] {
        [Operand::Register(reg, 8)] if ["ldr", "ldur", "str", "stur"].contains(&name) => {
            Some(reg).filter(|reg| *reg < SP)
        }
        _ => None,
    };
    let bytes = narrow.unwrap_or(bytes);
    let offset = if scaled { offset * vector_access(name, rest) } else { offset };
    d.memory = Some(Memory { base, index, offset, bytes, load, store, whole });
}

/// Bytes that a load or store of a whole scalable vector accesses for each register: all, or fewer if
/// elements are narrower in memory.
fn vector_access(name: &str, rest: &str) -> i64 {
    let bytes = |letter: Option<char>| match letter {
        Some('b') => Some(1),
        Some('h') => Some(2),
        Some('w' | 's') => Some(4),
        Some('d') => Some(8),
        _ => None,
    };
    let element = rest.split_once('.').and_then(|(_, rest)| bytes(rest.chars().next()));
    match (bytes(name.chars().last()), element) {
        (Some(memory), Some(register)) => VECTOR * memory / register,
        _ if rest.starts_with('p') => VECTOR / 8,
        _ => VECTOR,
    }
}
