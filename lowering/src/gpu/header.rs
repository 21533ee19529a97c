//! A C header of a launch plan, for programs that run the kernels without pamc.

use std::fmt::Write;

use super::plan::{Buffer, Format, GpuProgram, Launch, Plan};

const TYPES: &str = "\
/* A block of device memory; kind is 'i' data input, 'o' output, 's' parameters and states (their bytes
   before the first run are the file state.bin), 'w' working memory, 'c' constants (their bytes are the
   file constants.bin). All keep their contents from one run to the next. */
struct pamc_buffer { const char *name; char kind; uint64_t bytes; };
/* A tensor in a buffer: row-major; bool takes 4 bytes, 0 or 1. */
struct pamc_slot { const char *name; const char *type; uint32_t buffer; uint64_t offset, bytes; };
/* threads: of a group, in the first direction. */
struct pamc_kernel { const char *entry; const char *module; uint32_t threads, shared_bytes, arguments; };
struct pamc_argument { uint32_t buffer; uint64_t offset, bytes; };
/* arguments: index of the first in pamc_arguments; barrier: wait for the launches before. */
struct pamc_launch { uint32_t kernel, grid[3], arguments, barrier; };
";

/// Writes one table.
fn table<T>(text: &mut String, (ty, name): (&str, &str), rows: &[T], row: impl Fn(&T) -> String) {
    let _ = writeln!(text, "\n#define {}_COUNT {}", name.to_ascii_uppercase(), rows.len());
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(text, "static const struct {ty} {name}[] = {{");
    rows.iter().for_each(|r| {
        let _ = writeln!(text, "    {{{}}},", row(r));
    });
    text.push_str("};\n");
}

/// A C string literal.
fn literal(text: &str) -> String {
    let escaped: String = text
        .chars()
        .flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            c if c.is_control() => vec![' '],
            c => vec![c],
        })
        .collect();
    format!("\"{escaped}\"")
}

fn kind(buffer: &Buffer) -> char {
    use super::plan::BufferKind::{Constant, Input, Output, Scratch, State};
    match buffer.kind {
        Input => 'i',
        Output => 'o',
        State => 's',
        Scratch => 'w',
        Constant => 'c',
    }
}

/// The header of a program.
pub(super) fn c_header(program: &GpuProgram) -> String {
    let plan = &program.plan;
    let micro = match plan.micro.is_some() {
        true => ", before them those of pamc_micro on each batch",
        false => "",
    };
    let arguments = match plan.format {
        Format::Spirv => "storage buffers: descriptor set 0, argument i at binding i",
        _ => "pointers into the device's memory, in order",
    };
    let mut text = format!(
        "/* Kernels for {}: run the launches of pamc_step in order{micro}. Arguments are\n   \
         {arguments}. */\n#pragma once\n#include <stdint.h>\n\n{TYPES}",
        plan.target,
    );
    let _ = write!(
        text,
        "\n#define PAMC_SAMPLES_PER_STEP {}\n#define PAMC_ACCUMULATE {}\n",
        plan.samples_per_step, plan.accumulate
    );
    tables(&mut text, plan);
    text
}

fn tables(text: &mut String, plan: &Plan) {
    table(text, ("pamc_buffer", "pamc_buffers"), &plan.buffers, |b| {
        format!("{}, '{}', {}", literal(&b.name), kind(b), b.bytes)
    });
    let slots: Vec<_> = plan
        .buffers
        .iter()
        .enumerate()
        .flat_map(|(i, b)| b.slots.iter().map(move |s| (i, s)))
        .collect();
    table(text, ("pamc_slot", "pamc_slots"), &slots, |(i, s)| {
        let ty = s.ty().to_string();
        format!("{}, {}, {i}, {}, {}", literal(&s.name), literal(&ty), s.offset, s.bytes)
    });
    table(text, ("pamc_kernel", "pamc_kernels"), &plan.kernels, |k| {
        let threads: u32 = k.workgroup.iter().product();
        let module = literal(&plan.modules[k.module]);
        format!("{}, {module}, {threads}, {}, {}", literal(&k.entry), k.shared_bytes, k.bindings)
    });
    let micro = plan.micro.as_deref().unwrap_or_default();
    let arguments: Vec<_> = plan.step.iter().chain(micro).flat_map(|l| &l.arguments).collect();
    table(text, ("pamc_argument", "pamc_arguments"), &arguments, |a| {
        format!("{}, {}, {}", a.buffer, a.offset, a.bytes)
    });
    let mut first = 0;
    for (name, launches) in [("pamc_step", &plan.step[..]), ("pamc_micro", micro)] {
        let firsts: Vec<(usize, &Launch)> = launches
            .iter()
            .map(|l| {
                first += l.arguments.len();
                (first - l.arguments.len(), l)
            })
            .collect();
        table(text, ("pamc_launch", name), &firsts, |(first, l)| {
            let [x, y, z] = l.grid;
            format!("{}, {{{x}, {y}, {z}}}, {first}, {}", l.kernel, u8::from(l.barrier))
        });
    }
}
