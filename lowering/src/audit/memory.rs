//! What the memory of a function's own frame holds.
//!
//! Values that are pointers into frames are followed through registers, calls within the file and
//! the frames themselves, so that a number which a function leaves in a frame is the same number where
//! another function loads it through a pointer: the loop counters that OpenMP's runtime hands to an
//! outlined loop, for one. An object whose address goes where it is not followed is *exposed*: others
//! may have written it, so what is loaded from it is data, as from all other memory. The analysis is
//! inclusion-based (Andersen 1994) with offsets, over the values of a [`Flow`].

use super::flow::{Flow, Source, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Bytes that are followed as one.
pub const GRANULE: i64 = 4;
/// Pointers with more targets than this are not followed.
const TARGETS: usize = 64;

/// What a value may be the address of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A byte of an object, counted from where the object's front end likes.
    Object(u32, i64),
    /// A function.
    Code(usize),
}

impl Target {
    fn plus(self, bytes: i64) -> Self {
        match self {
            Target::Object(object, offset) => Target::Object(object, offset + bytes),
            code => code,
        }
    }
}

/// A load or store through a pointer.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// The pointer.
    pub base: Value,
    /// Bytes added to it.
    pub offset: i64,
    /// Bytes accessed.
    pub bytes: i64,
    /// What is loaded or stored.
    pub value: Value,
    /// The same if it is whole, and so may be a pointer.
    pub pointer: Option<Value>,
}

#[derive(Clone, Copy)]
enum Use {
    Load(usize),
    Store(usize),
    Leak(i64),
    Calls(usize),
    Move(Value, i64),
}

/// A call that calls a function it is given.
struct Fork {
    // Values by the parameter that each becomes.
    arguments: Vec<(u32, Value)>,
}

/// The constraints of a file, and their solution.
#[derive(Default)]
pub struct Memory {
    loads: Vec<Access>,
    stores: Vec<Access>,
    forks: Vec<Fork>,
    uses: HashMap<Value, Vec<Use>>,
    parameters: HashMap<(usize, u32), Value>,
    // Solution.
    targets: HashMap<Value, BTreeSet<Target>>,
    unknown: HashSet<Value>,
    cells: BTreeMap<(u32, i64), Value>,
    // What of the cells was written through pointers.
    foreign: BTreeMap<(u32, i64), Value>,
    own_loads: Vec<(Target, Access, bool)>,
    exposed: HashMap<u32, i64>,
    leaking: HashSet<(Value, i64)>,
    exposed_code: HashSet<usize>,
    called: HashSet<usize>,
    moved: HashSet<(Value, Value)>,
    copied: HashSet<(Value, Value)>,
    queue: Vec<Value>,
}

impl Memory {
    /// A value is an address.
    pub fn address(&mut self, value: Value, target: Target) {
        self.point(value, target);
    }

    /// `to` is `from` and a number of bytes.
    pub fn follow(&mut self, from: Value, to: Value, bytes: i64) {
        self.add(from, Use::Move(to, bytes));
    }

    /// A load through a pointer.
    pub fn load(&mut self, access: Access) {
        self.loads.push(access);
        self.add(access.base, Use::Load(self.loads.len() - 1));
    }

    /// A store through a pointer.
    pub fn store(&mut self, access: Access) {
        self.stores.push(access);
        self.add(access.base, Use::Store(self.stores.len() - 1));
    }

    /// A store whose place is known.
    pub fn store_at(&mut self, flow: &mut Flow, target: Target, access: Access) {
        self.write(flow, target, &access);
    }

    /// A load of a function from a place of its own frame, whose own writes are known: it also gives what
    /// others have stored there through pointers, and data if the place is exposed and may belong to an
    /// object, not to a spilled register.
    pub fn load_at(&mut self, flow: &mut Flow, target: Target, access: Access, object: bool) {
        for cell in granules(target, &access) {
            let cell = foreign(&mut self.foreign, flow, cell);
            access.pointer.into_iter().for_each(|to| self.follow(cell, to, 0));
        }
        self.own_loads.push((target, access, object));
    }

    /// What is at a value and some bytes on goes where it is not followed.
    pub fn leak(&mut self, value: Value, bytes: i64) {
        if self.leaking.insert((value, bytes)) {
            self.add(value, Use::Leak(bytes));
        }
    }

    /// A value that may be any address which is not followed.
    pub fn unknown(&mut self, value: Value) {
        if self.unknown.insert(value) {
            self.queue.push(value);
        }
    }

    /// A call that hands values, by the parameter that each becomes, to the function in `function`.
    pub fn call_back(&mut self, function: Value, arguments: Vec<(u32, Value)>) {
        self.forks.push(Fork { arguments });
        self.add(function, Use::Calls(self.forks.len() - 1));
    }

    /// The value of a function's parameter.
    pub fn parameter(&mut self, function: usize, number: u32, value: Value) {
        self.parameters.insert((function, number), value);
    }

    /// Code elsewhere may call the function or write the object from here on.
    pub fn expose(&mut self, target: Target) {
        match target {
            Target::Code(function) => {
                if self.exposed_code.insert(function) {
                    let own = |(key, value): (&(usize, u32), &Value)| {
                        (key.0 == function).then_some(*value)
                    };
                    let entries: Vec<Value> = self.parameters.iter().filter_map(own).collect();
                    entries.into_iter().for_each(|v| self.unknown(v));
                }
            }
            Target::Object(object, offset) => {
                let first = self.exposed.entry(object).or_insert(i64::MAX);
                if offset >= *first {
                    return;
                }
                *first = offset;
                let cells =
                    self.cells.range((object, offset.div_euclid(GRANULE))..=(object, i64::MAX));
                for cell in cells.map(|c| *c.1).collect::<Vec<_>>() {
                    self.unknown(cell);
                    self.leak(cell, 0);
                }
            }
        }
    }

    /// Whether all calls of a function whose address is taken are known.
    pub fn is_followed(&self, function: usize) -> bool {
        self.called.contains(&function) && !self.exposed_code.contains(&function)
    }

    /// Follows all pointers, then gives every loaded value what it may be: what was stored, or data
    /// and what is `captured`.
    pub fn solve(&mut self, flow: &mut Flow, captured: Option<Value>) {
        for (from, to) in flow.copies().to_vec() {
            // What stands for all captured memory is as good as unknown.
            if ![Some(from), Some(to)].contains(&captured) {
                self.add(from, Use::Move(to, 0));
            }
        }
        while let Some(value) = self.queue.pop() {
            let uses = self.uses.get(&value).cloned().unwrap_or_default();
            for step in uses {
                self.apply(flow, value, step);
            }
        }
        for (target, access, object) in std::mem::take(&mut self.own_loads) {
            for cell in granules(target, &access).filter_map(|cell| self.foreign.get(&cell)) {
                flow.copy(*cell, access.value);
            }
            if object && self.is_exposed(target, &access) {
                flow.set_source(access.value, Source::Data);
                captured.into_iter().for_each(|memory| flow.copy(memory, access.value));
            }
        }
        for access in std::mem::take(&mut self.loads) {
            let known = !self.unknown.contains(&access.base)
                && self.targets.get(&access.base).is_some_and(|t| !t.is_empty());
            let mut exposed = !known;
            for target in self.targets.get(&access.base).cloned().unwrap_or_default() {
                exposed |= self.is_exposed(target, &access);
                for cell in self.cells_at(flow, target, &access) {
                    flow.copy(cell, access.value);
                }
            }
            if exposed {
                flow.set_source(access.value, Source::Data);
                captured.into_iter().for_each(|memory| flow.copy(memory, access.value));
            }
        }
    }

    fn add(&mut self, value: Value, step: Use) {
        self.uses.entry(value).or_default().push(step);
        self.queue.push(value);
    }

    fn point(&mut self, value: Value, target: Target) {
        let targets = self.targets.entry(value).or_default();
        if targets.len() < TARGETS {
            if targets.insert(target) {
                self.queue.push(value);
            }
        } else if !targets.contains(&target) {
            self.unknown(value);
            self.leak(value, 0);
            self.expose(target);
        }
    }

    fn apply(&mut self, flow: &mut Flow, value: Value, step: Use) {
        let targets = self.targets.get(&value).cloned().unwrap_or_default();
        let unknown = self.unknown.contains(&value);
        match step {
            Use::Move(to, bytes) => {
                targets.iter().for_each(|t| self.point(to, t.plus(bytes)));
                if unknown {
                    self.unknown(to);
                }
            }
            Use::Leak(bytes) => targets.iter().for_each(|t| self.expose(t.plus(bytes))),
            Use::Load(number) => {
                let access = self.loads[number];
                for &target in &targets {
                    self.read(flow, target, &access);
                }
                if unknown {
                    access.pointer.into_iter().for_each(|p| self.unknown(p));
                }
            }
            Use::Store(number) => {
                let access = self.stores[number];
                for &target in &targets {
                    self.write(flow, target, &access);
                    for cell in granules(target, &access) {
                        let cell = foreign(&mut self.foreign, flow, cell);
                        self.once_copied(flow, access.value, cell);
                        access.pointer.into_iter().for_each(|from| self.once(from, cell));
                    }
                }
                if unknown {
                    access.pointer.into_iter().for_each(|p| self.leak(p, 0));
                }
            }
            Use::Calls(number) => {
                if unknown {
                    let arguments = self.forks[number].arguments.clone();
                    arguments.into_iter().for_each(|(_, v)| self.leak(v, 0));
                }
                for target in targets {
                    let Target::Code(function) = target else { continue };
                    self.called.insert(function);
                    for (parameter, argument) in self.forks[number].arguments.clone() {
                        if let Some(&to) = self.parameters.get(&(function, parameter)) {
                            self.once_copied(flow, argument, to);
                            self.once(argument, to);
                        }
                    }
                }
            }
        }
    }

    /// A copy of a pointer that became known while solving.
    fn once(&mut self, from: Value, to: Value) {
        if self.moved.insert((from, to)) {
            self.add(from, Use::Move(to, 0));
        }
    }

    /// The same of a number.
    fn once_copied(&mut self, flow: &mut Flow, from: Value, to: Value) {
        if self.copied.insert((from, to)) {
            flow.copy(from, to);
        }
    }

    fn is_exposed(&self, target: Target, access: &Access) -> bool {
        let Target::Object(object, offset) = target else { return true };
        let last = offset + access.offset + access.bytes.max(1) - 1;
        self.exposed.get(&object).is_some_and(|first| last >= *first)
    }

    /// The cells that an access through a target touches.
    fn cells_at(&mut self, flow: &mut Flow, target: Target, access: &Access) -> Vec<Value> {
        let Target::Object(object, _) = target else { return Vec::new() };
        let open = self.exposed.get(&object).map_or(i64::MAX, |first| first.div_euclid(GRANULE));
        let mut cells = Vec::new();
        for (object, granule) in granules(target, access) {
            let cell = match self.cells.get(&(object, granule)) {
                Some(cell) => *cell,
                None => {
                    let cell = flow.value(Source::Operands);
                    self.cells.insert((object, granule), cell);
                    if granule >= open {
                        self.unknown(cell);
                        self.leak(cell, 0);
                    }
                    cell
                }
            };
            cells.push(cell);
        }
        cells
    }

    fn read(&mut self, flow: &mut Flow, target: Target, access: &Access) {
        let cells = self.cells_at(flow, target, access);
        match (access.pointer, cells.first()) {
            (Some(to), Some(&cell)) => self.once(cell, to),
            // The bytes of a function.
            (Some(to), None) => self.unknown(to),
            (None, _) => cells.into_iter().for_each(|cell| self.leak(cell, 0)),
        }
    }

    fn write(&mut self, flow: &mut Flow, target: Target, access: &Access) {
        for cell in self.cells_at(flow, target, access) {
            self.once_copied(flow, access.value, cell);
            match access.pointer {
                Some(from) => self.once(from, cell),
                None => self.unknown(cell),
            }
        }
    }
}

/// The cells, by object and granule, that an access through a target touches.
fn granules(target: Target, access: &Access) -> impl Iterator<Item = (u32, i64)> + use<> {
    let (object, offset) = match target {
        Target::Object(object, offset) => (object, Some(offset + access.offset)),
        Target::Code(_) => (0, None),
    };
    let bytes = access.bytes.max(1);
    let cells = |at: i64| at.div_euclid(GRANULE)..(at + bytes - 1).div_euclid(GRANULE) + 1;
    offset.map(cells).into_iter().flatten().map(move |granule| (object, granule))
}

/// What others have written into a cell.
fn foreign(cells: &mut BTreeMap<(u32, i64), Value>, flow: &mut Flow, cell: (u32, i64)) -> Value {
    *cells.entry(cell).or_insert_with(|| flow.value(Source::Operands))
}
