//! Normally distributed numbers for new weights, as a function of a seed and a tensor's name.

use albert_kernels::training::{SPLIT_MIX_STEP, split_mix};

/// A stream of numbers from a normal distribution.
#[derive(Debug)]
pub(super) struct Normal(u64);

impl Normal {
    /// Creates the stream of a tensor.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a (Fowler, Noll and Vo)
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(hash ^ seed.wrapping_mul(SPLIT_MIX_STEP))
    }

    /// Draws values with mean 0 and this standard deviation.
    pub(super) fn fill(&mut self, deviation: f64, values: &mut [f32]) {
        for pair in values.chunks_mut(2) {
            // Box and Muller 1958; 1 - u is never 0.
            let radius = deviation * (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
            for (value, part) in pair.iter_mut().zip([cos, sin]) {
                *value = (radius * part) as f32;
            }
        }
    }

    /// Draws a value in [0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(SPLIT_MIX_STEP);
        (split_mix(self.0) >> 11) as f64 / (1u64 << 53) as f64
    }
}
