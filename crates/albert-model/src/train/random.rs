//! Normal numbers for new weights: a function of a seed and a tensor's name.

/// A stream of numbers from a normal distribution.
#[derive(Debug)]
pub(super) struct Normal(u64);

impl Normal {
    /// The stream of a tensor.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a (Fowler, Noll and Vo)
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(hash ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Draws values of this deviation around 0.
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

    /// In [0, 1), by SplitMix64 (Steele, Lea and Flood 2014).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ x >> 31) >> 11) as f64 / (1u64 << 53) as f64
    }
}
