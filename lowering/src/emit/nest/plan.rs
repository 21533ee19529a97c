//! What each pass over the inner dimensions does, and which values it leaves in a row buffer for
//! later ones.

use std::collections::HashMap;

use pamc_passes::ir::DType;
use pamc_passes::ops::Prim;

use super::super::builder::Code;
use super::Mode;
use crate::schedule::nest::{Expr, Kind, Nest};

/// Operations above which a value is kept from one pass to the next rather than computed again.
const WORTH_KEEPING: usize = 5;
/// Largest row buffers of one nest, in bytes: they lie on the stack.
pub(super) const ROW_BYTES: usize = 1 << 18;

/// One pass over the inner dimensions.
#[derive(Clone, Debug, Default)]
pub(super) struct Pass {
    /// Reductions it completes.
    pub reductions: Vec<usize>,
    /// Results it writes.
    pub stores: Vec<usize>,
}

/// A value kept in a row buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Which buffer.
    pub buffer: usize,
    /// The pass that fills it.
    pub pass: usize,
}

/// Facts about a nest that its emission rests on.
pub(super) struct Facts {
    /// Dimensions each expression depends on.
    pub depends: Vec<u64>,
    /// Reductions that must be complete before an expression can be computed.
    pub level: Vec<usize>,
    /// Loads that must turn subnormals into zeros: not all their users take the one for the other.
    pub flush: Vec<bool>,
}

impl Facts {
    pub(super) fn new(nest: &Nest, code: Code) -> Self {
        let mut level: Vec<usize> = Vec::with_capacity(nest.exprs.len());
        for expr in &nest.exprs {
            level.push(match &expr.kind {
                Kind::Const(_) | Kind::Index { .. } => 0,
                Kind::Load(access, _) => access.dynamic.map_or(0, |p| level[p.expr]),
                Kind::Op(_, _, operands) => operands.iter().map(|&o| level[o]).max().unwrap_or(0),
                Kind::Reduce(_, operand) => level[*operand] + 1,
            });
        }
        Facts { depends: nest.dependence(), level, flush: flushes(nest, code) }
    }

    /// True if an expression depends on the inner indices. In an ordered nest each point reads what
    /// the one before has written.
    pub(super) fn inner(&self, nest: &Nest, expr: usize) -> bool {
        nest.ordered != (0, 0) || self.depends[expr] >> nest.outer.len() != 0
    }

    pub(super) fn is_inner_store(&self, nest: &Nest, store: usize) -> bool {
        let store = &nest.stores[store];
        self.inner(nest, store.expr)
            || store.access.strides[nest.outer.len()..].iter().any(|&s| s != 0)
            || store.access.dynamic.is_some()
    }

    /// The passes in order.
    pub(super) fn passes(&self, nest: &Nest) -> Vec<Pass> {
        let top = self.level.iter().max().copied().unwrap_or(0);
        let pass = |level: usize| Pass {
            reductions: (0..nest.exprs.len())
                .filter(|&e| {
                    matches!(nest.exprs[e].kind, Kind::Reduce(..)) && self.level[e] == level
                })
                .collect(),
            stores: (0..nest.stores.len())
                .filter(|&s| {
                    self.is_inner_store(nest, s) && self.level[nest.stores[s].expr] + 1 == level
                })
                .collect(),
        };
        (1..=top + 1).map(pass).collect()
    }

    /// Values that several passes need and that are dear to compute, with the buffer of each.
    pub(super) fn kept(&self, nest: &Nest, mode: Mode, passes: &[Pass]) -> HashMap<usize, Kept> {
        let mut kept = HashMap::new();
        let row = nest.inner.iter().product::<usize>();
        if mode != Mode::Rows || nest.ordered != (0, 0) {
            return kept;
        }
        let lanes = nest.outer.len() + nest.inner.len() - 1;
        let mut made: HashMap<usize, usize> = HashMap::new();
        for (number, pass) in passes.iter().enumerate() {
            let mut seen = vec![false; nest.exprs.len()];
            let mut stack = pass.roots(nest);
            while let Some(e) = stack.pop() {
                if std::mem::replace(&mut seen[e], true) || !self.inner(nest, e) {
                    continue;
                }
                let fits = (kept.len() + 1) * row * 4 <= ROW_BYTES;
                if let Some(&pass) = made.get(&e)
                    && (kept.contains_key(&e)
                        || fits
                            && matches!(nest.exprs[e].dtype, DType::F32 | DType::I32)
                            && self.depends[e] >> lanes & 1 != 0
                            && self.cost(nest, e) >= WORTH_KEEPING)
                {
                    let buffer = kept.len();
                    kept.entry(e).or_insert(Kept { buffer, pass });
                    continue;
                }
                made.entry(e).or_insert(number);
                stack.extend(operands(&nest.exprs[e]));
            }
        }
        kept
    }

    /// About how many instructions a value takes at each point.
    fn cost(&self, nest: &Nest, expr: usize) -> usize {
        let mut seen = vec![false; nest.exprs.len()];
        let mut stack = vec![expr];
        let mut total = 0;
        while let Some(e) = stack.pop() {
            if std::mem::replace(&mut seen[e], true) || !self.inner(nest, e) {
                continue;
            }
            total += match &nest.exprs[e].kind {
                Kind::Load(access, _) => {
                    let along = access.strides.last().copied().unwrap_or(0);
                    let apart = access.dynamic.is_some() || !matches!(along, 0 | 1);
                    if apart { 32 } else { 1 + 3 * usize::from(self.flush[e]) }
                }
                Kind::Op(prim, attrs, _) => match prim {
                    Prim::PamMul | Prim::PamDiv | Prim::PamExp2 | Prim::PamLog2 => 10,
                    Prim::FExp | Prim::FExp2 | Prim::FLog | Prim::FLog2 => 20,
                    Prim::FDiv | Prim::FSqrt => 6,
                    Prim::ShiftSum => 4 * attrs.ints("exponents").len(),
                    _ => 1,
                },
                _ => 0,
            };
            stack.extend(operands(&nest.exprs[e]));
        }
        total
    }
}

impl Pass {
    /// The expressions that a pass computes for their own sake.
    pub(super) fn roots(&self, nest: &Nest) -> Vec<usize> {
        let mut roots = Vec::new();
        for &r in &self.reductions {
            if let Kind::Reduce(_, operand) = nest.exprs[r].kind {
                roots.push(operand);
            }
        }
        for &s in &self.stores {
            roots.push(nest.stores[s].expr);
            roots.extend(nest.stores[s].access.dynamic.map(|p| p.expr));
        }
        roots
    }
}

/// What an expression is computed from at the same point.
pub(super) fn operands(expr: &Expr) -> Vec<usize> {
    match &expr.kind {
        Kind::Op(_, _, operands) => operands.clone(),
        Kind::Load(access, _) => access.dynamic.iter().map(|p| p.expr).collect(),
        _ => Vec::new(),
    }
}

/// Loads of unflushed data that some user needs flushed. Float additions and comparisons read
/// subnormals as zeros in the mode that a processor's code runs in, and PAM tells zeros by their
/// exponent.
fn flushes(nest: &Nest, code: Code) -> Vec<bool> {
    let mut out = vec![code != Code::Cpu; nest.exprs.len()];
    for expr in &nest.exprs {
        let indifferent = match &expr.kind {
            Kind::Op(prim, attrs, _) => match prim {
                Prim::Add | Prim::Sub => true,
                Prim::Eq | Prim::Ne | Prim::Lt | Prim::Le | Prim::Gt | Prim::Ge => true,
                Prim::PamMul | Prim::PamDiv | Prim::PamExp2 | Prim::PamLog2 | Prim::PamSqrt => true,
                Prim::ShiftSum => attrs.ints("exponents").len() > 1,
                _ => false,
            },
            Kind::Reduce(join, _) => *join == crate::schedule::nest::Join::Sum,
            _ => true,
        };
        if !indifferent {
            let of_reduction = match expr.kind {
                Kind::Reduce(_, operand) => Some(operand),
                _ => None,
            };
            operands(expr).into_iter().chain(of_reduction).for_each(|o| out[o] = true);
        }
    }
    nest.stores.iter().for_each(|s| out[s.expr] = true);
    let flushed = |e: &Expr| matches!(e.kind, Kind::Load(_, true));
    out.iter().zip(&nest.exprs).map(|(&needed, e)| needed && flushed(e)).collect()
}
