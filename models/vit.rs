//! Vision transformer.

use pamc_passes::ir::TensorType;

use super::options::{Size, Value::Count, choice, count, fraction};
use super::{ModelSpec, Options};
use crate::dsl::layers::{Activation, Conv2d, LayerNorm, Linear, TransformerBlock};
use crate::dsl::{Init, Loss, Net, Var};

pub(super) const SPEC: ModelSpec = ModelSpec {
    name: "vit",
    doc: "Vision transformer (Dosovitskiy et al. 2021) with a class token and learned positions, \
          by default in the configuration of DeiT-Tiny (Touvron et al. 2021, no distillation): \
          input f32 [batch, channels, image, image] to logits.",
    options: &[
        count("image", 224, 4096, "height and width"),
        count("channels", 3, 4096, "channels of the image"),
        count("patch", 16, 1024, "height and width of a patch"),
        count("layers", 12, 256, "transformer blocks"),
        count("d", 192, 1 << 16, "features"),
        count("heads", 3, 1024, "attention heads"),
        count("mlp", 4, 64, "hidden values of the feed-forward part, times d"),
        count("classes", 1000, 1 << 20, "classes"),
        choice("activation", "gelu", Activation::NAMES, "nonlinearity"),
        fraction("dropout", 0.0, "probability to drop a value that joins the residual stream"),
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
                ("heads", Count(4)),
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
                ("heads", Count(2)),
                ("classes", Count(4)),
            ],
        },
    ],
    batch: 64,
    make,
};

/// Non-overlapping patches of an image, each mapped to `d` features: `[batch, patches, d]`.
#[track_caller]
pub(super) fn patches<'n>(x: Var<'n>, patch: usize, d: usize, init: Init) -> Var<'n> {
    let net = x.net();
    let Some([batch, _, height, width]) = x.dims("[batch, channels, height, width]") else {
        return net.poison();
    };
    if height % patch != 0 || width % patch != 0 {
        return net
            .fail("patches", format!("{height} × {width} do not divide into {patch} × {patch}"));
    }
    let embed = Conv2d { stride: patch, init: Some((init, Init::Zeros)), ..Conv2d::new(d, patch) };
    let y = embed.apply("patch_embed", x);
    let count = (height / patch) * (width / patch);
    y.reshape(&[batch, d, count]).transpose(&[0, 2, 1])
}

fn make(net: &Net, options: &Options, batch: usize) {
    let [image, d, layers] = ["image", "d", "layers"].map(|n| options.count(n));
    let activation =
        Activation::from_name(options.choice("activation")).unwrap_or(Activation::Gelu);
    let (init, dropout) = (Init::TruncatedNormal { std: 0.02 }, options.fraction("dropout"));
    let x = net.input("input", TensorType::f32([batch, options.count("channels"), image, image]));
    let x = patches(x, options.count("patch"), d, init);
    let class = net.param("cls_token", &[1, 1, d], init).expand(&[batch, 1, d]);
    let x = class.concat(&[x], 1);
    let Some([_, tokens, _]) = x.dims("[batch, tokens, d]") else { return };
    let mut x = (x + net.param("pos_embed", &[1, tokens, d], init)).dropout(dropout);

    let hidden = d * options.count("mlp");
    let mut block = TransformerBlock::new(options.count("heads"), hidden, activation, layers);
    (block.attention.init, block.attention.out_init) = (init, init);
    (block.feed_forward.init, block.feed_forward.out_init) = (init, init);
    (block.feed_forward.dropout, block.dropout) = (dropout, dropout);
    block.norm = LayerNorm { epsilon: 1e-6 };
    for i in 0..layers {
        x = block.apply(&format!("blocks.{i}"), x, None);
    }
    // The norm is per token, so only the class token's is needed.
    let class = x.slice(1, 0, 1).reshape(&[batch, d]);
    let y = block.norm.apply("norm", class);
    net.output("logits", Linear::new(options.count("classes")).init(init).apply("head", y));
    net.loss(Loss::cross_entropy());
}
