//! The `pamc` command.

fn main() {}
