//! Softmax of rows of scores, and its backward pass.

use crate::attention::exponentials;
use crate::simd::{Kernel, Simd, each_vector};

/// Replaces each row of scores x by `exp(scale x) / Σ exp(scale x)`.
pub(super) struct Softmax<'a> {
    pub(super) scores: &'a mut [f32],
    pub(super) width: usize,
    pub(super) stride: usize,
    pub(super) scale: f32,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.scores.chunks_exact_mut(self.stride) {
            let row = &mut row[..self.width];
            let factor = s.splat(exponentials(s, row, self.scale).recip());
            each_vector!(S, row.len(), |at, _sum| {
                let p = s.mul(s.load(&row[at.clone()]), factor);
                s.store(&mut row[at], p);
            });
        }
    }
}

/// Replaces dP by `dS = scale P ∘ (dP - Σ dP ∘ P)`.
pub(super) struct SoftmaxBackward<'a> {
    pub(super) probabilities: &'a [f32],
    pub(super) gradients: &'a mut [f32],
    pub(super) width: usize,
    pub(super) stride: usize,
    pub(super) scale: f32,
}

impl Kernel for SoftmaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.probabilities.chunks_exact(self.stride);
        for (ps, dps) in rows.zip(self.gradients.chunks_exact_mut(self.stride)) {
            let (ps, dps) = (&ps[..self.width], &mut dps[..self.width]);
            let mut sums = [s.splat(0.0); 4];
            each_vector!(S, ps.len(), |at, one| {
                sums[one] = s.mul_add(s.load(&ps[at.clone()]), s.load(&dps[at]), sums[one]);
            });
            let sum = s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])));
            // The rounding of the sum would shift all dS alike. Where tokens have similar values, dS is
            // small compared with dP, and the shift would dominate it: it is summed up again and removed.
            let (sum, scale) = (s.splat(sum), s.splat(self.scale));
            let mut shifts = [s.splat(0.0); 4];
            each_vector!(S, ps.len(), |at, one| {
                let difference = s.sub(s.load(&dps[at.clone()]), sum);
                shifts[one] = s.mul_add(s.load(&ps[at.clone()]), difference, shifts[one]);
                s.store(&mut dps[at], difference);
            });
            let shift = s.sum(s.add(s.add(shifts[0], shifts[1]), s.add(shifts[2], shifts[3])));
            let shift = s.splat(shift);
            each_vector!(S, ps.len(), |at, _one| {
                let p = s.mul(scale, s.load(&ps[at.clone()]));
                let ds = s.mul(p, s.sub(s.load(&dps[at.clone()]), shift));
                s.store(&mut dps[at], ds);
            });
        }
    }
}
