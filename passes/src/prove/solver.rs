//! Satisfiability solvers as programs that read SMT-LIB from a file.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A solver and how it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solver {
    /// Z3.
    Z3,
    /// cvc5.
    Cvc5,
}

/// What a solver said of a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing satisfies it.
    Unsatisfiable,
    /// These values of the variables asked for do.
    Satisfiable(Vec<u64>),
    /// It did not decide within the time.
    Unknown,
}

impl Solver {
    /// In the order in which they are asked.
    pub const ALL: [Solver; 2] = [Solver::Z3, Solver::Cvc5];

    /// The program.
    pub fn name(self) -> &'static str {
        match self {
            Solver::Z3 => "z3",
            Solver::Cvc5 => "cvc5",
        }
    }

    /// Ask whether a problem can be satisfied: SMT-LIB declarations and assertions in `text`, and the
    /// names of the bit-vectors whose values are wanted.
    ///
    /// # Errors
    /// If the solver cannot be run or rejects the problem.
    pub fn ask(self, text: &str, wanted: &[String], limit: Duration) -> io::Result<Answer> {
        let values = match wanted {
            [] => String::new(),
            names => format!("(get-value ({}))\n", names.join(" ")),
        };
        let logic = if text.contains("(declare-fun") { "ALL" } else { "QF_BVFP" };
        let head = format!("(set-option :produce-models true)\n(set-logic {logic})\n");
        let script = format!("{head}{text}(check-sat)\n{values}");
        let mut command = Command::new(self.name());
        match self {
            Solver::Z3 => command.args(["-in", &format!("-T:{}", limit.as_secs().max(1))]),
            Solver::Cvc5 => {
                command.args(["--lang=smt2", &format!("--tlimit={}", limit.as_millis())])
            }
        };
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut input = child.stdin.take();
        let written = input.as_mut().map_or(Ok(()), |i| i.write_all(script.as_bytes()));
        drop(input);
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let problem = || {
            let errors = String::from_utf8_lossy(&output.stderr);
            io::Error::other(format!("{} said: {} {}", self.name(), said.trim(), errors.trim()))
        };
        match said.lines().next().map(str::trim) {
            Some("unsat") => Ok(Answer::Unsatisfiable),
            Some("sat") => values_of(&said, wanted).map(Answer::Satisfiable).ok_or_else(problem),
            Some("unknown" | "timeout") => Ok(Answer::Unknown),
            // cvc5 says it on the other stream, or is ended by a signal.
            None => Ok(Answer::Unknown),
            Some(line) if line.contains("interrupted by timeout") => Ok(Answer::Unknown),
            _ => written.and(Err(problem())),
        }
    }
}

/// Values of bit-vectors and truth values in an answer such as `((x #x0001) (y #b01) (z true))`.
fn values_of(said: &str, wanted: &[String]) -> Option<Vec<u64>> {
    let value = |name: &String| {
        let at = said.find(&format!("({name} "))? + name.len() + 2;
        let text: String = said[at..].chars().take_while(|c| *c != ')').collect();
        let text = text.trim().trim_start_matches('(');
        if let Some(digits) = text.strip_prefix("#x") {
            u64::from_str_radix(digits, 16).ok()
        } else if let Some(digits) = text.strip_prefix("#b") {
            u64::from_str_radix(digits, 2).ok()
        } else if let "true" | "false" = text {
            Some(u64::from(text == "true"))
        } else {
            text.strip_prefix("_ bv")?.split(' ').next()?.parse().ok()
        }
    };
    wanted.iter().map(value).collect()
}

/// The answers of the solvers in turn until one decides: who it was, what it said, and the seconds.
///
/// # Errors
/// If one cannot be run or rejects the problem.
pub fn decide(
    text: &str,
    wanted: &[String],
    limit: Duration,
) -> io::Result<(Option<Solver>, Answer, f64)> {
    let start = Instant::now();
    // A short try of each first: what one finds hard the other often does not.
    for share in [10, 1] {
        for solver in Solver::ALL {
            let answer = solver.ask(text, wanted, limit / share)?;
            if answer != Answer::Unknown {
                return Ok((Some(solver), answer, start.elapsed().as_secs_f64()));
            }
        }
    }
    Ok((None, Answer::Unknown, start.elapsed().as_secs_f64()))
}
