//! The e-class analysis: type, known constant and range of values of every class.

use std::cell::RefCell;

use egg::{Analysis, DidMerge, EGraph, Id, Justification};

use super::language::{Kind, Term, attrs_of};
use super::range::Range;
use crate::interpret;
use crate::ir::{Attr, Attrs, DType, Element, Tensor, TensorType};
use crate::ops::{self, Op, Prim};

/// Elements up to which constants are folded.
pub const FOLDED: usize = 64;
/// How often the range of one class may shrink: a bound on the iterations of the analysis.
const REFINEMENTS: u8 = 16;

/// What is known of an e-class.
#[derive(Clone, Debug)]
pub enum Facts {
    /// It is an attribute.
    Attr(Option<Attr>),
    /// It is a tensor.
    Value(ValueFacts),
}

/// What is known of a tensor.
#[derive(Clone, Debug)]
pub struct ValueFacts {
    /// Its type.
    pub ty: TensorType,
    /// Where its `f32` values lie.
    pub range: Range,
    /// Its value, of rank 0 if all elements are equal.
    pub constant: Option<Tensor>,
    refined: u8,
}

impl Facts {
    /// A tensor of which only the type and the range are known.
    pub fn value(ty: TensorType, range: Range) -> Self {
        Facts::Value(ValueFacts { ty, range, constant: None, refined: 0 })
    }

    /// A constant.
    pub fn constant(t: &Tensor) -> Self {
        let t = interpret::flush(t);
        let range = Range::of_tensor(&t);
        let constant = uniform_element(&t).or_else(|| (t.len() <= FOLDED).then(|| t.clone()));
        Facts::Value(ValueFacts { ty: t.ty(), range, constant, refined: 0 })
    }

    /// The attribute, if it is one and there.
    pub fn attr(&self) -> Option<&Attr> {
        match self {
            Facts::Attr(a) => a.as_ref(),
            Facts::Value(_) => None,
        }
    }

    /// The tensor's facts, if it is one.
    pub fn tensor(&self) -> Option<&ValueFacts> {
        match self {
            Facts::Attr(_) => None,
            Facts::Value(v) => Some(v),
        }
    }

    /// The one value all elements have, as a scalar.
    pub fn uniform(&self) -> Option<&Tensor> {
        self.tensor()?.constant.as_ref().filter(|c| c.len() == 1)
    }

    /// Facts of an op's result from those of its operands; `Err` where it does not fit them.
    pub fn of_op(op: &'static Op, attrs: Attrs, operands: &[&ValueFacts]) -> Result<Self, String> {
        let (attrs, ty) = type_of(op, attrs, operands)?;
        let folded = match op.prim() {
            Some(prim) => fold(prim, &attrs, operands, &ty),
            None => fold_real(op, operands),
        };
        if let Some(t) = folded {
            let mut facts = Facts::constant(&t);
            if let Facts::Value(v) = &mut facts {
                v.ty = ty;
            }
            return Ok(facts);
        }
        let range = match op.prim() {
            None => Range::ANY,
            Some(_) if ty.is_empty() => Range::NONE,
            Some(prim) => transfer(prim, &attrs, operands, &ty),
        };
        Ok(Facts::value(ty, range))
    }
}

/// Completed attributes and result type.
pub fn type_of(
    op: &'static Op,
    attrs: Attrs,
    operands: &[&ValueFacts],
) -> Result<(Attrs, TensorType), String> {
    op.check_arity(operands.len())?;
    let attrs = op.complete(attrs)?;
    let types: Vec<&TensorType> = operands.iter().map(|o| &o.ty).collect();
    let ty = (op.shape)(&types, &attrs)?;
    Ok((attrs, ty))
}

/// The element that all are bit for bit, as a scalar.
fn uniform_element(t: &Tensor) -> Option<Tensor> {
    fn first<T: Element>(a: &crate::ir::Array<T>, same: impl Fn(T, T) -> bool) -> Option<Tensor> {
        let x = *a.iter().next()?;
        a.iter().all(|y| same(x, *y)).then(|| Tensor::scalar(x))
    }
    match t {
        Tensor::F32(a) => first(a, |x, y| x.to_bits() == y.to_bits()),
        Tensor::I32(a) => first(a, |x, y| x == y),
        Tensor::I64(a) => first(a, |x, y| x == y),
        Tensor::Bool(a) => first(a, |x, y| x == y),
    }
}

/// The value of a primitive on constants, if small or uniform.
fn fold(prim: Prim, attrs: &Attrs, x: &[&ValueFacts], ty: &TensorType) -> Option<Tensor> {
    use Prim::*;
    if matches!(prim, Input | Iota | RandomBits) || ty.is_empty() {
        return None;
    }
    if prim == Const {
        return attrs.tensor("value").cloned();
    }
    let constants: Vec<&Tensor> = x.iter().map(|f| f.constant.as_ref()).collect::<Option<_>>()?;
    let uniform = constants.iter().all(|c| c.len() == 1) && !x.is_empty();
    let moves =
        matches!(prim, Reshape | Transpose | Broadcast | Slice | Gather | ReduceMax | ReduceMin);
    if uniform && moves {
        return constants[0].reshaped(&[]);
    }
    if uniform && prim.is_elementwise() {
        let scalars: Option<Vec<_>> = constants.iter().map(|c| c.reshaped(&[])).collect();
        let scalar = TensorType::new(ty.dtype, []);
        return Some(interpret::eval(prim, &scalars?, attrs, &scalar));
    }
    if ty.len() > FOLDED || x.iter().any(|f| f.ty.len() > FOLDED) {
        return None;
    }
    let whole = |(c, f): (&&Tensor, &&ValueFacts)| {
        let to = Attrs::none().with("shape", &f.ty.shape[..]);
        interpret::eval(Broadcast, &[(*c).clone()], &to, &f.ty)
    };
    let operands: Vec<Tensor> = constants.iter().zip(x).map(whole).collect();
    Some(interpret::eval(prim, &operands, attrs, ty))
}

/// The value of a real operation without attributes on uniform constants, rounded once.
fn fold_real(op: &Op, x: &[&ValueFacts]) -> Option<Tensor> {
    let f = op.real.filter(|_| op.attrs.is_empty())?;
    let scalar = |v: &&ValueFacts| v.constant.as_ref().filter(|c| c.len() == 1)?.item::<f32>();
    let values: Vec<f64> = x.iter().map(|v| scalar(v).map(f64::from)).collect::<Option<_>>()?;
    let y = f(&values) as f32;
    y.is_finite().then(|| Tensor::scalar(y))
}

/// Range of a primitive's result from those of its operands.
fn transfer(prim: Prim, attrs: &Attrs, x: &[&ValueFacts], ty: &TensorType) -> Range {
    use Prim::*;
    if ty.dtype != DType::F32 {
        return Range::ANY;
    }
    let r = |i: usize| x[i].range;
    match prim {
        Add => r(0).plus(r(1)),
        Sub => r(0).plus(r(1).negated()),
        Neg => r(0).negated(),
        Abs => r(0).abs(),
        Min | Max => r(0).extremum(r(1), prim == Min),
        Floor => r(0).rounded(f32::floor),
        Round => r(0).rounded(f32::round_ties_even),
        Select => r(1).join(r(2)),
        Cast => from_integers(x[0].ty.dtype, r(0)),
        PamMul => r(0).times(r(1)),
        PamDiv => r(0).over(r(1)),
        PamExp2 => r(0).exp2(),
        PamLog2 => r(0).log2(),
        PamSqrt => r(0).sqrt(),
        Scale2 => r(0).scale2(attrs.int("k").clamp(-512, 512) as i32),
        ShiftSum => Range { nan: r(0).nan, ..Range::ANY },
        Exp2Slope | Log2Slope | SqrtSlope => {
            Range { lo: 0.0, nan: false, neg_zero: false, ..Range::ANY }
        }
        ReduceSum => {
            let n = x[0].ty.len() / ty.len().max(1);
            r(0).sum(n)
        }
        ReduceMax | ReduceMin | Reshape | Transpose | Broadcast | Slice | Gather => r(0),
        CumSum => Range { pos_zero: true, lo: r(0).sum(1).lo.min(0.0), ..r(0).sum(1) },
        Concat => x.iter().fold(Range::NONE, |all, f| all.join(f.range)),
        Pad | Unfold => r(0).join(Range::of(attrs.float("value"))),
        _ => Range::ANY,
    }
}

fn from_integers(from: DType, range: Range) -> Range {
    let integers = Range { nan: false, neg_zero: false, tiny: 1.0, ..Range::ANY };
    match from {
        DType::F32 => range,
        DType::Bool => Range { lo: 0.0, hi: 1.0, pow2: true, ..integers },
        DType::I32 | DType::I64 => Range { lo: -9.223372e18, hi: 9.223372e18, ..integers },
    }
}

/// Two facts that cannot both be true.
#[derive(Clone, Debug)]
pub struct Conflict {
    /// The classes that were united.
    pub ids: (Id, Id),
    /// What contradicts what.
    pub what: String,
}

/// egg's analysis: facts, and the first contradiction met.
#[derive(Debug, Default)]
pub struct FactAnalysis {
    /// Facts of the values from outside.
    pub leaves: Vec<Facts>,
    /// The first contradiction.
    pub conflict: RefCell<Option<Conflict>>,
}

/// The e-graph of this crate.
pub type Terms = EGraph<Term, FactAnalysis>;

/// Attributes of an op term.
pub fn attributes(egraph: &Terms, op: &'static Op, term: &Term) -> Attrs {
    let n = term.operands();
    attrs_of(op, term.children[n..].iter().map(|c| egraph[*c].data.attr()))
}

fn contradiction(a: &Facts, b: &Facts) -> Option<String> {
    let (Facts::Value(a), Facts::Value(b)) = (a, b) else { return None };
    if a.ty != b.ty {
        return Some(format!("{} against {}", a.ty, b.ty));
    }
    if let (Some(x), Some(y)) = (&a.constant, &b.constant)
        && x.len() == y.len()
        && !x.reshaped(y.shape()).is_some_and(|x| x.same_value(y))
    {
        return Some(format!("the constant {x:?} against {y:?}"));
    }
    let both = a.range.meet(b.range);
    (!a.ty.is_empty() && a.ty.dtype == DType::F32 && both.is_empty())
        .then(|| format!("{:?} against {:?}", a.range, b.range))
}

impl Analysis<Term> for FactAnalysis {
    type Data = Facts;

    fn make(egraph: &mut Terms, term: &Term) -> Facts {
        let nothing = || Facts::Attr(None);
        match term.kind {
            Kind::Leaf(i) => egraph.analysis.leaves[i as usize].clone(),
            Kind::Const => term.tensor().map_or_else(nothing, Facts::constant),
            Kind::Attr => Facts::Attr(term.value.as_ref().and_then(|v| v.attr().cloned())),
            Kind::Function(_) => nothing(),
            Kind::Op(op) => {
                let attrs = attributes(egraph, op, term);
                let operands: Option<Vec<&ValueFacts>> = term.children[..term.operands()]
                    .iter()
                    .map(|c| egraph[*c].data.tensor())
                    .collect();
                operands.and_then(|x| Facts::of_op(op, attrs, &x).ok()).unwrap_or_else(nothing)
            }
        }
    }

    fn merge(&mut self, to: &mut Facts, from: Facts) -> DidMerge {
        let (Facts::Value(a), Facts::Value(b)) = (to, from) else { return DidMerge(false, false) };
        let both = a.range.meet(b.range);
        let constant = a.constant.clone().or_else(|| b.constant.clone());
        let gained = |had: &ValueFacts| {
            constant.is_some() != had.constant.is_some()
                || both != had.range && had.refined < REFINEMENTS
        };
        let changed = DidMerge(gained(a), gained(&b));
        if changed.0 {
            a.range = both;
            a.constant = constant;
            a.refined = a.refined.max(b.refined) + 1;
        }
        changed
    }

    fn pre_union(egraph: &Terms, a: Id, b: Id, _: &Option<Justification>) {
        let found = contradiction(&egraph[a].data, &egraph[b].data);
        if let Some(what) = found {
            egraph.analysis.conflict.borrow_mut().get_or_insert(Conflict { ids: (a, b), what });
        }
    }

    /// A class whose value is known holds that constant, broadcast to its shape.
    fn modify(egraph: &mut Terms, id: Id) {
        let Some(facts) = egraph[id].data.tensor() else { return };
        let Some(constant) = facts.constant.clone() else { return };
        let shape = facts.ty.shape.clone();
        let is_constant = |t: &Term| t.kind == Kind::Const;
        let spread = |t: &Term| {
            matches!(t.kind, Kind::Op(op) if op.prim() == Some(Prim::Broadcast))
                && egraph[t.children[0]].nodes.iter().any(is_constant)
        };
        let kept: Vec<Term> =
            egraph[id].nodes.iter().filter(|t| is_constant(t) || spread(t)).cloned().collect();
        if !kept.is_empty() {
            // Nothing else is worth keeping, and a class that holds itself would grow for ever.
            egraph[id].nodes = kept;
            return;
        }
        let whole = constant.shape() == shape;
        let mut new = egraph.add_uncanonical(Term::constant(constant));
        if let (false, Some(expand)) = (whole, ops::lookup("expand")) {
            let to = egraph.add_uncanonical(Term::attr(Some(Attr::from(&shape[..]))));
            new = egraph.add_uncanonical(Term::op(expand, vec![new, to]));
        }
        egraph.union_trusted(id, new, "fold");
    }
}
