//! Runs of calls that are made for one band of their rows after the other, so that what they hand on to
//! each other stays in the cache and takes the memory of a band only: attention does not store the
//! scores of all heads and positions, nor do its gradients.
//!
//! A run begins with a contraction of batches by batches whose result is large. Others belong to it if
//! their outermost positions can be cut into as many equal bands and if each band touches, of whatever
//! calls of the run write, a part of its own. So bands depend on nothing of each other, and the order of
//! every sum is as before: a result is the same to the bit. All bands of a call run one kernel, at
//! different places of its buffers.

mod share;

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use pamc_passes::ir::{Graph, NodeId, Tensor};

use super::{Call, Kernel, Machine};
use crate::Error;
use crate::kernels::MatmulSpec;
use share::{Ramp, Share, is_batched, leading};

/// Calls looked at for one run.
const WINDOW: usize = 48;
/// Rows that a matrix is not cut below: its other operand is packed for every band.
const ROWS: usize = 64;
/// Bands are not smaller than the cache by more than this factor: threads share the work of each.
const LEAST: usize = 16;
/// The most bands.
const COUNT: usize = 1 << 14;

/// A run of calls, made as often as there are bands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bands {
    /// The calls, by their place in the order.
    pub calls: Range<usize>,
    /// How many bands there are.
    pub count: usize,
    /// Values that nothing else reads: only one band of each is in memory.
    pub local: HashSet<NodeId>,
}

/// Calls in a new order.
pub struct Banded {
    /// The calls.
    pub calls: Vec<Call>,
    /// Runs among them, in order.
    pub bands: Vec<Bands>,
    /// Values that calls read besides those of the graph; their ids follow on the graph's.
    pub constants: Vec<Tensor>,
}

/// Finds runs whose values take more than `bytes` and lets bands take no more, as far as possible;
/// `kept` values are outputs, `replacing` ones those of them that take an input's place.
///
/// # Errors
/// If a contraction has no kernel for the target.
pub fn bands(
    graph: &Graph,
    calls: Vec<Call>,
    (machine, bytes): (&Machine, usize),
    (kept, replacing): (&HashSet<NodeId>, &HashSet<NodeId>),
) -> Result<Banded, Error> {
    let mut touching: HashMap<NodeId, usize> = HashMap::new();
    for call in &calls {
        let args: HashSet<NodeId> = call.args.iter().copied().collect();
        args.into_iter().for_each(|arg| *touching.entry(arg).or_default() += 1);
    }
    let search = Search { graph, kept, replacing, touching, bytes };
    let mut out = Banded { calls: Vec::new(), bands: Vec::new(), constants: Vec::new() };
    let mut ramps: Vec<Ramp> = Vec::new();
    let mut rest = VecDeque::from(calls);
    while !rest.is_empty() {
        let Some(run) = search.run(&mut rest) else {
            out.calls.extend(rest.pop_front());
            continue;
        };
        let mut window: Vec<Option<Call>> = rest.drain(..run.end).map(Some).collect();
        out.calls.extend(run.before.iter().filter_map(|&i| window[i].take()));
        let first = out.calls.len();
        for (i, share) in run.members {
            let Some(call) = window[i].take() else { continue };
            let constants = share.ramps.iter().map(|ramp| constant(graph, &mut ramps, ramp));
            let constants = constants.collect();
            let mut call = share.call(&call, constants, &run.local);
            if let Kernel::Matmul(spec, _) = &call.kernel {
                call.scratch = machine.scratch(spec)?;
            }
            out.calls.push(call);
        }
        let calls = first..out.calls.len();
        out.bands.push(Bands { calls, count: run.count, local: run.local });
        window.into_iter().rev().flatten().for_each(|call| rest.push_front(call));
    }
    out.constants = ramps.iter().map(Ramp::value).collect();
    Ok(out)
}

/// The node that will hold a ramp.
fn constant(graph: &Graph, ramps: &mut Vec<Ramp>, ramp: &Ramp) -> NodeId {
    let at = ramps.iter().position(|known| known == ramp).unwrap_or_else(|| {
        ramps.push(ramp.clone());
        ramps.len() - 1
    });
    NodeId((graph.len() + at) as u32)
}

/// Calls to be made band by band, by their places among those left.
struct Run {
    /// Those that must come before.
    before: Vec<usize>,
    members: Vec<(usize, Share)>,
    /// Where the calls left begin that it has not looked at.
    end: usize,
    count: usize,
    local: HashSet<NodeId>,
    /// Bytes of the local values, all bands together.
    bytes: usize,
}

struct Search<'a> {
    graph: &'a Graph,
    kept: &'a HashSet<NodeId>,
    replacing: &'a HashSet<NodeId>,
    /// How many calls have each value as an argument.
    touching: HashMap<NodeId, usize>,
    bytes: usize,
}

/// Values that some calls touch and write.
#[derive(Default)]
struct Touched {
    all: HashSet<NodeId>,
    written: HashSet<NodeId>,
}

impl Touched {
    fn add(&mut self, call: &Call) {
        self.all.extend(&call.args);
        self.written.extend(&call.writes);
    }

    /// True if a call must keep its place before or after these.
    fn hold(&self, call: &Call) -> bool {
        call.args.iter().any(|a| self.written.contains(a))
            || call.writes.iter().any(|w| self.all.contains(w))
    }
}

impl Search<'_> {
    /// The run that begins with the first call, if it pays: the fewest bands that are small enough, or
    /// the most that leave the same values local.
    fn run(&self, calls: &mut VecDeque<Call>) -> Option<Run> {
        let calls = &calls.make_contiguous()[..];
        let Kernel::Matmul(spec, _) = &calls[0].kernel else { return None };
        let (batch, matrix) = (spec.batch.iter().product::<usize>(), 4 * spec.m * spec.n);
        if batch < 2 || !is_batched(spec) || batch * matrix <= self.bytes {
            return None;
        }
        let mut best: Option<Run> = None;
        for count in counts(spec) {
            let Some(run) = self.run_of(calls, count) else { continue };
            if run.bytes * LEAST < self.bytes * count {
                break;
            }
            if best.as_ref().is_some_and(|best| run.bytes < best.bytes) {
                break;
            }
            let small = run.bytes <= self.bytes * count;
            best = Some(run);
            if small {
                break;
            }
        }
        best.filter(|run| run.bytes > self.bytes)
    }

    /// The run of so many bands.
    fn run_of(&self, calls: &[Call], count: usize) -> Option<Run> {
        let wide = self.graph.ty(*calls[0].writes.first()?).len();
        let is_wide = |id: &NodeId| self.graph.ty(*id).len() >= wide;
        let scan = self.scan(&calls[..calls.len().min(WINDOW)], count, wide);
        let made: HashSet<NodeId> =
            scan.members.iter().flat_map(|(i, _)| &calls[*i].writes).copied().collect();
        let useful = |i: usize| calls[i].args.iter().any(|a| made.contains(a) && is_wide(a));
        let last = scan.members.iter().map(|(i, _)| *i).filter(|&i| useful(i)).max()?;
        let mut run = self.scan(&calls[..=last], count, wide);
        let mut touching: HashMap<NodeId, usize> = HashMap::new();
        for (i, _) in &run.members {
            let args: HashSet<NodeId> = calls[*i].args.iter().copied().collect();
            args.into_iter().for_each(|arg| *touching.entry(arg).or_default() += 1);
        }
        let written = run.members.iter().flat_map(|(i, _)| &calls[*i].writes);
        let is_local = |v: &&NodeId| {
            !self.kept.contains(*v) && touching[*v] > 1 && touching.get(*v) == self.touching.get(*v)
        };
        run.local = written.filter(is_local).copied().collect();
        let wide = run.local.iter().filter(|id| is_wide(id));
        run.bytes = wide.map(|&id| self.graph.ty(id).bytes()).sum();
        (run.bytes > 0).then_some(run)
    }

    /// Which of the calls can be made in so many bands, from the first on: those that write values of so
    /// many elements, and what touches what others of them write.
    fn scan(&self, calls: &[Call], count: usize, wide: usize) -> Run {
        let (members, before) = (Vec::new(), Vec::new());
        let end = calls.len();
        let mut run = Run { before, members, end, count, local: HashSet::new(), bytes: 0 };
        let (mut inside, mut behind) = (Touched::default(), Touched::default());
        // Values that some member touches elsewhere than each band in a part of its own.
        let mut mixed: HashSet<NodeId> = HashSet::new();
        for (i, call) in calls.iter().enumerate() {
            if behind.hold(call) {
                behind.add(call);
                continue;
            }
            let joins = call.writes.iter().any(|w| self.graph.ty(*w).len() >= wide)
                || call.args.iter().any(|a| inside.written.contains(a));
            let share = joins.then(|| self.share(call, count, &inside, &mut mixed)).flatten();
            if let Some(share) = share {
                inside.add(call);
                run.members.push((i, share));
            } else if i == 0 {
                return run;
            } else if inside.hold(call) {
                behind.add(call);
            } else {
                run.before.push(i);
            }
        }
        run
    }

    /// A band of a call that may join those that touch some values already.
    fn share(
        &self,
        call: &Call,
        count: usize,
        inside: &Touched,
        mixed: &mut HashSet<NodeId>,
    ) -> Option<Share> {
        let apart = match &call.kernel {
            Kernel::Matmul(spec, _) => is_batched(spec),
            _ => true,
        };
        if !apart || call.writes.iter().any(|w| self.replacing.contains(w)) {
            return None;
        }
        let share = Share::new(call, count)?;
        let mut new = HashSet::new();
        for (i, (value, touch)) in call.args.iter().zip(&share.touches).enumerate() {
            if !touch.is_apart(self.graph.ty(*value).len()) {
                new.insert(*value);
            }
            let again = call.args[..i].contains(value) || inside.all.contains(value);
            let written = call.writes.contains(value) || inside.written.contains(value);
            if again && written && (new.contains(value) || mixed.contains(value)) {
                return None;
            }
        }
        mixed.extend(new);
        Some(share)
    }
}

/// The numbers of bands that a contraction can be cut into, fewest first.
fn counts(spec: &MatmulSpec) -> Vec<usize> {
    let (mut out, mut before) = (Vec::new(), 1);
    for (i, extent) in leading(spec).into_iter().enumerate() {
        let least = if i < spec.batch.len() { 1 } else { ROWS };
        let fits = |bands: &usize| extent.is_multiple_of(*bands) && extent / bands >= least;
        out.extend((2..=extent).filter(fits).map(|bands| before * bands));
        before *= extent;
    }
    out.retain(|&count| count <= COUNT);
    out
}
