//! Update rules as terms: every product, quotient and root in the program's arithmetic.

use super::spec::{Adam, AdamWForm, Optimizer};
use crate::arith::BiasCorrection;
use crate::build::Cx;
use crate::ir::{DType, InputKind, NodeId, Tensor, TensorType};

/// What is carried from one step to the next beside the parameters.
#[derive(Default)]
pub(super) struct States {
    /// Names of the State inputs made, with the values they start from.
    pub initial: Vec<(String, Tensor)>,
    /// Their new values.
    pub updated: Vec<(String, NodeId)>,
}

impl States {
    /// A new State input.
    pub fn declare(&mut self, cx: &mut Cx<'_>, name: &str, start: Tensor) -> NodeId {
        let node = cx.input(name, start.ty(), InputKind::State);
        self.initial.push((name.into(), start));
        node
    }

    /// The value it has after the step.
    pub fn update(&mut self, name: impl Into<String>, new: NodeId) {
        self.updated.push((name.into(), new));
    }
}

/// The scalars that every parameter's update shares.
#[derive(Clone, Copy)]
pub(super) struct Shared {
    /// Learning rate.
    pub lr: NodeId,
    /// What the two averages of Adam have to be divided by.
    corrections: Option<[NodeId; 2]>,
}

/// x ← x ⊙ β + y ⊙ (1 − β).
fn average(cx: &mut Cx<'_>, x: NodeId, y: NodeId, beta: f64) -> NodeId {
    let old = cx.mul_const(x, beta as f32);
    let new = cx.mul_const(y, (1.0 - beta) as f32);
    cx.add(old, new)
}

/// Terms made once a step.
pub(super) fn shared(
    cx: &mut Cx<'_>,
    states: &mut States,
    optimizer: &Optimizer,
    lr: NodeId,
) -> Shared {
    let (Optimizer::Adam(adam) | Optimizer::AdamW(adam, _)) = optimizer else {
        return Shared { lr, corrections: None };
    };
    if !adam.correct_bias {
        return Shared { lr, corrections: None };
    }
    let corrections = [("1", adam.beta1), ("2", adam.beta2)].map(|(index, beta)| {
        let (name, new, correction) = match cx.arith.recipe().bias_correction {
            BiasCorrection::Response => {
                let name = format!("c{index}");
                let c = states.declare(cx, &name, Tensor::scalar(0f32));
                let old = cx.mul_const(c, beta as f32);
                let new = cx.add_const(old, (1.0 - beta) as f32);
                (name, new, new)
            }
            BiasCorrection::Power => {
                let name = format!("beta{index}_power");
                let power = states.declare(cx, &name, Tensor::scalar(1f32));
                let new = cx.mul_const(power, beta as f32);
                let one = cx.scalar(1f32);
                (name, new, cx.sub(one, new))
            }
        };
        states.update(name, new);
        correction
    });
    Shared { lr, corrections: Some(corrections) }
}

/// A parameter on its way through a step.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value before.
    pub p: NodeId,
    /// Its gradient.
    pub g: NodeId,
    /// Weight decay that acts on it; 0 for none.
    pub decay: f64,
}

/// The new value of one parameter.
pub(super) fn update(
    cx: &mut Cx<'_>,
    states: &mut States,
    optimizer: &Optimizer,
    shared: Shared,
    site: Site<'_>,
) -> NodeId {
    match *optimizer {
        Optimizer::Sgd { momentum, nesterov } => {
            sgd(cx, states, shared, site, (momentum, nesterov))
        }
        Optimizer::Adam(adam) => {
            let site = Site { g: with_decay(cx, site), decay: 0.0, ..site };
            adam_step(cx, states, shared, site, (adam, AdamWForm::Torch))
        }
        Optimizer::AdamW(adam, form) => adam_step(cx, states, shared, site, (adam, form)),
    }
}

/// g + p ⊙ λ.
fn with_decay(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    if site.decay == 0.0 {
        return site.g;
    }
    let pull = cx.mul_const(site.p, site.decay as f32);
    cx.add(site.g, pull)
}

fn zeros(cx: &Cx<'_>, p: NodeId) -> Tensor {
    Tensor::zeros(&TensorType::new(DType::F32, cx.shape(p)))
}

fn sgd(
    cx: &mut Cx<'_>,
    states: &mut States,
    shared: Shared,
    site: Site<'_>,
    (momentum, nesterov): (f64, bool),
) -> NodeId {
    let g = with_decay(cx, site);
    let mut direction = g;
    if momentum != 0.0 {
        let name = format!("momentum.{}", site.name);
        let start = zeros(cx, site.p);
        let velocity = states.declare(cx, &name, start);
        let kept = cx.mul_const(velocity, momentum as f32);
        let new = cx.add(kept, g);
        direction = new;
        if nesterov {
            let ahead = cx.mul_const(new, momentum as f32);
            direction = cx.add(g, ahead);
        }
        states.update(name, new);
    }
    let step = cx.mul(direction, shared.lr);
    cx.sub(site.p, step)
}

fn adam_step(
    cx: &mut Cx<'_>,
    states: &mut States,
    shared: Shared,
    site: Site<'_>,
    (adam, form): (Adam, AdamWForm),
) -> NodeId {
    let [m_name, v_name] = ["m", "v"].map(|s| format!("{s}.{}", site.name));
    let start = zeros(cx, site.p);
    let m = states.declare(cx, &m_name, start.clone());
    let v = states.declare(cx, &v_name, start);
    let m = average(cx, m, site.g, adam.beta1);
    let square = cx.mul(site.g, site.g);
    let v = average(cx, v, square, adam.beta2);
    states.update(m_name, m);
    states.update(v_name, v);
    let decay = |cx: &mut Cx<'_>, p: NodeId| {
        let rate = cx.mul_const(shared.lr, site.decay as f32);
        cx.mul(p, rate)
    };
    let ratio = |cx: &mut Cx<'_>, m: NodeId, v: NodeId| {
        let root = cx.sqrt(v);
        let root = cx.add_const(root, adam.eps as f32);
        cx.div(m, root)
    };
    let mut new = match (form, shared.corrections) {
        (AdamWForm::Torch, corrections) => {
            let [m, v] = corrections.map_or([m, v], |[c1, c2]| [cx.div(m, c1), cx.div(v, c2)]);
            let direction = ratio(cx, m, v);
            let step = cx.mul(direction, shared.lr);
            cx.sub(site.p, step)
        }
        (AdamWForm::HuggingFace, corrections) => {
            let rate = corrections.map_or(shared.lr, |[c1, c2]| {
                let root = cx.sqrt(c2);
                let rate = cx.mul(shared.lr, root);
                cx.div(rate, c1)
            });
            let direction = ratio(cx, m, v);
            let step = cx.mul(direction, rate);
            cx.sub(site.p, step)
        }
    };
    if site.decay != 0.0 {
        let from = if form == AdamWForm::Torch { site.p } else { new };
        let pull = decay(cx, from);
        new = cx.sub(new, pull);
    }
    new
}
