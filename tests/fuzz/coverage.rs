//! The readers under libFuzzer, which keeps inputs that reach new code: `make fuzz-coverage`.
//!
//! `PAMC_FUZZ_SEED` is the file to begin with; its name says which reader, its folder what lies
//! beside it. Time, memory and corpus are libFuzzer's arguments.

#![no_main]

mod targets;

use std::cell::OnceCell;
use std::path::PathBuf;

use targets::{Runner, Seed};

thread_local! {
    static STATE: OnceCell<(Runner, Seed)> = const { OnceCell::new() };
}

fn state() -> (Runner, Seed) {
    let path = PathBuf::from(std::env::var_os("PAMC_FUZZ_SEED").expect("PAMC_FUZZ_SEED=FILE"));
    let seed = Seed::read(vec![path]).pop().expect("PAMC_FUZZ_SEED is no file that is read");
    (Runner::new().expect("a temporary folder"), seed)
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    STATE.with(|made| {
        let (runner, seed) = made.get_or_init(state);
        runner.run(seed, input);
    });
});
