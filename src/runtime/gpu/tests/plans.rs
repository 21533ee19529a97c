//! Plans by hand, with kernels that anyone can write down.

use std::collections::BTreeMap;

use pamc_lowering::gpu::GpuProgram;
use pamc_lowering::gpu::plan::{
    ALIGN, Argument, Buffer, BufferKind, Format, Kernel, Launch, Module, Plan, Requirements, Slot,
    VERSION,
};
use pamc_passes::interpret::Values;
use pamc_passes::ir::{DType, Graph, Tensor, TensorType};

use crate::runtime::device::{Forward, Trainer};
use crate::runtime::gpu::machine::Machine;
use crate::runtime::gpu::program::{GpuForward, GpuTrainer};

/// `target[0] += source[0] + source[1]`.
pub const COLLECT: &str = "collect";
/// `target[0] += source[0]; source[0] = 0; report[0] = target[0] + constant[0]`.
pub const UPDATE: &str = "update";
/// `target[0] = source[0] - source[0]; report[0] = source[1]`, on integers of 4 bytes.
pub const SPLIT: &str = "split";

fn buffer(name: &str, kind: BufferKind, slots: Vec<Slot>) -> Buffer {
    Buffer { name: name.into(), kind, bytes: ALIGN, slots }
}

fn argument(buffer: usize) -> Argument {
    Argument { buffer, offset: 0, bytes: 8 }
}

fn launch(kernel: usize, arguments: &[usize], barrier: bool) -> Launch {
    let arguments = arguments.iter().map(|b| argument(*b)).collect();
    Launch { kernel, grid: [1, 1, 1], arguments, barrier }
}

fn kernel(module: usize, entry: &str, bindings: usize) -> Kernel {
    Kernel {
        entry: entry.into(),
        module,
        workgroup: [1, 1, 1],
        shared_bytes: 0,
        tile: None,
        bindings,
        writes: (0..bindings).collect(),
        origin: entry.into(),
    }
}

/// Training: `sum += collected of two samples, a batch or two batches; loss = sum + 0.5`.
pub fn running_sum(format: Format, modules: Vec<Module>, accumulate: usize) -> GpuProgram {
    let (pair, scalar) = (TensorType::f32([2, 1]), TensorType::f32([]));
    let slot = |name, ty: &TensorType| vec![Slot::new(name, ty, 0)];
    let buffers = vec![
        buffer("x", BufferKind::Input, slot("x", &pair)),
        buffer("state", BufferKind::State, slot("sum", &scalar)),
        buffer("acc", BufferKind::State, slot("acc", &scalar)),
        buffer("loss", BufferKind::Output, slot("loss", &scalar)),
        buffer("constant", BufferKind::Constant, Vec::new()),
    ];
    let (collect, update) = (launch(0, &[2, 0], false), launch(1, &[1, 2, 3, 4], true));
    let (step, micro) = match accumulate {
        1 => (vec![collect, update], None),
        _ => (vec![update], Some(vec![collect])),
    };
    let plan = Plan {
        version: VERSION,
        target: "by hand".into(),
        format,
        mul_free: true,
        modules: modules.iter().map(|m| m.name.clone()).collect(),
        kernels: vec![kernel(0, COLLECT, 2), kernel(modules.len() - 1, UPDATE, 4)],
        buffers,
        step,
        micro,
        accumulate,
        samples_per_step: 2 * accumulate,
        metrics: vec!["loss".into()],
        requirements: Requirements::default(),
    };
    let constants = [&0.5f32.to_le_bytes()[..], &[0; ALIGN - 4]].concat();
    GpuProgram { plan, modules, constants }
}

/// Inference on truth values: `first = 0`, `second = x[1]`.
pub fn split(format: Format, modules: Vec<Module>) -> GpuProgram {
    let (pair, scalar) = (TensorType::new(DType::Bool, [2]), TensorType::new(DType::Bool, []));
    let slot = |name, ty: &TensorType| vec![Slot::new(name, ty, 0)];
    let mut program = running_sum(format, modules, 1);
    program.plan.buffers = vec![
        buffer("x", BufferKind::Input, slot("x", &pair)),
        buffer("first", BufferKind::Output, slot("first", &scalar)),
        buffer("second", BufferKind::Output, slot("second", &scalar)),
    ];
    program.plan.kernels = vec![kernel(program.modules.len() - 1, SPLIT, 3)];
    program.plan.step = vec![launch(0, &[0, 1, 2], false)];
    program.plan.metrics = Vec::new();
    program.plan.samples_per_step = 0;
    program.constants = Vec::new();
    program
}

/// Samples 0, 1, 10, 100, 1000, and a sum of 3 to start from.
pub fn values() -> [BTreeMap<String, Tensor>; 2] {
    let x = Tensor::from_vec(&[5, 1], vec![0f32, 1.0, 10.0, 100.0, 1000.0]).expect("5 samples");
    [[("sum".to_string(), Tensor::scalar(3f32))].into(), [("x".to_string(), x)].into()]
}

/// Run [`running_sum`] on a machine.
pub fn check_sums(program: &GpuProgram, machine: Box<dyn Machine>, accumulate: usize) {
    let [state, arrays] = values();
    let mut trainer = GpuTrainer::new(program, machine, &state, &arrays).expect("a trainer");
    let order = [4, 1, 2, 2, 3, 0, 1, 1, 0, 2, 4, 4];
    let losses = |sum: &mut f32, order: &[i64]| -> Vec<Vec<f32>> {
        let steps = order.chunks(2 * accumulate);
        let value = |i: &i64| [0.0, 1.0, 10.0, 100.0, 1000.0][*i as usize];
        let step = |samples: &[i64]| {
            *sum += samples.iter().map(value).sum::<f32>();
            vec![*sum + 0.5]
        };
        steps.map(step).collect()
    };
    let mut sum = 3.0;
    let mut rest = &order[..];
    // An odd number of steps first, so that the sides change their turns.
    for steps in [1, 2] {
        let part;
        (part, rest) = rest.split_at(steps * 2 * accumulate);
        assert_eq!(trainer.train(part, steps).expect("trained"), losses(&mut sum, part));
        let now = trainer.state().expect("the state");
        assert_eq!(now["sum"].item::<f32>(), Some(sum));
    }
    assert!(trainer.train(&[0, 5], 1).is_err() && trainer.train(&[0], 1).is_err());
}

/// Run [`split`] on a machine.
pub fn check_split(program: &GpuProgram, machine: Box<dyn Machine>) {
    let graph = Graph::new("split");
    let mut forward = GpuForward::new(program, graph, machine).expect("loaded");
    for second in [true, false] {
        let x = Tensor::vector(vec![true, second]);
        let inputs = Values::from([("x".to_string(), x)]);
        let got = forward.run(&inputs, &BTreeMap::new()).expect("run");
        assert_eq!(got["first"].item::<bool>(), Some(false));
        assert_eq!(got["second"].item::<bool>(), Some(second));
    }
    let wrong = Values::from([("x".to_string(), Tensor::vector(vec![1i32, 0]))]);
    let error = forward.run(&wrong, &BTreeMap::new()).expect_err("other types").to_string();
    assert!(error.contains("'x' is i32[2], but the program takes bool[2]"), "{error}");
    let error = forward.run(&Values::new(), &BTreeMap::new()).expect_err("no input");
    assert!(error.to_string().contains("'x'") || error.to_string().contains(" x"), "{error}");
}
