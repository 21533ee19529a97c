//! A model whose gradients are its data, and a host loop over the interpreter.

use pamc_passes::arith::{Arith, BiasCorrection, Constants, Recipe};
use pamc_passes::build::Cx;
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{DType, Graph, InputKind, Origin, Tensor, TensorType};
use pamc_passes::pass::expand;
use pamc_passes::program::Program;
use pamc_passes::train::{TrainGraphs, TrainSpec, build_step};

/// The four recipes and ordinary arithmetic.
pub fn arithmetics() -> Vec<Arith> {
    let mut out = vec![Arith::Float];
    for constants in [Constants::Mul, Constants::PowersOfTwo] {
        for bias_correction in [BiasCorrection::Power, BiasCorrection::Response] {
            out.push(Arith::Pam(Recipe { constants, bias_correction }));
        }
    }
    out
}

pub const W: [f32; 6] = [0.5, -1.25, 0.0, 3.0, -0.01, 1.7];
pub const B: [f32; 3] = [0.3, -0.7, 2.0];

/// loss = Σ w ⊙ x + Σ b ⊙ z: under approx derivatives the gradient of w is x and that of b is z.
pub fn model(arith: Arith) -> Graph {
    let mut graph = Graph::new("model");
    let mut input = |name: &str, shape: &[usize], kind| {
        graph.input(name, TensorType::f32(shape), kind).unwrap()
    };
    let x = input("x", &[2, 3], InputKind::Data);
    let z = input("z", &[3], InputKind::Data);
    let w = input("w", &[2, 3], InputKind::Param);
    let b = input("b", &[3], InputKind::Param);
    let mut cx = Cx::new(&mut graph, Origin::new("model"), arith);
    let (wx, bz) = (cx.mul(w, x), cx.mul(b, z));
    let (wx, bz) = (cx.sum(wx, &[0, 1], false), cx.sum(bz, &[0], false));
    let loss = cx.add(wx, bz);
    cx.finish(()).unwrap();
    graph.output("logits", w).unwrap();
    graph.output("loss", loss).unwrap();
    graph
}

pub fn spec(optimizer: &str) -> TrainSpec {
    TrainSpec {
        optimizer: optimizer.parse().unwrap(),
        lr: 0.1,
        grad: "approx".parse().unwrap(),
        ..TrainSpec::default()
    }
}

/// Reproducible gradients: of a few sizes and signs, one of them 0.
pub fn data(step: usize, n: usize) -> Vec<f32> {
    let value = |i: usize| {
        let h = (step as u32 * 31 + i as u32 + 7).wrapping_mul(0x9E37_79B1);
        let size = (h >> 8) as f32 / (1u32 << 24) as f32;
        if i == 2 { 0.0 } else { (size - 0.4) * [1.0, 0.01, 30.0][i % 3] }
    };
    (0..n).map(value).collect()
}

/// Gradients of w and of b.
pub type Batch = (Vec<f32>, Vec<f32>);

/// Runs steps and carries parameters and states.
pub struct Trainer {
    arith: Arith,
    pub graphs: TrainGraphs,
    pub values: Values,
}

impl Trainer {
    pub fn new(arith: Arith, spec: &TrainSpec) -> Self {
        let graphs = build_step(&model(arith), "loss", &[], spec, arith).unwrap();
        let mut values: Values = graphs.initial.iter().cloned().collect();
        values.insert("w".into(), Tensor::from_vec(&[2, 3], W.to_vec()).unwrap());
        values.insert("b".into(), Tensor::vector(B.to_vec()));
        Trainer { arith, graphs, values }
    }

    /// Run one graph on the carried values and these, keep what it updates, return the rest.
    fn run(&mut self, graph: &Graph, fed: Values) -> Values {
        let program = Program::new(expand(graph).unwrap(), self.arith).unwrap();
        let carried = graph.inputs().iter().filter(|i| i.kind != InputKind::Data);
        let mut inputs: Values =
            carried.map(|i| (i.name.clone(), self.values[&i.name].clone())).collect();
        inputs.extend(fed);
        let (updates, metrics) = run(&program, &inputs)
            .unwrap()
            .into_iter()
            .partition::<Values, _>(|(name, _)| self.values.contains_key(name));
        self.values.extend(updates);
        metrics
    }

    /// One update with the gradients x and z (or one micro-batch of several); returns the metrics.
    pub fn step(&mut self, batches: &[Batch]) -> Values {
        let graphs = self.graphs.clone();
        let feed = |(x, z): &Batch| {
            let x = Tensor::from_vec(&[2, 3], x.clone()).unwrap();
            Values::from([("x".into(), x), ("z".into(), Tensor::vector(z.clone()))])
        };
        match &graphs.micro {
            None => self.run(&graphs.step, feed(&batches[0])),
            Some(micro) => {
                for batch in batches {
                    let metrics = self.run(micro, feed(batch));
                    assert!(metrics.is_empty());
                }
                self.run(&graphs.step, Values::new())
            }
        }
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        assert_eq!(self.values[name].dtype(), DType::F32);
        self.values[name].to_vec().unwrap()
    }
}

pub fn item(metrics: &Values, name: &str) -> f32 {
    metrics[name].item().unwrap()
}
