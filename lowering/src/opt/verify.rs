//! `pamc-verify`: nothing multiplies.

use super::{findings, ir::Op, options::VerifyOptions};

/// Runs the pass: every finding is reported at its place.
///
/// # Errors
/// If there is a finding.
pub(super) fn run(root: Op, values: &[&str]) -> Result<(), String> {
    let options = VerifyOptions::parse(values)?;
    let mut found = findings::all(root);
    found.retain(|(_, finding)| options.integers || !finding.integer);
    for (op, finding) in &found {
        op.error(&format!("pamc-verify: {}", finding.message(*op)));
    }
    match found.len() {
        0 => Ok(()),
        count => Err(format!("pamc-verify: {count} operation(s) multiply")),
    }
}
