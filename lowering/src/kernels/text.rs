//! A small writer of MLIR text: fresh value names, integer and vector helpers, structured regions.

use crate::codegen::Access;
use std::collections::HashMap;
use std::fmt::Write as _;

/// The name of an SSA value, with its `%`.
pub(super) type Val = String;

/// A 32-bit scalar (`lanes == 1`) or a vector of 32-bit lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lanes(pub usize);

impl Lanes {
    fn of(self, element: &str) -> String {
        if self.0 == 1 { element.to_string() } else { format!("vector<{}x{element}>", self.0) }
    }

    /// The type of bit patterns.
    pub fn int(self) -> String {
        self.of("i32")
    }

    /// The type of float32 values.
    pub fn float(self) -> String {
        self.of("f32")
    }

    /// The type of comparison results.
    pub fn mask(self) -> String {
        self.of("i1")
    }
}

/// MLIR text under construction.
#[derive(Default)]
pub(super) struct Text {
    out: String,
    next: usize,
    depth: usize,
    /// Constants of the function being written, each defined once at its head.
    constants: HashMap<String, Val>,
}

impl Text {
    /// The text written so far.
    pub fn into_string(self) -> String {
        self.out
    }

    /// Writes one line at the present indentation.
    pub fn line(&mut self, s: &str) {
        let _ = writeln!(self.out, "{:1$}{s}", "", 2 * self.depth);
    }

    fn fresh(&mut self) -> Val {
        self.next += 1;
        format!("%v{}", self.next)
    }

    /// Defines a new value by the operation `rhs`.
    pub fn def(&mut self, rhs: &str) -> Val {
        let v = self.fresh();
        self.line(&format!("{v} = {rhs}"));
        v
    }

    /// A constant, written as value and type.
    fn constant(&mut self, literal: String) -> Val {
        if let Some(v) = self.constants.get(&literal) {
            return v.clone();
        }
        let v = self.fresh();
        self.constants.insert(literal, v.clone());
        v
    }

    /// A function `@name` with `(argument, type)` parameters and no result.
    pub fn func(
        &mut self,
        name: &str,
        access: Access,
        args: &[(String, String)],
        body: impl FnOnce(&mut Self),
    ) {
        let list = args.iter().map(|(a, t)| format!("{a}: {t}")).collect::<Vec<_>>().join(", ");
        let (keyword, attributes) = (access.keyword(), access.attributes());
        self.line(&format!("{keyword} @{name}({list}){attributes} {{"));
        self.depth += 1;
        let before = std::mem::take(&mut self.out);
        body(self);
        let code = std::mem::replace(&mut self.out, before);
        let mut constants: Vec<_> = self.constants.drain().map(|(c, v)| (v, c)).collect();
        constants.sort();
        for (v, constant) in constants {
            self.line(&format!("{v} = arith.constant {constant}"));
        }
        self.out.push_str(&code);
        self.line("return");
        self.depth -= 1;
        self.line("}");
    }

    /// Calls a function without results.
    pub fn call(&mut self, name: &str, args: &[&str], types: &[&str]) {
        self.line(&format!(
            "func.call @{name}({}) : ({}) -> ()",
            args.join(", "),
            types.join(", ")
        ));
    }

    /// A binary operation whose operands and result share a type.
    pub fn bin(&mut self, op: &str, a: &str, b: &str, ty: &str) -> Val {
        self.def(&format!("arith.{op} {a}, {b} : {ty}"))
    }

    /// A binary operation on bit patterns.
    pub fn ints(&mut self, op: &str, a: &str, b: &str, lanes: Lanes) -> Val {
        self.bin(op, a, b, &lanes.int())
    }

    /// Compares bit patterns.
    pub fn cmp(&mut self, predicate: &str, a: &str, b: &str, lanes: Lanes) -> Val {
        self.def(&format!("arith.cmpi {predicate}, {a}, {b} : {}", lanes.int()))
    }

    /// Selects between bit patterns.
    pub fn select(&mut self, mask: &str, yes: &str, no: &str, lanes: Lanes) -> Val {
        let ty = lanes.int();
        if lanes.0 == 1 {
            return self.def(&format!("arith.select {mask}, {yes}, {no} : {ty}"));
        }
        self.def(&format!("arith.select {mask}, {yes}, {no} : {}, {ty}", lanes.mask()))
    }

    /// A bit pattern, the same in every lane.
    pub fn bits(&mut self, value: u32, lanes: Lanes) -> Val {
        let value = value as i32;
        let literal = if lanes.0 == 1 { value.to_string() } else { format!("dense<{value}>") };
        self.constant(format!("{literal} : {}", lanes.int()))
    }

    /// A condition that is known.
    pub fn flag(&mut self, value: bool) -> Val {
        self.constant(value.to_string())
    }

    /// A mask of all lanes.
    pub fn all(&mut self, lanes: Lanes) -> Val {
        self.constant(format!("dense<true> : {}", lanes.mask()))
    }

    /// The lanes' numbers.
    pub fn counts(&mut self, lanes: Lanes) -> Val {
        let counts: Vec<String> = (0..lanes.0).map(|l| l.to_string()).collect();
        self.constant(format!("dense<[{}]> : {}", counts.join(", "), lanes.int()))
    }

    /// Positive zero in every lane.
    pub fn zero(&mut self, lanes: Lanes) -> Val {
        let literal = if lanes.0 == 1 { "0.0" } else { "dense<0.0>" };
        self.constant(format!("{literal} : {}", lanes.float()))
    }

    /// An `i64` constant.
    pub fn i64(&mut self, value: i64) -> Val {
        self.constant(format!("{value} : i64"))
    }

    /// Reads bit patterns as float32.
    pub fn as_float(&mut self, v: &str, lanes: Lanes) -> Val {
        self.def(&format!("arith.bitcast {v} : {} to {}", lanes.int(), lanes.float()))
    }

    /// `i64` operation with a constant right operand.
    pub fn i64_op(&mut self, op: &str, a: &str, b: i64) -> Val {
        let b = self.i64(b);
        self.bin(op, a, &b, "i64")
    }

    /// `base + index` for a pointer to 32-bit elements.
    pub fn at(&mut self, base: &str, index: &str) -> Val {
        self.def(&format!(
            "llvm.getelementptr {base}[{index}] : (!llvm.ptr, i64) -> !llvm.ptr, i32"
        ))
    }

    /// `base + index` for a constant index.
    pub fn at_const(&mut self, base: &str, index: i64) -> Val {
        if index == 0 {
            return base.to_string();
        }
        self.def(&format!("llvm.getelementptr {base}[{index}] : (!llvm.ptr) -> !llvm.ptr, i32"))
    }

    /// Memory for so many elements until the function returns; to be taken at its head.
    pub fn alloca(&mut self, elements: usize) -> Val {
        let size = self.i64(elements as i64);
        let align = "{alignment = 64 : i64}";
        self.def(&format!("llvm.alloca {size} x i32 {align} : (i64) -> !llvm.ptr"))
    }

    /// Loads a 32-bit-element value of type `ty`.
    pub fn load(&mut self, pointer: &str, ty: &str) -> Val {
        self.def(&format!("llvm.load {pointer} {{alignment = 4 : i64}} : !llvm.ptr -> {ty}"))
    }

    /// The address of a memref's first element.
    pub fn pointer(&mut self, memref: &str, ty: &str) -> Val {
        let index =
            self.def(&format!("memref.extract_aligned_pointer_as_index {memref} : {ty} -> index"));
        let address = self.def(&format!("arith.index_cast {index} : index to i64"));
        self.def(&format!("llvm.inttoptr {address} : i64 to !llvm.ptr"))
    }

    /// Stores a 32-bit-element value of type `ty`.
    pub fn store(&mut self, value: &str, pointer: &str, ty: &str) {
        self.line(&format!(
            "llvm.store {value}, {pointer} {{alignment = 4 : i64}} : {ty}, !llvm.ptr"
        ));
    }

    /// Broadcasts a 32-bit scalar of type `element` to all lanes.
    pub fn broadcast(&mut self, scalar: &str, lanes: Lanes) -> Val {
        if lanes.0 == 1 {
            return scalar.to_string();
        }
        self.def(&format!("vector.broadcast {scalar} : i32 to {}", lanes.int()))
    }

    /// A serial loop `lo..hi` by `step` over `i64`, carrying `(initial value, type)` pairs.
    pub fn loop_with(
        &mut self,
        [lo, hi]: [&str; 2],
        step: i64,
        carried: &[(Val, String)],
        body: impl FnOnce(&mut Self, &str, Vec<Val>) -> Vec<Val>,
    ) -> Vec<Val> {
        let step = self.i64(step);
        let iv = self.fresh();
        let names: Vec<Val> = carried.iter().map(|_| self.fresh()).collect();
        let result = self.fresh();
        let types = carried.iter().map(|(_, t)| t.as_str()).collect::<Vec<_>>().join(", ");
        let head = format!("scf.for {iv} = {lo} to {hi} step {step}");
        if carried.is_empty() {
            self.line(&format!("{head} : i64 {{"));
        } else {
            let inits = names.iter().zip(carried).map(|(n, (v, _))| format!("{n} = {v}"));
            let inits = inits.collect::<Vec<_>>().join(", ");
            let count = carried.len();
            self.line(&format!(
                "{result}:{count} = {head} iter_args({inits}) -> ({types}) : i64 {{"
            ));
        }
        self.depth += 1;
        let last = body(self, &iv, names);
        self.yield_values(&last, &types);
        self.depth -= 1;
        self.line("}");
        (0..carried.len()).map(|i| format!("{result}#{i}")).collect()
    }

    /// A serial loop `0..hi` by `step` that carries nothing.
    pub fn loop_to(&mut self, hi: &str, step: i64, body: impl FnOnce(&mut Self, &str)) {
        let zero = self.i64(0);
        self.loop_with([&zero, hi], step, &[], |t, iv, _| {
            body(t, iv);
            Vec::new()
        });
    }

    /// Independent iterations `0..count`, run by all threads if `parallel`.
    pub fn each(&mut self, parallel: bool, count: i64, body: impl FnOnce(&mut Self, &str)) {
        if !parallel || count < 2 {
            let hi = self.i64(count);
            return self.loop_to(&hi, 1, body);
        }
        let [lo, hi, step] = [0, count, 1].map(|v| self.constant(format!("{v} : index")));
        let iv = self.fresh();
        self.line(&format!("scf.parallel ({iv}) = ({lo}) to ({hi}) step ({step}) {{"));
        self.depth += 1;
        let index = self.def(&format!("arith.index_cast {iv} : index to i64"));
        body(self, &index);
        self.line("scf.reduce");
        self.depth -= 1;
        self.line("}");
    }

    /// Two-way branch with results of the given types.
    pub fn branch(
        &mut self,
        condition: &str,
        types: &[String],
        yes: impl FnOnce(&mut Self) -> Vec<Val>,
        no: impl FnOnce(&mut Self) -> Vec<Val>,
    ) -> Vec<Val> {
        let result = self.fresh();
        let list = types.join(", ");
        if types.is_empty() {
            self.line(&format!("scf.if {condition} {{"));
        } else {
            let count = types.len();
            self.line(&format!("{result}:{count} = scf.if {condition} -> ({list}) {{"));
        }
        self.depth += 1;
        let values = yes(self);
        self.yield_values(&values, &list);
        self.depth -= 1;
        self.line("} else {");
        self.depth += 1;
        let values = no(self);
        self.yield_values(&values, &list);
        self.depth -= 1;
        self.line("}");
        (0..types.len()).map(|i| format!("{result}#{i}")).collect()
    }

    /// Runs `case(i)` where the `i64` value equals `i`, for i in `0..count - 1`, else the last.
    pub fn switch(&mut self, on: &str, count: usize, mut case: impl FnMut(&mut Self, usize)) {
        let index = self.def(&format!("arith.index_cast {on} : i64 to index"));
        self.line(&format!("scf.index_switch {index}"));
        for i in 0..count {
            let label = if i + 1 == count { "default".into() } else { format!("case {i}") };
            self.line(&format!("{label} {{"));
            self.depth += 1;
            case(self, i);
            self.line("scf.yield");
            self.depth -= 1;
            self.line("}");
        }
    }

    fn yield_values(&mut self, values: &[Val], types: &str) {
        if !values.is_empty() {
            self.line(&format!("scf.yield {} : {types}", values.join(", ")));
        }
    }
}
