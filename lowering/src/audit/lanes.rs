//! Branches of AMD's GPUs that ask whether any lane is on.
//!
//! A wave starts with a lane that is on. Until code switches lanes off, and again where it restores the
//! mask that it saved when it did, a branch for when no lane is on is never taken: LLVM writes such
//! branches where nothing but control flow in the source may lead.

use super::machine::{Control, Instruction, Reg};
use std::collections::{BTreeSet, HashMap};

/// What is known before an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    /// The lanes are those that were on at the start.
    full: bool,
    /// Registers that hold the mask of these.
    saved: BTreeSet<Reg>,
}

impl State {
    /// What is known on both of two ways; whether that is less than before.
    fn join(&mut self, other: &State) -> bool {
        let before = self.clone();
        self.full &= other.full;
        self.saved.retain(|reg| other.saved.contains(reg));
        *self != before
    }

    fn after(mut self, c: &Instruction, exec: Reg) -> State {
        let own = |reg: &Reg| (exec..exec + 2).contains(reg);
        let others = || c.writes.iter().chain(&c.keeps).filter(|r| !own(r));
        let mut masks = c.reads.iter().map(|(reg, _)| reg).filter(|r| !own(r)).peekable();
        let kept = masks.peek().is_some() && masks.all(|reg| self.saved.contains(reg));
        let writes_exec = c.writes.contains(&exec);
        let restored = c.name == "s_or_b64" && (self.full || kept);
        let was_full = self.full;
        others().for_each(|reg| _ = self.saved.remove(reg));
        if c.name.contains("saveexec") && was_full {
            self.saved.extend(others());
        }
        if writes_exec {
            self.full = restored;
        }
        self
    }
}

/// Makes jumps of branches that are always taken, and nothing of those that never are.
pub fn settle(code: &mut [Instruction], exec: Reg) {
    let followed = |c: &Instruction| {
        matches!(
            c.control,
            Control::Next | Control::Jump(_) | Control::Branch(_) | Control::Stop | Control::Return
        )
    };
    if !code.iter().all(followed) {
        return;
    }
    let at: HashMap<u64, usize> = code.iter().enumerate().map(|(i, c)| (c.place, i)).collect();
    let mut states: Vec<Option<State>> = vec![None; code.len()];
    let mut work = Vec::new();
    if let Some(first) = states.first_mut() {
        *first = Some(State { full: true, saved: BTreeSet::new() });
        work.push(0);
    }
    while let Some(i) = work.pop() {
        let (c, Some(state)) = (&code[i], states[i].clone()) else { continue };
        let target = |place: &u64| at.get(place).copied();
        let next = (i + 1 < code.len()).then_some(i + 1);
        let successors = match settled(c, &state) {
            Control::Next => [next, None],
            Control::Jump(to) => [target(&to), None],
            Control::Branch(to) => [next, target(&to)],
            _ => [None, None],
        };
        let after = state.after(c, exec);
        for to in successors.into_iter().flatten() {
            let less = match &mut states[to] {
                Some(known) => known.join(&after),
                unknown => {
                    *unknown = Some(after.clone());
                    true
                }
            };
            if less {
                work.push(to);
            }
        }
    }
    for (c, state) in code.iter_mut().zip(&states) {
        if let Some(state) = state {
            c.control = settled(c, state);
        }
    }
}

/// Where control goes from an instruction.
fn settled(c: &Instruction, state: &State) -> Control {
    match &c.control {
        Control::Branch(_) if state.full && c.name == "s_cbranch_execz" => Control::Next,
        Control::Branch(to) if state.full && c.name == "s_cbranch_execnz" => Control::Jump(*to),
        control => control.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::flow::Role;
    use super::*;

    const EXEC: Reg = 100;

    fn code(lines: &[(&str, &[Reg], &[Reg], Control)]) -> Vec<Instruction> {
        let line = |(place, (name, writes, reads, control)): (usize, &(_, _, _, Control))| {
            let mut c = Instruction::new(place as u64, *name);
            c.writes = Vec::from(*writes);
            c.reads = Vec::from(*reads).into_iter().map(|r| (r, Role::Value)).collect();
            c.control = control.clone();
            c
        };
        lines.iter().enumerate().map(line).collect()
    }

    fn controls(lines: &[(&str, &[Reg], &[Reg], Control)]) -> Vec<Control> {
        let mut code = code(lines);
        settle(&mut code, EXEC);
        code.into_iter().map(|c| c.control).collect()
    }

    #[test]
    fn only_where_lanes_may_be_off_a_branch_asks_for_them() {
        let all: &[Reg] = &[EXEC, EXEC + 1];
        let skip = || ("s_cbranch_execz", &[][..], &[][..], Control::Branch(6));
        let save = ("s_and_saveexec_b64", &[2, 3, EXEC][..], &[8, 9][..], Control::Next);
        let restore = ("s_or_b64", all, &[EXEC, EXEC + 1, 2, 3][..], Control::Next);
        let end = ("s_endpgm", &[][..], &[][..], Control::Stop);
        let found = controls(&[
            skip(),
            save.clone(),
            skip(),
            restore.clone(),
            skip(),
            end.clone(),
            end.clone(),
        ]);
        assert_eq!(found[0], Control::Next);
        assert_eq!(found[2], Control::Branch(6), "between saving and restoring");
        assert_eq!(found[4], Control::Next);
        // Half of the saved mask is overwritten.
        let clobber = ("s_mov_b32", &[3][..], &[][..], Control::Next);
        let found = controls(&[save, clobber, restore, skip(), end.clone(), end.clone(), end]);
        assert_eq!(found[3], Control::Branch(6));
    }
}
