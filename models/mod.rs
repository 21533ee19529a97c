//! Models that come with pamc, written in its [DSL](crate::dsl) and named `@mlp`, `@gpt:small`,
//! `@vit:layers=6,d=128` on the command line.

mod cnn;
mod gpt;
mod mixer;
mod mlp;
mod options;
mod translation;
mod vit;

use crate::dsl::{Mode, Model, Net};

pub use options::{Domain, ModelError, OptionSpec, Options, Size, Value};

/// A model that can be built in many sizes.
#[derive(Debug)]
pub struct ModelSpec {
    /// Name, without the `@`.
    pub name: &'static str,
    /// What it is, with its source.
    pub doc: &'static str,
    /// Its options; their defaults are the default size.
    pub options: &'static [OptionSpec],
    /// Named sizes beside the default.
    pub sizes: &'static [Size],
    /// Samples in a batch unless another number is asked for.
    pub batch: usize,
    /// Writes the model for a number of samples: inputs, "logits", loss.
    make: fn(&Net, &Options, usize),
}

/// All models.
pub static MODELS: &[ModelSpec] =
    &[mlp::SPEC, cnn::SPEC, vit::SPEC, mixer::SPEC, gpt::SPEC, translation::SPEC];

/// The model of that name, without the `@`.
pub fn lookup(name: &str) -> Option<&'static ModelSpec> {
    MODELS.iter().find(|m| m.name == name)
}

/// Build a model from its name and options, such as `gpt:small,layers=3`; a leading `@` is allowed.
/// Without a batch size it is the model's own.
///
/// # Errors
/// If there is no such model or option, or the options do not fit together.
///
/// ```
/// use pamc::{dsl::Mode, models};
///
/// let model = models::build("@gpt:small,layers=3", Some(8), Mode::Train)?;
/// assert!(model.graph.find_output("logits").is_some());
/// let error = models::build("@gpt:width=3", None, Mode::Train).unwrap_err();
/// assert!(error.to_string().contains("d=192"), "{error}");
/// # Ok::<(), models::ModelError>(())
/// ```
pub fn build(text: &str, batch: Option<usize>, mode: Mode) -> Result<Model, ModelError> {
    let text = text.strip_prefix('@').unwrap_or(text);
    let (name, options) = text.split_once(':').unwrap_or((text, ""));
    let spec = lookup(name).ok_or_else(|| {
        let known: Vec<_> = MODELS.iter().map(|m| format!("@{}", m.name)).collect();
        ModelError::Unknown { name: name.into(), known: known.join(", ") }
    })?;
    spec.build(options, batch.unwrap_or(spec.batch), mode)
}

impl ModelSpec {
    /// Build with options such as `small,layers=3` for a number of samples.
    ///
    /// # Errors
    /// If there is no such option, or the options do not fit together.
    pub fn build(
        &'static self,
        options: &str,
        batch: usize,
        mode: Mode,
    ) -> Result<Model, ModelError> {
        let options = Options::parse(self, options)?;
        if batch == 0 {
            return Err(ModelError::EmptyBatch);
        }
        let net = Net::new(self.name, mode);
        (self.make)(&net, &options, batch);
        Ok(net.finish()?)
    }
}

#[cfg(test)]
mod tests;
