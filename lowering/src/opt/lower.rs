//! `pamc-lower`: every product, quotient and function of floats becomes PAM.
//!
//! Operations that hide their arithmetic (named structured operations, contractions of vectors) are
//! first expanded by upstream's own expansions; then each operation that multiplies is replaced by
//! its term. Additions, their order, types and control flow stay as they are.

use crate::audit::mlir::combination;

use super::{
    findings::{self, Finding},
    ir::{Attribute, Op, Ty, Val, create},
    meaning::{self, Meaning},
    options::LowerOptions,
    shim,
    template::{Form, Request, Templates},
    term::{self, Operand, What},
};

/// Runs the pass; the message is empty where each problem has been reported at its place.
///
/// # Errors
/// If an operation multiplies in a way that PAM does not define. All of them are reported.
pub(super) fn run(root: Op, values: &[&str]) -> Result<(), String> {
    let options = LowerOptions::parse(values)?;
    expand(root)?;
    let mut plans = Vec::new();
    let mut problems = Vec::new();
    for op in root.all() {
        match plan(op, &options) {
            Some(Ok(plan)) => plans.push(plan),
            Some(Err(why)) => problems.push((op, why)),
            None => {}
        }
    }
    if !problems.is_empty() {
        for (op, why) in &problems {
            op.error(&format!("pamc-lower: {}", why.message(*op)));
        }
        return Err(format!("pamc-lower: {} operation(s) cannot be lowered", problems.len()));
    }
    let wide = |plan: &&Plan| plan.op.values().any(|v| v.ty().element().is_wider_than_f32());
    if let Some(first) = plans.iter().find(wide) {
        first.op.warning(&format!(
            "pamc-lower: {} operation(s) on floats wider than f32 are computed in f32, this one first",
            plans.iter().filter(wide).count()
        ));
    }
    let mut templates = Templates::new(root.context(), options);
    for plan in plans {
        let operands: Vec<Val> = plan.op.operands().collect();
        let results = templates.write(&plan.request, plan.op, &operands)?;
        plan.op.replace(&results);
    }
    strict(root)
}

/// Named structured operations and vector operations that multiply, as simpler ones.
fn expand(root: Op) -> Result<(), String> {
    // Their reductions are operations only outside the affine dialect.
    let reduces = |op: &Op| op.name() == "affine.parallel" && combination(*op) == "mulf";
    while let Some(loops) = root.all().into_iter().find(reduces) {
        shim::lower_affine(loops);
        if root.all().into_iter().filter(reduces).any(|op| op.0.ptr == loops.0.ptr) {
            break;
        }
    }
    for op in root.all().into_iter().filter(|op| op.name() == "llvm.intr.vector.reduce.fmul") {
        reduction(op)?;
    }
    for op in root.all().into_iter().filter(|op| op.name() == "linalg.softmax") {
        // One that is left is reported by name.
        shim::decompose(op);
    }
    for op in root.all().into_iter().filter(|op| shim::is_named_structured(*op)) {
        if op.all().iter().any(|inside| inside.name() != op.name() && is_lowered(*inside)) {
            shim::generalize(op);
        }
    }
    let vectors: Vec<Op> =
        root.all().into_iter().filter(|op| findings::hides_vector_product(*op)).collect();
    shim::expand_vectors(&vectors);
    Ok(())
}

/// LLVM's reduction by products as the vector dialect's.
fn reduction(op: Op) -> Result<(), String> {
    let (start, vector) = (op.operand(0), op.operand(1));
    let kind = Attribute::parse(op.context(), "#vector.kind<mul>")?;
    let kind = kind.named(op.context(), "kind");
    let new = create("vector.reduction", op, &[vector, start], &[start.ty()], &[kind]);
    op.insert_before(new);
    op.replace(&new.results().collect::<Vec<_>>());
    Ok(())
}

/// An operation on floats that has, or should have, a meaning.
fn is_lowered(op: Op) -> bool {
    findings::on_floats(op) && meaning::of_operation(op.name()).is_some()
}

/// One replacement.
struct Plan {
    op: Op,
    request: Request<'static>,
}

/// What to do about an operation; `None` for one that does not multiply floats.
fn plan(op: Op, options: &LowerOptions) -> Option<Result<Plan, Finding>> {
    let name = op.name();
    if let Some(row) = term::pam_row(name) {
        // Left alone when the pam dialect is what is asked for.
        let wanted = options.to == super::options::Dialect::Arith;
        return wanted.then(|| request(op, What::Pam(row.name, term::pam_attributes(op, row))));
    }
    if name == "memref.atomic_rmw" && combination(op) == "mulf" {
        return Some(request(op, What::Row("mul")));
    }
    let meaning = match findings::callee(op) {
        Some(callee) => meaning::of_call(&callee),
        None if findings::on_floats(op) => meaning::of_operation(name),
        None => None,
    };
    match meaning {
        None => findings::of(op).map(Err),
        Some(Meaning::Undefined(why)) => Some(Err(Finding::new(why))),
        Some(meaning) => {
            let what = What::try_from(meaning).map_err(Finding::new);
            Some(what.and_then(|what| request(op, what)))
        }
    }
}

/// How many operands of an operation are part of its term.
fn terms(op: Op) -> usize {
    match op.name() {
        "memref.atomic_rmw" => 2,
        // Lanes that the mask and the number of lanes at the end turn off may hold anything.
        name if name.starts_with("llvm.intr.vp.") => op.operand_count().saturating_sub(2),
        _ => usize::MAX,
    }
}

/// The term to write for an operation, if its types allow one.
fn request(op: Op, what: What) -> Result<Plan, Finding> {
    let atomic = op.name() == "memref.atomic_rmw";
    let form = form(op, atomic)?;
    let taken: Vec<Val> = op.operands().take(terms(op)).collect();
    for ty in taken.iter().map(|v| v.ty()).chain(op.results().map(|v| v.ty())) {
        element_is_supported(ty)?;
    }
    let constants = matches!(what, What::Row(_) | What::Term(_)) && !atomic;
    let operands = taken.iter().map(|&value| {
        let constant = constant(value).filter(|_| constants);
        match constant {
            Some(c) => Operand::Constant(c),
            None if value.ty().element().is_float() || atomic => Operand::Float,
            None => Operand::Int,
        }
    });
    // In lanes, a term is parsed on elements and copied in the vector's shape.
    let describe = |v: Val| match form {
        Form::Scalar => v.ty().element().text(),
        _ => v.ty().text(),
    };
    let types = (op.operands().map(describe).collect(), op.results().map(describe).collect());
    let request = Request { name: op.name(), what, operands: operands.collect(), types, form };
    Ok(Plan { op, request })
}

/// Where the term of an operation stands.
fn form(op: Op, atomic: bool) -> Result<Form, Finding> {
    if atomic {
        return Ok(Form::Atomic);
    }
    match op.results().map(Val::ty).find(|ty| ty.is_shaped()) {
        Some(ty) if ty.is_ranked_tensor() => Ok(Form::Tensor { dims: ty.dims() }),
        Some(ty) if ty.is_tensor() => {
            Err(Finding::new("a tensor without a rank; give it one (tensor.cast)"))
        }
        Some(ty) if !ty.is_vector() => Err(Finding::new("the type is neither scalar nor vector")),
        _ => Ok(Form::Scalar),
    }
}

fn element_is_supported(ty: Ty) -> Result<(), Finding> {
    let element = ty.element();
    if element.is_float() || element.is_integer() || element.is_index() {
        return Ok(());
    }
    Err(Finding::new(format!(
        "PAM is defined on f32 (other floats by conversion), not on {}; convert the data to f32 first",
        element.text()
    )))
}

/// The number an operand is known to be, in every element: a constant, or an argument of a
/// `linalg.generic` that stands for one.
fn constant(value: Val) -> Option<f32> {
    if let Some(op) = value.definition() {
        let constant = matches!(op.name(), "arith.constant" | "llvm.mlir.constant");
        return constant.then(|| op.attribute("value")?.number()).flatten().map(|x| x as f32);
    }
    let (owner, number) = value.argument_of()?;
    let inputs = owner.operand_count().checked_sub(owner.results().count())?;
    let outside =
        (owner.name() == "linalg.generic" && number < inputs).then(|| owner.operand(number));
    constant(outside?)
}

/// Takes from every operation the leave to reassociate, contract or approximate: LLVM would fuse
/// or make products of sums.
fn strict(root: Op) -> Result<(), String> {
    for op in root.all() {
        for (name, none) in
            [("fastmath", "#arith.fastmath<none>"), ("fastmathFlags", "#llvm.fastmath<none>")]
        {
            if op.attribute(name).is_some_and(|flags| flags.text() != none) {
                op.set_attribute(name, Attribute::parse(root.context(), none)?);
            }
        }
    }
    Ok(())
}
