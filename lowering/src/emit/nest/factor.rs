//! Products and quotients by a value of the row, and row buffers.

use pamc_passes::ops::Prim;

use super::super::builder::Code;
use super::super::pam::Factor;
use super::super::types::{Elem, Value, VecTy};
use super::plan::Kept;
use super::{Emitter, INDEX};
use crate::schedule::nest::{Expr, Kind};

const BIAS: u64 = 0x3F80_0000;

/// A product or quotient of something by something that stays the same in a loop.
#[derive(Clone, Copy)]
struct Scaling {
    scaled: usize,
    by: usize,
    divide: bool,
}

impl Emitter<'_> {
    fn scaling(&self, expr: usize) -> Option<Scaling> {
        let exprs = &self.nest.exprs;
        let Kind::Op(prim, _, operands) = &exprs[expr].kind else { return None };
        let divide = match prim {
            Prim::PamMul => false,
            Prim::PamDiv => true,
            _ => return None,
        };
        let [x, y] = operands[..] else { return None };
        let steady = |e: usize| !self.inner(e) || matches!(exprs[e].kind, Kind::Const(_));
        if !self.inner(expr) || x == y || self.b.code() != Code::Cpu {
            return None;
        }
        if steady(y) {
            return Some(Scaling { scaled: x, by: y, divide });
        }
        (steady(x) && !divide).then_some(Scaling { scaled: y, by: x, divide })
    }

    /// Works out what scales the other operand of an expression, if that is the same in the whole loop.
    pub(super) fn prepare_factor(&mut self, expr: usize) {
        let Some(Scaling { by, divide, .. }) = self.scaling(expr) else { return };
        if self.known().factors.contains_key(&(by, divide)) {
            return;
        }
        let y = self.value(by);
        let factor = Factor::new(self.b, y, divide, shrinks(&self.nest.exprs[by], divide));
        self.known().factors.insert((by, divide), factor);
    }

    /// The value of a product or quotient with an operand of the row.
    pub(super) fn scaled_by_row(&mut self, expr: usize, lanes: Option<usize>) -> Option<Value> {
        let Scaling { scaled, by, divide } = self.scaling(expr)?;
        self.prepare_factor(expr);
        let factor = self.known().factors[&(by, divide)];
        let factor = factor.map(|part| self.widen(part, lanes));
        let value = self.value(scaled);
        let value = self.widen(value, lanes);
        Some(factor.apply(self.b, value))
    }

    /// The row buffers, in the scope of whoever fills and reads them.
    pub(super) fn make_buffers(&mut self) {
        let mut kept: Vec<(usize, Elem)> =
            self.kept.iter().map(|(&e, k)| (k.buffer, self.nest.exprs[e].dtype.into())).collect();
        kept.sort_unstable_by_key(|(buffer, _)| *buffer);
        self.buffers.clear();
        if kept.is_empty() {
            return;
        }
        let len = self.nest.inner.iter().product::<usize>();
        let len = self.b.int(VecTy::scalar(Elem::I64), len as i64);
        for (_, elem) in kept.repeat(self.band.len()) {
            // A pointer: no type of values has a name for it.
            let buffer = self.b.fresh(INDEX);
            self.b.line(format_args!(
                "{buffer} = llvm.alloca {len} x {} {{alignment = 64 : i64}} : (i64) -> !llvm.ptr",
                elem.name()
            ));
            self.buffers.push(buffer);
        }
    }

    /// The current place in a row buffer.
    fn place(&mut self, kept: Kept, elem: Elem) -> Value {
        let outer = self.nest.outer.len();
        let mut strides = vec![0i64; outer + self.nest.inner.len()];
        let mut stride = 1;
        for (d, extent) in self.nest.inner.iter().enumerate().rev() {
            strides[outer + d] = stride;
            stride *= *extent as i64;
        }
        let at = self.linear(0, &strides);
        let at = self.b.convert("arith.index_cast", at, Elem::I64);
        let place = self.b.fresh(INDEX);
        self.b.line(format_args!(
            "{place} = llvm.getelementptr {}[{at}] : (!llvm.ptr, i64) -> !llvm.ptr, {}",
            self.buffers[self.in_band * self.kept.len() + kept.buffer],
            elem.name()
        ));
        place
    }

    pub(super) fn keep(&mut self, value: Value, kept: Kept) {
        let place = self.place(kept, value.ty.elem);
        self.b.line(format_args!(
            "llvm.store {value}, {place} {{alignment = 4 : i64}} : {}, !llvm.ptr",
            value.ty
        ));
    }

    pub(super) fn recall(&mut self, expr: usize, kept: Kept) -> Value {
        let ty = VecTy::vector(self.nest.exprs[expr].dtype.into(), self.lanes);
        let place = self.place(kept, ty.elem);
        self.b.define(
            ty,
            format_args!("llvm.load {place} {{alignment = 4 : i64}} : !llvm.ptr -> {ty}"),
        )
    }
}

/// True if every finite x ⊙ y, or x ⊘ y, is no larger than x.
fn shrinks(y: &Expr, divide: bool) -> bool {
    let Kind::Const(bits) = y.kind else { return false };
    let magnitude = bits & 0x7FFF_FFFF;
    if divide { (BIAS..0x7F80_0000).contains(&magnitude) } else { magnitude <= BIAS }
}
