//! Hostile files: mutated models, checkpoints, texts and archives must end in an error, never in a
//! panic, a hang or a gigabyte of memory.
//!
//! `cargo test --test fuzz -- N [PATH …]` runs N executions from a fixed seed, `make fuzz` a million
//! of them. Seeds are `tests/fuzz/corpus`, the fixtures of this repository and the files under each
//! PATH. An input that fails is left in `target/fuzz`.
//!
//! A driver of its own, with a mutator that knows protobuf's structure, runs on the stable toolchain
//! and in `make test`, and counts memory per input, which libFuzzer would need a nightly compiler's
//! sanitizer for. The same targets run under libFuzzer, guided by coverage, in `make fuzz-coverage`.

mod memory;
mod mutate;
mod targets;

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, exit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use mutate::Mutator;
use targets::{Runner, Seed, Target};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// Executions in `make test`.
const FEW: u64 = 4_000;
/// Longest that one input may keep the processor busy.
const TOO_LONG: Duration = Duration::from_secs(10);
/// Longest that it may take where it waits for something; a loaded machine may stand still.
const STUCK: Duration = Duration::from_secs(120);
/// Most memory that one input may take.
const TOO_MUCH: usize = 1 << 30;
/// Seeds in this repository.
const SEEDS: [&str; 7] = [
    "tests/fuzz/corpus",
    "models/onnx/mlp_mse",
    "models/onnx/patches",
    "models/onnx/cnn_bn",
    "models/onnx/training_info",
    "tests/conformance/microsoft",
    "tests/filetests",
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let mut numbers = args.iter().filter_map(|a| a.parse::<u64>().ok());
    let executions = numbers.next().unwrap_or(FEW);
    let seed = numbers.next().unwrap_or(0);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    SEEDS.iter().for_each(|dir| collect(&root.join(dir), &mut files));
    args.iter()
        .filter(|a| a.parse::<u64>().is_err())
        .for_each(|p| collect(Path::new(p), &mut files));
    files.sort();
    let runner = match Runner::new() {
        Ok(runner) => runner,
        Err(e) => {
            println!("cannot make a temporary folder: {e}");
            return ExitCode::FAILURE;
        }
    };
    let found = run(executions, seed, &Seed::read(files), &runner);
    println!(
        "test result: {}. {executions} passed; {found} failed",
        if found == 0 { "ok" } else { "FAILED" }
    );
    if found == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Files under a path, or itself.
fn collect(path: &Path, out: &mut Vec<PathBuf>) {
    match fs::read_dir(path) {
        Ok(entries) => entries.flatten().for_each(|e| collect(&e.path(), out)),
        Err(_) => out.push(path.to_owned()),
    }
}

/// The input being executed, for the watchdog.
#[derive(Default)]
struct Current {
    /// Milliseconds since the start, 0 between inputs, and nanoseconds of the processor before.
    began: AtomicU64,
    busy: AtomicU64,
    input: Mutex<(String, Vec<u8>)>,
}

fn run(executions: u64, seed: u64, seeds: &[Seed], runner: &Runner) -> usize {
    let start = Instant::now();
    let current = Arc::new(Current::default());
    watch(start, current.clone());
    panic::set_hook(Box::new(|_| {}));
    let mut mutator = Mutator::new(seed);
    let (mut found, mut slowest, mut largest) = (0, (Duration::ZERO, 0), (0, 0));
    // A few files among many models.
    let checkpoints: Vec<usize> =
        (0..seeds.len()).filter(|&i| seeds[i].target == Target::Checkpoint).collect();
    let mut spent = vec![Duration::ZERO; seeds.len()];
    for i in 0..executions {
        let chosen = match mutator.below(8) {
            0 if !checkpoints.is_empty() => checkpoints[mutator.below(checkpoints.len())],
            _ => mutator.below(seeds.len()),
        };
        let seed = &seeds[chosen];
        let path = &seed.path;
        let other = &seeds[mutator.below(seeds.len())].bytes;
        let input = mutator.mutate(&seed.bytes, other, seed.target == Target::Onnx);
        let name = format!("{i}-{}", path.file_name().unwrap_or_default().to_string_lossy());
        if let Ok(mut place) = current.input.lock() {
            *place = (name.clone(), input.clone());
        }
        let busy_before = busy();
        current.busy.store(busy_before, Ordering::SeqCst);
        current.began.store(start.elapsed().as_millis() as u64 + 1, Ordering::SeqCst);
        let before = memory::begin();
        let done = panic::catch_unwind(AssertUnwindSafe(|| runner.run(seed, &input)));
        current.began.store(0, Ordering::SeqCst);
        let used = memory::peak().saturating_sub(before);
        let took = Duration::from_nanos(busy().saturating_sub(busy_before));
        spent[chosen] += took;
        slowest = slowest.max((took, i));
        largest = largest.max((used, i));
        if done.is_err() || used > TOO_MUCH {
            found += 1;
            let what = if done.is_err() { "panicked".into() } else { format!("took {used} bytes") };
            println!("{what}: {}", leave(&name, &input));
        }
        if (i + 1) % 100_000 == 0 {
            println!("{} executions in {:.0} s", i + 1, start.elapsed().as_secs_f64());
        }
    }
    println!(
        "{} seeds, {executions} executions in {:.1} s; slowest {:.3} s (number {}), \
         largest {} MiB (number {})",
        seeds.len(),
        start.elapsed().as_secs_f64(),
        slowest.0.as_secs_f64(),
        slowest.1,
        largest.0 >> 20,
        largest.1
    );
    let mut spent: Vec<_> = spent.iter().zip(seeds).map(|(t, s)| (t, &s.path)).collect();
    spent.sort_unstable_by_key(|(time, _)| std::cmp::Reverse(**time));
    let most = spent.iter().take(5).map(|(time, path)| {
        let mut parts = path.iter().rev().take(2);
        let (file, folder) = (parts.next(), parts.next());
        let [file, folder] = [file, folder].map(|p| p.unwrap_or_default().display().to_string());
        format!("{folder}/{file} {:.1} s", time.as_secs_f64())
    });
    println!("most time: {}", most.collect::<Vec<_>>().join(", "));
    found
}

/// Nanoseconds that the main thread has been running; the clock where the system does not say.
fn busy() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let text = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let counted = text.split(' ').next().and_then(|n| n.parse().ok());
    counted.unwrap_or_else(|| START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
}

/// Ends the process if one input takes too long.
fn watch(start: Instant, current: Arc<Current>) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let began = current.began.load(Ordering::SeqCst);
            let now = start.elapsed().as_millis() as u64 + 1;
            let stuck = now.saturating_sub(began) > STUCK.as_millis() as u64;
            let used = busy().saturating_sub(current.busy.load(Ordering::SeqCst));
            if began > 0 && (stuck || used > TOO_LONG.as_nanos() as u64) {
                if let Ok(place) = current.input.lock() {
                    println!("hangs: {}", leave(&place.0, &place.1));
                }
                exit(1);
            }
        }
    });
}

/// Writes an input that fails; returns where it is.
fn leave(name: &str, input: &[u8]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/fuzz");
    let path = folder.join(name);
    match fs::create_dir_all(&folder).and_then(|()| fs::write(&path, input)) {
        Ok(()) => path.display().to_string(),
        Err(e) => format!("{name} ({e})"),
    }
}
