//! Kernels that apply one elementwise primitive to whole arrays.

use pamc_lowering::emit::{Builder, Elem, Value, VecTy, scalar};
use pamc_passes::{
    ir::{Attrs, DType, TensorType},
    ops::{Prim, all},
    reference,
};

/// Elements of each operand: more than a million, a multiple of the lanes.
pub const N: usize = 1 << 20;
/// The widths each kernel is made in: scalar, and 16 elements.
pub const LANES: [Option<usize>; 2] = [None, Some(16)];

/// One application of a primitive.
pub struct Case {
    pub name: String,
    pub prim: Prim,
    pub attrs: Attrs,
    pub operands: Vec<DType>,
    pub result: DType,
}

pub fn terms(terms: &[(bool, i32)]) -> Attrs {
    let negative: Vec<i64> = terms.iter().map(|t| i64::from(t.0)).collect();
    let exponents: Vec<i64> = terms.iter().map(|t| i64::from(t.1)).collect();
    Attrs::none().with("negative", negative).with("exponents", exponents)
}

/// The attribute sets a primitive is tried with.
fn settings(prim: Prim) -> Vec<Attrs> {
    match prim {
        Prim::Cast | Prim::Bitcast => {
            DType::ALL.iter().map(|&to| Attrs::none().with("to", to)).collect()
        }
        Prim::Scale2 => [-600i64, -254, -253, -126, -23, -1, 0, 1, 23, 127, 254, 255, 600]
            .iter()
            .map(|&k| Attrs::none().with("k", k))
            .collect(),
        Prim::ShiftSum => vec![
            terms(reference::LOG2E_TERMS),
            terms(reference::LN2_TERMS),
            terms(&[(true, 3), (false, -100)]),
        ],
        _ => vec![Attrs::none()],
    }
}

/// Every elementwise row of the op table with every element type it accepts.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in all() {
        let Some(prim) = op.prim().filter(|p| p.is_elementwise()) else { continue };
        let before = cases.len();
        for dtype in DType::ALL {
            let mut operands = vec![dtype; op.arity().0];
            if prim == Prim::Select {
                operands[0] = DType::Bool;
            }
            let types: Vec<_> = operands.iter().map(|&d| TensorType::new(d, [N])).collect();
            for attrs in settings(prim) {
                let refs: Vec<_> = types.iter().collect();
                let Ok(result) = (op.shape)(&refs, &attrs) else { continue };
                let name = format!("case{}_{}", cases.len(), op.name.replace('.', "_"));
                let operands = operands.clone();
                cases.push(Case { name, prim, attrs, operands, result: result.dtype });
            }
        }
        assert!(cases.len() > before, "no element type fits {}", op.name);
    }
    cases
}

/// Element type in memory.
fn stored(dtype: DType) -> Elem {
    if dtype == DType::Bool { Elem::I8 } else { dtype.into() }
}

fn ty(elem: Elem, lanes: Option<usize>) -> VecTy {
    VecTy { elem, lanes }
}

fn load(b: &mut Builder, memref: &str, dtype: DType, lanes: Option<usize>) -> Value {
    let stored = stored(dtype);
    let value = match lanes {
        None => b.define(
            ty(stored, None),
            format_args!("memref.load {memref}[%i] : memref<{N}x{}>", stored.name()),
        ),
        Some(_) => {
            let ty = ty(stored, lanes);
            b.define(
                ty,
                format_args!("vector.load {memref}[%i] : memref<{N}x{}>, {ty}", stored.name()),
            )
        }
    };
    match dtype {
        DType::F32 => scalar::flush(b, value),
        DType::Bool => {
            let zero = b.int(value.ty, 0);
            b.compare("ne", value, zero)
        }
        _ => value,
    }
}

fn store(b: &mut Builder, value: Value, memref: &str, dtype: DType) {
    let elem = stored(dtype);
    let value = if dtype == DType::Bool { b.convert("arith.extui", value, elem) } else { value };
    let memory = format!("{memref}[%i] : memref<{N}x{}>", elem.name());
    match value.ty.lanes {
        None => b.line(format_args!("memref.store {value}, {memory}")),
        Some(_) => b.line(format_args!("vector.store {value}, {memory}, {}", value.ty)),
    }
}

/// A function `(operands..., result)` over arrays of `N` elements.
pub fn kernel(
    b: &mut Builder,
    name: &str,
    operands: &[DType],
    result: DType,
    lanes: Option<usize>,
    body: impl FnOnce(&mut Builder, &[Value]) -> Value,
) {
    let all = operands.iter().chain([&result]).enumerate();
    let parameters: Vec<_> =
        all.map(|(i, &d)| format!("%p{i}: memref<{N}x{}>", stored(d).name())).collect();
    b.region(format_args!("func.func @{name}({})", parameters.join(", ")), |b| {
        b.line("%low = arith.constant 0 : index");
        b.line(format_args!("%high = arith.constant {N} : index"));
        b.line(format_args!("%step = arith.constant {} : index", lanes.unwrap_or(1)));
        b.region("scf.for %i = %low to %high step %step", |b| {
            let x: Vec<_> = (operands.iter().enumerate())
                .map(|(i, &d)| load(b, &format!("%p{i}"), d, lanes))
                .collect();
            let y = body(b, &x);
            store(b, y, &format!("%p{}", operands.len()), result);
        });
        b.line("return");
    });
}

/// A module with one kernel a case and width, named `{case}_{lanes}`.
pub fn module<'a>(cases: impl IntoIterator<Item = &'a Case>) -> String {
    let mut b = Builder::new();
    for case in cases {
        for lanes in LANES {
            b.locate(&case.name);
            let name = format!("{}_{}", case.name, lanes.unwrap_or(1));
            kernel(&mut b, &name, &case.operands, case.result, lanes, |b, x| {
                scalar::emit(b, case.prim, &case.attrs, x, case.result.into())
                    .unwrap_or_else(|| panic!("{} is not emitted", case.name))
            });
        }
    }
    b.finish()
}
