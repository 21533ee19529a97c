//! Building, differentiating and running small graphs.

use pamc_passes::arith::{Arith, Recipe};
use pamc_passes::build::Cx;
use pamc_passes::grad::{GradSpec, Gradients, differentiate};
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{DType, Graph, InputKind, NodeId, Origin, Tensor};
use pamc_passes::pass::expand;
use pamc_passes::program::Program;

pub const PAPER: Arith = Arith::Pam(Recipe::PAPER);

/// A term under test.
pub type Term<'a> = &'a dyn Fn(&mut Cx<'_>, &[NodeId]) -> NodeId;

/// The graph of `y = f(x0, x1, …)` with outputs `y` and `gi`, the gradient of `Σ y·g` for every f32
/// input `xi`. The incoming gradient of the term is g, bit for bit.
pub fn with_gradients(arith: Arith, spec: &str, x: &[Tensor], f: Term<'_>) -> Graph {
    let mut graph = Graph::new("test");
    let mut ids = Vec::new();
    for (i, t) in x.iter().enumerate() {
        ids.push(graph.input(format!("x{i}"), t.ty(), InputKind::Data).unwrap());
    }
    let mut cx = Cx::new(&mut graph, Origin::new("term"), arith);
    let y = f(&mut cx, &ids);
    let ty = cx.ty(y);
    cx.finish(()).unwrap();
    let g = graph.input("g", ty, InputKind::Data).unwrap();
    let mut cx = Cx::new(&mut graph, Origin::new("weigh").in_scope("weigh"), arith);
    let product = cx.mul(y, g);
    let axes: Vec<usize> = (0..cx.shape(product).len()).collect();
    let loss = cx.sum(product, &axes, false);
    cx.finish(()).unwrap();
    let floats: Vec<usize> = (0..x.len()).filter(|&i| x[i].dtype() == DType::F32).collect();
    let wrt: Vec<NodeId> = floats.iter().map(|&i| ids[i]).collect();
    let spec: GradSpec = format!("{spec},weigh=approx").parse().unwrap();
    let Gradients { values, .. } = differentiate(&mut graph, arith, loss, &wrt, &spec).unwrap();
    graph.output("y", y).unwrap();
    for (i, v) in floats.iter().zip(values) {
        assert_eq!(graph.ty(v), graph.ty(ids[*i]));
        graph.output(format!("g{i}"), v).unwrap();
    }
    graph
}

/// Value and gradients of a term at `x`, for the incoming gradient `g`.
pub fn gradients(arith: Arith, spec: &str, x: &[Tensor], g: &Tensor, f: Term<'_>) -> Values {
    let graph = with_gradients(arith, spec, x, f);
    let mut values: Values =
        x.iter().enumerate().map(|(i, t)| (format!("x{i}"), t.clone())).collect();
    values.insert("g".into(), g.clone());
    run(&Program::new(expand(&graph).unwrap(), arith).unwrap(), &values).unwrap()
}

/// Value of a term at `x`.
pub fn evaluate(arith: Arith, x: &[Tensor], f: Term<'_>) -> Tensor {
    let mut graph = Graph::new("test");
    let mut values = Values::new();
    let mut ids = Vec::new();
    for (i, t) in x.iter().enumerate() {
        ids.push(graph.input(format!("x{i}"), t.ty(), InputKind::Data).unwrap());
        values.insert(format!("x{i}"), t.clone());
    }
    let mut cx = Cx::new(&mut graph, Origin::new("term"), arith);
    let y = f(&mut cx, &ids);
    cx.finish(()).unwrap();
    graph.output("y", y).unwrap();
    let program = Program::new(expand(&graph).unwrap(), arith).unwrap();
    run(&program, &values).unwrap().remove("y").unwrap()
}

pub fn tensor(shape: &[usize], data: &[f32]) -> Tensor {
    Tensor::from_vec(shape, data.to_vec()).unwrap()
}

pub fn floats(values: &Values, name: &str) -> Vec<f32> {
    values[name].to_vec::<f32>().unwrap()
}

#[track_caller]
pub fn expect(name: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (a, b)) in got.iter().zip(want).enumerate() {
        assert!(
            a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            "{name}[{i}]: {a:?} {:08x} against {b:?} {:08x}",
            a.to_bits(),
            b.to_bits()
        );
    }
}

/// SplitMix64: reproducible samples.
pub struct Rng(pub u64);

impl Rng {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// Uniform in [−1, 1).
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub fn uniforms(&mut self, shape: &[usize], scale: f32) -> Tensor {
        let n = shape.iter().product();
        tensor(shape, &(0..n).map(|_| self.uniform() * scale).collect::<Vec<_>>())
    }

    /// Small integers, so that every sum of products is exact.
    pub fn integers(&mut self, shape: &[usize]) -> Tensor {
        let n = shape.iter().product();
        tensor(shape, &(0..n).map(|_| self.below(17) as f32 - 8.0).collect::<Vec<_>>())
    }

    /// A float with `bits` random bits of mantissa and an exponent in −range..=range.
    pub fn coarse(&mut self, bits: u32, range: i32, signed: bool) -> f32 {
        let sign = if signed { (self.bits() as u32 & 1) << 31 } else { 0 };
        let e = self.below(2 * range as usize + 1) as i32 - range + 127;
        let m = (self.bits() as u32 & ((1 << bits) - 1)) << (23 - bits);
        f32::from_bits(sign | (e as u32) << 23 | m)
    }
}
