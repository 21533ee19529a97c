//! Holds a file against its expectations.

use pamc_passes::arith::{Arith, Recipe};
use pamc_passes::build::Cx;
use pamc_passes::grad::{GradSpec, differentiate};
use pamc_passes::interpret::Values;
use pamc_passes::ir::{
    Dims, Element, Graph, NodeId, Origin, Tensor, parse, parse_value, print_tensor,
};
use pamc_passes::pass;
use pamc_passes::program::Program;

use super::Failure;
use super::directive::{self, Directive, Gradient, INDENT, Kind};
use super::machine;

/// A file under test.
pub struct Check<'a> {
    text: &'a str,
    arith: Arith,
    dims: Dims,
    tolerance: Option<f32>,
    report: Report,
}

/// What came of a file.
#[derive(Default)]
pub struct Report {
    /// What was not as expected.
    pub failures: Vec<Failure>,
    /// How many expectations there were.
    pub expectations: usize,
    /// The file with its printed graphs replaced, if some were not as expected.
    pub blessed: Option<String>,
}

impl<'a> Check<'a> {
    /// A file with this text.
    pub fn new(text: &'a str) -> Self {
        let (dims, report) = (Dims::new(), Report::default());
        Check { text, arith: Arith::PAM, dims, tolerance: None, report }
    }

    /// Hold it against all its expectations.
    pub fn run(mut self) -> Report {
        match directive::read(self.text) {
            Ok(directives) => self.all(&directives),
            Err(failure) => self.report.failures.push(failure),
        }
        self.report
    }

    fn all(&mut self, directives: &[Directive]) {
        if !self.text.starts_with("; ") {
            let message = "the first line must say what the file is for".into();
            self.report.failures.push(Failure { line: 1, message });
        }
        let mut blessed: Vec<String> = self.text.lines().map(String::from).collect();
        let mut stale = false;
        // From the last, so that blessing does not move those to come; settings go first.
        directives.iter().for_each(|d| self.setting(d));
        for d in directives.iter().rev() {
            match self.expectation(d) {
                Ok(()) => {}
                Err(Mismatch::Said(message)) => {
                    self.report.failures.push(Failure { line: d.line, message });
                }
                Err(Mismatch::Printed(found)) => {
                    stale = true;
                    let lines =
                        found.lines().map(|l| format!("{INDENT}{l}").trim_end().to_string());
                    blessed.splice(d.line..d.line - 1 + d.lines, lines);
                    let message = format!(
                        "the graph is now (PAMC_BLESS=1 replaces the expected one):\n{found}"
                    );
                    self.report.failures.push(Failure { line: d.line, message });
                }
            }
        }
        if self.report.expectations == 0 && self.report.failures.is_empty() {
            let message = "the file expects nothing".into();
            self.report.failures.push(Failure { line: 1, message });
        }
        self.report.failures.sort_by_key(|f| f.line);
        self.report.blessed = stale.then(|| blessed.join("\n") + "\n");
    }

    fn setting(&mut self, d: &Directive) {
        match &d.kind {
            Kind::Arith(name) => match name.as_str() {
                "pam" => self.arith = Arith::PAM,
                "paper" => self.arith = Arith::Pam(Recipe::PAPER),
                "float" => self.arith = Arith::Float,
                other => {
                    let message = format!("'{other}' is not pam, paper or float");
                    self.report.failures.push(Failure { line: d.line, message });
                }
            },
            Kind::Dim(name, size) => {
                self.dims.insert(name.clone(), *size);
            }
            Kind::Tolerance(t) => self.tolerance = Some(*t),
            _ => {}
        }
    }

    fn expectation(&mut self, d: &Directive) -> Result<(), Mismatch> {
        match &d.kind {
            Kind::Arith(_) | Kind::Dim(..) | Kind::Tolerance(_) => return Ok(()),
            _ => self.report.expectations += 1,
        }
        match &d.kind {
            Kind::Run { graph, inputs, outputs } => Ok(self.check_run(graph, inputs, outputs)?),
            Kind::Grad(gradient, expected) => {
                let (graph, inputs) = self.gradient(gradient)?;
                Ok(self.equal_everywhere(&graph, &inputs, expected)?)
            }
            Kind::GradFails(gradient, message) => Ok(fails_with(self.gradient(gradient), message)?),
            Kind::Error(message) => Ok(fails_with(self.program(), message)?),
            Kind::Printed { pass, text } => {
                let found = self.after(pass)?.to_string();
                if found == *text { Ok(()) } else { Err(Mismatch::Printed(found)) }
            }
            Kind::Arith(_) | Kind::Dim(..) | Kind::Tolerance(_) => Ok(()),
        }
    }

    fn graph(&self) -> Result<Graph, String> {
        parse(self.text, &self.dims).map_err(|e| e.to_string())
    }

    fn lowered(&self) -> Result<Graph, String> {
        pass::lower(&self.graph()?, self.arith).map_err(|e| e.to_string())
    }

    fn program(&self) -> Result<Program, String> {
        let graph = pass::expand(&self.lowered()?).map_err(|e| e.to_string())?;
        Program::new(graph, self.arith).map_err(|e| e.to_string())
    }

    /// The graph after a pass.
    fn after(&self, pass: &str) -> Result<Graph, String> {
        match pass {
            "lower" => self.lowered(),
            "expand" => Ok(self.program()?.graph().clone()),
            _ => Ok(machine::simplified(&self.program()?, self.arith)?.graph().clone()),
        }
    }

    fn check_run(&self, name: &str, inputs: &[String], expected: &[String]) -> Result<(), String> {
        let graph = self.lowered()?;
        if graph.name != name {
            return Err(format!("the graph is called @{}, not @{name}", graph.name));
        }
        let inputs = feed(&graph, inputs)?;
        self.equal_everywhere(&graph, &inputs, expected)
    }

    /// The graph whose outputs are the gradients of the sum of all f32 outputs, and its inputs.
    fn gradient(&self, wanted: &Gradient) -> Result<(Graph, Values), String> {
        let mut graph = self.lowered()?;
        let inputs = feed(&graph, &wanted.at)?;
        let loss = total(&mut graph, self.arith)?;
        let node = |name: &String| match graph.find_input(name) {
            Some(input) => Ok(input.node),
            None => Err(format!("there is no input %{name}")),
        };
        let wrt = wanted.wrt.iter().map(node).collect::<Result<Vec<_>, _>>()?;
        let spec: GradSpec = wanted.spec.parse().map_err(said)?;
        let made = differentiate(&mut graph, self.arith, loss, &wrt, &spec).map_err(said)?;
        graph.clear_outputs();
        for (name, value) in wanted.wrt.iter().zip(made.values) {
            graph.output(format!("d{name}"), value).map_err(said)?;
        }
        Ok((graph, inputs))
    }

    /// Run a lowered graph on every machine and compare its outputs.
    fn equal_everywhere(
        &self,
        lowered: &Graph,
        inputs: &Values,
        expected: &[String],
    ) -> Result<(), String> {
        let graph = pass::expand(lowered).map_err(said)?;
        let outputs = graph.outputs().to_vec();
        if outputs.len() != expected.len() {
            return Err(format!("{} values for {} outputs", expected.len(), outputs.len()));
        }
        let parsed = outputs.iter().zip(expected).map(|((name, node), text)| {
            parse_value(graph.ty(*node), text).map_err(|e| format!("output {name}: {e}"))
        });
        let expected = parsed.collect::<Result<Vec<_>, _>>()?;
        let program = Program::new(graph, self.arith).map_err(said)?;
        for (machine, got) in machine::everywhere(&program, self.arith, inputs) {
            let on = |e: String| format!("on {machine}: {e}");
            let got = got.map_err(on)?;
            for ((name, _), wanted) in outputs.iter().zip(&expected) {
                let value = got.get(name).ok_or_else(|| on(format!("no output {name}")))?;
                self.equal(value, wanted).map_err(|e| on(format!("output {name}: {e}")))?;
            }
        }
        Ok(())
    }

    fn equal(&self, got: &Tensor, wanted: &Tensor) -> Result<(), String> {
        let at = match (self.tolerance, f32::of(got), f32::of(wanted)) {
            (Some(t), Some(a), Some(b)) => {
                let close = |x: f32, y: f32| {
                    x == y || x.is_nan() && y.is_nan() || (x - y).abs() <= t * y.abs().max(1.0)
                };
                a.iter().zip(b.iter()).position(|(x, y)| !close(*x, *y))
            }
            _ => got.first_difference(wanted),
        };
        match at {
            None => Ok(()),
            Some(i) => Err(format!(
                "element {i} differs: got {}, expected {}",
                print_tensor(got),
                print_tensor(wanted)
            )),
        }
    }
}

/// How an expectation failed.
enum Mismatch {
    /// For a reason.
    Said(String),
    /// Another graph was printed than this one.
    Printed(String),
}

impl From<String> for Mismatch {
    fn from(message: String) -> Self {
        Mismatch::Said(message)
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn fails_with<T>(result: Result<T, String>, wanted: &str) -> Result<(), String> {
    match result {
        Ok(_) => Err(format!("no error, but expected: {wanted}")),
        Err(e) if e.contains(wanted) => Ok(()),
        Err(e) => Err(format!("another error: {e}\nexpected: {wanted}")),
    }
}

/// The inputs of a graph from the texts of their values, in order.
fn feed(graph: &Graph, texts: &[String]) -> Result<Values, String> {
    let inputs = graph.inputs();
    if inputs.len() != texts.len() {
        return Err(format!("{} values for {} inputs", texts.len(), inputs.len()));
    }
    let pairs = inputs.iter().zip(texts);
    pairs
        .map(|(input, text)| {
            let value = parse_value(graph.ty(input.node), text);
            Ok((input.name.clone(), value.map_err(|e| format!("input {}: {e}", input.name))?))
        })
        .collect()
}

/// Append the sum of all elements of all f32 outputs.
fn total(graph: &mut Graph, arith: Arith) -> Result<NodeId, String> {
    let mut outputs: Vec<NodeId> = graph.outputs().iter().map(|(_, v)| *v).collect();
    outputs.retain(|y| graph.ty(*y).dtype == f32::DTYPE);
    let mut cx = Cx::new(graph, Origin::new("the sum of the outputs"), arith);
    let mut sum = None;
    for y in outputs {
        let axes: Vec<usize> = (0..cx.shape(y).len()).collect();
        let part = cx.sum(y, &axes, false);
        sum = Some(match sum {
            Some(before) => cx.add(before, part),
            None => part,
        });
    }
    let sum = sum.ok_or("no output is f32")?;
    cx.finish(sum).map_err(said)
}
