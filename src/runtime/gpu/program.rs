//! Launch plans on a machine: parameters and states stay on the device, data goes up while the step
//! before runs, metrics come back a step later.

use std::collections::BTreeMap;

use pamc_lowering::gpu::plan::{
    Argument, BufferKind, GpuProgram, Launch, Plan, Slot, from_device, to_device,
};
use pamc_passes::interpret::{self, Values};
use pamc_passes::ir::{Graph, Tensor};
use pamc_passes::with_array;

use super::DeviceError;
use super::machine::{Command, Machine, Place, Recording};
use crate::error::Error;
use crate::runtime::device::{Forward, Trainer};

/// Named tensors by name.
type State = BTreeMap<String, Tensor>;

/// A copy in the host's memory of some of a program's buffers, one after the other.
struct Image {
    /// The machine's buffer.
    buffer: usize,
    /// The program's buffer, its place here and its size.
    parts: Vec<(usize, usize, usize)>,
}

impl Image {
    /// Room for all buffers of a kind.
    fn new(machine: &mut dyn Machine, plan: &Plan, kind: BufferKind) -> Result<Self, DeviceError> {
        let mut parts = Vec::new();
        let mut bytes = 0;
        for (i, buffer) in plan.buffers.iter().enumerate().filter(|(_, b)| b.kind == kind) {
            parts.push((i, bytes, buffer.bytes));
            bytes += buffer.bytes;
        }
        let buffer = machine.buffer(bytes, Place::Host)?;
        Ok(Image { buffer, parts })
    }

    /// The commands that copy to the device, or back.
    fn copies<'p>(&self, up: bool) -> Vec<Command<'p>> {
        let copy = |&(buffer, offset, bytes): &(usize, usize, usize)| {
            let here = Argument { buffer: self.buffer, offset, bytes };
            let there = Argument { buffer, offset: 0, bytes };
            if up { Command::Copy(here, there) } else { Command::Copy(there, here) }
        };
        self.parts.iter().map(copy).collect()
    }

    /// Where a slot of a buffer lies here.
    fn at(&self, buffer: usize, slot: &Slot) -> usize {
        let part = self.parts.iter().find(|(i, _, _)| *i == buffer);
        part.map_or(0, |(_, start, _)| start + slot.offset)
    }
}

/// The launches of a list with the barriers between them.
fn launches(list: &[Launch]) -> Vec<Command<'_>> {
    let mut out = Vec::with_capacity(2 * list.len());
    for launch in list {
        out.extend(launch.barrier.then_some(Command::Barrier));
        out.push(Command::Launch(launch));
    }
    out
}

/// Several lists, each after all before it is done.
fn in_order<'p>(lists: impl IntoIterator<Item = Vec<Command<'p>>>) -> Vec<Command<'p>> {
    let mut out = Vec::new();
    for list in lists.into_iter().filter(|l| !l.is_empty()) {
        if !out.is_empty() {
            out.push(Command::Barrier);
        }
        out.extend(list);
    }
    out
}

/// A program on a machine, with its parameters and states there.
struct Loaded {
    machine: Box<dyn Machine>,
    plan: Plan,
    state: Image,
    up: Recording,
    down: Recording,
}

impl Loaded {
    fn new(program: &GpuProgram, mut machine: Box<dyn Machine>) -> Result<Loaded, DeviceError> {
        let plan = &program.plan;
        plan.check().map_err(|e| DeviceError::Plan(e.to_string()))?;
        machine.load(program)?;
        for (i, buffer) in plan.buffers.iter().enumerate() {
            let made = machine.buffer(buffer.bytes, Place::Device)?;
            debug_assert_eq!(made, i, "buffers have the plan's numbers");
        }
        let constants = Image::new(machine.as_mut(), plan, BufferKind::Constant)?;
        if !program.constants.is_empty() {
            machine.write(constants.buffer, 0, &program.constants)?;
            let copy = machine.record(&constants.copies(true))?;
            machine.submit(copy)?;
            machine.wait(copy)?;
        }
        let state = Image::new(machine.as_mut(), plan, BufferKind::State)?;
        let (up, down) =
            (machine.record(&state.copies(true))?, machine.record(&state.copies(false))?);
        Ok(Loaded { machine, plan: plan.clone(), state, up, down })
    }

    /// Write parameters and states; those without a value are zeros.
    fn put(&mut self, state: &State) -> Result<(), Error> {
        for (buffer, slot) in self.plan.slots(BufferKind::State) {
            let bytes = match state.get(&slot.name) {
                Some(value) if value.ty() == slot.ty() => to_device(value),
                Some(value) => return Err(misfit("the value", slot, value)),
                None => vec![0; slot.bytes],
            };
            self.machine.write(self.state.buffer, self.state.at(buffer, slot), &bytes)?;
        }
        self.machine.submit(self.up)?;
        Ok(self.machine.wait(self.up)?)
    }

    /// Read parameters and states.
    fn get(&mut self) -> Result<State, Error> {
        self.machine.submit(self.down)?;
        self.machine.wait(self.down)?;
        self.read(&self.state, BufferKind::State)
    }

    /// The tensors of an image.
    fn read<C: FromIterator<(String, Tensor)>>(
        &self,
        image: &Image,
        kind: BufferKind,
    ) -> Result<C, Error> {
        let one = |(buffer, slot): (usize, &Slot)| {
            let bytes = self.machine.read(image.buffer, image.at(buffer, slot), slot.bytes)?;
            Ok((slot.name.clone(), from_device(&slot.ty(), &bytes)))
        };
        self.plan.slots(kind).map(one).collect()
    }
}

fn misfit(what: &str, slot: &Slot, value: &Tensor) -> Error {
    let (name, wanted, got) = (&slot.name, slot.ty(), value.ty());
    Error::usage(format!("{what} of '{name}' is {got}, but the program takes {wanted}"))
}

/// An inference program on a device.
pub struct GpuForward {
    loaded: Loaded,
    graph: Graph,
    inputs: Image,
    outputs: Image,
    run: Recording,
    /// What the device holds.
    state: Option<State>,
}

impl GpuForward {
    /// Load a program, the code of `graph`.
    ///
    /// # Errors
    /// If the device cannot run it.
    pub fn new(
        program: &GpuProgram,
        graph: Graph,
        machine: Box<dyn Machine>,
    ) -> Result<GpuForward, DeviceError> {
        let mut loaded = Loaded::new(program, machine)?;
        let Loaded { machine, plan, .. } = &mut loaded;
        let inputs = Image::new(machine.as_mut(), plan, BufferKind::Input)?;
        let outputs = Image::new(machine.as_mut(), plan, BufferKind::Output)?;
        let lists = [inputs.copies(true), launches(&plan.step), outputs.copies(false)];
        let run = machine.record(&in_order(lists))?;
        Ok(GpuForward { loaded, graph, inputs, outputs, run, state: None })
    }
}

/// True if both hold the same arrays, not only equal ones.
fn same_arrays(a: &State, b: &State) -> bool {
    let at = |t: &Tensor| with_array!(t, a => a.as_ptr() as usize);
    a.len() == b.len()
        && a.iter().zip(b).all(|((n, x), (m, y))| n == m && at(x) == at(y) && x.ty() == y.ty())
}

impl Forward for GpuForward {
    fn run(&mut self, data: &Values, state: &State) -> Result<Values, Error> {
        if !self.state.as_ref().is_some_and(|known| same_arrays(known, state)) {
            self.state = None;
            self.loaded.put(state)?;
            self.state = Some(state.clone());
        }
        let Loaded { machine, plan, .. } = &mut self.loaded;
        for (buffer, slot) in plan.slots(BufferKind::Input) {
            let value = data
                .get(&slot.name)
                .ok_or_else(|| Error::Run(interpret::RunError::Missing(vec![slot.name.clone()])))?;
            if value.ty() != slot.ty() {
                return Err(misfit("the input", slot, value));
            }
            machine.write(self.inputs.buffer, self.inputs.at(buffer, slot), &to_device(value))?;
        }
        machine.submit(self.run)?;
        machine.wait(self.run)?;
        self.loaded.read(&self.outputs, BufferKind::Output)
    }

    fn graph(&self) -> &Graph {
        &self.graph
    }
}

/// Samples of one input.
struct Samples {
    slot: Slot,
    buffer: usize,
    bytes: Vec<u8>,
    row: usize,
}

/// One of the two sets of transfer buffers: while the device works with one, the host fills the other.
struct Side {
    inputs: Image,
    outputs: Image,
    micro: Option<Recording>,
    step: Recording,
    /// What was last submitted with it, and whether its metrics are still to be read.
    last: Option<(Recording, bool)>,
}

/// A training program on a device.
pub struct GpuTrainer {
    loaded: Loaded,
    sides: [Side; 2],
    samples: Vec<Samples>,
    count: usize,
    turn: usize,
}

impl GpuTrainer {
    /// Load a program with first values of its parameters and states, over arrays of samples by the
    /// names of its inputs.
    ///
    /// # Errors
    /// If the device cannot run it or a value does not fit.
    pub fn new(
        program: &GpuProgram,
        machine: Box<dyn Machine>,
        state: &State,
        arrays: &State,
    ) -> Result<GpuTrainer, Error> {
        let mut loaded = Loaded::new(program, machine)?;
        loaded.put(state)?;
        let plan = &loaded.plan;
        let batch = (plan.samples_per_step / plan.accumulate.max(1)).max(1);
        let mut samples = Vec::new();
        for (buffer, slot) in plan.slots(BufferKind::Input) {
            let array = arrays
                .get(&slot.name)
                .ok_or_else(|| Error::Run(interpret::RunError::Missing(vec![slot.name.clone()])))?;
            let row = slot.bytes / batch;
            let bytes = to_device(array);
            let count = array.shape().first().copied().unwrap_or(0);
            if array.dtype() != slot.ty().dtype || bytes.len() != row * count {
                return Err(misfit("the data", slot, array));
            }
            samples.push(Samples { slot: slot.clone(), buffer, bytes, row });
        }
        let count = arrays.values().filter_map(|a| a.shape().first().copied()).min().unwrap_or(0);
        let sides = [Side::new(&mut loaded)?, Side::new(&mut loaded)?];
        Ok(GpuTrainer { loaded, sides, samples, count, turn: 0 })
    }

    /// Start one list on the next side; returns the metrics of the step that was there before.
    fn start(&mut self, micro: bool, batch: &[i64]) -> Result<Option<Vec<f32>>, Error> {
        let turn = self.turn % 2;
        self.turn += 1;
        let done = self.finish(turn)?;
        let side = &mut self.sides[turn];
        let machine = self.loaded.machine.as_mut();
        for s in self.samples.iter().filter(|_| !batch.is_empty()) {
            let start = side.inputs.at(s.buffer, &s.slot);
            for (i, &at) in batch.iter().enumerate() {
                let from = at as usize * s.row;
                let bytes = &s.bytes[from..from + s.row];
                machine.write(side.inputs.buffer, start + i * s.row, bytes)?;
            }
        }
        let list = side.micro.filter(|_| micro).unwrap_or(side.step);
        machine.submit(list)?;
        side.last = Some((list, !micro));
        Ok(done)
    }

    /// Wait for what was last started on a side; its metrics if it was a step.
    fn finish(&mut self, turn: usize) -> Result<Option<Vec<f32>>, Error> {
        let side = &mut self.sides[turn];
        let Some((list, reports)) = side.last.take() else { return Ok(None) };
        self.loaded.machine.wait(list)?;
        if !reports {
            return Ok(None);
        }
        let plan = &self.loaded.plan;
        let metric = |name: &String| {
            let (buffer, slot) = plan
                .find(BufferKind::Output, name)
                .ok_or_else(|| DeviceError::Plan(format!("metric '{name}' is no output")))?;
            let at = side.outputs.at(buffer, slot);
            let bytes = self.loaded.machine.read(side.outputs.buffer, at, 4)?;
            Ok(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        Ok(Some(plan.metrics.iter().map(metric).collect::<Result<_, DeviceError>>()?))
    }

    fn check(&self, order: &[i64], steps: usize) -> Result<(), Error> {
        let wanted = steps * self.loaded.plan.samples_per_step;
        if order.len() != wanted {
            let got = order.len();
            return Err(Error::usage(format!("{got} indices for {steps} steps, not {wanted}")));
        }
        let inside = |i: i64| usize::try_from(i).is_ok_and(|i| i < self.count);
        match order.iter().find(|i| !self.samples.is_empty() && !inside(**i)) {
            Some(bad) => Err(Error::usage(format!("index {bad} of {} samples", self.count))),
            None => Ok(()),
        }
    }
}

impl Side {
    fn new(loaded: &mut Loaded) -> Result<Side, DeviceError> {
        let Loaded { machine, plan, .. } = loaded;
        let inputs = Image::new(machine.as_mut(), plan, BufferKind::Input)?;
        let outputs = Image::new(machine.as_mut(), plan, BufferKind::Output)?;
        let (up, down) = (inputs.copies(true), outputs.copies(false));
        let (micro, step) = match &plan.micro {
            Some(micro) => {
                let micro = machine.record(&in_order([up, launches(micro)]))?;
                (Some(micro), in_order([launches(&plan.step), down]))
            }
            None => (None, in_order([up, launches(&plan.step), down])),
        };
        let step = machine.record(&step)?;
        Ok(Side { inputs, outputs, micro, step, last: None })
    }
}

impl Trainer for GpuTrainer {
    fn train(&mut self, order: &[i64], steps: usize) -> Result<Vec<Vec<f32>>, Error> {
        self.check(order, steps)?;
        let (each, accumulate) = (self.loaded.plan.samples_per_step, self.loaded.plan.accumulate);
        let mut metrics = Vec::with_capacity(steps);
        for step in 0..steps {
            let order = &order[step * each..][..each];
            match self.loaded.plan.micro.is_some() {
                true => {
                    for batch in order.chunks((each / accumulate).max(1)) {
                        metrics.extend(self.start(true, batch)?);
                    }
                    metrics.extend(self.start(false, &[])?);
                }
                false => metrics.extend(self.start(false, order)?),
            }
        }
        for _ in 0..2 {
            let turn = self.turn % 2;
            self.turn += 1;
            metrics.extend(self.finish(turn)?);
        }
        Ok(metrics)
    }

    fn state(&mut self) -> Result<State, Error> {
        self.loaded.get()
    }
}
