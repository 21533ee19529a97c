//! What operations do with their operands, and where their results come from.

use super::{CONVERTED, STORED, begins};
use crate::audit::flow::{Action, Role, Source};
use crate::opt::ir::{Attribute, Ty};
use mlir_sys::*;

/// What an operation does with an operand.
pub(super) unsafe fn role(name: &str, action: Action, n: usize, operand: MlirValue) -> Role {
    let last = name.rsplit('.').next().unwrap_or(name);
    match action {
        Action::Data(_) => return Role::Factor,
        Action::Integer if name.starts_with("affine.") => return Role::Dividend,
        // The scale of a fixed-point product.
        Action::Integer if n > 1 => return Role::Value,
        Action::Integer => {
            let divides = ["div", "rem", "Div", "Rem", "Mod"].iter().any(|w| last.contains(w));
            return if divides && n == 0 { Role::Dividend } else { Role::Factor };
        }
        Action::None => {}
    }
    // SAFETY: the caller's promise.
    let index = Ty(unsafe { mlirValueGetType(operand) }).element().is_index();
    match name {
        "arith.cmpi" | "arith.cmpf" | "llvm.icmp" | "llvm.fcmp" | "index.cmp" => Role::Condition,
        "arith.select" | "llvm.select" | "spirv.Select" | "scf.if" if n == 0 => Role::Condition,
        "arith.sitofp" | "arith.uitofp" | "llvm.sitofp" | "llvm.uitofp" | "spirv.ConvertSToF"
        | "spirv.ConvertUToF" => CONVERTED,
        "memref.store"
        | "affine.store"
        | "vector.store"
        | "vector.transfer_write"
        | "llvm.store"
        | "spirv.Store"
        | "vector.scatter"
        | "vector.maskedstore"
        | "vector.compressstore" => {
            let data = match name {
                "spirv.Store" => 1,
                "vector.scatter" | "vector.maskedstore" | "vector.compressstore" => usize::MAX,
                _ => 0,
            };
            // SAFETY: the caller's promise.
            let values =
                data == usize::MAX && unsafe { mlirTypeIsAVector(mlirValueGetType(operand)) };
            if n == data || values { STORED } else { Role::Address }
        }
        "tensor.insert" | "vector.insert" | "vector.insertelement" if n == 0 => {
            if name == "tensor.insert" { STORED } else { Role::Value }
        }
        "linalg.fill" | "tensor.splat" | "tensor.from_elements" => STORED,
        "memref.atomic_rmw" | "llvm.atomicrmw" | "llvm.cmpxchg" => STORED,
        _ if name.starts_with("spirv.") && is_comparison(last) => Role::Condition,
        "llvm.load" | "memref.load" | "affine.load" | "vector.load" | "spirv.Load"
        | "spirv.AccessChain" => {
            if name == "spirv.AccessChain" {
                Role::Value
            } else {
                Role::Address
            }
        }
        "llvm.intr.masked.load" | "llvm.intr.masked.gather" => {
            [Role::Address, Role::Condition, Role::Value][n.min(2)]
        }
        "llvm.intr.masked.store" | "llvm.intr.masked.scatter" => {
            [STORED, Role::Address, Role::Condition][n.min(2)]
        }
        "vector.create_mask" | "vector.constant_mask" => Role::Condition,
        "vector.broadcast"
        | "vector.splat"
        | "vector.from_elements"
        | "vector.step"
        | "vector.extract"
        | "vector.shuffle"
        | "vector.shape_cast"
        | "vector.extractelement"
        | "vector.extract_strided_slice"
        | "vector.insert_strided_slice" => Role::Value,
        _ if index
            && begins(
                name,
                &[
                    "memref.",
                    "tensor.",
                    "bufferization.",
                    "vector.",
                    "scf.",
                    "gpu.",
                    "affine.for",
                    "affine.parallel",
                    "affine.vector",
                    "omp.",
                ],
            ) =>
        {
            Role::Address
        }
        _ => Role::Value,
    }
}

fn is_comparison(last: &str) -> bool {
    ["Equal", "Less", "Greater", "NotEqual", "IsNan", "IsInf"].iter().any(|w| last.contains(w))
}

/// Where the results of an operation come from.
pub(super) unsafe fn source(op: MlirOperation, name: &str) -> Source {
    let loads = begins(
        name,
        &[
            "memref.load",
            "affine.load",
            "vector.load",
            "vector.transfer_read",
            "llvm.load",
            "llvm.intr.masked.load",
            "llvm.intr.masked.gather",
            "tensor.extract",
            "spirv.Load",
            "vector.gather",
            "vector.maskedload",
            "vector.expandload",
            "affine.vector_load",
            "arith.fpto",
            "llvm.fpto",
            "memref.atomic_rmw",
            "llvm.atomicrmw",
        ],
    );
    if loads && name != "tensor.extract_slice" {
        return Source::Data;
    }
    if !matches!(
        name,
        "arith.constant" | "llvm.mlir.constant" | "index.constant" | "spirv.Constant"
    ) {
        return Source::Operands;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let key = MlirStringRef { data: c"value".as_ptr(), length: 5 };
        let value = mlirOperationGetAttributeByName(op, key);
        if value.ptr.is_null() || !mlirAttributeIsAInteger(value) {
            return Source::Fixed;
        }
        let ty = mlirAttributeGetType(value);
        if mlirTypeIsAInteger(ty) && mlirIntegerTypeGetWidth(ty) > 64 {
            return Source::Fixed;
        }
        let text = Attribute(value).text();
        let digits = text.split(' ').next().unwrap_or_default();
        digits.parse().map_or(Source::Fixed, Source::Constant)
    }
}
