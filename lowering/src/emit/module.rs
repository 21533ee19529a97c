//! Whole modules: the kernels, each once, and the functions that call them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use pamc_passes::ir::{DType, Graph, InputKind, Tensor, TensorType};
use pamc_passes::program::Program;
use serde::{Deserialize, Serialize};

use super::abi::{Layout, Slot};
use super::builder::Builder;
use super::profile::Profile;
use super::{nest, scan, step};
use crate::Error;
use crate::audit::Nodes;
use crate::codegen::{Access, Parts, Target, cache};
use crate::kernels::{KernelTarget, Kernels};
use crate::schedule::{Boundary, Kernel, Machine, Schedule, aligned};

/// Stays in the caches of one or two cores, and is work enough for many.
const BAND_BYTES: usize = 4 << 20;

/// How to emit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmitOptions {
    /// Share large kernels out over threads.
    pub parallel: bool,
    /// Name of the function.
    pub function: String,
    /// Take the time of each kernel call.
    pub profile: bool,
    /// Bytes of intermediate results that fit a cache: where the products of attention take more, they
    /// are made and used up [band by band](crate::schedule::bands).
    pub band_bytes: usize,
}

impl Default for EmitOptions {
    fn default() -> Self {
        EmitOptions {
            parallel: true,
            function: "pamc_run".into(),
            profile: false,
            band_bytes: BAND_BYTES,
        }
    }
}

/// What was emitted, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Distinct kernels compiled.
    pub kernels: usize,
    /// Kernel calls in one step.
    pub calls: usize,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// The most bytes of intermediate values in use at once.
    pub lower_bound: usize,
}

/// A module and how to use it.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// The module.
    pub parts: Parts,
    /// Its interface.
    pub layout: Layout,
    /// Numbers.
    pub stats: Stats,
    /// The calls whose time is taken, if any.
    pub profile: Option<Profile>,
}

/// Name of a kernel that is being written; it gets one from its text, so that it does not depend on
/// what else the module holds.
const UNNAMED: &str = "pamc_unnamed_kernel";

/// What tells functions of different text apart, in a name: what they come from is no part of it.
fn digits(text: &str) -> String {
    let mut hash = cache::hash(&[&Builder::unlocated(text)]);
    hash.truncate(12);
    hash
}

/// Collects kernels and constants.
pub(super) struct Module<'t> {
    pub(super) b: Builder,
    target: &'t Target,
    parallel: bool,
    band_bytes: usize,
    contractions: Kernels,
    // Texts of the kernels by their names.
    kernels: BTreeMap<String, String>,
    // The nodes that each kernel is called for.
    nodes: BTreeMap<String, BTreeSet<String>>,
    names: HashMap<Kernel, String>,
    constants: HashMap<(DType, Vec<u8>), String>,
    pub(super) calls: usize,
    names_made: usize,
}

impl<'t> Module<'t> {
    pub(super) fn new(target: &'t Target, options: &EmitOptions) -> Self {
        let EmitOptions { parallel, band_bytes, .. } = *options;
        Module {
            b: Builder::new(),
            target,
            parallel,
            band_bytes,
            contractions: Kernels::new(KernelTarget::new(target, parallel)),
            kernels: BTreeMap::new(),
            nodes: BTreeMap::new(),
            names: HashMap::new(),
            constants: HashMap::new(),
            calls: 0,
            names_made: 0,
        }
    }

    pub(super) fn machine(&self) -> Machine {
        let target = KernelTarget::new(self.target, self.parallel);
        Machine::Cpu { target, band_bytes: self.band_bytes }
    }

    /// Name of the function of a kernel that a node needs, written if it is new.
    pub(super) fn kernel(&mut self, kernel: &Kernel, origin: &str) -> Result<String, Error> {
        let name = match self.names.get(kernel) {
            Some(name) => name.clone(),
            None => self.write(kernel, origin)?,
        };
        if !origin.is_empty() {
            self.nodes.entry(name.clone()).or_default().insert(origin.into());
        }
        Ok(name)
    }

    fn write(&mut self, kernel: &Kernel, origin: &str) -> Result<String, Error> {
        let mut b = Builder::new();
        b.locate(origin);
        let (kind, text) = match kernel {
            Kernel::Nest(n) => {
                nest::emit(&mut b, UNNAMED, n, self.parallel);
                ("nest", b.finish())
            }
            Kernel::Matmul(spec, after) => {
                let after = after.as_ref().map(|nest| nest::part(&mut b, UNNAMED, nest));
                let made =
                    self.contractions.contraction(UNNAMED, Access::Shared, spec, after.as_ref())?;
                ("contract", b.finish() + &made)
            }
            Kernel::Scan(s) => {
                scan::emit(&mut b, UNNAMED, s);
                ("scan", b.finish())
            }
            Kernel::Windowed(_) | Kernel::Fold(_) => {
                let message = "a kernel of GPU code in the schedule of a processor";
                return Err(Error::Program { message: message.into() });
            }
        };
        let name = format!("{kind}_{}", digits(&text));
        self.names.insert(kernel.clone(), name.clone());
        // One of the same text is the same.
        self.kernels.entry(name.clone()).or_insert_with(|| text.replace(UNNAMED, &name));
        Ok(name)
    }

    /// Name of the global of a constant, without subnormals.
    pub(super) fn constant(&mut self, value: &Tensor) -> String {
        let value = pamc_passes::interpret::flush(value);
        let (ty, bytes) = (value.ty(), value.to_bytes());
        if let Some(name) = self.constants.get(&(ty.dtype, bytes.clone())) {
            return name.clone();
        }
        let name = format!("constant_{}", self.constants.len());
        let mut hex = String::with_capacity(bytes.len() * 2);
        bytes.iter().for_each(|byte| {
            let _ = write!(hex, "{byte:02X}");
        });
        let buffer = nest::memref(ty.dtype, ty.len());
        self.b.line(format_args!(
            "memref.global \"private\" constant @{name} : {buffer} = dense<\"0x{hex}\"> {{alignment = 64 : i64}}"
        ));
        self.constants.insert((ty.dtype, bytes), name.clone());
        name
    }

    /// A number that no name has yet.
    pub(super) fn fresh(&mut self) -> usize {
        self.names_made += 1;
        self.names_made
    }

    /// The module's parts and the number of distinct kernels.
    pub(super) fn finish(mut self) -> (Parts, usize) {
        let count = self.kernels.len();
        let mut parts: Vec<(String, String)> = Vec::new();
        let shared = self.contractions.shared().map(|(name, text)| (name.clone(), text.clone()));
        parts.extend(shared);
        parts.extend(std::mem::take(&mut self.kernels));
        for (name, text) in self.contractions.shared() {
            let new = format!("{name}_{}", digits(text));
            let (called, call) = (format!("@{name}("), format!("@{new}("));
            for (own, part) in parts.iter_mut().filter(|(_, part)| part.contains(&called)) {
                *part = part.replace(&called, &call);
                if own == name {
                    own.clone_from(&new);
                }
            }
        }
        inherit(&mut self.nodes, &parts);
        let mut texts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
        texts.push(self.b.finish());
        let nodes = Nodes::new(self.nodes.iter().map(|(name, nodes)| (name.as_str(), nodes)));
        (Parts::new(texts, nodes), count)
    }
}

/// A function computes the nodes of those that call it.
fn inherit(nodes: &mut BTreeMap<String, BTreeSet<String>>, parts: &[(String, String)]) {
    loop {
        let mut changed = false;
        for (name, text) in parts {
            let Some(own) = nodes.get(name).cloned() else { continue };
            let called = text.split("func.call @").skip(1).filter_map(|c| c.split('(').next());
            for callee in called.filter(|c| parts.iter().any(|(name, _)| name == c)) {
                let theirs = nodes.entry(callee.into()).or_default();
                let before = theirs.len();
                theirs.extend(own.iter().cloned());
                changed |= theirs.len() > before;
            }
        }
        if !changed {
            return;
        }
    }
}

/// Offsets of parameters and states, in the order given, and the bytes they take.
pub(super) fn state_layout<'g>(
    inputs: impl Iterator<Item = (&'g str, &'g TensorType)>,
) -> (Vec<Slot>, usize) {
    let mut offset = 0;
    let mut slots: Vec<Slot> = Vec::new();
    for (name, ty) in inputs {
        if slots.iter().any(|s| s.name == name) {
            continue;
        }
        slots.push(Slot::new(name, ty, offset));
        offset += aligned(ty.bytes());
    }
    (slots, offset)
}

pub(super) fn states(graph: &Graph) -> impl Iterator<Item = (&str, &TensorType)> {
    let carried = graph.inputs().iter().filter(|i| i.kind != InputKind::Data);
    carried.map(|i| (i.name.as_str(), graph.ty(i.node)))
}

pub(super) fn data(graph: &Graph) -> impl Iterator<Item = (&str, &TensorType)> {
    let fed = graph.inputs().iter().filter(|i| i.kind == InputKind::Data);
    fed.map(|i| (i.name.as_str(), graph.ty(i.node)))
}

/// A module that exports one function, which runs an inference program once:
/// `int pamc_run(void *state, void *arena, const void *const *inputs, void *const *outputs)`.
///
/// # Errors
/// If a contraction has no kernel for the target.
pub fn module_for_run(
    program: &Program,
    target: &Target,
    options: &EmitOptions,
) -> Result<Emitted, Error> {
    let mut module = Module::new(target, options);
    let (layout, mut stats, profile) =
        run_function(&mut module, program, &options.function, options.profile)?;
    let (parts, kernels) = module.finish();
    stats.kernels = kernels;
    Ok(Emitted { parts, layout, stats, profile })
}

/// Several inference programs in one module, which share their kernels; functions are named
/// `{function}_{i}`.
///
/// # Errors
/// As [`module_for_run`].
pub fn module_for_runs(
    programs: &[Program],
    target: &Target,
    options: &EmitOptions,
) -> Result<(Parts, Vec<Layout>), Error> {
    let mut module = Module::new(target, options);
    let mut layouts = Vec::with_capacity(programs.len());
    for (i, program) in programs.iter().enumerate() {
        let name = format!("{}_{i}", options.function);
        layouts.push(run_function(&mut module, program, &name, false)?.0);
    }
    Ok((module.finish().0, layouts))
}

fn run_function(
    module: &mut Module,
    program: &Program,
    function: &str,
    profile: bool,
) -> Result<(Layout, Stats, Option<Profile>), Error> {
    let graph = program.graph();
    let (state, state_bytes) = state_layout(states(graph));
    let offsets = state.iter().map(|s| (s.name.clone(), s.offset)).collect();
    let machine = module.machine();
    let schedule = Schedule::new(graph, &offsets, &Boundary::Caller, &machine)?;
    let profile = profile.then(|| Profile::new([&schedule].into_iter(), schedule.arena_bytes));
    let inputs: Vec<Slot> = data(graph).map(|(n, t)| Slot::new(n, t, 0)).collect();
    let outputs = graph.outputs().iter().map(|(n, v)| Slot::new(n, graph.ty(*v), 0)).collect();
    let layout = Layout {
        function: function.into(),
        state,
        state_bytes,
        arena_bytes: profile.as_ref().map_or(schedule.arena_bytes, Profile::arena_bytes),
        inputs,
        outputs,
        metrics: Vec::new(),
        samples_per_step: 0,
    };
    step::run(module, &schedule, &layout, profile.as_ref().map(|p| p.offset))?;
    let stats = Stats {
        kernels: 0,
        calls: schedule.calls_made(),
        arena_bytes: schedule.arena_bytes,
        lower_bound: schedule.lower_bound,
    };
    Ok((layout, stats, profile))
}
