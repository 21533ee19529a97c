//! Local memory where registers are spilled.

use super::{registers, split};
use crate::audit::{
    flow::{Role, Source},
    guards::Guard,
    machine::{Instruction, Reg},
};

/// Points to the frame.
const FRAME: Reg = 1;
/// First number of the slots, a word each.
const SLOTS: Reg = 1 << 16;

/// Makes registers of the slots of a frame, a word an instruction, if the routine reaches it only by
/// constant distances from `R1`.
pub(super) fn slots(
    code: Vec<Instruction>,
    guards: Vec<Option<Guard>>,
    texts: &[&str],
) -> (Vec<Instruction>, Vec<Option<Guard>>) {
    let places: Vec<Option<Access>> = texts.iter().map(|text| access(text)).collect();
    let followed = code.iter().zip(&places).all(|(c, place)| match place {
        Some(access) => access.slot.is_some(),
        // The frame is made by moving `R1` itself.
        None => !c.reads.iter().any(|(r, _)| *r == FRAME) || c.writes == [FRAME],
    });
    if !followed {
        return (code, guards);
    }
    let (mut out, mut kept) = (Vec::new(), Vec::new());
    for ((c, guard), place) in code.into_iter().zip(guards).zip(places) {
        let Some(Access { stores, slot: Some(slot), first, words }) = place else {
            out.push(c);
            kept.push(guard);
            continue;
        };
        for n in 0..words {
            let mut word = Instruction::new(if n == 0 { c.place } else { u64::MAX }, &c.name);
            let conditions = c.reads.iter().filter(|(_, role)| *role == Role::Condition);
            word.reads.extend(conditions);
            let (from, to) =
                if stores { (first.map(|r| r + n), slot + n) } else { (Some(slot + n), 0) };
            word.reads.extend(from.map(|r| (r, Role::Value)));
            let to = if stores { Some(to) } else { first.map(|r| r + n) };
            if guard.is_some() {
                word.keeps.extend(to)
            } else {
                word.writes.extend(to)
            }
            word.source = if from.is_some() { Source::Operands } else { Source::Constant(0) };
            out.push(word);
            kept.push(guard);
        }
    }
    (out, kept)
}

/// A store or load of local memory.
struct Access {
    stores: bool,
    /// The slot, `None` for a place that is computed.
    slot: Option<Reg>,
    /// First register that is stored or loaded, `None` for zeros.
    first: Option<Reg>,
    words: Reg,
}

fn access(text: &str) -> Option<Access> {
    let text =
        text.strip_prefix('@').map_or(text, |t| t.split_once(' ').map_or("", |t| t.1.trim()));
    let (opcode, rest) = text.split_once(' ')?;
    let mut parts = opcode.split('.');
    let stores = match parts.next()? {
        "STL" => true,
        "LDL" => false,
        _ => return None,
    };
    let list = split(rest);
    let place = list.iter().find_map(|o| o.strip_prefix('[')?.split(']').next());
    let value = list.iter().find(|o| !o.starts_with('['));
    let words = match opcode {
        _ if opcode.contains(".128") => 4,
        _ if opcode.contains(".64") => 2,
        _ => 1,
    };
    // Parts of words are not followed.
    let part = parts.any(|p| ["U8", "S8", "U16", "S16"].contains(&p));
    let offset = place.and_then(|place| match place.trim().strip_prefix("R1")? {
        "" => Some(0),
        rest => Reg::from_str_radix(rest.strip_prefix("+0x")?, 16).ok(),
    });
    let slot = offset.filter(|at| !part && at % 4 == 0).map(|at| SLOTS + at / 4);
    Some(Access { stores, slot, first: value.and_then(|v| registers(v).first().copied()), words })
}
