//! Numbers of the four element types.

use crate::ir::tensor::{Element, Tensor};
use crate::ir::types::TensorType;

/// A tensor of a type from one word an element.
pub fn read_all<T: Number>(ty: &TensorType, words: &[String]) -> Result<Tensor, String> {
    let read = |w: &String| T::read(w).ok_or_else(|| format!("'{w}' is not of type {}", T::DTYPE));
    let values = words.iter().map(read).collect::<Result<Vec<T>, _>>()?;
    let n = values.len();
    Tensor::from_vec(&ty.shape, values).ok_or_else(|| format!("{n} values for {ty}"))
}

/// An element that can be read from one word.
pub trait Number: Element {
    /// The value, if the word is one.
    fn read(word: &str) -> Option<Self>;
}

impl Number for f32 {
    fn read(word: &str) -> Option<f32> {
        match word.strip_prefix("0x") {
            Some(hex) if hex.len() == 8 => u32::from_str_radix(hex, 16).ok().map(f32::from_bits),
            _ => word.parse().ok(),
        }
    }
}

impl Number for i32 {
    fn read(word: &str) -> Option<i32> {
        word.parse().ok()
    }
}

impl Number for i64 {
    fn read(word: &str) -> Option<i64> {
        word.parse().ok()
    }
}

impl Number for bool {
    fn read(word: &str) -> Option<bool> {
        word.parse().ok()
    }
}
