//! Text from a language model, symbol by symbol. The model is compiled code; choosing a symbol from its
//! logits is the host's work, in float64, and no part of the program.

use std::collections::BTreeMap;

use pamc_lowering::exec::{Executable, Session, State};
use pamc_passes::interpret::Values;
use pamc_passes::ir::Tensor;
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand_chacha::ChaCha8Rng;

use super::data::{decode, encode};
use crate::error::Error;

/// How symbols are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Logits are divided by this: towards 0 the likeliest symbol always wins.
    pub temperature: f64,
    /// Seed of the choice.
    pub seed: u64,
}

/// A compiled language model for one sample (`ids` i64 `[1, context]` to `logits` f32
/// `[1, context, symbols]`, causal) with its parameters.
pub struct Writer<'e> {
    session: Session<'e>,
    context: usize,
}

impl<'e> Writer<'e> {
    /// Give a model the parameters and states of its names.
    ///
    /// # Errors
    /// If it is no such model, or a value does not fit.
    pub fn new(model: &'e Executable, values: &BTreeMap<String, Tensor>) -> Result<Self, Error> {
        let ids = model.layout().inputs.iter().find(|i| i.name == "ids");
        let Some(&[1, context]) = ids.map(|i| i.shape.as_slice()) else {
            return Err(Error::usage(
                "text comes only from a model with an input ids [1, context]",
            ));
        };
        let mut state = State::new(model.layout());
        for slot in &model.layout().state {
            let value = values
                .get(&slot.name)
                .ok_or_else(|| Error::usage(format!("there are no values for '{}'", slot.name)))?;
            state.set(&slot.name, value)?;
        }
        Ok(Writer { session: Session::new(model, state), context })
    }

    /// Continue a text by `length` characters; an empty one as after a line break.
    ///
    /// # Errors
    /// If the model has no output `logits` of its shape, or they are no numbers.
    pub fn write(
        &mut self,
        prompt: &str,
        length: usize,
        sampling: Sampling,
    ) -> Result<String, Error> {
        let mut rng = ChaCha8Rng::seed_from_u64(sampling.seed);
        let mut ids: Vec<i64> = prompt.chars().map(encode).collect();
        if ids.is_empty() {
            ids.push(encode('\n'));
        }
        let start = ids.len();
        for _ in 0..length {
            let logits = self.next(&ids)?;
            let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights = logits.iter().map(|x| ((x - top) / sampling.temperature).exp());
            let choice = WeightedIndex::new(weights)
                .map_err(|e| Error::usage(format!("the model's logits give no choice: {e}")))?;
            ids.push(choice.sample(&mut rng) as i64);
        }
        Ok(ids[start..].iter().copied().map(decode).collect())
    }

    /// Logits of the symbol after `ids`, from as many of the last ones as the model reads.
    fn next(&mut self, ids: &[i64]) -> Result<Vec<f64>, Error> {
        let seen = &ids[ids.len().saturating_sub(self.context)..];
        // The model is causal: what stands after the last symbol does not matter.
        let mut window = seen.to_vec();
        window.resize(self.context, 0);
        let input = Tensor::from_vec(&[1, self.context], window).map(|t| ("ids".to_string(), t));
        let outputs = self.session.run(&input.into_iter().collect::<Values>())?;
        let logits = outputs.get("logits").and_then(Tensor::to_vec::<f32>).unwrap_or_default();
        let symbols = logits.len() / self.context;
        let row = logits.chunks_exact(symbols.max(1)).nth(seen.len() - 1);
        let row = row.ok_or_else(|| Error::usage("the model has no output 'logits'"))?;
        Ok(row.iter().copied().map(f64::from).collect())
    }
}
