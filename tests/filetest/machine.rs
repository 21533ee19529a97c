//! What a program runs on. All must agree bit for bit.

use pamc_passes::interpret::{self, Values};
use pamc_passes::program::Program;

/// One way to run a program.
pub struct Machine {
    /// Its name, for messages.
    pub name: &'static str,
    /// Run a program on inputs.
    pub run: fn(&Program, &Values) -> Result<Values, String>,
}

/// All of them.
pub const MACHINES: &[Machine] = &[Machine {
    name: "the interpreter",
    run: |p, v| interpret::run(p, v).map_err(|e| e.to_string()),
}];
