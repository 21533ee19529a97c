//! Data sets: arrays whose first axis counts samples, from `.npz` or from text.

use std::path::{Path, PathBuf};

use pamc_passes::interpret::Values;
use pamc_passes::ir::{DType, Graph, InputKind, Tensor, TensorType};

use super::files::{Tensors, read_npz};
use crate::error::Error;

/// Characters of the text encoding: `\n` is 0, printable ASCII 32 to 126 is 1 to 95.
pub const SYMBOLS: usize = 96;

/// Arrays by name with one first axis: the samples.
#[derive(Clone, Debug)]
pub struct Dataset {
    path: PathBuf,
    arrays: Tensors,
    samples: usize,
}

/// The id of a character; one outside the encoding reads as `?`.
pub fn encode(c: char) -> i64 {
    match c {
        '\n' => 0,
        ' '..='~' => i64::from(c as u32) - 31,
        _ => i64::from(b'?') - 31,
    }
}

/// The character of an id.
pub fn decode(id: i64) -> char {
    match u32::try_from(id) {
        Ok(0) => '\n',
        Ok(i @ 1..=95) => char::from_u32(i + 31).unwrap_or('?'),
        _ => '?',
    }
}

impl Dataset {
    /// Read a data set: `.npz`, or `.txt` cut into windows of `context` characters with the next
    /// character of each as its label (arrays `ids` and `labels`).
    ///
    /// # Errors
    /// If the file is missing or damaged, its arrays differ in their number of samples, or a text is
    /// given to a model that reads no text (`context` is `None`).
    pub fn open(path: &Path, context: Option<usize>) -> Result<Self, Error> {
        let arrays = match (path.extension().and_then(|e| e.to_str()), context) {
            (Some("npz" | "npy"), _) => read_npz(path)?,
            (_, Some(context)) => {
                let text =
                    std::fs::read_to_string(path).map_err(|e| Error::file("read", path, e))?;
                return Self::from_text(path, &text, context);
            }
            _ => {
                return Err(Error::usage(format!(
                    "{}: this model reads no text; give its inputs as arrays in a .npz file",
                    path.display()
                )));
            }
        };
        Self::new(path, arrays)
    }

    /// Windows of `context` characters of a text with the next character of each as its label;
    /// `path` is what errors call it.
    ///
    /// # Errors
    /// If the text is shorter than one window and its next character.
    pub fn from_text(path: &Path, text: &str, context: usize) -> Result<Self, Error> {
        Self::new(path, windows(path, text, context)?)
    }

    fn new(path: &Path, arrays: Tensors) -> Result<Self, Error> {
        let mut samples = None;
        for (name, t) in &arrays {
            let n = *t.shape().first().ok_or_else(|| {
                Error::data(path, name, "it is a scalar, but its first axis must be the samples")
            })?;
            match samples {
                None => samples = Some((n, name)),
                Some((m, other)) if m != n => {
                    let reason = format!("it has {n} samples, but '{other}' has {m}");
                    return Err(Error::data(path, name, reason));
                }
                _ => {}
            }
        }
        let samples = samples.map_or(0, |s| s.0);
        if samples == 0 {
            return Err(Error::usage(format!("{}: there are no samples in it", path.display())));
        }
        Ok(Dataset { path: path.to_owned(), arrays, samples })
    }

    /// Arrays that are not from one file of samples, to read sizes off.
    pub fn from_arrays(arrays: Tensors) -> Self {
        Dataset { path: PathBuf::new(), arrays, samples: 0 }
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Names of the arrays.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrays.keys().map(String::as_str)
    }

    /// Type of an array, samples first.
    pub fn ty(&self, name: &str) -> Option<TensorType> {
        self.arrays.get(name).map(Tensor::ty)
    }

    /// The array for a model input of type `ty`, `[batch, ...]`, as `[samples, ...]` of the input's
    /// element type and sample shape.
    ///
    /// # Errors
    /// If there is no such array (the message lists the arrays there are), or its samples have
    /// another number of elements or a type that does not convert without loss.
    pub fn array(&self, input: &str, ty: &TensorType) -> Result<Tensor, Error> {
        let Some(t) = self.arrays.get(input) else {
            let names: Vec<_> = self.names().collect();
            let has = format!("the model needs it, but the file has only {}", names.join(", "));
            let reason = match ty.rank() {
                0 => format!(
                    "{has}; give a number that is the same in all steps by --bind {input}=VALUE"
                ),
                _ => has,
            };
            return Err(Error::data(&self.path, input, reason));
        };
        let sample = &ty.shape[1.min(ty.rank())..];
        let shape = [&[self.samples], sample].concat();
        let Some(shaped) = t.reshaped(&shape) else {
            let reason = format!(
                "its samples are of shape {:?}, but the model takes {sample:?}",
                &t.shape()[1..]
            );
            return Err(Error::data(&self.path, input, reason));
        };
        convert(&shaped, ty.dtype).ok_or_else(|| {
            let reason = format!("it is {}, but the model takes {}", t.dtype(), ty.dtype);
            Error::data(&self.path, input, reason)
        })
    }

    /// Check that every id of an array lies below `n`.
    ///
    /// # Errors
    /// Names the first sample that does not.
    pub fn check_ids(&self, name: &str, n: usize) -> Result<(), Error> {
        let wide = self.arrays.get(name).and_then(|t| convert(t, DType::I64));
        let Some(ids) = wide.and_then(|t| t.to_vec::<i64>()) else { return Ok(()) };
        match ids.iter().position(|&i| i >= n as i64) {
            None => Ok(()),
            Some(at) => {
                let sample = at / (ids.len() / self.samples).max(1);
                let reason = format!(
                    "sample {sample} holds the id {}, but the model knows 0 to {}",
                    ids[at],
                    n - 1
                );
                Err(Error::data(&self.path, name, reason))
            }
        }
    }
}

/// Made-up values for the data inputs of a graph, to measure with: numbers from −1 to 1, ids 0 and 1,
/// which every table and every set of classes has.
pub fn synthetic(graph: &Graph) -> Values {
    let inputs = graph.inputs().iter().filter(|i| i.kind == InputKind::Data);
    let noise = |i: usize| (i.wrapping_mul(2_654_435_761) >> 7) % 2001;
    let array = |ty: &TensorType| {
        let at = 0..ty.len();
        match ty.dtype {
            DType::F32 => {
                let value = |i| noise(i) as f32 / 1000.0 - 1.0;
                Tensor::from_vec(&ty.shape, at.map(value).collect())
            }
            DType::I64 => Tensor::from_vec(&ty.shape, at.map(|i| (noise(i) % 2) as i64).collect()),
            DType::I32 => Tensor::from_vec(&ty.shape, at.map(|i| (noise(i) % 2) as i32).collect()),
            DType::Bool => Tensor::from_vec(&ty.shape, at.map(|i| noise(i) % 2 == 0).collect()),
        }
    };
    inputs.filter_map(|i| Some((i.name.clone(), array(graph.ty(i.node))?))).collect()
}

/// A tensor as another type of the same number of elements, where the element type converts without
/// loss.
pub fn fit(t: &Tensor, ty: &TensorType) -> Option<Tensor> {
    convert(&t.reshaped(&ty.shape)?, ty.dtype)
}

/// A tensor as another element type, where that keeps every value: i32 ↔ i64 in range, integers and
/// truth values to f32.
fn convert(t: &Tensor, to: DType) -> Option<Tensor> {
    let shape = t.shape();
    match (t, to) {
        (Tensor::I32(a), DType::I64) => {
            Tensor::from_vec(shape, a.iter().map(|&x| i64::from(x)).collect())
        }
        (Tensor::I64(a), DType::I32) => {
            let narrow: Result<Vec<i32>, _> = a.iter().map(|&x| i32::try_from(x)).collect();
            Tensor::from_vec(shape, narrow.ok()?)
        }
        (Tensor::I32(a), DType::F32) => {
            Tensor::from_vec(shape, a.iter().map(|&x| x as f32).collect())
        }
        (Tensor::I64(a), DType::F32) => {
            Tensor::from_vec(shape, a.iter().map(|&x| x as f32).collect())
        }
        (Tensor::Bool(a), DType::F32) => {
            Tensor::from_vec(shape, a.iter().map(|&x| f32::from(u8::from(x))).collect())
        }
        (t, to) if t.dtype() == to => Some(t.clone()),
        _ => None,
    }
}

fn windows(path: &Path, text: &str, context: usize) -> Result<Tensors, Error> {
    let ids: Vec<i64> = text.chars().map(encode).collect();
    let n = ids.len().saturating_sub(1) / context.max(1);
    if n == 0 {
        return Err(Error::usage(format!(
            "{}: {} characters are less than one window of {} and its next character",
            path.display(),
            ids.len(),
            context
        )));
    }
    let cut = |from: usize| Tensor::from_vec(&[n, context], ids[from..from + n * context].to_vec());
    let pairs = [("ids", cut(0)), ("labels", cut(1))];
    Ok(pairs.into_iter().filter_map(|(name, t)| Some((name.to_string(), t?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_windows_with_the_next_character_as_label() {
        let file = tempfile::NamedTempFile::with_suffix(".txt").expect("a temporary file");
        std::fs::write(file.path(), "abc\ndef~é").expect("written");
        let data = Dataset::open(file.path(), Some(4)).expect("a data set");
        let ty = TensorType::new(DType::I64, [2, 4]);
        let text = |name| -> String {
            let ids = data.array(name, &ty).expect("there").to_vec::<i64>().expect("i64");
            ids.into_iter().map(decode).collect()
        };
        assert_eq!(text("ids"), "abc\ndef~");
        assert_eq!(text("labels"), "bc\ndef~?");
        assert!(data.check_ids("ids", SYMBOLS).is_ok());
        let error = data.check_ids("ids", 90).expect_err("~ is 95");
        assert!(error.to_string().contains("sample 1 holds the id 95"), "{error}");
        let error = data.array("input", &ty).expect_err("no such array");
        assert!(error.to_string().contains("only ids, labels"), "{error}");
    }
}
