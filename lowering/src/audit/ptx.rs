//! PTX: text of NVIDIA's virtual machine.

mod opcodes;
mod text;

use super::{
    Finding, Kind, Nodes, Report, calls,
    flow::{Action, Flow, Role, Source},
    machine::{self, Callee, Control, Convention, Instruction, Reg, Routine},
};
use opcodes::{action, is_position, is_special};
use std::collections::{HashMap, HashSet};
use text::{immediate, split, statements};

const STORED: Role = Role::Sink("is stored in memory");

/// Audits a module of PTX.
pub(super) fn audit(text: &str) -> Report {
    let mut reader = Reader::default();
    for (n, line) in statements(text) {
        reader.statement(n, &line);
    }
    reader.outside();
    let mut flow = Flow::default();
    let convention = Ptx { lines: reader.lines };
    let mut findings = machine::build(&reader.routines, &convention, &mut flow);
    findings.extend(reader.unknown);
    findings.extend(flow.judge());
    let mut report = Report { functions: flow.functions, findings, ..Report::default() };
    Nodes::of_ptx(text).attribute(&mut report);
    report
}

#[derive(Default)]
struct Reader {
    routines: Vec<Routine>,
    registers: HashMap<String, Reg>,
    labels: HashMap<String, u64>,
    lines: HashMap<u64, String>,
    files: HashMap<String, String>,
    line: Option<String>,
    depth: usize,
    inside: bool,
    parameters: Vec<String>,
    unknown: Vec<Finding>,
}

impl Reader {
    fn statement(&mut self, line: u64, text: &str) {
        if let Some(rest) = text.strip_prefix(".file") {
            let mut words = rest.split_whitespace();
            if let (Some(number), Some(file)) = (words.next(), rest.split('"').nth(1)) {
                self.files.insert(number.to_owned(), file.to_owned());
            }
            return;
        }
        if let Some(rest) = text.strip_prefix(".loc") {
            let mut words = rest.split_whitespace();
            if let (Some(file), Some(line)) = (words.next(), words.next()) {
                self.line = self.files.get(file).map(|f| format!("{f}:{line}"));
            }
            return;
        }
        if !self.inside {
            if text.ends_with('{') && (text.contains(".entry") || text.contains(".func")) {
                self.open(text);
            }
            return;
        }
        match text {
            "}" => {
                self.depth -= 1;
                if self.depth == 0 {
                    self.close();
                }
            }
            _ if text.ends_with('{') => self.depth += 1,
            _ if text.starts_with('.') || text.is_empty() => {}
            _ if text.ends_with(':') => {
                self.labels.insert(text.trim_end_matches(':').to_owned(), line << 8);
                // A place of its own, so that a branch finds it.
                self.push(Instruction::new(line << 8, "label"));
            }
            _ => self.instruction(line, text),
        }
    }

    fn open(&mut self, text: &str) {
        let after =
            text.split(".entry").nth(1).or_else(|| text.split(".func").nth(1)).unwrap_or("");
        let after = after.trim();
        // A function may return parameters, listed before its name.
        let (returned, after) = match after.strip_prefix('(') {
            Some(rest) => rest.split_once(')').map_or(("", after), |(r, a)| (r, a.trim())),
            None => ("", after),
        };
        let name: String = after.chars().take_while(|c| !" ({\t".contains(*c)).collect();
        let listed =
            after.split_once('(').map_or("", |(_, list)| list.split(')').next().unwrap_or(""));
        let names = |list: &str| -> Vec<String> {
            list.split(',')
                .filter_map(|p| p.split_whitespace().last())
                .map(|p| p.split('[').next().unwrap_or(p).to_owned())
                .collect()
        };
        self.registers.clear();
        self.labels.clear();
        self.line = None;
        self.parameters = names(listed);
        // Parameters take the first numbers, results the next: see `Ptx::results`.
        if text.contains(".func") {
            for (n, parameter) in self.parameters.clone().into_iter().enumerate().take(PARAMETERS) {
                self.registers.insert(parameter, n as Reg);
            }
            for (n, result) in names(returned).into_iter().enumerate().take(RESULTS.len()) {
                self.registers.insert(result, RESULTS[n]);
            }
        }
        let exported = text.contains(".entry") || text.contains(".visible");
        let code = Vec::new();
        self.routines.push(Routine { name, exported, callback: false, listed: false, code });
        (self.inside, self.depth) = (true, 1);
    }

    /// Resolves the labels of branches.
    fn close(&mut self) {
        self.inside = false;
        let labels = std::mem::take(&mut self.labels);
        let Some(routine) = self.routines.last_mut() else { return };
        for instruction in &mut routine.code {
            let label = instruction.name.split_once(" to ").map(|(_, l)| l.to_owned());
            if let Some(label) = label {
                let to = labels.get(&label).copied();
                instruction.control = match (&instruction.control, to) {
                    (Control::Branch(_), Some(to)) => Control::Branch(to),
                    (Control::Jump(_), Some(to)) => Control::Jump(to),
                    _ => Control::Indirect,
                };
            }
        }
        routine
            .code
            .push(Instruction { control: Control::Return, ..Instruction::new(u64::MAX, "end") });
    }

    /// Calls of functions that have no body here lead outside.
    fn outside(&mut self) {
        let own: HashSet<String> = self.routines.iter().map(|r| r.name.clone()).collect();
        for instruction in self.routines.iter_mut().flat_map(|r| &mut r.code) {
            if let Control::Call(Callee::Named(name, ..)) = &instruction.control
                && !own.contains(name)
            {
                instruction.control = Control::Call(Callee::External(name.clone()));
            }
        }
    }

    fn push(&mut self, instruction: Instruction) {
        if let Some(line) = &self.line {
            self.lines.insert(instruction.place, line.clone());
        }
        if let Some(routine) = self.routines.last_mut() {
            routine.code.push(instruction);
        }
    }

    fn register(&mut self, name: &str) -> Reg {
        let next = FIRST + self.registers.len() as Reg;
        *self.registers.entry(name.to_owned()).or_insert(next)
    }

    fn instruction(&mut self, line: u64, text: &str) {
        let taken = self
            .routines
            .last()
            .map_or(0, |r| r.code.iter().rev().take_while(|c| c.place >> 8 == line).count() as u64);
        let (guard, text) = match text.strip_prefix('@') {
            Some(rest) => rest
                .split_once(char::is_whitespace)
                .map_or((None, rest), |(g, t)| (Some(g), t.trim())),
            None => (None, text),
        };
        let (opcode, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let mut c = Instruction::new(line << 8 | taken.min(255), opcode);
        if let Some(guard) = guard {
            let guard = self.register(guard.trim_start_matches('!'));
            c.reads.push((guard, Role::Condition));
        }
        match action(opcode) {
            Some(action) => c.action = action,
            None => {
                let function = self.routines.last().map_or(String::new(), |r| r.name.clone());
                self.unknown.push(Finding {
                    kind: Kind::Unknown,
                    function,
                    what: opcode.into(),
                    place: format!("line {line}"),
                    source: self.line.clone(),
                    reason: None,
                });
            }
        }
        match opcode.split('.').next().unwrap_or_default() {
            "bra" => {
                let label = rest.trim();
                c.name = format!("bra to {label}");
                c.control = if guard.is_some() { Control::Branch(0) } else { Control::Jump(0) };
            }
            "brx" => c.control = Control::Indirect,
            "ret" | "exit" if guard.is_none() => c.control = Control::Return,
            "trap" if guard.is_none() => c.control = Control::Stop,
            "call" => self.call(&mut c, rest),
            "bar" | "barrier" | "membar" | "fence" | "ret" | "exit" | "trap" => {}
            _ => self.operands(&mut c, opcode, rest, guard.is_some()),
        }
        self.push(c);
    }

    /// Registers and named memory among the parts of an operand.
    fn parts(&mut self, text: &str) -> Vec<Reg> {
        let names: Vec<&str> = text
            .split(|c: char| !(c.is_alphanumeric() || "_$%.".contains(c)))
            .map(|w| w.trim_end_matches(['.']))
            .filter(|w| w.starts_with('%'))
            .map(|w| w.split('.').next().unwrap_or(w))
            .filter(|w| !is_special(w))
            .collect();
        names.into_iter().map(|n| self.register(n)).collect()
    }

    fn operands(&mut self, c: &mut Instruction, opcode: &str, rest: &str, guarded: bool) {
        let list = split(rest);
        let words: Vec<&str> = opcode.split('.').collect();
        let first = words[0];
        let space_is_parameter = words.contains(&"param");
        if matches!(first, "st" | "red" | "sust" | "stmatrix")
            || opcode.starts_with("wmma.store")
            || opcode.starts_with("cp.")
        {
            let named = list.first().map(|a| {
                a.trim_matches(['[', ']']).split('+').next().unwrap_or("").trim().to_owned()
            });
            for part in list.iter().skip(1).flat_map(|o| self.parts(o)).collect::<Vec<_>>() {
                c.reads.push((part, if space_is_parameter { Role::Value } else { STORED }));
            }
            let address = list.first().map(|a| self.parts(a)).unwrap_or_default();
            c.reads.extend(address.into_iter().map(|r| (r, Role::Address)));
            if let (true, Some(name)) = (space_is_parameter, named) {
                let slot = self.register(&name);
                c.keeps.push(slot);
            }
            return;
        }
        let role = self.role(first, opcode);
        let written = list.first().map(|o| self.parts(o)).unwrap_or_default();
        if guarded {
            c.keeps.extend(written)
        } else {
            c.writes.extend(written)
        }
        for (n, operand) in list.iter().enumerate().skip(1) {
            if operand.starts_with('[') {
                self.address(c, operand, space_is_parameter);
                continue;
            }
            let decides = match first {
                "selp" | "slct" => n == 3,
                "shfl" => n > 1,
                _ => false,
            };
            let factor = matches!(c.action, Action::Data(_))
                || c.action == Action::Integer
                    && n <= 2
                    && !(matches!(first, "div" | "rem") && n == 1);
            let role = match () {
                _ if decides => Role::Condition,
                _ if matches!(first, "div" | "rem") && n == 1 => Role::Dividend,
                _ if factor => Role::Factor,
                _ => role,
            };
            let parts = self.parts(operand);
            if parts.is_empty()
                && factor
                && let Some(value) = immediate(operand)
            {
                c.constants.push((value, role));
            }
            c.reads.extend(parts.into_iter().map(|r| (r, role)));
        }
        if first == "mov"
            && let Some(value) = list.get(1).and_then(|o| immediate(o))
        {
            c.source = Source::Constant(value);
        }
        if first == "mov" && list.get(1).is_some_and(|o| is_position(o)) {
            c.source = Source::Position;
        }
    }

    fn role(&self, first: &str, opcode: &str) -> Role {
        let words: Vec<&str> = opcode.split('.').collect();
        let float = |w: &&str| w.starts_with('f') || w.starts_with("bf") || w.starts_with("tf");
        match first {
            "setp" | "set" | "testp" | "vset" | "vote" | "match" => Role::Condition,
            "atom" => STORED,
            "cvt" => {
                let types: Vec<&&str> = words
                    .iter()
                    .filter(|w| {
                        let digits = w.trim_start_matches(|c: char| c.is_ascii_alphabetic());
                        !digits.is_empty()
                            && digits.chars().next().is_some_and(|c| c.is_ascii_digit())
                            && !w.starts_with('r')
                    })
                    .collect();
                match types[..] {
                    [to, from] if float(to) && !float(from) => {
                        Role::Sink("is converted to a float")
                    }
                    _ => Role::Value,
                }
            }
            _ => Role::Value,
        }
    }

    /// A place that is read.
    fn address(&mut self, c: &mut Instruction, operand: &str, parameter: bool) {
        let registers = self.parts(operand);
        c.reads.extend(registers.iter().map(|r| (*r, Role::Address)));
        let name =
            operand.trim_matches(['[', ']']).split('+').next().unwrap_or("").trim().to_owned();
        if parameter && registers.is_empty() {
            // Parameters of kernels are sizes and addresses; of functions, what callers pass.
            let slot = self.register(&name);
            c.reads.push((slot, Role::Value));
        } else {
            c.source = Source::Data;
        }
    }

    fn call(&mut self, c: &mut Instruction, rest: &str) {
        let list = split(rest);
        let grouped = |o: &str| -> Vec<String> {
            o.trim_matches(['(', ')'])
                .split(',')
                .map(|p| p.trim().to_owned())
                .filter(|p| !p.is_empty())
                .collect()
        };
        let mut at = list.iter().peekable();
        let results = match at.peek() {
            Some(o) if o.starts_with('(') => at.next().map(|o| grouped(o)).unwrap_or_default(),
            _ => Vec::new(),
        };
        let name = at.next().cloned().unwrap_or_default();
        let arguments = at.next().map(|o| grouped(o)).unwrap_or_default();
        if name.starts_with('%') {
            c.control = Control::Call(Callee::Unknown);
            return;
        }
        let arguments: Vec<Reg> = arguments.iter().map(|a| self.register(a)).collect();
        let results: Vec<Reg> = results.iter().map(|r| self.register(r)).collect();
        c.control = Control::Call(Callee::Named(name, arguments, results));
    }
}

const PARAMETERS: usize = 64;
const RESULTS: &[Reg] = &[64, 65, 66, 67];
const FIRST: Reg = 128;

/// Calls name their operands.
struct Ptx {
    lines: HashMap<u64, String>,
}

impl Convention for Ptx {
    fn results(&self) -> &[Reg] {
        RESULTS
    }

    fn argument(&self, _: usize, _: u64, _: Reg) -> Option<Reg> {
        None
    }

    fn external(&self, name: &str) -> Option<Vec<(Reg, Role)>> {
        calls::known(name).map(|_| Vec::new())
    }

    fn line(&self, place: u64) -> Option<String> {
        self.lines.get(&place).cloned()
    }

    fn place(&self, place: u64) -> String {
        format!("line {}", place >> 8)
    }
}
