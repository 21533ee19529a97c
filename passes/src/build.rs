//! The term builder that lowerings, derivative rules and training recipes are written with.

use crate::arith::{Arith, Constants};
use crate::ir::{
    Attrs, DType, Element, Graph, GraphError, InputKind, NodeId, Origin, Tensor, TensorType,
};
use crate::ops::{self, broadcast_shapes};
use crate::reference::{LN2, LN2_TERMS, LOG2E, LOG2E_TERMS, Terms};

/// Appends primitives and composites to a graph under one origin, in one arithmetic.
///
/// The first error sticks and is returned by [`Cx::finish`]; methods after it return an arbitrary
/// value, so that terms read as formulas.
pub struct Cx<'g> {
    graph: &'g mut Graph,
    /// Origin given to every node made.
    pub origin: Origin,
    /// Arithmetic in which `mul`, `div`, `exp` … are made.
    pub arith: Arith,
    error: Option<GraphError>,
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident => $op:literal),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, x: NodeId) -> NodeId {
            self.op($op, &[x])
        }
    )*};
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident => $op:literal),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $name(&mut self, a: NodeId, b: NodeId) -> NodeId {
            self.op($op, &[a, b])
        }
    )*};
}

impl<'g> Cx<'g> {
    /// A builder on a graph.
    pub fn new(graph: &'g mut Graph, origin: Origin, arith: Arith) -> Self {
        Cx { graph, origin, arith, error: None }
    }

    /// The value, or the first error met while building.
    ///
    /// # Errors
    /// If an operation did not fit its operands.
    pub fn finish<T>(self, value: T) -> Result<T, GraphError> {
        match self.error {
            Some(e) => Err(e),
            None => Ok(value),
        }
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        self.graph
    }

    /// Type of a value.
    pub fn ty(&self, x: NodeId) -> TensorType {
        self.graph.ty(x).clone()
    }

    /// Shape of a value.
    pub fn shape(&self, x: NodeId) -> Vec<usize> {
        self.graph.shape(x).to_vec()
    }

    /// Any op of the table without attributes.
    pub fn op(&mut self, name: &str, inputs: &[NodeId]) -> NodeId {
        self.op_with(name, inputs, Attrs::none())
    }

    /// Any op of the table.
    pub fn op_with(&mut self, name: &str, inputs: &[NodeId], attrs: Attrs) -> NodeId {
        let made = match ops::lookup(name) {
            Some(op) => self.graph.add(op, inputs, attrs, self.origin.clone()),
            None => Err(GraphError::Op {
                op: name.into(),
                origin: self.origin.to_string(),
                reason: "there is no such op".into(),
            }),
        };
        made.unwrap_or_else(|e| {
            self.error.get_or_insert(e);
            NodeId(0)
        })
    }

    /// Record an error, as if an operation had not fitted.
    pub fn fail(&mut self, reason: impl Into<String>) -> NodeId {
        let op = self.origin.op.to_string();
        let origin = self.origin.to_string();
        self.error.get_or_insert(GraphError::Op { op, origin, reason: reason.into() });
        NodeId(0)
    }

    /// A new graph input.
    pub fn input(&mut self, name: &str, ty: TensorType, kind: InputKind) -> NodeId {
        self.graph.input(name, ty, kind).unwrap_or_else(|e| {
            self.error.get_or_insert(e);
            NodeId(0)
        })
    }

    /// A constant tensor.
    pub fn constant(&mut self, value: Tensor) -> NodeId {
        self.op_with("const", &[], Attrs::none().with("value", value))
    }

    /// A scalar constant of any element type.
    pub fn scalar<T: Element>(&mut self, x: T) -> NodeId {
        self.constant(Tensor::scalar(x))
    }

    /// A scalar of the given element type with a small integer value.
    pub fn scalar_of(&mut self, dtype: DType, x: i32) -> NodeId {
        match dtype {
            DType::F32 => self.scalar(x as f32),
            DType::I32 => self.scalar(x),
            DType::I64 => self.scalar(i64::from(x)),
            DType::Bool => self.scalar(x != 0),
        }
    }

    binary! {
        /// `a + b`.
        add => "add",
        /// `a − b`.
        sub => "sub",
        /// Smaller of two.
        min => "min",
        /// Larger of two.
        max => "max",
        /// `a = b`.
        eq => "eq",
        /// `a ≠ b`.
        ne => "ne",
        /// `a < b`.
        lt => "lt",
        /// `a ≤ b`.
        le => "le",
        /// `a > b`.
        gt => "gt",
        /// `a ≥ b`.
        ge => "ge",
        /// Logical or bitwise and.
        and => "and",
        /// Logical or bitwise or.
        or => "or",
        /// Shift left.
        shl => "shl",
        /// Logical shift right.
        shr => "shr",
    }

    unary! {
        /// `−x`.
        neg => "neg",
        /// `|x|`.
        abs => "abs",
        /// Largest integer not above.
        floor => "floor",
        /// Logical or bitwise not.
        not => "not",
    }

    /// True in ordinary arithmetic.
    pub fn is_float(&self) -> bool {
        self.arith == Arith::Float
    }

    fn pick(&self, pam: &'static str, float: &'static str) -> &'static str {
        if self.is_float() { float } else { pam }
    }

    /// Product: ⊙ in PAM.
    pub fn mul(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.op(self.pick("pam.mul", "f.mul"), &[a, b])
    }

    /// Quotient: ⊘ in PAM.
    pub fn div(&mut self, a: NodeId, b: NodeId) -> NodeId {
        self.op(self.pick("pam.div", "f.div"), &[a, b])
    }

    /// √x.
    pub fn sqrt(&mut self, x: NodeId) -> NodeId {
        self.op(self.pick("pam.sqrt", "f.sqrt"), &[x])
    }

    /// 2ˣ.
    pub fn exp2(&mut self, x: NodeId) -> NodeId {
        self.op(self.pick("pam.exp2", "f.exp2"), &[x])
    }

    /// log₂x.
    pub fn log2(&mut self, x: NodeId) -> NodeId {
        self.op(self.pick("pam.log2", "f.log2"), &[x])
    }

    /// eˣ.
    pub fn exp(&mut self, x: NodeId) -> NodeId {
        self.composite("pam.exp", "f.exp", x)
    }

    /// ln x.
    pub fn log(&mut self, x: NodeId) -> NodeId {
        self.composite("pam.log", "f.log", x)
    }

    fn composite(&mut self, pam: &str, float: &str, x: NodeId) -> NodeId {
        match self.arith {
            Arith::Float => self.op(float, &[x]),
            Arith::Pam(recipe) => {
                let shifts = recipe.constants == Constants::PowersOfTwo;
                self.op_with(pam, &[x], Attrs::none().with("shifts", shifts))
            }
        }
    }

    /// x · log₂e, by the recipe's way of applying constants.
    pub fn times_log2e(&mut self, x: NodeId) -> NodeId {
        match self.arith.recipe().constants {
            Constants::PowersOfTwo => self.shift_sum(x, LOG2E_TERMS),
            Constants::Mul => self.mul_const(x, LOG2E),
        }
    }

    /// x ÷ log₂e, by the recipe's way of applying constants.
    pub fn over_log2e(&mut self, x: NodeId) -> NodeId {
        match self.arith.recipe().constants {
            Constants::PowersOfTwo => self.shift_sum(x, LN2_TERMS),
            Constants::Mul => {
                let c = self.scalar(LOG2E);
                self.div(x, c)
            }
        }
    }

    /// x · ln 2, by the recipe's way of applying constants.
    pub fn times_ln2(&mut self, x: NodeId) -> NodeId {
        match self.arith.recipe().constants {
            Constants::PowersOfTwo => self.shift_sum(x, LN2_TERMS),
            Constants::Mul => self.mul_const(x, LN2),
        }
    }

    /// x ÷ ln 2, by the recipe's way of applying constants.
    pub fn over_ln2(&mut self, x: NodeId) -> NodeId {
        match self.arith.recipe().constants {
            Constants::PowersOfTwo => self.shift_sum(x, LOG2E_TERMS),
            Constants::Mul => self.div_const(x, LN2),
        }
    }

    /// x · c for a constant c as signed powers of two (PAM only).
    pub fn shift_sum(&mut self, x: NodeId, terms: Terms) -> NodeId {
        let attrs = Attrs::none()
            .with("negative", terms.iter().map(|t| i64::from(t.0)).collect::<Vec<_>>())
            .with("exponents", terms.iter().map(|t| i64::from(t.1)).collect::<Vec<_>>());
        self.op_with("pam.shift_sum", &[x], attrs)
    }

    /// x · c for a constant c: in PAM as signed powers of two, within 2⁻¹² of c.
    pub fn times(&mut self, x: NodeId, c: f32) -> NodeId {
        if self.is_float() || !c.is_normal() {
            return self.mul_const(x, c);
        }
        let (mut negative, mut exponents, mut rest) = (Vec::new(), Vec::new(), f64::from(c));
        while rest.abs() > f64::from(c.abs()) / 4096.0 {
            // The nearest power of two: the next one up from a mantissa of 1.5.
            let k = (rest.abs() / 1.5).log2().ceil() as i32;
            negative.push(i64::from(rest < 0.0));
            exponents.push(i64::from(k));
            rest -= 2f64.powi(k).copysign(rest);
        }
        let attrs = Attrs::none().with("negative", negative).with("exponents", exponents);
        self.op_with("pam.shift_sum", &[x], attrs)
    }

    /// x · 2ᵏ, exact in every arithmetic.
    pub fn scale2(&mut self, x: NodeId, k: i32) -> NodeId {
        match self.arith {
            Arith::Pam(_) => {
                self.op_with("pam.scale2", &[x], Attrs::none().with("k", i64::from(k)))
            }
            Arith::Float => self.mul_const(x, 2f32.powi(k)),
        }
    }

    /// Product with a scalar constant.
    pub fn mul_const(&mut self, x: NodeId, c: f32) -> NodeId {
        let c = self.scalar(c);
        self.mul(x, c)
    }

    /// Quotient by a scalar constant.
    pub fn div_const(&mut self, x: NodeId, c: f32) -> NodeId {
        let c = self.scalar(c);
        self.div(x, c)
    }

    /// Sum with a scalar constant.
    pub fn add_const(&mut self, x: NodeId, c: f32) -> NodeId {
        let c = self.scalar(c);
        self.add(x, c)
    }

    /// `a` where the condition holds, else `b`.
    pub fn select(&mut self, condition: NodeId, a: NodeId, b: NodeId) -> NodeId {
        self.op("select", &[condition, a, b])
    }

    /// Convert the element type; nothing if it is the same.
    pub fn cast(&mut self, x: NodeId, to: DType) -> NodeId {
        if self.graph.ty(x).dtype == to {
            return x;
        }
        self.op_with("cast", &[x], Attrs::none().with("to", to))
    }

    /// Matrix product of the last two axes; `ta`, `tb` swap an operand's first.
    pub fn matmul(&mut self, a: NodeId, b: NodeId, ta: bool, tb: bool) -> NodeId {
        let attrs = Attrs::none().with("ta", ta).with("tb", tb);
        self.op_with(self.pick("pam.matmul", "f.matmul"), &[a, b], attrs)
    }

    fn reduce(&mut self, op: &str, x: NodeId, axes: &[usize], keepdims: bool) -> NodeId {
        if axes.is_empty() {
            return x;
        }
        self.op_with(op, &[x], Attrs::none().with("axes", axes).with("keepdims", keepdims))
    }

    /// Sum over axes (none: x itself).
    pub fn sum(&mut self, x: NodeId, axes: &[usize], keepdims: bool) -> NodeId {
        self.reduce("sum", x, axes, keepdims)
    }

    /// Largest over axes (none: x itself).
    pub fn reduce_max(&mut self, x: NodeId, axes: &[usize], keepdims: bool) -> NodeId {
        self.reduce("reduce_max", x, axes, keepdims)
    }

    /// Sum over axes ⊘ their number of elements.
    pub fn mean(&mut self, x: NodeId, axes: &[usize], keepdims: bool) -> NodeId {
        let n: usize = axes.iter().map(|&a| self.graph.shape(x)[a]).product();
        let s = self.sum(x, axes, keepdims);
        self.div_const(s, n as f32)
    }

    /// The same elements under another shape; nothing if it is the same.
    pub fn reshape(&mut self, x: NodeId, shape: &[usize]) -> NodeId {
        if self.graph.shape(x) == shape {
            return x;
        }
        self.op_with("reshape", &[x], Attrs::none().with("shape", shape))
    }

    /// Permute axes; nothing for the identity.
    pub fn transpose(&mut self, x: NodeId, perm: &[usize]) -> NodeId {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return x;
        }
        self.op_with("transpose", &[x], Attrs::none().with("perm", perm))
    }

    /// Broadcast to a shape; nothing if it is the same.
    pub fn expand(&mut self, x: NodeId, shape: &[usize]) -> NodeId {
        if self.graph.shape(x) == shape {
            return x;
        }
        self.op_with("expand", &[x], Attrs::none().with("shape", shape))
    }

    /// Index ramp along an axis.
    pub fn iota(&mut self, dtype: DType, shape: &[usize], axis: usize) -> NodeId {
        let attrs = Attrs::none().with("dtype", dtype).with("shape", shape);
        self.op_with("iota", &[], attrs.with("axis", axis as i64))
    }

    /// Elements of x along an axis at the given indices.
    pub fn gather(&mut self, x: NodeId, index: NodeId, axis: usize) -> NodeId {
        self.op_with("gather", &[x, index], Attrs::none().with("axis", axis as i64))
    }

    /// Sum a gradient back to the shape of the operand it belongs to, undoing a broadcast.
    pub fn unbroadcast(&mut self, g: NodeId, shape: &[usize]) -> NodeId {
        let from = self.shape(g);
        if from == shape {
            return g;
        }
        let wide = broadcast_shapes(&[&from, shape]).unwrap_or_default();
        let g = self.expand(g, &wide);
        let skip = wide.len().saturating_sub(shape.len());
        let summed = |i: usize| i < skip || (shape[i - skip] == 1 && wide[i] != 1);
        let axes: Vec<usize> = (0..wide.len()).filter(|&i| summed(i)).collect();
        let g = self.sum(g, &axes, true);
        self.reshape(g, shape)
    }
}
