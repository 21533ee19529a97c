//! `pamc ops` and `pamc rules`: what the tables hold.

use clap::Args;
use pamc_passes::ops::{Checked, Op, all};
use pamc_passes::rules;
use serde::Serialize;

use super::output::{json, put, table};
use crate::error::Error;
use crate::onnx;

/// Arguments of `pamc ops`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  pamc ops\n  pamc ops softmax\n  pamc ops --onnx --json")]
pub struct OpsArgs {
    /// Only operations whose name holds this
    pub filter: Option<String>,
    /// The ONNX operators that can be imported, with the versions of their operator sets
    #[arg(long)]
    pub onnx: bool,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `pamc rules`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  pamc rules\n  pamc rules div --json")]
pub struct RulesArgs {
    /// Only rules whose name holds this
    pub filter: Option<String>,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct OpRow {
    name: &'static str,
    kind: &'static str,
    operands: &'static [&'static str],
    attributes: Vec<&'static str>,
    onnx: &'static [&'static str],
    max_relative_error: Option<f64>,
    max_absolute_error: Option<f64>,
    error_checked_on: Option<&'static str>,
    doc: &'static str,
}

fn row(op: &'static Op) -> OpRow {
    OpRow {
        name: op.name,
        kind: op.kind_name(),
        operands: op.args,
        attributes: op.attrs.iter().map(|a| a.name).collect(),
        onnx: op.onnx,
        max_relative_error: op.bound.map(|b| b.rel),
        max_absolute_error: op.bound.map(|b| b.abs),
        error_checked_on: op.checked().map(Checked::text),
        doc: op.doc,
    }
}

/// List the op table.
pub fn run(args: &OpsArgs) -> Result<(), Error> {
    if args.onnx {
        return onnx_operators(args);
    }
    let wanted = |op: &&Op| args.filter.as_ref().is_none_or(|f| op.name.contains(f.as_str()));
    let rows: Vec<OpRow> = all().filter(wanted).map(row).collect();
    if args.json {
        return put(None, &json(&rows));
    }
    let error = |r: &OpRow| match (r.max_relative_error, r.max_absolute_error) {
        (None, None) => String::new(),
        (rel, abs) => {
            format!("{:.2} % + {:.1e}", 100.0 * rel.unwrap_or(0.0), abs.unwrap_or(0.0))
        }
    };
    let head =
        ["op", "kind", "operands", "attributes", "max. error", "checked on", "what it computes"];
    let mut lines = vec![head.map(String::from).to_vec()];
    for r in &rows {
        let cells = [r.name, r.kind].map(String::from);
        lines.push(
            [
                &cells[..],
                &[r.operands.join(", "), r.attributes.join(", "), error(r)],
                &[r.error_checked_on.unwrap_or_default(), r.doc].map(String::from),
            ]
            .concat(),
        );
    }
    put(None, table(&lines).as_bytes())
}

#[derive(Serialize)]
struct OnnxRow {
    domain: &'static str,
    name: &'static str,
    since: i64,
    until: Option<i64>,
}

fn onnx_operators(args: &OpsArgs) -> Result<(), Error> {
    let wanted = |r: &OnnxRow| args.filter.as_ref().is_none_or(|f| r.name.contains(f.as_str()));
    let row = |o: onnx::OpSupport| OnnxRow {
        domain: o.domain,
        name: o.op,
        since: o.since,
        until: o.until,
    };
    let rows: Vec<OnnxRow> = onnx::supported_ops().map(row).filter(wanted).collect();
    if args.json {
        return put(None, &json(&rows));
    }
    let mut lines = vec![["operator", "domain", "opsets"].map(String::from).to_vec()];
    for r in &rows {
        let domain = if r.domain.is_empty() { "ai.onnx" } else { r.domain };
        let until = r.until.map_or(String::new(), |u| u.to_string());
        lines.push(vec![r.name.into(), domain.into(), format!("{} – {until}", r.since)]);
    }
    put(None, table(&lines).as_bytes())
}

#[derive(Serialize)]
struct RuleRow {
    name: &'static str,
    exactness: &'static str,
    lhs: &'static str,
    rhs: &'static str,
    guards: Vec<String>,
    status: String,
}

fn rule_row(listing: rules::Listing) -> RuleRow {
    let spec = listing.spec;
    RuleRow {
        name: spec.name,
        exactness: match spec.kind {
            rules::Exactness::Real => "real",
            rules::Exactness::Bits => "bit-exact",
        },
        lhs: spec.lhs,
        rhs: spec.rhs,
        guards: spec.guards.iter().map(ToString::to_string).collect(),
        status: match listing.status {
            Ok(samples) => listing.proof.unwrap_or(format!("sampled on {samples}")),
            Err(refused) => format!("refused: {refused}"),
        },
    }
}

/// List the rewrite rules.
pub fn rules(args: &RulesArgs) -> Result<(), Error> {
    let wanted = |r: &RuleRow| args.filter.as_ref().is_none_or(|f| r.name.contains(f.as_str()));
    let rows: Vec<RuleRow> = rules::list().into_iter().map(rule_row).filter(wanted).collect();
    if args.json {
        return put(None, &json(&rows));
    }
    let head = ["rule", "exactness", "status", "from", "to", "when"];
    let mut lines = vec![head.map(String::from).to_vec()];
    for r in rows {
        let cells = [r.name, r.exactness, &r.status, r.lhs, r.rhs, &r.guards.join(", ")];
        lines.push(cells.map(String::from).to_vec());
    }
    put(None, table(&lines).as_bytes())
}
