//! Graphs inside nodes: branches are chosen and loops unrolled at import.

use std::collections::{HashMap, HashSet};

use pamc_passes::ir::{Attrs, Region, Tensor};

use super::context::{Walk, origin};
use super::interface::{ancestors, reads};
use super::site;
use super::value::{Build, Fault, Made, Typed, Value, at_run_time};
use crate::onnx::error::OnnxError;
use crate::onnx::proto::{AttributeProto, DataType, GraphProto, NodeProto};
use crate::onnx::tensor;

/// Most iterations of one loop.
const MAX_TRIPS: usize = 1 << 14;

/// Most nodes of bodies that a model may unfold to.
const MAX_UNROLLED: usize = 1 << 18;

/// Why a body was not translated.
enum Stop {
    /// Of its node.
    Fault(Fault),
    /// Of the whole file.
    Fatal(OnnxError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl From<OnnxError> for Stop {
    fn from(error: OnnxError) -> Self {
        Stop::Fatal(error)
    }
}

type Done = Result<Vec<Typed>, Stop>;

fn invalid<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fault(Fault::Invalid(why.into())))
}

/// A node with graphs inside it.
#[derive(Clone, Copy)]
struct Control<'a> {
    node: &'a NodeProto,
    region: Region,
}

impl<'a> Control<'a> {
    fn attr(&self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    fn graph(&self, name: &str) -> Result<&'a GraphProto, Stop> {
        match self.attr(name).and_then(|a| a.g.as_deref()) {
            Some(graph) => Ok(graph),
            None => invalid(format!("it has no graph `{name}`")),
        }
    }

    /// A list attribute of `n` integers, or that many zeros.
    fn ints(&self, name: &str, n: usize) -> Result<Vec<i64>, Stop> {
        match self.attr(name) {
            None => Ok(vec![0; n]),
            Some(a) if a.ints.len() == n => Ok(a.ints.clone()),
            Some(a) => invalid(format!("`{name}` is {:?} for {n} values", a.ints)),
        }
    }

    fn name(&self) -> &'a str {
        match self.node.name.as_str() {
            "" => self.node.output.first().map_or("", String::as_str),
            name => name,
        }
    }
}

/// A truth value known now.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Const(t) => t.item::<bool>(),
        _ => None,
    }
}

impl<'a> Walk<'a> {
    /// The results of an `If`, `Loop`, `Scan` or `SequenceMap`.
    pub(super) fn control(
        &mut self,
        node: &'a NodeProto,
        region: Region,
        opset: i64,
    ) -> Result<Made<Vec<Typed>>, OnnxError> {
        let inputs = match self.operands(node) {
            Ok(inputs) => inputs,
            Err(fault) => return Ok(Err(fault)),
        };
        let at = Control { node, region };
        let done = match node.op_type.as_str() {
            "If" => self.branch(at, inputs),
            "Loop" => self.repeat(at, inputs),
            "Scan" if opset < 9 => self.scan_batch(at, inputs),
            "Scan" => self.scan(at, inputs),
            _ => self.map(at, inputs),
        };
        match done {
            Ok(made) => Ok(Ok(made)),
            Err(Stop::Fault(fault)) => Ok(Err(fault)),
            Err(Stop::Fatal(error)) => Err(error),
        }
    }

    fn build(&mut self, at: Control<'a>) -> Build<'_> {
        let origin = origin(at.node, at.region, &self.place);
        Build { folds: self.held.folds(), graph: &mut self.out.graph, origin }
    }

    /// The outputs of a graph inside a node; its nodes get `place` before their names.
    fn body(
        &mut self,
        at: Control<'a>,
        graph: &'a GraphProto,
        inputs: Vec<Typed>,
        place: &str,
    ) -> Done {
        if graph.input.len() != inputs.len() {
            let (takes, given) = (graph.input.len(), inputs.len());
            return invalid(format!("its graph takes {takes} values, but is given {given}"));
        }
        self.unrolled += graph.node.len() + 1;
        if self.unrolled > MAX_UNROLLED {
            return invalid(format!("its graphs unfold to more than {MAX_UNROLLED} nodes"));
        }
        self.scopes.push(HashMap::new());
        let outside = std::mem::replace(&mut self.place, place.to_owned());
        let made = self.inside(at, graph, inputs);
        self.place = outside;
        self.scopes.pop();
        made
    }

    fn inside(&mut self, at: Control<'a>, graph: &'a GraphProto, inputs: Vec<Typed>) -> Done {
        for (input, value) in graph.input.iter().zip(inputs) {
            self.define(&input.name, Some(value))?;
        }
        let dir = self.model.dir();
        for t in &graph.initializer {
            let decoded = tensor::decode(t, dir).map_err(|reason| OnnxError::Tensor {
                file: self.model.file().to_owned(),
                tensor: t.name.clone(),
                reason,
            })?;
            let value = (Value::Const(decoded.tensor), site::elem(t.data_type));
            self.define(&t.name, Some(value))?;
        }
        let outputs: Vec<&'a str> = graph.output.iter().map(|o| o.name.as_str()).collect();
        let needed = ancestors(&graph.node, outputs.iter().copied());
        let taken = needed.iter().flat_map(|&i| reads(&graph.node[i]));
        let used: HashSet<&str> = taken.chain(outputs.iter().copied()).collect();
        for (i, node) in graph.node.iter().enumerate() {
            if needed.contains(&i) {
                let wanted = node.output.iter().map(|o| used.contains(o.as_str())).collect();
                self.node(node, at.region, wanted)?;
            }
        }
        let value = |name: &&str| match self.find_value(name) {
            Some(Some(value)) => Ok(value.clone()),
            Some(None) => Err(Stop::Fault(Fault::Reported)),
            None => invalid(format!("nothing in its graph computes `{name}`")),
        };
        outputs.iter().map(value).collect()
    }

    /// The branch that is taken; where that is not known yet, a choice between the results of both.
    fn branch(&mut self, at: Control<'a>, inputs: Vec<Option<Typed>>) -> Done {
        let Some(Some((condition, _))) = inputs.into_iter().next() else {
            return invalid("it has no condition");
        };
        let place = self.place.clone();
        if let Some(taken) = truth(&condition) {
            let graph = at.graph(if taken { "then_branch" } else { "else_branch" })?;
            return self.body(at, graph, Vec::new(), &place);
        }
        let (yes, no) = (at.graph("then_branch")?, at.graph("else_branch")?);
        let yes = self.body(at, yes, Vec::new(), &place)?;
        let no = self.body(at, no, Vec::new(), &place)?;
        let mut b = self.build(at);
        let condition = b.reshape(&condition, &[])?;
        let choose = |((a, elem), (c, _)): (Typed, Typed)| {
            if b.ty(&a) != b.ty(&c) {
                return Err(Fault::Advised {
                    reason: "the condition is computed at run time, and its branches give results \
                             of different shapes"
                        .to_owned(),
                    way_out: "give the branches one shape, or make the condition a constant"
                        .to_owned(),
                });
            }
            Ok((b.select(&condition, &a, &c)?, elem))
        };
        Ok(yes.into_iter().zip(no).map(choose).collect::<Made<Vec<_>>>()?)
    }

    /// A loop, unrolled. Its trip count must be known; where its condition is computed, iterations
    /// after it failed leave the state alone.
    fn repeat(&mut self, at: Control<'a>, inputs: Vec<Option<Typed>>) -> Done {
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
    fn scan_batch(&mut self, at: Control<'a>, inputs: Vec<Option<Typed>>) -> Done {
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
    fn scan(&mut self, at: Control<'a>, inputs: Vec<Option<Typed>>) -> Done {
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
    fn map(&mut self, at: Control<'a>, inputs: Vec<Option<Typed>>) -> Done {
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

impl Build<'_> {
    /// Element `at` of an axis, which is dropped.
    pub fn pick(&mut self, x: &Value, axis: usize, at: usize) -> Made {
        let part = self.slice(x, axis, at, 1)?;
        let mut shape = self.shape(&part);
        shape.remove(axis);
        self.reshape(&part, &shape)
    }

    /// Values of one shape along a new axis.
    pub fn stack(&mut self, values: &[Value], axis: i64) -> Made {
        let Some(first) = values.first() else {
            return Err(Fault::Invalid("nothing to stack".to_owned()));
        };
        let mut shape = self.shape(first);
        let axis =
            pamc_passes::ops::normalize_axis(axis, shape.len() + 1).map_err(Fault::Invalid)?;
        shape.insert(axis, 1);
        let parts = values.iter().map(|v| self.reshape(v, &shape)).collect::<Made<Vec<_>>>()?;
        self.concat(&parts.iter().collect::<Vec<_>>(), axis)
    }
}
