//! Recurrent layers, unrolled over the sequence.

use pamc_passes::ir::{Attrs, Tensor};

use super::table;
use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Build, Fault, Made, Value, few, invalid, unsupported};

type Out = Made<Vec<Value>>;

/// One activation function with its parameters.
#[derive(Clone)]
struct Activation {
    name: String,
    alpha: Option<f32>,
    beta: Option<f32>,
}

impl Activation {
    fn apply(&self, b: &mut Build, x: &Value) -> Made {
        let alpha = |default: f32| self.alpha.unwrap_or(default);
        let with = |name: &'static str, value: f32| Attrs::none().with(name, value);
        match self.name.to_lowercase().as_str() {
            "sigmoid" => b.sigmoid(x),
            "tanh" => b.tanh(x),
            "relu" => b.op("relu", &[x], Attrs::none()),
            "softplus" => b.op("softplus", &[x], Attrs::none()),
            "leakyrelu" => b.op("leaky_relu", &[x], with("alpha", alpha(0.01))),
            "elu" => b.op("elu", &[x], with("alpha", alpha(1.0))),
            "hardsigmoid" => {
                let attrs = with("alpha", alpha(0.2)).with("beta", self.beta.unwrap_or(0.5));
                b.op("hard_sigmoid", &[x], attrs)
            }
            "affine" => {
                let y = b.mul_const(x, alpha(1.0))?;
                b.add_const(&y, self.beta.unwrap_or(0.0))
            }
            "scaledtanh" => {
                let y = b.mul_const(x, self.beta.unwrap_or(1.0))?;
                let y = b.tanh(&y)?;
                b.mul_const(&y, alpha(1.0))
            }
            "softsign" => super::elementwise::softsign_of(b, x),
            other => unsupported(format!("activation `{other}`")),
        }
    }

    /// Those of all directions: `count` each, by default `names`.
    fn list(s: &Site, names: &[&str], directions: usize) -> Made<Vec<Activation>> {
        let given = s.texts("activations")?;
        let names: Vec<String> = match given.filter(|g| !g.is_empty()) {
            Some(given) => given.iter().map(|n| (*n).to_owned()).collect(),
            None => {
                names.iter().cycle().take(names.len() * directions).map(|n| (*n).into()).collect()
            }
        };
        let (alpha, beta) = (s.floats("activation_alpha")?, s.floats("activation_beta")?);
        // Parameters stand in the order of the functions that have them.
        let has_alpha = ["affine", "leakyrelu", "scaledtanh", "hardsigmoid", "elu"];
        let has_beta = ["affine", "scaledtanh", "hardsigmoid"];
        let mut alpha = alpha.unwrap_or_default().into_iter();
        let mut beta = beta.unwrap_or_default().into_iter();
        let make = |name: String| {
            let lower = name.to_lowercase();
            let alpha = has_alpha.contains(&&*lower).then(|| alpha.next()).flatten();
            let beta = has_beta.contains(&&*lower).then(|| beta.next()).flatten();
            Activation { name, alpha, beta }
        };
        Ok(names.into_iter().map(make).collect())
    }
}

/// The next states, the first of which is the output, of a direction from the projected input and
/// the states.
type Step<'s> = dyn FnMut(&mut Build, usize, &Value, &[Value]) -> Made<Vec<Value>> + 's;

/// What all recurrent layers share.
struct Layer {
    /// `[length, batch, size]`.
    x: Value,
    w: Value,
    r: Value,
    bias: Option<Value>,
    lens: Option<Value>,
    h: Option<Value>,
    hidden: usize,
    /// For each direction, whether it runs backwards.
    backwards: Vec<bool>,
    batch_first: bool,
    clip: Option<f32>,
    activations: Vec<Activation>,
}

impl Layer {
    fn read(s: &mut Site, gates: usize, names: &[&str]) -> Made<Layer> {
        let (mut x, w, r) = (s.input(0)?, s.input(1)?, s.input(2)?);
        let backwards = match s.text("direction", "forward")? {
            "forward" => vec![false],
            "reverse" => vec![true],
            "bidirectional" => vec![false, true],
            other => return invalid(format!("direction `{other}`")),
        };
        let batch_first = s.flag("layout", false)?;
        s.ignore(&["output_sequence", "hidden_size"]);
        let (ws, rs) = (s.b.shape(&w), s.b.shape(&r));
        let fits = ws.len() == 3 && rs.len() == 3 && s.b.rank(&x) == 3;
        let hidden = rs.last().copied().unwrap_or(0);
        if !fits || ws[0] != backwards.len() || ws[1] != gates * hidden || rs[1] != gates * hidden {
            return invalid(format!("weights {ws:?} and {rs:?} in {} directions", backwards.len()));
        }
        let mut h = s.opt(5);
        if batch_first {
            x = s.b.transpose(&x, &[1, 0, 2])?;
            h = h.map(|h| s.b.transpose(&h, &[1, 0, 2])).transpose()?;
        }
        let activations = Activation::list(s, names, backwards.len())?;
        if activations.len() != names.len() * backwards.len() {
            return invalid(format!("{} activations", activations.len()));
        }
        let clip = s.opt_float("clip")?;
        let (bias, lens) = (s.opt(3), s.opt(4));
        Ok(Layer { x, w, r, bias, lens, h, hidden, backwards, batch_first, clip, activations })
    }

    /// The part of a direction of an operand.
    fn part(&self, b: &mut Build, v: &Value, direction: usize) -> Made {
        b.pick(v, 0, direction)
    }

    fn zeros(&self, b: &mut Build) -> Made {
        let batch = b.shape(&self.x)[1];
        b.expand(&Value::Const(Tensor::scalar(0f32)), &[batch, self.hidden])
    }

    fn clipped(&self, b: &mut Build, x: &Value) -> Made {
        let Some(c) = self.clip else { return Ok(x.clone()) };
        let (low, high) = (b.scalar(-c), b.scalar(c));
        let x = b.max(x, &low)?;
        b.op("min", &[&x, &high], Attrs::none())
    }

    /// Runs all directions; `step` makes the next states, of which the first is the output, from
    /// the projected input of a step and the states. Results: Y, then the last states.
    fn run(&self, s: &mut Site, first: &[Option<Value>], step: &mut Step) -> Out {
        let [len, batch, _] = s.b.shape(&self.x)[..] else { return invalid("a sequence") };
        few(&[len])?;
        let (mut all, mut last) = (Vec::new(), vec![Vec::new(); first.len()]);
        for (direction, &back) in self.backwards.iter().enumerate() {
            let b = &mut s.b;
            let w = self.part(b, &self.w, direction)?;
            let projected = b.matmul(&self.x, &w, false, true)?;
            let mut states = Vec::new();
            for v in first {
                states.push(match v {
                    Some(v) => self.part(b, v, direction)?,
                    None => self.zeros(b)?,
                });
            }
            let mut outs = vec![None; len];
            for i in 0..len {
                let t = if back { len - 1 - i } else { i };
                let x = b.pick(&projected, 0, t)?;
                let mut next = step(b, direction, &x, &states)?;
                let mut out = next[0].clone();
                if let Some(lens) = &self.lens {
                    let t = b.int_as(lens, t as i64);
                    let inside = b.op("gt", &[lens, &t], Attrs::none())?;
                    let inside = b.reshape(&inside, &[batch, 1])?;
                    let zero = b.scalar(0.0);
                    out = b.select(&inside, &out, &zero)?;
                    for (new, old) in next.iter_mut().zip(&states) {
                        *new = b.select(&inside, new, old)?;
                    }
                }
                outs[t] = Some(out);
                states = next;
            }
            let outs: Vec<Value> = outs.into_iter().flatten().collect();
            all.push(match outs.is_empty() {
                true => return invalid("a sequence without elements"),
                false => b.stack(&outs, 0)?,
            });
            last.iter_mut().zip(states).for_each(|(list, v)| list.push(v));
        }
        let axis = if self.batch_first { 1 } else { 0 };
        let mut y = s.b.stack(&all, 1)?;
        if self.batch_first {
            y = s.b.transpose(&y, &[2, 0, 1, 3])?;
        }
        let mut out = vec![y];
        for states in &last {
            out.push(s.b.stack(states, axis)?);
        }
        Ok(out)
    }

    /// The recurrent weight of each direction, and the halves of its bias.
    fn weights(&self, b: &mut Build, rows: usize) -> Made<Vec<[Value; 3]>> {
        let mut out = Vec::new();
        for direction in 0..self.backwards.len() {
            let r = self.part(b, &self.r, direction)?;
            let halves = match &self.bias {
                None => [b.scalar(0.0), b.scalar(0.0)],
                Some(bias) => {
                    let bias = self.part(b, bias, direction)?;
                    if b.shape(&bias) != [2 * rows] {
                        return invalid(format!("a bias {}", b.ty(&bias)));
                    }
                    [b.slice(&bias, 0, 0, rows)?, b.slice(&bias, 0, rows, rows)?]
                }
            };
            let [x, h] = halves;
            out.push([r, x, h]);
        }
        Ok(out)
    }
}

/// The n-th of equal parts of the last axis.
fn gate(b: &mut Build, x: &Value, n: usize, size: usize) -> Made {
    let last = b.rank(x) - 1;
    b.slice(x, last, n * size, size)
}

/// x + h·Rᵀ + both biases.
fn sum(b: &mut Build, x: &Value, h: &Value, [r, bx, bh]: &[Value; 3]) -> Made {
    let h = b.matmul(h, r, false, true)?;
    let total = b.add(x, &h)?;
    let bias = b.add(bx, bh)?;
    if matches!(&bias, Value::Const(t) if t.item::<f32>() == Some(0.0)) {
        return Ok(total);
    }
    b.add(&total, &bias)
}

pub(in crate::onnx) fn rnn(s: &mut Site) -> Out {
    let layer = Layer::read(s, 1, &["Tanh"])?;
    let weights = layer.weights(&mut s.b, layer.hidden)?;
    let first = [layer.h.clone()];
    layer.run(s, &first, &mut |b, d, x, states| {
        let total = sum(b, x, &states[0], &weights[d])?;
        let total = layer.clipped(b, &total)?;
        Ok(vec![layer.activations[d].apply(b, &total)?])
    })
}

pub(in crate::onnx) fn gru(s: &mut Site) -> Out {
    let layer = Layer::read(s, 3, &["Sigmoid", "Tanh"])?;
    let (n, linear) = (layer.hidden, s.flag("linear_before_reset", false)?);
    let weights = layer.weights(&mut s.b, 3 * n)?;
    let first = [layer.h.clone()];
    layer.run(s, &first, &mut |b, d, x, states| {
        let (h, [r, bx, bh]) = (&states[0], &weights[d]);
        let [f, g] = [&layer.activations[2 * d], &layer.activations[2 * d + 1]];
        let x = b.add(x, bx)?;
        let part = |b: &mut Build, v: &Value, at: usize, len: usize| {
            if b.rank(v) == 0 { Ok(v.clone()) } else { b.slice(v, 0, at * n, len * n) }
        };
        let (r_gates, r_new) = (part(b, r, 0, 2)?, part(b, r, 2, 1)?);
        let (b_gates, b_new) = (part(b, bh, 0, 2)?, part(b, bh, 2, 1)?);
        let gates = b.matmul(h, &r_gates, false, true)?;
        let gates = b.add(&gates, &b_gates)?;
        let x_gates = b.slice(&x, 1, 0, 2 * n)?;
        let gates = b.add(&x_gates, &gates)?;
        let gates = layer.clipped(b, &gates)?;
        let gates = f.apply(b, &gates)?;
        let (z, reset) = (gate(b, &gates, 0, n)?, gate(b, &gates, 1, n)?);
        let recurrent = if linear {
            let y = b.matmul(h, &r_new, false, true)?;
            let y = b.add(&y, &b_new)?;
            b.mul(&reset, &y)?
        } else {
            let y = b.mul(&reset, h)?;
            let y = b.matmul(&y, &r_new, false, true)?;
            b.add(&y, &b_new)?
        };
        let x_new = gate(b, &x, 2, n)?;
        let new = b.add(&x_new, &recurrent)?;
        let new = layer.clipped(b, &new)?;
        let new = g.apply(b, &new)?;
        // (1 − z)·new + z·h
        let one = b.scalar(1.0);
        let rest = b.sub(&one, &z)?;
        let (new, old) = (b.mul(&rest, &new)?, b.mul(&z, h)?);
        Ok(vec![b.add(&new, &old)?])
    })
}

/// ONNX Runtime's GRU of a training graph, which keeps its gates for the file's own gradients.
pub(in crate::onnx) fn gru_training(s: &mut Site) -> Out {
    without_gates(s, 2)?;
    gru(s)
}

/// ONNX Runtime's LSTM of a training graph, likewise.
pub(in crate::onnx) fn lstm_training(s: &mut Site) -> Out {
    without_gates(s, 3)?;
    lstm(s)
}

fn without_gates(s: &Site, results: usize) -> Made<()> {
    if (results..s.node.output.len()).any(|i| s.wants(i)) {
        return Err(Fault::Advised {
            reason: format!("its result {} keeps gates for the file's own gradients", results + 1),
            way_out: table::DERIVE.to_owned(),
        });
    }
    Ok(())
}

pub(in crate::onnx) fn lstm(s: &mut Site) -> Out {
    let layer = Layer::read(s, 4, &["Sigmoid", "Tanh", "Tanh"])?;
    let (n, coupled) = (layer.hidden, s.flag("input_forget", false)?);
    let weights = layer.weights(&mut s.b, 4 * n)?;
    let mut c = s.opt(6);
    if layer.batch_first {
        c = c.map(|c| s.b.transpose(&c, &[1, 0, 2])).transpose()?;
    }
    // Weights from the cell to the gates i, o, f.
    let mut peepholes = Vec::new();
    if let Some(p) = s.opt(7) {
        for d in 0..layer.backwards.len() {
            let p = layer.part(&mut s.b, &p, d)?;
            let parts = (0..3).map(|k| gate(&mut s.b, &p, k, n)).collect::<Made<Vec<_>>>()?;
            peepholes.push(parts);
        }
    }
    let first = [layer.h.clone(), c];
    layer.run(s, &first, &mut |b, d, x, states| {
        let [f, g, h] = [0, 1, 2].map(|k| &layer.activations[3 * d + k]);
        let total = sum(b, x, &states[0], &weights[d])?;
        let seen = |b: &mut Build, at: usize, k: usize, cell: &Value| -> Made {
            let mut part = gate(b, &total, at, n)?;
            if let Some(p) = peepholes.get(d) {
                let seen = b.mul(&p[k], cell)?;
                part = b.add(&part, &seen)?;
            }
            layer.clipped(b, &part)
        };
        let cell = &states[1];
        let input = seen(b, 0, 0, cell)?;
        let input = f.apply(b, &input)?;
        let forget = if coupled {
            let one = b.scalar(1.0);
            b.sub(&one, &input)?
        } else {
            let forget = seen(b, 2, 2, cell)?;
            f.apply(b, &forget)?
        };
        let new = gate(b, &total, 3, n)?;
        let new = layer.clipped(b, &new)?;
        let new = g.apply(b, &new)?;
        let (kept, added) = (b.mul(&forget, cell)?, b.mul(&input, &new)?);
        let cell = b.add(&kept, &added)?;
        let output = seen(b, 1, 1, &cell)?;
        let output = f.apply(b, &output)?;
        let shown = h.apply(b, &cell)?;
        Ok(vec![b.mul(&output, &shown)?, cell])
    })
}
