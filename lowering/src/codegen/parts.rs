//! A module in parts that compile on their own: in parallel, and not again while nothing changes.

use super::{Cache, Object, Options, Target, mlir};
use crate::Error;
use crate::{audit::Nodes, emit::Builder};
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// Stack of a compiling thread: LLVM recurses as deep as expressions nest.
const STACK: usize = 64 << 20;
/// Bytes of text that are worth a module of their own, and a thread with its own MLIR context.
const WORTH: usize = 1 << 16;

/// Who may call a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Users of the program.
    Exported,
    /// Other parts of the program.
    Shared,
    /// Functions of its own part.
    Internal,
}

impl Access {
    /// What a function's header begins with.
    pub(crate) fn keyword(self) -> &'static str {
        match self {
            Access::Exported => "func.func",
            Access::Shared | Access::Internal => "func.func private",
        }
    }

    /// The attributes of a function that is not to be inlined.
    pub(crate) fn attributes(self) -> &'static str {
        match self {
            Access::Exported => "",
            // Weak: two programs that are linked together may hold the same kernel.
            Access::Shared => {
                " attributes {passthrough = [\"noinline\"], llvm.linkage = #llvm.linkage<weak_odr>}"
            }
            Access::Internal => {
                " attributes {passthrough = [\"noinline\"], llvm.linkage = #llvm.linkage<internal>}"
            }
        }
    }
}

/// Functions of one MLIR module, each part the text of one or more that call others by
/// `func.call @name(…) : (…) -> ()`.
///
/// A function that another part calls is private without being internal, so that the parts link;
/// outside the program or library they make it is hidden.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    texts: Vec<String>,
    nodes: Nodes,
}

impl Parts {
    /// One part after the other, and the nodes that functions in them compute.
    pub(crate) fn new(texts: Vec<String>, nodes: Nodes) -> Self {
        Self { texts, nodes }
    }

    /// The text of the whole module.
    pub fn whole(&self) -> String {
        format!("module {{\n{}}}\n", self.texts.concat())
    }

    /// The nodes that functions compute.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Modules of so many bytes of parts, or one, with declarations of what they call elsewhere.
    fn modules(&self, bytes: usize) -> Vec<String> {
        let mut groups: Vec<String> = Vec::new();
        for part in &self.texts {
            match groups.last_mut() {
                Some(group) if group.len() + part.len() <= bytes => group.push_str(part),
                _ => groups.push(part.clone()),
            }
        }
        let module = |part: &String| format!("module {{\n{}{part}}}\n", declarations(part));
        groups.iter().map(module).collect()
    }
}

/// Declarations of what a part calls but does not hold.
fn declarations(part: &str) -> String {
    let mut called = BTreeMap::new();
    for line in part.lines() {
        let Some((_, call)) = line.split_once("func.call @") else { continue };
        let (Some((name, _)), Some((_, types))) = (call.split_once('('), call.split_once(") : ("))
        else {
            continue;
        };
        if let Some((types, _)) = types.split_once(") -> ()") {
            called.insert(name, types);
        }
    }
    for header in part.lines().filter_map(|line| line.strip_prefix("func.func private @")) {
        called.remove(header.split('(').next().unwrap_or_default());
    }
    called.iter().map(|(name, types)| format!("func.func private @{name}({types})\n")).collect()
}

/// Compiles a module by parts; together the objects are the module's code.
///
/// As many threads work as there are cores. With a cache every part is an object, and what the cache
/// holds is not compiled again; without, small parts share one, which takes less time. The code of a
/// function is the same either way.
///
/// # Errors
/// As [`super::compile`], of the first part that has one.
pub fn build(
    parts: &Parts,
    target: &Target,
    options: &Options,
    cache: Option<&Cache>,
) -> Result<Vec<Object>, Error> {
    let modules = parts.modules(if cache.is_some() { 0 } else { WORTH });
    let mut order: Vec<usize> = (0..modules.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(modules[i].len()));
    let next = AtomicUsize::new(0);
    let slots: Vec<OnceLock<Result<Object, Error>>> =
        modules.iter().map(|_| OnceLock::new()).collect();
    let work = || {
        let mut session = None;
        while let Some(&i) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let made = one(&mut session, &modules[i], target, options, cache);
            // Each index is handed out once, so the slot is empty.
            let _ = slots[i].set(made);
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let bytes: usize = modules.iter().map(String::len).sum();
    thread::scope(|scope| {
        for _ in 0..cores.min(bytes.div_ceil(WORTH)) {
            // Without another thread the ones there are do the work.
            let _ = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, work);
        }
    });
    // What no thread could be had for.
    work();
    slots.into_iter().filter_map(OnceLock::into_inner).collect()
}

/// One part, from the cache or compiled.
fn one(
    session: &mut Option<mlir::Session>,
    module: &str,
    target: &Target,
    options: &Options,
    cache: Option<&Cache>,
) -> Result<Object, Error> {
    // Where a kernel comes from does not change its code.
    let entry = cache.map(|cache| cache.entry(&Builder::unlocated(module), target, options));
    if let Some(bytes) = entry.as_ref().and_then(super::cache::Entry::read) {
        return Ok(Object::new(bytes, target));
    }
    let session = session.get_or_insert_with(mlir::Session::new);
    let object = super::compile_in(session, module, target, options)?;
    if let Some(entry) = entry {
        entry.write(&object.bytes);
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_declares_what_it_calls_elsewhere() {
        let part = "func.func private @own(%a: i64) {\n  func.return\n}\n\
                    func.func @main(%p: memref<2x3xf32>) {\n  func.call @own(%x) : (i64) -> ()\n  \
                    func.call @other(%p, %x) : (memref<2x3xf32>, i64) -> () loc(\"n(1) : (2)\")\n}\n";
        let declared = declarations(part);
        assert_eq!(declared, "func.func private @other(memref<2x3xf32>, i64)\n");
    }
}
