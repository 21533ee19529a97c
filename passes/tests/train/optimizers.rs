//! Every update rule over several steps: in PAM `==` the same formulas on scalars, in ordinary
//! arithmetic close to them in f64.

use pamc_passes::arith::{Arith, BiasCorrection};
use pamc_passes::reference as r;
use pamc_passes::train::{Adam, AdamWForm, Decayed, Optimizer, TrainSpec};

use crate::common::*;

/// The arithmetic that a formula is evaluated in.
trait Number: Copy {
    fn of(x: f64) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    fn sqrt(self) -> Self;
}

#[derive(Clone, Copy)]
struct Pam(f32);

impl Number for Pam {
    fn of(x: f64) -> Self {
        Pam(x as f32)
    }
    fn add(self, other: Self) -> Self {
        Pam(r::add(self.0, other.0))
    }
    fn sub(self, other: Self) -> Self {
        Pam(r::sub(self.0, other.0))
    }
    fn mul(self, other: Self) -> Self {
        Pam(r::mul(self.0, other.0))
    }
    fn div(self, other: Self) -> Self {
        Pam(r::div(self.0, other.0))
    }
    fn sqrt(self) -> Self {
        Pam(r::sqrt(self.0))
    }
}

impl Number for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn add(self, other: Self) -> Self {
        self + other
    }
    fn sub(self, other: Self) -> Self {
        self - other
    }
    fn mul(self, other: Self) -> Self {
        self * other
    }
    fn div(self, other: Self) -> Self {
        self / other
    }
    fn sqrt(self) -> Self {
        self.sqrt()
    }
}

fn sgd<N: Number>(
    start: f64,
    gradients: &[f64],
    (momentum, nesterov): (f64, bool),
    decay: f64,
) -> N {
    let (lr, mu) = (N::of(0.1), N::of(momentum));
    let (mut p, mut velocity) = (N::of(start), N::of(0.0));
    for &g in gradients {
        let mut g = N::of(g);
        if decay > 0.0 {
            g = g.add(p.mul(N::of(decay)));
        }
        let mut direction = g;
        if momentum > 0.0 {
            velocity = velocity.mul(mu).add(g);
            direction = if nesterov { g.add(velocity.mul(mu)) } else { velocity };
        }
        p = p.sub(direction.mul(lr));
    }
    p
}

fn adam<N: Number>(
    start: f64,
    gradients: &[f64],
    (a, form, decoupled): (Adam, AdamWForm, bool),
    decay: f64,
    correction: BiasCorrection,
) -> N {
    let one = N::of(1.0);
    let betas = [a.beta1, a.beta2].map(|b| (N::of(b), N::of(1.0 - b)));
    let lr = N::of(0.1);
    let (mut p, mut moments) = (N::of(start), [N::of(0.0); 2]);
    let (mut powers, mut responses) = ([one; 2], [N::of(0.0); 2]);
    for &g in gradients {
        let mut g = N::of(g);
        if decay > 0.0 && !decoupled {
            g = g.add(p.mul(N::of(decay)));
        }
        let mut c = [one; 2];
        for (i, (beta, rest)) in betas.into_iter().enumerate() {
            let sample = if i == 0 { g } else { g.mul(g) };
            moments[i] = moments[i].mul(beta).add(sample.mul(rest));
            powers[i] = powers[i].mul(beta);
            responses[i] = responses[i].mul(beta).add(rest);
            c[i] = match correction {
                BiasCorrection::Power => one.sub(powers[i]),
                BiasCorrection::Response => responses[i],
            };
        }
        let eps = N::of(a.eps);
        let [m, v] = moments;
        let step = match (form, a.correct_bias) {
            (AdamWForm::Torch, true) => m.div(c[0]).div(v.div(c[1]).sqrt().add(eps)).mul(lr),
            (AdamWForm::HuggingFace, true) => {
                m.div(v.sqrt().add(eps)).mul(lr.mul(c[1].sqrt()).div(c[0]))
            }
            (_, false) => m.div(v.sqrt().add(eps)).mul(lr),
        };
        let before = p;
        p = p.sub(step);
        if decay > 0.0 && decoupled {
            let of = if form == AdamWForm::Torch { before } else { p };
            p = p.sub(of.mul(lr.mul(N::of(decay))));
        }
    }
    p
}

fn reference<N: Number>(
    spec: &TrainSpec,
    start: f32,
    gradients: &[f64],
    decay: f64,
    correction: BiasCorrection,
) -> N {
    let start = f64::from(start);
    match spec.optimizer {
        Optimizer::Sgd { momentum, nesterov } => sgd(start, gradients, (momentum, nesterov), decay),
        Optimizer::Adam(a) => {
            adam(start, gradients, (a, AdamWForm::Torch, false), decay, correction)
        }
        Optimizer::AdamW(a, form) => adam(start, gradients, (a, form, true), decay, correction),
    }
}

fn check(spec: &TrainSpec, arith: Arith, steps: usize) {
    let mut trainer = Trainer::new(arith, spec);
    for t in 0..steps {
        let metrics = trainer.step(&[(data(t, 6), data(t + 50, 3))]);
        assert_eq!(item(&metrics, "lr"), 0.1);
    }
    let compare = |name: &str, start: &[f32], offset: usize, decay: f64| {
        for (i, got) in trainer.floats(name).into_iter().enumerate() {
            let g: Vec<f64> =
                (0..steps).map(|t| f64::from(data(t + offset, start.len())[i])).collect();
            let correction = arith.recipe().bias_correction;
            let what = format!("{:?} {arith:?} {name}[{i}]", spec.optimizer);
            if let Arith::Pam(_) = arith {
                let want: Pam = reference(spec, start[i], &g, decay, correction);
                assert_eq!(got.to_bits(), want.0.to_bits(), "{what}: {got} against {}", want.0);
            } else {
                let want: f64 = reference(spec, start[i], &g, decay, correction);
                let close = (f64::from(got) - want).abs() <= 2e-5 * (1.0 + want.abs());
                assert!(close, "{what}: {got} against {want}");
            }
        }
    };
    compare("w", &W, 0, spec.weight_decay);
    let on_vectors = if spec.decayed == Decayed::All { spec.weight_decay } else { 0.0 };
    compare("b", &B, 50, on_vectors);
}

#[test]
fn every_rule_in_every_arithmetic() {
    let rules = [
        "sgd",
        "sgd:momentum=0.9",
        "sgd:momentum=0.9,nesterov",
        "adam",
        "adam:beta1=0.8,beta2=0.98,eps=1e-4",
        "adamw",
        "adamw:correct_bias=false,eps=1e-6",
        "adamw:mode=1",
        "adamw:mode=1,correct_bias=false",
    ];
    for arith in arithmetics() {
        for rule in rules {
            for (weight_decay, decayed) in
                [(0.0, Decayed::All), (0.03, Decayed::All), (0.03, Decayed::Matrices)]
            {
                let spec = TrainSpec { weight_decay, decayed, ..spec(rule) };
                check(&spec, arith, 1);
                check(&spec, arith, 7);
            }
        }
    }
}
