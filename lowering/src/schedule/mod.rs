//! From a graph of primitives to kernels in an order, with a place in memory for every value.

mod after;
pub mod bands;
pub mod build;
mod calls;
mod canonicalize;
mod contraction;
pub mod fold;
pub mod fuse;
mod in_place;
mod memory;
pub mod nest;
mod pads;
pub mod scan;
mod split;
pub mod view;
pub mod windows;

use std::collections::{HashMap, HashSet};

use pamc_passes::ir::{Attrs, Graph, InputKind, NodeId, Origin, TensorType};
use pamc_passes::ops;

use crate::gpu::plan;
use crate::kernels::{KernelTarget, MatmulSpec, scratch_len};
use bands::{Banded, Bands};
pub use canonicalize::{Canonical, canonicalize};
use fold::Fold;
use nest::Nest;
use scan::Scan;
use windows::Windows;

/// Alignment of every buffer, in bytes.
pub const ALIGN: usize = 64;

/// Largest number of dimensions of a tensor.
const RANK: usize = 24;

/// What the kernels are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// A processor.
    Cpu {
        /// What its kernels may use.
        target: KernelTarget,
        /// Bytes of intermediate results that fit a cache, for calls made [band by band](bands).
        band_bytes: usize,
    },
    /// A GPU, whose memory a [launch plan](crate::gpu::plan) describes.
    Gpu,
}

impl Machine {
    /// Bytes that a value takes in memory, a multiple of the alignment.
    pub fn bytes(&self, ty: &TensorType) -> usize {
        match self {
            Machine::Cpu { .. } => aligned(ty.bytes()),
            Machine::Gpu => plan::device_bytes(ty).next_multiple_of(plan::ALIGN),
        }
    }

    /// Scratch elements (f32) that a contraction takes, if it takes any.
    fn scratch(&self, spec: &MatmulSpec) -> Result<Option<usize>, crate::Error> {
        match self {
            Machine::Cpu { target, .. } => Ok(Some(scratch_len(spec, target)?)),
            Machine::Gpu => Ok(None),
        }
    }
}

/// Where a value lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// At an offset of the state block.
    State(usize),
    /// At an offset of the arena.
    Arena(usize),
    /// The caller's array.
    Input(usize),
    /// The caller's array.
    Output(usize),
    /// A constant of the module.
    Constant,
}

/// What a kernel computes; equal ones are compiled once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// A fused loop nest.
    Nest(Nest),
    /// A contraction, and what is done to its result as soon as it is there: a nest over rows, of all
    /// batch elements, and columns. The nest's parameters come after the contraction's.
    Matmul(Box<MatmulSpec>, Option<Box<Nest>>),
    /// A contraction with operands in the windows of images, for GPUs only.
    Windowed(Box<WindowedSpec>),
    /// A scan.
    Scan(Scan),
    /// A fold, for GPUs only: a processor's is a nest.
    Fold(Fold),
}

/// A contraction and where the elements of its operands lie that have no strides for rows and columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WindowedSpec {
    /// The contraction; strides of rows and columns mean nothing where there are windows.
    pub spec: MatmulSpec,
    /// Windows of a, b and of what slopes are taken at.
    pub windows: [Option<Windows>; 3],
}

/// One kernel applied to values.
#[derive(Clone, Debug)]
pub struct Call {
    /// The kernel.
    pub kernel: Kernel,
    /// Value whose buffer each parameter is.
    pub args: Vec<NodeId>,
    /// Those that it writes.
    pub writes: Vec<NodeId>,
    /// Of each of `args`, where in the buffer each [band](bands)'s parameter begins, in elements; none
    /// where all begin at the start.
    pub starts: Vec<Vec<usize>>,
    /// Scratch elements (f32) after the other parameters; `None` if it takes no scratch.
    pub scratch: Option<usize>,
    /// The scratch's place in the arena.
    pub scratch_offset: usize,
    /// The node it is named after.
    pub node: NodeId,
}

/// Kernels in order and places of values.
pub struct Schedule {
    /// The graph that was scheduled; node ids below are its.
    pub graph: Graph,
    /// Kernels in order.
    pub calls: Vec<Call>,
    /// Runs of them that are made band by band, in order.
    pub bands: Vec<Bands>,
    /// Place of every value in memory.
    pub places: HashMap<NodeId, Place>,
    /// Bytes of the arena.
    pub arena_bytes: usize,
    /// No arena can be smaller: the most bytes of values that are in use at once.
    pub lower_bound: usize,
}

/// Who provides the inputs and takes the outputs.
#[derive(Clone, Debug)]
pub enum Boundary<'a> {
    /// Data inputs and outputs are the caller's arrays, at their position among the program's.
    Caller,
    /// Data inputs are copied into the arena, where outputs are left; an output named as a state
    /// replaces it.
    Loop {
        /// Bytes at the start of the arena that are not for this schedule to use.
        reserved: usize,
        /// Places of the data inputs, by name.
        data: &'a HashMap<String, usize>,
    },
    /// Data inputs and outputs are buffers of a GPU; with `replaces`, an output named as a state
    /// replaces it and is no output.
    Device {
        /// Whether states are replaced.
        replaces: bool,
    },
}

impl Boundary<'_> {
    /// True if data inputs are arrays as somebody else has filled them, maybe with subnormals.
    fn is_outside(&self) -> bool {
        !matches!(self, Boundary::Loop { .. })
    }

    /// True if an output named as a state replaces it.
    fn replaces(&self) -> bool {
        matches!(self, Boundary::Loop { .. } | Boundary::Device { replaces: true })
    }
}

impl Schedule {
    /// Schedule a graph whose parameters and states lie at the given offsets of the state block.
    ///
    /// # Errors
    /// If a tensor has too many dimensions or a contraction no kernel for the target.
    pub fn new(
        graph: &Graph,
        state: &HashMap<String, usize>,
        boundary: &Boundary,
        machine: &Machine,
    ) -> Result<Schedule, crate::Error> {
        if let Some((_, node)) = graph.nodes().find(|(_, n)| n.ty.rank() > RANK) {
            let message = format!("{} at {} has more than {RANK} dimensions", node.ty, node.origin);
            return Err(crate::Error::Program { message });
        }
        let on_cpu = matches!(machine, Machine::Cpu { .. });
        let Canonical { mut graph, copies } = canonicalize(graph, boundary.is_outside(), on_cpu)?;
        let mut places = HashMap::new();
        let mut data = 0;
        for input in graph.inputs() {
            let place = match (input.kind, boundary) {
                (InputKind::Data, Boundary::Loop { data, .. }) => Place::Arena(data[&input.name]),
                (InputKind::Data, _) => Place::Input(data),
                _ => Place::State(state[&input.name]),
            };
            data += usize::from(input.kind == InputKind::Data);
            places.insert(input.node, place);
        }
        if boundary.is_outside() {
            let replaced = |name: &String| boundary.replaces() && state.contains_key(name);
            let outputs = graph.outputs().iter().filter(|(name, _)| !replaced(name));
            for (i, (_, value)) in outputs.enumerate() {
                places.insert(*value, Place::Output(i));
            }
        }
        let raw = |id: NodeId| matches!(places.get(&id), Some(Place::Input(_)));
        let arrays = if on_cpu { usize::MAX } else { fuse::ARRAYS };
        let fusion = fuse::Fusion::new(&graph, &copies, !on_cpu, arrays);
        let mut calls = calls::calls(&fusion, &raw, machine)?;
        let (mut bands, mut constants) = (Vec::new(), Vec::new());
        if let Machine::Cpu { band_bytes, .. } = machine {
            let kept = graph.outputs().iter().map(|(_, v)| *v).collect();
            let replacing = replacing(&graph, boundary);
            calls = after::join(calls, &kept);
            let budget = (machine, *band_bytes);
            let banded = bands::bands(&graph, calls, budget, (&kept, &replacing))?;
            Banded { calls, bands, constants } = banded;
        }
        if boundary.replaces() {
            for (new, old, safe) in in_place::replacements(&graph, &calls) {
                match places.get(&old) {
                    Some(&place) if safe => drop(places.insert(new, place)),
                    _ => calls::update(&fusion, new, old, &mut calls)?,
                }
            }
        }
        drop(fusion);
        for value in constants {
            let attrs = Attrs::none().with("value", value);
            graph.add(
                ops::lookup("const").unwrap_or_else(ops::input),
                &[],
                attrs,
                Origin::new(""),
            )?;
        }
        let reserved = match boundary {
            Boundary::Loop { reserved, .. } => *reserved,
            _ => 0,
        };
        let kept: Vec<NodeId> = graph.outputs().iter().map(|(_, v)| *v).collect();
        let plan =
            memory::plan(&graph, (&mut calls, &bands), &mut places, &kept, (machine, reserved));
        let (arena_bytes, lower_bound) = plan;
        Ok(Schedule { graph, calls, bands, places, arena_bytes, lower_bound })
    }

    /// How often a call is made, by its place in the order.
    pub fn times(&self, call: usize) -> usize {
        let bands = self.bands.iter().find(|bands| bands.calls.contains(&call));
        bands.map_or(1, |bands| bands.count)
    }

    /// How many calls are made in all.
    pub fn calls_made(&self) -> usize {
        (0..self.calls.len()).map(|call| self.times(call)).sum()
    }
}

/// Outputs that take the place of a parameter or state.
fn replacing(graph: &Graph, boundary: &Boundary) -> HashSet<NodeId> {
    let input = |name: &String| graph.find_input(name).map(|input| input.kind);
    let replaces = |name: &String| input(name).is_some_and(|kind| kind != InputKind::Data);
    let outputs = graph.outputs().iter().filter(|(name, _)| boundary.replaces() && replaces(name));
    outputs.map(|(_, value)| *value).collect()
}

/// The next multiple of [`ALIGN`].
pub fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGN)
}
