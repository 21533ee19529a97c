//! Which operations multiply: on floats, and on integers that are data.

use super::{
    ir::{Op, operations},
    meaning, shim,
};
use crate::audit::{
    Kind,
    flow::Action,
    mlir::{self, combination},
};
use std::{borrow::Cow, collections::HashSet};

/// Why an operation is not free of multiplication.
pub(super) struct Finding {
    /// What is in the way, or what to do about it; may be empty.
    why: Cow<'static, str>,
    /// The product is one of integers.
    pub integer: bool,
}

impl Finding {
    pub fn new(why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into(), integer: false }
    }

    /// The finding with the operation's name.
    pub fn message(&self, op: Op) -> String {
        let what = match callee(op) {
            Some(callee) => format!("call of '{callee}'"),
            None => {
                let kind = combination(op);
                let kind = if kind.is_empty() { kind } else { format!(" ({kind})") };
                format!("'{}'{kind}", op.name())
            }
        };
        if self.why.is_empty() { what } else { format!("{what}: {}", self.why) }
    }
}

/// True if an operand or a result holds floats.
pub(super) fn on_floats(op: Op) -> bool {
    op.values().any(|v| v.ty().element().is_float())
}

/// True for a vector operation that multiplies floats without showing it.
pub(super) fn hides_vector_product(op: Op) -> bool {
    if !on_floats(op) {
        return false;
    }
    match op.name() {
        "vector.contract" | "vector.outerproduct" => true,
        "vector.reduction" | "vector.multi_reduction" | "vector.scan" => combination(op) == "mul",
        _ => false,
    }
}

/// The function a call names, if it is declared elsewhere: one with a body is seen itself.
pub(super) fn callee(op: Op) -> Option<String> {
    let name = match op.name() {
        "func.call" | "llvm.call" => op.attribute("callee")?.symbol()?,
        // Of a function in C or C++, which is nowhere here.
        "emitc.call_opaque" => return op.attribute("callee")?.string(),
        _ => return None,
    };
    let mut scope = op.parent();
    while let Some(outer) = scope {
        let children = outer.blocks().into_iter().flat_map(operations);
        let mut functions = children.filter(|f| matches!(f.name(), "func.func" | "llvm.func"));
        let named =
            |f: &Op| f.attribute("sym_name").and_then(|n| n.string()).as_ref() == Some(&name);
        if let Some(function) = functions.find(named) {
            return function.blocks().is_empty().then_some(name);
        }
        scope = outer.parent();
    }
    Some(name)
}

/// What to do about an operation that multiplies floats and has no meaning in PAM.
fn advice(dialect: &str, name: &str) -> &'static str {
    match dialect {
        "tosa" => "run tosa-to-linalg-named, tosa-to-linalg and tosa-to-arith first",
        "complex" => "write it with real parts first: run convert-complex-to-standard",
        "affine" => "run lower-affine first",
        "gpu" if name.starts_with("subgroup_mma_compute") => "lower it to loops first",
        "gpu" => "write the reduction out first",
        "linalg" if name.starts_with("winograd") => "decompose it into matmuls first",
        "linalg" => "run pamc-lower before bufferization",
        "vector" => "upstream has no lowering for this form",
        _ => "run pamc-lower before the pass that makes it",
    }
}

/// Why a single operation is not free of multiplication of floats, `None` if it is. What is inside it is
/// not asked.
pub(super) fn of(op: Op) -> Option<Finding> {
    let (dialect, name) = op.name().split_once('.').unwrap_or(("builtin", op.name()));
    if let Some(callee) = callee(op) {
        return meaning::of_call(&callee).map(|_| Finding::new(""));
    }
    if mlir::foreign_code(op).is_some() {
        return Some(Finding::new("what is written in another language cannot be checked"));
    }
    let complex = dialect == "complex";
    if !(on_floats(op) || complex) || shim::is_named_structured(op) {
        return None;
    }
    match mlir::action(op) {
        Some(Action::Data(_)) if meaning::of_operation(op.name()).is_some() => {
            Some(Finding::new(""))
        }
        Some(Action::Data(_)) if op.name() == "memref.atomic_rmw" => Some(Finding::new("")),
        Some(Action::Data(_)) => Some(Finding::new(advice(dialect, name))),
        Some(Action::None | Action::Integer) => None,
        None => Some(Finding::new("an operation that is not known cannot be checked")),
    }
}

/// Every operation in `root` that multiplies: floats, and integers that are data by where they go.
pub(super) fn all(root: Op) -> Vec<(Op, Finding)> {
    // SAFETY: the operation is alive, and a pass may read what it runs on.
    let (found, _) = unsafe { mlir::judge(root.0) };
    let places: HashSet<usize> = found.iter().map(|(op, _)| op.ptr as usize).collect();
    // Of a structured operation and its implied body, the one that is in the text.
    let implied = |op: Op| {
        op.parent()
            .is_some_and(|p| places.contains(&(p.0.ptr as usize)) && shim::is_named_structured(p))
    };
    let judged = found.into_iter().filter_map(|(op, finding)| {
        let op = Op(op);
        let integers = matches!(finding.kind, Kind::IntegerMultiply | Kind::VectorIntegerMultiply);
        // Values of type index are positions and counts, whatever they become.
        let positions = integers && op.results().all(|r| r.ty().element().is_index());
        if implied(op) || positions {
            return None;
        }
        let finding = match finding.kind {
            // A function that is only declared is judged by its name.
            Kind::LibraryCall | Kind::UnknownCall | Kind::Unknown => of(op)?,
            _ if integers || !(on_floats(op) || op.name().starts_with("complex.")) => Finding {
                why:
                    "a product of integers that are data (pamc-verify{integers=allow} admits them)"
                        .into(),
                integer: true,
            },
            _ => of(op).unwrap_or_else(|| Finding::new("")),
        };
        Some((op, finding))
    });
    judged.collect()
}
