//! `pamc devices`: what programs can run on.

use clap::Args;

use super::output::{json, put, table};
use crate::error::Error;
use crate::runtime::devices::{Description, all};

/// Arguments of `pamc devices`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  pamc devices\n  pamc devices --json")]
pub struct DevicesArgs {
    /// For programs
    #[arg(long)]
    json: bool,
}

/// List the devices.
pub fn run(args: &DevicesArgs) -> Result<(), Error> {
    let devices = all();
    if args.json {
        return put(None, &json(&devices));
    }
    let head = ["device", "name", "kind", "version", "memory", ""].map(String::from).to_vec();
    let rows: Vec<_> = std::iter::once(head).chain(devices.iter().map(row)).collect();
    put(None, table(&rows).as_bytes())
}

fn row(d: &Description) -> Vec<String> {
    let memory = d.memory_bytes.map(|b| format!("{:.1} GiB", b as f64 / f64::from(1 << 30)));
    let last = match &d.unfit {
        Some(reason) => format!("cannot be used: {reason}"),
        None => d.features.join(", "),
    };
    let or_none = |text: &str| if text.is_empty() { "-".to_string() } else { text.to_string() };
    let memory = or_none(&memory.unwrap_or_default());
    vec![d.device.clone(), or_none(&d.name), or_none(&d.kind), or_none(&d.version), memory, last]
}
