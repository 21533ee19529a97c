//! The pass manager: runs a list of passes and alone dumps, times, verifies and bisects.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::ir::{Graph, VerifyError, verify};

/// What a pipeline carries from pass to pass.
pub trait Carries {
    /// The graphs as they stand, each with the part it plays (`step`, `micro`).
    fn graphs(&self) -> Vec<(&'static str, &Graph)>;
}

/// What a pass says when it fails.
pub type PassFailure = Box<dyn std::error::Error + Send + Sync>;

/// One entry of a pass list.
pub struct Pass<C> {
    /// Name, in dumps, timings and errors.
    pub name: &'static str,
    /// Why it stands where it stands.
    pub why: &'static str,
    /// True if the program is right without it: `PAMC_BISECT` can leave it out.
    pub optional: bool,
    /// The work.
    pub run: fn(&mut C) -> Result<(), PassFailure>,
}

/// Why a pipeline stopped.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// A pass said no.
    #[error("{source}")]
    Failed {
        /// The pass.
        pass: &'static str,
        /// What it said.
        source: PassFailure,
    },
    /// A pass broke the graph.
    #[error("after pass '{pass}', {source}; this is a defect of pamc")]
    Broken {
        /// The pass.
        pass: &'static str,
        /// What is wrong.
        source: VerifyError,
    },
    /// A dump could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Dump {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// How to run a pass list.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    /// Write the graphs after each pass into this folder.
    pub dump: Option<PathBuf>,
    /// Run only so many of the optional passes.
    pub bisect: Option<usize>,
}

/// A pass and the time it took.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The pass.
    pub pass: &'static str,
    /// Wall time.
    pub time: Duration,
    /// Nodes of all graphs after it.
    pub nodes: usize,
}

impl Manager {
    /// Run the passes in order.
    ///
    /// # Errors
    /// The first failure of a pass, of the verifier after it, or of a dump.
    pub fn run<C: Carries>(
        &self,
        passes: &[Pass<C>],
        carried: &mut C,
    ) -> Result<Vec<Timing>, PipelineError> {
        self.dump(0, "input", carried)?;
        let mut timings = Vec::new();
        let mut optional = 0;
        for (number, pass) in passes.iter().enumerate() {
            optional += usize::from(pass.optional);
            if pass.optional && self.bisect.is_some_and(|limit| optional > limit) {
                tracing::info!(pass = pass.name, "left out by PAMC_BISECT");
                continue;
            }
            let start = Instant::now();
            (pass.run)(carried)
                .map_err(|source| PipelineError::Failed { pass: pass.name, source })?;
            let time = start.elapsed();
            for (_, graph) in carried.graphs() {
                verify(graph)
                    .map_err(|source| PipelineError::Broken { pass: pass.name, source })?;
            }
            let nodes = carried.graphs().iter().map(|(_, g)| g.len()).sum();
            tracing::debug!(pass = pass.name, ?time, nodes, "done");
            timings.push(Timing { pass: pass.name, time, nodes });
            self.dump(number + 1, pass.name, carried)?;
        }
        Ok(timings)
    }

    fn dump(
        &self,
        number: usize,
        after: &str,
        carried: &impl Carries,
    ) -> Result<(), PipelineError> {
        let Some(folder) = &self.dump else { return Ok(()) };
        for (part, graph) in carried.graphs() {
            let path = folder.join(format!("{number:02}-{after}.{part}.pam"));
            std::fs::create_dir_all(folder)
                .and_then(|()| std::fs::write(&path, graph.to_string()))
                .map_err(|source| PipelineError::Dump { path, source })?;
        }
        Ok(())
    }
}
