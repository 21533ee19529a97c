//! What accesses of memory read and write, where it is known what their registers point to.

use super::{CAPTURED, Decoded, GRANULE, Memory, Pointer, Spot, State, Taken};
use crate::audit::{
    flow::{Role, Source},
    machine::{Control, Instruction, OwnRead, Reg, Through},
};

/// Bytes added to a sum before anything else is done with it. What else is added, an index, counts
/// upwards; where it begins is not asked, for accesses through the sum may have negative offsets.
pub(super) fn added(code: &[Decoded], i: usize) -> i64 {
    let Some((reg, mut bytes)) = code[i].sum else { return 0 };
    for next in &code[i + 1..] {
        match next.after {
            Some(Pointer::Move { to, from, add }) if to == reg && from == reg => bytes += add,
            _ => {
                let c = &next.instruction;
                let uses = c.reads.iter().any(|r| r.0 == reg) || c.control != Control::Next;
                let accesses = next.memory.is_some_and(|m| [m.base, m.index].contains(&Some(reg)));
                if uses || accesses || c.writes.contains(&reg) || c.keeps.contains(&reg) {
                    break;
                }
            }
        }
    }
    bytes
}

/// Where the result of an instruction points, if it moves a pointer: into the own frame, or to a
/// register and some bytes on.
pub(super) fn moved(decoded: &Decoded, state: &State) -> Option<(Option<Spot>, Reg, i64)> {
    let (to, from, add) = match decoded.after? {
        Pointer::Move { to, from, add } => (to, from, add),
        // Where the frame goes on is counted from there.
        Pointer::Align(reg) => return Some((None, reg, 0)),
    };
    let moves = decoded.memory.is_none() && decoded.instruction.writes.contains(&to);
    moves.then(|| (state.get(&from).map(|spot| spot.plus(add)), from, add))
}

/// Resolves the access of one instruction, whose index begins with `first`.
pub(super) fn access(decoded: Decoded, state: &State, taken: &Taken, first: i64) -> Instruction {
    let mut c = decoded.instruction;
    let Some(memory) = decoded.memory else { return c };
    let base = memory.base.and_then(|b| state.get(&b)).map(|spot| spot.plus(memory.offset));
    let registers = [memory.base, memory.index].into_iter().flatten();
    c.reads.extend(registers.map(|r| (r, Role::Address)));
    let spot = match (base, memory.index) {
        (Some(spot), None) => spot,
        (Some(spot), Some(_)) => {
            c.pointers.base = memory.base;
            c.pointers.exposes = Some(spot.plus(first).place());
            return anywhere(c, &memory);
        }
        (None, _) => return through(c, &memory, [decoded.before, decoded.after]),
    };
    c.pointers.base = memory.base;
    let last = (memory.bytes.max(1) - 1) / GRANULE;
    let slots: Vec<Spot> = (0..=last).map(|g| spot.plus(g * GRANULE)).collect();
    if let Some(role) = memory.load {
        c.reads.extend(slots.iter().map(|s| (s.slot(), role)));
        c.pointers.moved = memory.whole.map(|_| (spot.slot(), 0));
        c.pointers.reads = Some(OwnRead {
            place: spot.place(),
            bytes: memory.bytes,
            role,
            whole: memory.whole.is_some(),
            object: slots.iter().any(|s| taken.gives(*s)),
        });
    }
    if memory.store {
        for read in &mut c.reads {
            if matches!(read.1, Role::Sink(_)) {
                read.1 = Role::Value;
            }
        }
        c.pointers.moved = memory.whole.map(|reg| (reg, 0));
        c.pointers.writes = Some((spot.place(), memory.bytes, memory.whole.is_some()));
        let slots_written = slots.iter().map(|s| s.slot());
        if memory.bytes >= GRANULE && spot.offset % GRANULE == 0 {
            c.writes.extend(slots_written);
        } else {
            c.keeps.extend(slots_written);
        }
        if slots.iter().any(|s| taken.holds(*s)) {
            c.writes.push(CAPTURED);
        }
    }
    c
}

/// An access at a place that is not known.
fn anywhere(mut c: Instruction, memory: &Memory) -> Instruction {
    if let Some(role) = memory.load {
        c.source = Source::Data;
        c.reads.push((CAPTURED, role));
    }
    c
}

/// An access through a register that may point into another frame.
fn through(mut c: Instruction, memory: &Memory, moves: [Option<Pointer>; 2]) -> Instruction {
    let moves_base = |p: Pointer| matches!(p, Pointer::Move { to, .. } if Some(to) == memory.base);
    if memory.index.is_some()
        || memory.base.is_none()
        || moves.into_iter().flatten().any(moves_base)
    {
        return anywhere(c, memory);
    }
    let Memory { offset, bytes, load, store, whole, .. } = *memory;
    c.pointers.base = memory.base;
    c.pointers.access = Some(Through { offset, bytes, load, store, whole });
    c
}
