//! The exponentials of softmax.

use crate::functions::exp_between;
use crate::simd::{Simd, each_vector};

/// Replaces `x` by `e^(scale (x - max x))`; returns the sum.
#[inline(always)]
pub(crate) fn exponentials<S: Simd>(s: S, row: &mut [f32], scale: f32) -> f32 {
    let mut largest = [s.splat(f32::NEG_INFINITY); 4];
    each_vector!(S, row.len(), |at, one| {
        // Ignores a NaN, which the sum then propagates.
        largest[one] = s.max(s.load_or(&row[at], f32::NEG_INFINITY), largest[one]);
    });
    let largest = s.max(s.max(largest[0], largest[1]), s.max(largest[2], largest[3]));
    let (largest, scale) = (s.splat(s.max_lane(largest)), s.splat(scale));
    let mut sums = [s.splat(0.0); 4];
    each_vector!(S, row.len(), |at, one| {
        let x = s.load_or(&row[at.clone()], f32::NEG_INFINITY);
        let y = exp_between(s, s.mul(s.sub(x, largest), scale));
        sums[one] = s.add(sums[one], y);
        s.store(&mut row[at], y);
    });
    s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}
