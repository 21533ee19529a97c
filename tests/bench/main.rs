//! `make bench`: times of kernels, operations and whole training steps, PAM beside ordinary floats in
//! the same run, in turns; `make bench-peers` puts PyTorch beside them. It judges nothing.

mod contractions;
mod operations;
mod peer;
mod steps;

use std::error::Error;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use pamc_lowering::codegen::set_threads;
use pamc_lowering::exec::peak::{Peak, products_per_second};
use pamc_lowering::kernels::Arith;
use serde_json::{Value, json};

use peer::Peer;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Times kernels, operations and training steps.
#[derive(Parser)]
#[command(after_help = "Example: cargo bench --bench bench -- --only matmul --rounds 9")]
struct Args {
    /// Rows whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Measurements of each, in turns; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A Python that has PyTorch, which does the same beside it.
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The unit of contractions.
const OF_PRODUCTS: &str = "G products/s";

/// Threads look for work for 0.2 s after the last before they sleep, in a core that the other side needs.
const REST: Duration = Duration::from_millis(250);

/// Seconds of one run of what it measures.
type Timed<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// What is measured: its name, the unit and amount of work of a run, how many threads do it, and
/// what PyTorch is told to do the same.
struct Case {
    name: String,
    unit: &'static str,
    work: f64,
    threads: &'static [usize],
    peer: Value,
    make: Box<dyn Fn(Arith) -> Result<Option<Runner>>>,
}

/// A compiled program with its data.
struct Runner {
    run: Timed<'static>,
    /// Memory it needs, in bytes, where that is compared.
    bytes: Option<usize>,
}

/// One line of the result: rates of PAM, float, and PyTorch.
struct Row {
    name: String,
    unit: &'static str,
    threads: usize,
    rates: [Option<f64>; 3],
    /// PAM's rate as a share of what one core can do in fused multiply-adds at the same time.
    of_peak: Option<f64>,
    bytes: [Option<usize>; 3],
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn measure(
    case: &Case,
    rounds: usize,
    peak: &mut Peak,
    peer: &mut Option<Peer>,
) -> Result<Vec<Row>> {
    eprintln!("{}", case.name);
    let [mut pam, mut float] = [(case.make)(Arith::Pam)?, (case.make)(Arith::Float)?];
    let mut rows = Vec::new();
    for &threads in case.threads {
        set_threads(threads);
        if let Some(peer) = peer {
            peer.prepare(&case.peer, threads)?;
        }
        let mut seconds: [Vec<f64>; 3] = Default::default();
        let mut shares = Vec::new();
        for round in 0..=rounds {
            let mut times = [None; 3];
            for (time, runner) in times.iter_mut().zip([&mut pam, &mut float]) {
                *time = runner.as_mut().map(|r| (r.run)()).transpose()?;
            }
            if let Some(peer) = peer {
                sleep(REST);
                times[2] = Some(peer.time()?);
                sleep(REST);
            }
            let peak = if case.unit == OF_PRODUCTS { Some(peak.measure()? / 1e9) } else { None };
            // The first round warms up.
            if round > 0 {
                shares.extend(times[0].zip(peak).map(|(time, peak)| case.work / time / peak));
                seconds.iter_mut().zip(times).for_each(|(s, t)| s.extend(t));
            }
        }
        let bytes = |r: &Option<Runner>| r.as_ref().and_then(|r| r.bytes);
        let mut all = [bytes(&pam), bytes(&float), None];
        if let (Some(peer), Some(_)) = (peer.as_mut(), all[0]) {
            all[2] = Some(peer.memory()?);
        }
        rows.push(Row {
            name: case.name.clone(),
            unit: case.unit,
            threads,
            of_peak: median(shares),
            rates: seconds.map(|s| median(s).map(|s| case.work / s)),
            bytes: all,
        });
    }
    Ok(rows)
}

/// What one core can do at best, in billions of products a second.
fn peaks() -> Result<[f64; 2]> {
    let [pam, float] = [products_per_second(Arith::Pam)?, products_per_second(Arith::Float)?];
    Ok([pam / 1e9, float / 1e9])
}

fn to_json(rows: &[Row], peaks: [f64; 2]) -> Value {
    let row = |r: &Row| {
        json!({ "name": r.name, "unit": r.unit, "threads": r.threads, "pam": r.rates[0],
                "float": r.rates[1], "torch": r.rates[2], "of_peak": r.of_peak, "bytes": r.bytes })
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    json!({ "peak": { "pam": peaks[0], "fma": peaks[1] }, "rows": rows })
}

fn print(rows: &[Row], [pam, fma]: [f64; 2]) {
    println!("peak of one core: {pam:.1} G PAM products/s, {fma:.1} G fma/s\n");
    let head = ["pam", "float", "torch", "of peak", "pam/float", "pam/torch", "MB pam", "MB torch"];
    print!("{:34}{:15}{:>4}", "", "", "thr.");
    println!("{}", head.map(|h| format!("{h:>11}")).concat());
    let cell = |x: Option<f64>| x.map_or(format!("{:>11}", "-"), |x| format!("{x:11.3}"));
    for r in rows {
        let ratio = |other: Option<f64>| Some(r.rates[0]? / other?);
        let mb = |bytes: Option<usize>| Some(bytes? as f64 / 1e6);
        print!("{:34}{:15}{:4}", r.name, r.unit, r.threads);
        r.rates.iter().for_each(|&x| print!("{}", cell(x)));
        for x in [r.of_peak, ratio(r.rates[1]), ratio(r.rates[2]), mb(r.bytes[0]), mb(r.bytes[2])] {
            print!("{}", cell(x));
        }
        println!();
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut peer = args.peer.as_deref().map(Peer::start).transpose()?;
    let peaks = peaks()?;
    let mut peak = Peak::new(Arith::Float)?;
    let cases = [contractions::cases(), operations::cases(), steps::cases()];
    let mut rows = Vec::new();
    for case in cases.into_iter().flatten().filter(|c| c.name.contains(&args.only)) {
        rows.extend(measure(&case, args.rounds, &mut peak, &mut peer)?);
    }
    match args.json {
        true => println!("{:#}", to_json(&rows, peaks)),
        false => print(&rows, peaks),
    }
    Ok(())
}
