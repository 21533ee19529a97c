//! What a training step is made of, as the command line says it.

use std::fmt::Display;
use std::str::FromStr;

use thiserror::Error;

use super::schedule::Schedule;
use crate::grad::GradSpec;

/// Text that does not describe a piece of a [`TrainSpec`].
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum OptionError {
    /// No such kind.
    #[error("there is no {what} '{name}' (there are: {known})")]
    Kind {
        /// Optimizer, schedule …
        what: &'static str,
        /// As given.
        name: String,
        /// What there is.
        known: &'static str,
    },
    /// No such option of the kind.
    #[error("{name} has no option '{option}' (it has: {})", .known.join(", "))]
    Option {
        /// The kind.
        name: String,
        /// As given.
        option: String,
        /// What it has.
        known: Vec<&'static str>,
    },
    /// A value that cannot be read.
    #[error("'{value}' is no value for {option}")]
    Value {
        /// The option.
        option: String,
        /// As given.
        value: String,
    },
}

/// Options written as `name:key=value,key=value`; a key alone means `true`.
pub(super) struct Options<'a> {
    pub name: &'a str,
    given: Vec<(&'a str, &'a str)>,
    known: Vec<&'static str>,
}

impl<'a> Options<'a> {
    pub fn new(text: &'a str) -> Self {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        let parts = rest.split(',').map(str::trim).filter(|p| !p.is_empty());
        let given = parts.map(|p| p.split_once('=').unwrap_or((p, "true"))).collect();
        Options { name: name.trim(), given, known: Vec::new() }
    }

    /// Set a value if its option is given; the last one counts.
    pub fn read<T: FromStr>(
        &mut self,
        option: &'static str,
        value: &mut T,
    ) -> Result<(), OptionError> {
        self.known.push(option);
        for (_, text) in self.given.iter().filter(|(k, _)| *k == option) {
            *value = text.trim().parse().map_err(|_| OptionError::Value {
                option: option.into(),
                value: text.to_string(),
            })?;
        }
        Ok(())
    }

    /// Complain about options that nobody has read.
    pub fn finish(self) -> Result<(), OptionError> {
        match self.given.iter().find(|(k, _)| !self.known.contains(k)) {
            None => Ok(()),
            Some((option, _)) => Err(OptionError::Option {
                name: self.name.into(),
                option: option.to_string(),
                known: self.known,
            }),
        }
    }
}

/// Where AdamW decays the weights and puts ε (the `adam_mode` of ONNX Runtime's AdamWOptimizer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdamWForm {
    /// As PyTorch (mode 0): p − lr·(m̂ / (√v̂ + ε)) − (lr·λ)·p.
    #[default]
    Torch,
    /// As Hugging Face (mode 1): q = p − (lr·√c₂/c₁)·(m / (√v + ε)), then q − (lr·λ)·q.
    HuggingFace,
}

/// Settings of Adam and AdamW (Kingma & Ba 2015; Loshchilov & Hutter 2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Decay of the average gradient.
    pub beta1: f64,
    /// Decay of the average squared gradient.
    pub beta2: f64,
    /// Added to the root of the second.
    pub eps: f64,
    /// Divide the averages by what they miss after their start from 0.
    pub correct_bias: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Adam { beta1: 0.9, beta2: 0.999, eps: 1e-8, correct_bias: true }
    }
}

/// How parameters follow their gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent; weight decay joins the gradient.
    Sgd {
        /// Decay of the velocity; 0 for none.
        momentum: f64,
        /// Step along the gradient plus the next velocity.
        nesterov: bool,
    },
    /// Weight decay joins the gradient.
    Adam(Adam),
    /// Weight decay acts on the parameter.
    AdamW(Adam, AdamWForm),
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer::AdamW(Adam::default(), AdamWForm::Torch)
    }
}

impl Optimizer {
    /// Name, as it is parsed.
    pub fn name(&self) -> &'static str {
        match self {
            Optimizer::Sgd { .. } => "sgd",
            Optimizer::Adam(_) => "adam",
            Optimizer::AdamW(..) => "adamw",
        }
    }
}

impl FromStr for Optimizer {
    type Err = OptionError;

    /// `sgd:momentum=0.9,nesterov`, `adam:beta1=0.9,beta2=0.98,eps=1e-9`,
    /// `adamw:mode=1,correct_bias=false`; every option may be left out.
    fn from_str(s: &str) -> Result<Self, OptionError> {
        let mut options = Options::new(s);
        let optimizer = match options.name {
            "sgd" => {
                let (mut momentum, mut nesterov) = (0.0, false);
                options.read("momentum", &mut momentum)?;
                options.read("nesterov", &mut nesterov)?;
                Optimizer::Sgd { momentum, nesterov }
            }
            name @ ("adam" | "adamw") => {
                let (mut adam, mut mode) = (Adam::default(), Mode(AdamWForm::Torch));
                options.read("beta1", &mut adam.beta1)?;
                options.read("beta2", &mut adam.beta2)?;
                options.read("eps", &mut adam.eps)?;
                options.read("correct_bias", &mut adam.correct_bias)?;
                if name == "adam" {
                    Optimizer::Adam(adam)
                } else {
                    options.read("mode", &mut mode)?;
                    Optimizer::AdamW(adam, mode.0)
                }
            }
            name => {
                let known = "sgd, adam, adamw";
                return Err(OptionError::Kind { what: "optimizer", name: name.into(), known });
            }
        };
        options.finish()?;
        Ok(optimizer)
    }
}

struct Mode(AdamWForm);

impl FromStr for Mode {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        match s {
            "0" => Ok(Mode(AdamWForm::Torch)),
            "1" => Ok(Mode(AdamWForm::HuggingFace)),
            _ => Err(()),
        }
    }
}

/// Which parameters weight decay acts on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decayed {
    /// All of them.
    #[default]
    All,
    /// Those of two or more dimensions: no biases, no gains of norms.
    Matrices,
}

impl FromStr for Decayed {
    type Err = OptionError;

    fn from_str(s: &str) -> Result<Self, OptionError> {
        match s {
            "all" => Ok(Decayed::All),
            "matrices" => Ok(Decayed::Matrices),
            name => {
                let known = "all, matrices";
                Err(OptionError::Kind { what: "decay filter", name: name.into(), known })
            }
        }
    }
}

/// What a step reports beside its loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `grad_norm`: the root of the sum of all squared gradients, before clipping, in the program's
    /// arithmetic.
    GradNorm,
    /// `lr`: the learning rate that was used.
    LearningRate,
}

impl FromStr for Metric {
    type Err = OptionError;

    fn from_str(s: &str) -> Result<Self, OptionError> {
        match s {
            "grad_norm" => Ok(Metric::GradNorm),
            "lr" => Ok(Metric::LearningRate),
            name => {
                let known = "grad_norm, lr";
                Err(OptionError::Kind { what: "metric", name: name.into(), known })
            }
        }
    }
}

/// A training step.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainSpec {
    /// The update rule.
    pub optimizer: Optimizer,
    /// Peak learning rate.
    pub lr: f64,
    /// How the rate moves from step to step.
    pub schedule: Schedule,
    /// λ, as part of the gradient or of the update as the optimizer has it.
    pub weight_decay: f64,
    /// Where λ acts.
    pub decayed: Decayed,
    /// Parameters that stay as they are.
    pub frozen: Vec<String>,
    /// Largest norm of all gradients together; longer ones are shortened to it.
    pub clip_norm: Option<f64>,
    /// Micro-batches whose gradients are averaged for one update.
    pub accumulate: usize,
    /// Compute values of the forward part again in the backward part where that saves memory.
    pub recompute: bool,
    /// Exact or approximate derivatives.
    pub grad: GradSpec,
    /// Reported beside the loss; the norm also whenever it is clipped.
    pub metrics: Vec<Metric>,
}

impl Default for TrainSpec {
    fn default() -> Self {
        TrainSpec {
            optimizer: Optimizer::default(),
            lr: 1e-3,
            schedule: Schedule::default(),
            weight_decay: 0.0,
            decayed: Decayed::All,
            frozen: Vec::new(),
            clip_norm: None,
            accumulate: 1,
            recompute: false,
            grad: GradSpec::default(),
            metrics: vec![Metric::LearningRate],
        }
    }
}

impl TrainSpec {
    /// Everything about the numbers that makes no sense.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut need = |ok: bool, name: &str, value: &dyn Display, wanted: &str| {
            if !ok {
                out.push(format!("{name} is {value}, but must be {wanted}"));
            }
        };
        let finite = |x: f64| x.is_finite() && x >= 0.0;
        let share = |x: f64| (0.0..1.0).contains(&x);
        need(finite(self.lr), "the learning rate", &self.lr, "finite and not negative");
        let decay = self.weight_decay;
        need(finite(decay), "weight decay", &decay, "finite and not negative");
        if let Some(c) = self.clip_norm {
            need(finite(c) && c > 0.0, "the norm to clip to", &c, "positive");
        }
        need(self.accumulate > 0, "the number of micro-batches", &self.accumulate, "at least 1");
        match self.optimizer {
            Optimizer::Sgd { momentum, nesterov } => {
                need(share(momentum), "momentum", &momentum, "in [0, 1)");
                let ok = !nesterov || momentum > 0.0;
                need(ok, "momentum", &momentum, "positive for Nesterov's step");
            }
            Optimizer::Adam(a) | Optimizer::AdamW(a, _) => {
                need(share(a.beta1), "beta1", &a.beta1, "in [0, 1)");
                need(share(a.beta2), "beta2", &a.beta2, "in [0, 1)");
                let tiny = f64::from(f32::MIN_POSITIVE);
                need(a.eps >= tiny && a.eps.is_finite(), "eps", &a.eps, "a positive normal f32");
            }
        }
        out.extend(self.schedule.problem());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optimizers_from_text() {
        let adam = |s: &str| s.parse::<Optimizer>().unwrap();
        let defaults = Adam::default();
        assert_eq!(adam("adam"), Optimizer::Adam(defaults));
        let custom = Adam { beta2: 0.98, eps: 1e-9, ..defaults };
        assert_eq!(adam("adam:beta2=0.98,eps=1e-9"), Optimizer::Adam(custom));
        let uncorrected = Adam { correct_bias: false, ..defaults };
        let form = AdamWForm::HuggingFace;
        assert_eq!(adam("adamw:mode=1,correct_bias=false"), Optimizer::AdamW(uncorrected, form));
        let sgd = Optimizer::Sgd { momentum: 0.9, nesterov: true };
        assert_eq!(adam("sgd: momentum=0.9, nesterov"), sgd);
        let error = |s: &str| s.parse::<Optimizer>().unwrap_err().to_string();
        assert_eq!(error("lion"), "there is no optimizer 'lion' (there are: sgd, adam, adamw)");
        assert_eq!(error("sgd:beta1=1"), "sgd has no option 'beta1' (it has: momentum, nesterov)");
        assert_eq!(error("adamw:mode=2"), "'2' is no value for mode");
    }

    #[test]
    fn senseless_numbers_are_listed_together() {
        let spec = TrainSpec {
            optimizer: Optimizer::Sgd { momentum: 1.0, nesterov: false },
            lr: f64::NAN,
            accumulate: 0,
            clip_norm: Some(0.0),
            schedule: "cosine:warmup=10,total=5".parse().unwrap(),
            ..TrainSpec::default()
        };
        assert_eq!(spec.problems().len(), 5, "{:?}", spec.problems());
        assert!(TrainSpec::default().problems().is_empty());
    }
}
