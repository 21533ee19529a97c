//! Initial values of parameters and states.

use pamc_passes::ir::{DType, Tensor, TensorType};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Normal, Uniform};

/// How a parameter or a state starts. Evaluated on the host, before training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Init {
    /// Zeros.
    #[default]
    Zeros,
    /// Ones.
    Ones,
    /// One value everywhere.
    Constant(f32),
    /// Normal with mean 0.
    Normal {
        /// Standard deviation.
        std: f32,
    },
    /// Normal with mean 0, redrawn until within two standard deviations.
    TruncatedNormal {
        /// Standard deviation before truncation.
        std: f32,
    },
    /// Uniform on `[-bound, bound)`.
    Uniform {
        /// Largest magnitude.
        bound: f32,
    },
    /// The state of the random bits of a training program: `[low 32 bits of the seed, 0]`.
    Key,
}

impl Init {
    /// Uniform with the bound 1/√fan_in, the usual start of linear and convolution layers
    /// (He et al. 2015 with the slope √5).
    pub fn fan_in(fan_in: usize) -> Init {
        Init::Uniform { bound: 1.0 / (fan_in.max(1) as f32).sqrt() }
    }

    /// Uniform with the bound √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010).
    pub fn glorot(fan_in: usize, fan_out: usize) -> Init {
        Init::Uniform { bound: (6.0 / (fan_in + fan_out).max(1) as f32).sqrt() }
    }

    /// The value of the tensor `name`. The random stream is keyed by seed and name alone: it does
    /// not depend on which other tensors there are or in which order they are made.
    pub fn tensor(self, name: &str, ty: &TensorType, seed: u64) -> Tensor {
        match (self, ty.dtype) {
            (Init::Key, DType::I32) if ty.shape == [2] => {
                Tensor::from_vec(&[2], vec![seed as u32 as i32, 0])
                    .unwrap_or_else(|| Tensor::zeros(ty))
            }
            (_, DType::F32) => {
                let mut rng = generator(name, seed);
                let values = (0..ty.len()).map(|_| self.draw(&mut rng)).collect();
                Tensor::from_vec(&ty.shape, values).unwrap_or_else(|| Tensor::zeros(ty))
            }
            (Init::Ones, DType::I32) => Tensor::full(&ty.shape, 1i32),
            (Init::Ones, DType::I64) => Tensor::full(&ty.shape, 1i64),
            (Init::Ones, DType::Bool) => Tensor::full(&ty.shape, true),
            _ => Tensor::zeros(ty),
        }
    }

    fn draw(self, rng: &mut ChaCha8Rng) -> f32 {
        let normal =
            |std: f32, rng: &mut ChaCha8Rng| Normal::new(0.0, std).map_or(0.0, |d| d.sample(rng));
        match self {
            Init::Zeros | Init::Key => 0.0,
            Init::Ones => 1.0,
            Init::Constant(c) => c,
            Init::Normal { std } => normal(std, rng),
            Init::TruncatedNormal { std } => loop {
                let x = normal(std, rng);
                if x.abs() <= 2.0 * std || !std.is_finite() {
                    return x;
                }
            },
            Init::Uniform { bound } => Uniform::new(-bound, bound).map_or(0.0, |d| d.sample(rng)),
        }
    }
}

/// ChaCha8, a counter-based generator, keyed by the seed and the 64-bit FNV-1a hash of the name.
fn generator(name: &str, seed: u64) -> ChaCha8Rng {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&hash.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(init: Init, name: &str, seed: u64, n: usize) -> Vec<f32> {
        init.tensor(name, &TensorType::f32([n]), seed).to_vec().unwrap()
    }

    #[test]
    fn streams_are_keyed_by_seed_and_name() {
        let init = Init::Normal { std: 1.0 };
        assert_eq!(draw(init, "a.weight", 7, 64), draw(init, "a.weight", 7, 64));
        assert_ne!(draw(init, "a.weight", 7, 64), draw(init, "b.weight", 7, 64));
        assert_ne!(draw(init, "a.weight", 7, 64), draw(init, "a.weight", 8, 64));
        let whole = draw(init, "a.weight", 7, 64);
        assert_eq!(draw(init, "a.weight", 7, 16), whole[..16]);
    }

    #[test]
    fn moments_are_those_asked_for() {
        let spread = |init: Init| {
            let x = draw(init, "w", 1, 100_000);
            let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64;
            let var = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
            let top = x.iter().fold(0f32, |m, v| m.max(v.abs()));
            (mean, (var / x.len() as f64).sqrt(), top)
        };
        let (mean, std, _) = spread(Init::Normal { std: 0.02 });
        assert!(mean.abs() < 3e-4 && (std - 0.02).abs() < 3e-4, "{mean} {std}");
        let (mean, std, top) = spread(Init::TruncatedNormal { std: 1.0 });
        assert!(mean.abs() < 0.01 && (std - 0.8796).abs() < 0.01 && top <= 2.0, "{mean} {std}");
        let (mean, std, top) = spread(Init::Uniform { bound: 0.5 });
        assert!(mean.abs() < 0.01 && (std - 0.5 / 3f64.sqrt()).abs() < 0.01 && top <= 0.5);
    }

    #[test]
    fn degenerate_parameters_do_not_hang_or_panic() {
        for bad in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
            draw(Init::Normal { std: bad }, "w", 0, 4);
            draw(Init::TruncatedNormal { std: bad.abs() }, "w", 0, 4);
            draw(Init::Uniform { bound: bad }, "w", 0, 4);
        }
    }
}
