//! Reading and writing buffers, one element or a vector at a time.

use pamc_passes::ir::DType;

use super::super::types::{Elem, Value, VecTy};
use super::{Emitter, INDEX};
use crate::schedule::nest::{Access, Position};

impl Emitter<'_> {
    /// `a · c` of an index and a constant.
    pub(super) fn scaled(&mut self, a: Value, by: i64) -> Value {
        if by == 1 {
            return a;
        }
        let by = self.b.int(a.ty, by);
        self.b.binary("arith.muli", a, by)
    }

    /// `offset + Σ index·stride`, in the first lane.
    pub(super) fn linear(&mut self, offset: i64, strides: &[i64]) -> Value {
        let mut sum: Option<Value> = None;
        for (d, &stride) in strides.iter().enumerate() {
            let Some(at) = self.at[d].filter(|_| stride != 0) else { continue };
            let term = self.scaled(at, stride);
            sum = Some(sum.map_or(term, |s| self.b.binary("arith.addi", s, term)));
        }
        let base = self.b.int(INDEX, offset);
        match sum {
            None => base,
            Some(sum) if offset == 0 => sum,
            Some(sum) => self.b.binary("arith.addi", sum, base),
        }
    }

    /// An index ramp as numbers.
    pub(super) fn ramp(
        &mut self,
        elem: Elem,
        offset: i64,
        strides: &[i64],
        lanes: Option<usize>,
    ) -> Value {
        let first = self.linear(offset, strides);
        let first = self.b.convert("arith.index_cast", first, elem);
        let (Some(lanes), Some(d)) = (lanes, self.vector_dim()) else { return first };
        let steps: Vec<String> = (0..lanes as i64).map(|l| (l * strides[d]).to_string()).collect();
        let ty = VecTy::vector(elem, lanes);
        let steps = format!("arith.constant dense<[{}]> : {ty}", steps.join(", "));
        let steps = self.b.define(ty, steps);
        let first = self.widen(first, Some(lanes));
        self.b.binary("arith.addi", first, steps)
    }

    /// The clamped position found in data times its stride, in each lane.
    fn displacement(&mut self, position: Position) -> Value {
        let placed = self.placed(position);
        let index = self.b.convert("arith.index_cast", placed, Elem::Index);
        self.scaled(index, position.stride)
    }

    /// The clamped position found in data, as an integer of its type.
    pub(super) fn placed(&mut self, position: Position) -> Value {
        let value = self.value(position.expr);
        let ty = value.ty;
        let (zero, extent) = (self.b.int(ty, 0), self.b.int(ty, position.extent as i64));
        let last = self.b.int(ty, position.extent.saturating_sub(1) as i64);
        let negative = self.b.compare("slt", value, zero);
        let from_end = self.b.binary("arith.addi", value, extent);
        let placed = self.b.select(negative, from_end, value);
        let placed = self.b.binary("arith.maxsi", placed, zero);
        self.b.binary("arith.minsi", placed, last)
    }

    fn lane(&mut self, vector: Value, lane: usize) -> Value {
        let ty = VecTy::scalar(vector.ty.elem);
        self.b.define(ty, format_args!("vector.extract {vector}[{lane}] : {ty} from {}", vector.ty))
    }

    /// Address of the first lane, and of each lane if they do not follow one another by a stride.
    fn addresses(&mut self, access: &Access, lanes: Option<usize>) -> Addresses {
        let base = self.linear(access.offset, &access.strides);
        let stride = self.vector_dim().map_or(0, |d| access.strides[d]);
        let Some(position) = access.dynamic else { return Addresses { base, stride, each: None } };
        let moved = self.displacement(position);
        if moved.ty.lanes.is_none() {
            let base = self.b.binary("arith.addi", base, moved);
            return Addresses { base, stride, each: None };
        }
        let each = (0..lanes.unwrap_or(1)).map(|l| self.lane(moved, l)).collect();
        Addresses { base, stride, each: Some(each) }
    }

    fn address(&mut self, addresses: &Addresses, lane: usize) -> Value {
        let step = self.b.int(INDEX, lane as i64 * addresses.stride);
        let mut at = addresses.base;
        if lane as i64 * addresses.stride != 0 {
            at = self.b.binary("arith.addi", at, step);
        }
        match &addresses.each {
            Some(each) => self.b.binary("arith.addi", at, each[lane]),
            None => at,
        }
    }

    fn buffer(&self, access: &Access) -> (String, String) {
        let param = self.nest.params[access.param];
        (format!("%p{}", access.param), self.b.code().buffer(param.dtype, param.len))
    }

    pub(super) fn load(&mut self, access: &Access, dtype: DType, lanes: Option<usize>) -> Value {
        let (name, buffer) = self.buffer(access);
        let elem = self.b.code().stored(dtype);
        let one = VecTy::scalar(elem);
        let addresses = self.addresses(access, lanes);
        let value = match lanes {
            None => {
                let at = self.address(&addresses, 0);
                self.b.define(one, format_args!("memref.load {name}[{at}] : {buffer}"))
            }
            Some(lanes) if addresses.stride == 1 && addresses.each.is_none() => {
                let ty = VecTy::vector(elem, lanes);
                let at = addresses.base;
                self.b.define(ty, format_args!("vector.load {name}[{at}] : {buffer}, {ty}"))
            }
            Some(lanes) => {
                let mut list = Vec::with_capacity(lanes);
                for lane in 0..lanes {
                    let at = self.address(&addresses, lane);
                    let load = format!("memref.load {name}[{at}] : {buffer}");
                    list.push(self.b.define(one, load).to_string());
                }
                let ty = VecTy::vector(elem, lanes);
                self.b.define(ty, format_args!("vector.from_elements {} : {ty}", list.join(", ")))
            }
        };
        if dtype != DType::Bool {
            return value;
        }
        let zero = self.b.int(value.ty, 0);
        self.b.compare("ne", value, zero)
    }

    /// Write one of the nest's results.
    pub(super) fn store(&mut self, store: usize) {
        let nest = self.nest;
        let store = &nest.stores[store];
        let access = &store.access;
        let moves = self.vector_dim().is_some_and(|d| access.strides[d] != 0)
            || access.dynamic.is_some_and(|p| self.varies(p.expr));
        let lanes = moves.then_some(self.lanes);
        let value = self.value(store.expr);
        let value = self.widen(value, lanes);
        let value = match nest.exprs[store.expr].dtype {
            DType::Bool => {
                let stored = self.b.code().stored(DType::Bool);
                self.b.convert("arith.extui", value, stored)
            }
            _ => value,
        };
        let (name, buffer) = self.buffer(access);
        let addresses = self.addresses(access, lanes);
        match lanes {
            None => {
                let at = self.address(&addresses, 0);
                self.b.line(format_args!("memref.store {value}, {name}[{at}] : {buffer}"));
            }
            Some(_) if addresses.stride == 1 && addresses.each.is_none() => {
                let (at, ty) = (addresses.base, value.ty);
                self.b.line(format_args!("vector.store {value}, {name}[{at}] : {buffer}, {ty}"));
            }
            Some(lanes) => {
                for lane in 0..lanes {
                    let at = self.address(&addresses, lane);
                    let one = self.lane(value, lane);
                    self.b.line(format_args!("memref.store {one}, {name}[{at}] : {buffer}"));
                }
            }
        }
    }
}

struct Addresses {
    base: Value,
    stride: i64,
    each: Option<Vec<Value>>,
}
