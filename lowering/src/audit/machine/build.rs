//! From decoded instructions to operations over values.

use super::*;

/// Calls that are connected once all routines are known.
pub(super) struct Site {
    routine: usize,
    index: usize,
    callee: Callee,
}

/// Turns routines into def-use chains; calls out of the file that are not known are findings.
pub fn build(routines: &[Routine], convention: &dyn Convention, flow: &mut Flow) -> Vec<Finding> {
    let captured = convention.captured().map(|reg| (reg, flow.value(Source::Operands)));
    let by_place: HashMap<u64, usize> =
        routines.iter().enumerate().filter_map(|(i, r)| Some((r.code.first()?.place, i))).collect();
    let memory = Memory::default();
    let findings = Vec::new();
    let mut builder = Builder { flow, memory, convention, captured, by_place, findings };
    let mut bodies = Vec::new();
    let mut sites = Vec::new();
    for (r, routine) in routines.iter().enumerate() {
        let function = builder.flow.function(routine.name.clone());
        let mut body = Body::new(&routine.code);
        for (i, c) in routine.code.iter().enumerate() {
            builder.instruction(&mut body, function, r, i, c);
            let callee = match &c.control {
                Control::Call(callee) | Control::TailCall(callee) => callee.clone(),
                _ => continue,
            };
            builder.call(&mut body, function, i, c, &callee);
            sites.push(Site { routine: r, index: i, callee });
        }
        for (i, c) in routine.code.iter().enumerate() {
            if matches!(c.control, Control::Return | Control::TailCall(_)) {
                for &reg in convention.results() {
                    let value = body.read(builder.flow, i, reg);
                    let fresh = || builder.flow.value(Source::Operands);
                    let result = *body.results.entry(reg).or_insert_with(fresh);
                    builder.flow.copy(value, result);
                }
            }
        }
        body.settle(builder.flow);
        for &value in body.entries.values() {
            builder.flow.set_source(value, convention.entry(&routine.name));
        }
        bodies.push(body);
    }
    connect(builder.flow, routines, &mut bodies, &sites, convention);
    builder.pointers(routines, &bodies);
    let findings = builder.findings;
    returned(flow, routines, &bodies, convention);
    findings
}

/// What is known of a file while its chains are made.
pub(super) struct Builder<'a> {
    flow: &'a mut Flow,
    memory: Memory,
    convention: &'a dyn Convention,
    // All memory whose address is taken: its register and value.
    captured: Option<(Reg, Value)>,
    by_place: HashMap<u64, usize>,
    findings: Vec<Finding>,
}

/// A place of a routine's frame.
pub(super) fn target(routine: usize, (base, offset): Place) -> Target {
    const BASES: u32 = 1 << 13;
    Target::Object(routine as u32 * BASES + base.min(BASES - 1), offset)
}

impl Builder<'_> {
    /// One instruction as an operation over values.
    fn instruction(
        &mut self,
        body: &mut Body,
        function: usize,
        routine: usize,
        i: usize,
        c: &Instruction,
    ) {
        let mut operands = Vec::with_capacity(c.reads.len() + c.constants.len());
        for &(reg, role) in &c.reads {
            match self.captured {
                Some((memory, value)) if memory == reg => operands.push((value, role)),
                _ => {
                    let value = body.read(self.flow, i, reg);
                    operands.push((value, role));
                    self.used(c, reg, role, value);
                }
            }
        }
        for &(constant, role) in &c.constants {
            operands.push((self.flow.value(Source::Constant(constant)), role));
        }
        for &reg in &c.keeps {
            let value = body.read(self.flow, i, reg);
            operands.push((value, Role::Value));
            if !c.pointers.spoils {
                self.memory.leak(value, 0);
            }
        }
        let result = self.flow.value(c.source);
        self.follow(body, routine, i, c, &mut operands, result);
        for &reg in c.writes.iter().chain(&c.keeps) {
            match self.captured {
                Some((memory, value)) if memory == reg => self.flow.copy(result, value),
                _ => body.define(i, reg, result),
            }
        }
        let line = || self.convention.line(c.place);
        let operation = Operation {
            function,
            name: c.name.clone(),
            place: self.convention.place(c.place),
            source: if c.action == Action::None { None } else { line() },
            action: c.action,
            operands,
            results: vec![result],
        };
        // A copy that stands for no instruction has no name.
        match c.name.is_empty() {
            true => self.flow.push_uncounted(operation),
            false => self.flow.push(operation),
        }
    }

    /// An address that an instruction reads is followed no further, unless it is moved or accessed.
    fn used(&mut self, c: &Instruction, reg: Reg, role: Role, value: Value) {
        let p = &c.pointers;
        let whole = p.access.is_some_and(|a| a.whole.is_some());
        let followed = match role {
            Role::Condition => true,
            Role::Address => p.base == Some(reg),
            _ => p.moved.is_some() || p.address.is_some() || whole,
        };
        if !followed {
            self.memory.leak(value, 0);
        }
    }

    /// What an instruction does with addresses.
    fn follow(
        &mut self,
        body: &mut Body,
        routine: usize,
        i: usize,
        c: &Instruction,
        operands: &mut Vec<(Value, Role)>,
        result: Value,
    ) {
        let p = &c.pointers;
        let mut known = matches!(c.source, Source::Constant(_) | Source::Fixed);
        if let Some(address) = p.address {
            let to = match address {
                Address::Frame(place) => Some(target(routine, place)),
                Address::Code(place) => self.by_place.get(&place).map(|r| Target::Code(*r)),
            };
            known |= to.is_some();
            to.into_iter().for_each(|to| self.memory.address(result, to));
        } else if let Some((from, bytes)) = p.moved {
            known = true;
            let from = body.read(self.flow, i, from);
            self.memory.follow(from, result, bytes);
            if let (0, Source::Constant(_) | Source::Fixed) = (bytes, self.flow.source(from)) {
                self.flow.set_source(result, self.flow.source(from));
            }
        }
        if let Some(place) = p.exposes {
            self.memory.expose(target(routine, place));
        }
        if let Some((place, bytes, whole)) = p.writes {
            let pointer = whole.then_some(result);
            let access = Access { base: result, offset: 0, bytes, value: result, pointer };
            self.memory.store_at(self.flow, target(routine, place), access);
        }
        if let Some(OwnRead { place, bytes, role, whole, object }) = p.reads {
            let value = self.flow.value(Source::Operands);
            operands.push((value, role));
            let pointer = whole.then_some(result);
            let access = Access { base: result, offset: 0, bytes, value, pointer };
            self.memory.load_at(self.flow, target(routine, place), access, object);
        }
        if let (Some(through), Some(base)) = (p.access, p.base) {
            let base = body.read(self.flow, i, base);
            let Through { offset, bytes, .. } = through;
            if let Some(role) = through.load {
                let value = self.flow.value(Source::Operands);
                operands.push((value, role));
                let pointer = through.whole.map(|_| result);
                known |= pointer.is_some();
                self.memory.load(Access { base, offset, bytes, value, pointer });
            }
            if through.store {
                let stored = operands.iter().filter(|o| matches!(o.1, Role::Sink(_)));
                stored.for_each(|(value, _)| self.flow.copy(*value, result));
                let pointer = through.whole.map(|reg| body.read(self.flow, i, reg));
                self.memory.store(Access { base, offset, bytes, value: result, pointer });
            }
        }
        if !known {
            self.memory.unknown(result);
        }
    }

    /// What a call does in its caller.
    fn call(
        &mut self,
        body: &mut Body,
        function: usize,
        i: usize,
        c: &Instruction,
        callee: &Callee,
    ) {
        let results = match callee {
            Callee::Named(_, _, results) => results.clone(),
            _ => self.convention.results().to_vec(),
        };
        let mut find = |kind, what: &str, reason: Option<&str>| {
            self.findings.push(Finding {
                kind,
                function: self.flow.functions[function].name.clone(),
                what: what.into(),
                place: self.convention.place(c.place),
                source: self.convention.line(c.place),
                reason: reason.map(Into::into),
            });
        };
        match callee {
            Callee::External(name) => match self.convention.external(name) {
                Some(arguments) => self.external(body, function, i, c, name, arguments),
                None => find(calls::kind(name), name, None),
            },
            Callee::Unknown => {
                find(Kind::UnknownCall, &c.name, Some("calls an address that is computed"));
            }
            _ => {}
        }
        let source = match callee {
            Callee::Internal(_) | Callee::Named(..) => Source::Operands,
            _ => Source::Data,
        };
        for reg in results {
            let value = self.flow.value(source);
            if source == Source::Data {
                self.memory.unknown(value);
            }
            // Just after the call, whose own results come first.
            body.define(i, reg, value);
        }
    }

    /// A call of a known function elsewhere.
    fn external(
        &mut self,
        body: &mut Body,
        function: usize,
        i: usize,
        c: &Instruction,
        name: &str,
        arguments: Vec<(Reg, Role)>,
    ) {
        let calls_back = self.convention.calls_back(name);
        let writes = calls::known(name).is_none_or(|known| known.writes);
        let mut operands = Vec::new();
        for (reg, role) in arguments {
            let value = body.read(self.flow, i, reg);
            operands.push((value, role));
            if let (Role::Value, Some((_, memory))) = (role, self.captured) {
                self.flow.copy(value, memory);
            }
            if calls_back.is_none() && writes {
                self.memory.leak(value, 0);
            }
        }
        if let Some((address, arguments)) = calls_back {
            let address = body.read(self.flow, i, address);
            let read = |(parameter, reg)| (parameter, body.read(self.flow, i, reg));
            let arguments = arguments.into_iter().map(read).collect();
            self.memory.call_back(address, arguments);
        }
        let place = self.convention.place(c.place);
        let (action, source, results) = (Action::None, None, Vec::new());
        let name = name.to_owned();
        self.flow.push(Operation { function, name, place, source, action, operands, results });
    }

    /// Follows addresses through the whole file.
    fn pointers(&mut self, routines: &[Routine], bodies: &[Body]) {
        let (unused, origins) = (self.flow.unused(), self.flow.origins());
        for (r, (routine, body)) in routines.iter().zip(bodies).enumerate() {
            for (&reg, &value) in &body.entries {
                self.memory.parameter(r, reg, value);
                if routine.exported && !routine.callback {
                    self.memory.unknown(value);
                }
            }
            if routine.exported && !routine.callback {
                // As in `returned`: what has its use is no result.
                let returned = body.results.values().flat_map(|value| origins(*value));
                let returned = returned.filter(|value| unused[*value as usize]);
                returned.for_each(|value| self.memory.leak(value, 0));
            }
            if routine.listed {
                self.memory.expose(Target::Code(r));
            }
        }
        let captured = self.captured.map(|c| c.1);
        self.memory.solve(self.flow, captured);
        let Some(captured) = captured else { return };
        // What a runtime was given comes back where its calls are not followed.
        let unfollowed = |r: &usize| routines[*r].callback && !self.memory.is_followed(*r);
        for r in (0..routines.len()).filter(unfollowed) {
            bodies[r].entries.values().for_each(|entry| self.flow.copy(captured, *entry));
        }
    }
}

/// Copies arguments into parameters and results back.
pub(super) fn connect(
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
pub(super) fn returned(
    flow: &mut Flow,
    routines: &[Routine],
    bodies: &[Body],
    convention: &dyn Convention,
) {
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
