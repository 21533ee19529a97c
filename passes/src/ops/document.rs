//! The op table as a page of documentation, `passes/docs/ops.md`.

use std::fmt::Write;

use super::{AttrSpec, Bound, Checked, Default, Kind, Op, all};

const HEAD: &str = "\
# The operations

Made from the op table; `PAMC_BLESS=1 cargo test -p pamc-passes ops::document` writes it anew, and that test
fails where it is not current. `pamc ops NAME` prints the same.

The largest error is that of the lowering to PAM with recipe `best` against the real function: relative
to its result, plus an absolute part, *on* these operands. *Checked on* says how far that is known: `make
prove` verifies bounds of elementwise operations, of one operand on *every float32* (of the operands after
*holds on*, where that is more), of two on all *pairs* of 11-bit fractions and on random ones. Those of
structured operations (contractions, sums, softmax, normalizations, losses) a test checks on *samples*.
";

/// Sections: the rows of a kind, and what they are.
const SECTIONS: &[(&str, &str)] = &[
    ("real", "Operations on real numbers: what users write. Each is lowered to those below."),
    ("composite", "PAM terms with a derivative of their own; written out after differentiation."),
    ("primitive", "What the interpreter evaluates and the code generator emits."),
    ("ordinary", "Ordinary arithmetic, for `--arith float` alone: they multiply."),
];

impl Op {
    /// What kind of row it is, in a word: `real`, `composite`, `primitive` or, for what multiplies,
    /// `ordinary`.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Real => "real",
            Kind::Composite => "composite",
            Kind::Prim(p) if p.is_ordinary() => "ordinary",
            Kind::Prim(_) => "primitive",
        }
    }
}

fn attribute(spec: &AttrSpec) -> String {
    let name = spec.name;
    match spec.default {
        Default::Required => name.to_string(),
        Default::Absent => format!("{name}?"),
        Default::Int(x) => format!("{name} = {x}"),
        Default::Float(x) => format!("{name} = {x}"),
        Default::Bool(x) => format!("{name} = {x}"),
        Default::Ints(x) => format!("{name} = {x:?}"),
        Default::Str(x) => format!("{name} = {x}"),
    }
}

fn interval((lo, hi): (f64, f64)) -> String {
    let end = |x: f64| match x {
        f64::INFINITY => "∞".to_string(),
        f64::NEG_INFINITY => "−∞".to_string(),
        x if x != 0.0 && x.abs() < 1e-6 => format!("{x:.2e}"),
        x => x.to_string().replace('-', "−"),
    };
    format!("{} … {}", end(lo), end(hi))
}

fn error(bound: &Bound) -> String {
    let relative = format!("{:.3} %", 100.0 * bound.rel);
    let absolute = match bound.abs {
        abs if abs < 1e-9 => format!("{abs:e}"),
        abs => abs.to_string(),
    };
    let size = match (bound.rel, bound.abs) {
        (0.0, 0.0) => "exact".to_string(),
        (_, 0.0) => relative,
        (0.0, _) => absolute,
        (_, _) => format!("{relative} + {absolute}"),
    };
    let holds = match bound.holds == bound.domain {
        true => String::new(),
        false => format!(", holds on {}", interval(bound.holds)),
    };
    format!("{size}; on {}{holds}", interval(bound.domain))
}

fn line(op: &Op) -> String {
    let list = |items: Vec<String>| items.join(", ");
    let cells = [
        format!("`{}`", op.name),
        list(op.args.iter().map(ToString::to_string).collect()),
        list(op.attrs.iter().map(attribute).collect()),
        op.bound.as_ref().map(error).unwrap_or_default(),
        op.checked().map_or("", Checked::text).into(),
        list(op.onnx.iter().map(ToString::to_string).collect()),
        op.doc.to_string(),
    ];
    let escaped = cells.map(|cell| cell.replace('|', "\\|"));
    format!("| {} |\n", escaped.join(" | "))
}

/// The page: every row, by kind.
pub fn page() -> String {
    let mut text = HEAD.to_string();
    for (kind, about) in SECTIONS {
        let _ = write!(
            text,
            "\n## {}{}\n\n{about}\n\n\
             | op | operands | attributes | largest error | checked on | ONNX | what it computes |\n\
             |---|---|---|---|---|---|---|\n",
            kind[..1].to_uppercase(),
            &kind[1..]
        );
        all().filter(|op| op.kind_name() == *kind).for_each(|op| text.push_str(&line(op)));
    }
    text
}

#[test]
fn the_page_is_current() {
    let page = page();
    if std::env::var_os("PAMC_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ops.md");
        std::fs::write(path, &page).expect("a writable file");
    }
    assert!(page.lines().filter(|l| l.starts_with("| `")).count() == all().count());
    let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ops.md"));
    assert_eq!(kept.expect("the page"), page, "renew it with PAMC_BLESS=1");
}
