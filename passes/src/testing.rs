//! Seeded random programs for property tests of every pass and backend: the same seed gives the same
//! program and inputs everywhere.

mod generator;

use crate::interpret::Values;
use crate::program::{MulFree, Program};
use crate::reference::threefry;

pub use generator::random_graph;

/// A random stream: Threefry in counter mode.
#[derive(Clone, Debug)]
pub struct Random {
    key: [u32; 2],
    counter: u32,
}

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Random { key: [seed as u32, (seed >> 32) as u32], counter: 0 }
    }

    /// The next 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.counter += 1;
        threefry(self.key, [self.counter, 0])
    }

    /// A number below `n` (0 if `n` is 0).
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.bits() as usize % n }
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A value in [−4, 4), evenly spread.
    pub fn tame(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / (1u32 << 21) as f32 - 4.0
    }

    /// A value from anywhere: tame, special, of any exponent, a power of two.
    pub fn wild(&mut self) -> f32 {
        match self.below(8) {
            0..4 => self.tame(),
            4 => self.pick(EDGES),
            5 => f32::from_bits(self.bits()),
            6 => {
                let exponent = 120 + self.below(16) as u32;
                f32::from_bits((self.bits() & 0x8000_0000) | (exponent << 23))
            }
            _ => self.tame() + 128.0 * (self.below(3) as f32 - 1.0),
        }
    }
}

/// Values at which rules and kernels go wrong: zeros, subnormals, the ends of the range, powers of
/// two and their neighbours, infinities, NaN.
pub const EDGES: &[f32] = &[
    0.0,
    -0.0,
    1e-40,
    -1e-40,
    f32::MIN_POSITIVE,
    -f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    1.0,
    -1.0,
    1.0 + f32::EPSILON,
    1.0 - f32::EPSILON / 2.0,
    1.5,
    2.0,
    0.5,
    127.99999,
    128.0,
    -126.0,
    -126.00001,
    1.8446744e19,
    5.421011e-20,
];

/// A random multiplication-free program over all primitives, with values for its inputs, special
/// values among them. Every primitive that a multiplication-free program may have comes up within any
/// 64 consecutive seeds.
pub fn random_program(seed: u64) -> (Program, Values) {
    let (graph, values) = random_graph(seed);
    match MulFree::new(graph) {
        Ok(program) => (Program::MulFree(program), values),
        Err(e) => unreachable!("the generator made an invalid program: {e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::run;
    use crate::ops;
    use std::collections::HashSet;

    #[test]
    fn every_primitive_comes_up_and_every_program_runs() {
        let mut seen = HashSet::new();
        for seed in 0..64 {
            let (program, values) = random_program(seed);
            let graph = program.graph();
            seen.extend(graph.nodes().filter_map(|(_, n)| n.op.prim()));
            let out = run(&program, &values).unwrap();
            assert_eq!(out.len(), graph.outputs().len());
            assert!(!out.is_empty());
        }
        let missing: Vec<_> = ops::all()
            .filter_map(|op| op.prim())
            .filter(|p| !p.is_ordinary() && !seen.contains(p))
            .collect();
        assert!(missing.is_empty(), "never generated: {missing:?}");
    }

    #[test]
    fn seeds_are_reproducible() {
        assert_eq!(random_graph(7).0.to_string(), random_graph(7).0.to_string());
        assert_ne!(random_graph(7).0.to_string(), random_graph(8).0.to_string());
    }
}
