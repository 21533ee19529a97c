//! `pamc audit FILE…`: what multiplies data in compiled code and in models.

use std::path::{Path, PathBuf};

use clap::Args;
use pamc_lowering::audit::{self, Finding, Outcome, Report};
use serde::Serialize;

use super::output::{put, table};
use crate::error::Error;
use crate::onnx;

/// Arguments of `pamc audit`.
#[derive(Args, Debug)]
#[command(
    long_about = "Report every instruction or operation that multiplies, divides, fuses, takes roots \
or transcendentals on data. Reads ELF objects, libraries and archives (x86-64, AArch64), PTX, cubin, \
AMDGCN objects, SPIR-V, MLIR, LLVM IR and ONNX. Integer multiplies that only addresses, bounds and \
conditions over indices use are told apart by data flow. The exit code is 1 if anything was found or \
a file could not be audited.",
    after_help = "Examples:
  pamc audit libmodel.so kernel.ptx
  pamc audit model.onnx --json"
)]
pub struct AuditArgs {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    file: PathBuf,
    #[serde(skip_serializing_if = "String::is_empty")]
    member: String,
    #[serde(flatten)]
    outcome: Outcome,
}

fn audited(path: &Path) -> Result<Vec<(String, Outcome)>, Error> {
    let bytes = std::fs::read(path).map_err(|e| Error::file("read", path, e))?;
    if path.extension().is_some_and(|e| e == "onnx") {
        let report = onnx::audit(&onnx::Model::decode(bytes.into(), path)?);
        return Ok(vec![(String::new(), Outcome::Audited(report))]);
    }
    // One file that cannot be read does not keep the others from being audited.
    Ok(audit::file(&bytes)
        .unwrap_or_else(|e| vec![(String::new(), Outcome::Skipped(e.to_string()))]))
}

/// Audit files.
pub fn run(args: &AuditArgs) -> Result<(), Error> {
    let mut rows = Vec::new();
    for file in &args.files {
        for (member, outcome) in audited(file)? {
            rows.push(Row { file: file.clone(), member, outcome });
        }
    }
    let bad = rows.iter().filter(|r| !is_clean(&r.outcome)).count();
    if args.json {
        let mut bytes = serde_json::to_vec_pretty(&rows).unwrap_or_default();
        bytes.push(b'\n');
        put(None, &bytes)?;
    } else {
        put(None, text(&rows).as_bytes())?;
    }
    match bad {
        0 => Ok(()),
        _ => Err(Error::usage(format!(
            "{bad} of {} audited files multiply data or could not be audited",
            rows.len()
        ))),
    }
}

fn is_clean(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Audited(report) if report.is_multiplication_free())
}

fn text(rows: &[Row]) -> String {
    let head = [
        "file",
        "format",
        "operations",
        "findings",
        "for addresses",
        "shifts",
        "constants",
        "verdict",
    ];
    let mut lines = vec![head.map(String::from).to_vec()];
    for row in rows {
        let mut name = row.file.display().to_string();
        if !row.member.is_empty() {
            name.push_str(&format!("({})", row.member));
        }
        lines.push(match &row.outcome {
            Outcome::Audited(report) => line(name, report),
            Outcome::Skipped(why) => {
                let mut cells = vec![name];
                cells.extend((0..6).map(|_| "-".to_string()));
                cells.push(format!("skipped: {why}"));
                cells
            }
        });
    }
    let mut out = table(&lines);
    let findings: Vec<&Finding> = rows
        .iter()
        .filter_map(|r| match &r.outcome {
            Outcome::Audited(report) => Some(&report.findings),
            Outcome::Skipped(_) => None,
        })
        .flatten()
        .collect();
    if !findings.is_empty() {
        let head = ["function", "place", "kind", "what", "why", "source"];
        let mut lines = vec![head.map(String::from).to_vec()];
        for f in findings {
            let cells = [&f.function, &f.place, f.kind.name(), &f.what];
            let mut cells: Vec<String> = cells.into_iter().map(String::from).collect();
            cells.push(f.reason.clone().unwrap_or_else(|| "-".into()));
            cells.push(f.source.clone().unwrap_or_default());
            lines.push(cells);
        }
        out.push('\n');
        out.push_str(&table(&lines));
    }
    out
}

fn line(name: String, report: &Report) -> Vec<String> {
    let sum = |count: fn(&audit::Function) -> usize| -> String {
        report.functions.iter().map(count).sum::<usize>().to_string()
    };
    let verdict = match report.undecoded {
        _ if report.is_multiplication_free() => "nothing multiplies data".to_string(),
        0 => "multiplies data".to_string(),
        bytes => format!("{bytes} bytes are no instruction"),
    };
    vec![
        name,
        report.format.clone(),
        report.operations().to_string(),
        report.findings.len().to_string(),
        sum(|f| f.address_multiplies),
        sum(|f| f.shifts),
        sum(|f| f.constants),
        verdict,
    ]
}
