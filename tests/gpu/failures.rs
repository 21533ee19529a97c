//! Devices that fail in the middle of training: a clear message, and the last checkpoint intact.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use pamc::runtime::device;
use pamc::runtime::files::{read_safetensors, write_safetensors};
use pamc::runtime::gpu::DeviceError;
use pamc::runtime::gpu::machine::{Command, Machine, Place, Recording};
use pamc::runtime::gpu::program::GpuTrainer;
use pamc::runtime::order::Order;
use pamc::runtime::training::{Save, Training};
use pamc_lowering::gpu::{GpuProgram, GpuTarget, compile_train};
use pamc_passes::train::TrainSpec;

use super::training::Run;

/// A device that is lost once a flag is set: when something is submitted, or when it is waited for.
struct Failing {
    inner: Box<dyn Machine>,
    lost: Rc<Cell<bool>>,
    on_wait: bool,
}

impl Failing {
    fn check(&self, waits: bool) -> Result<(), DeviceError> {
        if self.lost.get() && waits == self.on_wait {
            let code = "ERROR_DEVICE_LOST".to_string();
            return Err(DeviceError::Lost { device: self.inner.name(), code });
        }
        Ok(())
    }
}

impl Machine for Failing {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn target(&self) -> GpuTarget {
        self.inner.target()
    }
    fn buffer(&mut self, bytes: usize, place: Place) -> Result<usize, DeviceError> {
        self.inner.buffer(bytes, place)
    }
    fn write(&mut self, buffer: usize, offset: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        self.inner.write(buffer, offset, bytes)
    }
    fn read(&self, buffer: usize, offset: usize, bytes: usize) -> Result<Vec<u8>, DeviceError> {
        self.inner.read(buffer, offset, bytes)
    }
    fn load(&mut self, program: &GpuProgram) -> Result<(), DeviceError> {
        self.inner.load(program)
    }
    fn record(&mut self, commands: &[Command]) -> Result<Recording, DeviceError> {
        self.inner.record(commands)
    }
    fn submit(&mut self, recording: Recording) -> Result<(), DeviceError> {
        self.check(false)?;
        self.inner.submit(recording)
    }
    fn wait(&mut self, recording: Recording) -> Result<(), DeviceError> {
        self.check(true)?;
        self.inner.wait(recording)
    }
}

#[test]
fn a_lost_device_leaves_the_last_checkpoint() {
    for on_wait in [false, true] {
        let Some(inner) = super::device() else { return };
        let run = Run::new("@mlp", "mnist5k_train.npz", 16, TrainSpec::default());
        let lost = Rc::new(Cell::new(false));
        let target = inner.target();
        let machine = Box::new(Failing { inner, lost: lost.clone(), on_wait });
        let code = compile_train(run.program.programs(), target, target.formats()[0]);
        let arrays = device::arrays(&run.program, &run.data).expect("the model's data");
        let trainer = GpuTrainer::new(&code.expect("compiled"), machine, &run.state, &arrays);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weights.safetensors");
        let saved = Rc::new(RefCell::new(BTreeMap::new()));
        let (file, copy) = (path.clone(), saved.clone());
        let save: Save = Box::new(move |state| {
            write_safetensors(&file, state)?;
            *copy.borrow_mut() = state.clone();
            lost.set(true);
            Ok(())
        });
        let training = Training {
            trainer: Box::new(trainer.expect("loaded")),
            order: Order::new(run.data.samples(), run.batch, Some(0)),
            steps: 5,
            accumulate: 1,
            metrics: vec!["loss".into()],
            evaluation: None,
            log: None,
            save: Some((save, 2)),
            progress: false,
        };
        let said = training.run().expect_err("the device is lost after two steps").to_string();
        for part in ["was lost while running (ERROR_DEVICE_LOST)", "intact", "--weights"] {
            assert!(said.contains(part), "no '{part}' in: {said}");
        }
        let there = read_safetensors(&path).expect("a whole file");
        let saved = saved.borrow();
        assert!(!there.is_empty() && there.keys().eq(saved.keys()));
        assert!(there.iter().all(|(name, value)| value.same_value(&saved[name])));
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
        assert_eq!(left.len(), 1, "nothing half-written beside it");
    }
}
