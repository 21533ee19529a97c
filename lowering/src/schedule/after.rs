//! Elementwise kernels joined to the contraction whose result they read: done block by block, while
//! the block is in the nearest caches.

use std::collections::{HashMap, HashSet};

use pamc_passes::ir::{DType, NodeId};

use super::nest::Kind;
use super::view::View;
use super::{Call, Kernel};
use crate::kernels::{MatmulSpec, Output};

/// Which calls write and read each value, by their place in the order.
struct Uses {
    writers: HashMap<NodeId, Vec<usize>>,
    readers: HashMap<NodeId, Vec<usize>>,
}

impl Uses {
    fn of(calls: &[Call]) -> Uses {
        let mut uses = Uses { writers: HashMap::new(), readers: HashMap::new() };
        for (i, call) in calls.iter().enumerate() {
            for &arg in &call.args {
                let list = match call.writes.contains(&arg) {
                    true => uses.writers.entry(arg).or_default(),
                    false => uses.readers.entry(arg).or_default(),
                };
                list.push(i);
            }
        }
        uses
    }

    fn only_writer(&self, value: NodeId) -> Option<usize> {
        match self.writers.get(&value).map(Vec::as_slice) {
            Some(&[only]) => Some(only),
            _ => None,
        }
    }
}

/// Joins what can be joined; `kept` values are outputs.
pub fn join(calls: Vec<Call>, kept: &HashSet<NodeId>) -> Vec<Call> {
    let uses = Uses::of(&calls);
    let mut times: Vec<usize> = (0..calls.len()).collect();
    let mut calls: Vec<Option<Call>> = calls.into_iter().map(Some).collect();
    for i in 0..calls.len() {
        let joined = calls[i].as_ref().and_then(|call| {
            let (value, spec) = whole_result(call).filter(|(v, _)| !kept.contains(v))?;
            uses.only_writer(value)?;
            let Some(&[j]) = uses.readers.get(&value).map(Vec::as_slice) else { return None };
            let next = calls[j].as_ref()?;
            let ready = |arg: &NodeId| {
                let writers = uses.writers.get(arg).into_iter().flatten();
                *arg == value || writers.into_iter().all(|&w| times[w] < i)
            };
            let alone = next.writes.iter().all(|&w| uses.only_writer(w) == Some(j));
            let inputs = next.args.iter().filter(|a| !next.writes.contains(a));
            let fits = alone && inputs.into_iter().all(ready);
            Some((j, fused(call, (value, spec), next).filter(|_| fits)?))
        });
        if let Some((j, call)) = joined {
            times[j] = i;
            calls[i] = Some(call);
            calls[j] = None;
        }
    }
    calls.into_iter().flatten().collect()
}

/// The value that a contraction leaves dense, row after row.
fn whole_result(call: &Call) -> Option<(NodeId, &MatmulSpec)> {
    let Kernel::Matmul(spec, None) = &call.kernel else { return None };
    let shape = [&spec.batch[..], &[spec.m, spec.n]].concat();
    let dense = View::dense(&shape).canonical();
    let (offset, strides) = (spec.out.offset, spec.out.strides.clone());
    let whole = spec.output == Output::Store
        && spec.out.len == dense.count()
        && View { shape, offset, strides }.canonical() == dense;
    whole.then(|| (call.writes[0], &**spec))
}

fn fused(call: &Call, (value, spec): (NodeId, &MatmulSpec), next: &Call) -> Option<Call> {
    let Kernel::Nest(nest) = &next.kernel else { return None };
    let rows = spec.batch.iter().product::<usize>() * spec.m;
    let nest = nest.as_matrix(rows, spec.n)?;
    let param = next.args.iter().position(|a| *a == value)?;
    let dense = [spec.n as i64, 1];
    let in_place = nest.exprs.iter().all(|e| match &e.kind {
        Kind::Load(access, _) if access.param == param => {
            access.dynamic.is_none() && access.offset == 0 && access.strides == dense
        }
        _ => true,
    });
    if !in_place || nest.stores.iter().any(|s| s.access.dynamic.is_some()) {
        return None;
    }
    // The result is made where the first of the new ones of its kind replaces it.
    let place = nest.stores.iter().find(|s| {
        let to = nest.params[s.access.param];
        (to.dtype, to.len) == (DType::F32, spec.out.len)
            && s.access.offset == 0
            && s.access.strides == dense
    });
    let into = place.map_or(value, |s| next.args[s.access.param]);
    let args = call.args.iter().chain(&next.args);
    let args = args.map(|&a| if a == value { into } else { a }).collect();
    let mut writes = next.writes.clone();
    if into == value {
        writes.push(value);
    }
    let kernel = Kernel::Matmul(Box::new(spec.clone()), Some(Box::new(nest)));
    Some(Call { kernel, args, writes, ..call.clone() })
}
