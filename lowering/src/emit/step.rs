//! Functions that call the kernels of a schedule one after the other.

use pamc_passes::ir::{DType, NodeId, Tensor, TensorType};

use super::abi::{Layout, Slot};
use super::builder::Builder;
use super::module::Module;
use super::nest::{INDEX, memref};
use super::profile;
use crate::Error;
use crate::schedule::{Call, Place, Schedule};

/// Attributes of a function of nothing but calls: it grows with the depth of a network, and LLVM
/// would spend more time on it than on the kernels.
const CALLS: &str =
    "passthrough = [\"noinline\", \"optnone\"], llvm.linkage = #llvm.linkage<internal>";

/// The number of a band, in the loop over its run.
const BAND: &str = "%band";

/// What a flat memref is made of.
const DESCRIPTOR: &str = "!llvm.struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>";

/// Type of a block of bytes.
pub(super) fn block(bytes: usize) -> String {
    format!("memref<{bytes}xi8>")
}

/// Writes the private function `@name(state, arena, input…, output…)` of a schedule, which takes the
/// time of each call if there are counters at an offset of the arena.
pub(super) fn steps(
    module: &mut Module,
    name: &str,
    schedule: &Schedule,
    (state_bytes, arena_bytes): (usize, usize),
    arrays: &[(String, TensorType)],
    counters: Option<usize>,
) -> Result<(), Error> {
    let mut lines = Vec::new();
    for call in &schedule.calls {
        let origin = schedule.graph.node(call.node).origin.to_string();
        let kernel = module.kernel(&call.kernel, &origin)?;
        lines.push((kernel, call, origin));
    }
    module.calls += lines.len();
    let mut texts = Vec::new();
    for (kernel, call, origin) in &lines {
        let mut text = call_text(module, schedule, call, kernel, (state_bytes, arena_bytes));
        if let Some(offset) = counters {
            let i = texts.len();
            let at = offset + i * size_of::<u64>();
            text.insert(0, profile::read(i));
            text.extend(profile::count(i, at, arena_bytes));
        }
        texts.push((text, origin.as_str()));
    }
    let mut params =
        vec![format!("%state: {}", block(state_bytes)), format!("%arena: {}", block(arena_bytes))];
    params.extend(arrays.iter().map(|(n, ty)| format!("%{n}: {}", memref(ty.dtype, ty.len()))));
    let header = format!("func.func private @{name}({}) attributes {{{CALLS}}}", params.join(", "));
    module.b.region(header, |b| {
        let mut next = 0;
        for bands in &schedule.bands {
            write(b, &texts[next..bands.calls.start]);
            let [zero, end, one] = [0, bands.count, 1].map(|v| b.int(INDEX, v as i64));
            b.region(format!("scf.for {BAND} = {zero} to {end} step {one}"), |b| {
                write(b, &texts[bands.calls.clone()]);
            });
            next = bands.calls.end;
        }
        write(b, &texts[next..]);
        b.line("func.return");
    });
    Ok(())
}

/// Calls, each with the node it comes from.
fn write(b: &mut Builder, texts: &[(Vec<String>, &str)]) {
    for (text, origin) in texts {
        b.locate(origin);
        text.iter().for_each(|line| b.line(line));
    }
    b.locate("");
}

/// One call: views of the blocks, then the call itself.
fn call_text(
    module: &mut Module,
    schedule: &Schedule,
    call: &Call,
    kernel: &str,
    bytes: (usize, usize),
) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut names, mut types) = (Vec::new(), Vec::new());
    let params = call.params();
    for (i, param) in params.iter().enumerate() {
        let ty = memref(param.dtype, param.len);
        let place = match call.args.get(i) {
            Some(&value) => place(schedule, value),
            None => Place::Arena(call.scratch_offset),
        };
        let unique = format!("%u{}", module.fresh());
        let starts = call.starts.get(i).filter(|starts| !starts.is_empty());
        let start = starts.map(|starts| (&starts[..], param.dtype.size()));
        let name = match place {
            Place::State(offset) => {
                lines.extend(view_of_band(
                    module,
                    &unique,
                    ("%state", offset, bytes.0),
                    start,
                    &ty,
                ));
                unique
            }
            Place::Arena(offset) => {
                lines.extend(view_of_band(
                    module,
                    &unique,
                    ("%arena", offset, bytes.1),
                    start,
                    &ty,
                ));
                unique
            }
            Place::Input(_) | Place::Output(_) | Place::Constant => {
                let whole = array(module, schedule, (place, call.args[i]), &mut lines);
                match start {
                    None => whole,
                    Some(start) => {
                        let from = (whole.as_str(), schedule.graph.ty(call.args[i]));
                        lines.extend(array_of_band(module, &unique, from, start, param.len));
                        unique
                    }
                }
            }
        };
        names.push(name);
        types.push(ty);
    }
    lines.push(format!("func.call @{kernel}({}) : ({}) -> ()", names.join(", "), types.join(", ")));
    lines
}

fn place(schedule: &Schedule, value: NodeId) -> Place {
    // The plan places every argument of every call.
    schedule.places.get(&value).copied().unwrap_or(Place::Arena(0))
}

/// The name of a whole array that is not in a block.
fn array(
    module: &mut Module,
    schedule: &Schedule,
    (place, value): (Place, NodeId),
    lines: &mut Vec<String>,
) -> String {
    let node = schedule.graph.node(value);
    match (place, node.attrs.tensor("value")) {
        (Place::Input(i), _) => format!("%in{i}"),
        (Place::Output(i), _) => format!("%out{i}"),
        (_, constant) => {
            let name = format!("%u{}", module.fresh());
            if let Some(constant) = constant {
                let global = module.constant(constant);
                let ty = memref(node.ty.dtype, node.ty.len());
                lines.push(format!("{name} = memref.get_global @{global} : {ty}"));
            }
            name
        }
    }
}

/// Defines `{name}_at`, where a band's part of something begins that itself begins at an offset, in
/// bytes: elements of a size, looked up in a table that equal ones share.
fn start_of_band(
    module: &mut Module,
    name: &str,
    offset: usize,
    (starts, size): (&[usize], usize),
) -> Vec<String> {
    let table: Vec<i64> = starts.iter().map(|start| (start * size) as i64).collect();
    let ty = memref(DType::I64, table.len());
    let global = module.constant(&Tensor::vector(table));
    vec![
        format!("{name}_table = memref.get_global @{global} : {ty}"),
        format!("{name}_found = memref.load {name}_table[{BAND}] : {ty}"),
        format!("{name}_start = arith.index_cast {name}_found : i64 to index"),
        format!("{name}_first = arith.constant {offset} : index"),
        format!("{name}_at = arith.addi {name}_first, {name}_start : index"),
    ]
}

/// A typed view of a block, or of a band's part of it.
fn view_of_band(
    module: &mut Module,
    name: &str,
    (block, offset, bytes): (&str, usize, usize),
    start: Option<(&[usize], usize)>,
    ty: &str,
) -> Vec<String> {
    let Some(start) = start else { return view(name, block, offset, bytes, ty).to_vec() };
    let mut lines = start_of_band(module, name, offset, start);
    lines.push(view_at(name, block, bytes, ty));
    lines
}

/// A band's part of an array, of so many elements.
fn array_of_band(
    module: &mut Module,
    name: &str,
    (array, ty): (&str, &TensorType),
    start: (&[usize], usize),
    len: usize,
) -> Vec<String> {
    let mut lines = start_of_band(module, name, 0, start);
    let whole = memref(ty.dtype, ty.len());
    lines.push(format!(
        "{name}_whole = builtin.unrealized_conversion_cast {array} : {whole} to {DESCRIPTOR}"
    ));
    lines.push(format!("{name}_from = llvm.extractvalue {name}_whole[1] : {DESCRIPTOR}"));
    lines.push(format!("{name}_bytes = arith.index_cast {name}_at : index to i64"));
    lines.push(format!(
        "{name}_to = llvm.getelementptr {name}_from[{name}_bytes] : (!llvm.ptr, i64) -> !llvm.ptr, i8"
    ));
    lines.extend(from_pointer(name, &format!("{name}_to"), &TensorType::new(ty.dtype, [len])));
    lines
}

/// A typed view of a block.
pub(super) fn view(name: &str, from: &str, offset: usize, bytes: usize, ty: &str) -> [String; 2] {
    let at = format!("{name}_at = arith.constant {offset} : index");
    [at, view_at(name, from, bytes, ty)]
}

/// A typed view of a block at `{name}_at`.
fn view_at(name: &str, from: &str, bytes: usize, ty: &str) -> String {
    format!("{name} = memref.view {from}[{name}_at][] : {} to {ty}", block(bytes))
}

/// Lines that make a flat memref of a pointer.
pub(super) fn from_pointer(name: &str, pointer: &str, ty: &TensorType) -> Vec<String> {
    let buffer = memref(ty.dtype, ty.len());
    let parts = [(pointer.to_string(), "0"), (pointer.to_string(), "1")];
    let numbers = [(0, "2"), (ty.len(), "3, 0"), (1, "4, 0")];
    let mut lines = vec![format!("{name}_d0 = llvm.mlir.poison : {DESCRIPTOR}")];
    for (i, (value, _)) in numbers.iter().enumerate() {
        lines.push(format!("{name}_n{i} = llvm.mlir.constant({value} : i64) : i64"));
    }
    let numbers = numbers.iter().enumerate().map(|(i, (_, at))| (format!("{name}_n{i}"), *at));
    let fields: Vec<(String, &str)> = parts.into_iter().chain(numbers).collect();
    for (i, (value, at)) in fields.iter().enumerate() {
        lines.push(format!(
            "{name}_d{} = llvm.insertvalue {value}, {name}_d{i}[{at}] : {DESCRIPTOR}",
            i + 1
        ));
    }
    lines.push(format!(
        "{name} = builtin.unrealized_conversion_cast {name}_d{} : {DESCRIPTOR} to {buffer}",
        fields.len()
    ));
    lines
}

/// Writes the exported function of an inference program.
pub(super) fn run(
    module: &mut Module,
    schedule: &Schedule,
    layout: &Layout,
    counters: Option<usize>,
) -> Result<(), Error> {
    let named = |prefix: &str, slots: &[Slot]| -> Vec<(String, TensorType)> {
        slots.iter().enumerate().map(|(i, s)| (format!("{prefix}{i}"), s.ty())).collect()
    };
    let (inputs, outputs) = (named("in", &layout.inputs), named("out", &layout.outputs));
    let arrays = [&inputs[..], &outputs].concat();
    let inner = format!("{}_steps", layout.function);
    let bytes = (layout.state_bytes, layout.arena_bytes);
    steps(module, &inner, schedule, bytes, &arrays, counters)?;
    let header = format!(
        "func.func @{}(%state: {}, %arena: {}, %inputs: !llvm.ptr, %outputs: !llvm.ptr) -> i32",
        layout.function,
        block(bytes.0),
        block(bytes.1)
    );
    module.b.region(header, |b| {
        let mut types = vec![block(bytes.0), block(bytes.1)];
        let mut names = vec!["%state".to_string(), "%arena".to_string()];
        for (list, arrays) in [("%inputs", &inputs), ("%outputs", &outputs)] {
            for (i, (name, ty)) in arrays.iter().enumerate() {
                b.line(format_args!(
                    "%{name}_a = llvm.getelementptr {list}[{i}] : (!llvm.ptr) -> !llvm.ptr, !llvm.ptr"
                ));
                b.line(format_args!("%{name}_p = llvm.load %{name}_a : !llvm.ptr -> !llvm.ptr"));
                let pointer = format!("%{name}_p");
                from_pointer(&format!("%{name}"), &pointer, ty).iter().for_each(|l| b.line(l));
                types.push(memref(ty.dtype, ty.len()));
                names.push(format!("%{name}"));
            }
        }
        b.line(format_args!(
            "func.call @{inner}({}) : ({}) -> ()",
            names.join(", "),
            types.join(", ")
        ));
        b.line("%done = arith.constant 0 : i32");
        b.line("func.return %done : i32");
    });
    Ok(())
}
