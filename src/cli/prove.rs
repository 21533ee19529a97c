//! `pamc prove`: every bit-exact rule, emitted code and declared error bounds, proven again.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use glob::Pattern;
use pamc_passes::prove::{Obligation, Verdict, discharge, obligations, record};
use serde::Serialize;

use super::output::{put, table};
use crate::error::Error;
use crate::select::near;

/// Arguments of `pamc prove`.
#[derive(Args, Debug)]
#[command(after_help = "\
Needs the programs z3 and cvc5. The exit code is 1 unless everything is proven: by a solver, by trying
all cases (exhaustive), or, for bounds of two operands, by as many as there is time for (sampled). Kinds:
  rule       a bit-exact rewrite rule
  sum        what the following take for granted of float sums
  primitive  emitted code of an elementwise primitive, by a solver and run on all 2³² operands
  kernel     a version of a product in contractions, where the facts about the operands choose it
  bound      a declared error bound of an elementwise lowering; those of others are only sampled, by tests

Examples:
  pamc prove
  pamc prove kernel
  pamc prove div-mul 'mul-neg*' --json
  PAMC_BLESS=1 pamc prove --record passes/docs/rules.md")]
pub struct ProveArgs {
    /// Only what has such a name or kind (rule, sum, primitive, kernel, bound); `*` stands for anything
    #[arg(value_name = "NAME", value_parser = Pattern::new)]
    pub names: Vec<Pattern>,
    /// Seconds that each solver may take for one problem
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub limit: u64,
    /// Compare with this document of the rules and their proofs; PAMC_BLESS=1 replaces it
    #[arg(long, value_name = "FILE", conflicts_with = "names")]
    pub record: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    kind: &'a str,
    subject: &'a str,
    domain: &'a str,
    proven: bool,
    status: String,
    seconds: f64,
}

/// Prove everything, or what was asked for.
pub fn run(args: &ProveArgs) -> Result<(), Error> {
    let start = Instant::now();
    let mut all = obligations(Some(pamc_lowering::prove::exhaust))
        .map_err(|e| Error::Proof(e.to_string()))?;
    all.extend(pamc_lowering::prove::obligations()?);
    all = chosen(all, &args.names)?;
    let limit = Duration::from_secs(args.limit);
    let show = |v: &Verdict| {
        let Verdict { kind, subject, domain, status, seconds } = v;
        eprintln!("{kind:9} {subject:24} {domain:6} {status} ({seconds:.2} s)");
    };
    let verdicts = discharge(&all, limit, show).map_err(|e| Error::Proof(e.to_string()))?;
    put(None, &report(&verdicts, args.json))?;
    eprintln!("{} proofs in {:.1} s", verdicts.len(), start.elapsed().as_secs_f64());
    let open = verdicts.iter().filter(|v| !v.status.holds()).count();
    if open > 0 {
        return Err(Error::Proof(format!("{open} of {} are not proven", verdicts.len())));
    }
    args.record.as_ref().map_or(Ok(()), |file| compare(file, &verdicts))
}

/// What patterns name; everything without any.
fn chosen<'a>(all: Vec<Obligation<'a>>, names: &[Pattern]) -> Result<Vec<Obligation<'a>>, Error> {
    let named = |p: &Pattern, o: &Obligation<'_>| p.matches(&o.subject) || p.as_str() == o.kind;
    let idle = names.iter().filter(|p| !all.iter().any(|o| named(p, o)));
    let subjects: BTreeSet<String> = all.iter().map(|o| o.subject.clone()).collect();
    let subjects: Vec<String> = subjects.into_iter().collect();
    let lines: Vec<String> = idle
        .map(|p| format!("nothing to prove has the name or kind '{p}'{}", near(p, &subjects)))
        .collect();
    if !lines.is_empty() {
        return Err(Error::usage(lines.join("\n")));
    }
    let wanted = |o: &Obligation<'_>| names.is_empty() || names.iter().any(|p| named(p, o));
    Ok(all.into_iter().filter(wanted).collect())
}

fn report(verdicts: &[Verdict], json: bool) -> Vec<u8> {
    let row = |v: &Verdict| {
        vec![
            v.kind.into(),
            v.subject.clone(),
            v.domain.clone(),
            v.status.to_string(),
            format!("{:.2}", v.seconds),
        ]
    };
    if !json {
        let head = ["kind", "name", "where", "status", "seconds"].map(String::from).to_vec();
        return table(&[vec![head], verdicts.iter().map(row).collect()].concat()).into_bytes();
    }
    let rows: Vec<_> = verdicts
        .iter()
        .map(|v| Row {
            kind: v.kind,
            subject: &v.subject,
            domain: &v.domain,
            proven: v.status.holds(),
            status: v.status.to_string(),
            seconds: v.seconds,
        })
        .collect();
    let mut bytes = serde_json::to_vec_pretty(&rows).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The document must say what was just proven.
fn compare(file: &PathBuf, verdicts: &[Verdict]) -> Result<(), Error> {
    let refused = |e: pamc_passes::rules::Refused| Error::Proof(e.to_string());
    let text = record::entries(verdicts).and_then(|e| record::render(&e)).map_err(refused)?;
    if std::env::var("PAMC_BLESS").is_ok_and(|v| v == "1") {
        return put(Some(file), text.as_bytes());
    }
    let there = std::fs::read_to_string(file);
    let there = there.map_err(|source| Error::File { verb: "read", path: file.clone(), source })?;
    if there == text {
        return Ok(());
    }
    Err(Error::Proof(format!("{} is not current: PAMC_BLESS=1 replaces it", file.display())))
}
