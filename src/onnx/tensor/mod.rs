//! Constant tensors of an ONNX file, decoded to the four element types pamc computes with.
//!
//! | in the file | here |
//! |---|---|
//! | float, and float16, bfloat16, double, float8, float4 (noted as converted) | f32 |
//! | int32, and every narrower integer | i32 |
//! | int64, and uint32, uint64 (an error above `i64::MAX`) | i64 |
//! | bool | bool |
//!
//! So arithmetic on narrow integers does not wrap at 8 or 16 bits, as it would in ONNX.
//!
//! The size of the data is compared with the shape before anything is allocated.

mod decode;
mod external;
mod minifloat;

use std::path::Path;

use pamc_passes::ir::{Element, Tensor};

use prost::Message;

pub(super) use self::external::open_inside;
use super::error::{OnnxError, TensorError};
use super::proto::{DataType, SparseTensorProto, TensorProto};

/// Most elements a sparse tensor may have once written out: 256 MiB of f32.
const MAX_DENSE: usize = 1 << 26;

/// Decoded elements in row-major order, not yet shaped.
enum TensorData {
    F32(Vec<f32>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
}

impl TensorData {
    fn shaped(self, shape: &[usize]) -> Result<Tensor, TensorError> {
        let tensor = match self {
            Self::F32(v) => Tensor::from_vec(shape, v),
            Self::I32(v) => Tensor::from_vec(shape, v),
            Self::I64(v) => Tensor::from_vec(shape, v),
            Self::Bool(v) => Tensor::from_vec(shape, v),
        };
        tensor.ok_or_else(|| TensorError::Shape(shape.iter().map(|&d| d as i64).collect()))
    }
}

/// A constant whose element type was changed on the way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The tensor's name.
    pub tensor: String,
    /// ONNX's name of the type in the file, such as `float16`.
    pub from: &'static str,
}

impl std::fmt::Display for Converted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}' was {} and is converted", self.tensor, self.from)
    }
}

/// A decoded tensor and, if its element type was rounded, from which one.
pub(crate) struct Decoded {
    pub tensor: Tensor,
    pub converted_from: Option<&'static str>,
}

/// Reads a file that holds one `TensorProto`, such as the inputs of ONNX's test cases.
///
/// # Errors
/// [`OnnxError::Io`], [`OnnxError::Decode`] or [`OnnxError::Tensor`].
pub fn read_tensor(path: &Path) -> Result<Tensor, OnnxError> {
    let file = path.to_owned();
    let bytes =
        std::fs::read(path).map_err(|source| OnnxError::Io { file: file.clone(), source })?;
    let proto = TensorProto::decode(bytes::Bytes::from(bytes))
        .map_err(|e| OnnxError::Decode { file: file.clone(), reason: e.to_string() })?;
    match decode(&proto, path.parent()) {
        Ok(decoded) => Ok(decoded.tensor),
        Err(reason) => Err(OnnxError::Tensor { file, tensor: proto.name, reason }),
    }
}

/// Decodes `t`; `dir` is the model's folder, the only place external data may be in.
pub(crate) fn decode(t: &TensorProto, dir: Option<&Path>) -> Result<Decoded, TensorError> {
    if t.segment.is_some() {
        return Err(TensorError::Segmented);
    }
    let (shape, count) = element_count(&t.dims)?;
    let dtype = data_type(t.data_type)?;
    let data = if t.data_location == 1 {
        let bytes = external::read(&t.external_data, decode::byte_len(dtype, count)?, dir)?;
        decode::from_bytes(dtype, count, &bytes)?
    } else if let Some(raw) = &t.raw_data {
        decode::from_bytes(dtype, count, raw)?
    } else {
        decode::from_fields(dtype, count, t)?
    };
    Ok(Decoded { tensor: data.shaped(&shape)?, converted_from: rounded(dtype) })
}

/// The bytes of a tensor in another file.
pub(crate) fn external_bytes(t: &TensorProto, dir: Option<&Path>) -> Result<Vec<u8>, TensorError> {
    external::read(&t.external_data, raw_len(&t.dims, t.data_type)?, dir)
}

/// Decodes raw little-endian bytes, as ONNX Runtime's checkpoints hold them.
pub(crate) fn decode_raw(
    dims: &[i64],
    data_type_code: i32,
    bytes: &[u8],
) -> Result<Decoded, TensorError> {
    let (shape, count) = element_count(dims)?;
    let dtype = data_type(data_type_code)?;
    let data = decode::from_bytes(dtype, count, bytes)?;
    Ok(Decoded { tensor: data.shaped(&shape)?, converted_from: rounded(dtype) })
}

/// Bytes that raw data of this shape and type takes.
pub(crate) fn raw_len(dims: &[i64], data_type_code: i32) -> Result<usize, TensorError> {
    decode::byte_len(data_type(data_type_code)?, element_count(dims)?.1)
}

/// Writes a sparse tensor out with its zeros.
pub(crate) fn densify(s: &SparseTensorProto, dir: Option<&Path>) -> Result<Decoded, TensorError> {
    let bad = |why: &str| TensorError::Sparse(why.to_owned());
    let values = decode(s.values.as_ref().ok_or_else(|| bad("no values"))?, dir)?;
    let indices = decode(s.indices.as_ref().ok_or_else(|| bad("no indices"))?, dir)?.tensor;
    let (shape, count) = element_count(&s.dims)?;
    if count > MAX_DENSE {
        return Err(bad("more elements than pamc writes out"));
    }
    let nnz = values.tensor.len();
    let Some(raw) = indices.to_vec::<i64>() else { return Err(bad("indices are not int64")) };
    let linear: Option<Vec<usize>> = match *indices.shape() {
        [n] if n == nnz => raw.iter().map(|&i| usize::try_from(i).ok()).collect(),
        [n, rank] if n == nnz && rank == shape.len() && rank > 0 => {
            raw.chunks_exact(rank).map(|row| linearize(row, &shape)).collect()
        }
        _ => return Err(bad("indices have a wrong shape")),
    };
    let linear = linear
        .filter(|v| v.iter().all(|&i| i < count))
        .ok_or_else(|| bad("an index is out of range"))?;
    let dense = match &values.tensor {
        Tensor::F32(v) => scatter(&shape, &linear, v.iter()),
        Tensor::I32(v) => scatter(&shape, &linear, v.iter()),
        Tensor::I64(v) => scatter(&shape, &linear, v.iter()),
        Tensor::Bool(v) => scatter(&shape, &linear, v.iter()),
    };
    let tensor = dense.ok_or_else(|| bad("the values do not fit the shape"))?;
    Ok(Decoded { tensor, converted_from: values.converted_from })
}

fn linearize(row: &[i64], shape: &[usize]) -> Option<usize> {
    row.iter().zip(shape).try_fold(0usize, |acc, (&i, &n)| {
        let i = usize::try_from(i).ok().filter(|&i| i < n)?;
        acc.checked_mul(n)?.checked_add(i)
    })
}

fn scatter<'v, T: Element + Default>(
    shape: &[usize],
    at: &[usize],
    values: impl Iterator<Item = &'v T>,
) -> Option<Tensor> {
    let mut out = vec![T::default(); shape.iter().product()];
    for (&i, &v) in at.iter().zip(values) {
        out[i] = v;
    }
    Tensor::from_vec(shape, out)
}

/// The shape as sizes and its number of elements, refused if 8-byte elements would not fit.
pub(crate) fn element_count(dims: &[i64]) -> Result<(Vec<usize>, usize), TensorError> {
    let bad = || TensorError::Shape(dims.to_vec());
    let shape: Vec<usize> =
        dims.iter().map(|&d| usize::try_from(d)).collect::<Result<_, _>>().map_err(|_| bad())?;
    let extent = |zero_as_one: bool| {
        shape.iter().try_fold(8usize, |n, &d| n.checked_mul(if zero_as_one { d.max(1) } else { d }))
    };
    let limit = isize::MAX as usize;
    match (extent(true), extent(false)) {
        (Some(padded), Some(bytes)) if padded <= limit => Ok((shape, bytes / 8)),
        _ => Err(bad()),
    }
}

pub(crate) fn data_type(code: i32) -> Result<DataType, TensorError> {
    DataType::try_from(code).map_err(|_| TensorError::Dtype(format!("number {code}")))
}

/// ONNX's name of an element type whose values are rounded or widened to f32.
pub(crate) fn rounded(dtype: DataType) -> Option<&'static str> {
    Some(match dtype {
        DataType::Float16 => "float16",
        DataType::Bfloat16 => "bfloat16",
        DataType::Double => "double",
        DataType::Float8E4m3fn => "float8e4m3fn",
        DataType::Float8E4m3fnuz => "float8e4m3fnuz",
        DataType::Float8E5m2 => "float8e5m2",
        DataType::Float8E5m2fnuz => "float8e5m2fnuz",
        DataType::Float8E8m0 => "float8e8m0",
        DataType::Float4E2m1 => "float4e2m1",
        _ => return None,
    })
}
