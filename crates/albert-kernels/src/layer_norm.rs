//! Layer norm of rows, fused with the bias and the residual before it.

use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd, each_vector};

/// `LN(x) = γ (x - mean x) / √(var x + ε) + β`
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm<'a> {
    /// γ, `(N)`
    pub gamma: &'a [f32],
    /// β, `(N)`
    pub beta: &'a [f32],
    /// ε
    pub eps: f32,
}

impl LayerNorm<'_> {
    /// Replaces each row x by `LN(x)`.
    ///
    /// # Shapes
    /// - `xs`: `(M, N)`
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn apply(&self, instructions: InstructionSet, xs: &mut [f32]) {
        self.check(xs);
        instructions.run(NormalizeRows {
            xs,
            added: None,
            norm: *self,
        });
    }

    /// Replaces each row x by `LN(x + (y + b))`, the end of attention and of the feed-forward
    /// network.
    ///
    /// # Shapes
    /// - `xs` and `ys`: `(M, N)`, `bias`: `(N)`
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn apply_to_sum(
        &self,
        instructions: InstructionSet,
        xs: &mut [f32],
        ys: &[f32],
        bias: &[f32],
    ) {
        self.check(xs);
        assert!(
            ys.len() == xs.len() && bias.len() == self.gamma.len(),
            "rows and bias must be as wide as γ"
        );
        instructions.run(NormalizeRows {
            xs,
            added: Some((ys, bias)),
            norm: *self,
        });
    }

    fn check(&self, xs: &[f32]) {
        let width = self.gamma.len();
        assert!(
            width > 0 && self.beta.len() == width && xs.len().is_multiple_of(width),
            "rows of {width} values"
        );
    }
}

struct NormalizeRows<'a> {
    xs: &'a mut [f32],
    added: Option<(&'a [f32], &'a [f32])>,
    norm: LayerNorm<'a>,
}

impl Kernel for NormalizeRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.norm.gamma.len();
        for (index, row) in self.xs.chunks_exact_mut(width).enumerate() {
            let mut sums = [s.splat(0.0); 4];
            if let Some((ys, bias)) = self.added {
                let ys = &ys[index * width..][..width];
                each_vector!(S, width, |at, sum| {
                    let x = s.add(
                        s.load(&row[at.clone()]),
                        s.add(s.load(&ys[at.clone()]), s.load(&bias[at.clone()])),
                    );
                    s.store(&mut row[at], x);
                    sums[sum] = s.add(sums[sum], x);
                });
            } else {
                each_vector!(S, width, |at, sum| sums[sum] =
                    s.add(sums[sum], s.load(&row[at])));
            }
            normalize(s, row, total(s, sums), &self.norm);
        }
    }
}

#[inline(always)]
fn normalize<S: Simd>(s: S, row: &mut [f32], sum: f32, norm: &LayerNorm<'_>) {
    let (rough, width) = (sum / row.len() as f32, row.len());
    // A second sum recovers the rounding error of the first: a constant row must become β, not
    // noise divided by √ε.
    let at_rough = s.splat(rough);
    let (mut sums, mut squares) = ([s.splat(0.0); 4], [s.splat(0.0); 4]);
    each_vector!(S, width, |at, sum| {
        // A partial vector is padded with the mean, which adds nothing.
        let x = s.sub(s.load_or(&row[at], rough), at_rough);
        (sums[sum], squares[sum]) = (s.add(sums[sum], x), s.mul_add(x, x, squares[sum]));
    });
    let rest = total(s, sums) / width as f32;
    let variance = (total(s, squares) / width as f32 - rest * rest).max(0.0);
    let (mean, scale) = (
        s.splat(rough + rest),
        s.splat((variance + norm.eps).sqrt().recip()),
    );
    each_vector!(S, width, |at, _sum| {
        let normed = s.mul(s.sub(s.load(&row[at.clone()]), mean), scale);
        let y = s.mul_add(
            normed,
            s.load(&norm.gamma[at.clone()]),
            s.load(&norm.beta[at.clone()]),
        );
        s.store(&mut row[at], y);
    });
}

#[inline(always)]
pub(crate) fn total<S: Simd>(s: S, sums: [S::V; 4]) -> f32 {
    s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    /// f32 sums of up to 1000 terms. Seen: 3.8e-7.
    const TOLERANCE: f64 = 3e-6;

    fn exact(xs: &[f64], norm: &LayerNorm<'_>) -> Vec<f64> {
        let width = xs.len() as f64;
        let mean = xs.iter().sum::<f64>() / width;
        let variance = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
        let scale = (variance + f64::from(norm.eps)).sqrt();
        let parameters = norm.gamma.iter().zip(norm.beta);
        xs.iter()
            .zip(parameters)
            .map(|(x, (g, b))| (x - mean) / scale * f64::from(*g) + f64::from(*b))
            .collect()
    }

    #[test]
    fn rows_are_normalized_after_their_sum() {
        for instructions in InstructionSet::available() {
            for width in [1, 2, 13, 16, 64, 100, 768, 1000] {
                let (gamma, beta, bias) = (numbers(width, 1), numbers(width, 2), numbers(width, 3));
                let norm = LayerNorm {
                    gamma: &gamma,
                    beta: &beta,
                    eps: 1e-12,
                };
                let (xs, ys) = (numbers(3 * width, 4), numbers(3 * width, 5));
                let mut found = xs.clone();
                norm.apply_to_sum(instructions, &mut found, &ys, &bias);
                for (row, found) in found.chunks(width).enumerate() {
                    let sum: Vec<f64> = (0..width)
                        .map(|i| f64::from(xs[row * width + i] + (ys[row * width + i] + bias[i])))
                        .collect();
                    for (exact, found) in exact(&sum, &norm).iter().zip(found) {
                        let error = (exact - f64::from(*found)).abs();
                        assert!(
                            error <= TOLERANCE,
                            "{error:.1e} at width {width} on {instructions}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_constant_row_becomes_beta_however_large() {
        for instructions in InstructionSet::available() {
            for (width, value) in [(768, 1234.567), (300, 0.1), (5, -3e7)] {
                let (gamma, beta) = (vec![1.0; width], numbers(width, 1));
                let mut row = vec![value; width];
                LayerNorm {
                    gamma: &gamma,
                    beta: &beta,
                    eps: 1e-12,
                }
                .apply(instructions, &mut row);
                assert_eq!(row, beta, "{width} times {value} on {instructions}");
            }
        }
    }

    #[test]
    fn a_large_mean_does_not_hide_a_small_deviation() {
        for instructions in InstructionSet::available() {
            let row: Vec<f32> = (0..768)
                .map(|i| if i % 2 == 0 { 1000.0 } else { 1000.5 })
                .collect();
            let mut found = row.clone();
            LayerNorm {
                gamma: &[1.0; 768],
                beta: &[0.0; 768],
                eps: 1e-12,
            }
            .apply(instructions, &mut found);
            assert!(
                found.iter().all(|x| (x.abs() - 1.0).abs() < 1e-5),
                "{instructions}: {:?}",
                &found[..2]
            );
        }
    }
}
