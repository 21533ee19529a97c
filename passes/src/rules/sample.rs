//! Sampling of bit-exact rules: both sides are evaluated by the interpreter on values that the guards
//! let through.

use std::collections::BTreeMap;

use egg::{ENodeOrVar, FromOp, PatternAst, Var};

use super::{Guard, Refused, Rule, attribute_variables, variables};
use crate::egraph::{Facts, Kind, Term, attrs_of};
use crate::interpret;
use crate::ir::{Attr, DType, Tensor, TensorType};
use crate::prove::Class;
use crate::testing::{EDGES, Random};

/// Tuples of values tried for each choice of constants, by the number of values in one.
const TUPLES: [usize; 4] = [1, 200, 1200, 1600];
/// Choices of constants tried.
const CHOICES: usize = 24;
/// Samples a rule must pass.
pub(super) const ENOUGH: usize = 20;

/// A variable's value: a tensor or an attribute.
#[derive(Clone, Debug)]
pub(super) enum Sample {
    Tensor(Tensor),
    Attr(Option<Attr>),
}

pub(super) type Environment = BTreeMap<Var, Sample>;

impl Sample {
    pub(super) fn facts(&self) -> Facts {
        match self {
            Sample::Tensor(t) => Facts::constant(t),
            Sample::Attr(a) => Facts::Attr(a.clone()),
        }
    }
}

/// Evaluate a pattern; `None` if some part of it does not type-check.
fn evaluate(ast: &PatternAst<Term>, env: &Environment) -> Option<Tensor> {
    let mut done: Vec<Sample> = Vec::new();
    for node in ast.as_ref() {
        let made = match node {
            ENodeOrVar::Var(v) => env.get(v)?.clone(),
            ENodeOrVar::ENode(t) => term(t, &done)?,
        };
        done.push(made);
    }
    match done.pop()? {
        Sample::Tensor(t) => Some(t),
        Sample::Attr(_) => None,
    }
}

fn term(t: &Term, done: &[Sample]) -> Option<Sample> {
    let child = |i: usize| &done[usize::from(t.children[i])];
    match t.kind {
        Kind::Const => t.tensor().cloned().map(Sample::Tensor),
        Kind::Attr => Some(Sample::Attr(t.value.as_ref()?.attr().cloned())),
        Kind::Function(f) => {
            let facts: Vec<Facts> = (0..t.children.len()).map(|i| child(i).facts()).collect();
            Some(match f.call(&facts.iter().collect::<Vec<_>>())? {
                Attr::Tensor(t) => Sample::Tensor(t),
                other => Sample::Attr(Some(other)),
            })
        }
        Kind::Op(op) => {
            let n = t.operands();
            let tensor = |i| match child(i) {
                Sample::Tensor(t) => Some(t.clone()),
                Sample::Attr(_) => None,
            };
            let operands: Vec<Tensor> = (0..n).map(tensor).collect::<Option<_>>()?;
            let values = (n..t.children.len()).map(|i| match child(i) {
                Sample::Attr(a) => a.as_ref(),
                Sample::Tensor(_) => None,
            });
            let attrs = op.complete(attrs_of(op, values)).ok()?;
            let types: Vec<TensorType> = operands.iter().map(Tensor::ty).collect();
            let ty = (op.shape)(&types.iter().collect::<Vec<_>>(), &attrs).ok()?;
            Some(Sample::Tensor(interpret::eval(op.prim()?, &operands, &attrs, &ty)))
        }
        Kind::Leaf(_) => None,
    }
}

/// Number of samples on which both sides agree.
pub(super) fn check(rule: &Rule) -> Result<usize, Refused> {
    let mut samples = 0;
    for (i, example) in rule.spec().examples.iter().enumerate() {
        let given = parse_example(rule, example)?;
        let mut rng = Random::new(i as u64);
        samples += check_example(rule, &given, &mut rng)?;
    }
    if samples < ENOUGH {
        return Err(Refused::Unsampled { rule: rule.spec().name, samples });
    }
    Ok(samples)
}

/// What an example says of a variable.
pub(crate) enum Given {
    /// It is a tensor of this type.
    Type(TensorType),
    /// It is this attribute.
    Attr(Attr),
}

pub(super) fn parse_example(rule: &Rule, text: &str) -> Result<BTreeMap<Var, Given>, Refused> {
    let bad = || Refused::Malformed {
        rule: rule.spec().name,
        reason: format!("cannot read the example '{text}'"),
    };
    let entry = |item: &str| {
        let (name, value) = item.split_once(':')?;
        let value = value.trim().replace(' ', "");
        let ty = value.split_once('[').and_then(|(d, dims)| {
            let dims = dims.strip_suffix(']')?.split(',').filter(|d| !d.is_empty());
            let shape: Vec<usize> = dims.map(|d| d.parse().ok()).collect::<Option<_>>()?;
            Some(TensorType::new(DType::from_name(d)?, shape))
        });
        let given = match ty {
            Some(ty) => Given::Type(ty),
            None => Given::Attr(
                Term::from_op(&format!("#{value}"), vec![]).ok()?.value?.attr()?.clone(),
            ),
        };
        Some((name.trim().parse::<Var>().ok()?, given))
    };
    let items = text.split(';').filter(|t| !t.trim().is_empty());
    items.map(|item| entry(item).ok_or_else(bad)).collect()
}

/// Values that the guards make it worth trying for a scalar constant, if they ask for one.
pub(super) fn constants(rule: &Rule, v: &str) -> Option<Vec<f32>> {
    let powers = || {
        [0, 1, 2, 3, 7, 40, 126, -1, -2, -24, -60, -126, 127]
            .map(|k: i32| f32::from_bits(((k + 127) as u32) << 23))
    };
    let of = |g: &Guard| match *g {
        Guard::Is(x, c) | Guard::Near(x, c) if x == v => Some(vec![c]),
        Guard::PowerOfTwo(x) if x == v => Some(powers().to_vec()),
        Guard::MinusPowerOfTwo(x) if x == v => Some(powers().map(|c| -c).to_vec()),
        Guard::Uniform(x) if x == v => {
            Some([EDGES, &[0.3, -0.7, 0.999, 3.0, -1e9, 2e-30]].concat())
        }
        _ => None,
    };
    rule.spec().guards.iter().find_map(of)
}

/// A value for a sampled scalar, rather one that the guards let through.
fn value(rule: &Rule, v: &str, rng: &mut Random) -> f32 {
    let within = rule.spec().guards.iter().find_map(|g| match *g {
        Guard::Within(x, lo, hi) if x == v => Some((lo, hi)),
        _ => None,
    });
    match within {
        Some((lo, hi)) if !rng.one_in(8) => {
            let (lo, hi) = (lo.to_bits(), hi.to_bits());
            let bits = match rng.below(16) {
                0 => lo,
                1 => hi,
                _ => lo + rng.bits() % (hi - lo + 1),
            };
            f32::from_bits(bits | if rng.one_in(2) { 0x8000_0000 } else { 0 })
        }
        _ if rng.one_in(3) => rng.pick(EDGES),
        _ => rng.wild(),
    }
}

/// Whether the guards that speak of this variable alone let a value through.
fn admitted(rule: &Rule, v: Var, x: f32) -> bool {
    let facts = Facts::constant(&Tensor::scalar(x));
    rule.spec().guards.iter().all(|g| match g {
        Guard::NonZero(_) | Guard::Finite(_) | Guard::NotNegZero(_) | Guard::NonNegative(_) => {
            g.holds(|name| (name == v.to_string()).then_some(&facts)) || !g.names(&v.to_string())
        }
        _ => true,
    })
}

pub(super) fn random_tensor(rule: &Rule, v: Var, ty: &TensorType, rng: &mut Random) -> Tensor {
    let n = ty.len();
    let mut float = || {
        (0..64)
            .map(|_| if rng.one_in(3) { rng.pick(EDGES) } else { rng.wild() })
            .find(|x| admitted(rule, v, *x))
            .unwrap_or(1.0)
    };
    let made = match ty.dtype {
        DType::F32 => Tensor::from_vec(&ty.shape, (0..n).map(|_| float()).collect()),
        DType::I32 => Tensor::from_vec(&ty.shape, (0..n).map(|_| rng.bits() as i32).collect()),
        DType::I64 => Tensor::from_vec(&ty.shape, (0..n).map(|_| rng.bits() as i64).collect()),
        DType::Bool => {
            let wanted = |g: &Guard| match *g {
                Guard::True(x) if x == v.to_string() => Some(true),
                Guard::False(x) if x == v.to_string() => Some(false),
                _ => None,
            };
            let all = rule.spec().guards.iter().find_map(wanted);
            let one = |_| all.unwrap_or_else(|| rng.one_in(2));
            Tensor::from_vec(&ty.shape, (0..n).map(one).collect())
        }
    };
    interpret::flush(&made.unwrap_or_else(|| Tensor::zeros(ty)))
}

fn check_example(
    rule: &Rule,
    given: &BTreeMap<Var, Given>,
    rng: &mut Random,
) -> Result<usize, Refused> {
    let attributes = attribute_variables(rule.left());
    let (mut fixed, mut uniform, mut free) = (Environment::new(), Vec::new(), Vec::new());
    for v in variables(rule.left()) {
        match given.get(&v) {
            Some(Given::Attr(a)) => {
                fixed.insert(v, Sample::Attr(Some(a.clone())));
            }
            Some(Given::Type(ty)) => {
                fixed.insert(v, Sample::Tensor(random_tensor(rule, v, ty, rng)));
            }
            None if attributes.contains(&v) => {
                let reason = format!("no example gives the attribute {v}");
                return Err(Refused::Malformed { rule: rule.spec().name, reason });
            }
            None => match constants(rule, &v.to_string()) {
                Some(values) => uniform.push((v, values)),
                None => free.push(v),
            },
        }
    }
    let rounds = if uniform.is_empty() { 1 } else { CHOICES };
    let mut samples = 0;
    for round in 0..rounds {
        let mut env = fixed.clone();
        for (i, (v, values)) in uniform.iter().enumerate() {
            let c = if i == 0 { values[round % values.len()] } else { rng.pick(values) };
            env.insert(*v, Sample::Tensor(interpret::flush(&Tensor::scalar(c))));
        }
        samples += compare(rule, env, &free, rng)?;
    }
    Ok(samples)
}

/// Evaluate both sides on many values of the free variables at once.
fn compare(
    rule: &Rule,
    mut env: Environment,
    free: &[Var],
    rng: &mut Random,
) -> Result<usize, Refused> {
    let known: BTreeMap<Var, Facts> = env.iter().map(|(v, s)| (*v, s.facts())).collect();
    let mut columns: Vec<Vec<f32>> = vec![Vec::new(); free.len()];
    let tuples = TUPLES[free.len().min(3)];
    for i in 0..tuples {
        let pick = |(j, v): (usize, &Var), rng: &mut Random| match EDGES.len() {
            // All edge values, all pairs of them, come first.
            n if free.len() == 1 && i < n => EDGES[i],
            n if free.len() > 1 && i < n * n && j < 2 => EDGES[if j == 0 { i / n } else { i % n }],
            _ => value(rule, &v.to_string(), rng),
        };
        let tuple: Vec<f32> =
            free.iter().enumerate().map(|jv| crate::reference::flush(pick(jv, rng))).collect();
        let point: Vec<Facts> =
            tuple.iter().map(|x| Facts::constant(&Tensor::scalar(*x))).collect();
        let facts = |v: Var| match free.iter().position(|f| *f == v) {
            Some(j) => Some(&point[j]),
            None => known.get(&v),
        };
        if rule.holds(facts) {
            columns.iter_mut().zip(tuple).for_each(|(c, x)| c.push(x));
            if free.is_empty() {
                return agree(rule, &env, 0);
            }
        }
    }
    let n = columns.first().map_or(0, Vec::len);
    if n == 0 {
        return Ok(0);
    }
    for (v, column) in free.iter().zip(columns) {
        let column =
            Tensor::from_vec(&[n], column).unwrap_or_else(|| Tensor::zeros(&TensorType::f32([n])));
        env.insert(*v, Sample::Tensor(column));
    }
    agree(rule, &env, n)
}

/// Compare both sides; the number of samples is that of the elements (`n` of them, or the result's).
pub(super) fn agree(rule: &Rule, env: &Environment, n: usize) -> Result<usize, Refused> {
    let (Some(left), Some(right)) = (evaluate(rule.left(), env), evaluate(rule.right(), env))
    else {
        return Ok(0);
    };
    let right = widen(&right, &left.ty(), rule.is_pointwise());
    let Some(right) = right else { return Ok(0) };
    let Some(i) = left.first_difference(&right) else { return Ok(n.max(left.len())) };
    let element = |t: &Tensor| {
        let flat: Vec<String> =
            crate::with_array!(t, a => a.iter().map(|x| format!("{x:?}")).collect());
        flat.get(if flat.len() == 1 { 0 } else { i }).cloned().unwrap_or_default()
    };
    let at: Vec<String> = env
        .iter()
        .map(|(v, s)| match s {
            Sample::Tensor(t) => format!("{v} = {}", element(t)),
            Sample::Attr(Some(a)) => format!("{v} = {a}"),
            Sample::Attr(None) => format!("{v} = none"),
        })
        .collect();
    Err(Refused::Counterexample {
        rule: rule.spec().name,
        lhs: rule.spec().lhs,
        rhs: rule.spec().rhs,
        left: element(&left),
        right: element(&right),
        at: at.join(", "),
    })
}

/// The difference of the sides at single values, which the guards must let through.
pub(super) fn differ(rule: &Rule, values: Vec<(Var, Class, i64)>) -> Option<Refused> {
    let sample = |(v, class, x): (Var, Class, i64)| {
        let sample = match class {
            Class::Float => Sample::Tensor(Tensor::scalar(f32::from_bits(x as u32))),
            Class::Integer => Sample::Tensor(Tensor::scalar(x as i32)),
            Class::Truth => Sample::Tensor(Tensor::scalar(x != 0)),
            Class::Exponent => Sample::Attr(Some(Attr::Int(x))),
        };
        (v, sample)
    };
    let env: Environment = values.into_iter().map(sample).collect();
    let facts: BTreeMap<Var, Facts> = env.iter().map(|(v, s)| (*v, s.facts())).collect();
    if !rule.holds(|v| facts.get(&v)) {
        return None;
    }
    agree(rule, &env, 1).err()
}

/// The right side as the rewrite would put it in place of the left; `None` where it would not.
fn widen(right: &Tensor, ty: &TensorType, pointwise: bool) -> Option<Tensor> {
    if right.ty() == *ty {
        return Some(right.clone());
    }
    let fits =
        crate::ops::broadcast_shapes(&[right.shape(), &ty.shape]).is_ok_and(|s| s == ty.shape);
    let to = crate::ir::Attrs::none().with("shape", &ty.shape[..]);
    (pointwise && fits && right.dtype() == ty.dtype)
        .then(|| interpret::eval(crate::ops::Prim::Broadcast, std::slice::from_ref(right), &to, ty))
}
