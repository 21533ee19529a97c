//! Folders written by ONNX Runtime training.

use std::collections::BTreeMap;

use pamc_passes::ir::{Dims, Tensor};
use pamc_passes::train::{Adam, AdamWForm, Optimizer};

use super::onnx_file::{batch_first, insert_key, measure, sizes};
use super::{Gradients, TrainingModel, Wanted, parameters};
use crate::error::Error;
use crate::onnx;

/// Trained parameters and running statistics of a training set.
pub(super) fn state(set: &onnx::OnnxTrainingSet) -> BTreeMap<String, Tensor> {
    let all = set.parameters().iter().chain(set.states());
    all.map(|p| (p.name.clone(), p.tensor.clone())).collect()
}

/// A training set with its loss and optimizer.
pub(super) fn training(
    set: &onnx::OnnxTrainingSet,
    dims: &Dims,
    wanted: &Wanted,
    seed: u64,
) -> Result<TrainingModel, Error> {
    if wanted.loss.is_some() {
        return Err(Error::usage(
            "the folder brings its own loss; to train with another, give its forward.onnx with --loss",
        ));
    }
    let graphs = set.graphs(&sizes(dims))?;
    let batch = dims.get("batch").copied().unwrap_or(1);
    let chosen = match wanted.gradients.unwrap_or_default() {
        Gradients::Derive => graphs.loss,
        Gradients::File => set.own_gradients(&graphs.dims)?,
    };
    let forward = graphs.forward.graph;
    let (output, target, objective) = measure(&forward, &chosen.graph)?;
    let mut initial = state(set);
    insert_key(&mut initial, &chosen.graph, seed);
    Ok(TrainingModel {
        graph: batch_first(&chosen.graph, batch)?,
        forward,
        initial,
        output,
        target,
        objective,
        optimizer: Some(optimizer(set.optimizer())),
        own_updates: false,
        frozen: wanted.select.frozen_of(&parameters(&chosen.graph))?,
        notes: chosen.converted.iter().map(ToString::to_string).collect(),
    })
}

fn optimizer(spec: &onnx::OptimizerSpec) -> (Optimizer, f64, Option<f64>) {
    let clip = spec.max_norm.map(f64::from);
    match spec.rule {
        onnx::UpdateRule::Sgd => (Optimizer::Sgd { momentum: 0.0, nesterov: false }, 0.0, clip),
        onnx::UpdateRule::AdamW {
            beta1,
            beta2,
            epsilon,
            weight_decay,
            correct_bias,
            decay_last,
        } => {
            let adam = Adam {
                beta1: f64::from(beta1),
                beta2: f64::from(beta2),
                eps: f64::from(epsilon),
                correct_bias,
            };
            let form = if decay_last { AdamWForm::HuggingFace } else { AdamWForm::Torch };
            (Optimizer::AdamW(adam, form), f64::from(weight_decay), clip)
        }
    }
}
