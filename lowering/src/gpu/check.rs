//! A last look at a module before it is written: nothing in it multiplies floats.

use crate::Error;

/// Parts of the names of operations that no kernel may have.
const FORBIDDEN: [&str; 11] = [
    "fmul",
    "fdiv",
    "frem",
    "fmod",
    "fma",
    "mulf",
    "divf",
    "remf",
    "sqrt",
    "timesscalar",
    "timesmatrix",
];
/// The last parts of names of operations that no kernel may have, digits left out.
const FUNCTIONS: [&str; 12] =
    ["exp", "log", "pow", "sin", "cos", "tan", "sinh", "cosh", "tanh", "erf", "powf", "rcp"];
const DIALECTS: [&str; 7] = ["llvm.", "spirv.", "nvvm.", "rocdl.", "arith.", "math.", "vector."];

fn multiplies(operation: &str) -> bool {
    let operation = operation.to_ascii_lowercase();
    let last = operation.rsplit('.').next().unwrap_or_default();
    let last = last.trim_end_matches(|c: char| c.is_ascii_digit());
    FORBIDDEN.iter().any(|f| operation.contains(f)) || FUNCTIONS.contains(&last)
}

/// Check the text of a module: every operation in it is a word that begins with its dialect.
///
/// # Errors
/// [`Error::Program`] naming the operations that multiply.
pub(super) fn multiplication_free(text: &str) -> Result<(), Error> {
    let mut found: Vec<String> = Vec::new();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    for line in text.lines() {
        for name in line.split(|c| !word(c)) {
            let Some(dialect) = DIALECTS.iter().find(|d| name.starts_with(**d)) else { continue };
            if multiplies(&name[dialect.len()..]) && !found.iter().any(|n| n == name) {
                found.push(name.into());
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let message = format!(
        "its GPU code multiplies, so nothing was written; this is a defect of pamc: {}",
        found.join(", ")
    );
    Err(Error::Program { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplications_are_found_by_name() {
        let clean =
            "%1 = llvm.mul %0, %0 : i32\n%2 = spirv.FAdd %a, %b : f32\n%3 = llvm.intr.floor(%2)";
        assert!(multiplication_free(clean).is_ok());
        for bad in ["llvm.fmul", "spirv.GL.Fma", "math.exp2", "llvm.intr.sqrt", "nvvm.sqrt.rn.f"] {
            let text = format!("{clean}\n%4 = {bad}(%2) : f32");
            let message = multiplication_free(&text).unwrap_err().to_string();
            assert!(message.contains(bad), "{message}");
        }
    }
}
