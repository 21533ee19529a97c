//! Elementwise primitives as they are emitted, in each form and for each sort of machine.

use pamc_passes::ir::{Attrs, DType, TensorType};
use pamc_passes::ops::{self, Op, Prim};
use pamc_passes::prove::Obligation;
use pamc_passes::prove::term::{Arena, Fact, Sym};
use pamc_passes::reference;
use pamc_passes::semantics::Int;

use super::smt;
use super::{F, Problem};
use crate::Error;
use crate::codegen::with_module;
use crate::emit::{Builder, Code, Elem, Factor, Value, VecTy, scalar};

/// How a primitive is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Of operands of which nothing is known.
    Plain,
    /// Of one operand, twice.
    Same,
    /// By what is worked out once of the second operand; with a promise that results are no larger.
    Factor { shrinks: bool },
}

/// A primitive as it is emitted.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub name: String,
    /// Name of the row.
    pub op: &'static str,
    pub prim: Prim,
    pub attrs: Attrs,
    pub from: Vec<DType>,
    pub to: DType,
    code: Code,
    form: Form,
}

fn terms(terms: &[(bool, i32)]) -> Attrs {
    let negative: Vec<i64> = terms.iter().map(|t| i64::from(t.0)).collect();
    let exponents: Vec<i64> = terms.iter().map(|t| i64::from(t.1)).collect();
    Attrs::none().with("negative", negative).with("exponents", exponents)
}

/// Exponents that take each way through the emission of `pam.scale2`.
const EXPONENTS: [i64; 11] = [-600, -254, -253, -126, -23, -1, 0, 1, 127, 254, 600];

/// Attributes to prove an op with, and what tells them apart.
fn attributes(prim: Prim) -> Vec<(String, Attrs)> {
    match prim {
        Prim::Scale2 => {
            let with = |k: &i64| (format!(" {k}"), Attrs::none().with("k", *k));
            EXPONENTS.iter().map(with).collect()
        }
        Prim::ShiftSum => vec![
            (" log2e".into(), terms(reference::LOG2E_TERMS)),
            (" ln2".into(), terms(reference::LN2_TERMS)),
        ],
        Prim::Cast | Prim::Bitcast => {
            let to = |t: &DType| (format!(" to {t}"), Attrs::none().with("to", *t));
            DType::ALL.iter().map(to).collect()
        }
        _ => vec![(String::new(), Attrs::none())],
    }
}

/// Every elementwise primitive of the op table but those of ordinary arithmetic, on all types it takes.
pub(super) fn plain() -> Vec<Case> {
    let mut out = Vec::new();
    for op in ops::all() {
        let Some(prim) = op.prim().filter(|p| p.is_elementwise() && !p.is_ordinary()) else {
            continue;
        };
        for (suffix, attrs) in attributes(prim) {
            for from in tuples(op.arity().0) {
                out.extend(case(op, prim, &suffix, &attrs, from));
            }
        }
    }
    out
}

/// All choices of so many types.
fn tuples(n: usize) -> Vec<Vec<DType>> {
    let longer = |all: Vec<Vec<DType>>, _| {
        let with = |t: &Vec<DType>| DType::ALL.map(|d| [&t[..], &[d]].concat());
        all.iter().flat_map(with).collect()
    };
    (0..n).fold(vec![Vec::new()], longer)
}

/// The case of operands of these types, if the op takes them.
fn case(
    op: &'static Op,
    prim: Prim,
    suffix: &str,
    attrs: &Attrs,
    from: Vec<DType>,
) -> Option<Case> {
    let types: Vec<TensorType> = from.iter().map(|d| TensorType::new(*d, [])).collect();
    let types: Vec<&TensorType> = types.iter().collect();
    let to = (op.shape)(&types, attrs).ok()?.dtype;
    let name = format!("{}{suffix}", op.name);
    let (attrs, form) = (attrs.clone(), Form::Plain);
    Some(Case { name, op: op.name, prim, attrs, from, to, code: Code::Cpu, form })
}

/// What has to be proven: the cases of [`plain`], other ways in which products are written, and what GPU
/// code has different.
fn cases() -> Result<Vec<Case>, Error> {
    let plain = plain();
    let mut out = Vec::new();
    for case in &plain {
        if case.prim == Prim::PamMul {
            let name = format!("{} x x", case.name);
            out.push(Case { name, from: vec![DType::F32], form: Form::Same, ..case.clone() });
        }
        if matches!(case.prim, Prim::PamMul | Prim::PamDiv) {
            for shrinks in [false, true] {
                let suffix = if shrinks { " by a small factor" } else { " by a factor" };
                let name = format!("{}{suffix}", case.name);
                out.push(Case { name, form: Form::Factor { shrinks }, ..case.clone() });
            }
        }
    }
    for case in plain.into_iter().chain(std::mem::take(&mut out)) {
        let text = case.text()?;
        for (code, suffix) in [(Code::Llvm, " (GPU)"), (Code::Spirv, " (SPIR-V)")] {
            let name = format!("{}{suffix}", case.name);
            let other = Case { name, code, ..case.clone() };
            // Factors are made on processors alone.
            if !matches!(case.form, Form::Factor { .. }) && other.text()? != text {
                out.push(other);
            }
        }
        out.push(case);
    }
    Ok(out)
}

impl Case {
    /// A function of the operands that returns the result.
    pub fn text(&self) -> Result<String, Error> {
        let mut b = Builder::of(self.code);
        let x: Vec<Value> =
            self.from.iter().map(|d| b.fresh(VecTy::scalar(Elem::from(*d)))).collect();
        let parameters: Vec<_> = x.iter().map(|x| format!("{x}: {}", x.ty)).collect();
        let to = Elem::from(self.to);
        let header = format!("func.func @f({}) -> {}", parameters.join(", "), to.name());
        let done = b.region(header, |b| {
            let y = self.emit(b, &x, to)?;
            b.line(format_args!("return {y} : {}", y.ty));
            Some(())
        });
        done.ok_or_else(|| Error::Untranslatable(format!("{} is not emitted", self.name)))?;
        Ok(b.finish())
    }

    fn emit(&self, b: &mut Builder, x: &[Value], to: Elem) -> Option<Value> {
        match self.form {
            Form::Plain => scalar::emit(b, self.prim, &self.attrs, x, to),
            Form::Same => scalar::emit(b, self.prim, &self.attrs, &[x[0], x[0]], to),
            Form::Factor { shrinks } => {
                let factor = Factor::new(b, x[1], self.prim == Prim::PamDiv, shrinks);
                Some(factor.apply(b, x[0]))
            }
        }
    }

    /// Name, with the type of operands that are not floats.
    pub fn domain(&self) -> &'static str {
        let mut wide = self.from.iter().rev().filter(|d| **d != DType::Bool);
        wide.next().map_or("bool", |d| d.name())
    }
}

/// What the reference gives.
enum Want<'a> {
    Float(Sym<'a>),
    Truth(Fact<'a>),
    /// A term of SMT-LIB in the operands `x0`, `x1`, `x2`.
    Text(String),
    /// Likewise, a floating-point number of IEEE-754 instead of its pattern.
    Number(&'static str),
}

fn is_comparison(prim: Prim) -> bool {
    matches!(prim, Prim::Eq | Prim::Ne | Prim::Lt | Prim::Le | Prim::Gt | Prim::Ge)
}

fn of_floats<'a>(case: &Case, x: &[Sym<'a>]) -> Option<Want<'a>> {
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
            [x] if case.form == Form::Same => Sym::binary(F, case.prim, *x, *x)?,
            [x] => Sym::unary(F, case.prim, *x)?,
            [a, b] => Sym::binary(F, case.prim, *a, *b)?,
            _ => return None,
        },
    }))
}

/// A float as an integer of `n` bits: its significand shifted by its exponent.
fn truncated(n: u32) -> String {
    let wide = n + 32;
    let significand = "(bvor (bvand x0 #x007fffff) #x00800000)";
    let significand = format!("((_ zero_extend {n}) {significand})");
    let field = format!("((_ zero_extend {n}) (bvand (bvlshr x0 #x00000017) #x000000ff))");
    let number = |x: u64| format!("(_ bv{x} {wide})");
    let (left, right) =
        (format!("(bvsub {field} {})", number(150)), format!("(bvsub {} {field})", number(150)));
    let size = format!(
        "(ite (bvult {field} {}) (bvlshr {significand} {right}) (bvshl {significand} {left}))",
        number(150)
    );
    let negative = "(bvslt x0 #x00000000)";
    let extremes = [(1u128 << (n - 1)) - 1, 1 << (n - 1)].map(|x| format!("(_ bv{x} {n})"));
    let size = format!("((_ extract {} 0) {size})", n - 1);
    format!(
        "(ite (nan x0) (_ bv0 {n}) (ite (bvuge {field} {}) (ite {negative} {} {}) \
         (ite {negative} (bvneg {size}) {size})))",
        number(u64::from(127 + n - 1)),
        extremes[1],
        extremes[0]
    )
}

/// What a primitive is of integers and truth values, and of floats by casts; `None` where nothing but
/// IEEE-754 itself would say it.
fn of_others(case: &Case) -> Option<String> {
    use Prim::*;
    let from = *case.from.last()?;
    let bits = 8 * from.size() as u32;
    let truth = from == DType::Bool;
    let ones = || format!("(_ bv{} {bits})", (1u128 << bits) - 1);
    let binary = |op: &str| format!("({op} x0 x1)");
    Some(match case.prim {
        Add => binary("bvadd"),
        Sub => binary("bvsub"),
        Neg => "(bvneg x0)".into(),
        Abs => format!("(ite (bvslt x0 (_ bv0 {bits})) (bvneg x0) x0)"),
        Min => "(ite (bvslt x0 x1) x0 x1)".into(),
        Max => "(ite (bvslt x1 x0) x0 x1)".into(),
        And => binary(if truth { "and" } else { "bvand" }),
        Or => binary(if truth { "or" } else { "bvor" }),
        Xor => binary(if truth { "xor" } else { "bvxor" }),
        Not if truth => "(not x0)".into(),
        Not => format!("(bvxor x0 {})", ones()),
        // SMT-LIB's shifts give 0 from the width on.
        Shl => binary("bvshl"),
        Shr => binary("bvlshr"),
        Select => "(ite x0 x1 x2)".into(),
        Eq => binary("="),
        Ne => binary("distinct"),
        Lt if truth => "(and (not x0) x1)".into(),
        Le if truth => "(or (not x0) x1)".into(),
        Gt if truth => "(and x0 (not x1))".into(),
        Ge if truth => "(or x0 (not x1))".into(),
        Lt => binary("bvslt"),
        Le => binary("bvsle"),
        Gt => binary("bvsgt"),
        Ge => binary("bvsge"),
        Bitcast if from == DType::F32 => "x0".into(),
        Bitcast => "(flushed x0)".into(),
        Cast => cast(from, case.to)?,
        _ => return None,
    })
}

fn cast(from: DType, to: DType) -> Option<String> {
    use DType::*;
    Some(match (from, to) {
        (a, b) if a == b => "x0".into(),
        (F32, Bool) => "(not (zero x0))".into(),
        (I32, Bool) => "(distinct x0 (_ bv0 32))".into(),
        (I64, Bool) => "(distinct x0 (_ bv0 64))".into(),
        (F32, I32) => truncated(32),
        (F32, I64) => truncated(64),
        (Bool, F32) => "(ite x0 #x3f800000 #x00000000)".into(),
        (Bool, I32) => "(ite x0 (_ bv1 32) (_ bv0 32))".into(),
        (Bool, I64) => "(ite x0 (_ bv1 64) (_ bv0 64))".into(),
        (I32, I64) => "(concat (ite (bvslt x0 (_ bv0 32)) #xffffffff #x00000000) x0)".into(),
        (I64, I32) => "((_ extract 31 0) x0)".into(),
        _ => return None,
    })
}

fn want<'a>(case: &Case, x: &[Sym<'a>]) -> Option<Want<'a>> {
    let floats = case.from.iter().all(|d| *d == DType::F32);
    let own = matches!(case.prim, Prim::Cast | Prim::Bitcast);
    // Written as integer operations there.
    let rounds = case.prim == Prim::Cast && case.to == DType::F32 && case.from == [DType::I64];
    if rounds && case.code == Code::Llvm {
        return Some(Want::Number("((_ to_fp 8 24) RNE x0)"));
    }
    if floats && !own { of_floats(case, x) } else { of_others(case).map(Want::Text) }
}

/// The problem that operands satisfy on which the emitted text and the reference differ; `None` if there
/// is no definition beside IEEE-754 itself.
pub(super) fn problem(case: &Case, text: &str) -> Result<Option<Problem>, Error> {
    let emitted = with_module(text, smt::translate)??;
    let arena = Arena::new(F, F.bits() + 2).with_sums(smt::PLUS);
    let floats = || (0..case.from.len()).filter(|&i| case.from[i] == DType::F32);
    let x: Vec<_> = floats().map(|i| arena.variable(&format!("w{i}"))).collect();
    let mut normal = x.iter().map(|x| F.flush(*x).eq(*x)).fold(Fact::Known(true), |a, b| a & b);
    let missing = || Error::Untranslatable(format!("{} returns nothing", case.name));
    let got = emitted.results.first().ok_or_else(missing)?;
    let Some(want) = want(case, &x) else { return Ok(None) };
    if case.form == (Form::Factor { shrinks: true }) {
        // The promise: the factor is a constant that makes no finite number larger.
        let m = F.magnitude(x[1]);
        let one = Sym::from(F.one());
        let small =
            if case.prim == Prim::PamDiv { !m.lt(one) & m.lt(F.inf().into()) } else { !one.lt(m) };
        normal = normal & small;
    }
    let mut extra = String::new();
    let (link, same) = match want {
        Want::Float(y) => {
            let name = arena.variable("got");
            let same = name.eq(y) | (F.is_nan(name) & F.is_nan(y));
            (format!("(assert (= got ((_ zero_extend 2) {got})))\n"), arena.name(same))
        }
        Want::Truth(y) => (String::new(), format!("(= {got} {})", arena.name(y))),
        Want::Text(y) => {
            extra = format!("(define-fun want () {} {y})\n", sort(case.to));
            let same = match case.to {
                DType::F32 => format!("(or (= {got} want) (and (nan {got}) (nan want)))"),
                _ => format!("(= {got} want)"),
            };
            (String::new(), same)
        }
        Want::Number(y) => (String::new(), format!("(= ((_ to_fp 8 24) {got}) {y})")),
    };
    let normal = arena.name(normal);
    let mut out = emitted.text + &arena.text() + &extra;
    for i in floats() {
        out += &format!("(assert (= w{i} ((_ zero_extend 2) x{i})))\n");
    }
    out += &link;
    out += &format!("(assert {normal})\n");
    let operands = (0..case.from.len()).map(|i| format!("x{i}")).collect();
    Ok(Some(Problem { given: out, claim: same, operands }))
}

fn sort(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "Bool",
        DType::I64 => "(_ BitVec 64)",
        DType::F32 | DType::I32 => "(_ BitVec 32)",
    }
}

/// What has to be proven of the primitives.
///
/// # Errors
/// If one is not emitted.
pub(super) fn obligations() -> Result<Vec<Obligation<'static>>, Error> {
    let mut out = Vec::new();
    for case in cases()? {
        if let Some(problem) = problem(&case, &case.text()?)? {
            out.push(problem.obligation("primitive", case.name.clone(), case.domain()));
        }
    }
    Ok(out)
}

/// The case of that name.
#[cfg(test)]
pub(super) fn named(name: &str) -> Case {
    cases().unwrap().into_iter().find(|c| c.name == name).unwrap()
}
