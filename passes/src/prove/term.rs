//! Definitions on symbols: the terms they make, shared, as SMT-LIB text.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::ops::{Add, BitAnd, BitOr, BitXor, Not, Shl, Shr, Sub};

use crate::semantics::{Format, Int, Truth};

/// A term or a number that needs none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arg {
    /// A number; a truth value as 0 or 1.
    Const(i64),
    /// A term, by its place among all.
    Node(u32),
}

/// What a term is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// A variable of the problem.
    Var(u32),
    /// A bit-vector operation of SMT-LIB on integers, giving an integer.
    Int(&'static str, Arg, Arg),
    /// A comparison of integers.
    Test(&'static str, Arg, Arg),
    /// An operation on truth values.
    Logic(&'static str, Vec<Arg>),
    /// `ite` of integers.
    Select(Arg, Arg, Arg),
    /// Pattern of a float that this operation gives.
    Float(&'static str, Vec<Arg>),
    /// Integer of a float, rounded.
    Rounded(&'static str, Arg),
}

/// Where the terms of one problem live.
#[derive(Debug)]
pub struct Arena {
    format: Format,
    width: u32,
    plus: Option<&'static str>,
    nodes: RefCell<Vec<Node>>,
    known: RefCell<HashMap<Node, u32>>,
    variables: RefCell<Vec<String>>,
}

/// A symbolic integer.
#[derive(Clone, Copy, Debug)]
pub enum Sym<'a> {
    /// A number.
    Const(i64),
    /// A term.
    Term(&'a Arena, u32),
}

/// A symbolic truth value.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'a> {
    /// Known.
    Known(bool),
    /// A term.
    Term(&'a Arena, u32),
}

impl Arena {
    /// An empty one: integers of `width` bits, floats among them in this format.
    pub fn new(format: Format, width: u32) -> Self {
        Arena {
            format,
            width,
            plus: None,
            nodes: RefCell::default(),
            known: RefCell::default(),
            variables: RefCell::default(),
        }
    }

    /// The same with float addition as a commutative function of this name on patterns, of which
    /// nothing else is known: what holds of any such function holds of the sum.
    pub fn with_sums(self, plus: &'static str) -> Self {
        Arena { plus: Some(plus), ..self }
    }

    /// A new integer variable.
    pub fn variable(&self, name: &str) -> Sym<'_> {
        let mut variables = self.variables.borrow_mut();
        variables.push(name.to_string());
        self.int(Node::Var(variables.len() as u32 - 1))
    }

    fn id(&self, node: Node) -> u32 {
        let mut nodes = self.nodes.borrow_mut();
        *self.known.borrow_mut().entry(node).or_insert_with_key(|node| {
            nodes.push(node.clone());
            nodes.len() as u32 - 1
        })
    }

    fn int(&self, node: Node) -> Sym<'_> {
        Sym::Term(self, self.id(node))
    }

    fn fact(&self, node: Node) -> Fact<'_> {
        Fact::Term(self, self.id(node))
    }

    /// All terms so far, each after those that it is made of.
    pub fn nodes(&self) -> Vec<Node> {
        self.nodes.borrow().clone()
    }

    /// Declarations and definitions of all terms so far, variables first.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for name in self.variables.borrow().iter() {
            let _ = writeln!(out, "(declare-const {name} (_ BitVec {}))", self.width);
        }
        for (i, node) in self.nodes.borrow().iter().enumerate() {
            self.define(&mut out, i, node);
        }
        out
    }

    fn define(&self, out: &mut String, i: usize, node: &Node) {
        let (w, bits) = (self.width, self.format.bits());
        let arg = |a: &Arg| match *a {
            Arg::Const(x) => number(x, w),
            Arg::Node(n) => format!("t{n}"),
        };
        let fp = format!("(_ to_fp {} {})", self.format.exponent, self.format.fraction + 1);
        let float = |a: &Arg| format!("({fp} ((_ extract {} 0) {}))", bits - 1, arg(a));
        let (sort, body) = match node {
            Node::Var(v) => ("Int", self.variables.borrow()[*v as usize].clone()),
            Node::Int(op, a, b) => ("Int", format!("({op} {} {})", arg(a), arg(b))),
            Node::Test(op, a, b) => ("Bool", format!("({op} {} {})", arg(a), arg(b))),
            Node::Logic(op, x) => {
                let x = x.iter().map(|a| match a {
                    Arg::Const(c) => (*c != 0).to_string(),
                    Arg::Node(n) => format!("t{n}"),
                });
                ("Bool", format!("({op} {})", x.collect::<Vec<_>>().join(" ")))
            }
            Node::Select(c, a, b) => ("Int", format!("(ite {} {} {})", arg(c), arg(a), arg(b))),
            Node::Rounded(mode, x) => ("Int", format!("((_ fp.to_sbv {w}) {mode} {})", float(x))),
            Node::Float(op, x) => {
                let bit = |a: &Arg| format!("((_ extract {} 0) {})", bits - 1, arg(a));
                let value = match *op {
                    "fp.add" if self.plus.is_some() => {
                        let (plus, a, b) = (self.plus.unwrap_or_default(), bit(&x[0]), bit(&x[1]));
                        let _ = writeln!(
                            out,
                            "(define-fun f{i} () (_ BitVec {bits}) ({plus} {a} {b}))"
                        );
                        let _ = writeln!(out, "(assert (= f{i} ({plus} {b} {a})))");
                        let wide = format!("((_ zero_extend {}) f{i})", w - bits);
                        let _ = writeln!(out, "(define-fun t{i} () (_ BitVec {w}) {wide})");
                        return;
                    }
                    "fp.add" => format!("(fp.add RNE {} {})", float(&x[0]), float(&x[1])),
                    _ => format!("({fp} RNE {})", arg(&x[0])),
                };
                let _ = writeln!(out, "(declare-const f{i} (_ BitVec {bits}))");
                let _ = writeln!(out, "(assert (= ({fp} f{i}) {value}))");
                ("Int", format!("((_ zero_extend {}) f{i})", w - bits))
            }
        };
        let sort = if sort == "Int" { format!("(_ BitVec {w})") } else { sort.into() };
        let _ = writeln!(out, "(define-fun t{i} () {sort} {body})");
    }

    /// True if some term needs the theory of floating-point numbers.
    pub fn has_floats(&self) -> bool {
        self.nodes.borrow().iter().any(|n| matches!(n, Node::Float(..) | Node::Rounded(..)))
    }

    /// The text of a truth value among [`Self::text`].
    pub fn name(&self, fact: Fact<'_>) -> String {
        match fact {
            Fact::Known(b) => b.to_string(),
            Fact::Term(_, n) => format!("t{n}"),
        }
    }
}

/// A number as a bit-vector of `width` bits.
pub fn number(x: i64, width: u32) -> String {
    let mask = (1i128 << width) - 1;
    format!("(_ bv{} {width})", i128::from(x) & mask)
}

impl<'a> Sym<'a> {
    fn arg(self) -> Arg {
        match self {
            Sym::Const(x) => Arg::Const(x),
            Sym::Term(_, n) => Arg::Node(n),
        }
    }

    fn arena(self, other: Sym<'a>) -> Option<&'a Arena> {
        match (self, other) {
            (Sym::Term(a, _), _) | (_, Sym::Term(a, _)) => Some(a),
            _ => None,
        }
    }

    /// A binary operation, computed where both are numbers; operands that may change places are put
    /// in order.
    fn operation(self, other: Sym<'a>, op: &'static str, known: fn(i64, i64) -> i64) -> Sym<'a> {
        match (self, other, self.arena(other)) {
            (Sym::Const(a), Sym::Const(b), _) => Sym::Const(known(a, b)),
            (a, Sym::Const(0), _) if !matches!(op, "bvand") => a,
            (Sym::Const(0), b, _) if !matches!(op, "bvand" | "bvsub" | "bvshl" | "bvashr") => b,
            (a, b, Some(arena)) => {
                let commutes = matches!(op, "bvadd" | "bvand" | "bvor" | "bvxor");
                let (a, b) = (a.arg(), b.arg());
                let (a, b) = if commutes { ordered(a, b) } else { (a, b) };
                arena.int(Node::Int(op, a, b))
            }
            (a, _, None) => a,
        }
    }

    fn test(self, other: Sym<'a>, op: &'static str, known: fn(&i64, &i64) -> bool) -> Fact<'a> {
        match (self, other, self.arena(other)) {
            (Sym::Const(a), Sym::Const(b), _) => Fact::Known(known(&a, &b)),
            (a, b, Some(arena)) => arena.fact(Node::Test(op, a.arg(), b.arg())),
            (_, _, None) => Fact::Known(false),
        }
    }
}

fn ordered(a: Arg, b: Arg) -> (Arg, Arg) {
    match (a, b) {
        (Arg::Const(_), Arg::Node(_)) => (b, a),
        (Arg::Node(m), Arg::Node(n)) if m > n => (b, a),
        _ => (a, b),
    }
}

impl From<i64> for Sym<'_> {
    fn from(x: i64) -> Self {
        Sym::Const(x)
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $op:literal, $known:expr) => {
        impl $trait for Sym<'_> {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                self.operation(other, $op, $known)
            }
        }
    };
}

operator!(Add, add, "bvadd", |a, b| a + b);
operator!(Sub, sub, "bvsub", |a, b| a - b);
operator!(BitAnd, bitand, "bvand", |a, b| a & b);
operator!(BitOr, bitor, "bvor", |a, b| a | b);
operator!(BitXor, bitxor, "bvxor", |a, b| a ^ b);

impl Shl<u32> for Sym<'_> {
    type Output = Self;
    fn shl(self, by: u32) -> Self {
        self.operation(Sym::Const(i64::from(by)), "bvshl", |a, b| a << b)
    }
}

impl Shr<u32> for Sym<'_> {
    type Output = Self;
    fn shr(self, by: u32) -> Self {
        self.operation(Sym::Const(i64::from(by)), "bvashr", |a, b| a >> b)
    }
}

impl<'a> Fact<'a> {
    fn arg(self) -> Arg {
        match self {
            Fact::Known(b) => Arg::Const(i64::from(b)),
            Fact::Term(_, n) => Arg::Node(n),
        }
    }
}

impl BitAnd for Fact<'_> {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        match (self, other) {
            (Fact::Known(true), x) | (x, Fact::Known(true)) => x,
            (Fact::Known(false), _) | (_, Fact::Known(false)) => Fact::Known(false),
            (Fact::Term(arena, _), _) => {
                arena.fact(Node::Logic("and", vec![self.arg(), other.arg()]))
            }
        }
    }
}

impl BitOr for Fact<'_> {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        !(!self & !other)
    }
}

impl Not for Fact<'_> {
    type Output = Self;
    fn not(self) -> Self {
        match self {
            Fact::Known(b) => Fact::Known(!b),
            Fact::Term(arena, n) => {
                let inner = match &arena.nodes.borrow()[n as usize] {
                    Node::Logic("not", x) => Some(x[0]),
                    _ => None,
                };
                match inner {
                    Some(Arg::Node(m)) => Fact::Term(arena, m),
                    _ => arena.fact(Node::Logic("not", vec![Arg::Node(n)])),
                }
            }
        }
    }
}

impl Truth for Fact<'_> {}

impl<'a> Int for Sym<'a> {
    type Truth = Fact<'a>;

    fn lt(self, other: Self) -> Fact<'a> {
        self.test(other, "bvslt", |a, b| a < b)
    }

    fn eq(self, other: Self) -> Fact<'a> {
        match (self, other) {
            (Sym::Term(_, m), Sym::Term(_, n)) if m == n => Fact::Known(true),
            _ => self.test(other, "=", |a, b| a == b),
        }
    }

    fn select(condition: Fact<'a>, a: Self, b: Self) -> Self {
        match condition {
            _ if a.arg() == b.arg() => a,
            Fact::Known(c) => {
                if c {
                    a
                } else {
                    b
                }
            }
            Fact::Term(arena, n) => arena.int(Node::Select(Arg::Node(n), a.arg(), b.arg())),
        }
    }

    fn float_add(f: Format, a: Self, b: Self) -> Self {
        match (a, b, a.arena(b)) {
            (_, _, Some(arena)) => {
                // Addition commutes, so that one order serves both.
                let (a, b) = ordered(a.arg(), b.arg());
                arena.int(Node::Float("fp.add", vec![a, b]))
            }
            (Sym::Const(a), Sym::Const(b), _) => Sym::Const(i64::float_add(f, a, b)),
            (a, ..) => a,
        }
    }

    fn float_of_int(f: Format, n: Self) -> Self {
        match n {
            Sym::Const(n) => Sym::Const(i64::float_of_int(f, n)),
            Sym::Term(arena, i) => arena.int(Node::Float("to_fp", vec![Arg::Node(i)])),
        }
    }

    fn int_nearest(f: Format, x: Self) -> Self {
        match x {
            Sym::Const(x) => Sym::Const(i64::int_nearest(f, x)),
            Sym::Term(arena, i) => arena.int(Node::Rounded("RNE", Arg::Node(i))),
        }
    }

    fn int_below(f: Format, x: Self) -> Self {
        match x {
            Sym::Const(x) => Sym::Const(i64::int_below(f, x)),
            Sym::Term(arena, i) => arena.int(Node::Rounded("RTN", Arg::Node(i))),
        }
    }
}
