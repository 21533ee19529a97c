//! The training loop: batches gathered, steps run, states replaced, metrics written.

use std::collections::HashMap;

use pamc_passes::ir::{DType, Graph, InputKind, TensorType};
use pamc_passes::program::Program;

use super::abi::{Layout, Slot};
use super::builder::Builder;
use super::module::{EmitOptions, Emitted, Module, Stats, data, state_layout, states};
use super::nest::{INDEX, LANES, memref, stored};
use super::profile::Profile;
use super::scalar;
use super::step::{block, steps, view};
use super::types::{Elem, Value, VecTy};
use crate::Error;
use crate::codegen::{Access, Target};
use crate::schedule::{Boundary, Place, Schedule};

/// The programs of a training step.
#[derive(Clone, Copy, Debug)]
pub struct TrainPrograms<'p> {
    /// One update; without `micro` it also reads the batch.
    pub step: &'p Program,
    /// Run on each of the accumulated batches before the update.
    pub micro: Option<&'p Program>,
    /// How many batches are accumulated; 1 without `micro`.
    pub accumulate: usize,
}

impl TrainPrograms<'_> {
    /// The program that reads the batch.
    pub(crate) fn reader(&self) -> &Program {
        self.micro.unwrap_or(self.step)
    }

    /// Check that they go together.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.accumulate == 0 || (self.micro.is_none() && self.accumulate != 1) {
            return Err(program_error(
                "accumulated batches need a program for each and one for all",
            ));
        }
        let Some(micro) = self.micro else { return Ok(()) };
        if data(self.step.graph()).next().is_some() {
            return Err(program_error("the update after accumulated batches reads data"));
        }
        if let [first, ..] = &metrics(micro.graph())?[..] {
            return Err(program_error(format!("an accumulated batch reports '{first}'")));
        }
        Ok(())
    }
}

fn program_error(message: impl Into<String>) -> Error {
    Error::Program { message: message.into() }
}

/// Batch size: the first extent of every data input.
pub(crate) fn batch_size(graph: &Graph) -> Result<usize, Error> {
    let mut size = None;
    for (name, ty) in data(graph) {
        let Some(&first) = ty.shape.first() else {
            return Err(program_error(format!("data input '{name}' has no batch axis")));
        };
        if *size.get_or_insert(first) != first {
            let known = size.unwrap_or(0);
            return Err(program_error(format!(
                "data input '{name}' is {ty}, but others have {known} samples in a batch"
            )));
        }
    }
    Ok(size.unwrap_or(1))
}

/// Outputs that are no new parameter or state, which must be scalars.
pub(crate) fn metrics(graph: &Graph) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    for (name, value) in graph.outputs() {
        let ty = graph.ty(*value);
        match graph.find_input(name).filter(|i| i.kind != InputKind::Data) {
            Some(input) if graph.ty(input.node) == ty => {}
            Some(input) => {
                let old = graph.ty(input.node);
                let message = format!("output '{name}' is {ty}, but what it replaces {old}");
                return Err(program_error(message));
            }
            None if *ty == TensorType::f32([]) => names.push(name.clone()),
            None => {
                return Err(program_error(format!("metric '{name}' is {ty}, not a scalar f32")));
            }
        }
    }
    Ok(names)
}

/// A module that exports the training loop:
/// `int pamc_train(void *state, void *arena, const void *const *data, const int64_t *order,
/// float *metrics, int64_t steps)`.
///
/// `data` are whole data sets, one array for each data input, a sample after the other; `order`
/// holds batch × accumulate sample indices a step, which must be below the number of samples;
/// `metrics` takes the step's scalar outputs, a step after the other. Parameters and states are
/// replaced in the state block by the outputs of their name.
///
/// # Errors
/// If data inputs have no common batch axis, a metric is no scalar or a state changes its type.
pub fn module_for_train(
    programs: TrainPrograms,
    target: &Target,
    options: &EmitOptions,
) -> Result<Emitted, Error> {
    programs.check()?;
    let (step, reader) = (programs.step.graph(), programs.reader().graph());
    let batch = batch_size(reader)?;
    let mut module = Module::new(target, options);
    let (state, state_bytes) = state_layout(states(reader).chain(states(step)));
    let (inputs, reserved) = state_layout(data(reader));
    let offsets = state.iter().map(|s| (s.name.clone(), s.offset)).collect();
    let places = inputs.iter().map(|s| (s.name.clone(), s.offset)).collect();
    let boundary = Boundary::Loop { reserved, data: &places };
    let machine = module.machine();
    let schedule = |p: &Program| Schedule::new(p.graph(), &offsets, &boundary, &machine);
    let update = schedule(programs.step)?;
    let micro = programs.micro.map(schedule).transpose()?;
    let arena_bytes = micro.iter().chain([&update]).map(|s| s.arena_bytes).max().unwrap_or(0);
    let profile = options.profile.then(|| Profile::new(micro.iter().chain([&update]), arena_bytes));
    let arena_bytes = profile.as_ref().map_or(arena_bytes, Profile::arena_bytes);
    let names = metrics(step)?;
    let layout = Layout {
        function: options.function.clone(),
        state,
        state_bytes,
        arena_bytes,
        inputs,
        outputs: Vec::new(),
        metrics: names,
        samples_per_step: batch * programs.accumulate,
    };
    let bytes = (state_bytes, arena_bytes);
    let counters = profile.as_ref().map(|p| p.offset);
    let behind = micro.as_ref().map_or(0, |m| m.calls.len() * size_of::<u64>());
    steps(&mut module, "train_step", &update, bytes, &[], counters.map(|at| at + behind))?;
    if let Some(micro) = &micro {
        steps(&mut module, "train_micro", micro, bytes, &[], counters)?;
    }
    for (i, slot) in layout.inputs.iter().enumerate() {
        gather(&mut module.b, &format!("train_batch_{i}"), slot, batch);
    }
    let loops = Loop { layout: &layout, update: &update, micro: micro.is_some(), batch };
    loops.emit(&mut module.b, programs.accumulate);
    let calls = micro.iter().chain([&update]).map(Schedule::calls_made).sum();
    let lower_bound =
        micro.iter().chain([&update]).map(|s| s.lower_bound).max().unwrap_or_default();
    let (parts, kernels) = module.finish();
    let stats = Stats { kernels, calls, arena_bytes, lower_bound };
    Ok(Emitted { parts, layout, stats, profile })
}

/// Writes `@name(data, order, first, batch)`: copies the samples that `order` names from `first`
/// on, subnormals as zeros.
fn gather(b: &mut Builder, name: &str, slot: &Slot, batch: usize) {
    let ty = slot.ty();
    let row = ty.len() / batch.max(1);
    let buffer = memref(ty.dtype, ty.len());
    let (keyword, attributes) = (Access::Internal.keyword(), Access::Internal.attributes());
    let header = format!(
        "{keyword} @{name}(%data: !llvm.ptr, %order: !llvm.ptr, %first: i64, %batch: {buffer})\
         {attributes}"
    );
    b.region(header, |b| {
        if row > 0 {
            let [zero, end, one] = [0, batch, 1].map(|v| b.int(INDEX, v as i64));
            let iv = b.fresh(INDEX);
            b.region(format!("scf.for {iv} = {zero} to {end} step {one}"), |b| {
                sample(b, &ty, row, iv);
            });
        }
        b.line("func.return");
    });
}

/// Copies one sample.
fn sample(b: &mut Builder, ty: &TensorType, row: usize, iv: Value) {
    const I64: VecTy = VecTy::scalar(Elem::I64);
    let at = b.convert("arith.index_cast", iv, Elem::I64);
    let at = b.define(I64, format_args!("arith.addi %first, {at} : i64"));
    let gep = |list: &str, at: &str, elem: &str| {
        format!("llvm.getelementptr {list}[{at}] : (!llvm.ptr, i64) -> !llvm.ptr, {elem}")
    };
    b.line(format_args!("%slot = {}", gep("%order", &at.to_string(), "i64")));
    let chosen = b.define(I64, "llvm.load %slot : !llvm.ptr -> i64");
    let length = b.int(I64, row as i64);
    let from = b.binary("arith.muli", chosen, length);
    let elem = stored(ty.dtype);
    b.line(format_args!("%sample = {}", gep("%data", &from.to_string(), elem.name())));
    let size = b.int(INDEX, row as i64);
    let to = b.binary("arith.muli", iv, size);
    let main = row / LANES * LANES;
    if main > 0 {
        let [zero, end, step] = [0, main, LANES].map(|v| b.int(INDEX, v as i64));
        let i = b.fresh(INDEX);
        b.region(format!("scf.for {i} = {zero} to {end} step {step}"), |b| {
            piece(b, ty, i, to, LANES);
        });
    }
    if row > main {
        let i = b.int(INDEX, main as i64);
        piece(b, ty, i, to, row - main);
    }
}

/// Copies `lanes` elements from `i` on.
fn piece(b: &mut Builder, ty: &TensorType, i: Value, to: Value, lanes: usize) {
    let vector = VecTy::vector(stored(ty.dtype), lanes);
    let at = b.convert("arith.index_cast", i, Elem::I64);
    let place = b.fresh(INDEX);
    b.line(format_args!(
        "{place} = llvm.getelementptr %sample[{at}] : (!llvm.ptr, i64) -> !llvm.ptr, {}",
        vector.elem.name()
    ));
    let align = ty.dtype.size();
    let load = format!("llvm.load {place} {{alignment = {align} : i64}} : !llvm.ptr -> {vector}");
    let mut value = b.define(vector, load);
    if ty.dtype == DType::F32 {
        value = scalar::flush(b, value);
    }
    if ty.dtype == DType::Bool {
        let zero = b.int(vector, 0);
        let truth = b.compare("ne", value, zero);
        value = b.convert("arith.extui", truth, Elem::I8);
    }
    let at = b.binary("arith.addi", to, i);
    let buffer = memref(ty.dtype, ty.len());
    b.line(format_args!("vector.store {value}, %batch[{at}] : {buffer}, {vector}"));
}

struct Loop<'a> {
    layout: &'a Layout,
    update: &'a Schedule,
    micro: bool,
    batch: usize,
}

impl Loop<'_> {
    fn emit(&self, b: &mut Builder, accumulate: usize) {
        let (state, arena) = (block(self.layout.state_bytes), block(self.layout.arena_bytes));
        let header = format!(
            "func.func @{}(%state: {state}, %arena: {arena}, %data: !llvm.ptr, %order: !llvm.ptr, \
             %metrics: !llvm.ptr, %steps: i64) -> i32",
            self.layout.function
        );
        b.region(header, |b| {
            b.line("%zero = arith.constant 0 : i64");
            b.line("%one = arith.constant 1 : i64");
            b.line(format_args!("%accumulate = arith.constant {accumulate} : i64"));
            b.line(format_args!("%size = arith.constant {} : i64", self.batch));
            for (i, slot) in self.layout.inputs.iter().enumerate() {
                b.line(format_args!(
                    "%data{i}_a = llvm.getelementptr %data[{i}] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr"
                ));
                b.line(format_args!("%data{i} = llvm.load %data{i}_a : !llvm.ptr -> !llvm.ptr"));
                let (ty, bytes) = (slot.ty(), self.layout.arena_bytes);
                let buffer = memref(ty.dtype, ty.len());
                let lines = view(&format!("%batch{i}"), "%arena", slot.offset, bytes, &buffer);
                lines.iter().for_each(|l| b.line(l));
            }
            b.region("scf.for %step = %zero to %steps step %one : i64", |b| {
                b.line("%done = arith.muli %step, %accumulate : i64");
                if self.micro {
                    b.region("scf.for %part = %zero to %accumulate step %one : i64", |b| {
                        b.line("%round = arith.addi %done, %part : i64");
                        self.gather(b, "%round");
                        self.call(b, "train_micro");
                    });
                } else {
                    self.gather(b, "%done");
                }
                self.call(b, "train_step");
                self.report(b);
            });
            b.line("%success = arith.constant 0 : i32");
            b.line("func.return %success : i32");
        });
    }

    fn gather(&self, b: &mut Builder, round: &str) {
        b.line(format_args!("%first = arith.muli {round}, %size : i64"));
        for (i, slot) in self.layout.inputs.iter().enumerate() {
            let buffer = memref(slot.ty().dtype, slot.ty().len());
            b.line(format_args!(
                "func.call @train_batch_{i}(%data{i}, %order, %first, %batch{i}) \
                 : (!llvm.ptr, !llvm.ptr, i64, {buffer}) -> ()"
            ));
        }
    }

    fn call(&self, b: &mut Builder, name: &str) {
        let (state, arena) = (block(self.layout.state_bytes), block(self.layout.arena_bytes));
        b.line(format_args!("func.call @{name}(%state, %arena) : ({state}, {arena}) -> ()"));
    }

    /// Copies the step's scalars to the caller's array.
    fn report(&self, b: &mut Builder) {
        let count = self.layout.metrics.len();
        b.line(format_args!("%width = arith.constant {count} : i64"));
        b.line("%base = arith.muli %step, %width : i64");
        let outputs: HashMap<&str, _> =
            self.update.graph.outputs().iter().map(|(n, v)| (n.as_str(), *v)).collect();
        for (i, name) in self.layout.metrics.iter().enumerate() {
            let place = outputs.get(name.as_str()).and_then(|v| self.update.places.get(v));
            let Some(Place::Arena(offset)) = place else { continue };
            let bytes = self.layout.arena_bytes;
            let lines = view(&format!("%metric{i}"), "%arena", *offset, bytes, "memref<1xf32>");
            lines.iter().for_each(|l| b.line(l));
            b.line(format_args!("%origin{i} = arith.constant 0 : index"));
            b.line(format_args!("%value{i} = memref.load %metric{i}[%origin{i}] : memref<1xf32>"));
            b.line(format_args!("%index{i} = arith.constant {i} : i64"));
            b.line(format_args!("%slot{i} = arith.addi %base, %index{i} : i64"));
            b.line(format_args!(
                "%to{i} = llvm.getelementptr %metrics[%slot{i}] : (!llvm.ptr, i64) -> !llvm.ptr, f32"
            ));
            b.line(format_args!("llvm.store %value{i}, %to{i} : f32, !llvm.ptr"));
        }
    }
}
