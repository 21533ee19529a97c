//! A rule on scalars as a problem: what its variables range over, and its sides over any integers.

use std::collections::BTreeMap;

use egg::{ENodeOrVar, PatternAst, Var};

use super::guard::promise;
use crate::egraph::{Kind, Term};
use crate::ir::{Attr, DType};
use crate::ops::Prim;
use crate::rules::{Given, Guard, Refused, Rule};
use crate::semantics::{Format, Int, pattern};

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A pattern of the problem's format.
    Float,
    /// An integer of the problem's width, or of that of its format.
    Integer,
    /// 0 or 1.
    Truth,
    /// An exponent attribute.
    Exponent,
}

/// A rule with the classes of its variables.
#[derive(Clone, Debug)]
pub struct Problem<'r> {
    /// The rule.
    pub rule: &'r Rule,
    /// Its variables, by name.
    pub variables: Vec<(Var, Class)>,
}

/// Exponent attributes tried and proven: beyond these they act as the last ones do.
pub fn exponents(f: Format) -> std::ops::RangeInclusive<i64> {
    -2 * f.widest_shift()..=2 * f.widest_shift()
}

impl<'r> Problem<'r> {
    /// The problems of a rule on scalars, one for each choice of classes; none if it is about more
    /// than scalars.
    ///
    /// # Errors
    /// If an example does not parse.
    pub fn of(rule: &'r Rule) -> Result<Vec<Problem<'r>>, Refused> {
        let mut all: Vec<Problem> = Vec::new();
        for example in rule.spec().examples {
            let given = rule.given(example)?;
            let variables = classes(rule, &given);
            let problem = Problem { rule, variables };
            if problem.is_scalar() && !all.iter().any(|p| p.variables == problem.variables) {
                all.push(problem);
            }
        }
        Ok(all)
    }

    /// Whether both sides and all guards have a meaning on scalars.
    fn is_scalar(&self) -> bool {
        let value = |v: Var| self.class(v).map(|class| (0i64, class));
        let f = Format::F32;
        let sides = [self.rule.left(), self.rule.right()];
        sides.iter().all(|side| evaluate(Some(f), side, value).is_some())
            && self.promises(f, |_| Some(0i64)).is_some()
    }

    /// The same with integers for floats, if the rule applies to them: its guards and constants are
    /// not about floats.
    pub fn on_integers(&self) -> Option<Problem<'r>> {
        let about = |g: &Guard| matches!(g, Guard::True(_) | Guard::False(_));
        let integer = |c| if c == Class::Float { Class::Integer } else { c };
        let variables: Vec<_> = self.variables.iter().map(|&(v, c)| (v, integer(c))).collect();
        let problem = Problem { rule: self.rule, variables };
        let value = |v: Var| problem.class(v).map(|class| (0i64, class));
        let sides = [self.rule.left(), self.rule.right()];
        let fits = sides.iter().all(|side| evaluate(None, side, value).is_some());
        let any = problem.variables.iter().any(|(_, c)| *c == Class::Integer);
        (fits && any && self.rule.spec().guards.iter().all(about)).then_some(problem)
    }

    /// Which of the variables this is.
    pub fn index(&self, v: Var) -> Option<usize> {
        self.variables.iter().position(|(w, _)| *w == v)
    }

    fn class(&self, v: Var) -> Option<Class> {
        Some(self.variables[self.index(v)?].1)
    }

    /// Whether all guards hold of the variables' values.
    pub fn promises<I: Int>(
        &self,
        f: Format,
        value: impl Fn(Var) -> Option<I>,
    ) -> Option<I::Truth> {
        let by_name = |name: &str| {
            let (v, _) = self.variables.iter().find(|(v, _)| v.to_string() == name)?;
            value(*v)
        };
        let mut all = I::from(0).eq(I::from(0));
        for guard in self.rule.spec().guards {
            all = all & promise(f, guard, by_name)?;
        }
        Some(all)
    }

    /// Whether a variable's value is one that a program has: no subnormals. Integers as patterns.
    pub fn admissible<I: Int>(f: Format, class: Class, x: I) -> I::Truth {
        match class {
            Class::Float => f.flush(x).eq(x),
            Class::Integer => !x.lt(I::from(0)) & x.lt(I::from(2 * f.sign_bit())),
            Class::Truth => x.eq(I::from(0)) | x.eq(I::from(1)),
            Class::Exponent => {
                let range = exponents(f);
                !x.lt(I::from(*range.start())) & !I::from(*range.end()).lt(x)
            }
        }
    }

    /// Whether both sides agree; floats of this format, or integers where there is none.
    pub fn agrees<I: Int>(&self, f: Option<Format>, value: impl Fn(Var) -> I) -> Option<I::Truth> {
        let value = |v: Var| Some((value(v), self.class(v)?));
        let (left, class) = evaluate(f, self.rule.left(), value)?;
        let (right, _) = evaluate(f, self.rule.right(), value)?;
        Some(match (class, f) {
            (Class::Float, Some(f)) => left.eq(right) | (f.is_nan(left) & f.is_nan(right)),
            _ => left.eq(right),
        })
    }
}

fn classes(rule: &Rule, given: &BTreeMap<Var, Given>) -> Vec<(Var, Class)> {
    let class = |v: &Var| match given.get(v) {
        Some(Given::Type(ty)) => match ty.dtype {
            DType::F32 => Class::Float,
            DType::Bool => Class::Truth,
            DType::I32 | DType::I64 => Class::Integer,
        },
        Some(Given::Attr(_)) => Class::Exponent,
        None => Class::Float,
    };
    rule.free().iter().map(|v| (*v, class(v))).collect()
}

/// One side of a rule, with the class of its value. `None` where an op has no meaning on scalars.
pub fn evaluate<I: Int>(
    f: Option<Format>,
    ast: &PatternAst<Term>,
    value: impl Fn(Var) -> Option<(I, Class)>,
) -> Option<(I, Class)> {
    let mut done: Vec<Option<(I, Class)>> = Vec::with_capacity(ast.as_ref().len());
    for node in ast.as_ref() {
        let made = match node {
            ENodeOrVar::Var(v) => Some(value(*v)?),
            ENodeOrVar::ENode(t) => term(f, ast, t, &done)?,
        };
        done.push(made);
    }
    done.pop()?
}

/// The inner `None` is an attribute without a number, such as a type.
fn term<I: Int>(
    f: Option<Format>,
    ast: &PatternAst<Term>,
    t: &Term,
    done: &[Option<(I, Class)>],
) -> Option<Option<(I, Class)>> {
    let child = |i: usize| done[usize::from(t.children[i])];
    Some(Some(match t.kind {
        Kind::Const => (I::from(pattern(f?, t.tensor()?.item::<f32>()?)), Class::Float),
        Kind::Attr => match t.value.as_ref()?.attr()? {
            Attr::Int(k) => (I::from(*k), Class::Exponent),
            _ => return Some(None),
        },
        Kind::Function(function) => call(f?, function.name, |i| child(i).map(|x| x.0))?,
        Kind::Op(op) if op.name == "bitcast" => {
            let to = match &ast.as_ref()[usize::from(t.children[1])] {
                ENodeOrVar::ENode(t) => t.value.as_ref()?.attr()?.clone(),
                ENodeOrVar::Var(_) => return None,
            };
            match to {
                Attr::DType(DType::F32) => (f?.flush(child(0)?.0), Class::Float),
                _ => (child(0)?.0, Class::Integer),
            }
        }
        Kind::Op(op) => {
            let first = child(0)?;
            let mut x = [first; 3];
            for (i, x) in x.iter_mut().enumerate().take(t.children.len()).skip(1) {
                *x = child(i)?;
            }
            apply(f, op.prim()?, x.get(..t.children.len())?)?
        }
        Kind::Leaf(_) => return None,
    }))
}

fn call<I: Int>(f: Format, name: &str, x: impl Fn(usize) -> Option<I>) -> Option<(I, Class)> {
    Some(match name {
        "$add" => (x(0)? + x(1)?, Class::Exponent),
        "$exponent" => (f.exponent_of(x(0)?), Class::Exponent),
        "$-exponent" => (I::from(0) - f.exponent_of(x(0)?), Class::Exponent),
        "$reciprocal" => (f.div(I::from(f.one()), x(0)?), Class::Float),
        _ => return None,
    })
}

fn apply<I: Int>(f: Option<Format>, prim: Prim, x: &[(I, Class)]) -> Option<(I, Class)> {
    use Class::*;
    Some(match (prim, x) {
        (Prim::Select, &[(c, Truth), (a, class), (b, other)]) if class == other => {
            (I::select(c.eq(I::from(0)), b, a), class)
        }
        (Prim::Not, &[(x, Truth)]) => (x ^ I::from(1), Truth),
        (Prim::Not, &[(x, Integer)]) => {
            (x ^ I::from(f.map_or(-1, |f| 2 * f.sign_bit() - 1)), Integer)
        }
        (Prim::Scale2, &[(x, Float), (k, Exponent)]) => {
            let f = f?;
            (f.scale2(x, f.clamped_shift(k)), Float)
        }
        (_, &[(x, Float)]) => (I::unary(f?, prim, x)?, Float),
        (_, &[(a, Float), (b, Float)]) => (I::binary(f?, prim, a, b)?, Float),
        (_, &[(x, Integer)]) => (integer(prim, I::from(0), x)?, Integer),
        (_, &[(a, Integer), (b, Integer)]) => (integer(prim, a, b)?, Integer),
        _ => return None,
    })
}

/// A primitive of integers that wrap at the width of `I`; one of a single operand takes it second.
fn integer<I: Int>(prim: Prim, a: I, b: I) -> Option<I> {
    Some(match prim {
        Prim::Add => a + b,
        Prim::Sub | Prim::Neg => a - b,
        Prim::Abs => I::select(b.lt(a), a - b, b),
        Prim::Min => I::select(a.lt(b), a, b),
        Prim::Max => I::select(b.lt(a), a, b),
        _ => return None,
    })
}
