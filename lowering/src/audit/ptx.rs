//! PTX: text of NVIDIA's virtual machine.

use super::{
    Finding, Kind, Nodes, Report, calls,
    flow::{Action, Flow, Role, Source},
    machine::{self, Callee, Control, Convention, Instruction, Reg, Routine},
};
use std::collections::{HashMap, HashSet};

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

/// Statements with their lines: split at semicolons, labels and braces, without comments.
fn statements(text: &str) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    let (mut current, mut start, mut braces) = (String::new(), 1, 0);
    let mut block_comment = false;
    for (n, line) in text.lines().enumerate() {
        let n = n as u64 + 1;
        let mut rest = line;
        if block_comment {
            let Some((_, after)) = rest.split_once("*/") else { continue };
            (rest, block_comment) = (after, false);
        }
        let code = rest.split("//").next().unwrap_or_default();
        let code = match code.split_once("/*") {
            Some((before, after)) => {
                block_comment = !after.contains("*/");
                before
            }
            None => code,
        };
        for c in code.chars() {
            if current.trim().is_empty() {
                start = n;
            }
            // Braces within an instruction hold vectors; others open and close bodies.
            let opens_body = c == '{'
                && (current.trim().is_empty()
                    || current.trim_end().ends_with(')') && current.trim_start().starts_with('.'));
            let named = current.trim_start().starts_with('.');
            match c {
                '{' if opens_body || (named && !current.contains('=')) && braces == 0 => {
                    out.push((start, format!("{} {{", current.trim())));
                    current.clear();
                }
                '}' if current.trim().is_empty() && braces == 0 => out.push((n, "}".into())),
                ';' => {
                    out.push((start, current.trim().to_owned()));
                    current.clear();
                    braces = 0;
                }
                ':' if current.trim_start().starts_with('$') || is_label(&current) => {
                    out.push((start, format!("{}:", current.trim())));
                    current.clear();
                }
                _ => {
                    braces += i32::from(c == '{') - i32::from(c == '}');
                    current.push(c);
                }
            }
        }
        let directive = current.trim_start();
        if [".version", ".target", ".address_size", ".loc", ".file"]
            .iter()
            .any(|d| directive.starts_with(d))
        {
            out.push((start, current.trim().to_owned()));
            current.clear();
        } else {
            current.push(' ');
        }
    }
    out
}

fn is_label(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty()
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_alphanumeric() || "_$%".contains(c))
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

/// Instructions that compute no product, by the first word of their name.
const NEUTRAL: &[&str] = &[
    "abs",
    "activemask",
    "add",
    "addc",
    "alloca",
    "and",
    "applypriority",
    "atom",
    "bar",
    "barrier",
    "bfe",
    "bfi",
    "bfind",
    "bmsk",
    "bra",
    "brev",
    "brkpt",
    "brx",
    "call",
    "clz",
    "cnot",
    "copysign",
    "cp",
    "createpolicy",
    "cvt",
    "cvta",
    "discard",
    "elect",
    "exit",
    "fence",
    "fns",
    "getctarank",
    "griddepcontrol",
    "isspacep",
    "istypep",
    "ld",
    "ldmatrix",
    "ldu",
    "lop3",
    "mapa",
    "match",
    "max",
    "mbarrier",
    "membar",
    "min",
    "mov",
    "movmatrix",
    "multimem",
    "nanosleep",
    "neg",
    "not",
    "or",
    "pmevent",
    "popc",
    "prefetch",
    "prefetchu",
    "prmt",
    "red",
    "redux",
    "ret",
    "sad",
    "selp",
    "set",
    "setmaxnreg",
    "setp",
    "shf",
    "shfl",
    "shl",
    "shr",
    "slct",
    "st",
    "stackrestore",
    "stacksave",
    "stmatrix",
    "sub",
    "subc",
    "suld",
    "suq",
    "sust",
    "sured",
    "szext",
    "testp",
    "tex",
    "tld4",
    "trap",
    "txq",
    "vabsdiff",
    "vadd",
    "vmax",
    "vmin",
    "vote",
    "vset",
    "vshl",
    "vshr",
    "vsub",
    "xor",
];

/// What an instruction is; `None` if it is not known.
fn action(opcode: &str) -> Option<Action> {
    let mut words = opcode.split('.');
    let first = words.next().unwrap_or_default();
    let float = opcode.split('.').any(|w| {
        matches!(
            w,
            "f16"
                | "f16x2"
                | "bf16"
                | "bf16x2"
                | "f32"
                | "f32x2"
                | "f64"
                | "tf32"
                | "e4m3"
                | "e5m2"
        )
    });
    let data = |kind| Some(Action::Data(kind));
    match first {
        "mul" | "mul24" | "mad" | "mad24" | "madc" if !float => Some(Action::Integer),
        "div" | "rem" if !float => Some(Action::Integer),
        "mul" => data(Kind::Multiply),
        "div" | "rem" => data(Kind::Divide),
        "fma" | "mad" => data(Kind::FusedMultiplyAdd),
        "sqrt" => data(Kind::SquareRoot),
        "rcp" | "rsqrt" => data(Kind::Approximation),
        "sin" | "cos" | "lg2" | "ex2" | "tanh" => data(Kind::Transcendental),
        "dp4a" | "dp2a" | "mma" | "wmma" | "wgmma" | "tcgen05" => {
            // Of the matrix instructions, some only move, wait or allocate.
            let moves = [
                "load",
                "store",
                "fence",
                "commit_group",
                "wait_group",
                "ld",
                "st",
                "alloc",
                "dealloc",
                "wait",
                "commit",
                "cp",
                "shift",
                "relinquish_alloc_permit",
            ];
            let second = words.next().unwrap_or_default();
            if moves.contains(&second) { Some(Action::None) } else { data(Kind::DotProduct) }
        }
        "vmad" => data(Kind::FusedMultiplyAdd),
        _ if NEUTRAL.iter().any(|n| {
            *n == first || (first.trim_end_matches(['2', '4']) == *n && first.starts_with('v'))
        }) =>
        {
            Some(Action::None)
        }
        _ => None,
    }
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

/// Registers that the machine sets: positions of threads, sizes of the launch.
fn is_special(name: &str) -> bool {
    const SPECIAL: &[&str] = &[
        "%tid",
        "%ntid",
        "%ctaid",
        "%nctaid",
        "%laneid",
        "%warpid",
        "%nwarpid",
        "%smid",
        "%nsmid",
        "%gridid",
        "%clusterid",
        "%nclusterid",
        "%cluster_ctaid",
        "%cluster_nctaid",
        "%cluster_ctarank",
        "%cluster_nctarank",
        "%is_explicit_cluster",
        "%lanemask_eq",
        "%lanemask_le",
        "%lanemask_lt",
        "%lanemask_ge",
        "%lanemask_gt",
        "%clock",
        "%clock_hi",
        "%clock64",
        "%envreg",
        "%globaltimer",
        "%total_smem_size",
        "%dynamic_smem_size",
        "%aggr_smem_size",
        "%current_graph_exec",
        "%warpsize",
    ];
    SPECIAL.contains(&name)
}

/// Splits operands at commas outside brackets.
fn split(text: &str) -> Vec<String> {
    let (mut depth, mut current, mut out) = (0, String::new(), Vec::new());
    for c in text.chars() {
        match c {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                out.push(std::mem::take(&mut current).trim().to_owned());
                continue;
            }
            '|' if depth == 0 => {
                current.push(' ');
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    if !current.trim().is_empty() {
        out.push(current.trim().to_owned());
    }
    out
}

/// A number as PTX writes it; floats are no whole numbers but constants all the same.
fn immediate(text: &str) -> Option<i128> {
    let text = text.trim();
    if text.starts_with("0f")
        || text.starts_with("0d")
        || text.starts_with("0F")
        || text.starts_with("0D")
    {
        // Of no integer multiply, and a constant that is no power of two for the others.
        return Some(3);
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |d| (true, d));
    let digits = digits.trim_end_matches('U');
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i128::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
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
