//! Where the time of a program goes: the processor's cycle counter is read around each kernel call,
//! and the differences are summed in the arena.

use super::step::view;
use crate::schedule::{Call, Kernel, Schedule};

/// A kernel call whose time is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfiledCall {
    /// The source node, or all those, that it computes.
    pub origin: String,
    /// The primitive at its end.
    pub op: &'static str,
    /// Products it sums, if it is a contraction.
    pub products: usize,
}

/// The calls in the order of their counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The calls.
    pub calls: Vec<ProfiledCall>,
    /// Bytes from the start of the arena to their counters, 64 bits each.
    pub offset: usize,
}

impl Profile {
    /// The calls of schedules, with counters behind an arena of that many bytes.
    pub(super) fn new<'s>(schedules: impl Iterator<Item = &'s Schedule>, offset: usize) -> Self {
        let call = |schedule: &Schedule, (i, call): (usize, &Call)| {
            let node = schedule.graph.node(call.node);
            let products = match &call.kernel {
                Kernel::Matmul(spec, _) => {
                    spec.batch.iter().product::<usize>() * spec.m * spec.k * spec.n
                }
                _ => 0,
            };
            let (origin, op, times) = (node.origin.to_string(), node.op.name, schedule.times(i));
            ProfiledCall { origin, op, products: times * products }
        };
        let calls = schedules.flat_map(|s| s.calls.iter().enumerate().map(move |c| call(s, c)));
        Profile { calls: calls.collect(), offset }
    }

    /// Bytes of an arena with the counters.
    pub(super) fn arena_bytes(&self) -> usize {
        self.offset + self.calls.len() * size_of::<u64>()
    }
}

/// Reads the counter before call `i`.
pub(super) fn read(i: usize) -> String {
    read_as(&format!("%tick{i}"))
}

fn read_as(name: &str) -> String {
    format!("{name} = llvm.call_intrinsic \"llvm.readcyclecounter\"() : () -> i64")
}

/// Adds what has passed since [`read`] to the counter at `offset` of the arena.
pub(super) fn count(i: usize, offset: usize, arena_bytes: usize) -> Vec<String> {
    let mut lines = vec![read_as(&format!("%tock{i}"))];
    lines.push(format!("%spent{i} = arith.subi %tock{i}, %tick{i} : i64"));
    lines.extend(view(&format!("%clock{i}"), "%arena", offset, arena_bytes, "memref<1xi64>"));
    lines.push(format!("%first{i} = arith.constant 0 : index"));
    lines.push(format!("%before{i} = memref.load %clock{i}[%first{i}] : memref<1xi64>"));
    lines.push(format!("%after{i} = arith.addi %before{i}, %spent{i} : i64"));
    lines.push(format!("memref.store %after{i}, %clock{i}[%first{i}] : memref<1xi64>"));
    lines
}
