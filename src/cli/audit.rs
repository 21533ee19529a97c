//! `pamc audit FILE…`: what multiplies data in compiled code and in models.

use std::path::{Path, PathBuf};

use clap::Args;
use pamc_lowering::audit::{self, Finding, Outcome, Report};
use pamc_lowering::gpu::plan::{CONSTANTS, HEADER, PLAN, Plan, STATE};
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
conditions over indices use are told apart by data flow. Of a folder every file is audited; what pamc \
wrote beside GPU code to say how it is run is data. The exit code is 1 if anything was found or a file \
could not be audited.",
    after_help = "Examples:
  pamc audit libmodel.so kernel.ptx
  pamc audit gpt_gpu/
  pamc audit model.onnx --json"
)]
pub struct AuditArgs {
    /// The files, and folders of them
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
    seen: Seen,
}

/// What became of a file.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Seen {
    Audited(Report),
    /// It could not be audited, for this reason.
    Skipped(String),
    /// There is no code in it; says what is.
    Data(&'static str),
}

impl From<Outcome> for Seen {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Audited(report) => Seen::Audited(report),
            Outcome::Skipped(why) => Seen::Skipped(why),
        }
    }
}

fn audited(path: &Path) -> Result<Vec<(String, Seen)>, Error> {
    if let Some(what) = data_of_plan(path) {
        return Ok(vec![(String::new(), Seen::Data(what))]);
    }
    let bytes = std::fs::read(path).map_err(|e| Error::file("read", path, e))?;
    if path.extension().is_some_and(|e| e == "onnx") {
        let report = onnx::audit(&onnx::Model::decode(bytes.into(), path)?);
        return Ok(vec![(String::new(), Seen::Audited(report))]);
    }
    // One file that cannot be read does not keep the others from being audited.
    Ok(match audit::file(&bytes) {
        Ok(outcomes) => outcomes.into_iter().map(|(name, o)| (name, o.into())).collect(),
        Err(e) => vec![(String::new(), Seen::Skipped(e.to_string()))],
    })
}

/// What a file beside GPU code is that pamc wrote, as the plan in its folder has it.
fn data_of_plan(path: &Path) -> Option<&'static str> {
    let what = match path.file_name()?.to_str()? {
        PLAN => "the launch plan of GPU code",
        CONSTANTS => "the constants of GPU code",
        STATE => "the parameters and states of GPU code",
        HEADER => "the C header of GPU code",
        _ => return None,
    };
    let plan = std::fs::read(path.with_file_name(PLAN)).ok()?;
    serde_json::from_slice::<Plan>(&plan).is_ok().then_some(what)
}

/// The files that an argument stands for: itself, or those of a folder in order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let read = |e| Error::file("read", path, e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(read)? {
        let entry = entry.map_err(read)?.path();
        if entry.is_file() {
            found.push(entry);
        }
    }
    if found.is_empty() {
        return Err(Error::usage(format!("there is no file in {}", path.display())));
    }
    found.sort();
    Ok(found)
}

/// Audit files.
pub fn run(args: &AuditArgs) -> Result<(), Error> {
    let mut rows = Vec::new();
    for argument in &args.files {
        for file in files(argument)? {
            for (member, seen) in audited(&file)? {
                rows.push(Row { file: file.clone(), member, seen });
            }
        }
    }
    let bad = rows.iter().filter(|r| !is_clean(&r.seen)).count();
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

fn is_clean(seen: &Seen) -> bool {
    match seen {
        Seen::Audited(report) => report.is_multiplication_free(),
        Seen::Skipped(_) => false,
        Seen::Data(_) => true,
    }
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
        let unread = |name, verdict| {
            let mut cells = vec![name];
            cells.extend((0..6).map(|_| "-".to_string()));
            cells.push(verdict);
            cells
        };
        lines.push(match &row.seen {
            Seen::Audited(report) => line(name, report),
            Seen::Skipped(why) => unread(name, format!("skipped: {why}")),
            Seen::Data(what) => unread(name, format!("data: {what}")),
        });
    }
    let mut out = table(&lines);
    let findings: Vec<&Finding> = rows
        .iter()
        .filter_map(|r| match &r.seen {
            Seen::Audited(report) => Some(&report.findings),
            _ => None,
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
