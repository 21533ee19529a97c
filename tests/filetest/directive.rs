//! The expectations in a file's comments.

use super::Failure;

/// A derivative as it is asked for: which, of what, where.
#[derive(Debug)]
pub struct Gradient {
    /// A derivative specification, such as `approx,loss=exact`.
    pub spec: String,
    /// Names of the inputs to differentiate for.
    pub wrt: Vec<String>,
    /// Text of each input's value.
    pub at: Vec<String>,
}

/// What one comment asks for.
#[derive(Debug)]
pub enum Kind {
    /// `arith: pam | paper | float`.
    Arith(String),
    /// `dim: NAME=SIZE`.
    Dim(String, usize),
    /// `tolerance: X`, absolute and relative, of f32 results.
    Tolerance(f32),
    /// `run: @name(inputs) == outputs`.
    Run {
        /// Name of the graph.
        graph: String,
        /// Text of each input's value.
        inputs: Vec<String>,
        /// Text of each output's value.
        outputs: Vec<String>,
    },
    /// `grad SPEC: %x at inputs == gradients`.
    Grad(Gradient, Vec<String>),
    /// `grad SPEC: %x at inputs fails: text`.
    GradFails(Gradient, String),
    /// `error: text`: the file is no program, with this in the message.
    Error(String),
    /// `lower:`, `expand:`, `simplify:`: the graph as printed after that pass.
    Printed {
        /// The pass.
        pass: String,
        /// The text.
        text: String,
    },
}

/// An expectation and where it stands.
#[derive(Debug)]
pub struct Directive {
    /// First line, from 1.
    pub line: usize,
    /// Number of lines.
    pub lines: usize,
    /// What it says.
    pub kind: Kind,
}

/// How the lines of a printed graph start in a file.
pub const INDENT: &str = ";     ";

/// All expectations of a file. A comment of the form `; word: …` or `; word word: …` with a known
/// first word is one; lines that start with five or more spaces after the `;` continue it.
pub fn read(text: &str) -> Result<Vec<Directive>, Failure> {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let start = at;
        at += 1;
        let Some((head, rest)) = directive(lines[start]) else { continue };
        while at < lines.len() && lines[at].starts_with(INDENT) {
            at += 1;
        }
        let fail = |message| Failure { line: start + 1, message };
        let kind = kind(head, rest, &lines[start + 1..at]).map_err(fail)?;
        out.push(Directive { line: start + 1, lines: at - start, kind });
    }
    Ok(out)
}

const WORDS: [&str; 9] =
    ["arith", "dim", "tolerance", "run", "grad", "error", "lower", "expand", "simplify"];

/// Head and rest of a line that starts an expectation.
fn directive(line: &str) -> Option<(&str, &str)> {
    let comment = line.strip_prefix("; ").filter(|c| !c.starts_with(' '))?;
    let (head, rest) = comment.split_once(':')?;
    let first = head.split(' ').next()?;
    WORDS.contains(&first).then_some((head.trim(), rest.trim()))
}

fn kind(head: &str, rest: &str, more: &[&str]) -> Result<Kind, String> {
    if matches!(head, "lower" | "expand" | "simplify") {
        let line = |l: &&str| format!("{}\n", &l[INDENT.len()..]);
        return Ok(Kind::Printed { pass: head.into(), text: more.iter().map(line).collect() });
    }
    let more = more.iter().map(|l| l[INDENT.len()..].trim());
    let whole = std::iter::once(rest).chain(more).collect::<Vec<_>>().join(" ");
    let number = |s: &str| format!("'{s}' is not a number");
    if let Some(spec) = head.strip_prefix("grad ") {
        return grad(spec, &whole);
    }
    match head {
        "arith" => Ok(Kind::Arith(whole)),
        "dim" => {
            let (name, size) = whole.split_once('=').ok_or("expected NAME=SIZE")?;
            Ok(Kind::Dim(name.into(), size.parse().map_err(|_| number(size))?))
        }
        "tolerance" => whole.parse().map(Kind::Tolerance).map_err(|_| number(&whole)),
        "run" => run(&whole),
        "error" if whole.is_empty() => Err("expected a message".into()),
        "error" => Ok(Kind::Error(whole)),
        other => Err(format!("'{other}:' is no expectation")),
    }
}

fn run(text: &str) -> Result<Kind, String> {
    let (call, outputs) = text.split_once("==").ok_or("expected '=='")?;
    let call = call.trim().strip_prefix('@').ok_or("expected '@'")?;
    let (graph, inputs) =
        call.strip_suffix(')').and_then(|c| c.split_once('(')).ok_or("expected '@name(inputs)'")?;
    Ok(Kind::Run { graph: graph.into(), inputs: values(inputs), outputs: values(outputs) })
}

fn grad(spec: &str, text: &str) -> Result<Kind, String> {
    let (names, rest) = text.split_once(" at ").ok_or("expected '%x at inputs'")?;
    let name = |n: &str| n.trim().strip_prefix('%').map(String::from).ok_or("expected '%'");
    let wrt = names.split(',').map(name).collect::<Result<_, _>>()?;
    let gradient = |at: &str| Gradient { spec: spec.trim().into(), wrt, at: values(at) };
    if let Some((at, message)) = rest.split_once(" fails: ") {
        return Ok(Kind::GradFails(gradient(at), message.into()));
    }
    let (at, expected) = rest.split_once("==").ok_or("expected '==' or 'fails:'")?;
    Ok(Kind::Grad(gradient(at), values(expected)))
}

/// The parts of a list, split at the commas outside of brackets.
pub fn values(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        depth += i32::from(c == '[') - i32::from(c == ']');
        match (c, depth, out.last_mut()) {
            (',', 0, _) => out.push(String::new()),
            (_, _, Some(last)) => last.push(c),
            _ => {}
        }
    }
    let trimmed = out.iter().map(|s| s.trim().to_string());
    trimmed.filter(|s| !s.is_empty()).collect()
}
