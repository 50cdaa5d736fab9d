//! Rotates the inputs of a product, which spreads large values over their neighbors.
//!
//! ```text
//! x W = Σ_b (x_b H_b) (H_b W_b / n_b)
//! ```
//!
//! over blocks of [`SCALE_BLOCK`] inputs; the remainder is divided into blocks of 128, 64 and so
//! on. H is the Hadamard matrix of n rows, whose elements are ±1: `H₁ = 1`, `H₂ₙ = [Hₙ Hₙ; Hₙ
//! -Hₙ]`, and `H H = n I`.
//!
//! A value much larger than the others of its block contributes equally to all n of them
//! afterwards, so one scale suits the whole block, in the activations and in the weights.
//!
//! Source: Ashkboos et al. 2024, QuaRot, §2 and §4; there the rotation covers the whole width, and
//! is also used between layers.

use crate::quantized::SCALE_BLOCK;
use crate::simd::{Kernel, MAX_LANES, Portable, Simd};

/// 1 for the first lane of a pair, -1 for the second, for pairs 1, 2, 4 and 8 lanes apart.
const SIGNS: [[f32; MAX_LANES]; 4] = {
    let mut signs = [[1.0; MAX_LANES]; 4];
    let mut lane = 0;
    while lane < 4 * MAX_LANES {
        let (step, index) = (lane / MAX_LANES, lane % MAX_LANES);
        if index >> step & 1 == 1 {
            signs[step][index] = -1.0;
        }
        lane += 1;
    }
    signs
};

/// Replaces each row W of transposed weights by `Hᵀ W / n`, block by block.
///
/// # Shapes
/// - `weights`: `(N, K)`, K is `depth`
///
/// # Panics
/// If the number of weights is not a multiple of `depth`, or `depth` is 0.
pub fn rotate_weights(weights: &mut [f32], depth: usize) {
    for_each_group(weights, depth, |group| {
        Portable.call(Rotate(group));
        blocks(group.len()).for_each(|block| {
            let factor = 1.0 / block.len() as f32;
            group[block].iter_mut().for_each(|weight| *weight *= factor);
        });
    });
}

/// Undoes [`rotate_weights`], up to f32 rounding.
///
/// # Panics
/// See [`rotate_weights`].
pub fn unrotate_weights(weights: &mut [f32], depth: usize) {
    for_each_group(weights, depth, |group| Portable.call(Rotate(group)));
}

fn for_each_group(weights: &mut [f32], depth: usize, each: impl FnMut(&mut [f32])) {
    assert!(
        depth > 0 && weights.len().is_multiple_of(depth),
        "rows of {depth} weights"
    );
    weights
        .chunks_exact_mut(depth)
        .flat_map(|row| row.chunks_mut(SCALE_BLOCK))
        .for_each(each);
}

struct Rotate<'a>(&'a mut [f32]);

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        rotate(s, self.0);
    }
}

/// Returns the blocks of a scale block: the largest powers of two, one after another.
#[inline(always)]
fn blocks(len: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let size = (len - start).checked_ilog2().map(|log| 1 << log)?;
        start += size;
        Some(start - size..start)
    })
}

/// Replaces each block x of a scale block by `x H`.
#[inline(always)]
pub(super) fn rotate<S: Simd>(s: S, group: &mut [f32]) {
    for block in blocks(group.len()) {
        transform(s, &mut group[block]);
    }
}

/// Computes the fast Walsh-Hadamard transform: sums and differences of pairs one apart, then two,
/// then four.
///
/// The order is the same on all instruction sets, so the bits are too.
#[inline(always)]
fn transform<S: Simd>(s: S, xs: &mut [f32]) {
    let mut apart = 1;
    if xs.len() >= S::LANES {
        for xs in xs.chunks_exact_mut(S::LANES) {
            let mut x = s.load(xs);
            for (step, signs) in SIGNS.iter().enumerate().take(S::LANES.ilog2() as usize) {
                x = s.mul_add(x, s.load(signs), s.swap_lanes(x, 1 << step));
            }
            s.store(xs, x);
        }
        apart = S::LANES;
        // Two steps at once while at least two are left.
        while 4 * apart <= xs.len() {
            for quarters in xs.chunks_exact_mut(4 * apart) {
                let (a, rest) = quarters.split_at_mut(apart);
                let (b, rest) = rest.split_at_mut(apart);
                let (c, d) = rest.split_at_mut(apart);
                for at in (0..apart).step_by(S::LANES) {
                    let at = at..at + S::LANES;
                    // Not by `array::map`: the compiler does not inline it here.
                    let (w, x) = (s.load(&a[at.clone()]), s.load(&b[at.clone()]));
                    let (y, z) = (s.load(&c[at.clone()]), s.load(&d[at.clone()]));
                    let (w, x) = (s.add(w, x), s.sub(w, x));
                    let (y, z) = (s.add(y, z), s.sub(y, z));
                    s.store(&mut a[at.clone()], s.add(w, y));
                    s.store(&mut b[at.clone()], s.add(x, z));
                    s.store(&mut c[at.clone()], s.sub(w, y));
                    s.store(&mut d[at], s.sub(x, z));
                }
            }
            apart *= 4;
        }
    }
    while apart < xs.len() {
        for halves in xs.chunks_exact_mut(2 * apart) {
            let (a, b) = halves.split_at_mut(apart);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        apart *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction_set::InstructionSet;
    use crate::random::numbers;

    /// f32 sums of 256 terms below 1, in eight steps or one after another, with results up to 30.
    /// Seen: 9.5e-6.
    const ROUNDING: f32 = 2e-5;

    #[test]
    fn every_number_is_the_sum_that_the_matrix_says_with_any_instructions() {
        for len in [1, 2, 8, 16, 32, 64, 256, 3, 56, 200, 255] {
            let xs = numbers(len, 1);
            let mut results = Vec::new();
            for instructions in InstructionSet::available() {
                let mut rotated = xs.clone();
                instructions.run(Rotate(&mut rotated));
                results.push(rotated);
            }
            assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{len}");
            for block in blocks(len) {
                for (column, found) in block.clone().zip(&results[0][block.clone()]) {
                    // The sign in H is the parity of the number of bits that row and column share.
                    let sign = |row: usize| {
                        1.0 - 2.0 * ((row & (column - block.start)).count_ones() % 2) as f32
                    };
                    let expected: f32 = xs[block.clone()]
                        .iter()
                        .enumerate()
                        .map(|(row, x)| x * sign(row))
                        .sum();
                    assert!(
                        (expected - found).abs() <= ROUNDING,
                        "{expected} {found} of {len}"
                    );
                }
            }
        }
    }

    #[test]
    fn blocks_are_powers_of_two_and_nothing_is_left() {
        let lens = |len| blocks(len).map(|block| block.len()).collect::<Vec<_>>();
        assert_eq!(
            (lens(256), lens(56), lens(0)),
            (vec![256], vec![32, 16, 8], vec![])
        );
    }

    #[test]
    fn products_stay_and_weights_come_back() {
        let depth = 300;
        let (xs, weights) = (numbers(depth, 1), numbers(2 * depth, 2));
        let (mut rotated_xs, mut rotated) = (xs.clone(), weights.clone());
        rotated_xs
            .chunks_mut(SCALE_BLOCK)
            .for_each(|group| Portable.call(Rotate(group)));
        rotate_weights(&mut rotated, depth);
        let dot = |xs: &[f32], ws: &[f32]| xs.iter().zip(ws).map(|(x, w)| x * w).sum::<f32>();
        for (row, rotated) in weights.chunks(depth).zip(rotated.chunks(depth)) {
            assert!((dot(&xs, row) - dot(&rotated_xs, rotated)).abs() <= ROUNDING);
        }
        unrotate_weights(&mut rotated, depth);
        assert!(
            weights
                .iter()
                .zip(&rotated)
                .all(|(a, b)| (a - b).abs() <= ROUNDING)
        );
    }
}
