//! A typed writer of MLIR text.

use super::types::{Elem, Value, VecTy};
use pamc_passes::ir::DType;
use std::{collections::HashMap, fmt::Display, fmt::Write};

/// What the text is to become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Code {
    /// Functions of a processor that runs in flushing mode.
    #[default]
    Cpu,
    /// GPU kernels by way of LLVM, which flush as they are told to by a function attribute.
    Llvm,
    /// GPU kernels in SPIR-V, which may keep subnormals.
    Spirv,
}

impl Code {
    /// Type of a dense buffer.
    pub fn buffer(self, dtype: DType, len: usize) -> String {
        let elem = self.stored(dtype).name();
        match self {
            Code::Cpu | Code::Llvm => format!("memref<{len}x{elem}>"),
            Code::Spirv => format!("memref<{len}x{elem}, #spirv.storage_class<StorageBuffer>>"),
        }
    }

    /// An element in memory: a truth value takes a byte, on a GPU four.
    pub fn stored(self, dtype: DType) -> Elem {
        match (dtype, self) {
            (DType::Bool, Code::Cpu) => Elem::I8,
            (DType::Bool, _) => Elem::I32,
            _ => dtype.into(),
        }
    }
}

/// Writes operations one a line, each with the location of what it came from.
#[derive(Debug, Default)]
pub struct Builder {
    text: String,
    code: Code,
    next: u32,
    location: String,
    // One map a nested region: a constant is visible in its region and those inside.
    constants: Vec<HashMap<(VecTy, i64), Value>>,
}

impl Builder {
    /// An empty module.
    pub fn new() -> Self {
        Self { constants: vec![HashMap::new()], ..Self::default() }
    }

    /// An empty module for a sort of code.
    pub fn of(code: Code) -> Self {
        Self { code, ..Self::new() }
    }

    /// What the text is to become.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text written so far.
    pub fn finish(self) -> String {
        self.text
    }

    /// Sets the origin of the operations that follow: a node's name, a file and line.
    pub fn locate(&mut self, origin: &str) {
        self.location.clear();
        if !origin.is_empty() {
            self.location = format!(" loc(\"{}\")", escape(origin));
        }
    }

    /// A text as if nothing in it had an origin.
    pub(crate) fn unlocated(text: &str) -> String {
        // Quotes within a name are escaped, so the first of these begins the location.
        let line = |line: &str| line.split(" loc(\"").next().map(|l| format!("{l}\n"));
        text.lines().filter_map(line).collect()
    }

    /// A fresh value of a type, for operations written with [`Builder::line`].
    pub fn fresh(&mut self, ty: VecTy) -> Value {
        self.next += 1;
        Value { id: self.next, ty }
    }

    /// Writes one operation without result of its own.
    pub fn line(&mut self, operation: impl Display) {
        self.indent();
        let _ = writeln!(self.text, "{operation}{}", self.location);
    }

    /// Writes `%fresh = operation` and gives the result, of type `ty`.
    pub fn define(&mut self, ty: VecTy, operation: impl Display) -> Value {
        let value = self.fresh(ty);
        self.line(format_args!("{value} = {operation}"));
        value
    }

    /// Writes a region: `header {`, its body, `}` and the location.
    pub fn region<T>(&mut self, header: impl Display, body: impl FnOnce(&mut Self) -> T) -> T {
        self.region_then(header, "", body)
    }

    /// [`Builder::region`] of an operation whose text goes on after it.
    pub fn region_then<T>(
        &mut self,
        header: impl Display,
        rest: impl Display,
        body: impl FnOnce(&mut Self) -> T,
    ) -> T {
        self.indent();
        let _ = writeln!(self.text, "{header} {{");
        self.constants.push(HashMap::new());
        let location = self.location.clone();
        let result = body(self);
        self.location = location;
        self.constants.pop();
        self.indent();
        let _ = writeln!(self.text, "}}{rest}{}", self.location);
        result
    }

    /// Writes two regions: `header {`, a body, `} else {`, a body, `}` and the location.
    pub fn branches(
        &mut self,
        header: impl Display,
        then: impl FnOnce(&mut Self),
        otherwise: impl FnOnce(&mut Self),
    ) {
        let location = std::mem::take(&mut self.location);
        self.region(header, |b| {
            b.location.clone_from(&location);
            then(b);
        });
        // The else belongs to the brace just written, which has no location yet.
        while self.text.ends_with(char::is_whitespace) {
            self.text.pop();
        }
        self.location = location;
        self.region(" else", otherwise);
    }

    /// `op a : type`, of the operand's type.
    pub fn unary(&mut self, op: &str, a: Value) -> Value {
        self.define(a.ty, format_args!("{op} {a} : {}", a.ty))
    }

    /// `op a, b : type`, of the operands' type.
    pub fn binary(&mut self, op: &str, a: Value, b: Value) -> Value {
        debug_assert_eq!(a.ty, b.ty, "{op}");
        self.define(a.ty, format_args!("{op} {a}, {b} : {}", a.ty))
    }

    /// `op a : from to to`.
    pub fn convert(&mut self, op: &str, a: Value, to: Elem) -> Value {
        let ty = a.ty.of(to);
        self.define(ty, format_args!("{op} {a} : {} to {ty}", a.ty))
    }

    /// `arith.cmpi` or `arith.cmpf` with a predicate; the result has truth values.
    pub fn compare(&mut self, predicate: &str, a: Value, b: Value) -> Value {
        debug_assert_eq!(a.ty, b.ty, "{predicate}");
        let op = if a.ty.elem == Elem::F32 { "arith.cmpf" } else { "arith.cmpi" };
        self.define(a.ty.of(Elem::I1), format_args!("{op} {predicate}, {a}, {b} : {}", a.ty))
    }

    /// Lane by lane, `a` where the condition holds, else `b`.
    pub fn select(&mut self, condition: Value, a: Value, b: Value) -> Value {
        debug_assert_eq!(a.ty, b.ty, "select");
        let operation = match a.ty.lanes {
            None => format!("arith.select {condition}, {a}, {b} : {}", a.ty),
            Some(_) => {
                format!("arith.select {condition}, {a}, {b} : {}, {}", condition.ty, a.ty)
            }
        };
        self.define(a.ty, operation)
    }

    /// An integer, index or truth value in every lane.
    pub fn int(&mut self, ty: VecTy, value: i64) -> Value {
        let literal = match ty.elem {
            Elem::I1 if value != 0 => "true".to_owned(),
            Elem::I1 => "false".to_owned(),
            _ => value.to_string(),
        };
        self.constant(ty, value, &literal)
    }

    /// A float in every lane, by its bits.
    pub fn float(&mut self, ty: VecTy, value: f32) -> Value {
        let bits = value.to_bits();
        self.constant(ty, i64::from(bits), &format!("0x{bits:08X}"))
    }

    fn constant(&mut self, ty: VecTy, key: i64, literal: &str) -> Value {
        if let Some(known) = self.constants.iter().rev().find_map(|scope| scope.get(&(ty, key))) {
            return *known;
        }
        let operation = match ty.lanes {
            None if ty.elem == Elem::I1 => format!("arith.constant {literal}"),
            None => format!("arith.constant {literal} : {ty}"),
            Some(_) => format!("arith.constant dense<{literal}> : {ty}"),
        };
        let value = self.define(ty, operation);
        if let Some(scope) = self.constants.last_mut() {
            scope.insert((ty, key), value);
        }
        value
    }

    fn indent(&mut self) {
        for _ in 1..self.constants.len() {
            self.text.push_str("  ");
        }
    }
}

/// A string for an MLIR string literal: quotes, backslashes and control characters as hex pairs.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                let _ = write!(escaped, "\\{:02X}", u32::from(c));
            }
            c if c.is_control() && c.is_ascii() => {
                let _ = write!(escaped, "\\{:02X}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const I32: VecTy = VecTy::scalar(Elem::I32);

    #[test]
    fn constants_are_shared_within_their_scope_only() {
        let mut b = Builder::new();
        b.locate("a \"quoted\"\\\n name");
        let outer = b.int(I32, 7);
        let (again, inner) = b.region("scope", |b| (b.int(I32, 7), b.int(I32, 8)));
        assert_eq!(outer, again);
        assert_ne!(inner, b.int(I32, 8));
        let text = b.finish();
        assert_eq!(text.matches("arith.constant 8 : i32").count(), 2);
        assert!(text.contains(r#"loc("a \22quoted\22\5C\0A name")"#), "{text}");
        assert!(text.contains("\n  %v2 = arith.constant 8 : i32"), "{text}");
    }
}
