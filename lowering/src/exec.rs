//! Compiled programs in this process.

pub mod peak;
mod train;

use std::alloc::{Layout as MemoryLayout, handle_alloc_error};
use std::ffi::c_void;
use std::mem::transmute;
use std::ops::Range;

use memmap2::MmapMut;
use pamc_passes::interpret::{Values, check_inputs, flush};
use pamc_passes::ir::{InputKind, Tensor};
use pamc_passes::program::Program;

use crate::Error;
use crate::codegen::{Cache, Jit, Options, Target, build};
use crate::emit::{
    EmitOptions, Emitted, Layout, Profile, ProfiledCall, Slot, Stats, module_for_run,
};
use crate::schedule::ALIGN;

pub use train::{DataSet, TrainExecutable};

/// Bytes of a huge page, on most machines.
const HUGE_PAGE: usize = 2 << 20;

/// A zeroed, aligned block of memory.
pub struct Block {
    memory: MmapMut,
    place: Range<usize>,
}

impl Block {
    /// A block of zeros, in huge pages where the system has them to give: training walks through many
    /// matrices at once, and each of their rows would be on a page of its own.
    pub fn new(bytes: usize) -> Block {
        let align = if bytes < HUGE_PAGE { ALIGN } else { HUGE_PAGE };
        // A mapping begins at a page, which only huge pages ask more than.
        let size = bytes.max(ALIGN) + if align == ALIGN { 0 } else { align };
        let memory = MmapMut::map_anon(size).unwrap_or_else(|_| {
            let layout = MemoryLayout::from_size_align(size, ALIGN);
            handle_alloc_error(layout.unwrap_or(MemoryLayout::new::<u8>()))
        });
        #[cfg(target_os = "linux")]
        if let Err(error) = memory.advise(memmap2::Advice::HugePage) {
            tracing::debug!("no huge pages: {error}");
        }
        let start = memory.as_ptr().align_offset(align);
        Block { memory, place: start..start + bytes }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.place.clone()]
    }

    /// The bytes, to write.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.place.clone()]
    }
}

/// Parameters and states of a compiled program.
pub struct State {
    slots: Vec<Slot>,
    block: Block,
}

impl State {
    /// All zeros.
    pub fn new(layout: &Layout) -> State {
        State { slots: layout.state.clone(), block: Block::new(layout.state_bytes) }
    }

    fn slot(&self, name: &str) -> Result<&Slot, Error> {
        self.slots.iter().find(|s| s.name == name).ok_or_else(|| Error::Value {
            what: "state",
            name: name.into(),
            message: "the program has none of this name".into(),
        })
    }

    /// Names and types, in order.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Set one by name; subnormals become zeros.
    ///
    /// # Errors
    /// If there is none of this name or its type differs.
    pub fn set(&mut self, name: &str, value: &Tensor) -> Result<(), Error> {
        let slot = self.slot(name)?;
        let (wanted, offset) = (slot.ty(), slot.offset);
        if value.ty() != wanted {
            let message = format!("is {}, but the program takes {wanted}", value.ty());
            return Err(Error::Value { what: "state", name: name.into(), message });
        }
        let bytes = flush(value).to_bytes();
        self.block.bytes_mut()[offset..offset + bytes.len()].copy_from_slice(&bytes);
        Ok(())
    }

    /// One by name.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn get(&self, name: &str) -> Result<Tensor, Error> {
        let slot = self.slot(name)?;
        let ty = slot.ty();
        let bytes = &self.block.bytes()[slot.offset..slot.offset + ty.bytes()];
        Ok(Tensor::from_bytes(&ty, bytes).unwrap_or_else(|| Tensor::zeros(&ty)))
    }
}

type RunFunction =
    unsafe extern "C" fn(*mut c_void, *mut c_void, *const *const c_void, *const *mut c_void) -> i32;

/// A compiled inference program.
pub struct Executable {
    _code: std::sync::Arc<Jit>,
    run: RunFunction,
    layout: Layout,
    /// Numbers of its emission.
    pub stats: Stats,
    program: Program,
    profile: Option<Profile>,
}

impl Executable {
    /// Compile for this machine, but for what a cache holds.
    ///
    /// # Errors
    /// If code generation fails.
    pub fn new(
        program: &Program,
        options: &EmitOptions,
        cache: Option<&Cache>,
    ) -> Result<Executable, Error> {
        let target = Target::host();
        let Emitted { parts, layout, stats, profile } = module_for_run(program, &target, options)?;
        let objects = build(&parts, &target, &Options::default(), cache)?;
        let code = std::sync::Arc::new(Jit::load(&objects)?);
        Ok(Executable { profile, ..Executable::from_code(program, code, layout, stats)? })
    }

    /// Use a function of loaded code, which must be that of `layout` for `program`.
    pub(crate) fn from_code(
        program: &Program,
        code: std::sync::Arc<Jit>,
        layout: Layout,
        stats: Stats,
    ) -> Result<Executable, Error> {
        let symbol = code.symbol(&layout.function)?;
        // SAFETY: the emitted function has this signature.
        let run = unsafe { transmute::<*const c_void, RunFunction>(symbol) };
        Ok(Executable { _code: code, run, layout, stats, program: program.clone(), profile: None })
    }

    /// Compile several programs as one module, which share their kernels.
    ///
    /// # Errors
    /// If code generation fails.
    pub fn batch(programs: &[Program], options: &EmitOptions) -> Result<Vec<Executable>, Error> {
        let target = Target::host();
        let (parts, layouts) = crate::emit::module_for_runs(programs, &target, options)?;
        let objects = build(&parts, &target, &Options::default(), None)?;
        let code = std::sync::Arc::new(Jit::load(&objects)?);
        let pairs = programs.iter().zip(layouts);
        pairs
            .map(|(p, layout)| Executable::from_code(p, code.clone(), layout, Stats::default()))
            .collect()
    }

    /// Its interface.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Run on values for all inputs, parameters and states included.
    ///
    /// # Errors
    /// If the inputs do not fit.
    pub fn run(&self, values: &Values) -> Result<Values, Error> {
        let graph = self.program.graph();
        check_inputs(graph, values)?;
        let mut state = State::new(&self.layout);
        for input in graph.inputs().iter().filter(|i| i.kind != InputKind::Data) {
            state.set(&input.name, &values[&input.name])?;
        }
        let mut session = Session::new(self, state);
        session.run(values)
    }
}

/// The counters of a profile.
fn cycles<'p>(profile: Option<&'p Profile>, arena: &Block) -> Vec<(&'p ProfiledCall, u64)> {
    let Some(profile) = profile else { return Vec::new() };
    let counters = arena.bytes()[profile.offset..].chunks_exact(size_of::<u64>());
    let read = |bytes: &[u8]| bytes.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte));
    profile.calls.iter().zip(counters.map(read)).collect()
}

/// A compiled inference program with its parameters and memory, to be run many times.
pub struct Session<'e> {
    executable: &'e Executable,
    /// Parameters and states.
    pub state: State,
    arena: Block,
    inputs: Vec<Block>,
    outputs: Vec<Block>,
}

impl<'e> Session<'e> {
    /// Memory for a program; `state` must come from its layout.
    pub fn new(executable: &'e Executable, state: State) -> Session<'e> {
        let layout = &executable.layout;
        let blocks = |slots: &[Slot]| slots.iter().map(|s| Block::new(s.ty().bytes())).collect();
        let state = if state.slots == layout.state { state } else { State::new(layout) };
        Session {
            executable,
            state,
            arena: Block::new(layout.arena_bytes),
            inputs: blocks(&layout.inputs),
            outputs: blocks(&layout.outputs),
        }
    }

    /// Run on values for the data inputs (others are ignored).
    ///
    /// # Errors
    /// If one is missing or of the wrong type.
    pub fn run(&mut self, values: &Values) -> Result<Values, Error> {
        self.set(values)?;
        self.execute();
        Ok(self.outputs())
    }

    /// Put values into the data inputs (others are ignored).
    ///
    /// # Errors
    /// If one is missing or of the wrong type.
    pub fn set(&mut self, values: &Values) -> Result<(), Error> {
        for (slot, block) in self.executable.layout.inputs.iter().zip(&mut self.inputs) {
            let fail = |message| Error::Value { what: "input", name: slot.name.clone(), message };
            let value = values.get(&slot.name).ok_or_else(|| fail("is missing".into()))?;
            if value.ty() != slot.ty() {
                let (got, wanted) = (value.ty(), slot.ty());
                return Err(fail(format!("is {got}, but the program takes {wanted}")));
            }
            block.bytes_mut().copy_from_slice(&value.to_bytes());
        }
        Ok(())
    }

    /// Run on the inputs as they are.
    pub fn execute(&mut self) {
        let inputs: Vec<*const c_void> =
            self.inputs.iter().map(|b| b.bytes().as_ptr().cast()).collect();
        let outputs: Vec<*mut c_void> =
            self.outputs.iter_mut().map(|b| b.bytes_mut().as_mut_ptr().cast()).collect();
        let state = self.state.block.bytes_mut().as_mut_ptr().cast();
        let arena = self.arena.bytes_mut().as_mut_ptr().cast();
        // SAFETY: blocks and arrays have the sizes of the layout that the function was emitted
        // with.
        unsafe { (self.executable.run)(state, arena, inputs.as_ptr(), outputs.as_ptr()) };
    }

    /// The bits of the data inputs, whose elements have 32, to write.
    pub(crate) fn input_words(&mut self) -> Vec<&mut [u32]> {
        // SAFETY: blocks are aligned for any element, and any bits are a number.
        self.inputs.iter_mut().map(|b| unsafe { b.bytes_mut().align_to_mut().1 }).collect()
    }

    /// The bits of the data inputs, whose elements have 32.
    pub(crate) fn inputs(&self) -> Vec<&[u32]> {
        // SAFETY: as above.
        self.inputs.iter().map(|b| unsafe { b.bytes().align_to().1 }).collect()
    }

    /// The bytes of an output.
    pub(crate) fn output(&self, i: usize) -> &[u8] {
        self.outputs[i].bytes()
    }

    /// The calls whose time is taken, with the cycles spent in each so far.
    pub fn profile(&self) -> Vec<(&ProfiledCall, u64)> {
        cycles(self.executable.profile.as_ref(), &self.arena)
    }

    /// What the last run put out.
    pub fn outputs(&self) -> Values {
        let read = |(slot, block): (&Slot, &Block)| {
            let ty = slot.ty();
            let value = Tensor::from_bytes(&ty, block.bytes());
            (slot.name.clone(), value.unwrap_or_else(|| Tensor::zeros(&ty)))
        };
        self.executable.layout.outputs.iter().zip(&self.outputs).map(read).collect()
    }
}
