//! PyTorch in a process beside this one: a line of JSON tells it what to prepare, `time` runs it once.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::Result;

/// The process; it ends with its standard input.
pub struct Peer {
    _child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    pub fn start(python: &Path) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/peer.py");
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", python.display()))?;
        let to = child.stdin.take().ok_or("no input to the peer")?;
        let from = child.stdout.take().ok_or("no output of the peer")?;
        Ok(Self { _child: child, to, from: BufReader::new(from) })
    }

    fn ask(&mut self, question: &Value) -> Result<f64> {
        writeln!(self.to, "{question}")?;
        let mut answer = String::new();
        self.from.read_line(&mut answer)?;
        Ok(answer.trim().parse().map_err(|_| format!("PyTorch answered {answer:?}"))?)
    }

    /// Get ready for a case.
    pub fn prepare(&mut self, case: &Value, threads: usize) -> Result<()> {
        self.ask(&json!({ "prepare": case, "threads": threads })).map(|_| ())
    }

    /// Seconds of one run.
    pub fn time(&mut self) -> Result<f64> {
        self.ask(&json!("time"))
    }

    /// Bytes by which the process has grown, at most, since it began to prepare.
    pub fn memory(&mut self) -> Result<usize> {
        Ok(self.ask(&json!("memory"))? as usize)
    }
}
