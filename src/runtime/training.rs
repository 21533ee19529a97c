//! The host's side of training: feeds the order of samples, shows progress, writes metrics, stops on
//! Ctrl-C and on a loss that is no number. The loop over batches itself is compiled code.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pamc_passes::ir::Tensor;
use serde_json::{Map, Value, json};

use super::device::Trainer;
use super::evaluation::Evaluation;
use super::metrics::Scores;
use super::order::Order;
use crate::error::Error;

/// How long the compiled loop runs before the host looks at it again.
const TURN: Duration = Duration::from_millis(400);

/// Writes parameters and states, given by name.
pub type Save = Box<dyn Fn(&BTreeMap<String, Tensor>) -> Result<(), Error>>;

/// A training run.
pub struct Training {
    /// The machine.
    pub trainer: Box<dyn Trainer>,
    /// The order of samples.
    pub order: Order,
    /// Optimizer steps in all.
    pub steps: usize,
    /// Micro-batches a step.
    pub accumulate: usize,
    /// Names of the program's metrics; `loss` is one of them.
    pub metrics: Vec<String>,
    /// Evaluation, and after how many steps (0: only at the end).
    pub evaluation: Option<(Evaluation, usize)>,
    /// Where metrics go, one JSON object a line.
    pub log: Option<MetricsLog>,
    /// What writes weights at the end, and after how many steps (0: only at the end).
    pub save: Option<(Save, usize)>,
    /// Show a progress bar.
    pub progress: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Steps done.
    pub steps: usize,
    /// Loss of the last step, as the program computed it.
    pub loss: f32,
    /// The last evaluation.
    pub scores: Option<Scores>,
    /// Seconds of training, evaluation apart.
    pub seconds: f64,
    /// True if Ctrl-C ended it.
    pub interrupted: bool,
    /// Parameters and states at the end.
    pub state: BTreeMap<String, Tensor>,
}

/// A file of metrics, a JSON object a line, written through as the run goes.
pub struct MetricsLog {
    path: PathBuf,
    out: BufWriter<File>,
}

impl MetricsLog {
    /// Start the file.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let file = File::create(path).map_err(|e| Error::file("write", path, e))?;
        Ok(MetricsLog { path: path.to_owned(), out: BufWriter::new(file) })
    }

    fn put(&mut self, value: &Value) -> Result<(), Error> {
        writeln!(self.out, "{value}").map_err(|e| Error::file("write", &self.path, e))
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(|e| Error::file("write", &self.path, e))
    }
}

/// Set by Ctrl-C; the handler is installed once a process.
fn interrupt() -> Arc<AtomicBool> {
    static FLAG: std::sync::OnceLock<Arc<AtomicBool>> = std::sync::OnceLock::new();
    FLAG.get_or_init(|| {
        let flag = Arc::new(AtomicBool::new(false));
        let seen = flag.clone();
        let installed = ctrlc::set_handler(move || {
            if seen.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        });
        if let Err(e) = installed {
            tracing::warn!("Ctrl-C will stop at once, without saving: {e}");
        }
        flag
    })
    .clone()
}

impl Training {
    fn bar(&self) -> ProgressBar {
        if !self.progress {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(self.steps as u64);
        let style = "{bar:24} {pos}/{len} steps  {msg}  {per_sec}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar
    }

    /// Run to the end, to Ctrl-C or to a loss that is no number.
    ///
    /// # Errors
    /// If the machine fails, the loss is not finite, or a file cannot be written. Weights saved
    /// before stay as they are.
    pub fn run(mut self) -> Result<Outcome, Error> {
        let stop = interrupt();
        let bar = self.bar();
        let loss_at = self.metrics.iter().position(|m| m == "loss").unwrap_or(0);
        let per_epoch = self.order.batches_per_epoch() as f64 / self.accumulate as f64;
        let (mut done, mut turn, mut loss, mut seconds) = (0, 1, f32::NAN, 0.0);
        let mut scores = None;
        while done < self.steps && !stop.load(Ordering::SeqCst) {
            let steps = turn.min(self.until_pause(done));
            let order = self.order.next(steps * self.accumulate);
            let start = Instant::now();
            let rows = self.trainer.train(&order, steps)?;
            let time = start.elapsed();
            seconds += time.as_secs_f64();
            for (i, row) in rows.iter().enumerate() {
                self.record(done + i + 1, per_epoch, row, seconds)?;
                loss = row[loss_at];
                if !loss.is_finite() {
                    bar.abandon();
                    return Err(Error::NotFinite { step: (done + i + 1) as u64, loss, hint: HINT });
                }
            }
            done += steps;
            bar.set_message(format!("loss {loss:.4}"));
            bar.set_position(done as u64);
            turn = next_turn(steps, time);
            scores = self.pause(done, &bar)?.or(scores);
        }
        bar.finish_and_clear();
        let state = self.trainer.state()?;
        if let Some((evaluation, every)) = &mut self.evaluation
            && (*every == 0 || !done.is_multiple_of(*every))
        {
            scores = Some(evaluation.run(&state)?);
            self.record_scores(done, scores.as_ref())?;
        }
        if let Some(log) = &mut self.log {
            log.flush()?;
        }
        if let Some((save, _)) = &self.save {
            save(&state)?;
        }
        let interrupted = done < self.steps;
        Ok(Outcome { steps: done, loss, scores, seconds, interrupted, state })
    }

    /// Steps until the next evaluation or save.
    fn until_pause(&self, done: usize) -> usize {
        let every =
            [self.evaluation.as_ref().map_or(0, |e| e.1), self.save.as_ref().map_or(0, |s| s.1)];
        let next = every.into_iter().filter(|&n| n > 0).map(|n| n - done % n).min();
        next.unwrap_or(usize::MAX).min(self.steps - done)
    }

    /// Evaluate and save if it is time to.
    fn pause(&mut self, done: usize, bar: &ProgressBar) -> Result<Option<Scores>, Error> {
        let mut scores = None;
        if let Some((evaluation, every)) = &mut self.evaluation
            && *every > 0
            && done.is_multiple_of(*every)
        {
            let s = evaluation.run(&self.trainer.state()?)?;
            bar.println(format!("step {done}: {}", describe(&s)));
            scores = Some(s);
            self.record_scores(done, scores.as_ref())?;
        }
        if let Some((save, every)) = &self.save
            && *every > 0
            && done.is_multiple_of(*every)
        {
            save(&self.trainer.state()?)?;
        }
        Ok(scores)
    }

    fn record(
        &mut self,
        step: usize,
        per_epoch: f64,
        row: &[f32],
        seconds: f64,
    ) -> Result<(), Error> {
        let Some(log) = &mut self.log else { return Ok(()) };
        let mut line = Map::new();
        line.insert("step".into(), json!(step));
        line.insert("epoch".into(), json!(step as f64 / per_epoch));
        for (name, value) in self.metrics.iter().zip(row) {
            // JSON has no NaN: it shows as null.
            line.insert(name.clone(), json!(value));
        }
        line.insert("seconds".into(), json!(seconds));
        log.put(&Value::Object(line))
    }

    fn record_scores(&mut self, step: usize, scores: Option<&Scores>) -> Result<(), Error> {
        let (Some(log), Some(scores)) = (&mut self.log, scores) else { return Ok(()) };
        let mut line = json!(scores);
        line["step"] = json!(step);
        log.put(&line)?;
        log.flush()
    }
}

const HINT: &str = "lower --lr, warm up with --warmup, or clip with --clip-norm; nothing was saved \
                    after the last checkpoint";

/// Steps that fill a turn, judged by the last one.
fn next_turn(steps: usize, time: Duration) -> usize {
    let fitting = steps as f64 * TURN.as_secs_f64() / time.as_secs_f64().max(1e-6);
    (fitting as usize).clamp(1, 4 * steps)
}

/// Scores in words.
pub fn describe(scores: &Scores) -> String {
    let mut out = format!("eval_loss {:.4}", scores.eval_loss);
    if let Some(accuracy) = scores.accuracy {
        out.push_str(&format!(", accuracy {:.2} %", 100.0 * accuracy));
    }
    if let Some(perplexity) = scores.perplexity {
        out.push_str(&format!(", perplexity {perplexity:.3}"));
    }
    out
}
