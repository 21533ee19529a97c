//! Writes under a predicate.
//!
//! An instruction under `@P` writes its registers or leaves them. Readers under the same `@P` see what
//! it wrote, all others may see either. So for each guard a register has a second one beside it, its
//! value where the guard holds: writes under the guard set it, reads under the guard take it, other
//! writes set both, and when the predicate changes it becomes the register itself again.

use super::{
    flow::Role,
    machine::{Instruction, Reg},
};
use std::collections::{BTreeMap, BTreeSet};

/// A predicate and whether it must be false.
pub type Guard = (Reg, bool);

/// First number of the second registers, above all that machines have.
const BESIDE: Reg = 1 << 24;

/// Splits the registers of guarded instructions; `guards` are those of the instructions in order.
pub fn split(code: Vec<Instruction>, guards: &[Option<Guard>]) -> Vec<Instruction> {
    // The registers that are written under each guard.
    let mut written: BTreeMap<Guard, BTreeSet<Reg>> = BTreeMap::new();
    for (c, guard) in code.iter().zip(guards) {
        if let Some(guard) = guard {
            written.entry(*guard).or_default().extend(c.keeps.iter().chain(&c.writes));
        }
    }
    let mut numbers: BTreeMap<(Guard, Reg), Reg> = BTreeMap::new();
    for (guard, registers) in &written {
        for reg in registers {
            let next = BESIDE + numbers.len() as Reg;
            numbers.insert((*guard, *reg), next);
        }
    }
    let copy = |from: &[Reg], to: Reg| {
        let mut copy = Instruction::new(u64::MAX, "");
        copy.reads = from.iter().map(|r| (*r, Role::Value)).collect();
        copy.writes.push(to);
        copy
    };
    let mut out = Vec::with_capacity(code.len());
    for (mut c, guard) in code.into_iter().zip(guards) {
        let results: Vec<Reg> = c.writes.iter().chain(&c.keeps).copied().collect();
        let mut after = Vec::new();
        if let Some(guard) = guard {
            for (reg, _) in &mut c.reads {
                *reg = numbers.get(&(*guard, *reg)).copied().unwrap_or(*reg);
            }
            c.keeps.clear();
            c.writes = results.iter().map(|r| numbers[&(*guard, *r)]).collect();
            for result in &results {
                let own = numbers[&(*guard, *result)];
                after.push(copy(&[*result, own], *result));
                // Under the opposite guard nothing was written.
                for other in written.keys().filter(|g| g.0 != guard.0) {
                    if let Some(beside) = numbers.get(&(*other, *result)) {
                        after.push(copy(&[*beside, own], *beside));
                    }
                }
            }
        } else {
            for result in &results {
                c.writes.extend(written.keys().filter_map(|g| numbers.get(&(*g, *result))));
            }
        }
        out.push(c);
        out.extend(after);
        // A predicate that changes holds elsewhere: what is beside starts from the register again.
        for (guard, registers) in written.iter().filter(|(g, _)| results.contains(&g.0)) {
            out.extend(registers.iter().map(|reg| copy(&[*reg], numbers[&(*guard, *reg)])));
        }
    }
    out
}
