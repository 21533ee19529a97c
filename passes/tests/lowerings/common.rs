//! Running one op, and judging its result.

use pamc_passes::arith::Arith;
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{Attrs, Graph, InputKind, Origin, Tensor};
use pamc_passes::ops::{self, Bound};
use pamc_passes::pass::{expand, lower};
use pamc_passes::program::Program;

/// A graph of one op on inputs of the operands' types; an operand in `constant` is a constant.
pub fn single(op: &str, inputs: &[Tensor], attrs: Attrs, constant: &[usize]) -> Graph {
    let mut graph = Graph::new("test");
    let row = ops::lookup(op).unwrap();
    let mut ids = Vec::new();
    for (i, t) in inputs.iter().enumerate() {
        ids.push(if constant.contains(&i) {
            let value = Attrs::none().with("value", t.clone());
            let op = ops::lookup("const").unwrap();
            graph.add(op, &[], value, Origin::default()).unwrap()
        } else {
            let name = row.args[i].trim_end_matches('?');
            graph.input(name, t.ty(), InputKind::Data).unwrap()
        });
    }
    let y = graph.add(row, &ids, attrs, Origin::new("source")).unwrap();
    graph.output("y", y).unwrap();
    graph
}

/// Lower a graph all the way and interpret it on its inputs, in order.
pub fn interpret(graph: &Graph, arith: Arith, inputs: &[&Tensor]) -> Tensor {
    let lowered = expand(&lower(graph, arith).unwrap()).unwrap();
    let names = lowered.inputs().iter().map(|i| i.name.clone());
    let values: Values = names.zip(inputs.iter().map(|t| (*t).clone())).collect();
    let program = Program::new(lowered, arith).unwrap();
    run(&program, &values).unwrap()["y"].clone()
}

/// Result of one op.
pub fn apply(op: &str, arith: Arith, inputs: &[Tensor], attrs: Attrs) -> Vec<f32> {
    let graph = single(op, inputs, attrs, &[]);
    let inputs: Vec<_> = inputs.iter().collect();
    interpret(&graph, arith, &inputs).to_vec::<f32>().unwrap()
}

/// The largest error as a share of what the bound allows, with where it is.
pub fn worst(got: &[f32], want: &[f64], bound: Bound) -> (f64, usize) {
    assert_eq!(got.len(), want.len());
    let share = |(i, (g, w)): (usize, (&f32, &f64))| {
        let error = (f64::from(*g) - w).abs();
        let allowed = bound.rel * w.abs() + bound.abs + 1e-6 * w.abs().max(1.0);
        (if error.is_nan() { f64::INFINITY } else { error / allowed }, i)
    };
    let pairs = got.iter().zip(want).enumerate().map(share);
    pairs.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

/// Deterministic numbers spread evenly from `lo` to `hi`, in no obvious order.
pub struct Spread {
    state: u64,
    lo: f64,
    hi: f64,
}

impl Spread {
    pub fn new(seed: u64, lo: f64, hi: f64) -> Self {
        Spread { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, lo, hi }
    }

    pub fn tensor(&mut self, shape: &[usize]) -> Tensor {
        let n = shape.iter().product();
        Tensor::from_vec(shape, (0..n).map(|_| self.number() as f32).collect()).unwrap()
    }

    /// Whole numbers from 0 to below n.
    pub fn labels(&mut self, count: usize, n: usize) -> Vec<i64> {
        (0..count).map(|_| (self.unit() * n as f64) as i64).collect()
    }

    fn number(&mut self) -> f64 {
        self.lo + (self.hi - self.lo) * self.unit()
    }

    /// xorshift64*.
    fn unit(&mut self) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Elements as f64.
pub fn wide(t: &Tensor) -> Vec<f64> {
    t.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect()
}
