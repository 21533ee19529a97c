//! Terms as operations of a context: parsed once for each kind, then copied to where they are
//! needed.

use super::{
    ir::{Op, Ty, Val, create, operations, string_ref},
    options::LowerOptions,
    term::{self, Operand, What},
};
use crate::emit::{Builder, Elem, Value, VecTy};
use mlir_sys::*;
use std::{collections::HashMap, ffi::c_void};

/// Where a term stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// On scalars, or lane by lane on vectors.
    Scalar,
    /// On tensors of this many dimensions: a `linalg.generic`.
    Tensor {
        /// Extents of the result, `None` where dynamic.
        dims: Vec<Option<i64>>,
    },
    /// On an element of a memref, atomically: value, memref and indices are the operands.
    Atomic,
}

/// A term to write: what it computes, of which operands, in which form.
pub(super) struct Request<'a> {
    /// Name of the operation that is replaced, which says what is computed.
    pub name: &'a str,
    /// What is computed.
    pub what: What,
    /// What is known of each operand.
    pub operands: Vec<Operand>,
    /// Types of the operands and of the results, elements in the form [`Form::Scalar`].
    pub types: (Vec<String>, Vec<String>),
    /// Where it stands.
    pub form: Form,
}

/// Terms parsed so far, in one context.
pub(super) struct Templates {
    context: MlirContext,
    options: LowerOptions,
    // Each module holds one function; destroyed with this.
    parsed: HashMap<String, MlirModule>,
}

impl Drop for Templates {
    fn drop(&mut self) {
        for module in self.parsed.values() {
            // SAFETY: owned, and nothing inside is referred to from outside.
            unsafe { mlirModuleDestroy(*module) }
        }
    }
}

impl Templates {
    pub fn new(context: MlirContext, options: LowerOptions) -> Self {
        Self { context, options, parsed: HashMap::new() }
    }

    /// Copies a term before `site`; `operands` are the actual ones. Gives its results.
    ///
    /// # Errors
    /// If there is no such term: the op table does not lower it.
    pub fn write(
        &mut self,
        request: &Request<'_>,
        site: Op,
        operands: &[Val],
    ) -> Result<Vec<Val>, String> {
        let attributes = match &request.what {
            What::Pam(_, attrs) => format!("{attrs:?}"),
            _ => String::new(),
        };
        let (Request { name, operands: kinds, types, form, .. }, to) = (request, self.options.to);
        let key = format!("{name} {attributes} {kinds:?} {types:?} {form:?} {to:?}");
        let module = match self.parsed.get(&key) {
            Some(module) => *module,
            None => {
                let module = self.parse(&text(request, &self.options)?)?;
                self.parsed.insert(key, module);
                module
            }
        };
        // SAFETY: the module holds one function with one block.
        let function = unsafe { Op(mlirBlockGetFirstOperation(mlirModuleGetBody(module))) };
        let entry = function.blocks().into_iter().next().ok_or("an empty term")?;
        Ok(copy(entry, site, operands, &request.form))
    }

    fn parse(&self, text: &str) -> Result<MlirModule, String> {
        // SAFETY: the text outlives the call.
        let module = unsafe { mlirModuleCreateParse(self.context, string_ref(text)) };
        if module.ptr.is_null() {
            return Err(format!("a term does not parse:\n{text}"));
        }
        Ok(module)
    }
}

/// Copies a block's operations before `site`; gives what its return would return.
fn copy(entry: MlirBlock, site: Op, operands: &[Val], form: &Form) -> Vec<Val> {
    let mut values: HashMap<*const c_void, Val> = HashMap::new();
    for (i, operand) in operands.iter().enumerate() {
        // SAFETY: the function has an argument an operand.
        let argument = unsafe { mlirBlockGetArgument(entry, i as isize) };
        values.insert(argument.ptr, *operand);
    }
    let shape = operands.iter().map(|o| o.ty()).find(|ty| ty.is_vector());
    let shape = shape.filter(|_| *form == Form::Scalar);
    let mut returned = Vec::new();
    for op in operations(entry) {
        let mapped: Vec<Val> = op.operands().map(|v| values[&v.0.ptr]).collect();
        if op.name() == "func.return" {
            returned = mapped;
            break;
        }
        let new = match shape {
            None => clone(op, &values, site),
            Some(shape) => in_lanes(op, &mapped, site, shape),
        };
        site.insert_before(new);
        for (old, new) in op.results().zip(new.results()) {
            values.insert(old.0.ptr, new);
        }
    }
    returned
}

/// The same operation, with the values of the term inside it and around it replaced by actual ones.
fn clone(op: Op, values: &HashMap<*const c_void, Val>, site: Op) -> Op {
    // SAFETY: the clone is as the original, with as many operands.
    unsafe {
        let new = Op(mlirOperationClone(op.0));
        for inside in new.all() {
            for (i, operand) in inside.operands().collect::<Vec<_>>().into_iter().enumerate() {
                if let Some(value) = values.get(&operand.0.ptr) {
                    mlirOperationSetOperand(inside.0, i as isize, value.0);
                }
            }
            mlirOperationSetLocation(inside.0, site.location());
        }
        new
    }
}

/// The same elementwise operation on vectors.
fn in_lanes(op: Op, operands: &[Val], site: Op, shape: Ty) -> Op {
    let results: Vec<Ty> = op.results().map(|r| shape.vector_of(r.ty())).collect();
    let mut attributes = op.attributes();
    if op.name() == "arith.constant"
        && let Some(value) = op.attribute("value")
    {
        attributes = vec![value.splat(results[0]).named(op.context(), "value")];
    }
    create(op.name(), site, operands, &results, &attributes)
}

/// The element in a type's text: all of a scalar's, the last part of a shaped type's.
fn element(ty: &str) -> &str {
    let Some(inner) = ty.strip_prefix("tensor<").and_then(|t| t.strip_suffix('>')) else {
        return ty;
    };
    let inner = inner.split(',').next().unwrap_or(inner);
    inner.rsplit('x').next().unwrap_or(inner)
}

/// The function that holds a term.
fn text(request: &Request<'_>, options: &LowerOptions) -> Result<String, String> {
    let (inputs, outputs) = &request.types;
    let mut b = Builder::new();
    let arguments = arguments(&mut b, inputs.len());
    let outputs = outputs.join(", ");
    let header = format!("func.func private @term({}) -> ({outputs})", typed(&arguments, inputs));
    b.region(header, |b| {
        let results = match &request.form {
            Form::Scalar => body(b, request, &arguments, inputs, options)?,
            Form::Tensor { dims } => generic(b, request, &arguments, dims, options)?,
            Form::Atomic => atomic(b, request, &arguments, options)?,
        };
        b.line(format_args!("func.return {} : {outputs}", join(&results)));
        Ok::<(), String>(())
    })?;
    Ok(b.finish())
}

/// Names for arguments; the type a name carries matters to operations on it alone.
fn arguments(b: &mut Builder, count: usize) -> Vec<Value> {
    (0..count).map(|_| b.fresh(VecTy::scalar(Elem::F32))).collect()
}

fn join(values: &[Value]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn typed(values: &[Value], types: &[String]) -> String {
    let one = |(value, ty): (&Value, &String)| format!("{value}: {ty}");
    values.iter().zip(types).map(one).collect::<Vec<_>>().join(", ")
}

/// The term on scalars of the given types.
fn body(
    b: &mut Builder,
    request: &Request<'_>,
    arguments: &[Value],
    types: &[String],
    options: &LowerOptions,
) -> Result<Vec<Value>, String> {
    let program = term::program(&request.what, &request.operands, options)?;
    let mut x = Vec::new();
    for ((operand, &argument), ty) in request.operands.iter().zip(arguments).zip(types) {
        match operand {
            Operand::Float => x.push(widen(b, argument, ty)),
            Operand::Int => x.push(count(b, argument, ty)),
            Operand::Constant(_) => {}
        }
    }
    let results = term::emit(b, &program, &x, options)?;
    let types = request.types.1.iter().map(|ty| element(ty));
    Ok(results.into_iter().zip(types).map(|(y, ty)| narrow(b, y, ty)).collect())
}

/// Floats that f32 does not hold.
const WIDER: &[&str] = &["f64", "f80", "f128"];

/// An operand as f32.
fn widen(b: &mut Builder, x: Value, ty: &str) -> Value {
    match ty {
        "f32" => x,
        _ if WIDER.contains(&ty) => b.define(x.ty, format_args!("arith.truncf {x} : {ty} to f32")),
        _ => b.define(x.ty, format_args!("arith.extf {x} : {ty} to f32")),
    }
}

/// An integer operand as i32.
fn count(b: &mut Builder, x: Value, ty: &str) -> Value {
    let op = match ty {
        "i32" => "arith.bitcast",
        "index" => "arith.index_cast",
        "i64" => "arith.trunci",
        _ => "arith.extsi",
    };
    b.define(VecTy::scalar(Elem::I32), format_args!("{op} {x} : {ty} to i32"))
}

/// A result as the element type asked for.
fn narrow(b: &mut Builder, y: Value, ty: &str) -> Value {
    match ty {
        "f32" => y,
        _ if WIDER.contains(&ty) => b.define(y.ty, format_args!("arith.extf {y} : f32 to {ty}")),
        _ => b.define(y.ty, format_args!("arith.truncf {y} : f32 to {ty}")),
    }
}

/// A term on every element of tensors.
fn generic(
    b: &mut Builder,
    request: &Request<'_>,
    arguments: &[Value],
    dims: &[Option<i64>],
    options: &LowerOptions,
) -> Result<Vec<Value>, String> {
    let (inputs, outputs) = &request.types;
    let index = VecTy::scalar(Elem::Index);
    let mut sizes = Vec::new();
    for axis in (0..dims.len()).filter(|&i| dims[i].is_none()) {
        let axis = b.int(index, axis as i64);
        let source = format_args!("tensor.dim {}, {axis} : {}", arguments[0], inputs[0]);
        sizes.push(b.define(index, source));
    }
    let empty = |b: &mut Builder, ty: &String| {
        let operation = format!("tensor.empty({}) : {ty}", join(&sizes));
        b.define(index, operation)
    };
    let filled: Vec<Value> = outputs.iter().map(|ty| empty(b, ty)).collect();
    let axes = (0..dims.len()).map(|i| format!("d{i}")).collect::<Vec<_>>().join(", ");
    let map = format!("affine_map<({axes}) -> ({axes})>");
    let maps = vec![map; inputs.len() + outputs.len()].join(", ");
    let iterators = vec!["\"parallel\""; dims.len()].join(", ");
    let results: Vec<Value> = outputs.iter().map(|_| b.fresh(index)).collect();
    let header = format!(
        "{} = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{iterators}]}} \
         ins({} : {}) outs({} : {})",
        join(&results),
        join(arguments),
        inputs.join(", "),
        join(&filled),
        outputs.join(", "),
    );
    let elements =
        |types: &[String]| types.iter().map(|t| element(t).into()).collect::<Vec<String>>();
    let (inner, yielded) = (elements(inputs), elements(outputs));
    b.region_then(header, format_args!(" -> {}", tuple(outputs)), |b| {
        let (x, y) = (self::arguments(b, inner.len()), self::arguments(b, yielded.len()));
        let separator = if x.is_empty() { "" } else { ", " };
        b.line(format_args!("^bb0({}{separator}{}):", typed(&x, &inner), typed(&y, &yielded)));
        let values = body(b, request, &x, &inner, options)?;
        b.line(format_args!("linalg.yield {} : {}", join(&values), yielded.join(", ")));
        Ok::<(), String>(())
    })?;
    Ok(results)
}

/// The types of results: in parentheses unless there is one.
fn tuple(types: &[String]) -> String {
    match types {
        [one] => one.clone(),
        _ => format!("({})", types.join(", ")),
    }
}

/// A term of an element of a memref and a value, in one atomic step.
fn atomic(
    b: &mut Builder,
    request: &Request<'_>,
    arguments: &[Value],
    options: &LowerOptions,
) -> Result<Vec<Value>, String> {
    let ([value, memref, indices @ ..], [scalar, ty, ..], [result, ..]) =
        (arguments, request.types.0.as_slice(), request.types.1.as_slice())
    else {
        return Err("an atomic operation needs a value and a memref".into());
    };
    let done = b.fresh(value.ty);
    let header = format!("{done} = memref.generic_atomic_rmw {memref}[{}] : {ty}", join(indices));
    b.region(header, |b| {
        let current = b.fresh(value.ty);
        b.line(format_args!("^bb0({current}: {scalar}):"));
        let types = [scalar.clone(), scalar.clone()];
        let values = body(b, request, &[current, *value], &types, options)?;
        b.line(format_args!("memref.atomic_yield {} : {result}", join(&values)));
        Ok::<(), String>(())
    })?;
    Ok(vec![done])
}
