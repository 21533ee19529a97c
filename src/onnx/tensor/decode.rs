//! From bytes or typed lists to elements.

use half::{bf16, f16};

use super::TensorData;
use super::minifloat::{self, E2M1, E4M3FN, E4M3FNUZ, E5M2, E5M2FNUZ};
use crate::onnx::error::TensorError;
use crate::onnx::proto::{DataType, TensorProto};

/// Bits an element takes in raw data.
fn bits(dtype: DataType) -> Result<usize, TensorError> {
    use DataType as D;
    Ok(match dtype {
        D::Uint2 | D::Int2 => 2,
        D::Uint4 | D::Int4 | D::Float4E2m1 => 4,
        D::Uint8 | D::Int8 | D::Bool => 8,
        D::Float8E4m3fn | D::Float8E4m3fnuz | D::Float8E5m2 | D::Float8E5m2fnuz => 8,
        D::Float8E8m0 => 8,
        D::Uint16 | D::Int16 | D::Float16 | D::Bfloat16 => 16,
        D::Float | D::Int32 | D::Uint32 => 32,
        D::Double | D::Int64 | D::Uint64 => 64,
        D::String | D::Complex64 | D::Complex128 | D::Undefined => {
            return Err(TensorError::Dtype(format!("{dtype:?}").to_lowercase()));
        }
    })
}

/// Bytes `count` elements take in raw data; elements below 8 bits are packed.
pub(super) fn byte_len(dtype: DataType, count: usize) -> Result<usize, TensorError> {
    let bits = bits(dtype)?;
    Ok(if bits < 8 { count.div_ceil(8 / bits) } else { count * (bits / 8) })
}

fn check(expected: usize, found: usize, unit: &'static str) -> Result<(), TensorError> {
    if expected == found {
        return Ok(());
    }
    Err(TensorError::Size { expected: expected as u64, found: found as u64, unit })
}

/// Elements of raw little-endian `bytes`.
pub(super) fn from_bytes(
    dtype: DataType,
    count: usize,
    bytes: &[u8],
) -> Result<TensorData, TensorError> {
    use DataType as D;
    check(byte_len(dtype, count)?, bytes.len(), "bytes")?;
    Ok(match dtype {
        D::Float => TensorData::F32(each(bytes, f32::from_le_bytes)),
        D::Double => TensorData::F32(each(bytes, |b| f64::from_le_bytes(b) as f32)),
        D::Int32 => TensorData::I32(each(bytes, i32::from_le_bytes)),
        D::Int64 => TensorData::I64(each(bytes, i64::from_le_bytes)),
        D::Uint32 => TensorData::I64(each(bytes, |b| u32::from_le_bytes(b).into())),
        D::Uint64 => unsigned(each(bytes, u64::from_le_bytes))?,
        D::Uint16 | D::Int16 | D::Float16 | D::Bfloat16 => {
            narrow(dtype, each(bytes, u16::from_le_bytes).into_iter())
        }
        _ => narrow(dtype, unpack(dtype, count, bytes.iter().copied())?),
    })
}

/// Elements of the typed list that ONNX prescribes for `dtype`.
pub(super) fn from_fields(
    dtype: DataType,
    count: usize,
    t: &TensorProto,
) -> Result<TensorData, TensorError> {
    use DataType as D;
    let expected = if bits(dtype)? < 8 { byte_len(dtype, count)? } else { count };
    let found = match dtype {
        D::Float => t.float_data.len(),
        D::Double => t.double_data.len(),
        D::Int64 => t.int64_data.len(),
        D::Uint32 | D::Uint64 => t.uint64_data.len(),
        _ => t.int32_data.len(),
    };
    check(expected, found, "elements")?;
    Ok(match dtype {
        D::Float => TensorData::F32(t.float_data.clone()),
        D::Double => TensorData::F32(t.double_data.iter().map(|&x| x as f32).collect()),
        D::Int64 => TensorData::I64(t.int64_data.clone()),
        D::Int32 => TensorData::I32(t.int32_data.clone()),
        D::Uint32 | D::Uint64 => unsigned(t.uint64_data.clone())?,
        D::Uint16 | D::Int16 | D::Float16 | D::Bfloat16 => {
            narrow(dtype, t.int32_data.iter().map(|&x| x as u16))
        }
        _ => narrow(dtype, unpack(dtype, count, t.int32_data.iter().map(|&x| x as u8))?),
    })
}

fn each<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (elements, _) = bytes.as_chunks::<N>();
    elements.iter().map(|b| f(*b)).collect()
}

fn unsigned(values: Vec<u64>) -> Result<TensorData, TensorError> {
    let convert = |x| i64::try_from(x).map_err(|_| TensorError::Range(x));
    Ok(TensorData::I64(values.into_iter().map(convert).collect::<Result<_, _>>()?))
}

/// Splits bytes into codes of 8, 4 or 2 bits, the lowest first; whole bytes stay as they are.
fn unpack(
    dtype: DataType,
    count: usize,
    bytes: impl Iterator<Item = u8>,
) -> Result<impl Iterator<Item = u16>, TensorError> {
    let bits = bits(dtype)?;
    let mask = if bits == 8 { 0xff } else { (1u8 << bits) - 1 };
    Ok(bytes
        .flat_map(move |b| (0..8 / bits).map(move |i| u16::from(b >> (i * bits) & mask)))
        .take(count))
}

/// Elements of at most 16 bits from their codes.
fn narrow(dtype: DataType, codes: impl Iterator<Item = u16>) -> TensorData {
    use DataType as D;
    let sign_extend = |c: u16, bits: u32| i32::from((c << (16 - bits)) as i16 >> (16 - bits));
    let small = |format: &'static minifloat::Format| move |c| minifloat::decode(c as u8, format);
    match dtype {
        D::Bool => TensorData::Bool(codes.map(|c| c != 0).collect()),
        D::Int16 => TensorData::I32(codes.map(|c| sign_extend(c, 16)).collect()),
        D::Int8 => TensorData::I32(codes.map(|c| sign_extend(c, 8)).collect()),
        D::Int4 => TensorData::I32(codes.map(|c| sign_extend(c, 4)).collect()),
        D::Int2 => TensorData::I32(codes.map(|c| sign_extend(c, 2)).collect()),
        D::Float16 => TensorData::F32(codes.map(|c| f16::from_bits(c).to_f32()).collect()),
        D::Bfloat16 => TensorData::F32(codes.map(|c| bf16::from_bits(c).to_f32()).collect()),
        D::Float8E4m3fn => TensorData::F32(codes.map(small(&E4M3FN)).collect()),
        D::Float8E4m3fnuz => TensorData::F32(codes.map(small(&E4M3FNUZ)).collect()),
        D::Float8E5m2 => TensorData::F32(codes.map(small(&E5M2)).collect()),
        D::Float8E5m2fnuz => TensorData::F32(codes.map(small(&E5M2FNUZ)).collect()),
        D::Float4E2m1 => TensorData::F32(codes.map(small(&E2M1)).collect()),
        D::Float8E8m0 => TensorData::F32(codes.map(|c| minifloat::decode_e8m0(c as u8)).collect()),
        _ => TensorData::I32(codes.map(i32::from).collect()),
    }
}
