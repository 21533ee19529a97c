//! Options of models, as the command line gives them: `small,layers=3,dropout=0.1`.

use thiserror::Error;

use super::ModelSpec;
use crate::dsl::DslError;

/// Value of an option.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A count or an extent.
    Count(usize),
    /// A probability or a rate.
    Real(f32),
    /// One of a set of names.
    Name(&'static str),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Count(n) => write!(f, "{n}"),
            Value::Real(x) => write!(f, "{x}"),
            Value::Name(n) => f.write_str(n),
        }
    }
}

/// What an option admits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// Whole numbers from 1 to this.
    UpTo(usize),
    /// Real numbers from 0 to below 1.
    Fraction,
    /// These names.
    OneOf(&'static [&'static str]),
}

/// One option of a model.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Name.
    pub name: &'static str,
    /// What it sets.
    pub doc: &'static str,
    /// What it admits.
    pub domain: Domain,
    /// Its value in the default size.
    pub default: Value,
}

/// An option that counts something.
pub const fn count(
    name: &'static str,
    default: usize,
    max: usize,
    doc: &'static str,
) -> OptionSpec {
    OptionSpec { name, doc, domain: Domain::UpTo(max), default: Value::Count(default) }
}

/// An option that is a fraction.
pub const fn fraction(name: &'static str, default: f32, doc: &'static str) -> OptionSpec {
    OptionSpec { name, doc, domain: Domain::Fraction, default: Value::Real(default) }
}

/// An option that is a choice.
pub const fn choice(
    name: &'static str,
    default: &'static str,
    of: &'static [&'static str],
    doc: &'static str,
) -> OptionSpec {
    OptionSpec { name, doc, domain: Domain::OneOf(of), default: Value::Name(default) }
}

/// A named set of option values.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Name.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// The options that differ from their defaults.
    pub set: &'static [(&'static str, Value)],
}

/// Why a model could not be chosen or built.
#[derive(Debug, Error)]
pub enum ModelError {
    /// No such model.
    #[error("there is no model '@{name}' (there are: {known})")]
    Unknown {
        /// The name given.
        name: String,
        /// All names.
        known: String,
    },
    /// No such size or option.
    #[error("model '@{model}' has no {what} '{name}' (sizes: {sizes}; options: {options})")]
    NoSuch {
        /// The model.
        model: &'static str,
        /// `size` or `option`.
        what: &'static str,
        /// The name given.
        name: String,
        /// All sizes.
        sizes: String,
        /// All options with their defaults.
        options: String,
    },
    /// A value that the option does not admit.
    #[error("option '{option}' of model '@{model}' cannot be '{value}': it takes {admits}")]
    Value {
        /// The model.
        model: &'static str,
        /// The option.
        option: &'static str,
        /// The value given.
        value: String,
        /// What it admits.
        admits: String,
    },
    /// The same option or a second size.
    #[error("model '@{model}' was given '{name}' after '{earlier}'; give one")]
    Twice {
        /// The model.
        model: &'static str,
        /// The later one.
        name: String,
        /// The earlier one.
        earlier: String,
    },
    /// A batch without samples.
    #[error("a batch must have at least one sample")]
    EmptyBatch,
    /// The options do not fit together.
    #[error(transparent)]
    Build(#[from] DslError),
}

/// Values of all options of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Options(Vec<(&'static str, Value)>);

impl Options {
    /// Parse a comma-separated list of at most one size and any options; the options count on top
    /// of the size, wherever it stands.
    ///
    /// # Errors
    /// Names what is unknown, not admitted or given twice, and lists what there is.
    pub fn parse(spec: &'static ModelSpec, text: &str) -> Result<Options, ModelError> {
        let mut values: Vec<_> = spec.options.iter().map(|o| (o.name, o.default)).collect();
        let mut size: Option<&Size> = None;
        let mut given: Vec<(&'static str, Value)> = Vec::new();
        for item in text.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            match item.split_once('=') {
                None => {
                    let found = spec.sizes.iter().find(|s| s.name == item);
                    let found = found.ok_or_else(|| no_such(spec, "size", item))?;
                    if let Some(first) = size.replace(found) {
                        return Err(twice(spec, item, first.name));
                    }
                }
                Some((name, value)) => {
                    let (name, value) = parse_option(spec, name.trim(), value.trim())?;
                    if given.iter().any(|(n, _)| *n == name) {
                        return Err(twice(spec, item, name));
                    }
                    given.push((name, value));
                }
            }
        }
        let overrides = size.map_or(&[][..], |s| s.set).iter().chain(&given);
        for (name, value) in overrides {
            if let Some(slot) = values.iter_mut().find(|(n, _)| n == name) {
                slot.1 = *value;
            }
        }
        Ok(Options(values))
    }

    fn get(&self, name: &str) -> Option<Value> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }

    /// A count (1 if the model has no such option).
    pub fn count(&self, name: &str) -> usize {
        match self.get(name) {
            Some(Value::Count(n)) => n,
            _ => 1,
        }
    }

    /// A fraction (0 if the model has no such option).
    pub fn fraction(&self, name: &str) -> f32 {
        match self.get(name) {
            Some(Value::Real(x)) => x,
            _ => 0.0,
        }
    }

    /// A choice (empty if the model has no such option).
    pub fn choice(&self, name: &str) -> &'static str {
        match self.get(name) {
            Some(Value::Name(n)) => n,
            _ => "",
        }
    }
}

fn no_such(spec: &'static ModelSpec, what: &'static str, name: &str) -> ModelError {
    let sizes: Vec<_> = spec.sizes.iter().map(|s| s.name).collect();
    let options: Vec<_> =
        spec.options.iter().map(|o| format!("{}={}", o.name, o.default)).collect();
    ModelError::NoSuch {
        model: spec.name,
        what,
        name: name.into(),
        sizes: sizes.join(", "),
        options: options.join(", "),
    }
}

fn twice(spec: &'static ModelSpec, name: &str, earlier: &str) -> ModelError {
    ModelError::Twice { model: spec.name, name: name.into(), earlier: earlier.into() }
}

fn parse_option(
    spec: &'static ModelSpec,
    name: &str,
    value: &str,
) -> Result<(&'static str, Value), ModelError> {
    let option = spec.options.iter().find(|o| o.name == name);
    let option = option.ok_or_else(|| no_such(spec, "option", name))?;
    let (parsed, admits) = match option.domain {
        Domain::UpTo(max) => (
            value.parse().ok().filter(|n| (1..=max).contains(n)).map(Value::Count),
            format!("a whole number from 1 to {max}"),
        ),
        Domain::Fraction => (
            value.parse().ok().filter(|x| (0.0..1.0).contains(x)).map(Value::Real),
            "a number from 0 to below 1".into(),
        ),
        Domain::OneOf(names) => (
            names.iter().find(|n| **n == value).map(|n| Value::Name(n)),
            format!("one of {}", names.join(", ")),
        ),
    };
    let error =
        || ModelError::Value { model: spec.name, option: option.name, value: value.into(), admits };
    Ok((option.name, parsed.ok_or_else(error)?))
}
