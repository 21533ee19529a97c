//! Operands as LLVM writes them, in AT&T's spelling.

use super::*;
use crate::audit::names::split;

/// Register number and width in bytes.
pub(super) fn register(name: &str) -> Option<(Reg, i64)> {
    let name = name.strip_prefix('%')?;
    let legacy =
        |n: &str| ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"].iter().position(|x| *x == n);
    if let Some(n) = name.strip_prefix('r') {
        if let Some(i) = legacy(n) {
            return Some((i as Reg, 8));
        }
        let digits = n.trim_end_matches(['d', 'w', 'b']);
        let number: Reg = digits.parse().ok()?;
        let bytes = match &n[digits.len()..] {
            "" => 8,
            "d" => 4,
            "w" => 2,
            _ => 1,
        };
        return Some((number, bytes));
    }
    if let Some(i) = name.strip_prefix('e').and_then(legacy) {
        return Some((i as Reg, 4));
    }
    if let Some(i) = legacy(name) {
        return Some((i as Reg, 2));
    }
    let byte = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"].iter().position(|x| *x == name);
    let high = ["ah", "ch", "dh", "bh"].iter().position(|x| *x == name);
    if let Some(i) = byte.or(high) {
        return Some((i as Reg, 1));
    }
    for (prefix, bytes) in [("xmm", 16), ("ymm", 32), ("zmm", 64)] {
        if let Some(number) = name.strip_prefix(prefix).and_then(|n| n.parse::<Reg>().ok()) {
            return Some((VECTORS + number, bytes));
        }
    }
    let mask = name.strip_prefix('k').and_then(|n| n.parse::<Reg>().ok())?;
    Some((MASKS + mask, 8))
}

/// An operand as it is written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Register(Reg, i64),
    Immediate(i128),
    Memory { base: Option<Reg>, index: Option<Reg>, offset: i64 },
    Other,
}

pub fn number(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}

pub(super) fn operand(text: &str) -> Operand {
    let text = text.trim();
    if let Some(value) = text.strip_prefix('$').and_then(number) {
        return Operand::Immediate(value);
    }
    if let Some((reg, bytes)) = register(text.split(['{', ' ']).next().unwrap_or(text)) {
        return Operand::Register(reg, bytes);
    }
    let Some(open) = text.find('(') else {
        let place = text.rsplit(':').next().unwrap_or(text);
        return match number(place) {
            Some(value) => Operand::Memory { base: None, index: None, offset: value as i64 },
            None => Operand::Other,
        };
    };
    let offset = text[..open].rsplit(':').next().and_then(number).unwrap_or(0) as i64;
    let inner = text[open + 1..].split(')').next().unwrap_or_default();
    let mut parts = inner.split(',').map(|p| register(p.trim()).map(|r| r.0));
    let base = parts.next().flatten();
    let index = parts.next().flatten();
    Operand::Memory { base, index, offset }
}

/// The operands of an instruction.
pub(super) fn operands(text: &str) -> Vec<Operand> {
    split(text).into_iter().map(operand).collect()
}

/// Mask registers named in braces.
pub(super) fn masks(text: &str) -> impl Iterator<Item = Reg> {
    text.split("{%k").skip(1).filter_map(|rest| {
        rest.split('}').next().and_then(|n| n.parse::<Reg>().ok()).map(|n| MASKS + n)
    })
}

/// Bytes that instructions access in memory, by the beginning of their name without the `v` of AVX, where
/// it is less than their widest register.
pub(super) const WIDTHS: &[(&str, i64)] = &[
    ("set", 1),
    ("pextrb", 1),
    ("pextrw", 2),
    ("pextrd", 4),
    ("pextrq", 8),
    ("pinsrb", 1),
    ("pinsrw", 2),
    ("pinsrd", 4),
    ("pinsrq", 8),
    ("extractps", 4),
    ("insertps", 4),
    ("movl", 8),
    ("movh", 8),
    ("extractf128", 16),
    ("extracti128", 16),
    ("extractf32x4", 16),
    ("extracti32x4", 16),
    ("extractf64x2", 16),
    ("extracti64x2", 16),
    ("extract", 32),
    ("pbroadcastb", 1),
    ("pbroadcastw", 2),
    ("pbroadcastd", 4),
    ("pbroadcastq", 8),
    ("kmovb", 1),
    ("kmovw", 2),
    ("kmovd", 4),
];

/// Parts of a register that instructions which narrow its elements store.
pub(super) const NARROWING: &[(&str, i64)] =
    &[("wb", 2), ("dw", 2), ("qd", 2), ("db", 4), ("qw", 4), ("qb", 8)];

/// Parts of a register that instructions which widen elements load.
const WIDENING: &[(&str, i64)] =
    &[("bw", 2), ("wd", 2), ("dq", 2), ("bd", 4), ("wq", 4), ("bq", 8)];

/// How many elements of a register one in memory is repeated in, as `{1to16}` behind it says.
pub(super) fn repeats(text: &str) -> i64 {
    let count = text.split_once("{1to").and_then(|(_, rest)| rest.split('}').next());
    count.and_then(|n| n.parse().ok()).filter(|n| *n > 0).unwrap_or(1)
}

/// Bytes that an instruction accesses in memory: by its name or suffix, else its widest register.
pub(super) fn width(name: &str, operands: &[Operand]) -> i64 {
    let registers = || {
        operands.iter().filter_map(|o| match o {
            Operand::Register(reg, bytes) => Some((*reg, *bytes)),
            _ => None,
        })
    };
    let base = name.strip_prefix('v').unwrap_or(name);
    let vector = registers().any(|r| (VECTORS..MASKS).contains(&r.0));
    let widest = registers().map(|r| r.1).max();
    let stores = matches!(operands.last(), Some(Operand::Memory { .. }));
    if let Some(part) = NARROWING.iter().find(|n| name.ends_with(n.0))
        && stores
        && base.starts_with("pmov")
    {
        return widest.unwrap_or(8) / part.1;
    }
    if let Some(part) = WIDENING.iter().find(|n| name.ends_with(n.0))
        && (base.starts_with("pmovzx") || base.starts_with("pmovsx"))
    {
        return widest.unwrap_or(16) / part.1;
    }
    match base {
        "cvtps2ph" => return widest.unwrap_or(16) / 2,
        "movq" if vector => return 8,
        "movl" | "movd" => return 4,
        _ => {}
    }
    let scalar =
        [("ss", 4), ("sd", 8), ("mxcsr", 4)].iter().find(|s| name.ends_with(s.0)).map(|s| s.1);
    let named = WIDTHS.iter().find(|w| base.starts_with(w.0)).map(|w| w.1);
    named.or(scalar).or(widest).unwrap_or(match name.chars().last() {
        Some('b') => 1,
        Some('w') => 2,
        Some('l') => 4,
        _ => 8,
    })
}
