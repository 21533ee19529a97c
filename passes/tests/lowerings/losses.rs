//! Losses against their definitions in double precision.

use pamc_passes::arith::Arith;
use pamc_passes::ir::{Attr, Attrs, Region, Tensor};
use pamc_passes::pass::lower;

use crate::common::{Spread, apply, single, wide};
use crate::structured::{check, check_float, samples};

const REDUCTIONS: [&str; 3] = ["none", "mean", "sum"];

/// Row losses and their weights, reduced.
fn reduced(losses: &[f64], weights: &[f64], how: &str) -> Vec<f64> {
    let total: f64 = losses.iter().sum();
    match how {
        "none" => losses.to_vec(),
        "sum" => vec![total],
        _ => vec![total / weights.iter().sum::<f64>()],
    }
}

#[test]
fn regression_losses() {
    let mut s = samples("mse_loss", 1);
    let (x, t) = (s.tensor(&[5, 7]), s.tensor(&[5, 7]));
    let difference: Vec<f64> = wide(&x).iter().zip(wide(&t)).map(|(x, t)| x - t).collect();
    let square: Vec<f64> = difference.iter().map(|d| d * d).collect();
    let size: Vec<f64> = difference.iter().map(|d| d.abs()).collect();
    for how in REDUCTIONS {
        let options = Attrs::none().with("reduction", how);
        let inputs = [x.clone(), t.clone()];
        check("mse_loss", &inputs, options.clone(), &reduced(&square, &[1.0; 35], how));
        check("l1_loss", &inputs, options, &reduced(&size, &[1.0; 35], how));
    }
}

#[test]
fn binary_cross_entropy() {
    let x = samples("bce_with_logits", 2).tensor(&[40]);
    let t = Spread::new(3, 0.0, 1.0).tensor(&[40]);
    let loss = |(x, t): (&f64, f64)| -t * x + (1.0 + x.exp()).ln();
    let losses: Vec<f64> = wide(&x).iter().zip(wide(&t)).map(loss).collect();
    for how in REDUCTIONS {
        let options = Attrs::none().with("reduction", how);
        let want = reduced(&losses, &[1.0; 40], how);
        check_float("bce_with_logits", &[x.clone(), t.clone()], options.clone(), &want);
        if how != "sum" {
            check("bce_with_logits", &[x.clone(), t.clone()], options, &want);
        }
    }
    let far = Tensor::from_vec(&[2], vec![1000f32, -1000.]).unwrap();
    let labels = Tensor::from_vec(&[2], vec![1f32, 0.]).unwrap();
    for arith in [Arith::PAM, Arith::Float] {
        assert_eq!(
            apply("bce_with_logits", arith, &[far.clone(), labels.clone()], Attrs::none()),
            [0.0]
        );
    }
}

/// The options of a classification loss.
#[derive(Clone, Copy)]
struct Case {
    smoothing: f64,
    weighted: bool,
    ignore: Option<i64>,
}

const ROWS: usize = 12;
const CLASSES: usize = 9;

struct Data {
    logits: Tensor,
    labels: Vec<i64>,
    weights: Tensor,
}

impl Data {
    fn new() -> Self {
        let logits = samples("cross_entropy", 4).tensor(&[ROWS, CLASSES]);
        let labels = Spread::new(5, 0.0, 1.0).labels(ROWS, CLASSES);
        Data { logits, labels, weights: Spread::new(6, 0.5, 2.0).tensor(&[CLASSES]) }
    }

    fn log_probabilities(&self) -> Vec<Vec<f64>> {
        let row = |r: &[f64]| {
            let lse = r.iter().map(|x| x.exp()).sum::<f64>().ln();
            r.iter().map(|x| x - lse).collect()
        };
        wide(&self.logits).chunks(CLASSES).map(row).collect()
    }

    /// Row losses and the weights a mean divides by.
    fn expected(&self, case: Case, logs: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
        let ws = if case.weighted { wide(&self.weights) } else { vec![1.0; CLASSES] };
        let row = |(l, &y): (&Vec<f64>, &i64)| {
            if case.ignore == Some(y) {
                return (0.0, 0.0);
            }
            let y = y as usize;
            let uniform: f64 = l.iter().zip(&ws).map(|(l, w)| -l * w).sum();
            let sharp = -l[y] * ws[y];
            ((1.0 - case.smoothing) * sharp + case.smoothing * uniform / CLASSES as f64, ws[y])
        };
        logs.iter().zip(&self.labels).map(row).unzip()
    }

    fn inputs(&self, x: &Tensor, case: Case) -> Vec<Tensor> {
        let labels = Tensor::from_vec(&[ROWS], self.labels.clone()).unwrap();
        let mut all = vec![x.clone(), labels];
        all.extend(case.weighted.then(|| self.weights.clone()));
        all
    }
}

fn options(case: Case, how: &str) -> Attrs {
    let mut all = Attrs::none().with("reduction", how);
    if let Some(i) = case.ignore {
        all.set("ignore_index", Attr::Int(i));
    }
    all
}

#[test]
fn cross_entropy_and_nll() {
    let data = Data::new();
    let logs = data.log_probabilities();
    let flat: Vec<f32> = logs.concat().iter().map(|&l| l as f32).collect();
    let logs_in = Tensor::from_vec(&[ROWS, CLASSES], flat).unwrap();
    let ignored = data.labels[3];
    for (smoothing, weighted, ignore, how) in REDUCTIONS.iter().flat_map(|how| {
        [0.0, 0.1].into_iter().flat_map(move |s| {
            [(false, None), (true, None), (false, Some(ignored)), (true, Some(ignored))]
                .map(|(w, i)| (s, w, i, *how))
        })
    }) {
        let case = Case { smoothing, weighted, ignore };
        let (losses, weights) = data.expected(case, &logs);
        let want = reduced(&losses, &weights, how);
        let smoothed = options(case, how).with("label_smoothing", smoothing as f32);
        // The absolute part of the bound is of one row; a sum of rows has that many of it.
        let judge = if how == "sum" { check_float } else { check };
        judge("cross_entropy", &data.inputs(&data.logits, case), smoothed, &want);
        if smoothing == 0.0 {
            check("nll_loss", &data.inputs(&logs_in, case), options(case, how), &want);
        }
    }
}

#[test]
fn classes_may_lie_along_any_axis() {
    let x = Spread::new(7, -3.0, 3.0).tensor(&[2, 4, 3]);
    let labels = Spread::new(8, 0.0, 1.0).labels(6, 4);
    let v = wide(&x);
    let row = |(i, &y): (usize, &i64)| {
        let class = |c: usize| v[(i / 3 * 4 + c) * 3 + i % 3];
        (0..4).map(|c| class(c).exp()).sum::<f64>().ln() - class(y as usize)
    };
    let want: Vec<f64> = labels.iter().enumerate().map(row).collect();
    let labels = Tensor::from_vec(&[2, 3], labels).unwrap();
    let options = Attrs::none().with("axis", 1i64).with("reduction", "none");
    check("cross_entropy", &[x, labels], options, &want);
}

#[test]
fn nothing_to_count_costs_nothing() {
    let x = Tensor::from_vec(&[1, 2], vec![1f32, 2.]).unwrap();
    let labels = Tensor::from_vec(&[1], vec![-100i64]).unwrap();
    let options = Attrs::none().with("ignore_index", -100i64);
    for arith in [Arith::PAM, Arith::Float] {
        assert_eq!(
            apply("cross_entropy", arith, &[x.clone(), labels.clone()], options.clone()),
            [0.0]
        );
    }
}

#[test]
fn losses_are_in_the_loss_region() {
    let data = Data::new();
    let case = Case { smoothing: 0.0, weighted: true, ignore: None };
    let inputs = data.inputs(&data.logits, case);
    let lowered = lower(&single("cross_entropy", &inputs, Attrs::none(), &[]), Arith::PAM).unwrap();
    for (_, node) in lowered.nodes().filter(|(_, n)| n.op.name != "input") {
        assert_eq!(node.origin.region, Region::Loss);
        assert_eq!(&*node.origin.op, "cross_entropy");
        assert_eq!(&*node.origin.source, "source");
        assert!(node.origin.trail[0].before.starts_with("cross_entropy f32[12, 9], i64[12]"));
    }
}
