//! The generator of random graphs.

use super::{EDGES, Random};
use crate::interpret::Values;
use crate::ir::{Attrs, DType, Graph, InputKind, NodeId, Origin, Tensor, TensorType};
use crate::ops::{self, Prim};

/// Elements a generated value may have at most.
const LARGEST: usize = 4096;

/// The graph and the inputs of [`super::random_program`].
pub fn random_graph(seed: u64) -> (Graph, Values) {
    let mut g = Generator::new(seed);
    g.inputs();
    let choices: Vec<Prim> =
        ops::all().filter_map(|op| op.prim()).filter(|p| !p.is_ordinary()).collect();
    g.node(choices[seed as usize % choices.len()]);
    for _ in 0..8 + g.rng.below(24) {
        let prim = g.rng.pick(&choices);
        g.node(prim);
    }
    g.outputs();
    (g.graph, g.values)
}

struct Generator {
    rng: Random,
    graph: Graph,
    values: Values,
    base: [usize; 3],
}

impl Generator {
    fn new(seed: u64) -> Self {
        let mut rng = Random::new(seed ^ 0x5EED);
        let extents = [1, 2, 3, 4, 5, 8, 16, 17, 33];
        let base = std::array::from_fn(|_| rng.pick(&extents));
        Generator { rng, graph: Graph::new(format!("random_{seed}")), values: Values::new(), base }
    }

    /// A shape that broadcasts with the base shape.
    fn shape(&mut self) -> Vec<usize> {
        let rank = self.rng.below(4);
        let base = self.base[3 - rank..].to_vec();
        base.into_iter().map(|d| if self.rng.one_in(4) { 1 } else { d }).collect()
    }

    fn tensor(&mut self, ty: &TensorType, wild: bool) -> Tensor {
        let (n, rng) = (ty.len(), &mut self.rng);
        let made = match ty.dtype {
            DType::F32 => {
                let mut one = || if wild { rng.wild() } else { rng.tame() };
                Tensor::from_vec(&ty.shape, (0..n).map(|_| one()).collect())
            }
            DType::I32 => {
                let mut one = || if wild { rng.bits() as i32 } else { rng.below(40) as i32 - 8 };
                Tensor::from_vec(&ty.shape, (0..n).map(|_| one()).collect())
            }
            DType::I64 => {
                let mut one = || rng.below(40) as i64 - 8;
                Tensor::from_vec(&ty.shape, (0..n).map(|_| one()).collect())
            }
            DType::Bool => Tensor::from_vec(&ty.shape, (0..n).map(|_| rng.one_in(2)).collect()),
        };
        made.unwrap_or_else(|| Tensor::zeros(ty))
    }

    fn inputs(&mut self) {
        let key = TensorType::new(DType::I32, [2]);
        self.input("rng", key, InputKind::State, true);
        let full = TensorType::f32(self.base.to_vec());
        self.input("x0", full, InputKind::Data, false);
        let kinds = [InputKind::Data, InputKind::Param, InputKind::State];
        for (i, dtype) in [DType::F32, DType::F32, DType::F32, DType::I32, DType::I64, DType::Bool]
            .into_iter()
            .enumerate()
        {
            let ty = TensorType::new(dtype, self.shape());
            let (kind, wild) = (self.rng.pick(&kinds), self.rng.one_in(2));
            self.input(&format!("x{}", i + 1), ty, kind, wild);
        }
    }

    fn input(&mut self, name: &str, ty: TensorType, kind: InputKind, wild: bool) {
        let value = self.tensor(&ty, wild);
        if self.graph.input(name, ty, kind).is_ok() {
            self.values.insert(name.to_string(), value);
        }
    }

    /// Append a node, unless it does not fit or grows too large.
    fn add(&mut self, name: &str, inputs: &[NodeId], attrs: Attrs) -> Option<NodeId> {
        let op = ops::lookup(name)?;
        let types: Vec<&TensorType> = inputs.iter().map(|i| self.graph.ty(*i)).collect();
        let completed = op.complete(attrs.clone()).ok()?;
        let ty = (op.shape)(&types, &completed).ok()?;
        if ty.len() > LARGEST || ty.rank() > 6 {
            return None;
        }
        self.graph.add(op, inputs, attrs, Origin::new(format!("n{}", self.graph.len()))).ok()
    }

    /// A value that satisfies a condition on its type, rather a late one.
    fn find(&mut self, fits: impl Fn(&TensorType) -> bool) -> Option<NodeId> {
        let all: Vec<NodeId> =
            self.graph.nodes().filter(|(_, n)| fits(&n.ty)).map(|(id, _)| id).collect();
        let recent = all.len().min(6);
        let from = if self.rng.one_in(3) { &all[..] } else { &all[all.len() - recent..] };
        (!all.is_empty()).then(|| self.rng.pick(from))
    }

    fn of(&mut self, dtype: DType) -> Option<NodeId> {
        self.find(|t| t.dtype == dtype)
    }

    /// Another value of the type of `a` that broadcasts with it: sometimes a constant, sometimes `a`.
    fn partner(&mut self, a: NodeId) -> Option<NodeId> {
        let ty = self.graph.ty(a).clone();
        if self.rng.one_in(4) {
            return self.constant(ty.dtype);
        }
        let fits = |t: &TensorType| {
            t.dtype == ty.dtype
                && ops::broadcast_shapes(&[&t.shape, &ty.shape])
                    .is_ok_and(|s| s.iter().product::<usize>() <= LARGEST)
        };
        self.find(fits)
    }

    fn constant(&mut self, dtype: DType) -> Option<NodeId> {
        let scalar = self.rng.one_in(2);
        let shape = if scalar { Vec::new() } else { self.shape() };
        let ty = TensorType::new(dtype, shape);
        let value = match (dtype, self.rng.one_in(2)) {
            (DType::F32, true) => {
                let c = self.rng.pick(EDGES);
                Tensor::full(&ty.shape, c)
            }
            (_, wild) => self.tensor(&ty, wild),
        };
        self.add("const", &[], Attrs::none().with("value", value))
    }

    /// `x` with NaN and infinities replaced, where the meaning of an op hangs on the bits of a NaN.
    fn finite(&mut self, x: NodeId) -> Option<NodeId> {
        let scalar = |v: f32| Attrs::none().with("value", Tensor::scalar(v));
        let largest = self.add("const", &[], scalar(f32::MAX))?;
        let one = self.add("const", &[], scalar(1.0))?;
        let size = self.add("abs", &[x], Attrs::none())?;
        let ok = self.add("le", &[size, largest], Attrs::none())?;
        self.add("select", &[ok, x, one], Attrs::none())
    }

    fn axis(&mut self, rank: usize) -> i64 {
        let axis = self.rng.below(rank) as i64;
        if self.rng.one_in(2) { axis } else { axis - rank as i64 }
    }

    /// Append one node of the primitive, if operands for it are found.
    fn node(&mut self, prim: Prim) {
        (0..8).find_map(|_| self.attempt(prim));
    }

    fn attempt(&mut self, prim: Prim) -> Option<NodeId> {
        use Prim::*;
        let name = ops::all().find(|op| op.prim() == Some(prim))?.name;
        let float = DType::F32;
        let number = self.rng.pick(&[float, float, float, DType::I32, DType::I64]);
        match prim {
            Input => None,
            Const => self.constant(number),
            Iota => {
                let ty = TensorType::new(self.rng.pick(&[DType::I32, DType::I64]), self.shape());
                let axis = self.axis(ty.rank().max(1));
                let attrs = Attrs::none().with("dtype", ty.dtype).with("shape", &ty.shape[..]);
                self.add(name, &[], attrs.with("axis", axis))
            }
            RandomBits => {
                let key = self.find(|t| t.dtype == DType::I32 && t.shape == [2])?;
                let shape = self.shape();
                let attrs = Attrs::none().with("shape", &shape[..]).with("stream", number as i64);
                self.add(name, &[key], attrs)
            }
            And | Or | Xor | Not | Shl | Shr => self.logic(prim, name),
            Eq | Ne | Lt | Le | Gt | Ge | Add | Sub | Min | Max => {
                let a = self.of(number)?;
                let b = self.partner(a)?;
                self.ordered(name, a, b)
            }
            Neg | Abs => {
                let x = self.of(number)?;
                self.add(name, &[x], Attrs::none())
            }
            Select => {
                let (c, a) = (self.of(DType::Bool)?, self.of(number)?);
                let b = self.partner(a)?;
                self.add(name, &[c, a, b], Attrs::none())
            }
            Cast => {
                let (x, to) = (self.find(|_| true)?, self.rng.pick(&DType::ALL));
                self.add(name, &[x], Attrs::none().with("to", to))
            }
            Bitcast => self.bitcast(name),
            _ if prim.is_elementwise() => self.pam(prim, name),
            _ if prim.is_contraction() => self.contraction(prim, name),
            ReduceSum | ReduceMax | ReduceMin | ArgMax | ArgMin | CumSum => {
                self.reduction(prim, name, number)
            }
            _ => self.layout(prim, name),
        }
    }

    /// A binary op with its operands in either order.
    fn ordered(&mut self, name: &str, a: NodeId, b: NodeId) -> Option<NodeId> {
        let swap = self.rng.one_in(2);
        self.add(name, &if swap { [b, a] } else { [a, b] }, Attrs::none())
    }

    fn logic(&mut self, prim: Prim, name: &str) -> Option<NodeId> {
        let shift = matches!(prim, Prim::Shl | Prim::Shr);
        let types = [DType::I32, DType::I64, DType::Bool];
        let dtype = self.rng.pick(if shift { &types[..2] } else { &types });
        let a = self.of(dtype)?;
        if prim == Prim::Not {
            return self.add(name, &[a], Attrs::none());
        }
        let b = self.partner(a)?;
        self.ordered(name, a, b)
    }

    fn bitcast(&mut self, name: &str) -> Option<NodeId> {
        if self.rng.one_in(2) {
            let x = self.of(DType::I32)?;
            return self.add(name, &[x], Attrs::none().with("to", DType::F32));
        }
        let x = self.of(DType::F32)?;
        let x = self.finite(x)?;
        self.add(name, &[x], Attrs::none().with("to", DType::I32))
    }

    fn pam(&mut self, prim: Prim, name: &str) -> Option<NodeId> {
        use Prim::*;
        let mut x = self.of(DType::F32)?;
        match prim {
            Scale2 => {
                let k = self.rng.below(9) as i64 - 4;
                let k = if self.rng.one_in(6) { k * 40 } else { k };
                self.add(name, &[x], Attrs::none().with("k", k))
            }
            ShiftSum => {
                let n = 1 + self.rng.below(5);
                let negative: Vec<i64> = (0..n).map(|_| self.rng.below(2) as i64).collect();
                let exponents: Vec<i64> = (0..n).map(|i| 1 - 2 * i as i64).collect();
                let attrs = Attrs::none().with("negative", negative).with("exponents", exponents);
                self.add(name, &[x], attrs)
            }
            PamMul | PamDiv => {
                let b = self.partner(x)?;
                self.ordered(name, x, b)
            }
            MulSlope | DivSlopeA | DivSlopeB => {
                let b = self.partner(x)?;
                x = self.finite(x)?;
                let b = self.finite(b)?;
                self.ordered(name, x, b)
            }
            Exp2Slope | Log2Slope | SqrtSlope => {
                x = self.finite(x)?;
                self.add(name, &[x], Attrs::none())
            }
            _ => self.add(name, &[x], Attrs::none()),
        }
    }

    fn contraction(&mut self, prim: Prim, name: &str) -> Option<NodeId> {
        let (ta, tb) = (self.rng.one_in(2), self.rng.one_in(2));
        let a = self.find(|t| t.dtype == DType::F32 && t.rank() >= 2)?;
        let s = self.graph.shape(a).to_vec();
        let (rank, n) = (s.len(), 1 + self.rng.below(9));
        let k = if ta { s[rank - 2] } else { s[rank - 1] };
        let ty = TensorType::f32(if tb { [n, k] } else { [k, n] });
        let value = self.tensor(&ty, false);
        let mut b = self.add("const", &[], Attrs::none().with("value", value))?;
        let mut a = a;
        let attrs = Attrs::none().with("ta", ta).with("tb", tb);
        if prim == Prim::PamMatmul {
            return self.add(name, &[a, b], attrs);
        }
        (a, b) = (self.finite(a)?, self.finite(b)?);
        let g = self.add("pam.matmul", &[a, b], attrs.clone())?;
        self.add(name, &[g, a, b], attrs)
    }

    fn reduction(&mut self, prim: Prim, name: &str, dtype: DType) -> Option<NodeId> {
        let x = self.find(|t| t.dtype == dtype && t.rank() > 0)?;
        let rank = self.graph.ty(x).rank();
        let (axis, flag) = (self.axis(rank), self.rng.one_in(2));
        let attrs = Attrs::none();
        let attrs = match prim {
            Prim::ArgMax | Prim::ArgMin => {
                let last = self.rng.one_in(2);
                attrs.with("axis", axis).with("keepdims", flag).with("last", last)
            }
            Prim::CumSum => {
                let reverse = self.rng.one_in(2);
                attrs.with("axis", axis).with("exclusive", flag).with("reverse", reverse)
            }
            _ => {
                let axes: Vec<i64> = (0..rank as i64).filter(|_| self.rng.one_in(2)).collect();
                attrs.with("axes", axes).with("keepdims", flag)
            }
        };
        self.add(name, &[x], attrs)
    }

    fn layout(&mut self, prim: Prim, name: &str) -> Option<NodeId> {
        use Prim::*;
        let x = self.find(|t| prim != Fold || t.dtype == DType::F32)?;
        let ty = self.graph.ty(x).clone();
        let rank = ty.rank();
        let attrs = Attrs::none();
        match prim {
            Reshape => {
                let shapes = [vec![ty.len()], vec![1, ty.len()], [&ty.shape[..], &[1]].concat()];
                let shape = shapes[self.rng.below(3)].clone();
                self.add(name, &[x], attrs.with("shape", &shape[..]))
            }
            Transpose => {
                let mut perm: Vec<i64> = (0..rank as i64).collect();
                (1..rank).for_each(|i| perm.swap(i, self.rng.below(i + 1)));
                self.add(name, &[x], attrs.with("perm", perm))
            }
            Broadcast => {
                let shape = ops::broadcast_shapes(&[&ty.shape, &self.base]).ok()?;
                self.add(name, &[x], attrs.with("shape", &shape[..]))
            }
            Concat => {
                let other = self.find(|t| t.dtype == ty.dtype && t.rank() == rank)?;
                let axis = self.axis(rank.max(1));
                self.add(name, &[x, other, x], attrs.clone().with("axis", axis))
                    .or_else(|| self.add(name, &[x, x], attrs.with("axis", axis)))
            }
            Slice => self.slice(name, x, &ty),
            Pad => {
                let mut list = |n| (0..rank).map(|_| self.rng.below(n) as i64).collect::<Vec<_>>();
                let (lo, hi, interior) = (list(3), list(3), list(2));
                let value = self.rng.pick(EDGES);
                let attrs = attrs.with("lo", lo).with("hi", hi).with("interior", interior);
                self.add(name, &[x], attrs.with("value", value))
            }
            Unfold | Fold => self.window(prim, name),
            Gather | ScatterAdd => self.indexed(prim, name),
            _ => None,
        }
    }

    fn slice(&mut self, name: &str, x: NodeId, ty: &TensorType) -> Option<NodeId> {
        let (mut starts, mut sizes, mut steps) = (Vec::new(), Vec::new(), Vec::new());
        for &d in &ty.shape {
            let step = self.rng.pick(&[1i64, 1, 2, -1]);
            let size = 1 + self.rng.below(d.div_ceil(2));
            let reach = (size - 1) * step.unsigned_abs() as usize;
            let low = self.rng.below(d.saturating_sub(reach));
            starts.push(if step < 0 { low + reach } else { low } as i64);
            sizes.push(size as i64);
            steps.push(step);
        }
        let attrs = Attrs::none().with("starts", starts).with("sizes", sizes).with("steps", steps);
        self.add(name, &[x], attrs)
    }

    fn window(&mut self, prim: Prim, name: &str) -> Option<NodeId> {
        let x = self.find(|t| t.dtype == DType::F32 && t.rank() >= 2)?;
        let shape = self.graph.shape(x).to_vec();
        let image = [1, 1, shape[..shape.len() - 1].iter().product(), shape[shape.len() - 1]];
        let x = self.add("reshape", &[x], Attrs::none().with("shape", &image[..]))?;
        let kernel: Vec<i64> =
            (0..2).map(|i| 1 + self.rng.below(image[2 + i].min(3)) as i64).collect();
        let attrs = Attrs::none()
            .with("kernel", kernel)
            .with("strides", vec![1 + self.rng.below(2) as i64, 1])
            .with("dilations", vec![1, 1])
            .with("pads_lo", vec![self.rng.below(2) as i64, 0])
            .with("pads_hi", vec![0, self.rng.below(2) as i64]);
        let value = self.rng.pick(&[0.0, f32::NEG_INFINITY]);
        let wide = self.add("unfold", &[x], attrs.clone().with("value", value))?;
        if prim == Prim::Unfold {
            return Some(wide);
        }
        self.add(name, &[wide], attrs.with("spatial", &image[2..]))
    }

    fn indexed(&mut self, prim: Prim, name: &str) -> Option<NodeId> {
        let index = self.find(|t| t.dtype.is_int() && t.rank() <= 2)?;
        let x = self.find(|t| t.dtype == DType::F32 && t.rank() > 0)?;
        let axis = self.axis(self.graph.ty(x).rank());
        let gathered = self.add("gather", &[x, index], Attrs::none().with("axis", axis))?;
        if prim == Prim::Gather {
            return Some(gathered);
        }
        let size = self.graph.shape(x)[axis.rem_euclid(self.graph.ty(x).rank() as i64) as usize];
        let attrs = Attrs::none().with("size", size as i64).with("axis", axis);
        self.add(name, &[index, gathered], attrs)
    }

    /// Name every value that nothing uses as an output.
    fn outputs(&mut self) {
        let mut used = vec![false; self.graph.len()];
        for (_, node) in self.graph.nodes() {
            node.inputs.iter().for_each(|i| used[i.index()] = true);
        }
        let inputs: Vec<NodeId> = self.graph.inputs().iter().map(|i| i.node).collect();
        let ends: Vec<NodeId> = self
            .graph
            .nodes()
            .map(|(id, _)| id)
            .filter(|id| !used[id.index()] && !inputs.contains(id))
            .collect();
        for (i, id) in ends.into_iter().enumerate() {
            if self.graph.output(format!("y{i}"), id).is_err() {
                unreachable!("output names are counted");
            }
        }
    }
}
