//! Compiled code run on every value of its operand, chunk after chunk on all processors.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pamc_passes::arith::Arith;
use pamc_passes::ir::{Attrs, Graph, InputKind, Origin, TensorType};
use pamc_passes::ops::{self, Op};
use pamc_passes::pass::{expand, lower};
use pamc_passes::program::Program;
use pamc_passes::prove::Status;

use crate::emit::EmitOptions;
use crate::exec::{Executable, Session, State};

/// Elements in a chunk: input and output fit the nearest large cache.
pub(super) const CHUNK: usize = 1 << 15;

/// Run chunks of bit patterns: what each operand holds in a chunk, and what is wrong with the result.
pub(super) trait Check: Sync {
    /// Number of chunks.
    fn chunks(&self) -> usize;
    /// Fill the operands for a chunk.
    fn fill(&self, chunk: usize, operands: &mut [&mut [u32]]);
    /// Judge the results; how many values it was about, or what is wrong.
    ///
    /// # Errors
    /// Says which operands have a wrong result.
    fn judge(&self, operands: &[&[u32]], results: &[u8]) -> Result<u64, String>;
}

/// The program of one op on a chunk of operands.
pub(super) fn program(op: &'static Op, from: &[TensorType], attrs: Attrs) -> io::Result<Program> {
    let mut graph = Graph::new("trial");
    let mut made = || {
        let mut inputs = Vec::new();
        for (i, ty) in from.iter().enumerate() {
            inputs.push(graph.input(format!("x{i}"), ty.clone(), InputKind::Data)?);
        }
        let y = graph.add(op, &inputs, attrs.clone(), Origin::default())?;
        graph.output("y", y)?;
        expand(&lower(&graph, Arith::PAM)?)
    };
    let graph = made().map_err(io::Error::other)?;
    Program::new(graph, Arith::PAM).map_err(io::Error::other)
}

/// Compile a program and run it on all chunks of a check.
pub(super) fn run(program: &Program, check: &impl Check) -> io::Result<Status> {
    let options = EmitOptions { parallel: false, ..EmitOptions::default() };
    let code = Executable::new(program, &options, None).map_err(io::Error::other)?;
    let next = AtomicUsize::new(0);
    let result = Mutex::new((0u64, None));
    let work = || {
        let mut session = Session::new(&code, State::new(code.layout()));
        let mut passed = 0;
        loop {
            let chunk = next.fetch_add(1, Ordering::Relaxed);
            if chunk >= check.chunks() {
                break;
            }
            check.fill(chunk, &mut session.input_words());
            session.execute();
            match check.judge(&session.inputs(), session.output(0)) {
                Ok(n) => passed += n,
                Err(what) => {
                    next.store(check.chunks(), Ordering::Relaxed);
                    result.lock().unwrap_or_else(|e| e.into_inner()).1.get_or_insert(what);
                }
            }
        }
        result.lock().unwrap_or_else(|e| e.into_inner()).0 += passed;
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|s| (0..threads).for_each(|_| drop(s.spawn(work))));
    Ok(match result.into_inner().unwrap_or_else(|e| e.into_inner()) {
        (_, Some(at)) => Status::Refuted(at),
        (0, None) => Status::Refuted("nothing was tried".into()),
        (passed, None) => Status::Exhaustive(passed),
    })
}

/// The row of that name.
pub(super) fn row(name: &str) -> io::Result<&'static Op> {
    ops::lookup(name).ok_or_else(|| io::Error::other(format!("there is no op {name}")))
}
