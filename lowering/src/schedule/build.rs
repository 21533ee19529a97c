//! From a group of nodes to a loop nest, by pulling on its results.

use std::collections::HashMap;

use pamc_passes::ir::{Attrs, DType, Node, NodeId};
use pamc_passes::ops::{Prim, normalize_axis};

use super::fuse::{Fusion, Group, Work, gathered, inline, kept_first, operand_ops, uniform};
use super::nest::{Access, Expr, Join, Kind, Nest, Param, Position, Store};
use super::view::{View, ViewOp};

/// A nest and the values its parameters are: those read, then the roots, in order.
pub struct Built {
    /// The nest.
    pub nest: Nest,
    /// Value of each parameter.
    pub values: Vec<NodeId>,
    /// A value that has no view over the nest's index space, if there is one.
    pub unseen: Option<NodeId>,
}

/// Builds expressions over the index space of one group.
pub struct Builder<'a, 'g> {
    fusion: &'a Fusion<'g>,
    /// Inputs that may hold subnormals.
    raw: &'a dyn Fn(NodeId) -> bool,
    group: Option<&'a Group>,
    nest: Nest,
    values: Vec<NodeId>,
    memo: HashMap<(NodeId, View), usize>,
    unseen: Option<NodeId>,
}

impl<'a, 'g> Builder<'a, 'g> {
    /// A builder of a nest over the given dimensions, in which only `group`'s members are computed.
    pub fn new(
        fusion: &'a Fusion<'g>,
        raw: &'a dyn Fn(NodeId) -> bool,
        group: Option<&'a Group>,
        (outer, inner): (Vec<usize>, Vec<usize>),
    ) -> Self {
        let nest =
            Nest { params: vec![], outer, inner, exprs: vec![], stores: vec![], ordered: (0, 0) };
        Builder { fusion, raw, group, nest, values: vec![], memo: HashMap::new(), unseen: None }
    }

    /// The finished nest.
    pub fn finish(self) -> Built {
        Built { nest: self.nest.simplified(), values: self.values, unseen: self.unseen }
    }

    /// Dimensions that run in order.
    pub fn set_ordered(&mut self, ordered: (usize, usize)) {
        self.nest.ordered = ordered;
    }

    /// Extents of the index space.
    pub fn space(&self) -> Vec<usize> {
        [&self.nest.outer[..], &self.nest.inner].concat()
    }

    /// A new expression.
    pub fn expr(&mut self, dtype: DType, kind: Kind) -> usize {
        let expr = Expr { kind, dtype };
        if let Some(known) = self.nest.exprs.iter().position(|e| *e == expr) {
            return known;
        }
        self.nest.exprs.push(expr);
        self.nest.exprs.len() - 1
    }

    /// A primitive without attributes.
    pub fn op(&mut self, prim: Prim, dtype: DType, operands: &[usize]) -> usize {
        self.expr(dtype, Kind::Op(prim, Attrs::none(), operands.to_vec()))
    }

    /// The parameter that is a value's buffer.
    pub fn param(&mut self, base: NodeId) -> usize {
        if let Some(known) = self.values.iter().position(|&v| v == base) {
            return known;
        }
        let ty = self.fusion.graph.ty(base);
        self.values.push(base);
        self.nest.params.push(Param { dtype: ty.dtype, len: ty.len() });
        self.values.len() - 1
    }

    fn access(&mut self, base: NodeId, view: &View, dynamic: Option<Position>) -> Access {
        let param = self.param(base);
        Access { param, offset: view.offset, strides: view.strides.clone(), dynamic }
    }

    /// Write an expression where `view` of a value's buffer lies.
    pub fn store(&mut self, expr: usize, base: NodeId, view: &View, dynamic: Option<Position>) {
        let access = self.access(base, view, dynamic);
        self.nest.stores.push(Store { expr, access });
    }

    /// Read a value's buffer.
    pub fn load(&mut self, base: NodeId, view: &View, dynamic: Option<Position>) -> usize {
        let dtype = self.fusion.graph.ty(base).dtype;
        let flush = dtype == DType::F32 && (self.raw)(base);
        let access = self.access(base, view, dynamic);
        self.expr(dtype, Kind::Load(access, flush))
    }

    /// The value of a node seen through `chain` from its shape to the index space.
    pub fn pull(&mut self, id: NodeId, chain: &[ViewOp]) -> usize {
        let fusion = self.fusion;
        let based = &fusion.based[id.index()];
        let base = based.base;
        let chain = [&based.ops[..], chain].concat();
        let node = fusion.graph.node(base);
        let view = self.through(base, &chain);
        if let Some(&known) = self.memo.get(&(base, view.clone())) {
            return known;
        }
        let computed = self.group.is_some_and(|g| g.members.contains(&base));
        let expr = match node.op.prim() {
            _ if inline(node) => self.inline(base, &chain),
            Some(prim) if computed => self.compute(prim, base, &chain),
            _ => self.load(base, &view, None),
        };
        self.memo.insert((base, view), expr);
        expr
    }

    /// Strides over the index space of a dense value of a node seen through `chain`. The grouping has
    /// checked that they exist; where they do not, the nest is no good.
    fn through(&mut self, id: NodeId, chain: &[ViewOp]) -> View {
        self.seen(id, View::dense(self.fusion.graph.shape(id)), chain).canonical()
    }

    fn seen(&mut self, id: NodeId, view: View, chain: &[ViewOp]) -> View {
        view.apply_all(chain).unwrap_or_else(|| {
            self.unseen = Some(id);
            View::dense(&self.space())
        })
    }

    fn inline(&mut self, id: NodeId, chain: &[ViewOp]) -> usize {
        let node = self.fusion.graph.node(id);
        let dtype = node.ty.dtype;
        if let Some(bits) = uniform(node) {
            return self.expr(dtype, Kind::Const(bits));
        }
        let axis = normalize_axis(node.attrs.int("axis"), node.ty.rank()).unwrap_or(0);
        let strides = (0..node.ty.rank()).map(|d| i64::from(d == axis)).collect();
        let ramp = View { shape: node.ty.shape.clone(), offset: 0, strides };
        let ramp = self.seen(id, ramp, chain);
        self.index(dtype, &ramp)
    }

    fn index(&mut self, dtype: DType, ramp: &View) -> usize {
        let strides = ramp.clone().canonical().strides;
        self.expr(dtype, Kind::Index { offset: ramp.offset, strides })
    }

    fn compute(&mut self, prim: Prim, id: NodeId, chain: &[ViewOp]) -> usize {
        let fusion = self.fusion;
        let node = fusion.graph.node(id);
        let dtype = node.ty.dtype;
        match prim {
            Prim::ReduceSum | Prim::ReduceMax | Prim::ReduceMin => self.reduce(prim, node),
            Prim::Gather => {
                let source = node.inputs[0];
                let (view, extent, stride) = gathered(node, &fusion.view(source));
                let ops = operand_ops(fusion.graph, node, 1).unwrap_or_default();
                let position = self.pull(node.inputs[1], &[&ops[..], chain].concat());
                let view = self.seen(id, view, chain).canonical();
                let base = fusion.based[source.index()].base;
                self.load(base, &view, Some(Position { expr: position, extent, stride }))
            }
            Prim::RandomBits => {
                let ramp = self.through(id, chain);
                let key = [0, 1].map(|i| self.key_word(node.inputs[0], i));
                let counter = self.index(DType::I32, &ramp);
                self.threefry(key, counter, node.attrs.int("stream") as u32)
            }
            Prim::Reshape => {
                let ops = operand_ops(fusion.graph, node, 0).unwrap_or_default();
                self.pull(node.inputs[0], &[&ops[..], chain].concat())
            }
            _ => {
                let operands = (0..node.inputs.len()).map(|i| {
                    let ops = operand_ops(fusion.graph, node, i).unwrap_or_default();
                    self.pull(node.inputs[i], &[&ops[..], chain].concat())
                });
                let operands: Vec<_> = operands.collect();
                self.expr(dtype, Kind::Op(prim, node.attrs.clone(), operands))
            }
        }
    }

    fn reduce(&mut self, prim: Prim, node: &Node) -> usize {
        let (mut chain, _, reduced) = kept_first(self.fusion.graph, node);
        chain.push(ViewOp::Reshape(self.space()));
        if reduced.contains(&0) {
            // Only a sum may have no terms; it is +0 or 0.
            return self.expr(node.ty.dtype, Kind::Const(0));
        }
        let operand = self.pull(node.inputs[0], &chain);
        let join = match prim {
            Prim::ReduceMax => Join::Max,
            Prim::ReduceMin => Join::Min,
            _ => Join::Sum,
        };
        self.expr(node.ty.dtype, Kind::Reduce(join, operand))
    }

    fn key_word(&mut self, key: NodeId, i: i64) -> usize {
        let view = self.fusion.view(key);
        let strides = vec![0; self.space().len()];
        let at = View { shape: self.space(), offset: view.offset + i * view.strides[0], strides };
        let base = self.fusion.based[key.index()].base;
        if let Some(bits) = inline(self.fusion.graph.node(base))
            .then(|| uniform(self.fusion.graph.node(base)))
            .flatten()
        {
            return self.expr(DType::I32, Kind::Const(bits));
        }
        self.load(base, &at, None)
    }

    fn word(&mut self, bits: u32) -> usize {
        self.expr(DType::I32, Kind::Const(u64::from(bits)))
    }

    fn i32(&mut self, prim: Prim, a: usize, b: usize) -> usize {
        self.op(prim, DType::I32, &[a, b])
    }

    /// Threefry-2x32 with 20 rounds, its first word (Salmon et al. 2011).
    fn threefry(&mut self, key: [usize; 2], counter: usize, stream: u32) -> usize {
        const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
        use Prim::{Add, Or, Shl, Shr, Xor};
        let parity = self.word(0x1BD1_1BDA);
        let mixed = self.i32(Xor, parity, key[0]);
        let keys = [key[0], key[1], self.i32(Xor, mixed, key[1])];
        let stream = self.word(stream);
        let mut x0 = self.i32(Add, counter, keys[0]);
        let mut x1 = self.i32(Add, stream, keys[1]);
        for group in 0..5usize {
            for i in 0..4 {
                let by = ROTATIONS[(group % 2) * 4 + i];
                x0 = self.i32(Add, x0, x1);
                let (left, right) = (self.word(by), self.word(32 - by));
                let high = self.i32(Shl, x1, left);
                let low = self.i32(Shr, x1, right);
                let turned = self.i32(Or, high, low);
                x1 = self.i32(Xor, turned, x0);
            }
            let count = self.word(group as u32 + 1);
            x0 = self.i32(Add, x0, keys[(group + 1) % 3]);
            x1 = self.i32(Add, x1, keys[(group + 2) % 3]);
            x1 = self.i32(Add, x1, count);
        }
        x0
    }
}

/// The nest of a fused group.
pub fn fused(fusion: &Fusion, group: &Group, raw: &dyn Fn(NodeId) -> bool) -> Built {
    let dims = match &group.work {
        Work::Nest { outer, inner } => (outer.clone(), inner.clone().unwrap_or_default()),
        Work::Special => (Vec::new(), Vec::new()),
    };
    let points: usize = dims.0.iter().chain(&dims.1).product();
    let mut b = Builder::new(fusion, raw, Some(group), dims);
    for &root in &group.roots {
        let node = fusion.graph.node(root);
        let chain = match node.ty.len() == points && !is_reduction(node) {
            true => group.full_chain(),
            false => group.row_chain(),
        };
        let view = b.through(root, &chain);
        let expr = b.pull(root, &chain);
        b.store(expr, root, &view, None);
    }
    b.finish()
}

fn is_reduction(node: &Node) -> bool {
    matches!(node.op.prim(), Some(Prim::ReduceSum | Prim::ReduceMax | Prim::ReduceMin))
}

/// Copy or accumulate `from`, seen through `chain`, into `to` of a value's buffer.
pub fn moved(
    fusion: &Fusion,
    raw: &dyn Fn(NodeId) -> bool,
    from: NodeId,
    (into, to): (NodeId, &View),
) -> Built {
    let mut b = Builder::new(fusion, raw, None, (to.shape.clone(), Vec::new()));
    let expr = b.pull(from, &[]);
    b.store(expr, into, to, None);
    b.finish()
}

/// Fill a value's buffer with a constant.
pub fn filled(fusion: &Fusion, raw: &dyn Fn(NodeId) -> bool, into: NodeId, bits: u64) -> Built {
    let ty = fusion.graph.ty(into);
    let mut b = Builder::new(fusion, raw, None, (vec![ty.len()], Vec::new()));
    let expr = b.expr(ty.dtype, Kind::Const(bits));
    b.store(expr, into, &View::dense(&[ty.len()]), None);
    b.finish()
}
