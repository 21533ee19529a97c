//! Rules about layout, tried on every small shape and attribute: they move elements without looking at
//! them, so that agreement on distinct elements is agreement on all.

use std::collections::BTreeMap;

use egg::{ENodeOrVar, Var};

use super::sample::{Environment, Given, Sample, agree, parse_example, random_tensor};
use super::{Refused, Rule, variables};
use crate::egraph::{Facts, Kind};
use crate::ir::{Attr, DType, Tensor, TensorType};
use crate::ops::AttrType;
use crate::testing::Random;

/// Choices on which a rule must agree at least.
const ENOUGH: usize = 6;

/// All shapes up to rank 3 with extents 1 to 3.
fn shapes() -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    let mut last = all.clone();
    for _ in 0..3 {
        let longer = |s: &Vec<usize>| (1..=3).map(|n| [&s[..], &[n]].concat()).collect::<Vec<_>>();
        last = last.iter().flat_map(longer).collect();
        all.extend(last.clone());
    }
    all
}

/// All permutations of up to three axes.
fn permutations() -> Vec<Vec<i64>> {
    let mut all = vec![vec![], vec![0], vec![0, 1], vec![1, 0]];
    for i in 0..3 {
        for j in (0..3).filter(|j| *j != i) {
            all.push(vec![i, j, 3 - i - j]);
        }
    }
    all
}

/// Values to try for an attribute of an op.
fn candidates(op: &str, attr: &str, ty: AttrType) -> Vec<Attr> {
    let ints = |lists: Vec<Vec<i64>>| lists.into_iter().map(Attr::Ints).collect();
    match (op, attr, ty) {
        (.., AttrType::Bool) => vec![Attr::Bool(false), Attr::Bool(true)],
        (.., AttrType::Int) => (-3..=3).map(Attr::Int).collect(),
        (.., AttrType::DType) => DType::ALL.iter().map(|d| Attr::DType(*d)).collect(),
        ("transpose", ..) => ints(permutations()),
        ("reshape" | "expand", ..) => {
            let signed = |s: Vec<usize>| s.into_iter().map(|n| n as i64).collect();
            ints(shapes().into_iter().map(signed).collect())
        }
        // Axes are sliced apart from one another: one is enough.
        ("slice", "starts", _) => ints((0..4).map(|i| vec![i]).collect()),
        ("slice", "sizes", _) => ints((0..4).map(|i| vec![i]).collect()),
        ("slice", ..) => ints([-2, -1, 1, 2].map(|i| vec![i]).to_vec()),
        _ => {
            let mut lists: Vec<Vec<i64>> = (-3..3).map(|i| vec![i]).collect();
            lists.extend([vec![], vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2]]);
            ints(lists)
        }
    }
}

/// The attribute values of each variable that stands for one.
fn attributes(rule: &Rule) -> BTreeMap<Var, Vec<Attr>> {
    let nodes = rule.left().as_ref();
    let mut out = BTreeMap::new();
    for node in nodes {
        let ENodeOrVar::ENode(t) = node else { continue };
        let Kind::Op(op) = t.kind else { continue };
        for (spec, child) in op.attrs.iter().zip(&t.children[t.operands()..]) {
            if let ENodeOrVar::Var(v) = &nodes[usize::from(*child)] {
                out.insert(*v, candidates(op.name, spec.name, spec.ty));
            }
        }
    }
    out
}

/// Number of choices of shapes and attributes on which both sides agree.
///
/// # Errors
/// With the first on which they do not, or if there are too few.
pub(super) fn check(rule: &Rule) -> Result<usize, Refused> {
    let attributes = attributes(rule);
    let mut types: Vec<Vec<(Var, DType)>> = Vec::new();
    for example in rule.spec().examples {
        let given = parse_example(rule, example)?;
        let dtype = |v: &Var| match given.get(v) {
            Some(Given::Type(ty)) => ty.dtype,
            _ => DType::F32,
        };
        let tensors = variables(rule.left()).into_iter().filter(|v| !attributes.contains_key(v));
        let choice: Vec<_> = tensors.map(|v| (v, dtype(&v))).collect();
        if !types.contains(&choice) {
            types.push(choice);
        }
    }
    let mut agreed = 0;
    for tensors in types {
        let mut search = Search { rule, attributes: &attributes, shapes: shapes(), agreed: 0 };
        search.tensors(&tensors, Environment::new())?;
        agreed += search.agreed;
    }
    if agreed < ENOUGH {
        return Err(Refused::Unsampled { rule: rule.spec().name, samples: agreed });
    }
    Ok(agreed)
}

struct Search<'a> {
    rule: &'a Rule,
    attributes: &'a BTreeMap<Var, Vec<Attr>>,
    shapes: Vec<Vec<usize>>,
    agreed: usize,
}

impl Search<'_> {
    /// All shapes of these tensors: each with elements that are all different, and with special ones.
    fn tensors(&mut self, rest: &[(Var, DType)], env: Environment) -> Result<(), Refused> {
        let Some((&(v, dtype), rest)) = rest.split_first() else {
            return self.attrs(&self.attributes.keys().copied().collect::<Vec<_>>(), env);
        };
        for shape in self.shapes.clone() {
            let ty = TensorType::new(dtype, shape);
            let mut random = Random::new(ty.len() as u64 + env.len() as u64);
            let special = random_tensor(self.rule, v, &ty, &mut random);
            for values in [distinct(&ty), special] {
                let mut env = env.clone();
                env.insert(v, Sample::Tensor(values));
                self.tensors(rest, env)?;
            }
        }
        Ok(())
    }

    fn attrs(&mut self, rest: &[Var], env: Environment) -> Result<(), Refused> {
        let Some((v, rest)) = rest.split_first() else { return self.compare(&env) };
        for attr in &self.attributes[v] {
            let mut env = env.clone();
            env.insert(*v, Sample::Attr(Some(attr.clone())));
            self.attrs(rest, env)?;
        }
        Ok(())
    }

    fn compare(&mut self, env: &Environment) -> Result<(), Refused> {
        let facts: BTreeMap<Var, Facts> = env.iter().map(|(v, s)| (*v, s.facts())).collect();
        if self.rule.holds(|v| facts.get(&v)) && agree(self.rule, env, 0)? > 0 {
            self.agreed += 1;
        }
        Ok(())
    }
}

/// A tensor whose elements are all different, as far as its type has so many values.
fn distinct(ty: &TensorType) -> Tensor {
    let n = ty.len() as i64;
    let made = match ty.dtype {
        DType::F32 => Tensor::from_vec(&ty.shape, (0..n).map(|i| (i + 1) as f32).collect()),
        DType::I32 => Tensor::from_vec(&ty.shape, (0..n).map(|i| (i + 1) as i32).collect()),
        DType::I64 => Tensor::from_vec(&ty.shape, (0..n).map(|i| i + 1).collect()),
        DType::Bool => Tensor::from_vec(&ty.shape, (0..n).map(|i| i % 2 == 0).collect()),
    };
    made.unwrap_or_else(|| Tensor::zeros(ty))
}
