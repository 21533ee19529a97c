//! The `pamc` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pamc::cli::main()
}
