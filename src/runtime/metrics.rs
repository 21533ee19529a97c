//! True metrics of a model's outputs, computed by the host in float64, so that arithmetics can be
//! compared: the loss that a program computes in its own arithmetic is biased.

use pamc_passes::ir::Tensor;
use serde::Serialize;

/// What the outputs are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// Class scores along `axis` (counted from the front) against integer labels; a label equal to
    /// `ignore` does not count.
    Classes {
        /// Axis of the classes.
        axis: usize,
        /// Label that does not count.
        ignore: Option<i64>,
    },
    /// Values against values: mean squared error.
    Regression,
    /// Values against values: mean absolute error.
    Absolute,
    /// Scores against 0/1 targets: binary cross entropy.
    Binary,
}

/// Sums over the samples seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    loss: f64,
    correct: u64,
    count: u64,
}

/// Means over an evaluation set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Mean loss: cross entropy in nats, or the mean error.
    pub eval_loss: f64,
    /// e to the loss, of class scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// Share of labels with the largest score, of class scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
}

impl Totals {
    /// Add the first `samples` samples of a batch. Returns `None` if the shapes do not fit.
    #[must_use]
    pub fn add(
        &mut self,
        objective: Objective,
        outputs: &Tensor,
        targets: &Tensor,
        samples: usize,
    ) -> Option<()> {
        match objective {
            Objective::Classes { axis, ignore } => {
                self.classes(outputs, targets, samples, axis, ignore)
            }
            other => self.values(other, outputs, targets, samples),
        }
    }

    fn classes(
        &mut self,
        outputs: &Tensor,
        targets: &Tensor,
        samples: usize,
        axis: usize,
        ignore: Option<i64>,
    ) -> Option<()> {
        let (scores, labels) = (outputs.to_vec::<f32>()?, targets.to_vec::<i64>()?);
        let classes = *outputs.shape().get(axis)?;
        let inner: usize = outputs.shape()[axis + 1..].iter().product();
        let per_sample = labels.len() / targets.shape().first()?;
        if labels.len() * classes != scores.len() {
            return None;
        }
        for (i, &label) in labels.iter().enumerate().take(samples * per_sample) {
            if Some(label) == ignore {
                continue;
            }
            let start = (i / inner) * classes * inner + i % inner;
            let row: Vec<f64> =
                (0..classes).map(|c| f64::from(scores[start + c * inner])).collect();
            let label = usize::try_from(label).ok().filter(|&l| l < classes)?;
            let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = row.iter().map(|x| (x - top).exp()).sum();
            self.loss += top + total.ln() - row[label];
            let best = row.iter().position(|&x| x == top);
            self.correct += u64::from(best == Some(label));
            self.count += 1;
        }
        Some(())
    }

    fn values(
        &mut self,
        objective: Objective,
        outputs: &Tensor,
        targets: &Tensor,
        samples: usize,
    ) -> Option<()> {
        let (y, t) = (outputs.to_vec::<f32>()?, targets.to_vec::<f32>()?);
        let per_sample = y.len() / outputs.shape().first()?;
        if y.len() != t.len() {
            return None;
        }
        for (y, t) in y.iter().zip(&t).take(samples * per_sample) {
            let (y, t) = (f64::from(*y), f64::from(*t));
            self.loss += match objective {
                Objective::Absolute => (y - t).abs(),
                Objective::Binary => y.max(0.0) - y * t + (-y.abs()).exp().ln_1p(),
                _ => (y - t) * (y - t),
            };
            self.count += 1;
        }
        Some(())
    }

    /// The means.
    pub fn scores(self, objective: Objective) -> Scores {
        let n = self.count.max(1) as f64;
        let eval_loss = self.loss / n;
        let classes = matches!(objective, Objective::Classes { .. });
        Scores {
            eval_loss,
            perplexity: classes.then(|| eval_loss.exp()),
            accuracy: classes.then(|| self.correct as f64 / n),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_along_any_axis() {
        let objective = Objective::Classes { axis: 1, ignore: Some(-1) };
        // Two samples, three classes, two positions.
        let scores = vec![0f32, 5., 1., 0., 0., 0., 2., 2., 2., 2., 2., 2.];
        let outputs = Tensor::from_vec(&[2, 3, 2], scores).expect("fits");
        let labels = Tensor::from_vec(&[2, 2], vec![1i64, 0, -1, 2]).expect("fits");
        let mut totals = Totals::default();
        totals.add(objective, &outputs, &labels, 2).expect("fits");
        let s = totals.scores(objective);
        let e = std::f64::consts::E;
        let want = ((2.0 + e).ln() - 1.0) + ((e.powi(5) + 2.0).ln() - 5.0) + 3f64.ln();
        assert!((s.eval_loss - want / 3.0).abs() < 1e-12, "{s:?}");
        assert_eq!(s.accuracy, Some(2.0 / 3.0));
    }

    #[test]
    fn only_the_samples_asked_for_count() {
        let y = Tensor::from_vec(&[2, 1], vec![1f32, 9.0]).expect("fits");
        let t = Tensor::from_vec(&[2, 1], vec![3f32, 0.0]).expect("fits");
        let mut totals = Totals::default();
        totals.add(Objective::Regression, &y, &t, 1).expect("fits");
        assert_eq!(totals.scores(Objective::Regression).eval_loss, 4.0);
    }
}
