//! Where the product of an integer multiply goes, whatever the format it was written in.
//!
//! A front end turns its file into a [`Flow`]: operations over values, each operand with the
//! [`Role`] it plays. What a multiply is then follows from two marks, each set by one sweep over the
//! def-use chains: a value *reaches data* if a chain leads from it into memory, a float or the
//! outside; and it is *of data* if a chain leads to it from memory or a float.

use super::{Finding, Function, Kind};
use std::collections::{HashSet, VecDeque};

/// Number of a value.
pub type Value = u32;

/// What an operation does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Part of every result.
    Value,
    /// Part of every result, and what a multiply multiplies or a division divides by.
    Factor,
    /// Part of every result, and what a division divides.
    Dividend,
    /// Chooses a place in memory, a number of bytes, a bound of a loop.
    Address,
    /// Decides a branch, a comparison, a mask.
    Condition,
    /// Becomes data; says how.
    Sink(&'static str),
}

/// What an operation is to the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing that matters.
    None,
    /// Multiplies data, unless all its factors are constants.
    Data(Kind),
    /// Multiplies or divides integers: for addresses or for data, as the flow says.
    Integer,
}

/// Where a value that no operation computes from others comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// From the operands of the operation that defines it.
    Operands,
    /// A number known at compile time.
    Constant(i128),
    /// Constant, but not known here.
    Fixed,
    /// Which thread of a GPU it is: what is computed from that and constants alone is a place, too, that
    /// no number of a tensor has a part in.
    Position,
    /// Memory, a float, a call: tensor data for all that is known.
    Data,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Index of its function in [`Flow::functions`].
    pub function: usize,
    /// Mnemonic or name.
    pub name: String,
    /// Address or line within the file.
    pub place: String,
    /// File and line of its source, if the file says.
    pub source: Option<String>,
    /// What it is.
    pub action: Action,
    /// Its operands.
    pub operands: Vec<(Value, Role)>,
    /// Its results.
    pub results: Vec<Value>,
}

/// A whole file as values and operations.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// Functions and kernels, with what is counted in them.
    pub functions: Vec<Function>,
    operations: Vec<Operation>,
    sources: Vec<Source>,
    copies: Vec<(Value, Value)>,
}

/// How a value becomes data: the next value on the way, or how it ends.
#[derive(Clone, Copy)]
enum Way {
    Ends(&'static str),
    Through(Value),
}

impl Flow {
    /// A fresh value.
    pub fn value(&mut self, source: Source) -> Value {
        self.sources.push(source);
        (self.sources.len() - 1) as Value
    }

    /// A function, kernel or graph; gives its index.
    pub fn function(&mut self, name: impl Into<String>) -> usize {
        self.functions.push(Function { name: name.into(), ..Function::default() });
        self.functions.len() - 1
    }

    /// Adds an operation and counts it.
    pub fn push(&mut self, operation: Operation) {
        self.functions[operation.function].operations += 1;
        self.operations.push(operation);
    }

    /// Adds an operation that stands for no instruction.
    pub fn push_uncounted(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// A function that gives the values of which a value may be a copy: those no copy leads to.
    pub fn origins(&self) -> impl Fn(Value) -> Vec<Value> + use<> {
        let edges = Edges::new(self.sources.len(), self.copies.iter().map(|(f, t)| (*t, *f)));
        move |value| {
            let mut seen = HashSet::from([value]);
            let (mut stack, mut found) = (vec![value], Vec::new());
            while let Some(at) = stack.pop() {
                if edges.of(at).is_empty() {
                    found.push(at);
                }
                stack.extend(edges.of(at).iter().filter(|v| seen.insert(**v)));
            }
            found
        }
    }

    /// `to` is `from` on some path: a phi, a block argument, a parameter, a slot of memory.
    pub fn copy(&mut self, from: Value, to: Value) {
        self.copies.push((from, to));
    }

    /// All copies.
    pub fn copies(&self) -> &[(Value, Value)] {
        &self.copies
    }

    /// Where a value comes from.
    pub fn source(&self, value: Value) -> Source {
        self.sources[value as usize]
    }

    /// Says where a value comes from.
    pub fn set_source(&mut self, value: Value, source: Source) {
        self.sources[value as usize] = source;
    }

    /// The values that no operation uses, nor any copy of them.
    pub fn unused(&self) -> Vec<bool> {
        let backward =
            Edges::new(self.sources.len(), self.copies.iter().map(|(from, to)| (*to, *from)));
        let mut unused = vec![true; self.sources.len()];
        let mut stack: Vec<Value> =
            self.operations.iter().flat_map(|o| o.operands.iter().map(|(v, _)| *v)).collect();
        while let Some(value) = stack.pop() {
            if std::mem::replace(&mut unused[value as usize], false) {
                stack.extend(backward.of(value));
            }
        }
        unused
    }

    /// Judges every operation: counts in the functions, and the findings.
    pub fn judge(&mut self) -> Vec<Finding> {
        let forward = self.edges(false);
        let of_data = self.derived(&forward, |s, _| s == Source::Data);
        let positions = self.positions(&forward);
        drop(forward);
        let backward = self.edges(true);
        let to_data = self.backward(&backward, |role| match role {
            Role::Sink(how) => Some(how),
            _ => None,
        });
        let to_condition = self.backward(&backward, |role| {
            (role == Role::Condition).then_some("decides a comparison of data")
        });
        let mut findings = Vec::new();
        for operation in &self.operations {
            let (kind, reason) = match operation.action {
                Action::None => continue,
                Action::Data(kind) if !self.is_constant(operation) => (kind, None),
                Action::Data(_) => {
                    self.functions[operation.function].constants += 1;
                    continue;
                }
                Action::Integer => {
                    let function = &mut self.functions[operation.function];
                    match by_constant(&self.sources, operation) {
                        Some(Trivial::Constant) => function.constants += 1,
                        Some(Trivial::Shift) => function.shifts += 1,
                        None => {}
                    }
                    if by_constant(&self.sources, operation).is_some() {
                        continue;
                    }
                    let reached = |marks: &[Option<Way>]| {
                        operation.results.iter().copied().find(|r| marks[*r as usize].is_some())
                    };
                    let terms = || {
                        let multiplied =
                            |o: &&(Value, Role)| matches!(o.1, Role::Factor | Role::Dividend);
                        operation.operands.iter().filter(multiplied).map(|(v, _)| *v as usize)
                    };
                    let data = terms().any(|v| of_data[v]);
                    if terms().next().is_some() && terms().all(|v| positions[v]) {
                        function.address_multiplies += 1;
                        continue;
                    }
                    let way = match (reached(&to_data), reached(&to_condition)) {
                        (Some(result), _) => Some((result, &to_data)),
                        (None, Some(result)) if data => Some((result, &to_condition)),
                        _ => None,
                    };
                    let Some((result, marks)) = way else {
                        function.address_multiplies += 1;
                        continue;
                    };
                    (Kind::IntegerMultiply, Some(ending(marks, result)))
                }
            };
            findings.push(Finding {
                kind,
                function: self.functions[operation.function].name.clone(),
                what: operation.name.clone(),
                place: operation.place.clone(),
                source: operation.source.clone(),
                reason: reason.map(Into::into),
            });
        }
        findings
    }

    /// True if everything the operation multiplies is constant: it loads a number.
    fn is_constant(&self, operation: &Operation) -> bool {
        let mut factors = operation.operands.iter().filter(|o| o.1 == Role::Factor).peekable();
        factors.peek().is_some()
            && factors.all(|(v, _)| {
                matches!(self.sources[*v as usize], Source::Constant(_) | Source::Fixed)
            })
    }

    /// For each value, the values computed from it, or those it is computed from.
    fn edges(&self, reversed: bool) -> Edges {
        let direct = |from: Value, to: Value| if reversed { (to, from) } else { (from, to) };
        let flows = self.operations.iter().flat_map(|o| {
            let inputs = o.operands.iter().filter(|(_, role)| carries(*role));
            inputs.flat_map(move |(v, _)| o.results.iter().map(move |r| (*v, *r)))
        });
        let all = flows.chain(self.copies.iter().copied()).map(|(from, to)| direct(from, to));
        Edges::new(self.sources.len(), all)
    }

    /// Marks the values that derive from those of some sources, of which is also told whether something
    /// defines them.
    fn derived(&self, forward: &Edges, from: impl Fn(Source, bool) -> bool) -> Vec<bool> {
        let mut defined = vec![false; self.sources.len()];
        let results = self.operations.iter().flat_map(|o| &o.results);
        let copied = self.copies.iter().map(|(_, to)| to);
        results.chain(copied).for_each(|v| defined[*v as usize] = true);
        let sources = self.sources.iter().zip(&defined);
        let mut marks: Vec<bool> = sources.map(|(s, defined)| from(*s, *defined)).collect();
        let mut queue: VecDeque<Value> =
            (0..marks.len() as Value).filter(|v| marks[*v as usize]).collect();
        while let Some(value) = queue.pop_front() {
            for &next in forward.of(value) {
                if !std::mem::replace(&mut marks[next as usize], true) {
                    queue.push_back(next);
                }
            }
        }
        marks
    }

    /// Marks the values computed from positions and constants alone, and the constants where there are
    /// positions at all.
    fn positions(&self, forward: &Edges) -> Vec<bool> {
        if !self.sources.contains(&Source::Position) {
            return vec![false; self.sources.len()];
        }
        let other = self.derived(forward, |source, defined| match source {
            Source::Data => true,
            Source::Operands => !defined,
            Source::Constant(_) | Source::Fixed | Source::Position => false,
        });
        other.into_iter().map(|other| !other).collect()
    }

    /// Marks the values from which a chain leads to an operand of a role, with the chain.
    fn backward(
        &self,
        backward: &Edges,
        ends: impl Fn(Role) -> Option<&'static str>,
    ) -> Vec<Option<Way>> {
        let mut marks: Vec<Option<Way>> = vec![None; self.sources.len()];
        let mut queue = VecDeque::new();
        for (value, role) in self.operations.iter().flat_map(|o| &o.operands) {
            if let Some(how) = ends(*role)
                && marks[*value as usize].is_none()
            {
                marks[*value as usize] = Some(Way::Ends(how));
                queue.push_back(*value);
            }
        }
        while let Some(value) = queue.pop_front() {
            for &before in backward.of(value) {
                if marks[before as usize].is_none() {
                    marks[before as usize] = Some(Way::Through(value));
                    queue.push_back(before);
                }
            }
        }
        marks
    }
}

/// Whether an operand in this role is part of the results.
fn carries(role: Role) -> bool {
    matches!(role, Role::Value | Role::Factor | Role::Dividend)
}

/// An integer multiply or division that multiplies nothing.
enum Trivial {
    /// All factors are constants: it loads a number.
    Constant,
    /// By 0 or ± a power of two: it clears, moves, negates or shifts.
    Shift,
}

fn by_constant(sources: &[Source], operation: &Operation) -> Option<Trivial> {
    let factors: Vec<Source> = (operation.operands.iter())
        .filter(|o| o.1 == Role::Factor)
        .map(|(v, _)| sources[*v as usize])
        .collect();
    let constant = |s: &Source| matches!(s, Source::Constant(_) | Source::Fixed);
    if factors.len() > 1 && factors.iter().all(constant) {
        return Some(Trivial::Constant);
    }
    let power = |s: &Source| match s {
        Source::Constant(c) => *c == 0 || c.unsigned_abs().is_power_of_two(),
        _ => false,
    };
    factors.iter().any(power).then_some(Trivial::Shift)
}

/// How the chain from a value ends.
fn ending(marks: &[Option<Way>], value: Value) -> &'static str {
    let mut at = value;
    loop {
        match marks[at as usize] {
            Some(Way::Through(next)) => at = next,
            Some(Way::Ends(how)) => return how,
            None => return "",
        }
    }
}

/// Adjacency in one array.
struct Edges {
    starts: Vec<u32>,
    ends: Vec<Value>,
}

impl Edges {
    fn new(values: usize, pairs: impl Iterator<Item = (Value, Value)>) -> Self {
        let pairs: Vec<_> = pairs.collect();
        let mut starts = vec![0u32; values + 1];
        for (from, _) in &pairs {
            starts[*from as usize + 1] += 1;
        }
        for i in 0..values {
            starts[i + 1] += starts[i];
        }
        let mut at = starts.clone();
        let mut ends = vec![0; pairs.len()];
        for (from, to) in pairs {
            ends[at[from as usize] as usize] = to;
            at[from as usize] += 1;
        }
        Self { starts, ends }
    }

    fn of(&self, value: Value) -> &[Value] {
        let value = value as usize;
        &self.ends[self.starts[value] as usize..self.starts[value + 1] as usize]
    }
}
