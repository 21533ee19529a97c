//! A thousand clean kernels, one float multiply inserted in each at a random place: all are found, in
//! LLVM IR and in the machine code made of it.

use pamc_lowering::{
    audit,
    codegen::{Options, Target, compile},
    emit::{EmitOptions, module_for_runs},
};
use pamc_passes::{
    program::Program,
    testing::{Random, random_program},
};
use std::{collections::BTreeSet, process::Command};

const KERNELS: usize = 1_000;
const PROGRAMS: u64 = 24;

/// The result and its type, if a line defines a float or 32-bit integers.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (result, rest) = line.trim_start().strip_prefix('%')?.split_once(" = ")?;
    let (operation, rest) = rest.split_once(' ')?;
    let wanted = ["fadd", "fsub", "load", "add", "sub", "and", "or", "xor"];
    if !wanted.contains(&operation) {
        return None;
    }
    let rest =
        rest.trim_start_matches("nuw ").trim_start_matches("nsw ").trim_start_matches("disjoint ");
    let end = if rest.starts_with('<') { rest.find('>')? + 1 } else { rest.find([' ', ','])? };
    let ty = &rest[..end];
    let element = ty.trim_end_matches('>').rsplit(' ').next()?;
    ["float", "i32"].contains(&element).then_some((result, ty))
}

/// Whether a line uses a value.
fn uses(line: &str, value: &str) -> bool {
    line.match_indices(value).any(|(at, _)| ends(line, at + value.len()))
}

fn ends(line: &str, at: usize) -> bool {
    !line[at..].starts_with(|c: char| c.is_alphanumeric() || "._$-".contains(c))
}

/// A line with one value in place of another.
fn replaced(line: &str, value: &str, by: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(value) {
        let end = at + value.len();
        out.push_str(&rest[..at]);
        out.push_str(if ends(rest, end) { by } else { value });
        rest = &rest[end..];
    }
    out + rest
}

/// A function with the square of one of its values in that value's place; `None` if it has none.
fn mutated(function: &[&str], random: &mut Random) -> Option<Vec<String>> {
    let candidates: Vec<(usize, &str, &str)> = (function.iter().enumerate())
        .filter_map(|(n, line)| definition(line).map(|(value, ty)| (n, value, ty)))
        .filter(|(n, value, _)| {
            let value = format!("%{value}");
            function.iter().enumerate().any(|(m, l)| m != *n && uses(l, &value))
        })
        .collect();
    let (n, value, ty) = *candidates.get(random.below(candidates.len()))?;
    let value = format!("%{value}");
    let float = ty.replace("i32", "float");
    let mut out: Vec<String> = function
        .iter()
        .enumerate()
        .map(|(m, l)| if m == n { (*l).to_owned() } else { replaced(l, &value, "%mutant") })
        .collect();
    let inserted = match ty == float {
        true => vec![format!("  %mutant = fmul {ty} {value}, {value}")],
        false => vec![
            format!("  %mutant.bits = bitcast {ty} {value} to {float}"),
            format!("  %mutant.product = fmul {float} %mutant.bits, %mutant.bits"),
            format!("  %mutant = bitcast {float} %mutant.product to {ty}"),
        ],
    };
    out.splice(n + 1..n + 1, inserted);
    Some(out)
}

/// Mutates every function of a module that can be; gives the text and the names.
fn mutate(module: &str, random: &mut Random) -> (String, BTreeSet<String>) {
    let (mut out, mut names) = (Vec::new(), BTreeSet::new());
    let lines: Vec<&str> = module.lines().collect();
    let mut at = 0;
    while at < lines.len() {
        if !lines[at].starts_with("define ") {
            out.push(lines[at].to_owned());
            at += 1;
            continue;
        }
        let end = at + lines[at..].iter().position(|l| *l == "}").unwrap();
        match mutated(&lines[at..=end], random) {
            Some(text) => {
                let name = lines[at].split('@').nth(1).unwrap().split('(').next().unwrap();
                names.insert(name.trim_matches('"').to_owned());
                out.extend(text);
            }
            None => out.extend(lines[at..=end].iter().map(|l| (*l).to_owned())),
        }
        at = end + 1;
    }
    (out.join("\n"), names)
}

/// Machine code of a module, by LLVM's own compiler.
fn machine_code(module: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (source, object) = (folder.path().join("m.ll"), folder.path().join("m.o"));
    std::fs::write(&source, module).unwrap();
    let output = Command::new("/usr/lib/llvm-22/bin/llc")
        .args(["-O1", "-filetype=obj", "-relocation-model=pic", "-o"])
        .args([&object, &source])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(object).unwrap()
}

fn found(bytes: &[u8]) -> BTreeSet<String> {
    audit::one(bytes).unwrap().findings.into_iter().map(|f| f.function).collect()
}

#[test]
fn a_thousand_inserted_multiplies_are_found() {
    let target = Target::named("x86-64-v3").unwrap();
    let mut random = Random::new(7);
    let (mut kernels, mut seed) = (0, 0);
    while kernels < KERNELS {
        let programs: Vec<Program> = (seed..seed + PROGRAMS).map(|s| random_program(s).0).collect();
        seed += PROGRAMS;
        let (parts, _) = module_for_runs(&programs, &target, &EmitOptions::default()).unwrap();
        let mlir = parts.whole();
        let options = Options { keep_llvm: true, ..Options::default() };
        let clean = compile(&mlir, &target, &options).unwrap();
        let llvm = clean.llvm.unwrap();
        for bytes in [mlir.as_bytes(), llvm.as_bytes(), &clean.bytes] {
            let report = audit::one(bytes).unwrap();
            assert!(report.is_multiplication_free(), "{report}");
        }
        let (text, names) = mutate(&llvm, &mut random);
        assert!(names.len() > PROGRAMS as usize, "{}", names.len());
        let in_text = found(text.as_bytes());
        assert_eq!(in_text, names, "LLVM IR of seeds from {}", seed - PROGRAMS);
        let in_code = found(&machine_code(&text));
        assert_eq!(in_code, names, "machine code of seeds from {}", seed - PROGRAMS);
        kernels += names.len();
    }
    println!("{kernels} kernels of {seed} programs: every inserted multiply was found");
}
