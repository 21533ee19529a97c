//! Loops and scans, unrolled at import.

use pamc_passes::ir::{Attrs, Tensor};

use super::context::Walk;
use super::control::{Control, Done, invalid, truth};
use super::site;
use super::value::{Fault, Made, Typed, Value, at_run_time};
use crate::onnx::proto::{DataType, GraphProto};

/// Most iterations of one loop.
const MAX_TRIPS: usize = 1 << 14;

impl<'a> Walk<'a> {
    /// A loop, unrolled. Its trip count must be known; where its condition is computed, iterations
    /// after it failed leave the state alone.
    pub(super) fn repeat(&mut self, at: Control<'a>, inputs: Vec<Option<Typed>>) -> Done {
        let graph = at.graph("body")?;
        let mut inputs = inputs.into_iter();
        let trips = match inputs.next().flatten() {
            None => None,
            Some((Value::Const(t), _)) => match site::integers(&t, "the trip count")?[..] {
                [n] => Some(usize::try_from(n).unwrap_or(0)),
                _ => return invalid("the trip count is not one number"),
            },
            Some(_) => return Err(at_run_time::<()>("the trip count").unwrap_err().into()),
        };
        let always = Value::Const(Tensor::scalar(true));
        let mut going = inputs.next().flatten().map_or(always.clone(), |(c, _)| c);
        let mut state = inputs.map(|v| v.ok_or("a loop-carried value is missing"));
        let mut state: Vec<Typed> = match state.by_ref().collect() {
            Ok(state) => state,
            Err(why) => return invalid(why),
        };
        let carried = state.len();
        let mut scanned: Vec<Vec<Typed>> = Vec::new();
        let mut trip = 0;
        let endless = trips.is_none_or(|n| n > MAX_TRIPS) && keeps_condition(graph);
        if endless && truth(&going) != Some(false) {
            return Err(too_many_trips().into());
        }
        while trips.is_none_or(|n| trip < n) && truth(&going) != Some(false) {
            if trip >= MAX_TRIPS {
                return Err(too_many_trips().into());
            }
            if trips.is_none() && truth(&going).is_none() {
                return Err(at_run_time::<()>("the number of iterations").unwrap_err().into());
            }
            let count = (Value::Const(Tensor::scalar(trip as i64)), DataType::Int64);
            let given = [count, (going.clone(), DataType::Bool)].into_iter().chain(state.clone());
            let place = format!("{}{}[{trip}]/", self.place, at.name());
            let made = self.body(at, graph, given.collect(), &place)?;
            if made.len() <= carried {
                return invalid("its graph gives too few values");
            }
            let known = truth(&going).is_some();
            if !known && made.len() > carried + 1 {
                return Err(at_run_time::<()>("the number of iterations").unwrap_err().into());
            }
            let mut made = made.into_iter();
            let next = made.next().map_or(always.clone(), |(c, _)| c);
            let mut b = self.build(at);
            let now = if known { going.clone() } else { b.reshape(&going, &[])? };
            for (old, (new, elem)) in state.iter_mut().zip(made.by_ref().take(carried)) {
                let new = if known { new } else { b.select(&now, &new, &old.0)? };
                *old = (new, elem);
            }
            going = if known {
                next
            } else {
                let next = b.reshape(&next, &[])?;
                b.op("and", &[&now, &next], Attrs::none())?
            };
            collect(&mut scanned, made);
            trip += 1;
        }
        let wanted = graph.output.len().saturating_sub(carried + 1);
        let axes = vec![0; wanted];
        self.finish_scan(at, state, scanned, &axes)
    }

    /// The state, then each scanned value stacked along its axis.
    fn finish_scan(
        &mut self,
        at: Control<'a>,
        mut state: Vec<Typed>,
        scanned: Vec<Vec<Typed>>,
        axes: &[i64],
    ) -> Done {
        if scanned.len() < axes.len() {
            let why = "a loop without iterations has results of unknown shape";
            return Err(Fault::Unsupported(why.to_owned()).into());
        }
        let mut b = self.build(at);
        for (values, &axis) in scanned.into_iter().zip(axes) {
            let elem = values.first().map_or(DataType::Undefined, |v| v.1);
            let values: Vec<Value> = values.into_iter().map(|v| v.0).collect();
            state.push((b.stack(&values, axis)?, elem));
        }
        Ok(state)
    }

    /// Opset 8: a scan of every sample of a batch, the results stacked.
    pub(super) fn scan_batch(&mut self, at: Control<'a>, inputs: Vec<Option<Typed>>) -> Done {
        let mut inputs = inputs.into_iter();
        if inputs.next().flatten().is_some() {
            return Err(Fault::Unsupported("lengths of sequences".to_owned()).into());
        }
        let Some(inputs) = inputs.collect::<Option<Vec<Typed>>>() else {
            return invalid("an operand is missing");
        };
        let mut b = self.build(at);
        let Some(&batch) = inputs.first().map(|v| b.shape(&v.0)).unwrap_or_default().first() else {
            return invalid("its operands have no batch");
        };
        if inputs.iter().any(|v| b.shape(&v.0).first() != Some(&batch)) {
            return invalid("its operands are of different batches");
        }
        let mut samples = Vec::new();
        for i in 0..batch {
            let pick = |v: &Typed| Ok((b.pick(&v.0, 0, i)?, v.1));
            samples.push(inputs.iter().map(pick).collect::<Made<Vec<_>>>()?);
        }
        let mut out: Vec<Vec<Typed>> = Vec::new();
        for sample in samples {
            let made = self.scan(at, sample.into_iter().map(Some).collect())?;
            collect(&mut out, made.into_iter());
        }
        let axes = vec![0; out.len()];
        self.finish_scan(at, Vec::new(), out, &axes)
    }

    /// One iteration for each element along the scanned axes, unrolled.
    pub(super) fn scan(&mut self, at: Control<'a>, inputs: Vec<Option<Typed>>) -> Done {
        let graph = at.graph("body")?;
        let scans = at.attr("num_scan_inputs").map_or(0, |a| a.i);
        let scans = usize::try_from(scans).unwrap_or(0);
        let Some(carried) = inputs.len().checked_sub(scans).filter(|_| scans > 0) else {
            return invalid(format!("{scans} scanned values of {} operands", inputs.len()));
        };
        let Some(mut state) = inputs.into_iter().collect::<Option<Vec<Typed>>>() else {
            return invalid("an operand is missing");
        };
        let over = state.split_off(carried);
        let directions = match at.attr("directions") {
            Some(_) => "directions",
            None => "scan_input_directions",
        };
        let (axes, back) = (at.ints("scan_input_axes", scans)?, at.ints(directions, scans)?);
        let wanted = graph.output.len().saturating_sub(carried);
        let out_axes = at.ints("scan_output_axes", wanted)?;
        let out_back = at.ints("scan_output_directions", wanted)?;
        let b = self.build(at);
        let axis = |(v, &a): (&Typed, &i64)| {
            let shape = b.shape(&v.0);
            let axis = pamc_passes::ops::normalize_axis(a, shape.len()).map_err(Fault::Invalid)?;
            Ok::<_, Fault>((axis, shape[axis]))
        };
        let axes = over.iter().zip(&axes).map(axis).collect::<Made<Vec<_>>>()?;
        let trips = axes[0].1;
        if axes.iter().any(|&(_, n)| n != trips) || trips > MAX_TRIPS {
            return invalid("the scanned axes are of different lengths or too long");
        }
        let mut scanned: Vec<Vec<Typed>> = Vec::new();
        for trip in 0..trips {
            let mut b = self.build(at);
            let mut given = state.clone();
            for ((v, &(axis, _)), &back) in over.iter().zip(&axes).zip(&back) {
                let place = if back == 1 { trips - 1 - trip } else { trip };
                given.push((b.pick(&v.0, axis, place)?, v.1));
            }
            let place = format!("{}{}[{trip}]/", self.place, at.name());
            let made = self.body(at, graph, given, &place)?;
            if made.len() < carried {
                return invalid("its graph gives too few values");
            }
            let mut made = made.into_iter();
            state = made.by_ref().take(carried).collect();
            collect(&mut scanned, made);
        }
        for (values, &back) in scanned.iter_mut().zip(&out_back) {
            if back == 1 {
                values.reverse();
            }
        }
        self.finish_scan(at, state, scanned, &out_axes)
    }

    /// One call for each element of a sequence.
    pub(super) fn map(&mut self, at: Control<'a>, inputs: Vec<Option<Typed>>) -> Done {
        let graph = at.graph("body")?;
        let Some(inputs) = inputs.into_iter().collect::<Option<Vec<Typed>>>() else {
            return invalid("an operand is missing");
        };
        let Some((Value::List(first), _)) = inputs.first() else {
            return invalid("its first operand is no sequence");
        };
        let mut out: Vec<Vec<Typed>> = vec![Vec::new(); graph.output.len()];
        for i in 0..first.len() {
            let element = |(v, elem): &Typed| match v {
                Value::List(list) => list.get(i).map(|v| (v.clone(), *elem)),
                other => Some((other.clone(), *elem)),
            };
            let Some(given) = inputs.iter().map(element).collect() else {
                return invalid("its sequences are of different lengths");
            };
            let place = format!("{}{}[{i}]/", self.place, at.name());
            let made = self.body(at, graph, given, &place)?;
            out.iter_mut().zip(made).for_each(|(list, v)| list.push(v));
        }
        let list = |values: Vec<Typed>| {
            let elem = values.first().map_or(DataType::Undefined, |v| v.1);
            (Value::List(values.into_iter().map(|v| v.0).collect()), elem)
        };
        Ok(out.into_iter().map(list).collect())
    }
}

fn too_many_trips() -> Fault {
    Fault::Advised {
        reason: format!("it runs more than {MAX_TRIPS} times"),
        way_out: "loops are unrolled at import: give it a smaller trip count, or write its body \
                  with operators on whole tensors"
            .to_owned(),
    }
}

/// Whether the body of a loop gives on the condition that it is given, so that only the trip count
/// ends the loop.
fn keeps_condition(body: &GraphProto) -> bool {
    let (Some(given), Some(output)) = (body.input.get(1), body.output.first()) else {
        return false;
    };
    let mut name = output.name.as_str();
    for node in body.node.iter().rev().filter(|n| n.op_type == "Identity") {
        if let ([from], [to]) = (&node.input[..], &node.output[..])
            && to == name
        {
            name = from;
        }
    }
    name == given.name
}

fn collect(scanned: &mut Vec<Vec<Typed>>, made: impl Iterator<Item = Typed>) {
    for (i, value) in made.enumerate() {
        match scanned.get_mut(i) {
            Some(list) => list.push(value),
            None => scanned.push(vec![value]),
        }
    }
}
