//! MLP-Mixer.

use pamc_passes::ir::TensorType;

use super::options::{Size, Value::Count, choice, count};
use super::{ModelSpec, Options, vit};
use crate::dsl::layers::{Activation, FeedForward, LayerNorm, Linear};
use crate::dsl::{Init, Loss, Net};

pub(super) const SPEC: ModelSpec = ModelSpec {
    name: "mixer",
    doc: "MLP-Mixer (Tolstikhin et al. 2021), by default S/16: input f32 [batch, channels, \
          image, image] to logits.",
    options: &[
        count("image", 224, 4096, "height and width"),
        count("channels", 3, 4096, "channels of the image"),
        count("patch", 16, 1024, "height and width of a patch"),
        count("layers", 8, 256, "blocks"),
        count("d", 512, 1 << 16, "features"),
        count("tokens", 256, 1 << 16, "hidden values of the map across patches"),
        count("hidden", 2048, 1 << 20, "hidden values of the map across features"),
        count("classes", 1000, 1 << 20, "classes"),
        choice("activation", "gelu", Activation::NAMES, "nonlinearity"),
    ],
    sizes: &[
        Size {
            name: "small",
            doc: "for MNIST: 28 × 28 in patches of 4, 4 layers, d 64",
            set: &[
                ("image", Count(28)),
                ("channels", Count(1)),
                ("patch", Count(4)),
                ("layers", Count(4)),
                ("d", Count(64)),
                ("tokens", Count(64)),
                ("hidden", Count(256)),
                ("classes", Count(10)),
            ],
        },
        Size {
            name: "tiny",
            doc: "for tests",
            set: &[
                ("image", Count(8)),
                ("channels", Count(1)),
                ("patch", Count(4)),
                ("layers", Count(1)),
                ("d", Count(8)),
                ("tokens", Count(8)),
                ("hidden", Count(16)),
                ("classes", Count(4)),
            ],
        },
    ],
    batch: 64,
    make,
};

fn make(net: &Net, options: &Options, batch: usize) {
    let [image, d] = ["image", "d"].map(|n| options.count(n));
    let activation =
        Activation::from_name(options.choice("activation")).unwrap_or(Activation::Gelu);
    let init = Init::TruncatedNormal { std: 0.02 };
    let mix = |hidden| FeedForward { hidden, activation, dropout: 0.0, init, out_init: init };
    let (across_tokens, across_features) =
        (mix(options.count("tokens")), mix(options.count("hidden")));
    let norm = LayerNorm { epsilon: 1e-6 };

    let x = net.input("input", TensorType::f32([batch, options.count("channels"), image, image]));
    let mut x = vit::patches(x, options.count("patch"), d, init);
    for i in 0..options.count("layers") {
        let _scope = net.scope(format!("blocks.{i}"));
        let tokens = norm.apply("norm1", x).transpose(&[0, 2, 1]);
        x = x + across_tokens.apply("mlp_tokens", tokens).transpose(&[0, 2, 1]);
        x = x + across_features.apply("mlp_channels", norm.apply("norm2", x));
    }
    let y = norm.apply("norm", x).mean(&[1], false);
    net.output("logits", Linear::new(options.count("classes")).init(init).apply("head", y));
    net.loss(Loss::cross_entropy());
}
