//! Sequences and optionals, whose lengths are known at import.

use pamc_passes::ir::Tensor;

use crate::onnx::import::site::Site;
use crate::onnx::import::value::{Made, Value, invalid, unsupported};

type Out = Made<Vec<Value>>;

fn list(s: &Site, i: usize) -> Made<Vec<Value>> {
    match s.input(i)? {
        Value::List(list) => Ok(list),
        _ => invalid(format!("operand {} is no sequence", i + 1)),
    }
}

/// A place in a list of `n`, counted from the end if negative; the end itself where `end` says so.
fn place(s: &Site, i: usize, n: usize, end: bool) -> Made<Option<usize>> {
    let Some(at) = s.const_int(i, "position")? else { return Ok(None) };
    let from_start = if at < 0 { at.saturating_add(n as i64) } else { at };
    let limit = if end { n } else { n.saturating_sub(1) };
    match usize::try_from(from_start).ok().filter(|&at| at <= limit && (end || n > 0)) {
        Some(at) => Ok(Some(at)),
        None => invalid(format!("position {at} in a sequence of {n}")),
    }
}

pub(in crate::onnx) fn construct(s: &mut Site) -> Out {
    let values = (0..s.inputs.len()).map(|i| s.input(i)).collect::<Made<Vec<_>>>()?;
    Ok(vec![Value::List(values)])
}

pub(in crate::onnx) fn empty(s: &mut Site) -> Out {
    s.ignore(&["dtype"]);
    Ok(vec![Value::List(Vec::new())])
}

pub(in crate::onnx) fn length(s: &mut Site) -> Out {
    Ok(vec![Value::Const(Tensor::scalar(list(s, 0)?.len() as i64))])
}

pub(in crate::onnx) fn at(s: &mut Site) -> Out {
    let mut list = list(s, 0)?;
    match place(s, 1, list.len(), false)? {
        Some(at) => Ok(vec![list.swap_remove(at)]),
        None => invalid("no position is given"),
    }
}

pub(in crate::onnx) fn insert(s: &mut Site) -> Out {
    let (mut list, value) = (list(s, 0)?, s.input(1)?);
    let at = place(s, 2, list.len(), true)?.unwrap_or(list.len());
    list.insert(at, value);
    Ok(vec![Value::List(list)])
}

pub(in crate::onnx) fn erase(s: &mut Site) -> Out {
    let mut list = list(s, 0)?;
    match place(s, 1, list.len(), false)? {
        Some(at) => drop(list.remove(at)),
        None => drop(list.pop()),
    }
    Ok(vec![Value::List(list)])
}

pub(in crate::onnx) fn concat(s: &mut Site) -> Out {
    let (list, axis) = (list(s, 0)?, s.int("axis", 0)?);
    let Some(first) = list.first() else { return invalid("nothing to concatenate") };
    if s.flag("new_axis", false)? {
        return Ok(vec![s.b.stack(&list, axis)?]);
    }
    let axis = s.axis(axis, s.b.rank(first))?;
    Ok(vec![s.b.concat(&list.iter().collect::<Vec<_>>(), axis)?])
}

pub(in crate::onnx) fn split(s: &mut Site) -> Out {
    let x = s.input(0)?;
    let (shape, axis) = (s.b.shape(&x), s.int("axis", 0)?);
    let axis = s.axis(axis, shape.len())?;
    let (n, keep) = (shape[axis], s.flag("keepdims", true)?);
    let size = |len: i64| usize::try_from(len).ok().filter(|&l| l > 0);
    let lens = match s.constant(1, "split")? {
        None => vec![1; n],
        Some(t) => {
            let given = crate::onnx::import::site::integers(&t, "split")?;
            let sizes: Option<Vec<usize>> = given.iter().map(|&l| size(l)).collect();
            match (sizes.as_deref(), t.shape().len()) {
                (Some(&[len]), 0) => (0..n.div_ceil(len)).map(|i| len.min(n - i * len)).collect(),
                (Some(sizes), _) if sizes.iter().sum::<usize>() == n => sizes.to_vec(),
                _ => return invalid(format!("parts {given:?} of an axis of {n}")),
            }
        }
    };
    let dropped = !keep && s.opt(1).is_none();
    let (mut start, mut out) = (0, Vec::new());
    for len in lens {
        out.push(match dropped {
            true => s.b.pick(&x, axis, start)?,
            false => s.b.slice(&x, axis, start, len)?,
        });
        start += len;
    }
    Ok(vec![Value::List(out)])
}

/// An optional is a sequence of at most one value.
pub(in crate::onnx) fn optional(s: &mut Site) -> Out {
    s.ignore(&["type"]);
    Ok(vec![match s.opt(0) {
        Some(Value::List(_)) => return unsupported("an optional sequence"),
        Some(value) => Value::List(vec![value]),
        None => Value::List(Vec::new()),
    }])
}

pub(in crate::onnx) fn has_element(s: &mut Site) -> Out {
    let has = match s.opt(0) {
        None => false,
        Some(Value::List(list)) => !list.is_empty(),
        Some(_) => true,
    };
    Ok(vec![Value::Const(Tensor::scalar(has))])
}

pub(in crate::onnx) fn get_element(s: &mut Site) -> Out {
    match s.input(0)? {
        Value::List(mut list) if list.len() == 1 => Ok(vec![list.swap_remove(0)]),
        Value::List(_) => invalid("the optional is empty"),
        value => Ok(vec![value]),
    }
}
