//! Register machines: from decoded instructions to def-use chains.
//!
//! Every write of a register is a value. A read takes the value of the last write before it in its
//! block, else one value stands for what the block's predecessors leave in the register (a phi that
//! is never simplified). Parameters and results of calls within the file are copies between the
//! functions' values, so a chain runs on through calls.

use super::{
    Finding, Kind,
    flow::{Action, Flow, Operation, Role, Source, Value},
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Number of a register, a flag, a slot of the stack.
pub type Reg = u32;

/// Where control goes after an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// To the next one.
    Next,
    /// Always to this place.
    Jump(u64),
    /// To this place or the next instruction.
    Branch(u64),
    /// To a place in a register.
    Indirect,
    /// To one of these places, by a table.
    Table(Vec<u64>),
    /// Nowhere.
    Stop,
    /// Back to the caller.
    Return,
    /// Into a function and back.
    Call(Callee),
    /// Into a function that returns to this one's caller.
    TailCall(Callee),
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A function of this file, by its place.
    Internal(u64),
    /// A function elsewhere, by its symbol.
    External(String),
    /// A function of this file by name, with operands and results of the call in order.
    Named(String, Vec<Reg>, Vec<Reg>),
    /// A function whose address is computed.
    Unknown,
}

/// A decoded instruction.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// Address or line.
    pub place: u64,
    /// Mnemonic.
    pub name: String,
    /// What it is to the audit.
    pub action: Action,
    /// Registers read.
    pub reads: Vec<(Reg, Role)>,
    /// Constants among the operands.
    pub constants: Vec<(i128, Role)>,
    /// Registers written as a whole.
    pub writes: Vec<Reg>,
    /// Registers written in part or under a condition.
    pub keeps: Vec<Reg>,
    /// Where the results come from.
    pub source: Source,
    /// Where control goes.
    pub control: Control,
}

impl Instruction {
    /// An instruction that does nothing.
    pub fn new(place: u64, name: impl Into<String>) -> Self {
        Self {
            place,
            name: name.into(),
            action: Action::None,
            reads: Vec::new(),
            constants: Vec::new(),
            writes: Vec::new(),
            keeps: Vec::new(),
            source: Source::Operands,
            control: Control::Next,
        }
    }
}

/// A function of instructions in ascending order of place.
#[derive(Clone, Debug, Default)]
pub struct Routine {
    /// Name.
    pub name: String,
    /// Whether code elsewhere may call it.
    pub exported: bool,
    /// Whether nothing calls it by name, here or elsewhere: its address is taken.
    pub callback: bool,
    /// Its code.
    pub code: Vec<Instruction>,
}

/// How a machine passes arguments and results.
pub trait Convention {
    /// Registers that return values.
    fn results(&self) -> &[Reg];
    /// The caller's register at a call for a register that the callee reads before it writes it.
    fn argument(&self, routine: usize, call: u64, parameter: Reg) -> Option<Reg>;
    /// What a function elsewhere does with its arguments; `None` if that is not known.
    fn external(&self, name: &str) -> Option<Vec<(Reg, Role)>>;
    /// Registers that hold captured memory, if a read of memory may see it.
    fn captured(&self) -> Option<Reg> {
        None
    }
    /// File and line of an instruction, if the file says.
    fn line(&self, place: u64) -> Option<String>;
    /// A place for people.
    fn place(&self, place: u64) -> String;
}

struct Block {
    end: usize,
    predecessors: Vec<usize>,
}

/// A routine while its chains are made.
struct Body {
    blocks: Vec<Block>,
    block_of: Vec<usize>,
    // Per block and register, the writes in order.
    definitions: HashMap<(usize, Reg), Vec<(usize, Value)>>,
    phis: HashMap<(usize, Reg), Value>,
    pending: Vec<(usize, Reg)>,
    entries: BTreeMap<Reg, Value>,
    results: HashMap<Reg, Value>,
}

impl Body {
    fn new(code: &[Instruction]) -> Self {
        let at: HashMap<u64, usize> = code.iter().enumerate().map(|(i, c)| (c.place, i)).collect();
        let mut leaders: HashSet<usize> = HashSet::from([0]);
        // A jump that is computed without a table may lead to any instruction.
        let anywhere = code.iter().any(|c| c.control == Control::Indirect);
        if anywhere {
            leaders.extend(0..code.len());
        }
        for (i, c) in code.iter().enumerate() {
            if let Control::Jump(to) | Control::Branch(to) = &c.control {
                leaders.extend(at.get(to));
            }
            if let Control::Table(targets) = &c.control {
                leaders.extend(targets.iter().filter_map(|to| at.get(to)));
            }
            if !matches!(c.control, Control::Next | Control::Call(_)) {
                leaders.insert(i + 1);
            }
        }
        let mut starts: Vec<usize> = leaders.into_iter().filter(|s| *s < code.len()).collect();
        starts.sort_unstable();
        let mut blocks = Vec::new();
        let mut block_of = vec![0; code.len()];
        for (b, &start) in starts.iter().enumerate() {
            let end = starts.get(b + 1).copied().unwrap_or(code.len());
            block_of[start..end].fill(b);
            blocks.push(Block { end, predecessors: Vec::new() });
        }
        for b in 0..blocks.len() {
            let last = blocks[b].end - 1;
            let next = (b + 1 < blocks.len()).then_some(b + 1);
            let target = |to| at.get(to).map(|i| block_of[*i]);
            let successors: Vec<Option<usize>> = match &code[last].control {
                Control::Next | Control::Call(_) => vec![next],
                Control::Jump(to) => vec![target(to)],
                Control::Branch(to) => vec![next, target(to)],
                Control::Table(targets) => targets.iter().map(target).collect(),
                Control::Indirect => (0..blocks.len()).map(Some).collect(),
                _ => Vec::new(),
            };
            for successor in successors.into_iter().flatten() {
                blocks[successor].predecessors.push(b);
            }
        }
        Self {
            blocks,
            block_of,
            definitions: HashMap::new(),
            phis: HashMap::new(),
            pending: Vec::new(),
            entries: BTreeMap::new(),
            results: HashMap::new(),
        }
    }

    /// Records that instruction `i` leaves `value` in a register.
    fn define(&mut self, i: usize, reg: Reg, value: Value) {
        self.definitions.entry((self.block_of[i], reg)).or_default().push((i, value));
    }

    /// The value of a register just before instruction `i`.
    fn read(&mut self, flow: &mut Flow, i: usize, reg: Reg) -> Value {
        let block = self.block_of[i];
        self.read_in(flow, block, i, reg)
    }

    fn read_in(&mut self, flow: &mut Flow, block: usize, before: usize, reg: Reg) -> Value {
        if let Some(list) = self.definitions.get(&(block, reg)) {
            let end = list.partition_point(|d| d.0 < before);
            if end > 0 {
                return list[end - 1].1;
            }
        }
        *self.phis.entry((block, reg)).or_insert_with(|| {
            self.pending.push((block, reg));
            flow.value(Source::Operands)
        })
    }

    /// Connects every phi to what its predecessors leave.
    fn settle(&mut self, flow: &mut Flow) {
        while let Some((block, reg)) = self.pending.pop() {
            let phi = self.phis[&(block, reg)];
            if block == 0 {
                let entry = self.entries.entry(reg).or_insert_with(|| flow.value(Source::Operands));
                flow.copy(*entry, phi);
            }
            for p in self.blocks[block].predecessors.clone() {
                let end = self.blocks[p].end;
                let value = self.read_in(flow, p, end, reg);
                flow.copy(value, phi);
            }
        }
    }
}

/// Calls that are connected once all routines are known.
struct Site {
    routine: usize,
    index: usize,
    callee: Callee,
}

/// Turns routines into def-use chains; calls out of the file that are not known are findings.
pub fn build(routines: &[Routine], convention: &dyn Convention, flow: &mut Flow) -> Vec<Finding> {
    let mut bodies = Vec::new();
    let mut sites = Vec::new();
    let mut findings = Vec::new();
    let captured = convention.captured().map(|reg| (reg, flow.value(Source::Operands)));
    for (r, routine) in routines.iter().enumerate() {
        let function = flow.function(routine.name.clone());
        let mut body = Body::new(&routine.code);
        for (i, c) in routine.code.iter().enumerate() {
            instruction(flow, &mut body, function, i, c, convention, captured);
            let callee = match &c.control {
                Control::Call(callee) | Control::TailCall(callee) => callee.clone(),
                _ => continue,
            };
            call(flow, &mut body, function, i, c, convention, &callee, captured, &mut findings);
            sites.push(Site { routine: r, index: i, callee });
        }
        for (i, c) in routine.code.iter().enumerate() {
            if matches!(c.control, Control::Return | Control::TailCall(_)) {
                for &reg in convention.results() {
                    let value = body.read(flow, i, reg);
                    let result =
                        *body.results.entry(reg).or_insert_with(|| flow.value(Source::Operands));
                    flow.copy(value, result);
                }
            }
        }
        body.settle(flow);
        bodies.push(body);
    }
    connect(flow, routines, &mut bodies, &sites, convention);
    if let Some((_, memory)) = captured {
        // What a runtime was given comes back here.
        for (_, body) in routines.iter().zip(&bodies).filter(|(r, _)| r.callback) {
            body.entries.values().for_each(|entry| flow.copy(memory, *entry));
        }
    }
    returned(flow, routines, &bodies, convention);
    findings
}

/// One instruction as an operation over values.
fn instruction(
    flow: &mut Flow,
    body: &mut Body,
    function: usize,
    i: usize,
    c: &Instruction,
    convention: &dyn Convention,
    captured: Option<(Reg, Value)>,
) {
    let mut operands = Vec::with_capacity(c.reads.len() + c.constants.len());
    for &(reg, role) in &c.reads {
        match captured {
            Some((memory, value)) if memory == reg => operands.push((value, role)),
            _ => operands.push((body.read(flow, i, reg), role)),
        }
    }
    for &(constant, role) in &c.constants {
        operands.push((flow.value(Source::Constant(constant)), role));
    }
    for &reg in &c.keeps {
        operands.push((body.read(flow, i, reg), Role::Value));
    }
    let result = flow.value(c.source);
    for &reg in c.writes.iter().chain(&c.keeps) {
        match captured {
            Some((memory, value)) if memory == reg => flow.copy(result, value),
            _ => body.define(i, reg, result),
        }
    }
    let operation = Operation {
        function,
        name: c.name.clone(),
        place: convention.place(c.place),
        source: if c.action == Action::None { None } else { convention.line(c.place) },
        action: c.action,
        operands,
        results: vec![result],
    };
    // A copy that stands for no instruction has no name.
    if c.name.is_empty() { flow.push_uncounted(operation) } else { flow.push(operation) }
}

/// What a call does in its caller.
#[allow(clippy::too_many_arguments)]
fn call(
    flow: &mut Flow,
    body: &mut Body,
    function: usize,
    i: usize,
    c: &Instruction,
    convention: &dyn Convention,
    callee: &Callee,
    captured: Option<(Reg, Value)>,
    findings: &mut Vec<Finding>,
) {
    let results = match callee {
        Callee::Named(_, _, results) => results.clone(),
        _ => convention.results().to_vec(),
    };
    if let Callee::External(name) = callee {
        match convention.external(name) {
            Some(arguments) => {
                let mut operands = Vec::new();
                for (reg, role) in arguments {
                    let value = body.read(flow, i, reg);
                    operands.push((value, role));
                    if let (Role::Value, Some((_, memory))) = (role, captured) {
                        flow.copy(value, memory);
                    }
                }
                let (place, name) = (convention.place(c.place), name.clone());
                let (action, source) = (Action::None, None);
                let results = Vec::new();
                flow.push(Operation { function, name, place, source, action, operands, results });
            }
            None => findings.push(Finding {
                kind: super::calls::kind(name),
                function: flow.functions[function].name.clone(),
                what: name.clone(),
                place: convention.place(c.place),
                source: convention.line(c.place),
                reason: None,
            }),
        }
    }
    if *callee == Callee::Unknown {
        findings.push(Finding {
            kind: Kind::UnknownCall,
            function: flow.functions[function].name.clone(),
            what: c.name.clone(),
            place: convention.place(c.place),
            source: convention.line(c.place),
            reason: Some("calls an address that is computed".into()),
        });
    }
    let source = match callee {
        Callee::Internal(_) | Callee::Named(..) => Source::Operands,
        _ => Source::Data,
    };
    for reg in results {
        let value = flow.value(source);
        // Just after the call, whose own results come first.
        body.define(i, reg, value);
    }
}

/// Copies arguments into parameters and results back.
fn connect(
    flow: &mut Flow,
    routines: &[Routine],
    bodies: &mut [Body],
    sites: &[Site],
    convention: &dyn Convention,
) {
    let by_place: HashMap<u64, usize> =
        routines.iter().enumerate().filter_map(|(i, r)| Some((r.code.first()?.place, i))).collect();
    let by_name: HashMap<&str, usize> =
        routines.iter().enumerate().map(|(i, r)| (r.name.as_str(), i)).collect();
    let mut done = HashSet::new();
    loop {
        let mut changed = false;
        for (s, site) in sites.iter().enumerate() {
            let (callee, named) = match &site.callee {
                Callee::Internal(place) => (by_place.get(place), None),
                Callee::Named(name, arguments, results) => {
                    (by_name.get(name.as_str()), Some((arguments, results)))
                }
                _ => (None, None),
            };
            let Some(&callee) = callee else { continue };
            let parameters: Vec<(Reg, Value)> =
                bodies[callee].entries.iter().map(|(r, v)| (*r, *v)).collect();
            for (parameter, value) in parameters {
                if !done.insert((s, parameter)) {
                    continue;
                }
                changed = true;
                let place = routines[site.routine].code[site.index].place;
                let argument = match named {
                    Some((arguments, _)) => arguments.get(parameter as usize).copied(),
                    None => convention.argument(site.routine, place, parameter),
                };
                if let Some(argument) = argument {
                    let body = &mut bodies[site.routine];
                    let passed = body.read(flow, site.index, argument);
                    body.settle(flow);
                    flow.copy(passed, value);
                }
            }
        }
        if !changed {
            break;
        }
    }
    for site in sites {
        let (callee, results): (_, Vec<(Reg, Reg)>) = match &site.callee {
            Callee::Internal(place) => {
                (by_place.get(place), convention.results().iter().map(|r| (*r, *r)).collect())
            }
            Callee::Named(name, _, results) => {
                let own = convention.results().iter().copied();
                (by_name.get(name.as_str()), own.zip(results.iter().copied()).collect())
            }
            _ => continue,
        };
        let Some(&callee) = callee else { continue };
        for (from, to) in results {
            let body = &bodies[site.routine];
            let block = body.block_of[site.index];
            let after = body
                .definitions
                .get(&(block, to))
                .and_then(|list| list.iter().rev().find(|d| d.0 == site.index).map(|d| d.1));
            if let (Some(&value), Some(after)) = (bodies[callee].results.get(&from), after) {
                flow.copy(value, after);
            }
        }
    }
}

/// What exported routines return is data, where it is of no other use: a compiler computes nothing in
/// vain, and what is left over in the register of a result that nobody takes has had its use.
fn returned(flow: &mut Flow, routines: &[Routine], bodies: &[Body], convention: &dyn Convention) {
    let unused = flow.unused();
    let origins = flow.origins();
    for (function, (routine, body)) in routines.iter().zip(bodies).enumerate() {
        if !routine.exported {
            continue;
        }
        for value in convention.results().iter().filter_map(|r| body.results.get(r)) {
            let operands: Vec<_> = origins(*value)
                .into_iter()
                .filter(|v| unused[*v as usize])
                .map(|v| (v, Role::Sink("is returned")))
                .collect();
            if !operands.is_empty() {
                flow.push_uncounted(Operation {
                    function,
                    name: "return".into(),
                    place: String::new(),
                    source: None,
                    action: Action::None,
                    operands,
                    results: Vec::new(),
                });
            }
        }
    }
}
