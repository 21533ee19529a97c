//! Kernels in MLIR's gpu dialect: their headers, and which work is whose.

use super::builder::{Builder, Code};
use super::nest::INDEX;
use super::types::{Elem, Value, VecTy};
use crate::schedule::nest::Param;

/// Threads of a workgroup, unless a kernel has its own idea.
pub const THREADS: usize = 256;
/// The most workgroups along one axis of a grid that every device takes.
const GRID: usize = 65_535;

/// A flat launch: so many workgroups of so many threads, with memory that a workgroup shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Workgroups.
    pub groups: usize,
    /// Threads in each.
    pub threads: usize,
    /// Arrays in workgroup memory: `%s0`, `%s1`, …
    pub shared: Vec<(VecTy, usize)>,
    /// Of a contraction by tiles: rows and columns of the output that a workgroup computes, and terms of
    /// the operands that are in its memory at a time.
    pub tile: Option<[usize; 3]>,
}

impl Shape {
    /// Enough workgroups for so many items of work, a thread taking `each` of them.
    pub fn new(items: usize, each: usize) -> Shape {
        let groups = items.div_ceil(THREADS * each).max(1);
        Shape { groups, threads: THREADS, shared: Vec::new(), tile: None }
    }

    /// The grid: along x, and where that is too long also along y.
    pub fn grid(&self) -> [u32; 3] {
        match self.groups.div_ceil(GRID) {
            0 | 1 => [self.groups.max(1) as u32, 1, 1],
            rows => [GRID as u32, rows as u32, 1],
        }
    }

    /// Bytes of workgroup memory.
    pub fn shared_bytes(&self) -> usize {
        let bytes =
            |(ty, len): &(VecTy, usize)| ty.elem.bits() as usize / 8 * ty.lanes.unwrap_or(1) * len;
        self.shared.iter().map(bytes).sum()
    }
}

/// Type of an array in workgroup memory.
pub fn shared(code: Code, ty: VecTy, len: usize) -> String {
    match code {
        Code::Spirv => format!("memref<{len}x{ty}, #spirv.storage_class<Workgroup>>"),
        _ => format!("memref<{len}x{ty}, #gpu.address_space<workgroup>>"),
    }
}

/// Who a thread is.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    /// Its workgroup, counted along x, then y.
    pub group: Value,
    /// Its place in the workgroup.
    pub thread: Value,
    threads: usize,
    groups: usize,
}

impl Ids {
    /// Write what is to be done for item number `flat` of `items`, one a thread.
    pub fn each(&self, b: &mut Builder, items: usize, body: impl FnOnce(&mut Builder, Value)) {
        let flat = self.flat(b);
        match self.inside(b, flat, items) {
            None => body(b, flat),
            Some(inside) => b.region(format!("scf.if {inside}"), |b| body(b, flat)),
        }
    }

    /// The number of a thread among all.
    pub fn flat(&self, b: &mut Builder) -> Value {
        let threads = b.int(INDEX, self.threads as i64);
        let first = b.binary("arith.muli", self.group, threads);
        b.binary("arith.addi", first, self.thread)
    }

    /// Whether a thread's number is below that of the items; `None` if all are.
    pub fn inside(&self, b: &mut Builder, flat: Value, items: usize) -> Option<Value> {
        let exact = self.threads * self.groups == items && self.groups <= GRID;
        (!exact).then(|| {
            let end = b.int(INDEX, items as i64);
            b.compare("ult", flat, end)
        })
    }
}

/// Types of dense buffers.
pub fn types(code: Code, params: &[Param]) -> Vec<String> {
    params.iter().map(|p| code.buffer(p.dtype, p.len)).collect()
}

/// Writes the kernel `@name(%p0, %p1, …)`, its parameters of the given types.
pub fn kernel(
    b: &mut Builder,
    name: &str,
    params: &[String],
    shape: &Shape,
    body: impl FnOnce(&mut Builder, Ids),
) {
    let code = b.code();
    let list: Vec<String> = params.iter().enumerate().map(|(i, p)| format!("%p{i}: {p}")).collect();
    let arrays: Vec<String> = shape.shared.iter().map(|&(ty, len)| shared(code, ty, len)).collect();
    let mut header = format!("gpu.func @{name}({})", list.join(", "));
    let threads = shape.threads;
    if code == Code::Spirv {
        header += &format!(
            " kernel attributes {{spirv.entry_point_abi = \
             #spirv.entry_point_abi<workgroup_size = [{threads}, 1, 1]>}}"
        );
    } else {
        if !arrays.is_empty() {
            let named = arrays
                .iter()
                .enumerate()
                .map(|(i, a)| format!("%s{i}: {a} {{llvm.align = 16 : i64}}"));
            header += &format!(" workgroup({})", named.collect::<Vec<_>>().join(", "));
        }
        header +=
            &format!(" kernel attributes {{gpu.known_block_size = array<i32: {threads}, 1, 1>}}");
    }
    b.region(header, |b| {
        if code == Code::Spirv {
            for (i, array) in arrays.iter().enumerate() {
                b.line(format_args!("%s{i} = memref.alloc() : {array}"));
            }
        }
        let thread = b.define(INDEX, "gpu.thread_id x");
        let mut group = b.define(INDEX, "gpu.block_id x");
        if shape.groups > GRID {
            let row = b.define(INDEX, "gpu.block_id y");
            let length = b.int(INDEX, GRID as i64);
            let before = b.binary("arith.muli", row, length);
            group = b.binary("arith.addi", before, group);
        }
        body(b, Ids { group, thread, threads, groups: shape.groups });
        b.line("gpu.return");
    });
}

/// The indices that a number stands for in row-major order.
pub fn split(b: &mut Builder, flat: Value, extents: &[usize]) -> Vec<Value> {
    let mut rest = flat;
    let mut at = Vec::with_capacity(extents.len());
    for (d, &extent) in extents.iter().enumerate().rev() {
        if extent == 1 {
            at.push(b.int(INDEX, 0));
        } else if d == 0 {
            at.push(rest);
        } else {
            let extent = b.int(INDEX, extent as i64);
            at.push(b.binary("arith.remui", rest, extent));
            rest = b.binary("arith.divui", rest, extent);
        }
    }
    at.reverse();
    at
}

/// Waits until all threads of a workgroup have come here and see what the others have written to its
/// memory.
pub fn barrier(b: &mut Builder) {
    b.line("gpu.barrier");
}

/// An element of a workgroup's array.
pub fn load_shared(b: &mut Builder, array: usize, shape: &Shape, at: Value) -> Value {
    let (ty, len) = shape.shared[array];
    let memory = shared(b.code(), ty, len);
    b.define(ty, format_args!("memref.load %s{array}[{at}] : {memory}"))
}

/// Write an element of a workgroup's array.
pub fn store_shared(b: &mut Builder, array: usize, shape: &Shape, value: Value, at: Value) {
    let (ty, len) = shape.shared[array];
    let memory = shared(b.code(), ty, len);
    b.line(format_args!("memref.store {value}, %s{array}[{at}] : {memory}"));
}

/// The type that a register's value has in workgroup memory.
pub fn kept(elem: Elem) -> VecTy {
    VecTy::scalar(if elem == Elem::I1 { Elem::I32 } else { elem })
}

/// All elements of a vector of four.
pub fn elements(b: &mut Builder, vector: Value) -> [Value; 4] {
    let ty = VecTy::scalar(vector.ty.elem);
    [0, 1, 2, 3].map(|lane| {
        b.define(ty, format_args!("vector.extract {vector}[{lane}] : {ty} from {}", vector.ty))
    })
}

/// A vector of four elements.
pub fn pack(b: &mut Builder, parts: [Value; 4]) -> Value {
    let ty = VecTy::vector(parts[0].ty.elem, 4);
    let [w, x, y, z] = parts;
    b.define(ty, format_args!("vector.from_elements {w}, {x}, {y}, {z} : {ty}"))
}

/// Four neighbours of a workgroup's array, the first at a multiple of four.
pub fn load_shared_four(b: &mut Builder, array: usize, shape: &Shape, at: Value) -> Value {
    let (ty, len) = shape.shared[array];
    if b.code() == Code::Spirv {
        let parts = [0, 1, 2, 3].map(|lane| {
            let lane = b.int(INDEX, lane);
            let at = b.binary("arith.addi", at, lane);
            load_shared(b, array, shape, at)
        });
        return pack(b, parts);
    }
    let (memory, four) = (shared(b.code(), ty, len), VecTy::vector(ty.elem, 4));
    let load = format!("vector.load %s{array}[{at}] {{alignment = 16 : i64}} : {memory}, {four}");
    b.define(four, load)
}

/// Write four elements of a workgroup's array, so many apart; neighbours begin at a multiple of four.
pub fn store_shared_four(
    b: &mut Builder,
    array: usize,
    shape: &Shape,
    value: Value,
    (at, step): (Value, usize),
) {
    let (ty, len) = shape.shared[array];
    if b.code() == Code::Spirv || step != 1 {
        for (lane, part) in elements(b, value).into_iter().enumerate() {
            let moved = b.int(INDEX, (lane * step) as i64);
            let at = b.binary("arith.addi", at, moved);
            store_shared(b, array, shape, part, at);
        }
        return;
    }
    let memory = shared(b.code(), ty, len);
    b.line(format_args!(
        "vector.store {value}, %s{array}[{at}] {{alignment = 16 : i64}} : {memory}, {}",
        value.ty
    ));
}
