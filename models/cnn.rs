//! A convolutional network for MNIST.

use pamc_passes::ir::TensorType;

use super::options::{Size, Value::Count, count};
use super::{ModelSpec, Options};
use crate::dsl::layers::{BatchNorm, Conv2d, Linear};
use crate::dsl::{Loss, Net, Window};

pub(super) const SPEC: ModelSpec = ModelSpec {
    name: "cnn",
    doc: "Convolution, batch norm, ReLU, max pooling, a number of times, then a classifier: \
          input f32 [batch, channels, image, image] to logits.",
    options: &[
        count("image", 28, 4096, "height and width"),
        count("channels", 1, 4096, "channels of the image"),
        count("width", 16, 4096, "channels of the first stage, doubled by each further one"),
        count("stages", 2, 8, "stages, each of which halves the image"),
        count("classes", 10, 1 << 20, "classes"),
    ],
    sizes: &[Size {
        name: "tiny",
        doc: "for tests",
        set: &[("image", Count(8)), ("width", Count(2)), ("classes", Count(4))],
    }],
    batch: 64,
    make,
};

fn make(net: &Net, options: &Options, batch: usize) {
    let (image, channels) = (options.count("image"), options.count("channels"));
    let mut x = net.input("input", TensorType::f32([batch, channels, image, image]));
    for stage in 0..options.count("stages") {
        // The norm's shift stands for the bias.
        let conv =
            Conv2d { padding: 1, bias: false, ..Conv2d::new(options.count("width") << stage, 3) };
        let _scope = net.scope(format!("stages.{stage}"));
        let y = BatchNorm::default().apply("bn", conv.apply("conv", x)).relu();
        x = y.max_pool(&Window::square(2, 2, 0));
    }
    let features = x.shape().iter().skip(1).product();
    let logits = Linear::new(options.count("classes")).apply("head", x.reshape(&[batch, features]));
    net.output("logits", logits);
    net.loss(Loss::cross_entropy());
}
