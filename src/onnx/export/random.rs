//! Random bits.

use pamc_passes::ir::{Attrs, Tensor, TensorType};

use super::body::Body;
use super::functions::shifted;
use crate::onnx::proto::DataType;

/// Bits that the words of the second half turn left in each round.
const ROTATIONS: [u8; 8] = [13, 15, 26, 6, 17, 29, 16, 24];

/// Threefry-2x32-20 as the op table has it: the first word under `key` for each element's index and the
/// stream.
pub(super) fn random_bits(b: &mut Body, key: &str, attrs: &Attrs, ty: &TensorType) -> String {
    let [first, second] = [0, 1].map(|at| b.slice(key, 0, at, 1));
    let parity = b.int(0x1BD1_1BDA);
    let both = b.op("BitwiseXor", &[&first, &second]);
    let third = b.op("BitwiseXor", &[&parity, &both]);
    let keys = [first, second, third];
    let [from, to, step] = [0, ty.len() as i64, 1].map(|v| b.constant(&Tensor::scalar(v)));
    let index = b.op("Range", &[&from, &to, &step]);
    let (index, stream) =
        (b.cast(&index, DataType::Int32), b.int(attrs.int("stream") as u32 as i32));
    let mut x = b.op("Add", &[&index, &keys[0]]);
    let mut y = b.op("Add", &[&stream, &keys[1]]);
    for group in 0..5 {
        for by in &ROTATIONS[group % 2 * 4..][..4] {
            x = b.op("Add", &[&x, &y]);
            let (high, low) = (shifted(b, &y, *by, false), shifted(b, &y, 32 - by, true));
            let turned = b.op("BitwiseOr", &[&high, &low]);
            y = b.op("BitwiseXor", &[&turned, &x]);
        }
        x = b.op("Add", &[&x, &keys[(group + 1) % 3]]);
        y = b.op("Add", &[&y, &keys[(group + 2) % 3]]);
        let count = b.int(group as i32 + 1);
        y = b.op("Add", &[&y, &count]);
    }
    b.reshape(&x, &ty.shape)
}
