//! A decoder-only transformer.

use pamc_passes::ir::{DType, TensorType};

use super::options::{Size, Value::Count, choice, count, fraction};
use super::{ModelSpec, Options};
use crate::dsl::layers::{Activation, Embedding, Linear, TransformerBlock, causal_mask};
use crate::dsl::{Init, Loss, Net};

pub(super) const SPEC: ModelSpec = ModelSpec {
    name: "gpt",
    doc: "Decoder-only transformer (Radford et al. 2019) with learned positions: ids i64 \
          [batch, context] to logits of the next symbol at each position.",
    options: &[
        count("vocab", 96, 1 << 20, "symbols; by default newline and printable ASCII"),
        count("context", 128, 1 << 16, "positions"),
        count("layers", 4, 256, "transformer blocks"),
        count("d", 192, 1 << 16, "features"),
        count("heads", 6, 1024, "attention heads"),
        count("mlp", 4, 64, "hidden values of the feed-forward part, times d"),
        choice("activation", "relu", Activation::NAMES, "nonlinearity"),
        fraction(
            "dropout",
            0.0,
            "probability to drop an embedding, a weight of the attention or a \
                                  value that joins the residual stream",
        ),
    ],
    sizes: &[
        Size {
            name: "small",
            doc: "2 layers, d 64, 32 positions",
            set: &[
                ("context", Count(32)),
                ("layers", Count(2)),
                ("d", Count(64)),
                ("heads", Count(4)),
            ],
        },
        Size {
            name: "tiny",
            doc: "for tests",
            set: &[
                ("vocab", Count(16)),
                ("context", Count(8)),
                ("layers", Count(1)),
                ("d", Count(8)),
                ("heads", Count(2)),
            ],
        },
    ],
    batch: 16,
    make,
};

fn make(net: &Net, options: &Options, batch: usize) {
    let [vocab, context, layers, d] = ["vocab", "context", "layers", "d"].map(|n| options.count(n));
    let activation =
        Activation::from_name(options.choice("activation")).unwrap_or(Activation::Relu);
    let (init, dropout) = (Init::Normal { std: 0.02 }, options.fraction("dropout"));

    let ids = net.input("ids", TensorType::new(DType::I64, [batch, context]));
    let x = Embedding::new(vocab, d, 0.02).apply("tokens", ids);
    let mut x = (x + net.param("positions.weight", &[context, d], init)).dropout(dropout);
    let mask = causal_mask(net, context);

    let hidden = d * options.count("mlp");
    let mut block = TransformerBlock::new(options.count("heads"), hidden, activation, layers);
    (block.attention.dropout, block.dropout) = (dropout, dropout);
    for i in 0..layers {
        x = block.apply(&format!("blocks.{i}"), x, Some(mask));
    }
    let head = Linear { bias: false, ..Linear::new(vocab).init(init) };
    net.output("logits", head.apply("head", block.norm.apply("norm", x)));
    net.loss(Loss::cross_entropy());
}
