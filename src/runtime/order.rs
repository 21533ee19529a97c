//! The order in which samples are visited: a seeded permutation an epoch, or file order.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// An endless sequence of whole batches of sample indices; what is left of an epoch is dropped.
pub struct Order {
    samples: usize,
    batch: usize,
    seed: Option<u64>,
    epoch: u64,
    pending: Vec<i64>,
}

impl Order {
    /// Batches of `batch` of `samples` samples, shuffled anew each epoch if there is a seed.
    /// `batch` must be between 1 and `samples`.
    pub fn new(samples: usize, batch: usize, seed: Option<u64>) -> Self {
        debug_assert!((1..=samples).contains(&batch));
        Order { samples, batch, seed, epoch: 0, pending: Vec::new() }
    }

    /// Batches in one epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.samples / self.batch
    }

    fn refill(&mut self) {
        let mut order: Vec<i64> = (0..self.samples as i64).collect();
        if let Some(seed) = self.seed {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(self.epoch);
            order.shuffle(&mut rng);
        }
        order.truncate(self.batches_per_epoch() * self.batch);
        order.reverse();
        self.pending = order;
        self.epoch += 1;
    }

    /// The sample indices of the next `batches` batches.
    pub fn next(&mut self, batches: usize) -> Vec<i64> {
        let mut out = Vec::with_capacity(batches * self.batch);
        for _ in 0..batches * self.batch {
            if self.pending.is_empty() {
                self.refill();
            }
            out.extend(self.pending.pop());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_order_in_whole_batches() {
        let mut order = Order::new(7, 3, None);
        assert_eq!(order.next(1), [0, 1, 2]);
        assert_eq!(order.next(2), [3, 4, 5, 0, 1, 2]);
    }

    #[test]
    fn each_epoch_is_another_permutation_of_the_same_seed() {
        let epochs = |seed| {
            let mut order = Order::new(100, 10, Some(seed));
            (order.next(10), order.next(10))
        };
        let (a, b) = epochs(1);
        let sorted = |x: &[i64]| {
            let mut x = x.to_vec();
            x.sort_unstable();
            x
        };
        assert_eq!(sorted(&a), (0..100).collect::<Vec<_>>());
        assert_ne!(a, b);
        assert_eq!((a, b), epochs(1));
        assert_ne!(epochs(1), epochs(2));
    }
}
