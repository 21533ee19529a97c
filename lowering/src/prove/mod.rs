//! Proofs that emitted code computes what the reference does.
//!
//! The MLIR that [`scalar::emit`](crate::emit::scalar::emit) writes for a primitive is translated,
//! operation by operation, into SMT-LIB, beside the primitive's one definition
//! ([`pamc_passes::semantics`]) on symbols; a solver looks for operands on which they differ.

mod smt;
#[cfg(test)]
mod tests;

use std::io;
use std::time::Duration;

use pamc_passes::ir::Attrs;
use pamc_passes::ops::Prim;
use pamc_passes::prove::solver::{Answer, decide};
use pamc_passes::prove::term::{Arena, Fact, Sym};
use pamc_passes::prove::{Obligation, Status};
use pamc_passes::reference;
use pamc_passes::semantics::{Format, Int};

use crate::Error;
use crate::codegen::with_module;
use crate::emit::{Builder, Elem, VecTy, scalar};

const F: Format = Format::F32;

/// A primitive of floats as it is emitted.
#[derive(Clone, Debug)]
struct Case {
    name: String,
    prim: Prim,
    attrs: Attrs,
    operands: usize,
}

fn terms(terms: &[(bool, i32)]) -> Attrs {
    let negative: Vec<i64> = terms.iter().map(|t| i64::from(t.0)).collect();
    let exponents: Vec<i64> = terms.iter().map(|t| i64::from(t.1)).collect();
    Attrs::none().with("negative", negative).with("exponents", exponents)
}

/// Exponents that take each way through the emission of `pam.scale2`.
const EXPONENTS: [i64; 11] = [-600, -254, -253, -126, -23, -1, 0, 1, 127, 254, 600];

/// Every primitive whose operands are floats and which is more than one operation of MLIR, and those
/// of one operation whose meaning there could differ.
fn cases() -> Vec<Case> {
    use Prim::*;
    let mut out = Vec::new();
    for op in pamc_passes::ops::all() {
        let Some(prim) = op.prim() else { continue };
        let operands = op.arity().0;
        let mut push = |suffix: String, attrs: Attrs| {
            out.push(Case { name: format!("{}{suffix}", op.name), prim, attrs, operands });
        };
        match prim {
            Neg | Abs | PamExp2 | PamLog2 | PamSqrt | Exp2Slope | Log2Slope | SqrtSlope | Add
            | Sub | Min | Max | PamMul | PamDiv | MulSlope | DivSlopeA | DivSlopeB | Eq | Ne
            | Lt | Le | Gt | Ge => push(String::new(), Attrs::none()),
            Scale2 => {
                EXPONENTS.iter().for_each(|&k| push(format!(" {k}"), Attrs::none().with("k", k)));
            }
            ShiftSum => {
                push(" log2e".into(), terms(reference::LOG2E_TERMS));
                push(" ln2".into(), terms(reference::LN2_TERMS));
            }
            _ => {}
        }
    }
    out
}

/// A function of the case's operands that returns its result.
fn module(case: &Case) -> Result<String, Error> {
    let mut b = Builder::new();
    let f32 = VecTy::scalar(Elem::F32);
    let x: Vec<_> = (0..case.operands).map(|_| b.fresh(f32)).collect();
    let parameters: Vec<_> = x.iter().map(|x| format!("{x}: f32")).collect();
    let compares = is_comparison(case.prim);
    let to = if compares { Elem::I1 } else { Elem::F32 };
    let header = format!("func.func @f({}) -> {}", parameters.join(", "), to.name());
    let done = b.region(header, |b| {
        let y = scalar::emit(b, case.prim, &case.attrs, &x, Elem::F32)?;
        b.line(format_args!("return {y} : {}", y.ty));
        Some(())
    });
    done.ok_or_else(|| Error::Untranslatable(format!("{} is not emitted", case.name)))?;
    Ok(b.finish())
}

fn is_comparison(prim: Prim) -> bool {
    matches!(prim, Prim::Eq | Prim::Ne | Prim::Lt | Prim::Le | Prim::Gt | Prim::Ge)
}

/// What the reference gives.
enum Want<'a> {
    Float(Sym<'a>),
    Truth(Fact<'a>),
}

fn reference_of<'a>(case: &Case, x: &[Sym<'a>]) -> Option<Want<'a>> {
    if is_comparison(case.prim) {
        let (ka, kb) = (F.key(x[0]), F.key(x[1]));
        let ordered = !(F.is_nan(x[0]) | F.is_nan(x[1]));
        return Some(Want::Truth(match case.prim {
            Prim::Eq => ordered & ka.eq(kb),
            Prim::Ne => !(ordered & ka.eq(kb)),
            Prim::Lt => ordered & ka.lt(kb),
            Prim::Le => ordered & !kb.lt(ka),
            Prim::Gt => ordered & kb.lt(ka),
            _ => ordered & !ka.lt(kb),
        }));
    }
    Some(Want::Float(match case.prim {
        Prim::Scale2 => F.scale2(x[0], F.clamped_shift(Sym::from(case.attrs.int("k")))),
        Prim::ShiftSum => {
            let exponents = case.attrs.ints("exponents").iter();
            let terms = case.attrs.ints("negative").iter().zip(exponents);
            F.shift_sum(x[0], &terms.map(|(&n, &k)| (n != 0, k as i32)).collect::<Vec<_>>())
        }
        _ => match x {
            [x] => Sym::unary(F, case.prim, *x)?,
            [a, b] => Sym::binary(F, case.prim, *a, *b)?,
            _ => return None,
        },
    }))
}

/// The problem that operands on which the emitted text and the reference differ satisfy.
fn export(case: &Case, text: &str) -> Result<String, Error> {
    let emitted = with_module(text, smt::translate)??;
    let bad = || Error::Untranslatable(format!("{} has no reference", case.name));
    let arena = Arena::new(F, F.bits() + 2).with_sums(smt::PLUS);
    let x: Vec<_> = (0..case.operands).map(|i| arena.variable(&format!("w{i}"))).collect();
    let normal = x.iter().map(|x| F.flush(*x).eq(*x)).fold(Fact::Known(true), |a, b| a & b);
    let want = reference_of(case, &x).ok_or_else(bad)?;
    let got = emitted.results.first().ok_or_else(bad)?;
    let name = arena.variable("got");
    let (link, same) = match want {
        Want::Float(y) => {
            let same = name.eq(y) | (F.is_nan(name) & F.is_nan(y));
            (format!("((_ zero_extend 2) {got})"), same)
        }
        Want::Truth(y) => {
            let holds = name.eq(1.into());
            (format!("(ite {got} (_ bv1 34) (_ bv0 34))"), (holds & y) | (!holds & !y))
        }
    };
    let mut out = emitted.text + &arena.text();
    for i in 0..case.operands {
        out += &format!("(assert (= w{i} ((_ zero_extend 2) x{i})))\n");
    }
    out += &format!("(assert (= got {link}))\n");
    out += &format!("(assert {})\n(assert {})\n", arena.name(normal), arena.name(!same));
    Ok(out)
}

fn solve(case: &Case, text: &str, limit: Duration) -> io::Result<Status> {
    let problem = export(case, text).map_err(io::Error::other)?;
    let names: Vec<_> = (0..case.operands).map(|i| format!("x{i}")).collect();
    let (solver, answer, _) = decide(&problem, &names, limit)?;
    Ok(match (solver, answer) {
        (Some(solver), Answer::Unsatisfiable) => Status::Proven(solver),
        (_, Answer::Satisfiable(at)) => {
            let at: Vec<_> = at.iter().map(|x| format!("{x:#010x}")).collect();
            Status::Refuted(format!(
                "{} differs from the reference at {}",
                case.name,
                at.join(", ")
            ))
        }
        _ => Status::TimedOut,
    })
}

/// What has to be proven of emitted code: each primitive on all floats, or pairs of them.
///
/// # Errors
/// If a primitive is not emitted.
pub fn obligations() -> Result<Vec<Obligation<'static>>, Error> {
    let obligation = |case: Case| {
        let text = module(&case)?;
        Ok(Obligation {
            kind: "primitive",
            subject: case.name.clone(),
            domain: "f32".into(),
            wide: false,
            work: Box::new(move |limit| solve(&case, &text, limit)),
        })
    };
    cases().into_iter().map(obligation).collect()
}
