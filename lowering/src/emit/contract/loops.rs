//! Structured control flow that carries values.

use super::super::builder::Builder;
pub(super) use super::super::kernel::{elements, pack};
use super::super::nest::INDEX;
use super::super::types::{Elem, Value};

fn list(values: &[Value]) -> String {
    values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ")
}

fn types(values: &[Value]) -> String {
    values.iter().map(|v| v.ty.to_string()).collect::<Vec<_>>().join(", ")
}

/// A loop that carries values, of which there must be some.
pub(super) fn for_carrying(
    b: &mut Builder,
    [first, end, step]: [Value; 3],
    start: &[Value],
    body: impl FnOnce(&mut Builder, Value, Vec<Value>) -> Vec<Value>,
) -> Vec<Value> {
    let iv = b.fresh(INDEX);
    let carried: Vec<Value> = start.iter().map(|v| b.fresh(v.ty)).collect();
    let results: Vec<Value> = start.iter().map(|v| b.fresh(v.ty)).collect();
    let inits: Vec<String> = carried.iter().zip(start).map(|(c, s)| format!("{c} = {s}")).collect();
    let header = format!(
        "{} = scf.for {iv} = {first} to {end} step {step} iter_args({}) -> ({})",
        list(&results),
        inits.join(", "),
        types(start)
    );
    b.region(header, |b| {
        let next = body(b, iv, carried);
        b.line(format_args!("scf.yield {} : {}", list(&next), types(start)));
    });
    results
}

/// The values of one of two branches; `like` has their types.
pub(super) fn branch(
    b: &mut Builder,
    condition: Value,
    like: &[Value],
    then: impl FnOnce(&mut Builder) -> Vec<Value>,
    otherwise: impl FnOnce(&mut Builder) -> Vec<Value>,
) -> Vec<Value> {
    let results: Vec<Value> = like.iter().map(|v| b.fresh(v.ty)).collect();
    let header = format!("{} = scf.if {condition} -> ({})", list(&results), types(like));
    let give = |b: &mut Builder, values: Vec<Value>| {
        b.line(format_args!("scf.yield {} : {}", list(&values), types(like)));
    };
    b.branches(
        header,
        |b| {
            let values = then(b);
            give(b, values);
        },
        |b| {
            let values = otherwise(b);
            give(b, values);
        },
    );
    results
}

/// An integer in a register or an index.
pub(super) fn index(b: &mut Builder, value: usize) -> Value {
    b.int(INDEX, value as i64)
}

/// The bits of floats.
pub(super) fn bits(b: &mut Builder, value: Value) -> Value {
    b.convert("arith.bitcast", value, Elem::I32)
}
