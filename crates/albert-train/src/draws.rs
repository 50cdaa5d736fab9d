//! Random draws that depend on their purpose and position, not on earlier draws.
//!
//! Every draw is a hash of a key and a counter. The key consists of the seed, the purpose and the
//! position in the data (epoch, sequence), so there is no generator state to save in a snapshot: a
//! run resumed at step 1,000 draws the same values as an uninterrupted run.

use albert_kernels::training::{SPLIT_MIX_STEP, split_mix};

/// The purpose of a draw. Draws for different purposes are independent of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Purpose {
    /// The order of the files of an epoch.
    FileOrder = 1,
    /// The order of the sequences within a block of documents.
    SequenceOrder = 2,
    /// The segments of a document's sequences: lengths, split, swap.
    Segments = 3,
    /// The masked words, and the token that replaces each of them.
    Masks = 4,
    /// The initial values of weights.
    Weights = 5,
    /// The elements that dropout zeroes.
    Dropout = 6,
    /// The order of labeled examples within an epoch.
    ExampleOrder = 7,
}

/// Returns the key of a purpose at a position, for [`Draws`] and for keyed permutations.
pub fn key(seed: u64, purpose: Purpose, place: &[u64]) -> u64 {
    let start = split_mix(seed ^ split_mix((purpose as u64).wrapping_mul(SPLIT_MIX_STEP)));
    place.iter().fold(start, |key, &part| {
        split_mix(
            key.wrapping_add(SPLIT_MIX_STEP)
                ^ split_mix(part.wrapping_add(1).wrapping_mul(SPLIT_MIX_STEP)),
        )
    })
}

/// The sequence of draws for one purpose at one position.
#[derive(Debug, Clone)]
pub struct Draws {
    key: u64,
    counter: u64,
}

impl Draws {
    /// Returns the draws for `purpose` at `place`, such as `[epoch, sequence]`.
    pub fn new(seed: u64, purpose: Purpose, place: &[u64]) -> Self {
        Self {
            key: key(seed, purpose, place),
            counter: 0,
        }
    }

    /// Draws 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        split_mix(
            self.key
                .wrapping_add(self.counter.wrapping_mul(SPLIT_MIX_STEP)),
        )
    }

    /// Draws a number from [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws an integer from 0 to `bound` - 1. The bias is below `bound` / 2⁶⁴.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "there is no integer below 0 to draw");
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Draws a value of the normal distribution with mean 0 and deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        // 1 - u lies in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Shuffles `items` (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five standard deviations: a sound generator fails once in two million seeds.
    const DEVIATIONS: f64 = 5.0;

    #[test]
    fn draws_repeat_for_the_same_place_and_differ_for_any_other() {
        let first = |seed, purpose, place: &[u64]| Draws::new(seed, purpose, place).bits();
        let base = first(42, Purpose::Masks, &[0, 7]);
        assert_eq!(base, first(42, Purpose::Masks, &[0, 7]));
        for other in [
            first(43, Purpose::Masks, &[0, 7]),
            first(42, Purpose::Segments, &[0, 7]),
            first(42, Purpose::Masks, &[7, 0]),
            first(42, Purpose::Masks, &[0, 8]),
            first(42, Purpose::Masks, &[0]),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn small_integers_are_equally_likely() {
        const ROUNDS: usize = 60_000;
        let mut counts = [0usize; 6];
        // One draw a place, as the examples use it: neighboring keys must be independent too.
        for place in 0..ROUNDS as u64 {
            counts[Draws::new(1, Purpose::Masks, &[place]).below(6)] += 1;
        }
        let expected = ROUNDS as f64 / 6.0;
        let deviation = (expected * 5.0 / 6.0).sqrt();
        for count in counts {
            assert!(
                (count as f64 - expected).abs() < DEVIATIONS * deviation,
                "{counts:?}"
            );
        }
    }

    #[test]
    fn normal_values_have_mean_0_and_deviation_1() {
        const ROUNDS: usize = 40_000;
        let mut draws = Draws::new(3, Purpose::Weights, &[]);
        let values: Vec<f64> = (0..ROUNDS).map(|_| draws.normal()).collect();
        let mean = values.iter().sum::<f64>() / ROUNDS as f64;
        let variance = values.iter().map(|x| x * x).sum::<f64>() / ROUNDS as f64;
        let deviation = 1.0 / (ROUNDS as f64).sqrt();
        assert!(mean.abs() < DEVIATIONS * deviation, "{mean}");
        assert!(
            (variance - 1.0).abs() < DEVIATIONS * 2f64.sqrt() * deviation,
            "{variance}"
        );
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<usize> = (0..100).collect();
        Draws::new(5, Purpose::FileOrder, &[]).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
