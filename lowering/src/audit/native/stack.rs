//! Slots of the stack as registers.
//!
//! A walk over the control flow tracks which registers hold the stack pointer at entry, or that
//! aligned, plus a constant. Loads and stores through those are moves to and from slots; all others
//! are of data. What is stored into a part of the frame whose address is taken may be seen by every
//! load from memory, here and in other functions.

mod access;

use super::super::{
    flow::Role,
    machine::{Address, Callee, Control, Instruction, Place, Reg},
};
use super::index::Indices;
use access::{access, added, moved};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Register that stands for all memory whose address a function has taken of its own frame.
pub const CAPTURED: Reg = 999;
const SLOTS: Reg = 1 << 16;
const GRANULE: i64 = 4;
const HALF: i64 = 1 << 18;

/// A place that a register plus a constant points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    // 0: the stack pointer at entry; others: where it was aligned.
    base: u32,
    offset: i64,
}

impl Spot {
    /// The spot of a slot register.
    pub fn of_slot(reg: Reg) -> Option<Spot> {
        let number = i64::from(reg.checked_sub(SLOTS)?);
        let (base, rest) = (number / (2 * HALF), number % (2 * HALF));
        Some(Spot { base: base as u32, offset: (rest - HALF) * GRANULE })
    }

    /// The register of the slot here.
    pub fn slot(self) -> Reg {
        let granule = (self.offset.div_euclid(GRANULE)).clamp(-HALF, HALF - 1) + HALF;
        SLOTS + (i64::from(self.base.min(7_000)) * 2 * HALF + granule) as Reg
    }

    /// This many bytes on.
    pub fn plus(self, bytes: i64) -> Spot {
        Spot { offset: self.offset + bytes, ..self }
    }

    /// Whether this is above the frame: an argument that the caller has put there.
    pub fn is_argument(self) -> bool {
        self.base == 0 && self.offset >= 0
    }

    /// What it is counted from, and bytes.
    pub fn place(self) -> Place {
        (self.base, self.offset)
    }

    /// Bytes from the stack pointer at entry.
    pub fn offset(self) -> i64 {
        self.offset
    }
}

/// An operand in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Register added.
    pub base: Option<Reg>,
    /// Register scaled and added.
    pub index: Option<Reg>,
    /// Bytes added.
    pub offset: i64,
    /// Bytes accessed.
    pub bytes: i64,
    /// It is read, with this role.
    pub load: Option<Role>,
    /// It is written.
    pub store: bool,
    /// The general register that is loaded or stored, if that is all and is as wide as an address.
    pub whole: Option<Reg>,
}

/// What an instruction does to registers that may point into the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    /// `to = from + add`.
    Move {
        /// Destination.
        to: Reg,
        /// Source.
        from: Reg,
        /// Bytes.
        add: i64,
    },
    /// The register is aligned.
    Align(Reg),
}

/// An instruction before its stack accesses are resolved.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// All else.
    pub instruction: Instruction,
    /// Operand in memory.
    pub memory: Option<Memory>,
    /// Effects on pointers, before the access.
    pub before: Option<Pointer>,
    /// And after it.
    pub after: Option<Pointer>,
    /// Register that becomes the sum of those read and a number of bytes.
    pub sum: Option<(Reg, i64)>,
}

impl Decoded {
    /// An instruction without effects on memory and pointers.
    pub fn new(instruction: Instruction) -> Self {
        Self { instruction, memory: None, before: None, after: None, sum: None }
    }
}

type State = BTreeMap<Reg, Spot>;

fn step(state: &mut State, code: &Decoded, align_base: u32) {
    let moved = [code.before, code.after];
    let mut kept: Vec<(Reg, Spot)> = Vec::new();
    for pointer in moved.into_iter().flatten() {
        match pointer {
            Pointer::Move { to, from, add } => {
                if let Some(spot) = state.get(&from) {
                    kept.push((to, spot.plus(add)));
                    state.insert(to, spot.plus(add));
                }
            }
            Pointer::Align(reg) => {
                if state.contains_key(&reg) {
                    let spot = Spot { base: align_base, offset: 0 };
                    kept.push((reg, spot));
                    state.insert(reg, spot);
                }
            }
        }
    }
    for reg in code.instruction.writes.iter().chain(&code.instruction.keeps) {
        if !kept.iter().any(|k| k.0 == *reg) {
            state.remove(reg);
        }
    }
    for (reg, spot) in kept {
        state.insert(reg, spot);
    }
}

/// The pointers before each instruction of a function; the stack pointer is `sp`.
fn states(code: &[Decoded], sp: Reg) -> Vec<State> {
    let at: HashMap<u64, usize> =
        code.iter().enumerate().map(|(i, c)| (c.instruction.place, i)).collect();
    let mut states: Vec<Option<State>> = vec![None; code.len()];
    let entry = State::from([(sp, Spot { base: 0, offset: 0 })]);
    let mut queue = vec![(0, entry)];
    while let Some((i, incoming)) = queue.pop() {
        if i >= code.len() {
            continue;
        }
        let merged = match &states[i] {
            None => incoming,
            Some(old) => {
                let both: State = old
                    .iter()
                    .filter(|(r, s)| incoming.get(*r) == Some(s))
                    .map(|(r, s)| (*r, *s))
                    .collect();
                if both == *old {
                    continue;
                }
                both
            }
        };
        let mut after = merged.clone();
        states[i] = Some(merged);
        step(&mut after, &code[i], i as u32 + 1);
        match &code[i].instruction.control {
            Control::Next | Control::Call(_) => queue.push((i + 1, after)),
            Control::Jump(to) => queue.extend(at.get(to).map(|t| (*t, after))),
            Control::Table(targets) => {
                let known = targets.iter().filter_map(|to| at.get(to));
                queue.extend(known.map(|t| (*t, after.clone())));
            }
            Control::Indirect => queue.extend((0..code.len()).map(|t| (t, after.clone()))),
            Control::Branch(to) => {
                queue.extend(at.get(to).map(|t| (*t, after.clone())));
                queue.push((i + 1, after));
            }
            _ => {}
        }
    }
    states.into_iter().map(Option::unwrap_or_default).collect()
}

/// A function with what points into its frame before each instruction.
pub struct Frame {
    code: Vec<Decoded>,
    states: Vec<State>,
    sp: Reg,
    indices: Indices,
}

impl Frame {
    /// Follows the stack pointer, `sp`, through a function.
    pub fn new(code: Vec<Decoded>, sp: Reg) -> Self {
        let mut states = states(&code, sp);
        // Alignments are numbered by instruction, slots by few bases.
        let mut bases: Vec<u32> =
            states.iter().flat_map(|s| s.values().map(|spot| spot.base)).collect();
        bases.sort_unstable();
        bases.dedup();
        for spot in states.iter_mut().flat_map(BTreeMap::values_mut) {
            spot.base = bases.partition_point(|b| *b < spot.base) as u32;
        }
        let indices = Indices::new(&code);
        Self { code, states, sp, indices }
    }

    /// Where the arguments end that it reads above its frame, in bytes from the stack pointer at entry.
    pub fn arguments(&self) -> i64 {
        let read = direct(&self.code, &self.states, |m| m.load.is_some());
        let ends = read.iter().filter(|s| s.is_argument()).map(|s| s.offset + GRANULE);
        ends.max().unwrap_or(0)
    }

    /// What the index of each access to it begins with.
    fn firsts(&self) -> Vec<i64> {
        let Self { code, states, indices, .. } = self;
        let first = |(i, (decoded, state)): (usize, (&Decoded, &State))| match decoded.memory {
            Some(Memory { base: Some(base), index: Some(index), .. })
                if state.contains_key(&base) =>
            {
                indices.least(code, i, index)
            }
            _ => 0,
        };
        code.iter().zip(states).enumerate().map(first).collect()
    }

    /// The slots of arguments for the functions it calls, which take as many bytes of them as `passed`
    /// says.
    fn passed(&self, passed: impl Fn(&Callee) -> i64) -> BTreeSet<Spot> {
        let mut found = BTreeSet::new();
        for (decoded, state) in self.code.iter().zip(&self.states) {
            if let Control::Call(callee) | Control::TailCall(callee) = &decoded.instruction.control
                && let Some(spot) = state.get(&self.sp)
            {
                found.extend((0..passed(callee)).step_by(GRANULE as usize).map(|at| spot.plus(at)));
            }
        }
        found
    }
}

/// The instructions of a function with slots for its stack accesses, and where each call has the
/// stack pointer; `arguments` are the registers of arguments.
pub fn resolve(
    frame: Frame,
    arguments: &[Reg],
    passed: impl Fn(&Callee) -> i64,
) -> (Vec<Instruction>, HashMap<u64, Spot>) {
    let firsts = frame.firsts();
    let taken = Taken {
        starts: escaped(&frame, &firsts),
        reloaded: direct(&frame.code, &frame.states, |m| m.load.is_some()),
        written: direct(&frame.code, &frame.states, |m| m.store),
        passed: frame.passed(passed),
    };
    let Frame { code, states, sp, .. } = frame;
    let nothing = Taken::default();
    let mut calls = HashMap::new();
    let mut out = Vec::with_capacity(code.len());
    let mut written: HashSet<Reg> = arguments.iter().copied().collect();
    for ((decoded, mut state), first) in code.into_iter().zip(states).zip(firsts) {
        // A register that is stored before it is written is saved for the caller, in no object.
        let stored = |r: &&(Reg, Role)| matches!(r.1, Role::Sink(_));
        let mut stores = decoded.instruction.reads.iter().filter(stored).peekable();
        let register = stores.peek().is_some();
        let saves = stores.all(|r| !written.contains(&r.0));
        written.extend(decoded.instruction.writes.iter().chain(&decoded.instruction.keeps));
        if let Control::Call(_) | Control::TailCall(_) = decoded.instruction.control
            && let Some(spot) = state.get(&sp)
        {
            calls.insert(decoded.instruction.place, *spot);
        }
        if let Some(Pointer::Move { to, from, add }) = decoded.before
            && let Some(spot) = state.get(&from).copied()
        {
            state.insert(to, spot.plus(add));
        }
        let moved = moved(&decoded, &state);
        let mut instruction =
            access(decoded, &state, if saves && register { &nothing } else { &taken }, first);
        if saves && register {
            instruction.pointers.writes = None;
        }
        match moved {
            Some((Some(spot), _, _)) => {
                instruction.pointers.address = Some(Address::Frame(spot.place()));
            }
            Some((None, from, add)) => instruction.pointers.moved = Some((from, add)),
            None => {}
        }
        out.push(instruction);
    }
    (out, calls)
}

/// What of a frame others may see.
#[derive(Default)]
struct Taken {
    // First bytes of objects whose address is taken.
    starts: Vec<Spot>,
    // Slots that the function itself reads back.
    reloaded: BTreeSet<Spot>,
    // Slots that it writes.
    written: BTreeSet<Spot>,
    // Slots of arguments for others.
    passed: BTreeSet<Spot>,
}

impl Taken {
    /// Whether a slot may be part of an object whose address is taken: at its first byte, or above
    /// and not read back, as the slot of a spilled register would be, nor by a function called, as
    /// the slot of an argument.
    fn holds(&self, slot: Spot) -> bool {
        if self.passed.contains(&slot) {
            return false;
        }
        let above = |s: &Spot| s.base == slot.base && slot.offset >= s.offset;
        self.starts.contains(&slot)
            || self.starts.iter().any(above) && !self.reloaded.contains(&slot)
    }

    /// Whether others may have written a slot once they can: the first byte of an object, or what the
    /// function reads without ever writing it, as it would the slot of a spilled register.
    fn gives(&self, slot: Spot) -> bool {
        self.starts.contains(&slot) || !slot.is_argument() && !self.written.contains(&slot)
    }
}

/// The slots that some accesses read or write directly.
fn direct(code: &[Decoded], states: &[State], wanted: impl Fn(&Memory) -> bool) -> BTreeSet<Spot> {
    let mut found = BTreeSet::new();
    for (decoded, state) in code.iter().zip(states) {
        if let Some(memory) = decoded.memory
            && wanted(&memory)
            && let Memory { base: Some(base), index: None, offset, bytes, .. } = memory
            && let Some(spot) = spot_of(decoded, state, base)
        {
            let last = (bytes.max(1) - 1) / GRANULE;
            found.extend((0..=last).map(|g| spot.plus(offset + g * GRANULE)));
        }
    }
    found
}

/// Where a register points when the access of an instruction begins.
fn spot_of(decoded: &Decoded, state: &State, reg: Reg) -> Option<Spot> {
    match decoded.before {
        Some(Pointer::Move { to, from, add }) if to == reg => state.get(&from).map(|s| s.plus(add)),
        _ => state.get(&reg).copied(),
    }
}

/// The parts of the frame whose address is taken: each from its first byte on.
fn escaped(frame: &Frame, firsts: &[i64]) -> Vec<Spot> {
    let Frame { code, states, sp, .. } = frame;
    let mut found = Vec::new();
    for (i, (decoded, state)) in code.iter().zip(states).enumerate() {
        let moved: Vec<Reg> = [decoded.before, decoded.after]
            .into_iter()
            .flatten()
            .map(|pointer| match pointer {
                Pointer::Move { from, .. } => from,
                Pointer::Align(reg) => reg,
            })
            .collect();
        for (reg, role) in &decoded.instruction.reads {
            if *role != Role::Address && !moved.contains(reg) {
                found.extend(state.get(reg).map(|spot| spot.plus(added(code, i))));
            }
        }
        if let Control::Call(_) | Control::TailCall(_) = decoded.instruction.control {
            found.extend(state.iter().filter(|(reg, _)| *reg != sp).map(|(_, spot)| *spot));
        }
        if let Some(Memory { base: Some(base), index: Some(_), offset, .. }) = decoded.memory
            && let Some(spot) = state.get(&base)
        {
            found.push(spot.plus(offset + firsts[i]));
        }
    }
    found
}
