//! What has to be proven of the bit-exact rules.

use std::io;
use std::time::Duration;

use egg::Var;

use super::exhaust::{FEW, Outcome, PAIRS, count, exhaust};
use super::problem::{Class, Problem};
use super::solver::{Answer, decide};
use super::term::{Arena, Fact, Sym};
use super::{Obligation, Status};
use crate::rules::{Refused, Rule};
use crate::semantics::{Format, Int};

/// Where a rule is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Domain {
    Float(Format),
    Integer(u32),
}

impl Domain {
    fn name(self) -> String {
        match self {
            Domain::Float(f) => f.name().into(),
            Domain::Integer(bits) => format!("i{bits}"),
        }
    }

    fn format(self) -> Option<Format> {
        match self {
            Domain::Float(f) => Some(f),
            Domain::Integer(_) => None,
        }
    }
}

/// Tries all values of a problem's variables in a format.
pub type Exhaust = fn(&Problem<'_>, Format) -> io::Result<Outcome>;

/// What has to be proven of every bit-exact rule; `pairs` as for [`of_rule`].
///
/// # Errors
/// If the table holds a rule that is refused.
pub fn obligations(pairs: Option<Exhaust>) -> Result<Vec<Obligation<'static>>, Refused> {
    let rules = crate::rules::bit_exact()?.rules();
    let all: Vec<_> = rules.iter().map(|r| of_rule(r, pairs)).collect::<Result<_, _>>()?;
    Ok(all.into_iter().flatten().collect())
}

/// What has to be proven of one rule: float32 by a solver; every value of the 16-bit formats, or where
/// a rule has more variables a solver there too and every tuple of an 8-bit format, with `pairs`, which
/// must be fast, also all pairs of 16-bit values; integers by a solver where the rule applies to them. A
/// rule about layout on every small shape.
///
/// # Errors
/// If an example of it does not parse.
pub fn of_rule(rule: &Rule, pairs: Option<Exhaust>) -> Result<Vec<Obligation<'_>>, Refused> {
    let problems = Problem::of(rule)?;
    if problems.is_empty() {
        return Ok(vec![layout(rule)]);
    }
    let mut out = Vec::new();
    for problem in &problems {
        let by_solver = |f| solved(problem.clone(), Domain::Float(f));
        out.push(by_solver(Format::F32));
        for f in [Format::F16, Format::BF16] {
            let n = count(problem, f);
            if n <= FEW {
                out.push(tried(problem.clone(), f, |p, f| Ok(exhaust(p, f))));
                continue;
            }
            out.push(by_solver(f));
            if let Some(pairs) = pairs.filter(|_| n <= PAIRS) {
                out.push(tried(problem.clone(), f, pairs));
            }
        }
        if count(problem, Format::BF16) > FEW {
            out.push(tried(problem.clone(), Format::F8, |p, f| Ok(exhaust(p, f))));
        }
        if let Some(problem) = problem.on_integers() {
            out.extend([32, 64].map(|bits| solved(problem.clone(), Domain::Integer(bits))));
        }
    }
    Ok(out)
}

/// A rule about more than scalars.
fn layout(rule: &Rule) -> Obligation<'_> {
    let work = |_| {
        Ok(match rule.check_shapes() {
            Ok(n) => Status::Exhaustive(n as u64),
            Err(refused) => Status::Refuted(refused.to_string()),
        })
    };
    let subject = rule.spec().name.to_string();
    Obligation { kind: "rule", subject, domain: "shapes".into(), wide: false, work: Box::new(work) }
}

fn solved(problem: Problem<'_>, domain: Domain) -> Obligation<'_> {
    let subject = problem.rule.spec().name.to_string();
    Obligation {
        kind: "rule",
        subject,
        domain: domain.name(),
        wide: false,
        work: Box::new(move |limit| solve(&problem, domain, limit)),
    }
}

fn tried(problem: Problem<'_>, f: Format, exhaust: Exhaust) -> Obligation<'_> {
    let subject = problem.rule.spec().name.to_string();
    let work = move |_| {
        Ok(match exhaust(&problem, f)? {
            Outcome::Holds(0) => Status::Refuted("its guards let nothing through".into()),
            Outcome::Holds(n) => Status::Exhaustive(n),
            Outcome::Fails(at) => Status::Refuted(describe(&problem, f.bits(), &at)),
        })
    };
    Obligation { kind: "rule", subject, domain: f.name().into(), wide: true, work: Box::new(work) }
}

/// The problem as SMT-LIB, satisfied by counterexamples alone, and the names of its variables.
pub(super) fn export(problem: &Problem<'_>, domain: Domain) -> (String, Vec<String>) {
    let (format, width) = match domain {
        Domain::Float(f) => (f, f.bits() + 2),
        Domain::Integer(bits) => (Format::F32, bits),
    };
    let arena = Arena::new(format, width);
    let name = |v: Var| v.to_string().replace('?', "v_");
    let variables: Vec<_> =
        problem.variables.iter().map(|&(v, class)| (v, class, arena.variable(&name(v)))).collect();
    let value = |v: Var| variables.iter().find(|(w, ..)| *w == v).map(|(.., x)| *x);
    let mut wanted: Vec<_> =
        variables.iter().map(|&(_, class, x)| variable_fact(domain, class, x)).collect();
    wanted.extend(problem.promises(format, value));
    let agrees = problem.agrees(domain.format(), |v| value(v).unwrap_or(0.into()));
    wanted.extend(agrees.map(|fact| !fact));
    let asserted: String =
        wanted.iter().map(|fact| format!("(assert {})\n", arena.name(*fact))).collect();
    let names = problem.variables.iter().map(|&(v, _)| name(v)).collect();
    (arena.text() + &asserted, names)
}

/// What a variable is known to be: for a float, a pattern of its format that is not subnormal.
fn variable_fact<'a>(domain: Domain, class: Class, x: Sym<'a>) -> Fact<'a> {
    let format = match (domain, class) {
        (Domain::Float(f), _) => f,
        (Domain::Integer(_), Class::Truth) => Format::F32,
        (Domain::Integer(_), _) => return Fact::Known(true),
    };
    let fact = Problem::admissible(format, class, x);
    match class {
        Class::Float => fact & !x.lt(Sym::from(0)) & x.lt(Sym::from(2 * format.sign_bit())),
        _ => fact,
    }
}

fn solve(problem: &Problem<'_>, domain: Domain, limit: Duration) -> io::Result<Status> {
    let (text, names) = export(problem, domain);
    let (solver, answer, _) = decide(&text, &names, limit)?;
    Ok(match (solver, answer) {
        (Some(solver), Answer::Unsatisfiable) => Status::Proven(solver),
        (_, Answer::Satisfiable(values)) => {
            let at: Vec<i64> = values.iter().map(|&x| x as i64).collect();
            let bits = match domain {
                Domain::Float(f) => f.bits(),
                Domain::Integer(bits) => bits,
            };
            let at = match domain {
                Domain::Float(Format::F32) => confirm(problem, &at),
                _ => Err(describe(problem, bits, &at)),
            };
            Status::Refuted(at.unwrap_or_else(|at| at))
        }
        _ => Status::TimedOut,
    })
}

/// The interpreter's word on a counterexample in float32.
fn confirm(problem: &Problem<'_>, at: &[i64]) -> Result<String, String> {
    let described = describe(problem, 32, at);
    let values = problem.variables.iter().zip(at).map(|(&(v, class), &x)| (v, class, x)).collect();
    match problem.rule.differs_at(values) {
        Some(refused) => Ok(refused.to_string()),
        None => Err(format!("{described}, which the interpreter does not confirm")),
    }
}

fn describe(problem: &Problem<'_>, bits: u32, at: &[i64]) -> String {
    let digits = bits as usize / 4;
    let one = |(&(v, class), x): (&(Var, Class), &i64)| match class {
        Class::Float | Class::Integer => format!("{v} = {x:#0width$x}", width = digits + 2),
        _ => format!("{v} = {x}"),
    };
    let values: Vec<_> = problem.variables.iter().zip(at).map(one).collect();
    format!(
        "{} and {} differ at {}",
        problem.rule.spec().lhs,
        problem.rule.spec().rhs,
        values.join(", ")
    )
}
