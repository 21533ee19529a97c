//! Compiled training loops.

use std::ffi::c_void;
use std::mem::transmute;

use pamc_passes::interpret::Values;

use super::{Block, State, cycles};
use crate::Error;
use crate::codegen::{Cache, Jit, Object, Options, Target, build};
use crate::emit::{
    EmitOptions, Emitted, Layout, Profile, ProfiledCall, Stats, TrainPrograms, module_for_train,
};

type TrainFunction = unsafe extern "C" fn(
    *mut c_void,
    *mut c_void,
    *const *const c_void,
    *const i64,
    *mut f32,
    i64,
) -> i32;

/// Samples to train on, checked against a program.
pub struct DataSet {
    arrays: Vec<Block>,
    samples: usize,
    layout: Layout,
}

impl DataSet {
    /// Check and copy data: for each data input of the program an array of its element type whose
    /// first axis counts samples; a sample has the elements of one row of the batch, under any
    /// shape.
    ///
    /// # Errors
    /// If one is missing, does not fit, or they differ in their number of samples.
    pub fn new(layout: &Layout, values: &Values) -> Result<DataSet, Error> {
        let mut arrays = Vec::with_capacity(layout.inputs.len());
        let mut samples = None;
        for slot in &layout.inputs {
            let fail = |message| Error::Value { what: "data", name: slot.name.clone(), message };
            let value = values.get(&slot.name).ok_or_else(|| fail("is missing".into()))?;
            let ty = slot.ty();
            let batch = ty.shape.first().copied().unwrap_or(1).max(1);
            let count = value.shape().first().copied().unwrap_or(0);
            let row = value.shape().iter().skip(1).product::<usize>();
            if value.dtype() != ty.dtype || row != ty.len() / batch {
                let got = value.ty();
                return Err(fail(format!("is {got}, which does not fit a batch of {ty}")));
            }
            if *samples.get_or_insert(count) != count {
                let others = samples.unwrap_or(0);
                return Err(fail(format!("has {count} samples, others have {others}")));
            }
            let mut block = Block::new(value.ty().bytes());
            block.bytes_mut().copy_from_slice(&value.to_bytes());
            arrays.push(block);
        }
        Ok(DataSet { arrays, samples: samples.unwrap_or(0), layout: layout.clone() })
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.samples
    }
}

/// A compiled training loop with its parameters, states and memory.
pub struct TrainExecutable {
    _code: Jit,
    train: TrainFunction,
    layout: Layout,
    /// Numbers of its emission.
    pub stats: Stats,
    /// Parameters and states, all zero at first.
    pub state: State,
    arena: Block,
    profile: Option<Profile>,
}

impl TrainExecutable {
    /// Compile for this machine, but for what a cache holds.
    ///
    /// # Errors
    /// If the programs are no training step or code generation fails.
    pub fn new(
        programs: TrainPrograms,
        options: &EmitOptions,
        cache: Option<&Cache>,
    ) -> Result<Self, Error> {
        let target = Target::host();
        let emitted = module_for_train(programs, &target, options)?;
        let objects = build(&emitted.parts, &target, &Options::default(), cache)?;
        Self::load(emitted, &objects)
    }

    /// Load what was compiled before: the objects must be those of the training module `emitted`.
    ///
    /// # Errors
    /// If an object cannot be loaded or they lack the module's function.
    pub fn load(emitted: Emitted, objects: &[Object]) -> Result<Self, Error> {
        let code = Jit::load(objects)?;
        let symbol = code.symbol(&emitted.layout.function)?;
        // SAFETY: the emitted function has this signature.
        let train = unsafe { transmute::<*const c_void, TrainFunction>(symbol) };
        let layout = emitted.layout;
        let (state, arena) = (State::new(&layout), Block::new(layout.arena_bytes));
        let (stats, profile) = (emitted.stats, emitted.profile);
        Ok(Self { _code: code, train, layout, stats, state, arena, profile })
    }

    /// The calls whose time is taken, with the cycles spent in each so far.
    pub fn profile(&self) -> Vec<(&ProfiledCall, u64)> {
        cycles(self.profile.as_ref(), &self.arena)
    }

    /// Its interface.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Train on the samples that `order` names, `samples_per_step` of them a step; returns the
    /// metrics, one list a step in the layout's order.
    ///
    /// # Errors
    /// If an index is outside the data or the indices do not make whole steps.
    pub fn train(&mut self, data: &DataSet, order: &[i64]) -> Result<Vec<Vec<f32>>, Error> {
        let fail = |message| Error::Value { what: "order", name: "order".into(), message };
        let each = self.layout.samples_per_step;
        if data.layout != self.layout {
            return Err(fail("goes with data of another program".into()));
        }
        if each == 0 || !order.len().is_multiple_of(each) {
            let message = format!("has {} indices, not a multiple of {each}", order.len());
            return Err(fail(message));
        }
        let inside = |i: i64| usize::try_from(i).is_ok_and(|i| i < data.samples);
        if let Some(bad) = order.iter().find(|i| !data.arrays.is_empty() && !inside(**i)) {
            return Err(fail(format!("has index {bad} of {} samples", data.samples)));
        }
        let steps = order.len() / each;
        let width = self.layout.metrics.len();
        let mut metrics = vec![0f32; steps * width];
        let arrays: Vec<*const c_void> =
            data.arrays.iter().map(|b| b.bytes().as_ptr().cast()).collect();
        let state = self.state.block.bytes_mut().as_mut_ptr().cast();
        let arena = self.arena.bytes_mut().as_mut_ptr().cast();
        // SAFETY: blocks and arrays have the sizes of the layout that the function was emitted
        // with, and every index is inside the data.
        unsafe {
            (self.train)(
                state,
                arena,
                arrays.as_ptr(),
                order.as_ptr(),
                metrics.as_mut_ptr(),
                steps as i64,
            )
        };
        match width {
            0 => Ok(vec![Vec::new(); steps]),
            _ => Ok(metrics.chunks(width).map(<[f32]>::to_vec).collect()),
        }
    }
}
