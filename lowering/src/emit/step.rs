//! Functions that call the kernels of a schedule one after the other.

use pamc_passes::ir::{NodeId, TensorType};

use super::abi::{Layout, Slot};
use super::module::Module;
use super::nest::memref;
use super::profile;
use crate::Error;
use crate::schedule::{Call, Place, Schedule};

/// Attributes of a function of nothing but calls: it grows with the depth of a network, and LLVM
/// would spend more time on it than on the kernels.
const CALLS: &str =
    "passthrough = [\"noinline\", \"optnone\"], llvm.linkage = #llvm.linkage<internal>";

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
        texts.push((call_text(module, schedule, call, kernel, (state_bytes, arena_bytes)), origin));
    }
    let mut params =
        vec![format!("%state: {}", block(state_bytes)), format!("%arena: {}", block(arena_bytes))];
    params.extend(arrays.iter().map(|(n, ty)| format!("%{n}: {}", memref(ty.dtype, ty.len()))));
    let header = format!("func.func private @{name}({}) attributes {{{CALLS}}}", params.join(", "));
    module.b.region(header, |b| {
        if counters.is_some() {
            b.line(profile::read(0));
        }
        for (i, (text, origin)) in texts.into_iter().enumerate() {
            b.locate(origin);
            text.iter().for_each(|line| b.line(line));
            if let Some(offset) = counters {
                let at = offset + i * size_of::<u64>();
                profile::count(i, at, arena_bytes).iter().for_each(|line| b.line(line));
            }
        }
        b.locate("");
        b.line("func.return");
    });
    Ok(())
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
        let name = match place {
            Place::State(offset) => {
                lines.extend(view(&unique, "%state", offset, bytes.0, &ty));
                unique
            }
            Place::Arena(offset) => {
                lines.extend(view(&unique, "%arena", offset, bytes.1, &ty));
                unique
            }
            Place::Input(i) => format!("%in{i}"),
            Place::Output(i) => format!("%out{i}"),
            Place::Constant => {
                let node = schedule.graph.node(call.args[i]);
                if let Some(value) = node.attrs.tensor("value") {
                    let global = module.constant(value);
                    lines.push(format!("{unique} = memref.get_global @{global} : {ty}"));
                }
                unique
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

/// A typed view of a block.
pub(super) fn view(name: &str, from: &str, offset: usize, bytes: usize, ty: &str) -> [String; 2] {
    let at = format!("{name}_at");
    [
        format!("{at} = arith.constant {offset} : index"),
        format!("{name} = memref.view {from}[{at}][] : {} to {ty}", block(bytes)),
    ]
}

/// Lines that make a flat memref of a pointer.
pub(super) fn from_pointer(name: &str, pointer: &str, ty: &TensorType) -> Vec<String> {
    let descriptor = "!llvm.struct<(ptr, ptr, i64, array<1 x i64>, array<1 x i64>)>";
    let buffer = memref(ty.dtype, ty.len());
    let parts = [(pointer.to_string(), "0"), (pointer.to_string(), "1")];
    let numbers = [(0, "2"), (ty.len(), "3, 0"), (1, "4, 0")];
    let mut lines = vec![format!("{name}_d0 = llvm.mlir.poison : {descriptor}")];
    for (i, (value, _)) in numbers.iter().enumerate() {
        lines.push(format!("{name}_n{i} = llvm.mlir.constant({value} : i64) : i64"));
    }
    let numbers = numbers.iter().enumerate().map(|(i, (_, at))| (format!("{name}_n{i}"), *at));
    let fields: Vec<(String, &str)> = parts.into_iter().chain(numbers).collect();
    for (i, (value, at)) in fields.iter().enumerate() {
        lines.push(format!(
            "{name}_d{} = llvm.insertvalue {value}, {name}_d{i}[{at}] : {descriptor}",
            i + 1
        ));
    }
    lines.push(format!(
        "{name} = builtin.unrealized_conversion_cast {name}_d{} : {descriptor} to {buffer}",
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
