//! New parameters and states that can be written over the old ones at once.

use pamc_passes::ir::{Graph, InputKind, NodeId};

use super::nest::{Kind, Nest};
use super::{Call, Kernel};

/// Outputs that replace an input of their name, each with that input and whether it can be written
/// straight to the input's place: nobody reads the old value afterwards, and whoever reads it in
/// the very kernel that writes has read an element before it replaces it.
pub fn replacements(graph: &Graph, calls: &[Call]) -> Vec<(NodeId, NodeId, bool)> {
    let mut out = Vec::new();
    for (name, value) in graph.outputs() {
        let Some(input) = graph.find_input(name).filter(|i| i.kind != InputKind::Data) else {
            continue;
        };
        out.push((*value, input.node, is_safe(calls, *value, input.node)));
    }
    out
}

fn is_safe(calls: &[Call], new: NodeId, old: NodeId) -> bool {
    let writes = |c: &Call| c.writes.contains(&new);
    let Some(first) = calls.iter().position(writes) else { return false };
    let mut readers = calls.iter().enumerate().filter(|(_, c)| c.args.contains(&old));
    readers.all(|(at, call)| at < first || (at == first && reads_then_writes(call, new, old)))
}

fn reads_then_writes(call: &Call, new: NodeId, old: NodeId) -> bool {
    let nest = match &call.kernel {
        Kernel::Nest(nest) => nest,
        Kernel::Matmul(_, Some(nest)) => nest,
        _ => return false,
    };
    let (first, params) = call.args.split_at(call.args.len() - nest.params.len());
    if first.contains(&old) {
        return false;
    }
    let param = |value| params.iter().position(|a| *a == value);
    match (param(new), param(old)) {
        (Some(new), Some(old)) => element_by_element(nest, new, old),
        _ => false,
    }
}

/// True if every point of a nest without reductions reads of `old` just what it writes of `new`.
fn element_by_element(nest: &Nest, new: usize, old: usize) -> bool {
    let mut stores = nest.stores.iter().filter(|s| s.access.param == new);
    let (Some(store), None) = (stores.next(), stores.next()) else { return false };
    let same = nest.exprs.iter().all(|e| match &e.kind {
        Kind::Load(access, _) if access.param == old => {
            access.dynamic.is_none()
                && access.offset == store.access.offset
                && access.strides == store.access.strides
        }
        _ => true,
    });
    same && store.access.dynamic.is_none() && !nest.reduces()
}
