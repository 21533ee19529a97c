//! A multi-layer perceptron for MNIST.

use pamc_passes::ir::TensorType;

use super::options::{Size, Value::Count, choice, count, fraction};
use super::{ModelSpec, Options};
use crate::dsl::layers::{Activation, Linear};
use crate::dsl::{Loss, Net};

pub(super) const SPEC: ModelSpec = ModelSpec {
    name: "mlp",
    doc: "Multi-layer perceptron on flat images: input f32 [batch, inputs] to logits.",
    options: &[
        count("inputs", 784, 1 << 20, "values of a sample"),
        count("hidden", 128, 1 << 16, "values of a hidden layer"),
        count("layers", 1, 256, "hidden layers"),
        count("classes", 10, 1 << 20, "classes"),
        choice("activation", "relu", Activation::NAMES, "nonlinearity"),
        fraction("dropout", 0.0, "probability to drop a hidden value"),
    ],
    sizes: &[Size {
        name: "tiny",
        doc: "for tests",
        set: &[("inputs", Count(16)), ("hidden", Count(8)), ("classes", Count(4))],
    }],
    batch: 64,
    make,
};

fn make(net: &Net, options: &Options, batch: usize) {
    let activation =
        Activation::from_name(options.choice("activation")).unwrap_or(Activation::Relu);
    let mut x = net.input("input", TensorType::f32([batch, options.count("inputs")]));
    let layers = options.count("layers");
    for i in 1..=layers {
        let y = Linear::new(options.count("hidden")).apply(&format!("fc{i}"), x);
        x = activation.apply(y).dropout(options.fraction("dropout"));
    }
    let logits = Linear::new(options.count("classes")).apply(&format!("fc{}", layers + 1), x);
    net.output("logits", logits);
    net.loss(Loss::cross_entropy());
}
