//! THE pipeline: a model in, programs ready for code generation out.

use std::collections::BTreeMap;

use pamc_lowering::codegen::Target;
use pamc_lowering::emit::{EmitOptions, Emitted, TrainPrograms, module_for_train};
use pamc_passes::arith::Arith;
use pamc_passes::egraph::Report;
use pamc_passes::grad;
use pamc_passes::ir::{Graph, Tensor};
use pamc_passes::manager::{Carries, Manager, Pass, PassFailure, Timing};
use pamc_passes::pass;
use pamc_passes::program::Program;
use pamc_passes::train::{self, TrainSpec};

use crate::error::Error;

/// How to compile.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The arithmetic of the program.
    pub arith: Arith,
    /// Turn the graph, whose output `loss` is to fall, into a training step.
    pub train: Option<TrainSpec>,
    /// Dumps and bisection.
    pub manager: Manager,
}

/// What the pipeline made.
#[derive(Clone, Debug)]
pub struct Compiled<P> {
    /// The programs.
    pub program: P,
    /// Time of each pass.
    pub timings: Vec<Timing>,
    /// What the rewriting passes did.
    pub reports: Vec<(&'static str, Report)>,
}

/// A training step, ready for code generation.
#[derive(Clone, Debug)]
pub struct TrainProgram {
    /// The step, or with accumulation the update after the micro-steps.
    pub step: Program,
    /// The micro-step that accumulates gradients.
    pub micro: Option<Program>,
    /// Micro-steps a step.
    pub accumulate: usize,
    /// First values of the state that training adds to the model's own.
    pub initial: BTreeMap<String, Tensor>,
    /// Names of the metrics, in the order of the program's outputs.
    pub metrics: Vec<String>,
}

impl TrainProgram {
    /// What is run in a step, and how often.
    pub fn programs(&self) -> TrainPrograms<'_> {
        TrainPrograms { step: &self.step, micro: self.micro.as_ref(), accumulate: self.accumulate }
    }

    /// The MLIR module of the loop over batches, `pamc_train`.
    ///
    /// # Errors
    /// If the programs are no training step.
    pub fn module(&self, target: &Target) -> Result<Emitted, Error> {
        let options = EmitOptions { function: "pamc_train".into(), ..EmitOptions::default() };
        Ok(module_for_train(self.programs(), target, &options)?)
    }
}

struct Unit<'a> {
    settings: &'a Settings,
    step: Graph,
    micro: Option<Graph>,
    initial: BTreeMap<String, Tensor>,
    metrics: Vec<String>,
    reports: Vec<(&'static str, Report)>,
}

impl Carries for Unit<'_> {
    fn graphs(&self) -> Vec<(&'static str, &Graph)> {
        let micro = self.micro.iter().map(|g| ("micro", g));
        std::iter::once(("step", &self.step)).chain(micro).collect()
    }
}

impl Unit<'_> {
    fn each(
        &mut self,
        mut f: impl FnMut(&Graph) -> Result<Graph, PassFailure>,
    ) -> Result<(), PassFailure> {
        self.step = f(&self.step)?;
        if let Some(micro) = &self.micro {
            self.micro = Some(f(micro)?);
        }
        Ok(())
    }

    fn each_reported(
        &mut self,
        name: &'static str,
        f: impl Fn(&Graph) -> Result<(Graph, Report), PassFailure>,
    ) -> Result<(), PassFailure> {
        let mut reports = Vec::new();
        self.each(|graph| {
            let (graph, report) = f(graph)?;
            reports.push((name, report));
            Ok(graph)
        })?;
        self.reports.extend(reports);
        Ok(())
    }
}

/// The passes, in order.
fn passes<'a>() -> [Pass<Unit<'a>>; 7] {
    [
        Pass {
            name: "real-identities",
            why: "identities of the real numbers hold only before the arithmetic is chosen",
            optional: true,
            run: |u| u.each_reported("real-identities", |g| Ok(pass::real_identities(g)?)),
        },
        Pass {
            name: "lower",
            why: "directed: from here on every node means one bit pattern",
            optional: false,
            run: |u| {
                let arith = u.settings.arith;
                u.each(|g| Ok(pass::lower(g, arith)?))
            },
        },
        Pass {
            name: "gradients",
            why: "derivatives that the graph itself asks for, likewise of what runs",
            optional: false,
            run: |u| {
                let arith = u.settings.arith;
                let spec = u.settings.train.as_ref().map(|t| t.grad.clone()).unwrap_or_default();
                u.each(|g| Ok(grad::resolve(g, arith, &spec)?))
            },
        },
        Pass {
            name: "train",
            why: "after lowering, so that an exact derivative is that of what runs",
            optional: false,
            run: build_training,
        },
        Pass {
            name: "expand",
            why: "after differentiation, which knows composites by their own derivative",
            optional: false,
            run: |u| u.each(|g| Ok(pass::expand(g)?)),
        },
        Pass {
            name: "simplify",
            why: "on primitives only: bit-exact identities, constants, common terms",
            optional: true,
            run: |u| u.each_reported("simplify", |g| Ok(pass::simplify(g)?)),
        },
        Pass {
            name: "recompute",
            why: "after simplify, which would unite what is computed twice with what it repeats",
            optional: true,
            run: |u| match &u.settings.train {
                Some(spec) if spec.recompute => u.each(|g| Ok(pass::recompute(g)?)),
                _ => Ok(()),
            },
        },
    ]
}

fn build_training(u: &mut Unit<'_>) -> Result<(), PassFailure> {
    let Some(spec) = &u.settings.train else { return Ok(()) };
    let made = train::build_step(&u.step, "loss", &[], spec, u.settings.arith)?;
    u.step = made.step;
    u.micro = made.micro;
    u.initial = made.initial.into_iter().collect();
    u.metrics = made.metrics;
    Ok(())
}

fn run_passes<'a>(graph: Graph, settings: &'a Settings) -> Result<(Unit<'a>, Vec<Timing>), Error> {
    let mut unit = Unit {
        settings,
        step: graph,
        micro: None,
        initial: BTreeMap::new(),
        metrics: Vec::new(),
        reports: Vec::new(),
    };
    let timings = settings.manager.run(&passes(), &mut unit)?;
    Ok((unit, timings))
}

/// Compile a graph for inference.
///
/// # Errors
/// Whatever a pass says, with the nodes it says it of.
pub fn compile(graph: Graph, settings: &Settings) -> Result<Compiled<Program>, Error> {
    let settings = Settings { train: None, ..settings.clone() };
    let (unit, timings) = run_passes(graph, &settings)?;
    let program = Program::new(unit.step, settings.arith)?;
    Ok(Compiled { program, timings, reports: unit.reports })
}

/// Compile a graph with an output `loss` into a training step.
///
/// # Errors
/// Whatever a pass says, with the nodes it says it of.
pub fn compile_training(
    graph: Graph,
    settings: &Settings,
) -> Result<Compiled<TrainProgram>, Error> {
    let (unit, timings) = run_passes(graph, settings)?;
    let accumulate = settings.train.as_ref().map_or(1, |t| t.accumulate);
    let program = TrainProgram {
        step: Program::new(unit.step, settings.arith)?,
        micro: unit.micro.map(|g| Program::new(g, settings.arith)).transpose()?,
        accumulate,
        initial: unit.initial,
        metrics: unit.metrics,
    };
    Ok(Compiled { program, timings, reports: unit.reports })
}
