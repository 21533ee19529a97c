//! Tiles of operands on their way from memory through registers to workgroup memory.

use super::super::builder::{Builder, Code};
use super::super::nest::INDEX;
use super::super::types::{Elem, Value, VecTy};
use super::loops::{bits, index, pack};
use super::tile::{Fetch, Side};
use super::window;
use crate::kernels::Operand;
use crate::schedule::windows::Windows;
use pamc_passes::ir::DType;

const F32: VecTy = VecTy::scalar(Elem::F32);
const I32: VecTy = VecTy::scalar(Elem::I32);
const FLOATS: VecTy = VecTy::vector(Elem::F32, 4);
/// The bits of 1, which no kernel minds.
const ONE: i64 = 0x3F80_0000;

/// Which tile of an operand to fetch.
pub(super) struct From {
    /// The batch element's first element.
    pub base: Value,
    /// First index along the width.
    pub first: Value,
    /// Number of the tile along the depth.
    pub tile: Value,
    /// Bits of what counts as an element beyond the last term.
    pub beyond: i64,
}

/// What a thread has fetched, and where in the tile it belongs.
pub(super) struct Fetched {
    /// Bits, four to a vector.
    pub vectors: Vec<Value>,
    /// Place of each vector's first element.
    pub places: Vec<Value>,
    /// From one element of a vector to the next.
    pub step: usize,
}

/// Type of an operand's buffer, by single elements or by fours.
pub(super) fn buffer(code: Code, operand: &Operand, fours: bool) -> String {
    if !fours {
        return code.buffer(DType::F32, operand.len);
    }
    let count = operand.len / 4;
    match code {
        Code::Spirv => format!("memref<{count}x{FLOATS}, #spirv.storage_class<StorageBuffer>>"),
        _ => format!("memref<{count}x{FLOATS}>"),
    }
}

/// Four elements of a buffer of fours.
pub(super) fn load_four(b: &mut Builder, side: &Side, at: Value) -> Value {
    let ty = buffer(b.code(), &side.operand, true);
    b.define(FLOATS, format_args!("memref.load %p{}[{at}] : {ty}", side.param))
}

/// Write four elements.
pub(super) fn store_four(b: &mut Builder, side: &Side, value: Value, at: Value) {
    let ty = buffer(b.code(), &side.operand, true);
    b.line(format_args!("memref.store {value}, %p{}[{at}] : {ty}", side.param));
}

/// An element.
pub(super) fn load_one(b: &mut Builder, side: &Side, at: Value) -> Value {
    let ty = buffer(b.code(), &side.operand, false);
    b.define(F32, format_args!("memref.load %p{}[{at}] : {ty}", side.param))
}

/// Write an element.
pub(super) fn store_one(b: &mut Builder, side: &Side, value: Value, at: Value) {
    let ty = buffer(b.code(), &side.operand, false);
    b.line(format_args!("memref.store {value}, %p{}[{at}] : {ty}", side.param));
}

/// Fetch this thread's part of a tile.
pub(super) fn fetch(
    b: &mut Builder,
    side: &Side,
    from: &From,
    thread: Value,
    threads: usize,
) -> Fetched {
    let step = if side.fetch == Fetch::Deep { side.tile } else { 1 };
    let mut fetched = Fetched { vectors: Vec::new(), places: Vec::new(), step };
    for step in 0..side.items().div_ceil(threads) {
        let step = index(b, step * threads);
        let item = b.binary("arith.addi", thread, step);
        let (place, at) = place(b, side, item);
        fetched.places.push(place);
        let vector = vector(b, side, from, at);
        fetched.vectors.push(vector);
    }
    fetched
}

/// Where the first element of an item belongs in the tile, and its width and depth there.
fn place(b: &mut Builder, side: &Side, item: Value) -> (Value, [Value; 2]) {
    let (four, row) = (index(b, 4), index(b, side.tile));
    let (width, depth) = if side.fetch == Fetch::Deep {
        let vectors = index(b, side.terms / 4);
        let depth = b.binary("arith.remui", item, vectors);
        (b.binary("arith.divui", item, vectors), b.binary("arith.muli", depth, four))
    } else {
        let vectors = index(b, side.tile / 4);
        let width = b.binary("arith.remui", item, vectors);
        (b.binary("arith.muli", width, four), b.binary("arith.divui", item, vectors))
    };
    let start = b.binary("arith.muli", depth, row);
    (b.binary("arith.addi", start, width), [width, depth])
}

/// An index at or below the last that `count` elements can start from, and whether it was one; `None`
/// if it always is.
fn clamped(
    b: &mut Builder,
    at: Value,
    (extent, whole, count): (usize, bool, usize),
) -> (Value, Option<Value>) {
    if whole {
        return (at, None);
    }
    let last = index(b, extent - count);
    let inside = b.compare("ule", at, last);
    (b.binary("arith.minui", at, last), Some(inside))
}

/// The four elements of one item.
fn vector(b: &mut Builder, side: &Side, from: &From, at: [Value; 2]) -> Value {
    let depth = index(b, side.terms);
    let start = b.binary("arith.muli", from.tile, depth);
    let width = b.binary("arith.addi", from.first, at[0]);
    let depth = b.binary("arith.addi", start, at[1]);
    let reader = Reader { side, from };
    match side.fetch {
        Fetch::Wide => reader.four(b, (width, 4), (depth, 1)),
        Fetch::Deep => reader.four(b, (width, 1), (depth, 4)),
        Fetch::Single => {
            let parts = [0, 1, 2, 3].map(|l| {
                let lane = index(b, l);
                let width = b.binary("arith.addi", width, lane);
                reader.one(b, width, depth)
            });
            pack(b, parts)
        }
    }
}

/// Reads elements of an operand, or what counts as one outside.
struct Reader<'a> {
    side: &'a Side,
    from: &'a From,
}

impl Reader<'_> {
    /// The address of an element, or of four, and whether it is inside along width and depth.
    fn at(
        &self,
        b: &mut Builder,
        (width, along): (Value, usize),
        (depth, down): (Value, usize),
    ) -> (Value, [Option<Value>; 2]) {
        let side = self.side;
        let whole = side.whole();
        let (width, is_width) = clamped(b, width, (side.width.0, whole.0, along));
        let (depth, is_depth) = clamped(b, depth, (side.depth.0, whole.1, down));
        let mut at = self.from.base;
        // In fours where four come at once: every term is a multiple of four elements.
        let scale = if side.fetch == Fetch::Single { 1 } else { 4 };
        let by = index(b, scale);
        if scale != 1 {
            at = b.binary("arith.divui", at, by);
        }
        for (place, axis) in [(width, side.width.1), (depth, side.depth.1)] {
            let stride = side.operand.strides[axis];
            let moved = if scale != 1 && stride == 1 {
                b.binary("arith.divui", place, by)
            } else {
                let stride = b.int(INDEX, stride / scale as i64);
                b.binary("arith.muli", place, stride)
            };
            at = b.binary("arith.addi", at, moved);
        }
        (at, [is_width, is_depth])
    }

    fn filled(&self, b: &mut Builder, value: Value, [width, depth]: [Option<Value>; 2]) -> Value {
        let mut value = value;
        for (inside, bits) in [(width, ONE), (depth, self.from.beyond)] {
            let Some(inside) = inside else { continue };
            let other = b.int(value.ty, bits);
            if b.code() == Code::Spirv && value.ty.lanes.is_some() {
                // There each element of a vector has a condition of its own.
                let inside = pack(b, [inside; 4]);
                value = b.select(inside, value, other);
                continue;
            }
            let ty = value.ty;
            value = b.define(ty, format_args!("arith.select {inside}, {value}, {other} : {ty}"));
        }
        value
    }

    /// Four neighbours along the axis of stride 1.
    fn four(&self, b: &mut Builder, width: (Value, usize), depth: (Value, usize)) -> Value {
        let (at, inside) = self.at(b, width, depth);
        let value = load_four(b, self.side, at);
        let value = bits(b, value);
        self.filled(b, value, inside)
    }

    /// One element that is looked up.
    fn looked_up(&self, b: &mut Builder, windows: &Windows, width: Value, depth: Value) -> Value {
        let side = self.side;
        let whole = side.whole();
        let (width, is_width) = clamped(b, width, (side.width.0, whole.0, 1));
        let (depth, is_depth) = clamped(b, depth, (side.depth.0, whole.1, 1));
        let at = if side.width.1 < side.depth.1 { [width, depth] } else { [depth, width] };
        let (at, inside) = window::locate(b, windows, self.from.base, at);
        let value = load_one(b, side, at);
        let mut value = bits(b, value);
        if let Some(inside) = inside {
            let zero = b.int(I32, 0);
            value = b.select(inside, value, zero);
        }
        self.filled(b, value, [is_width, is_depth])
    }

    fn one(&self, b: &mut Builder, width: Value, depth: Value) -> Value {
        if let Some(windows) = &self.side.windows {
            return self.looked_up(b, windows, width, depth);
        }
        let (at, inside) = self.at(b, (width, 1), (depth, 1));
        let value = load_one(b, self.side, at);
        let value = bits(b, value);
        debug_assert_eq!(value.ty, I32);
        self.filled(b, value, inside)
    }
}
