//! Where the indices of accesses begin: a loop that is unrolled or merged with others may count its
//! index from a constant above zero, and a compiler takes that constant off the offset.

use super::super::{
    flow::{Role, Source},
    machine::{Control, Reg},
};
use super::stack::{Decoded, Pointer};
use std::collections::{HashMap, HashSet};

/// What leads to each instruction of a function.
pub struct Indices {
    // Nothing if a jump may lead to any instruction.
    predecessors: Option<Vec<Vec<usize>>>,
}

impl Indices {
    /// Follows the control flow of a function.
    pub fn new(code: &[Decoded]) -> Self {
        let at: HashMap<u64, usize> =
            code.iter().enumerate().map(|(i, c)| (c.instruction.place, i)).collect();
        let mut predecessors = vec![Vec::new(); code.len()];
        for (i, decoded) in code.iter().enumerate() {
            let control = &decoded.instruction.control;
            let targets = match control {
                Control::Jump(to) | Control::Branch(to) => std::slice::from_ref(to),
                Control::Table(targets) => targets,
                Control::Indirect => return Self { predecessors: None },
                _ => &[],
            };
            let falls = matches!(control, Control::Next | Control::Branch(_) | Control::Call(_));
            let next = (falls && i + 1 < code.len()).then_some(i + 1);
            for to in targets.iter().filter_map(|to| at.get(to).copied()).chain(next) {
                predecessors[to].push(i);
            }
        }
        Self { predecessors: Some(predecessors) }
    }

    /// A number, zero or more, that a register is never below when an instruction begins: the least
    /// of the constants that it begins with, if all else that happens to it are copies and sums with
    /// what is itself at least zero. Zero if that is not so: indices count upwards.
    pub fn least(&self, code: &[Decoded], instruction: usize, reg: Reg) -> i64 {
        let constants = self.constants(code, instruction, reg);
        constants.and_then(|all| all.into_iter().min()).unwrap_or(0)
    }

    /// The constants of which alone a register is made, by copies and sums.
    fn constants(&self, code: &[Decoded], instruction: usize, reg: Reg) -> Option<Vec<i64>> {
        let predecessors = self.predecessors.as_ref()?;
        let mut seen = HashSet::from([(instruction, reg)]);
        let (mut queue, mut found) = (vec![(instruction, reg)], Vec::new());
        while let Some((at, reg)) = queue.pop() {
            // What the caller has left there, or who knows.
            if at == 0 || predecessors[at].is_empty() {
                return None;
            }
            for &before in &predecessors[at] {
                let parts = match made(&code[before], reg)? {
                    Made::Kept => vec![reg],
                    Made::Constant(constant) => {
                        found.push(constant);
                        continue;
                    }
                    Made::Sum(parts) => parts,
                };
                queue
                    .extend(parts.into_iter().map(|r| (before, r)).filter(|new| seen.insert(*new)));
            }
        }
        Some(found)
    }
}

/// What an instruction makes a register.
enum Made {
    /// Nothing else than it was.
    Kept,
    /// This, which is not negative.
    Constant(i64),
    /// The sum of these and of a constant that is not negative.
    Sum(Vec<Reg>),
}

fn made(decoded: &Decoded, reg: Reg) -> Option<Made> {
    let c = &decoded.instruction;
    let moves = |p: &Pointer| match *p {
        Pointer::Move { to, .. } => to == reg,
        Pointer::Align(to) => to == reg,
    };
    let moved = [decoded.before, decoded.after].iter().flatten().any(moves);
    if matches!(c.control, Control::Call(_)) || c.keeps.contains(&reg) {
        return None;
    }
    if !c.writes.contains(&reg) {
        return (!moved).then_some(Made::Kept);
    }
    if decoded.memory.is_some() || decoded.before.is_some() {
        return None;
    }
    match (c.source, decoded.after, decoded.sum) {
        // What is as large is no index into a frame, nor certain not to wrap.
        (Source::Constant(constant), _, _) => {
            let constant = i32::try_from(constant).ok().filter(|c| *c >= 0);
            constant.map(|c| Made::Constant(c.into()))
        }
        (_, Some(Pointer::Move { to, from, add: 0.. }), _) if to == reg => {
            Some(Made::Sum(vec![from]))
        }
        (_, _, Some((to, 0..))) if to == reg && !c.reads.is_empty() => {
            let value = |(reg, role): &(Reg, Role)| (*role == Role::Value).then_some(*reg);
            c.reads.iter().map(value).collect::<Option<_>>().map(Made::Sum)
        }
        _ => None,
    }
}
