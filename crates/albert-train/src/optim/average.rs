//! An exponential moving average of the weights.

use rayon::prelude::*;

/// Values that one task updates.
const CHUNK: usize = 1 << 14;

/// The average of the weights over the last steps, which is often better than the last weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Average {
    decay: f32,
    weights: Vec<f32>,
}

impl Average {
    /// Returns an average that starts at `weights` and keeps `decay` of itself in a step.
    pub fn new(decay: f64, weights: Vec<f32>) -> Self {
        Self {
            decay: decay as f32,
            weights,
        }
    }

    /// Adds the weights after a step: `a ← a + (1 - decay) (w - a)`.
    pub fn add(&mut self, weights: &[f32]) {
        let rest = 1.0 - self.decay;
        let chunks = self
            .weights
            .par_chunks_mut(CHUNK)
            .zip(weights.par_chunks(CHUNK));
        chunks.for_each(|(average, weights)| {
            for (a, &w) in average.iter_mut().zip(weights) {
                *a += rest * (w - *a);
            }
        });
    }

    /// Returns the averaged weights.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_moves_by_its_rest_towards_the_weights() {
        let mut average = Average::new(0.75, vec![0.0, 8.0]);
        average.add(&[4.0, 8.0]);
        average.add(&[4.0, 0.0]);
        assert_eq!(average.weights(), [1.75, 6.0]);
    }
}
