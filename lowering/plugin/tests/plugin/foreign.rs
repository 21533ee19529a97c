//! Modules as other compilers write them, each executed twice: lowered by `pamc-lower`, and as it is
//! with every multiplying operation of the LLVM dialect that upstream makes of it replaced by a call of
//! the oracle. All bits have to be the same.
//!
//! A file in `tests/modules/foreign` is a module with `@kernel`, of tensors or memrefs of f32 (`?` is
//! 3) or floats, which gives its results or writes its last argument. Its comments may name passes that come
//! before `pamc-lower` (`// before: …`) and after it (`// after: …`).

use crate::{
    execution::values,
    tools::{
        Argument, TO_LLVM, assert_same, execute, folder, library, main_function, opt, printed,
        success,
    },
};
use std::{collections::HashMap, fmt::Write, panic::catch_unwind, path::PathBuf};

/// Passes of a file's comment.
fn passes(text: &str, key: &str) -> String {
    let line = text.lines().find_map(|l| l.strip_prefix(&format!("// {key}: ")));
    line.map_or(String::new(), |l| format!("{},", l.trim().trim_end_matches(',')))
}

/// Extents in the text of a type; one that is dynamic is 3.
fn shape(ty: &str) -> Vec<usize> {
    let inner = ty.split_once('<').map_or("", |(_, rest)| rest);
    let extents = inner.split(['x', ',', '>']).map_while(|part| match part {
        "?" => Some(3),
        n => n.parse().ok(),
    });
    extents.collect()
}

/// Parts between commas that are in no bracket.
fn parts(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut out) = (0, 0, Vec::new());
    for (i, c) in list.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' => depth -= 1,
            ',' if depth == 0 => {
                out.push(list[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(list[start..].trim());
    out.retain(|part| !part.is_empty());
    out
}

/// Types of the kernel's arguments, and of its results.
fn signature(text: &str) -> (Vec<String>, Vec<String>) {
    let rest = text.split_once("@kernel(").expect("a kernel").1;
    let (arguments, rest) =
        rest.split_once(") ").or_else(|| rest.split_once("){")).expect("its end");
    let types = parts(arguments).into_iter().map(|part| part.split_once(": ").expect("a type").1);
    let results = rest.trim_start().strip_prefix("-> ").map_or("", |r| {
        let end = r.find(['{', '\n']).unwrap_or(r.len());
        r[..end].split(" attributes").next().unwrap_or("").trim()
    });
    let results = results.trim_start_matches('(').trim_end_matches(')');
    (types.map(Into::into).collect(), parts(results).into_iter().map(Into::into).collect())
}

/// Numbers of both signs, and now and then one at an edge of the range.
fn numbers(n: usize, seed: usize) -> Vec<f32> {
    const EDGES: [f32; 6] = [0.0, 1.0, -0.0, 1e-30, 2.0, -1e20];
    let mut x = values(n, seed);
    for (i, x) in x.iter_mut().enumerate().skip(seed % 5 + 3).step_by(11) {
        *x = EDGES[(i + seed) % EDGES.len()];
    }
    x
}

/// The module with a main function.
fn program(text: &str) -> String {
    let (arguments, results) = signature(text);
    let values: Vec<Vec<f32>> = arguments
        .iter()
        .enumerate()
        .map(|(i, ty)| numbers(shape(ty).iter().product(), i + 1))
        .collect();
    let shapes: Vec<Vec<usize>> = arguments.iter().map(|ty| shape(ty)).collect();
    let list: Vec<Argument<'_>> = arguments
        .iter()
        .zip(&shapes)
        .zip(&values)
        .map(|((ty, shape), values)| Argument { ty, shape, values })
        .collect();
    let result = results.first().map_or("", String::as_str);
    let out = if result.is_empty() { shapes.last().expect("an argument") } else { &shape(result) };
    let main = main_function(&list, result, out);
    // A module that is written out takes the function before its end.
    let open = text.lines().any(|line| line.starts_with("module"));
    match text.trim_end().strip_suffix('}').filter(|_| open) {
        Some(head) => format!("{head}{main}}}\n"),
        None => format!("{text}{main}"),
    }
}

/// Operations of the LLVM dialect and functions of libm by name: the oracle's function, and the number of
/// operands.
const ORACLE: &[(&str, &str, usize)] = &[
    ("fmul", "ref_mul", 2),
    ("fdiv", "ref_div", 2),
    ("frem", "ref_mod", 2),
    ("fmod", "ref_mod", 2),
    ("fma", "ref_fma", 3),
    ("fmuladd", "ref_fma", 3),
    ("sqrt", "ref_sqrt", 1),
    ("rsqrt", "ref_rsqrt", 1),
    ("cbrt", "ref_cbrt", 1),
    ("exp", "ref_exp", 1),
    ("exp2", "ref_exp2", 1),
    ("expm1", "ref_expm1", 1),
    ("log", "ref_log", 1),
    ("log2", "ref_log2", 1),
    ("log10", "ref_log10", 1),
    ("log1p", "ref_log1p", 1),
    ("pow", "ref_pow", 2),
    ("sin", "ref_sin", 1),
    ("cos", "ref_cos", 1),
    ("tan", "ref_tan", 1),
    ("asin", "ref_asin", 1),
    ("acos", "ref_acos", 1),
    ("atan", "ref_atan", 1),
    ("atan2", "ref_atan2", 2),
    ("sinh", "ref_sinh", 1),
    ("cosh", "ref_cosh", 1),
    ("tanh", "ref_tanh", 1),
    ("asinh", "ref_asinh", 1),
    ("acosh", "ref_acosh", 1),
    ("atanh", "ref_atanh", 1),
    ("erf", "ref_erf", 1),
    ("erfc", "ref_erfc", 1),
];

/// One operation of the LLVM dialect.
struct Operation<'a> {
    result: &'a str,
    /// `fmul` of `llvm.fmul`, `exp` of `llvm.intr.exp` and of a call of `expf`.
    name: &'a str,
    operands: Vec<&'a str>,
    /// Type of the result.
    ty: &'a str,
}

fn parse(line: &str) -> Option<Operation<'_>> {
    let (result, rest) = line.trim().split_once(" = ")?;
    let rest = rest.trim_start_matches('"');
    let (name, tail) = match rest.strip_prefix("llvm.call @") {
        Some(call) => {
            let (callee, tail) = call.split_once('(')?;
            (callee.strip_suffix('f').unwrap_or(callee), tail)
        }
        None => {
            let rest = rest.strip_prefix("llvm.intr.").or_else(|| rest.strip_prefix("llvm."))?;
            rest.split_at(rest.find([' ', '(', '"'])?)
        }
    };
    let (operands, ty) = tail.rsplit_once(" : ")?;
    let ty = ty.rsplit_once("-> ").map_or(ty, |(_, ty)| ty);
    let operands = operands.split(|c: char| !(c.is_alphanumeric() || "%_".contains(c)));
    let operands = operands.filter(|word| word.starts_with('%')).collect();
    Some(Operation { result, name, operands, ty })
}

/// Text in place of operations that multiply; `fresh` counts names.
struct Replacement {
    text: String,
    fresh: usize,
}

impl Replacement {
    fn define(&mut self, operation: &str) -> String {
        self.fresh += 1;
        let name = format!("%ref{}", self.fresh);
        let _ = writeln!(self.text, "    {name} = {operation}");
        name
    }

    /// A call on scalars of an element type.
    fn call(&mut self, function: &str, x: &[String], element: &str) -> String {
        let wide: Vec<String> = x
            .iter()
            .map(|x| match element {
                "f32" => x.clone(),
                "f64" => self.define(&format!("llvm.fptrunc {x} : f64 to f32")),
                _ => self.define(&format!("llvm.fpext {x} : {element} to f32")),
            })
            .collect();
        let types = vec!["f32"; x.len()].join(", ");
        let y =
            self.define(&format!("llvm.call @{function}({}) : ({types}) -> f32", wide.join(", ")));
        match element {
            "f32" => y,
            "f64" => self.define(&format!("llvm.fpext {y} : f32 to f64")),
            _ => self.define(&format!("llvm.fptrunc {y} : f32 to {element}")),
        }
    }

    fn extract(&mut self, vector: &str, lane: usize, ty: &str) -> String {
        let lane = self.define(&format!("llvm.mlir.constant({lane} : i32) : i32"));
        self.define(&format!("llvm.extractelement {vector}[{lane} : i32] : {ty}"))
    }
}

/// Lanes and element of a type.
fn lanes(ty: &str) -> Option<(Option<usize>, &str)> {
    match ty.strip_prefix("vector<").and_then(|t| t.strip_suffix('>')) {
        None => ["f32", "f64", "f16", "bf16"].contains(&ty).then_some((None, ty)),
        Some(inner) => {
            let (n, element) = inner.split_once('x')?;
            Some((Some(n.parse().ok()?), element))
        }
    }
}

/// The number a constant of the LLVM dialect is, in every lane.
fn constant(line: &str) -> Option<(String, f32)> {
    let (result, rest) = line.trim().split_once(" = llvm.mlir.constant(")?;
    let text = rest.trim_start_matches("dense<").split([' ', '>']).next()?;
    Some((result.to_string(), text.parse().ok()?))
}

/// Writes the operation of a line with the oracle; false for one that does not multiply.
fn replace(line: &str, constants: &HashMap<String, f32>, out: &mut Replacement) -> bool {
    let Some(op) = parse(line) else { return false };
    let Some((lanes, element)) = lanes(op.ty) else { return false };
    let operand = |x: &str, i: Option<usize>, out: &mut Replacement| match i {
        Some(i) => out.extract(x, i, op.ty),
        None => x.to_string(),
    };
    if matches!(op.name, "vector.reduce.fmul" | "vp.reduce.fmul") {
        let vector = line.split("vector<").nth(1).and_then(|t| t.split('x').next());
        let n: usize = vector.and_then(|n| n.parse().ok()).expect("a number of lanes");
        let mut y = op.operands[0].to_string();
        for i in 0..n {
            let mut lane = out.extract(op.operands[1], i, &format!("vector<{n}x{element}>"));
            if let Some(mask) = op.operands.get(2) {
                let on = out.extract(mask, i, &format!("vector<{n}xi1>"));
                let one = out.define(&format!("llvm.mlir.constant(1.0 : {element}) : {element}"));
                lane = out.define(&format!("llvm.select {on}, {lane}, {one} : i1, {element}"));
            }
            y = out.call("ref_mul", &[y, lane], element);
        }
        let _ = writeln!(out.text, "    {} = llvm.bitcast {y} : {element} to {element}", op.result);
        return true;
    }
    if op.name == "powi" {
        // The exponent is a constant, an integer.
        let p = constants.get(op.operands[1]).expect("a constant");
        let p = out.define(&format!("llvm.mlir.constant({p:?} : f32) : f32"));
        let y = out.call("ref_power", &[op.operands[0].to_string(), p], element);
        let _ = writeln!(out.text, "    {} = llvm.bitcast {y} : {element} to {element}", op.result);
        return true;
    }
    // A predicated operation has a mask and a number of lanes besides, here all of them.
    let name = op.name.strip_prefix("vp.").unwrap_or(op.name);
    let Some(&(_, function, count)) = ORACLE.iter().find(|(known, ..)| *known == name) else {
        return false;
    };
    let exponent = op.operands.get(1).is_some_and(|p| constants.contains_key(*p));
    let function = if function == "ref_pow" && exponent { "ref_power" } else { function };
    let one = |i: Option<usize>, out: &mut Replacement| {
        let x: Vec<String> = op.operands[..count].iter().map(|x| operand(x, i, out)).collect();
        out.call(function, &x, element)
    };
    let last = match lanes {
        None => {
            let y = one(None, out);
            format!("llvm.bitcast {y} : {element} to {element}")
        }
        Some(n) => {
            let mut whole = out.define(&format!("llvm.mlir.poison : {}", op.ty));
            for i in 0..n {
                let y = one(Some(i), out);
                let lane = out.define(&format!("llvm.mlir.constant({i} : i32) : i32"));
                let ty = op.ty;
                whole =
                    out.define(&format!("llvm.insertelement {y}, {whole}[{lane} : i32] : {ty}"));
            }
            format!("llvm.bitcast {whole} : {0} to {0}", op.ty)
        }
    };
    let _ = writeln!(out.text, "    {} = {last}", op.result);
    true
}

/// A module of the LLVM dialect whose multiplying operations are calls of the oracle.
fn with_oracle(module: &str) -> String {
    let mut out = Replacement { text: String::new(), fresh: 0 };
    let mut constants = HashMap::new();
    for line in module.lines() {
        if line.trim_start().starts_with("llvm.func") {
            constants.clear();
        }
        constants.extend(constant(line));
        if !replace(line, &constants, &mut out) {
            let _ = writeln!(out.text, "{line}");
        }
    }
    let mut declared = String::new();
    for (function, operands) in
        [("ref_power", 2)].into_iter().chain(ORACLE.iter().map(|&(_, function, n)| (function, n)))
    {
        if !declared.contains(&format!("@{function}(")) {
            let types = vec!["f32"; operands].join(", ");
            let _ = writeln!(declared, "  llvm.func @{function}({types}) -> f32");
        }
    }
    // Nested modules have symbols of their own.
    let opens = |line: &str| line.trim_start().starts_with("module") && line.ends_with('{');
    let lines = out.text.lines().map(|line| match opens(line) {
        true => format!("{line}\n{declared}"),
        false => format!("{line}\n"),
    });
    lines.collect()
}

/// What a module gives where every operation that multiplies is the oracle's.
fn expected(module: &str, before: &str) -> Vec<f32> {
    // Sums of contractions in the order of pamc-lower's, and functions by the names of libm's.
    let pipeline = format!("{before}{TO_LLVM}").replace("convert-math-to-llvm,", "").replace(
        "convert-vector-to-llvm",
        "func.func(lower-vector-multi-reduction{lowering-strategy=inner-parallel}),convert-math-to-llvm,\
         convert-math-to-libm,convert-vector-to-llvm{vector-contract-lowering=outerproduct}",
    );
    let text = with_oracle(&success(opt(&pipeline, module)));
    if std::env::var_os("PAMC_SHOW").is_some() {
        eprintln!("{text}");
    }
    printed(&text, &library("pamc_oracle").display().to_string())
}

fn check(path: &PathBuf) {
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(path).expect("a file");
    let module = program(&text);
    let (before, after) = (passes(&text, "before"), passes(&text, "after"));
    let want = expected(&module, &format!("{before}{after}"));
    let finite = want.iter().filter(|x| x.is_finite()).count();
    let one = want.iter().all(|x| *x == want[0]) && want.len() > 1;
    assert!(2 * finite >= want.len() && !one, "{name} says little: {want:?}");
    let lower = format!("pamc-lower,{after}");
    assert_same(&name, &execute(&module, &before, lower.trim_end_matches(',')), &want);
}

#[test]
fn foreign_modules_give_the_bits_of_the_oracle() {
    let folder = std::env::var_os("PAMC_FOREIGN")
        .map_or_else(|| folder().join("tests/modules/foreign"), PathBuf::from);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "mlir"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let failed: Vec<_> =
        files.iter().filter(|file| catch_unwind(|| check(file)).is_err()).collect();
    assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), files.len());
}
