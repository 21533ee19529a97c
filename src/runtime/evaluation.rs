//! Evaluating a model on a data set, with the host's true metrics.

use std::collections::BTreeMap;

use pamc_passes::interpret::Values;
use pamc_passes::ir::{InputKind, Tensor};

use super::data::Dataset;
use super::device::{Forward, rows};
use super::metrics::{Objective, Scores, Totals};
use crate::error::Error;

/// An inference program with the data it is evaluated on.
pub struct Evaluation {
    forward: Box<dyn Forward>,
    arrays: BTreeMap<String, Tensor>,
    targets: Tensor,
    samples: usize,
    batch: usize,
    output: String,
    objective: Objective,
}

impl Evaluation {
    /// Prepare to compare output `output` with array `target` of a data set.
    ///
    /// # Errors
    /// If the data set lacks an array or its type does not fit.
    pub fn new(
        forward: Box<dyn Forward>,
        data: &Dataset,
        batch: usize,
        output: &str,
        target: &str,
        objective: Objective,
    ) -> Result<Self, Error> {
        let graph = forward.graph();
        let mut arrays = BTreeMap::new();
        for input in graph.inputs().iter().filter(|i| i.kind == InputKind::Data) {
            let ty = graph.ty(input.node);
            arrays.insert(input.name.clone(), data.array(&input.name, ty)?);
        }
        let value = graph.find_output(output).ok_or_else(|| {
            Error::usage(format!("the model has no output '{output}' to evaluate"))
        })?;
        let mut wanted = graph.ty(value).clone();
        if let Objective::Classes { axis, .. } = objective {
            wanted.shape.remove(axis);
            wanted.dtype = pamc_passes::ir::DType::I64;
        }
        // A model may give the positions of all samples in a row.
        if wanted.shape.first() != Some(&batch) && wanted.len().is_multiple_of(batch) {
            wanted.shape = vec![batch, wanted.len() / batch];
        }
        let targets = data.array(target, &wanted)?;
        Ok(Evaluation {
            forward,
            arrays,
            targets,
            samples: data.samples(),
            batch,
            output: output.to_string(),
            objective,
        })
    }

    /// Metrics over all samples; the last batch is filled up with samples that do not count.
    ///
    /// # Errors
    /// If the machine fails.
    pub fn run(&mut self, state: &BTreeMap<String, Tensor>) -> Result<Scores, Error> {
        let mut totals = Totals::default();
        for start in (0..self.samples).step_by(self.batch) {
            let count = self.batch.min(self.samples - start);
            let at: Vec<i64> =
                (start..start + self.batch).map(|i| (i % self.samples) as i64).collect();
            let inputs: Values =
                self.arrays.iter().map(|(n, a)| (n.clone(), rows(a, &at))).collect();
            let outputs = self.forward.run(&inputs, state)?;
            let targets = rows(&self.targets, &at);
            let added = outputs
                .get(&self.output)
                .and_then(|y| totals.add(self.objective, y, &targets, count));
            if added.is_none() {
                return Err(Error::usage(format!(
                    "the output '{}' and the targets do not fit, or a label is no class",
                    self.output
                )));
            }
        }
        Ok(totals.scores(self.objective))
    }
}
