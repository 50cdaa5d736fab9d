//! Dropout whose masks are a function of a key and a counter, so that the backward pass can compute
//! the same masks again and none are stored.

use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd};
use crate::training::split_mix::{SPLIT_MIX_STEP, split_mix};

/// The key of a stream of masks: equal keys give equal masks, on any instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DropoutKey(u64);

impl DropoutKey {
    /// Creates the key of a seed.
    pub fn new(seed: u64) -> Self {
        Self(split_mix(seed ^ SPLIT_MIX_STEP))
    }

    /// Returns the key of a part of this stream, such as a sequence, a layer or a purpose.
    pub fn with(self, part: u64) -> Self {
        Self(split_mix(
            self.0 ^ split_mix(part.wrapping_add(SPLIT_MIX_STEP)),
        ))
    }

    /// Sets each value to 0 with the given probability and multiplies the others by `1 / (1 -
    /// probability)`. The value at index i has the counter `first + i`.
    ///
    /// # Panics
    /// If the probability is not in [0, 1).
    pub fn drop_out(
        self,
        instructions: InstructionSet,
        probability: f32,
        first: u32,
        xs: &mut [f32],
    ) {
        assert!(
            (0.0..1.0).contains(&probability),
            "a probability in [0, 1), found {probability}"
        );
        if probability > 0.0 {
            instructions.run(DropOut {
                key: self,
                probability,
                first,
                xs,
            });
        }
    }
}

struct DropOut<'a> {
    key: DropoutKey,
    probability: f32,
    first: u32,
    xs: &'a mut [f32],
}

impl Kernel for DropOut<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        // 24 bits, which an f32 holds exactly.
        let below = (f64::from(self.probability) * f64::from(1u32 << 24)).round() as u32;
        let kept = (1.0 - self.probability).recip();
        let (low, high) = (self.key.0 as u32, (self.key.0 >> 32) as u32);
        // The compiler vectorizes this for the instruction set.
        for (i, x) in self.xs.iter_mut().enumerate() {
            let counter = self.first.wrapping_add(i as u32);
            let hash = mix_32(mix_32(counter ^ low).wrapping_add(high));
            let factor = if hash >> 8 < below { 0.0 } else { kept };
            *x *= factor;
        }
    }
}

/// Maps 32 bits to 32 bits, one to one, so that each output bit depends on all input bits.
///
/// Source: C. Wellons, "lowbias32" (public domain), bias 0.17.
#[inline(always)]
fn mix_32(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ x >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(
        instructions: InstructionSet,
        key: DropoutKey,
        probability: f32,
        first: u32,
        len: usize,
    ) -> Vec<f32> {
        let mut xs = vec![1.0; len];
        key.drop_out(instructions, probability, first, &mut xs);
        xs
    }

    #[test]
    fn masks_are_the_same_on_every_instruction_set_and_in_any_split() {
        let key = DropoutKey::new(42).with(3);
        let whole = mask(InstructionSet::available()[0], key, 0.1, 5, 1000);
        for instructions in InstructionSet::available() {
            assert_eq!(
                mask(instructions, key, 0.1, 5, 1000),
                whole,
                "{instructions}"
            );
            assert_eq!(
                mask(instructions, key, 0.1, 5 + 333, 500),
                whole[333..833],
                "{instructions}"
            );
        }
    }

    #[test]
    fn the_share_of_zeros_is_the_probability_and_streams_are_independent() {
        const COUNT: usize = 1 << 18;
        let instructions = InstructionSet::available()[0];
        for probability in [0.01f32, 0.1, 0.5, 0.9] {
            let streams = [0, 1].map(|part| {
                mask(
                    instructions,
                    DropoutKey::new(7).with(part),
                    probability,
                    0,
                    COUNT,
                )
            });
            let zeros = |xs: &[f32]| xs.iter().filter(|x| **x == 0.0).count() as f64;
            // Five standard deviations of a binomial count.
            let p = f64::from(probability);
            let allowed = |p: f64| 5.0 * (COUNT as f64 * p * (1.0 - p)).sqrt();
            for stream in &streams {
                assert!((zeros(stream) - p * COUNT as f64).abs() <= allowed(p));
                assert!(
                    stream
                        .iter()
                        .all(|x| *x == 0.0 || (x * (1.0 - probability) - 1.0).abs() < 1e-6)
                );
            }
            let both: Vec<f32> = streams[0]
                .iter()
                .zip(&streams[1])
                .map(|(a, b)| a + b)
                .collect();
            assert!((zeros(&both) - p * p * COUNT as f64).abs() <= allowed(p * p));
            // Neighbors within a stream are independent too.
            let next: Vec<f32> = streams[0]
                .windows(2)
                .map(|pair| pair[0] + pair[1])
                .collect();
            assert!((zeros(&next) - p * p * COUNT as f64).abs() <= 2.0 * allowed(p * p));
        }
    }

    #[test]
    fn a_probability_of_zero_changes_nothing() {
        let instructions = InstructionSet::available()[0];
        assert_eq!(mask(instructions, DropoutKey::new(1), 0.0, 0, 9), [1.0; 9]);
    }
}
