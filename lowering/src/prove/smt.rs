//! Straight-line MLIR functions of scalars as SMT-LIB text.
//!
//! Memory is what a function's pointers point at, by constant places: a load gives what was last stored
//! there, or a value of which nothing is known. No two pointers point at the same.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use crate::Error;
use melior::ir::attribute::{FloatAttribute, IntegerAttribute};
use melior::ir::operation::{OperationLike, OperationRef};
use melior::ir::{BlockLike, Module, RegionLike, Type, Value, ValueLike};

/// An SMT-LIB name or literal and its sort.
#[derive(Clone, Debug)]
struct Term {
    text: String,
    sort: Sort,
}

/// Floats are bit-vectors: their patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Bits(u32),
    Float,
    Truth,
    /// An argument's number, and how many 32-bit elements beyond.
    Place(usize, i64),
}

impl Sort {
    fn of(ty: Type<'_>) -> Option<Sort> {
        Some(match ty.to_string().as_str() {
            "f32" => Sort::Float,
            "i1" => Sort::Truth,
            "i32" => Sort::Bits(32),
            "i64" => Sort::Bits(64),
            "!llvm.ptr" => Sort::Place(0, 0),
            _ => return None,
        })
    }

    fn name(self) -> String {
        match self {
            Sort::Truth => "Bool".into(),
            Sort::Place(..) => "Int".into(),
            Sort::Float => "(_ BitVec 32)".into(),
            Sort::Bits(n) => format!("(_ BitVec {n})"),
        }
    }
}

/// Name of float addition on patterns.
pub(super) const PLUS: &str = "plus";

/// Of sums it is only known that they commute, that those with a NaN are NaN, and that a zero added to
/// anything but a −0 changes nothing, which [`SUMS`](super::SUMS) proves. Subnormals flushed, the float of
/// a pattern, minimum and maximum of IEEE-754.
const PRELUDE: &str = "\
(declare-fun sum ((_ BitVec 32) (_ BitVec 32)) (_ BitVec 32))
(define-fun nan ((x (_ BitVec 32))) Bool (bvugt (bvand x #x7fffffff) #x7f800000))
(define-fun zero ((x (_ BitVec 32))) Bool (= (bvand x #x7fffffff) #x00000000))
(define-fun plus ((x (_ BitVec 32)) (y (_ BitVec 32))) (_ BitVec 32)
  (ite (or (nan x) (nan y)) #x7fc00000
    (ite (and (zero y) (distinct x #x80000000)) x
      (ite (and (zero x) (distinct y #x80000000)) y (sum x y)))))
(define-fun flushed ((x (_ BitVec 32))) (_ BitVec 32)
  (ite (= ((_ extract 30 23) x) #x00) (bvand x #x80000000) x))
(define-fun float ((x (_ BitVec 32))) (_ FloatingPoint 8 24) ((_ to_fp 8 24) (flushed x)))
(define-fun lower ((x (_ BitVec 32)) (y (_ BitVec 32))) Bool
  (or (fp.lt (float x) (float y)) (and (fp.eq (float x) (float y)) (bvslt x #x00000000))))
(define-fun unordered ((x (_ BitVec 32)) (y (_ BitVec 32))) Bool
  (or (fp.isNaN (float x)) (fp.isNaN (float y))))
";

/// The text under translation.
struct Translation {
    out: String,
    known: HashMap<usize, Term>,
    memory: BTreeMap<(usize, i64), Term>,
    next: usize,
}

/// A function's definitions and results.
#[derive(Debug)]
pub(super) struct Function {
    /// Declarations of the arguments `x0`, `x1`, … and definitions of everything computed.
    pub text: String,
    /// What it returns.
    pub results: Vec<String>,
    memory: BTreeMap<(usize, i64), Term>,
}

impl Function {
    /// What the memory of argument `pointer` holds at the end, so many 32-bit elements in: what was
    /// stored or, if it was only loaded, there before. `None` if neither happened.
    pub fn at(&self, pointer: usize, element: usize) -> Option<&str> {
        self.memory.get(&(pointer, element as i64)).map(|t| t.text.as_str())
    }
}

/// Translates the only function of a module.
///
/// # Errors
/// [`Error::Untranslatable`] for an operation without a meaning here.
pub(super) fn translate(module: &Module<'_>) -> Result<Function, Error> {
    let bad = |what: &str| Error::Untranslatable(what.to_string());
    let function = module.body().first_operation().ok_or_else(|| bad("an empty module"))?;
    let region = function.region(0).map_err(|_| bad("an operation that is no function"))?;
    let block = region.first_block().ok_or_else(|| bad("a function without a body"))?;
    let mut t = Translation {
        out: PRELUDE.to_string(),
        known: HashMap::new(),
        memory: BTreeMap::new(),
        next: 0,
    };
    for i in 0..block.argument_count() {
        let argument = block.argument(i).map_err(|_| bad("an argument"))?;
        let sort = Sort::of(argument.r#type()).ok_or_else(|| bad("an argument's type"))?;
        let text = format!("x{i}");
        let sort = match sort {
            Sort::Place(..) => Sort::Place(i, 0),
            _ => {
                let _ = writeln!(t.out, "(declare-const {text} {})", sort.name());
                sort
            }
        };
        t.known.insert(key(argument.into()), Term { text, sort });
    }
    let mut next = block.first_operation();
    while let Some(operation) = next {
        let name = operation.name();
        let name = name.as_string_ref().as_str().unwrap_or_default().to_string();
        if name == "func.return" {
            let results = operation.operands().map(|v| t.value(v).map(|x| x.text));
            return Ok(Function {
                results: results.collect::<Option<_>>().ok_or(bad(&name))?,
                text: t.out,
                memory: t.memory,
            });
        }
        let done = match name.as_str() {
            "llvm.store" => t.store(&operation),
            "llvm.load" => t.load(&operation),
            "llvm.getelementptr" => t.step(&operation),
            _ => t.operation(&name, &operation),
        };
        done.ok_or_else(|| bad(&operation.to_string()))?;
        next = operation.next_in_block();
    }
    Err(bad("a function that does not return"))
}

fn key(value: Value<'_, '_>) -> usize {
    value.to_raw().ptr as usize
}

fn integer(operation: &OperationRef<'_, '_>, attribute: &str) -> Option<i64> {
    Some(IntegerAttribute::try_from(operation.attribute(attribute).ok()?).ok()?.value())
}

impl Translation {
    fn value(&self, v: Value<'_, '_>) -> Option<Term> {
        self.known.get(&key(v)).cloned()
    }

    /// `pointer + constant`.
    fn step(&mut self, operation: &OperationRef<'_, '_>) -> Option<()> {
        let indices = operation.attribute("rawConstantIndices").ok()?.to_string();
        let by: i64 = indices.strip_prefix("array<i32: ")?.strip_suffix('>')?.parse().ok()?;
        let Term { text, sort: Sort::Place(base, at) } = self.value(operation.operand(0).ok()?)?
        else {
            return None;
        };
        // A place that is not constant has an operand for it.
        if operation.operands().count() != 1 {
            return None;
        }
        let term = Term { text, sort: Sort::Place(base, at + by) };
        self.known.insert(key(operation.result(0).ok()?.into()), term);
        Some(())
    }

    fn load(&mut self, operation: &OperationRef<'_, '_>) -> Option<()> {
        let Sort::Place(base, at) = self.value(operation.operand(0).ok()?)?.sort else {
            return None;
        };
        let result = operation.result(0).ok()?;
        let sort = Sort::of(result.r#type())?;
        let out = &mut self.out;
        let term = self.memory.entry((base, at)).or_insert_with(|| {
            let text = format!("m{base}_{at}");
            let _ = writeln!(out, "(declare-const {text} {})", sort.name());
            Term { text, sort }
        });
        let term = Term { text: term.text.clone(), sort };
        self.known.insert(key(result.into()), term);
        Some(())
    }

    fn store(&mut self, operation: &OperationRef<'_, '_>) -> Option<()> {
        let value = self.value(operation.operand(0).ok()?)?;
        let Sort::Place(base, at) = self.value(operation.operand(1).ok()?)?.sort else {
            return None;
        };
        self.memory.insert((base, at), value);
        Some(())
    }

    /// A float that is an SMT float, as a pattern.
    fn pattern(&mut self, float: &str) -> String {
        self.next += 1;
        let name = format!("p{}", self.next);
        let _ = writeln!(self.out, "(declare-const {name} (_ BitVec 32))");
        let _ = writeln!(self.out, "(assert (= ((_ to_fp 8 24) {name}) {float}))");
        name
    }

    fn operation(&mut self, name: &str, operation: &OperationRef<'_, '_>) -> Option<()> {
        let result = operation.result(0).ok()?;
        let sort = Sort::of(result.r#type())?;
        let x: Vec<Term> = operation.operands().map(|v| self.value(v)).collect::<Option<_>>()?;
        let text = match name {
            "arith.constant" => constant(operation, sort)?,
            "arith.cmpi" => compare_ints(integer(operation, "predicate")?, &x)?,
            "arith.cmpf" => compare_floats(integer(operation, "predicate")?, &x)?,
            "llvm.call_intrinsic" => {
                let name = operation.attribute("intrin").ok()?.to_string();
                self.apply(name.trim_matches('"'), &x, sort)?
            }
            _ => self.apply(name, &x, sort)?,
        };
        self.next += 1;
        let defined = format!("e{}", self.next);
        let _ = writeln!(self.out, "(define-fun {defined} () {} {text})", sort.name());
        self.known.insert(key(result.into()), Term { text: defined, sort });
        Some(())
    }

    /// A shift, which by the width or more gives anything.
    fn shifted(&mut self, op: &str, a: &str, b: &str, sort: Sort) -> Option<String> {
        let Sort::Bits(n) = sort else { return None };
        self.next += 1;
        let any = format!("p{}", self.next);
        let _ = writeln!(self.out, "(declare-const {any} {})", sort.name());
        Some(format!("(ite (bvult {b} (_ bv{n} {n})) ({op} {a} {b}) {any})"))
    }

    /// Everything but constants and comparisons. Float additions take and give no subnormals, as in
    /// the mode that compiled code runs in.
    fn apply(&mut self, name: &str, x: &[Term], to: Sort) -> Option<String> {
        let a = &x.first()?.text;
        let b = x.get(1).map_or("", |b| &b.text);
        let truth = x.first()?.sort == Sort::Truth;
        let op = |op: &str| Some(format!("({op} {a} {b})"));
        match name {
            "arith.addi" => op("bvadd"),
            "arith.subi" => op("bvsub"),
            "arith.muli" => op("bvmul"),
            "arith.andi" => op(if truth { "and" } else { "bvand" }),
            "arith.ori" => op(if truth { "or" } else { "bvor" }),
            "arith.xori" => op(if truth { "xor" } else { "bvxor" }),
            "arith.shli" => self.shifted("bvshl", a, b, to),
            "arith.shrui" => self.shifted("bvlshr", a, b, to),
            "arith.shrsi" => self.shifted("bvashr", a, b, to),
            "arith.minsi" => Some(format!("(ite (bvslt {a} {b}) {a} {b})")),
            "arith.maxsi" => Some(format!("(ite (bvslt {a} {b}) {b} {a})")),
            "arith.minui" => Some(format!("(ite (bvult {a} {b}) {a} {b})")),
            "arith.maxui" => Some(format!("(ite (bvult {a} {b}) {b} {a})")),
            "arith.select" => Some(format!("(ite {a} {b} {})", x.get(2)?.text)),
            "arith.bitcast" => Some(a.clone()),
            "arith.negf" => Some(format!("(bvxor {a} #x80000000)")),
            "math.absf" => Some(format!("(bvand {a} #x7fffffff)")),
            // SPIR-V promises nothing about subnormals, of which operands hold none.
            "spirv.FAdd" => Some(format!("(plus {a} {b})")),
            "spirv.FSub" => Some(format!("(plus {a} (bvxor {b} #x80000000))")),
            "arith.addf" => Some(format!("(flushed (plus (flushed {a}) (flushed {b})))")),
            "arith.subf" => {
                let minus = format!("(bvxor (flushed {b}) #x80000000)");
                Some(format!("(flushed (plus (flushed {a}) {minus}))"))
            }
            "arith.minimumf" => {
                Some(format!("(ite (unordered {a} {b}) #x7fc00000 (ite (lower {a} {b}) {a} {b}))"))
            }
            "arith.maximumf" => {
                Some(format!("(ite (unordered {a} {b}) #x7fc00000 (ite (lower {a} {b}) {b} {a}))"))
            }
            "math.roundeven" | "llvm.roundeven" | "spirv.GL.RoundEven" => {
                Some(self.pattern(&format!("(fp.roundToIntegral RNE (float {a}))")))
            }
            "math.floor" | "llvm.floor" | "spirv.GL.Floor" => {
                Some(self.pattern(&format!("(fp.roundToIntegral RTN (float {a}))")))
            }
            "llvm.fptosi.sat" => saturated(a, to),
            "arith.sitofp" => Some(self.pattern(&format!("((_ to_fp 8 24) RNE {a})"))),
            "arith.fptosi" => match to {
                Sort::Bits(n) => Some(format!("((_ fp.to_sbv {n}) RTZ (float {a}))")),
                _ => None,
            },
            "arith.extui" | "arith.extsi" => match (x.first()?.sort, to) {
                (Sort::Truth, Sort::Bits(n)) if name == "arith.extui" => {
                    Some(format!("(ite {a} (_ bv1 {n}) (_ bv0 {n}))"))
                }
                (Sort::Bits(m), Sort::Bits(n)) if m < n => {
                    let how = if name == "arith.extui" { "zero" } else { "sign" };
                    Some(format!("((_ {how}_extend {}) {a})", n - m))
                }
                _ => None,
            },
            "arith.trunci" => match to {
                Sort::Bits(n) => Some(format!("((_ extract {} 0) {a})", n - 1)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A float as the nearest integer towards zero that there is, 0 for a NaN.
fn saturated(a: &str, to: Sort) -> Option<String> {
    let Sort::Bits(n) = to else { return None };
    let limit = format!("((_ to_fp 8 24) #x{:08x})", (127 + n - 1) << 23);
    let (most, least) = ((1u128 << (n - 1)) - 1, 1u128 << (n - 1));
    let inside = format!("((_ fp.to_sbv {n}) RTZ (float {a}))");
    let low = format!("(ite (fp.lt (float {a}) (fp.neg {limit})) (_ bv{least} {n}) {inside})");
    let high = format!("(ite (fp.geq (float {a}) {limit}) (_ bv{most} {n}) {low})");
    Some(format!("(ite (fp.isNaN (float {a})) (_ bv0 {n}) {high})"))
}

fn constant(operation: &OperationRef<'_, '_>, sort: Sort) -> Option<String> {
    Some(match sort {
        Sort::Truth => (integer(operation, "value")? != 0).to_string(),
        Sort::Bits(32) => format!("#x{:08x}", integer(operation, "value")? as u32),
        Sort::Bits(_) => format!("#x{:016x}", integer(operation, "value")? as u64),
        Sort::Place(..) => return None,
        Sort::Float => {
            let value = FloatAttribute::try_from(operation.attribute("value").ok()?).ok()?.value();
            format!("#x{:08x}", (value as f32).to_bits())
        }
    })
}

/// MLIR's numbering of integer predicates.
fn compare_ints(predicate: i64, x: &[Term]) -> Option<String> {
    const OPS: [&str; 10] =
        ["=", "distinct", "bvslt", "bvsle", "bvsgt", "bvsge", "bvult", "bvule", "bvugt", "bvuge"];
    let op = OPS.get(usize::try_from(predicate).ok()?)?;
    let bits = |t: &Term| match t.sort {
        Sort::Truth if predicate > 1 => format!("(ite {} #b1 #b0)", t.text),
        _ => t.text.clone(),
    };
    Some(format!("({op} {} {})", bits(x.first()?), bits(x.get(1)?)))
}

/// MLIR's numbering of float predicates: ordered ones, then the same or unordered.
fn compare_floats(predicate: i64, x: &[Term]) -> Option<String> {
    let (a, b) = (&x.first()?.text, &x.get(1)?.text);
    let test = |op: &str| format!("(fp.{op} (float {a}) (float {b}))");
    let differ = || format!("(not {})", test("eq"));
    let unordered = format!("(unordered {a} {b})");
    Some(match predicate {
        1 => test("eq"),
        2 => test("gt"),
        3 => test("geq"),
        4 => test("lt"),
        5 => test("leq"),
        6 => format!("(and {} (not {unordered}))", differ()),
        7 => format!("(not {unordered})"),
        8 => format!("(or {} {unordered})", test("eq")),
        9 => format!("(or {} {unordered})", test("gt")),
        10 => format!("(or {} {unordered})", test("geq")),
        11 => format!("(or {} {unordered})", test("lt")),
        12 => format!("(or {} {unordered})", test("leq")),
        13 => differ(),
        14 => unordered,
        _ => return None,
    })
}
