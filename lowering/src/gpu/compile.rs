//! From programs to GPU code: schedules, kernels, memory, launches.

use std::collections::HashMap;

use pamc_passes::ir::{Graph, InputKind, Tensor, TensorType};
use pamc_passes::program::Program;

use super::kernels::{Compiled, Kernels};
use super::plan::{
    self, ALIGN, Argument, Buffer, BufferKind, Format, GpuProgram, Launch, Plan, Slot,
};
use super::{GpuTarget, barriers, kernels};
use crate::Error;
use crate::emit::{TrainPrograms, batch_size, metrics};
use crate::schedule::{Boundary, Call, Machine, Place, Schedule};

/// Compile an inference program to one of the target's formats.
///
/// # Errors
/// If the program is not free of multiplications, the format is not the target's, or code generation
/// fails.
pub fn compile_run(
    program: &Program,
    target: GpuTarget,
    format: Format,
) -> Result<GpuProgram, Error> {
    let graph = program.graph();
    let memory = Memory::new(graph, None, false)?;
    let schedule = memory.schedule(program)?;
    let assembler = Assembler::new(memory, (target, format), &[program])?;
    assembler.program(&schedule, None, &Training::default())
}

/// Compile a training step to one of the target's formats.
///
/// # Errors
/// If the programs are no training step or not free of multiplications, the format is not the
/// target's, or code generation fails.
pub fn compile_train(
    programs: TrainPrograms,
    target: GpuTarget,
    format: Format,
) -> Result<GpuProgram, Error> {
    programs.check()?;
    let (step, reader) = (programs.step.graph(), programs.reader().graph());
    let training = Training {
        accumulate: programs.accumulate,
        samples: batch_size(reader)? * programs.accumulate,
        metrics: metrics(step)?,
    };
    let memory = Memory::new(step, programs.micro.map(Program::graph), true)?;
    let update = memory.schedule(programs.step)?;
    let micro = programs.micro.map(|p| memory.schedule(p)).transpose()?;
    let list: Vec<&Program> = [programs.step].into_iter().chain(programs.micro).collect();
    Assembler::new(memory, (target, format), &list)?.program(&update, micro.as_ref(), &training)
}

struct Training {
    accumulate: usize,
    samples: usize,
    metrics: Vec<String>,
}

impl Default for Training {
    fn default() -> Self {
        Training { accumulate: 1, samples: 0, metrics: Vec::new() }
    }
}

/// Where everything that has a name lies.
struct Memory {
    buffers: Vec<Buffer>,
    state: HashMap<String, usize>,
    /// The buffers of data inputs and of outputs, in the program's order.
    inputs: Vec<usize>,
    outputs: Vec<usize>,
    replaces: bool,
}

/// Buffer 0 holds parameters and states; the last two are working memory and constants.
const STATE: usize = 0;

impl Memory {
    /// For a program, and the one that is run before it on each batch if there is one, which then reads
    /// the data.
    fn new(step: &Graph, micro: Option<&Graph>, replaces: bool) -> Result<Self, Error> {
        let mut memory = Memory {
            buffers: vec![Buffer {
                name: "state".into(),
                kind: BufferKind::State,
                bytes: ALIGN,
                slots: Vec::new(),
            }],
            state: HashMap::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            replaces,
        };
        let mut offset = 0;
        for graph in micro.into_iter().chain([step]) {
            for input in graph.inputs().iter().filter(|i| i.kind != InputKind::Data) {
                if memory.state.contains_key(&input.name) {
                    continue;
                }
                let ty = graph.ty(input.node);
                memory.state.insert(input.name.clone(), offset);
                memory.buffers[STATE].slots.push(Slot::new(&input.name, ty, offset));
                offset += Machine::Gpu.bytes(ty);
            }
        }
        memory.buffers[STATE].bytes = offset.max(ALIGN);
        let reader = micro.unwrap_or(step);
        for input in reader.inputs().iter().filter(|i| i.kind == InputKind::Data) {
            let index = memory.own(&input.name, BufferKind::Input, reader.ty(input.node));
            memory.inputs.push(index);
        }
        for (name, value) in step.outputs() {
            if !(replaces && memory.state.contains_key(name)) {
                let index = memory.own(name, BufferKind::Output, step.ty(*value));
                memory.outputs.push(index);
            }
        }
        Ok(memory)
    }

    /// A buffer for one named value.
    fn own(&mut self, name: &str, kind: BufferKind, ty: &TensorType) -> usize {
        let (slots, bytes) = (vec![Slot::new(name, ty, 0)], Machine::Gpu.bytes(ty).max(ALIGN));
        self.buffers.push(Buffer { name: name.into(), kind, bytes, slots });
        self.buffers.len() - 1
    }

    fn schedule(&self, program: &Program) -> Result<Schedule, Error> {
        let boundary = Boundary::Device { replaces: self.replaces };
        Schedule::new(program.graph(), &self.state, &boundary, &Machine::Gpu)
    }
}

/// Puts a program together.
struct Assembler {
    memory: Memory,
    target: GpuTarget,
    format: Format,
    kernels: Kernels,
    constants: Vec<u8>,
    known: HashMap<Vec<u8>, usize>,
}

impl Assembler {
    fn new(
        memory: Memory,
        (target, format): (GpuTarget, Format),
        programs: &[&Program],
    ) -> Result<Self, Error> {
        if !target.formats().contains(&format) {
            let name = target.name();
            let message = format!("{} is no format of {name}", format.name());
            return Err(Error::Program { message });
        }
        if !programs.iter().all(|p| p.is_mul_free()) {
            let message = "GPU code is made of programs without multiplications only; \
                           leave out --arith float";
            return Err(Error::Program { message: message.into() });
        }
        let (constants, known) = (Vec::new(), HashMap::new());
        Ok(Assembler {
            memory,
            target,
            format,
            kernels: Kernels::new(target, format),
            constants,
            known,
        })
    }

    fn scratch(&self) -> usize {
        self.memory.buffers.len()
    }

    fn program(
        mut self,
        step: &Schedule,
        micro: Option<&Schedule>,
        training: &Training,
    ) -> Result<GpuProgram, Error> {
        let update = self.launches(step)?;
        let micro_launches = micro.map(|m| self.launches(m)).transpose()?;
        let scratch = micro.iter().map(|m| m.arena_bytes).chain([step.arena_bytes]).max();
        let mut buffers = std::mem::take(&mut self.memory.buffers);
        let unnamed = [
            ("scratch", BufferKind::Scratch, scratch.unwrap_or(0)),
            ("constants", BufferKind::Constant, self.constants.len()),
        ];
        for (name, kind, bytes) in unnamed {
            let bytes = bytes.next_multiple_of(ALIGN).max(ALIGN);
            buffers.push(Buffer { name: name.into(), kind, bytes, slots: Vec::new() });
        }
        self.constants.resize(self.constants.len().next_multiple_of(ALIGN), 0);
        let Compiled { modules, kernels, int64 } = self.kernels.compile()?;
        let launches = update.iter().chain(micro_launches.iter().flatten());
        let requirements = kernels::requirements(&kernels, launches, self.format, int64);
        let plan = Plan {
            version: plan::VERSION,
            target: self.target.name(),
            format: self.format,
            mul_free: true,
            modules: modules.iter().map(|m| m.name.clone()).collect(),
            kernels,
            buffers,
            step: update,
            micro: micro_launches,
            accumulate: training.accumulate,
            samples_per_step: training.samples,
            metrics: training.metrics.clone(),
            requirements,
        };
        plan.check()?;
        Ok(GpuProgram { plan, modules, constants: self.constants })
    }

    /// The launches of a schedule, with barriers where they need them.
    fn launches(&mut self, schedule: &Schedule) -> Result<Vec<Launch>, Error> {
        let mut launches = Vec::with_capacity(schedule.calls.len());
        for call in &schedule.calls {
            launches.push(self.launch(schedule, call)?);
        }
        barriers::place(&mut launches, self.kernels.made());
        Ok(launches)
    }

    fn launch(&mut self, schedule: &Schedule, call: &Call) -> Result<Launch, Error> {
        let params = call.params();
        let mut arguments = Vec::with_capacity(params.len());
        for (param, &value) in params.iter().zip(&call.args) {
            let bytes = param.len * plan::element_bytes(param.dtype);
            let (buffer, offset) = match schedule.places.get(&value) {
                Some(Place::State(offset)) => (STATE, *offset),
                Some(Place::Input(i)) => (self.memory.inputs[*i], 0),
                Some(Place::Output(i)) => (self.memory.outputs[*i], 0),
                Some(Place::Constant) => {
                    let value = schedule.graph.node(value).attrs.tensor("value");
                    (self.scratch() + 1, value.map_or(0, |v| self.constant(v)))
                }
                Some(Place::Arena(offset)) => (self.scratch(), *offset),
                // The plan places every argument of every call.
                None => (self.scratch(), 0),
            };
            arguments.push(Argument { buffer, offset, bytes: bytes.max(4) });
        }
        let writes: Vec<bool> = call.args.iter().map(|a| call.writes.contains(a)).collect();
        let origin = schedule.graph.node(call.node).origin.to_string();
        let (kernel, arguments) = self.kernels.get(&call.kernel, arguments, &writes, &origin);
        let grid = self.kernels.made()[kernel].grid;
        Ok(Launch { kernel, grid, arguments, barrier: false })
    }

    /// Offset of a constant, without subnormals.
    fn constant(&mut self, value: &Tensor) -> usize {
        let bytes = plan::to_device(value);
        if let Some(&offset) = self.known.get(&bytes) {
            return offset;
        }
        let offset = self.constants.len().next_multiple_of(ALIGN);
        self.constants.resize(offset, 0);
        self.constants.extend(&bytes);
        self.known.insert(bytes, offset);
        offset
    }
}
