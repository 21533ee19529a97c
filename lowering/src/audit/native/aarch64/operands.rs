//! Operands of AArch64 instructions, from LLVM's text.

use super::{PREDICATES, SP, VECTOR, VECTORS, ZERO};
use crate::audit::{machine::Reg, names::split, native::x86::number};

/// Register number and width in bytes.
pub(super) fn register(name: &str) -> Option<(Reg, i64)> {
    let name =
        name.trim().trim_start_matches('{').trim().split(['.', '/', '[', ' ', '}']).next()?;
    match name {
        "sp" | "wsp" => return Some((SP, 8)),
        "xzr" | "wzr" => return Some((ZERO, 8)),
        _ => {}
    }
    let mut characters = name.chars();
    let class = characters.next()?;
    let number: Reg = characters.as_str().parse().ok()?;
    let (first, bytes) = match class {
        'x' => (0, 8),
        'w' => (0, 4),
        'q' | 'v' | 'z' => (VECTORS, VECTOR),
        'd' => (VECTORS, 8),
        's' => (VECTORS, 4),
        'h' => (VECTORS, 2),
        'b' => (VECTORS, 1),
        'p' => (PREDICATES, VECTOR / 8),
        _ => return None,
    };
    Some((first + number, bytes))
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Register(Reg, i64),
    // One lane of a vector register.
    Lane(Reg),
    Immediate(i128),
    // `scaled`: the offset counts accesses of a whole vector.
    Memory { base: Option<Reg>, index: Option<Reg>, offset: i64, scaled: bool },
    Other,
}

fn operand(text: &str) -> Vec<Operand> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('[') {
        let inner = rest.split(']').next().unwrap_or_default();
        let scaled = inner.ends_with("mul vl");
        let mut parts = inner.split(',').map(str::trim);
        let base = parts.next().and_then(register).map(|r| r.0);
        let second = parts.next().unwrap_or_default();
        let index = register(second).map(|r| r.0);
        let offset = second.strip_prefix('#').and_then(number).unwrap_or(0) as i64;
        return vec![Operand::Memory { base, index, offset, scaled }];
    }
    if text.starts_with('{') {
        let inner = text.trim_start_matches('{').split('}').next().unwrap_or_default();
        if let Some((from, to)) = inner.split_once(" - ")
            && let (Some(from), Some(to)) = (register(from), register(to))
        {
            return (from.0..=to.0.max(from.0)).map(|r| Operand::Register(r, from.1)).collect();
        }
        return inner.split(',').flat_map(operand).collect();
    }
    if let Some(value) =
        text.strip_prefix('#').and_then(|n| number(n.split(' ').next().unwrap_or(n)))
    {
        return vec![Operand::Immediate(value)];
    }
    match register(text) {
        Some((reg, _)) if text.contains('[') => vec![Operand::Lane(reg)],
        Some((reg, bytes)) => vec![Operand::Register(reg, bytes)],
        None => vec![Operand::Other],
    }
}

/// The operands of an instruction.
pub(super) fn operands(text: &str) -> Vec<Operand> {
    split(text).into_iter().flat_map(operand).collect()
}
