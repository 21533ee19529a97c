//! Rules of rewriting on all pairs of 16-bit floats: both sides and the guards' promises, compiled for
//! this machine's vectors.
//!
//! The terms are those that a solver gets, made by the one definition of each primitive on symbols.

use std::fmt::{self, Write};
use std::io;
use std::mem::transmute;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pamc_passes::prove::term::{Arena, Arg, Fact, Node, Sym};
use pamc_passes::prove::{Outcome, Problem, domains};
use pamc_passes::semantics::Format;

use crate::codegen::{Jit, Options, Target, compile};

/// The compiled loop: values of all variables but the last, values of the last, then how many tuples the
/// guards let through and whether the sides differ on one.
type Row = unsafe extern "C" fn(*const i32, *const i32, *mut i32);

/// Try all tuples of the variables' values.
///
/// # Errors
/// If the problem is about more than scalars or cannot be compiled.
pub fn exhaust(problem: &Problem<'_>, f: Format) -> io::Result<Outcome> {
    let mut domains = domains(problem, f);
    let Some(inner) = (0..domains.len()).max_by_key(|&i| domains[i].len()) else {
        return Ok(Outcome::Holds(0));
    };
    let values = std::mem::take(&mut domains[inner]);
    let target = Target::host();
    let lanes = target.lanes();
    let Some(last) = values.last() else { return Ok(Outcome::Holds(0)) };
    // Filled up with the last value to whole vectors.
    let spare = values.len().next_multiple_of(lanes) - values.len();
    let padded: Vec<i32> =
        values.iter().chain(std::iter::repeat_n(last, spare)).map(|&x| x as i32).collect();
    let text = module(problem, f, inner, padded.len(), lanes).map_err(io::Error::other)?;
    let object = compile(&text, &target, &Options::default()).map_err(io::Error::other)?;
    let code = Jit::load(&[object]).map_err(io::Error::other)?;
    let row = code.symbol("row").map_err(io::Error::other)?;
    // SAFETY: `module` writes a function of this signature.
    let row = unsafe { transmute::<*const std::ffi::c_void, Row>(row) };
    let search = Search { problem, f, inner, domains, values, padded, spare, row };
    Ok(search.run())
}

struct Search<'a> {
    problem: &'a Problem<'a>,
    f: Format,
    /// Which variable is run through in vectors.
    inner: usize,
    /// Values of the others.
    domains: Vec<Vec<i64>>,
    values: Vec<i64>,
    padded: Vec<i32>,
    spare: usize,
    row: Row,
}

impl Search<'_> {
    fn run(&self) -> Outcome {
        let others = || self.domains.iter().enumerate().filter(|(i, _)| *i != self.inner);
        let outer: usize = others().map(|(_, d)| d.len()).product();
        let next = AtomicUsize::new(0);
        let result = Mutex::new((0u64, None));
        let work = || {
            let mut passed = 0;
            loop {
                let mut i = next.fetch_add(1, Ordering::Relaxed);
                if i >= outer {
                    break;
                }
                let mut at = vec![0; self.domains.len()];
                for (k, d) in others() {
                    at[k] = d[i % d.len()];
                    i /= d.len();
                }
                match self.one(&mut at) {
                    Outcome::Holds(n) => passed += n,
                    failed => {
                        next.store(outer, Ordering::Relaxed);
                        result.lock().unwrap_or_else(|e| e.into_inner()).1 = Some(failed);
                    }
                }
            }
            result.lock().unwrap_or_else(|e| e.into_inner()).0 += passed;
        };
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        std::thread::scope(|s| (0..threads).for_each(|_| drop(s.spawn(work))));
        let (passed, failed) = result.into_inner().unwrap_or_else(|e| e.into_inner());
        failed.unwrap_or(Outcome::Holds(passed))
    }

    /// All values of the inner variable, the others as they are in `at`.
    fn one(&self, at: &mut [i64]) -> Outcome {
        let outer: Vec<i32> = at.iter().map(|&x| x as i32).collect();
        let mut out = [0i32; 2];
        // SAFETY: the function reads as many values as there are variables and padded values.
        unsafe { (self.row)(outer.as_ptr(), self.padded.as_ptr(), out.as_mut_ptr()) };
        let holds = |at: &[i64]| {
            let value = |v| Some(at[self.problem.index(v)?]);
            self.problem.promises(self.f, value).unwrap_or(false)
        };
        if out[1] != 0 {
            let wrong = |x: &&i64| {
                let mut at = at.to_vec();
                at[self.inner] = **x;
                let value = |v| self.problem.index(v).map_or(0, |i| at[i]);
                let agrees = self.problem.agrees(Some(self.f), value);
                holds(&at) && agrees == Some(false)
            };
            // Where numbers do not confirm it, the first value stands for the row.
            at[self.inner] = *self.values.iter().find(wrong).unwrap_or(&self.values[0]);
            return Outcome::Fails(at.to_vec());
        }
        at[self.inner] = i64::from(self.padded[self.padded.len() - 1]);
        let beyond = if holds(at) { self.spare as u64 } else { 0 };
        Outcome::Holds(u64::from(out[0] as u32) - beyond)
    }
}

/// Vectors of one width in MLIR text.
struct Text {
    out: String,
    lanes: usize,
    next: usize,
}

impl Text {
    fn ty(&self, elem: &str) -> String {
        format!("vector<{}x{elem}>", self.lanes)
    }

    fn define(&mut self, operation: fmt::Arguments<'_>) -> String {
        self.next += 1;
        let name = format!("%v{}", self.next);
        let _ = writeln!(self.out, "      {name} = {operation}");
        name
    }

    fn constant(&mut self, x: i64) -> String {
        let ty = self.ty("i32");
        self.define(format_args!("arith.constant dense<{}> : {ty}", x as i32))
    }

    fn int(&mut self, op: &str, a: &str, b: &str) -> String {
        let ty = self.ty("i32");
        self.define(format_args!("arith.{op} {a}, {b} : {ty}"))
    }

    fn with(&mut self, op: &str, a: &str, b: i64) -> String {
        let b = self.constant(b);
        self.int(op, a, &b)
    }

    fn test(&mut self, predicate: &str, a: &str, b: &str) -> String {
        let ty = self.ty("i32");
        self.define(format_args!("arith.cmpi {predicate}, {a}, {b} : {ty}"))
    }

    fn below(&mut self, a: &str, b: i64) -> String {
        let b = self.constant(b);
        self.test("slt", a, &b)
    }

    fn select(&mut self, c: &str, a: &str, b: &str) -> String {
        let (truth, ty) = (self.ty("i1"), self.ty("i32"));
        self.define(format_args!("arith.select {c}, {a}, {b} : {truth}, {ty}"))
    }

    fn convert(&mut self, op: &str, a: &str, from: &str, to: &str) -> String {
        let (from, to) = (self.ty(from), self.ty(to));
        self.define(format_args!("{op} {a} : {from} to {to}"))
    }

    fn truth(&mut self, op: &str, a: &str, b: &str) -> String {
        let ty = self.ty("i1");
        self.define(format_args!("arith.{op} {a}, {b} : {ty}"))
    }

    fn known(&mut self, x: bool) -> String {
        let ty = self.ty("i1");
        self.define(format_args!("arith.constant dense<{x}> : {ty}"))
    }

    /// The float32 of a pattern.
    fn widen(&mut self, f: Format, x: &str) -> String {
        let shift = Format::F32.fraction - f.fraction;
        let rebias = (Format::F32.bias() - f.bias()) << Format::F32.fraction;
        let m = self.with("andi", x, f.sign_bit() - 1);
        let s = self.with("andi", x, f.sign_bit());
        let finite = self.below(&m, f.inf());
        let shifted = self.with("shli", &m, i64::from(shift));
        let (number, special) =
            (self.constant(rebias), self.constant(Format::F32.inf() - (f.inf() << shift)));
        let offset = self.select(&finite, &number, &special);
        let bits = self.int("addi", &shifted, &offset);
        let tiny = self.below(&m, f.min_normal());
        let none = self.constant(0);
        let bits = self.select(&tiny, &none, &bits);
        let s = self.with("shli", &s, i64::from(Format::F32.bits() - f.bits()));
        let bits = self.int("ori", &bits, &s);
        self.convert("arith.bitcast", &bits, "i32", "f32")
    }

    /// The pattern of a float32, rounded to nearest even, a subnormal as a zero.
    fn narrow(&mut self, f: Format, x: &str) -> String {
        let shift = i64::from(Format::F32.fraction - f.fraction);
        let rebias = (Format::F32.bias() - f.bias()) << f.fraction;
        let bits = self.convert("arith.bitcast", x, "f32", "i32");
        let m = self.with("andi", &bits, 0x7FFF_FFFF);
        let s = self.with("shrui", &bits, i64::from(Format::F32.bits() - f.bits()));
        let s = self.with("andi", &s, f.sign_bit());
        let last = self.with("shrui", &m, shift);
        let last = self.with("andi", &last, 1);
        let half = self.with("addi", &last, (1 << (shift - 1)) - 1);
        let rounded = self.int("addi", &m, &half);
        let rounded = self.with("shrui", &rounded, shift);
        let rounded = self.with("subi", &rounded, rebias);
        let tiny = self.below(&rounded, f.min_normal());
        let none = self.constant(0);
        let held = self.with("minsi", &rounded, f.inf());
        let held = self.select(&tiny, &none, &held);
        let number = self.below(&m, Format::F32.inf() + 1);
        let nan = self.constant(f.nan());
        let held = self.select(&number, &held, &nan);
        self.int("ori", &held, &s)
    }
}

/// The function `row`.
fn module(
    problem: &Problem<'_>,
    f: Format,
    inner: usize,
    count: usize,
    lanes: usize,
) -> Result<String, crate::Error> {
    let arena = Arena::new(f, 32);
    let x: Vec<Sym<'_>> =
        problem.variables.iter().map(|(v, _)| arena.variable(&v.to_string())).collect();
    let missing = || {
        let name = problem.rule.spec().name;
        crate::Error::Untranslatable(format!("{name} is about more than scalars"))
    };
    let holds = problem.promises(f, |v| Some(x[problem.index(v)?])).ok_or_else(missing)?;
    let value = |v| problem.index(v).map_or(Sym::Const(0), |i| x[i]);
    let agrees = problem.agrees(Some(f), value).ok_or_else(missing)?;
    let variables = problem.variables.len();
    let mut t = Text { out: String::new(), lanes, next: 0 };
    let int = t.ty("i32");
    let truth = t.ty("i1");
    let _ = write!(
        t.out,
        "func.func @row(%outer: memref<{variables}xi32>, %inner: memref<{count}xi32>, \
         %out: memref<2xi32>) {{
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %step = arith.constant {lanes} : index
      %end = arith.constant {count} : index
      %none = arith.constant dense<0> : {int}
      %all = arith.constant dense<true> : {truth}
"
    );
    for i in (0..variables).filter(|&i| i != inner) {
        let _ = write!(
            t.out,
            "      %i{i} = arith.constant {i} : index
      %s{i} = memref.load %outer[%i{i}] : memref<{variables}xi32>
      %x{i} = vector.broadcast %s{i} : i32 to {int}
"
        );
    }
    let _ = write!(
        t.out,
        "      %r:2 = scf.for %k = %c0 to %end step %step iter_args(%n = %none, %w = %none) \
         -> ({int}, {int}) {{
      %x{inner} = vector.load %inner[%k] : memref<{count}xi32>, {int}
"
    );
    let mut names: Vec<String> = Vec::new();
    for node in arena.nodes() {
        let name = term(&mut t, f, &node, &names);
        names.push(name);
    }
    let name = |t: &mut Text, fact: Fact<'_>| match fact {
        Fact::Known(b) => t.known(b),
        Fact::Term(_, n) => names[n as usize].clone(),
    };
    let (holds, agrees) = (name(&mut t, holds), name(&mut t, agrees));
    let differs = t.truth("xori", &agrees, "%all");
    let wrong = t.truth("andi", &holds, &differs);
    let passes = t.convert("arith.extui", &holds, "i1", "i32");
    let wrong = t.convert("arith.extui", &wrong, "i1", "i32");
    let sum = t.int("addi", "%n", &passes);
    let any = t.int("ori", "%w", &wrong);
    let _ = write!(
        t.out,
        "      scf.yield {sum}, {any} : {int}, {int}
      }}
      %count = vector.reduction <add>, %r#0 : {int} into i32
      %any = vector.reduction <or>, %r#1 : {int} into i32
      memref.store %count, %out[%c0] : memref<2xi32>
      memref.store %any, %out[%c1] : memref<2xi32>
      return
}}
"
    );
    Ok(t.out)
}

/// Writes one term.
fn term(t: &mut Text, f: Format, node: &Node, names: &[String]) -> String {
    let int = |t: &mut Text, a: &Arg| match *a {
        Arg::Const(x) => t.constant(x),
        Arg::Node(n) => names[n as usize].clone(),
    };
    let fact = |t: &mut Text, a: &Arg| match *a {
        Arg::Const(x) => t.known(x != 0),
        Arg::Node(n) => names[n as usize].clone(),
    };
    match node {
        Node::Var(v) => format!("%x{v}"),
        Node::Int(op, a, b) => {
            let (a, b) = (int(t, a), int(t, b));
            let op = match *op {
                "bvadd" => "addi",
                "bvsub" => "subi",
                "bvand" => "andi",
                "bvor" => "ori",
                "bvxor" => "xori",
                "bvshl" => "shli",
                _ => "shrsi",
            };
            t.int(op, &a, &b)
        }
        Node::Test(op, a, b) => {
            let (a, b) = (int(t, a), int(t, b));
            t.test(if *op == "=" { "eq" } else { "slt" }, &a, &b)
        }
        Node::Logic("not", x) => {
            let x = fact(t, &x[0]);
            t.truth("xori", &x, "%all")
        }
        Node::Logic(_, x) => {
            let (a, b) = (fact(t, &x[0]), fact(t, &x[1]));
            t.truth("andi", &a, &b)
        }
        Node::Select(c, a, b) => {
            let (c, a, b) = (fact(t, c), int(t, a), int(t, b));
            t.select(&c, &a, &b)
        }
        Node::Float("fp.add", x) => {
            let [a, b] = [0, 1].map(|i| {
                let x = int(t, &x[i]);
                t.widen(f, &x)
            });
            let ty = t.ty("f32");
            let sum = t.define(format_args!("arith.addf {a}, {b} : {ty}"));
            t.narrow(f, &sum)
        }
        Node::Float(_, x) => {
            let x = int(t, &x[0]);
            let x = t.convert("arith.sitofp", &x, "i32", "f32");
            t.narrow(f, &x)
        }
        Node::Rounded(mode, x) => {
            let x = int(t, x);
            let x = t.widen(f, &x);
            let ty = t.ty("f32");
            let op = if *mode == "RNE" { "math.roundeven" } else { "math.floor" };
            let x = t.define(format_args!("{op} {x} : {ty}"));
            t.convert("arith.fptosi", &x, "f32", "i32")
        }
    }
}
