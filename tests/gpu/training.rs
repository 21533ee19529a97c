//! Training on a Vulkan device: every loss and every weight as on the processor.

use std::collections::BTreeMap;
use std::path::Path;

use pamc::compile::{Settings, TrainProgram, compile_training};
use pamc::runtime::data::Dataset;
use pamc::runtime::device::{self, Device};
use pamc::runtime::devices::DeviceName;
use pamc::runtime::order::Order;
use pamc::source::{Source, Wanted};
use pamc_passes::arith::Arith;
use pamc_passes::ir::{Dims, Tensor};
use pamc_passes::manager::Manager;
use pamc_passes::train::TrainSpec;

const STEPS: usize = 50;

/// Bits of the metrics of each step, and bytes of the state at the end.
type Trained = (Vec<Vec<u32>>, BTreeMap<String, Vec<u8>>);

/// A model ready to be trained.
pub(super) struct Run {
    pub(super) program: TrainProgram,
    pub(super) state: BTreeMap<String, Tensor>,
    pub(super) data: Dataset,
    pub(super) batch: usize,
}

impl Run {
    pub(super) fn new(model: &str, data: &str, batch: usize, spec: TrainSpec) -> Run {
        let source = Source::open(model).expect("a built-in model");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/data").join(data);
        let context = source.text_context().expect("a built-in model");
        let data = Dataset::open(&file, context).expect("data of the repository");
        let dims = source.bind(&Dims::default(), batch, &data).expect("a batch");
        let model = source.build_training(&dims, &Wanted::default(), 0).expect("a model");
        let settings =
            Settings { arith: Arith::PAM, train: Some(spec), manager: Manager::default() };
        let program = compile_training(model.graph, &settings).expect("compiled").program;
        let mut state = model.initial;
        state.extend(program.initial.clone());
        Run { program, state, data, batch }
    }

    fn on(&self, name: DeviceName, threads: usize) -> Trained {
        let device = Device { name, threads: Some(threads), cache: None };
        let made = device::trainer(self.program.clone(), self.state.clone(), &self.data, &device);
        let mut trainer = made.unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut order = Order::new(self.data.samples(), self.batch, Some(0));
        let order = order.next(STEPS * self.program.accumulate);
        let rows = trainer.train(&order, STEPS).unwrap_or_else(|e| panic!("{name}: {e}"));
        let bits = rows.iter().map(|r| r.iter().map(|x| x.to_bits()).collect()).collect();
        let state = trainer.state().unwrap_or_else(|e| panic!("{name}: {e}"));
        (bits, state.into_iter().map(|(n, t)| (n, t.to_bytes())).collect())
    }
}

#[track_caller]
fn same_everywhere(model: &str, data: &str, batch: usize, spec: TrainSpec) {
    if super::device().is_none() {
        return;
    }
    let run = Run::new(model, data, batch, spec);
    let one = run.on(DeviceName::Cpu, 1);
    assert_eq!(one.0.len(), STEPS);
    let mut losses: Vec<_> = one.0.iter().map(|row| row[0]).collect();
    losses.dedup();
    assert!(losses.len() > STEPS / 2, "{model}: the loss hardly changes");
    for (name, threads) in [(DeviceName::Cpu, 2), (DeviceName::Vulkan(None), 1)] {
        let other = run.on(name, threads);
        for (step, (a, b)) in one.0.iter().zip(&other.0).enumerate() {
            assert_eq!(a, b, "{model} on {name}: metrics of step {}", step + 1);
        }
        let differ = one.1.iter().filter(|(n, t)| other.1.get(*n) != Some(t)).map(|(n, _)| n);
        let differ: Vec<_> = differ.collect();
        assert!(differ.is_empty() && one.1.len() == other.1.len(), "{model} on {name}: {differ:?}");
    }
}

#[test]
fn mlp_trains_alike() {
    same_everywhere("@mlp", "mnist5k_train.npz", 16, TrainSpec::default());
}

#[test]
fn vit_trains_alike() {
    same_everywhere("@vit:small", "mnist5k_train.npz", 2, TrainSpec::default());
}

#[test]
fn gpt_trains_alike() {
    let clip_norm = Some(0.5);
    let spec = TrainSpec { clip_norm, ..TrainSpec::default() };
    same_everywhere("@gpt:small,dropout=0.1", "shakespeare_train.txt", 2, spec);
}

#[test]
fn accumulated_batches_train_alike() {
    let optimizer = "sgd:momentum=0.9,nesterov".parse().expect("an optimizer");
    let spec = TrainSpec { optimizer, accumulate: 2, lr: 0.01, ..TrainSpec::default() };
    same_everywhere("@cnn:width=2", "mnist5k_train.npz", 2, spec);
}
