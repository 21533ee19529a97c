//! `pamc-verify`: nothing multiplies.

use super::{findings, ir::Op, options::VerifyOptions};

/// Runs the pass: every finding is reported at its place.
///
/// # Errors
/// If there is a finding.
pub(super) fn run(root: Op, values: &[&str]) -> Result<(), String> {
    let options = VerifyOptions::parse(values)?;
    let mut count = 0;
    for op in root.all() {
        if let Some(finding) = findings::of(op).filter(|f| options.integers || !f.integer) {
            op.error(&format!("pamc-verify: {}", finding.message(op)));
            count += 1;
        }
    }
    match count {
        0 => Ok(()),
        _ => Err(format!("pamc-verify: {count} operation(s) multiply")),
    }
}
