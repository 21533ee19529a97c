//! Training operators of ONNX itself (`ai.onnx.preview.training`).

use pamc_passes::ir::{Attrs, DType};

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, invalid, unsupported};
use crate::onnx::proto::AttributeType;

type Out = Made<Vec<Value>>;

/// Gradient: of the value `y`, which reading the model has put after the operands, with respect to
/// the first operands, `xs`; the others, `zs`, are held.
pub(in crate::onnx) fn gradient(s: &mut Site) -> Out {
    s.text("y", "")?;
    let xs = names(s, "xs")?;
    let zs = names(s, "zs")?;
    let operands = s.node.input.len().saturating_sub(1);
    let given = s.node.input.iter().take(operands).map(String::as_bytes);
    if !given.eq(xs.iter().chain(&zs).map(|n| &n[..])) {
        return unsupported("a gradient at other values than those of `xs` and `zs`");
    }
    let mut y = s.input(operands)?;
    let axes: Vec<usize> = (0..s.b.rank(&y)).collect();
    y = s.b.sum(&y, &axes, false)?;
    if s.b.dtype(&y) != DType::F32 {
        return invalid("`y` is not f32");
    }
    let mut out = Vec::with_capacity(xs.len());
    for i in 0..xs.len() {
        let x = s.input(i)?;
        let Value::Node(node) = x else {
            return unsupported(format!(
                "the gradient with respect to the constant `{}`",
                s.node.input[i]
            ));
        };
        let input = s.b.graph.inputs().iter().any(|input| input.node == node);
        if !input || s.b.dtype(&x) != DType::F32 {
            return unsupported(format!(
                "the gradient with respect to `{}`, which is no f32 input or initializer",
                s.node.input[i]
            ));
        }
        out.push(s.b.op("gradient", &[&y, &x], Attrs::none())?);
    }
    Ok(out)
}

fn names(s: &Site, name: &str) -> Made<Vec<Vec<u8>>> {
    s.ignore(&[name]);
    let Some(attr) = s.node.attribute.iter().find(|a| a.name == name) else {
        return Ok(Vec::new());
    };
    if attr.kind != AttributeType::Strings as i32 {
        return invalid(format!("attribute `{name}` is not a list of names"));
    }
    Ok(attr.strings.iter().map(|n| n.to_vec()).collect())
}

/// Rate, step count and, for each tensor, its operands after them, `each` lists one after the other.
struct Updates {
    rate: Value,
    count: Value,
    tensors: usize,
}

impl Updates {
    fn of(s: &mut Site, each: usize) -> Made<Self> {
        let (rate, count) = (s.input(0)?, s.input(1)?);
        let rest = s.inputs.len() - 2;
        if rest == 0 || !rest.is_multiple_of(each) {
            return invalid(format!("{rest} tensors where {each} belong to each parameter"));
        }
        if s.b.ty(&rate).len() != 1 || s.b.ty(&count).len() != 1 {
            return invalid("the rate and the number of updates are no scalars");
        }
        let (rate, count) = (s.b.reshape(&rate, &[])?, s.b.reshape(&count, &[])?);
        Ok(Updates { rate, count, tensors: rest / each })
    }

    /// List number `list` of tensor `i`.
    fn operand(&self, s: &Site, list: usize, i: usize) -> Made {
        s.input(2 + list * self.tensors + i)
    }
}

/// g + λ x.
fn regularized(s: &mut Site, g: &Value, x: &Value, lambda: f32) -> Made {
    if lambda == 0.0 {
        return Ok(g.clone());
    }
    let pull = s.b.mul_const(x, lambda)?;
    s.b.add(g, &pull)
}

/// √h + ε.
fn root(s: &mut Site, h: &Value, epsilon: f32) -> Made {
    let root = s.b.sqrt(h)?;
    s.b.add_const(&root, epsilon)
}

/// x − rate · direction.
fn descend(s: &mut Site, x: &Value, rate: &Value, direction: &Value) -> Made {
    let step = s.b.mul(direction, rate)?;
    s.b.sub(x, &step)
}

/// Results as the operators order them: all new values of the first list, then of the next.
fn by_list(made: Vec<Vec<Value>>) -> Vec<Value> {
    let lists = made.first().map_or(0, Vec::len);
    (0..lists).flat_map(|l| made.iter().map(move |tensor| tensor[l].clone())).collect()
}

/// Adam: operands and results in the order x, g, v, h and x, v, h.
pub(in crate::onnx) fn adam(s: &mut Site) -> Out {
    let (alpha, beta) = (s.float("alpha", 0.9)?, s.float("beta", 0.999)?);
    let (epsilon, lambda) = (s.float("epsilon", 1e-6)?, s.float("norm_coefficient", 0.0)?);
    let after = s.float("norm_coefficient_post", 0.0)?;
    let updates = Updates::of(s, 4)?;
    let rate = corrected(s, &updates, alpha, beta)?;
    let mut made = Vec::with_capacity(updates.tensors);
    for i in 0..updates.tensors {
        let [x, g, v, h] = [0, 1, 2, 3].map(|list| updates.operand(s, list, i));
        let x = x?;
        let g = regularized(s, &g?, &x, lambda)?;
        let v = average(s, &v?, &g, alpha)?;
        let square = s.b.mul(&g, &g)?;
        let h = average(s, &h?, &square, beta)?;
        let by = root(s, &h, epsilon)?;
        let direction = s.b.div(&v, &by)?;
        let new = descend(s, &x, &rate, &direction)?;
        let new = s.b.mul_const(&new, 1.0 - after)?;
        made.push(vec![new, v, h]);
    }
    Ok(by_list(made))
}

/// a · decay + b · (1 − decay).
fn average(s: &mut Site, a: &Value, b: &Value, decay: f32) -> Made {
    let (old, new) = (s.b.mul_const(a, decay)?, s.b.mul_const(b, 1.0 - decay)?);
    s.b.add(&old, &new)
}

/// rate · √(1 − βᵀ) / (1 − αᵀ) once there have been updates.
fn corrected(s: &mut Site, updates: &Updates, alpha: f32, beta: f32) -> Made {
    let t = s.b.cast(&updates.count, DType::F32)?;
    let missing = |s: &mut Site, base: f32| {
        let base = s.b.scalar(base);
        let power = s.b.op("pow", &[&base, &t], Attrs::none())?;
        let one = s.b.scalar(1.0);
        s.b.sub(&one, &power)
    };
    let (second, first) = (missing(s, beta)?, missing(s, alpha)?);
    let second = s.b.sqrt(&second)?;
    let rate = s.b.mul(&updates.rate, &second)?;
    let rate = s.b.div(&rate, &first)?;
    let begun = begun(s, updates)?;
    s.b.select(&begun, &rate, &updates.rate)
}

/// Whether there have been updates.
fn begun(s: &mut Site, updates: &Updates) -> Made {
    let zero = s.b.scalar_as(&updates.count, 0);
    s.b.gt(&updates.count, &zero)
}

/// Adagrad: operands and results in the order x, g, h and x, h.
pub(in crate::onnx) fn adagrad(s: &mut Site) -> Out {
    let (decay, epsilon) = (s.float("decay_factor", 0.0)?, s.float("epsilon", 1e-6)?);
    let lambda = s.float("norm_coefficient", 0.0)?;
    let updates = Updates::of(s, 3)?;
    let t = s.b.cast(&updates.count, DType::F32)?;
    let slower = s.b.mul_const(&t, decay)?;
    let slower = s.b.add_const(&slower, 1.0)?;
    let rate = s.b.div(&updates.rate, &slower)?;
    let mut made = Vec::with_capacity(updates.tensors);
    for i in 0..updates.tensors {
        let [x, g, h] = [0, 1, 2].map(|list| updates.operand(s, list, i));
        let x = x?;
        let g = regularized(s, &g?, &x, lambda)?;
        let square = s.b.mul(&g, &g)?;
        let h = s.b.add(&h?, &square)?;
        let by = root(s, &h, epsilon)?;
        let direction = s.b.div(&g, &by)?;
        made.push(vec![descend(s, &x, &rate, &direction)?, h]);
    }
    Ok(by_list(made))
}

/// Momentum: operands and results in the order x, g, v and x, v.
pub(in crate::onnx) fn momentum(s: &mut Site) -> Out {
    let (alpha, beta) = (s.float("alpha", 0.0)?, s.float("beta", 1.0)?);
    let lambda = s.float("norm_coefficient", 0.0)?;
    let nesterov = match s.text("mode", "standard")? {
        "standard" => false,
        "nesterov" => true,
        other => return invalid(format!("mode `{other}`")),
    };
    let updates = Updates::of(s, 3)?;
    let (first, later) = (s.b.scalar(1.0), s.b.scalar(beta));
    let begun = begun(s, &updates)?;
    let share = s.b.select(&begun, &later, &first)?;
    let constant_share = beta == 1.0;
    let mut made = Vec::with_capacity(updates.tensors);
    for i in 0..updates.tensors {
        let [x, g, v] = [0, 1, 2].map(|list| updates.operand(s, list, i));
        let x = x?;
        let g = regularized(s, &g?, &x, lambda)?;
        let kept = s.b.mul_const(&v?, alpha)?;
        let new = if constant_share { g.clone() } else { s.b.mul(&g, &share)? };
        let v = s.b.add(&kept, &new)?;
        let mut direction = v.clone();
        if nesterov {
            let ahead = s.b.mul_const(&v, alpha)?;
            direction = s.b.add(&g, &ahead)?;
        }
        made.push(vec![descend(s, &x, &updates.rate, &direction)?, v]);
    }
    Ok(by_list(made))
}
