//! A keyed permutation: the order of the data without a list of it.

use albert_kernels::training::split_mix;

/// Rounds of the Feistel network. Four make a pseudorandom permutation of a pseudorandom function
/// (Luby and Rackoff 1988); the rest is for small domains.
const ROUNDS: u64 = 8;

/// A permutation of 0 to `len` - 1 that a key chooses.
///
/// A Feistel network permutes the next even power of two; values beyond `len` are permuted again
/// until they are below it (cycle walking), which takes fewer than four passes on average.
#[derive(Debug, Clone, Copy)]
pub struct Permutation {
    key: u64,
    len: u64,
    half_bits: u32,
}

impl Permutation {
    /// Returns the permutation of `len` indices that `key` chooses.
    pub fn new(key: u64, len: usize) -> Self {
        let bits = usize::BITS - len.saturating_sub(1).leading_zeros();
        Self {
            key,
            len: len as u64,
            half_bits: bits.div_ceil(2).max(1),
        }
    }

    /// Returns the item at `index` of the order.
    ///
    /// # Panics
    /// If `index` is not below the length.
    pub fn at(&self, index: usize) -> usize {
        assert!(
            (index as u64) < self.len,
            "index {index} of a permutation of {}",
            self.len
        );
        let mut value = index as u64;
        loop {
            value = self.pass(value);
            if value < self.len {
                return value as usize;
            }
        }
    }

    fn pass(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..ROUNDS {
            let hash =
                split_mix(self.key ^ split_mix(right.wrapping_mul(ROUNDS).wrapping_add(round + 1)));
            (left, right) = (right, left ^ (hash & mask));
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_occurs_once_for_any_length() {
        for len in [1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000] {
            let permutation = Permutation::new(9, len);
            let mut seen: Vec<usize> = (0..len).map(|index| permutation.at(index)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..len).collect::<Vec<_>>(), "{len}");
        }
    }

    #[test]
    fn another_key_gives_another_order() {
        let order = |key| {
            (0..50)
                .map(|i| Permutation::new(key, 50).at(i))
                .collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_ne!(order(1), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_item_is_drawn_evenly() {
        const KEYS: u64 = 20_000;
        let mut counts = [0usize; 10];
        for key in 0..KEYS {
            counts[Permutation::new(split_mix(key), 10).at(0)] += 1;
        }
        // Five standard deviations of a count of 2,000.
        assert!(
            counts.iter().all(|&count| count.abs_diff(2000) < 215),
            "{counts:?}"
        );
    }
}
