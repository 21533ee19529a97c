//! Protobuf by its wire format: which bytes of a file hold which field.
//!
//! A model is read part by part, so that its weights are never in memory twice, and written part by
//! part, so that what pamc does not know of a file stays in it.

use std::io::{self, Read};

/// One field of a message; a nested one is not taken apart.
pub(super) struct Field {
    /// Its number in the schema.
    pub number: u32,
    /// 2 for everything that has a length: text, bytes, messages, packed lists.
    pub wire: u8,
    /// Its key and, where there is one, its length, as they stand in the file.
    pub head: Vec<u8>,
    /// Bytes that follow the head.
    pub len: u64,
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Reads fields of a message that ends after `left` bytes.
pub(super) struct Fields<'r, R> {
    reader: &'r mut R,
    left: u64,
}

impl<'r, R: Read> Fields<'r, R> {
    pub fn new(reader: &'r mut R, len: u64) -> Self {
        Fields { reader, left: len }
    }

    fn byte(&mut self, head: &mut Vec<u8>) -> io::Result<u8> {
        let mut byte = [0];
        self.left = self.left.checked_sub(1).ok_or_else(|| damaged("a field is cut short"))?;
        self.reader.read_exact(&mut byte)?;
        head.push(byte[0]);
        Ok(byte[0])
    }

    fn varint(&mut self, head: &mut Vec<u8>) -> io::Result<u64> {
        let mut value = 0u64;
        for i in 0..10 {
            let byte = self.byte(head)?;
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("a number is longer than 64 bits"))
    }

    /// The head of the next field; its payload must be taken before the next call.
    pub fn next(&mut self) -> io::Result<Option<Field>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut head = Vec::with_capacity(8);
        let key = self.varint(&mut head)?;
        let number = u32::try_from(key >> 3).map_err(|_| damaged("a field number is too large"))?;
        let wire = (key & 7) as u8;
        let len = match wire {
            // The number itself belongs to the head.
            0 => self.varint(&mut head).map(|_| 0)?,
            1 => 8,
            2 => self.varint(&mut head)?,
            5 => 4,
            _ => return Err(damaged("a field is of an unknown kind")),
        };
        if len > self.left {
            return Err(damaged("a field is cut short"));
        }
        self.left -= len;
        Ok(Some(Field { number, wire, head, len }))
    }

    /// The payload of the field just read.
    pub fn payload(&mut self, field: &Field) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(field.len).map_err(io::Error::other)?];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The fields of the message just read.
    pub fn inner(&mut self, field: &Field) -> Fields<'_, R> {
        Fields { reader: self.reader, left: field.len }
    }
}

/// A field with a length, written.
pub(super) fn put_field(out: &mut Vec<u8>, number: u32, payload: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
