//! Where a program runs: compiled on the CPU, in the interpreter, or on a GPU.

use std::collections::BTreeMap;

use pamc_lowering::codegen::{self, Cache, Options, Target};
use pamc_lowering::emit::EmitOptions;
use pamc_lowering::exec::{DataSet, Executable, TrainExecutable};
use pamc_lowering::gpu;
use pamc_passes::interpret::{self, Values};
use pamc_passes::ir::{Graph, InputKind, Tensor};

use pamc_passes::program::Program;

use super::data::Dataset;
use super::devices::DeviceName;
use super::gpu::machine::Machine as GpuMachine;
use super::gpu::program::{GpuForward, GpuTrainer};
use super::gpu::{DeviceError, cuda, vulkan};
use crate::compile::TrainProgram;
use crate::error::Error;

/// Something that trains: holds parameters and state, runs steps over a data set.
pub trait Trainer {
    /// Run `steps` optimizer steps; `order` holds the sample indices of all their (micro-)batches.
    /// Returns the metrics, one row a step, in the program's order.
    ///
    /// # Errors
    /// If the machine fails.
    fn train(&mut self, order: &[i64], steps: usize) -> Result<Vec<Vec<f32>>, Error>;

    /// Parameters and state by name.
    ///
    /// # Errors
    /// If the machine fails.
    fn state(&mut self) -> Result<BTreeMap<String, Tensor>, Error>;
}

/// Something that runs an inference program.
pub trait Forward {
    /// Outputs by name, from data inputs and from parameters and states by name.
    ///
    /// # Errors
    /// If the inputs do not fit.
    fn run(&mut self, data: &Values, state: &BTreeMap<String, Tensor>) -> Result<Values, Error>;

    /// The graph that runs.
    fn graph(&self) -> &Graph;
}

/// Data inputs together with the parameters and states that a graph reads.
fn with_state(graph: &Graph, data: &Values, state: &BTreeMap<String, Tensor>) -> Values {
    let mut inputs = data.clone();
    for input in graph.inputs().iter().filter(|i| i.kind != InputKind::Data) {
        if let Some(t) = state.get(&input.name) {
            inputs.insert(input.name.clone(), t.clone());
        }
    }
    inputs
}

/// An inference program in the reference interpreter.
pub struct InterpretedForward(pub Program);

impl Forward for InterpretedForward {
    fn run(&mut self, data: &Values, state: &BTreeMap<String, Tensor>) -> Result<Values, Error> {
        let inputs = with_state(self.0.graph(), data, state);
        Ok(interpret::run(&self.0, &inputs)?)
    }

    fn graph(&self) -> &Graph {
        self.0.graph()
    }
}

/// The reference machine: evaluates node by node.
pub struct Interpreter {
    program: TrainProgram,
    state: Values,
    data: BTreeMap<String, Tensor>,
}

impl Interpreter {
    /// A machine with initial parameters and state, over arrays of samples by input name.
    pub fn new(
        program: TrainProgram,
        state: BTreeMap<String, Tensor>,
        data: BTreeMap<String, Tensor>,
    ) -> Self {
        Interpreter { program, state: state.into_iter().collect(), data }
    }

    /// Run one program on a batch; updates the state and returns the metrics.
    fn step(&mut self, micro: bool, samples: &[i64]) -> Result<Vec<f32>, Error> {
        let program = match (&self.program.micro, micro) {
            (Some(p), true) => p,
            _ => &self.program.step,
        };
        let graph = program.graph();
        let mut inputs = Values::new();
        for input in graph.inputs() {
            let value = match input.kind {
                InputKind::Data => rows(&self.data[&input.name], samples),
                _ => self.state[&input.name].clone(),
            };
            inputs.insert(input.name.clone(), value);
        }
        let mut outputs = interpret::run(program, &inputs)?;
        let carried = carried(graph);
        for name in &carried {
            if let Some(t) = outputs.remove(name) {
                self.state.insert(name.clone(), t);
            }
        }
        let metric = |name: &String| outputs.get(name).and_then(Tensor::item::<f32>);
        Ok(self.program.metrics.iter().filter_map(metric).collect())
    }
}

/// Names of the outputs that are new values of parameters or state.
fn carried(graph: &Graph) -> Vec<String> {
    let stays = |name: &&String| graph.find_input(name).is_some_and(|i| i.kind != InputKind::Data);
    graph.outputs().iter().map(|(n, _)| n).filter(stays).cloned().collect()
}

/// The samples of the given indices, stacked.
pub fn rows(array: &Tensor, samples: &[i64]) -> Tensor {
    let at: Vec<usize> = samples.iter().map(|&i| i as usize).collect();
    pamc_passes::map_array!(array, a => a.select(ndarray::Axis(0), &at).into_shared())
}

impl Trainer for Interpreter {
    fn train(&mut self, order: &[i64], steps: usize) -> Result<Vec<Vec<f32>>, Error> {
        let accumulate = self.program.accumulate;
        let batch = order.len() / (steps * accumulate).max(1);
        let mut metrics = Vec::with_capacity(steps);
        for step in order.chunks(batch * accumulate).take(steps) {
            if self.program.micro.is_some() {
                for samples in step.chunks(batch) {
                    self.step(true, samples)?;
                }
                metrics.push(self.step(false, &[])?);
            } else {
                metrics.push(self.step(false, step)?);
            }
        }
        Ok(metrics)
    }

    fn state(&mut self) -> Result<BTreeMap<String, Tensor>, Error> {
        Ok(self.state.iter().map(|(n, t)| (n.clone(), t.clone())).collect())
    }
}

/// Which machine, and how many threads it may use.
#[derive(Clone, Debug)]
pub struct Device {
    /// The machine.
    pub name: DeviceName,
    /// Threads of the processor; `None` for all cores.
    pub threads: Option<usize>,
    /// Where kernels compiled for the processor are kept.
    pub cache: Option<Cache>,
}

/// A machine, opened.
enum Machine {
    Interpreter,
    Processor,
    Gpu(Box<dyn GpuMachine>),
}

impl Device {
    /// Open the machine.
    fn machine(&self) -> Result<Machine, DeviceError> {
        if let Some(threads) = self.threads {
            codegen::set_threads(threads.max(1));
        }
        Ok(match self.name {
            DeviceName::Cpu => Machine::Processor,
            DeviceName::Interpret => Machine::Interpreter,
            DeviceName::Vulkan(number) => Machine::Gpu(vulkan::open(number)?),
            DeviceName::Cuda(number) => Machine::Gpu(cuda::open(number)?),
        })
    }
}

/// A machine for an inference program.
///
/// # Errors
/// If code generation fails.
pub fn forward(program: Program, device: &Device) -> Result<Box<dyn Forward>, Error> {
    match device.machine()? {
        Machine::Interpreter => Ok(Box::new(InterpretedForward(program))),
        Machine::Gpu(machine) => {
            let target = machine.target();
            let code = gpu::compile_run(&program, target, target.formats()[0])?;
            Ok(Box::new(GpuForward::new(&code, program.graph().clone(), machine)?))
        }
        Machine::Processor => {
            let code = Executable::new(&program, &EmitOptions::default(), device.cache.as_ref())?;
            Ok(Box::new(CompiledForward(code, program)))
        }
    }
}

struct CompiledForward(Executable, Program);

impl Forward for CompiledForward {
    fn run(&mut self, data: &Values, state: &BTreeMap<String, Tensor>) -> Result<Values, Error> {
        Ok(self.0.run(&with_state(self.graph(), data, state))?)
    }

    fn graph(&self) -> &Graph {
        self.1.graph()
    }
}

/// A machine for a training program, with first values of its parameters and states, over a data set.
///
/// # Errors
/// If an array that the program reads is missing or does not fit, or code generation fails.
pub fn trainer(
    program: TrainProgram,
    state: BTreeMap<String, Tensor>,
    data: &Dataset,
    device: &Device,
) -> Result<Box<dyn Trainer>, Error> {
    let arrays = arrays(&program, data)?;
    match device.machine()? {
        Machine::Interpreter => return Ok(Box::new(Interpreter::new(program, state, arrays))),
        Machine::Gpu(machine) => {
            let target = machine.target();
            let code = gpu::compile_train(program.programs(), target, target.formats()[0])?;
            return Ok(Box::new(GpuTrainer::new(&code, machine, &state, &arrays)?));
        }
        Machine::Processor => {}
    }
    let target = Target::host();
    let emitted = program.module(&target)?;
    let cache = device.cache.as_ref();
    let objects = codegen::build(&emitted.parts, &target, &Options::default(), cache)?;
    compiled_trainer(TrainExecutable::load(emitted, &objects)?, state, arrays)
}

/// What a training program reads of a data set, without subnormals.
///
/// # Errors
/// If an array is missing or does not fit.
pub fn arrays(program: &TrainProgram, data: &Dataset) -> Result<BTreeMap<String, Tensor>, Error> {
    let reads = program.micro.as_ref().unwrap_or(&program.step).graph();
    let inputs = reads.inputs().iter().filter(|i| i.kind == InputKind::Data);
    inputs
        .map(|input| {
            let array = data.array(&input.name, reads.ty(input.node))?;
            Ok((input.name.clone(), interpret::flush(&array)))
        })
        .collect()
}

/// A compiled loop with first values of its parameters and states, over its [`arrays`].
///
/// # Errors
/// If a value or an array does not fit.
pub fn compiled_trainer(
    mut machine: TrainExecutable,
    state: BTreeMap<String, Tensor>,
    arrays: BTreeMap<String, Tensor>,
) -> Result<Box<dyn Trainer>, Error> {
    for slot in machine.layout().state.clone() {
        if let Some(value) = state.get(&slot.name) {
            machine.state.set(&slot.name, value)?;
        }
    }
    let data = DataSet::new(machine.layout(), &arrays.into_iter().collect())?;
    Ok(Box::new(Compiled { machine, data }))
}

struct Compiled {
    machine: TrainExecutable,
    data: DataSet,
}

impl Trainer for Compiled {
    fn train(&mut self, order: &[i64], _: usize) -> Result<Vec<Vec<f32>>, Error> {
        Ok(self.machine.train(&self.data, order)?)
    }

    fn state(&mut self) -> Result<BTreeMap<String, Tensor>, Error> {
        let slots = self.machine.layout().state.iter();
        slots.map(|s| Ok((s.name.clone(), self.machine.state.get(&s.name)?))).collect()
    }
}
