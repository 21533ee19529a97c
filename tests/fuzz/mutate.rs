//! A seeded mutator: of bytes, and of protobuf messages by their structure.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers that sizes, axes and offsets go wrong with.
const NUMBERS: [u64; 12] = [
    0,
    1,
    2,
    127,
    255,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    1 << 40,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

/// The source of all choices.
pub struct Mutator(ChaCha8Rng);

/// A field of a message.
#[derive(Clone)]
struct Field {
    key: u64,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Number(u64),
    Fixed(Vec<u8>),
    Bytes(Vec<u8>),
    Message(Vec<Field>),
}

impl Mutator {
    /// One that makes the same choices for the same seed.
    pub fn new(seed: u64) -> Self {
        Mutator(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n.max(1))
    }

    /// `input` changed in up to four places, perhaps with parts of `other`.
    pub fn mutate(&mut self, input: &[u8], other: &[u8], protobuf: bool) -> Vec<u8> {
        if protobuf
            && self.below(3) > 0
            && let Some(mut fields) = message(input, 0)
        {
            for _ in 0..=self.below(4) {
                self.structure(&mut fields, 0);
            }
            return encode(&fields);
        }
        let mut out = input.to_vec();
        for _ in 0..=self.below(4) {
            self.bytes(&mut out, other);
        }
        out
    }

    fn bytes(&mut self, out: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(out.len());
        let len = 1 + self.below(16);
        let end = (at + len).min(out.len());
        match self.below(8) {
            0 if !out.is_empty() => out[at] ^= 1 << self.below(8),
            1 if !out.is_empty() => out[at] = self.below(256) as u8,
            2 => drop(out.drain(at..end)),
            3 => {
                let copy = out[at..end].to_vec();
                out.splice(at..at, copy);
            }
            4 if !other.is_empty() => {
                let from = self.below(other.len());
                let part = other[from..(from + len).min(other.len())].to_vec();
                out.splice(at..end, part);
            }
            5 => {
                let number = self.number().to_le_bytes();
                let width = [1, 2, 4, 8][self.below(4)];
                for (byte, new) in out[at..].iter_mut().zip(&number[..width]) {
                    *byte = *new;
                }
            }
            6 => out.truncate(at),
            _ => {
                // Texts are changed where their numbers are.
                let digits: Vec<usize> =
                    (at..out.len()).filter(|&i| out[i].is_ascii_digit()).take(1).collect();
                for i in digits {
                    let number = self.number().to_string();
                    out.splice(i..=i, number.bytes());
                }
            }
        }
    }

    fn number(&mut self) -> u64 {
        NUMBERS[self.below(NUMBERS.len())]
    }

    fn structure(&mut self, fields: &mut Vec<Field>, depth: usize) {
        if fields.is_empty() {
            return;
        }
        let at = self.below(fields.len());
        let (other, choice) = (self.below(fields.len()), self.below(12));
        if let Value::Message(inner) = &mut fields[at].value
            && choice < 8
            && depth < 60
        {
            return self.structure(inner, depth + 1);
        }
        match self.below(8) {
            0 => drop(fields.remove(at)),
            1 => {
                let copy = fields[at].clone();
                fields.insert(other, copy);
            }
            2 => fields.swap(at, other),
            3 => fields[at].value = fields[other].value.clone(),
            4 => fields[at].key = (1 + self.below(25) as u64) << 3 | fields[at].key & 7,
            // A message inside itself.
            5 if size(&fields[at].value) < 1 << 16 => {
                let copy = fields[at].clone();
                if let Value::Message(inner) = &mut fields[at].value {
                    inner.push(copy);
                }
            }
            _ => match &mut fields[at].value {
                Value::Number(n) => *n = NUMBERS[self.below(NUMBERS.len())],
                Value::Fixed(bytes) | Value::Bytes(bytes) => {
                    let mut changed = std::mem::take(bytes);
                    let fixed = changed.len();
                    self.bytes(&mut changed, b"");
                    if fields[at].key & 7 != 2 {
                        changed.resize(fixed, 0);
                    }
                    fields[at].value = Value::Bytes(changed);
                }
                Value::Message(_) => {}
            },
        }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Message(fields) => fields.iter().map(|f| 2 + size(&f.value)).sum(),
        Value::Bytes(bytes) | Value::Fixed(bytes) => bytes.len(),
        Value::Number(_) => 1,
    }
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u64;
    for i in 0..10 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The fields of a message, if the bytes can be one; so can some texts, which does no harm.
fn message(bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let (mut at, mut fields) = (0, Vec::new());
    while at < bytes.len() {
        let key = varint(bytes, &mut at)?;
        let wide = |n: usize, at: &mut usize| {
            let part = bytes.get(*at..at.checked_add(n)?)?.to_vec();
            *at += n;
            Some(part)
        };
        let value = match key & 7 {
            0 => Value::Number(varint(bytes, &mut at)?),
            1 => Value::Fixed(wide(8, &mut at)?),
            5 => Value::Fixed(wide(4, &mut at)?),
            2 => {
                let len = usize::try_from(varint(bytes, &mut at)?).ok()?;
                let part = wide(len, &mut at)?;
                let inner = (depth < 12 && len > 1 && len < 1 << 20 || depth < 2)
                    .then(|| message(&part, depth + 1))
                    .flatten();
                inner.map_or(Value::Bytes(part), Value::Message)
            }
            _ => return None,
        };
        if key >> 3 == 0 {
            return None;
        }
        fields.push(Field { key, value });
    }
    Some(fields)
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn encode(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        let wire = match &field.value {
            Value::Number(_) => 0,
            Value::Fixed(bytes) if bytes.len() == 8 => 1,
            Value::Fixed(_) => 5,
            _ => 2,
        };
        put(&mut out, field.key & !7 | wire);
        match &field.value {
            Value::Number(n) => put(&mut out, *n),
            Value::Fixed(bytes) => out.extend(bytes),
            Value::Bytes(bytes) => {
                put(&mut out, bytes.len() as u64);
                out.extend(bytes);
            }
            Value::Message(inner) => {
                let bytes = encode(inner);
                put(&mut out, bytes.len() as u64);
                out.extend(bytes);
            }
        }
    }
    out
}
