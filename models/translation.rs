//! An encoder-decoder transformer for translation.

use pamc_passes::ir::{DType, Tensor, TensorType};

use super::options::{Size, Value::Count, count, fraction};
use super::{ModelSpec, Options};
use crate::dsl::layers::{Activation, Embedding, TransformerBlock, causal_mask};
use crate::dsl::{Init, Loss, LossKind, Net, Var};

/// The symbol that fills a sentence up to the length of the batch; it is not attended to, and as a
/// label it does not count.
pub const PAD: i64 = 0;

pub(super) const SPEC: ModelSpec = ModelSpec {
    name: "translation",
    doc: "Encoder-decoder transformer (Vaswani et al. 2017, norms after the sums, sinusoidal \
          positions, target embedding shared with the classifier), by default as Kosson & Jaggi \
          (2023) train it on IWSLT14 DE-EN: source i64 [batch, source_length] and target_in i64 \
          [batch, target_length] to logits of the next target symbol. Symbol 0 is padding.",
    options: &[
        count("source_vocab", 8848, 1 << 20, "source symbols"),
        count("target_vocab", 6632, 1 << 20, "target symbols"),
        count("source_length", 64, 1 << 16, "source positions"),
        count("target_length", 64, 1 << 16, "target positions"),
        count("layers", 6, 256, "blocks of the encoder, and of the decoder"),
        count("d", 512, 1 << 16, "features"),
        count("heads", 4, 1024, "attention heads"),
        count("ffn", 1024, 1 << 20, "hidden values of the feed-forward part"),
        fraction(
            "dropout",
            0.3,
            "probability to drop an embedding or a value that joins the residual \
                                  stream",
        ),
        fraction("label_smoothing", 0.1, "part of the target spread over all symbols"),
    ],
    sizes: &[
        Size {
            name: "small",
            doc: "2 + 2 layers, d 128, 4,000 symbols, 32 positions",
            set: &[
                ("source_vocab", Count(4000)),
                ("target_vocab", Count(4000)),
                ("source_length", Count(32)),
                ("target_length", Count(32)),
                ("layers", Count(2)),
                ("d", Count(128)),
                ("ffn", Count(256)),
            ],
        },
        Size {
            name: "tiny",
            doc: "for tests",
            set: &[
                ("source_vocab", Count(12)),
                ("target_vocab", Count(10)),
                ("source_length", Count(6)),
                ("target_length", Count(5)),
                ("layers", Count(1)),
                ("d", Count(8)),
                ("heads", Count(2)),
                ("ffn", Count(16)),
            ],
        },
    ],
    batch: 32,
    make,
};

/// Sinusoidal positions (Vaswani et al. 2017, section 3.5), `[length, d]`.
#[track_caller]
fn sinusoids(net: &Net, length: usize, d: usize) -> Var<'_> {
    let value = |i: usize| {
        let (position, k) = ((i / d) as f64, i % d);
        let angle = position / 10_000f64.powf((k / 2 * 2) as f64 / d as f64);
        (if k % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
    };
    match Tensor::from_vec(&[length, d], (0..length * d).map(value).collect()) {
        Some(table) => net.constant(table),
        None => net.fail("positions", format!("no table of {length} × {d}")),
    }
}

/// `[batch, 1, 1, length]` of `bool`: true where a symbol is not padding.
#[track_caller]
fn key_mask(ids: Var<'_>, batch: usize, length: usize) -> Var<'_> {
    ids.ne(PAD).reshape(&[batch, 1, 1, length])
}

/// Rows of the table, scaled to the size of the positions that are added to them.
#[track_caller]
fn embed<'n>(ids: Var<'n>, table: Var<'n>, dropout: f32) -> Var<'n> {
    let net = ids.net();
    let rows = table.gather(ids, 0);
    let Some([_, length, d]) = rows.dims("[batch, length, d]") else { return net.poison() };
    (rows * (d as f32).sqrt() + sinusoids(net, length, d)).dropout(dropout)
}

fn make(net: &Net, options: &Options, batch: usize) {
    let [s, t, layers, d] =
        ["source_length", "target_length", "layers", "d"].map(|n| options.count(n));
    let dropout = options.fraction("dropout");
    let std = 1.0 / (d as f32).sqrt();
    let (heads, ffn) = (options.count("heads"), options.count("ffn"));
    let mut block = TransformerBlock::new(heads, ffn, Activation::Relu, layers);
    let square = Init::glorot(d, d);
    (block.attention.init, block.attention.out_init) = (square, square);
    let map = Init::glorot(d, ffn);
    (block.feed_forward.init, block.feed_forward.out_init) = (map, map);
    (block.dropout, block.post_norm) = (dropout, true);

    let source = net.input("source", TensorType::new(DType::I64, [batch, s]));
    let table = Embedding::new(options.count("source_vocab"), d, std).table("source", source);
    let source_mask = key_mask(source, batch, s);
    let mut memory = embed(source, table, dropout);
    for i in 0..layers {
        memory = block.apply(&format!("encoder.{i}"), memory, Some(source_mask));
    }

    let target = net.input("target_in", TensorType::new(DType::I64, [batch, t]));
    let table = Embedding::new(options.count("target_vocab"), d, std).table("target", target);
    let mask = causal_mask(net, t) & key_mask(target, batch, t);
    let mut x = embed(target, table, dropout);
    for i in 0..layers {
        x = block.decode(&format!("decoder.{i}"), x, Some(mask), memory, Some(source_mask));
    }
    net.output("logits", x.matmul(table.transpose(&[1, 0])));
    let label_smoothing = options.fraction("label_smoothing");
    net.loss(Loss::new(LossKind::CrossEntropy { label_smoothing, ignore_index: Some(PAD) }));
}
