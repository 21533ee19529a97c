//! A place in the arena for every value, planned once: first fit over the time each is in use.

use std::collections::{HashMap, HashSet};

use pamc_passes::ir::{Graph, NodeId};
use pamc_passes::ops::Prim;

use super::bands::Bands;
use super::{Call, Machine, Place, aligned};

/// A buffer from its first writer to its last user.
struct Interval {
    first: usize,
    last: usize,
    bytes: usize,
    owner: Owner,
}

enum Owner {
    Value(NodeId),
    Scratch(usize),
}

/// Place everything that has no place yet; `kept` values stay to the end. Returns the bytes of the
/// arena and the most bytes in use at once.
pub fn plan(
    graph: &Graph,
    (calls, bands): (&mut [Call], &[Bands]),
    places: &mut HashMap<NodeId, Place>,
    kept: &[NodeId],
    (machine, reserved): (&Machine, usize),
) -> (usize, usize) {
    let end = calls.len();
    let kept: HashSet<NodeId> = kept.iter().copied().collect();
    let mut spans: HashMap<NodeId, (usize, usize)> = HashMap::new();
    for (time, call) in calls.iter().enumerate() {
        let run = bands.iter().find(|bands| bands.calls.contains(&time));
        for &value in &call.args {
            if graph.node(value).op.prim() == Some(Prim::Const) {
                places.insert(value, Place::Constant);
            }
            if !places.contains_key(&value) {
                // What others use, too, is in use from the first band to the last.
                let (first, last) = match run.filter(|run| !run.local.contains(&value)) {
                    Some(run) => (run.calls.start, run.calls.end - 1),
                    None => (time, time),
                };
                let last = if kept.contains(&value) { end } else { last };
                let span = spans.entry(value).or_insert((first, last));
                span.1 = span.1.max(last);
            }
        }
    }
    let mut intervals: Vec<Interval> = spans
        .into_iter()
        .map(|(value, (first, last))| {
            let run = bands.iter().find(|bands| bands.local.contains(&value));
            let bytes = match run {
                Some(run) => aligned(graph.ty(value).bytes() / run.count),
                None => machine.bytes(graph.ty(value)),
            };
            Interval { first, last, bytes, owner: Owner::Value(value) }
        })
        .collect();
    for (time, call) in calls.iter().enumerate() {
        if let Some(len) = call.scratch {
            let owner = Owner::Scratch(time);
            intervals.push(Interval { first: time, last: time, bytes: aligned(len * 4), owner });
        }
    }
    let lower_bound = most_at_once(&intervals, end);
    // Large and long-lived ones first leave the fewest gaps.
    intervals.sort_by_key(|i| {
        let tie = match i.owner {
            Owner::Value(id) => (0, id.0 as usize),
            Owner::Scratch(time) => (1, time),
        };
        (std::cmp::Reverse(i.bytes), i.first, tie)
    });
    let mut total = reserved;
    let mut placed: Vec<(usize, Interval)> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        let offset = first_fit(&placed, &interval, reserved);
        total = total.max(offset + interval.bytes);
        match interval.owner {
            Owner::Value(value) => {
                places.insert(value, Place::Arena(offset));
            }
            Owner::Scratch(time) => calls[time].scratch_offset = offset,
        }
        placed.push((offset, interval));
    }
    (total, reserved + lower_bound)
}

fn most_at_once(intervals: &[Interval], end: usize) -> usize {
    let mut change = vec![0i64; end + 2];
    for i in intervals {
        change[i.first] += i.bytes as i64;
        change[i.last + 1] -= i.bytes as i64;
    }
    let mut now = 0;
    change
        .iter()
        .map(|c| {
            now += c;
            now
        })
        .max()
        .unwrap_or(0) as usize
}

fn first_fit(placed: &[(usize, Interval)], new: &Interval, reserved: usize) -> usize {
    let mut busy: Vec<(usize, usize)> = placed
        .iter()
        .filter(|(_, i)| i.first <= new.last && new.first <= i.last)
        .map(|(offset, i)| (*offset, offset + i.bytes))
        .collect();
    busy.sort_unstable();
    let mut at = reserved;
    for (start, stop) in busy {
        if start >= at + new.bytes {
            break;
        }
        at = at.max(stop);
    }
    at
}
