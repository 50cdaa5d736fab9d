//! Layer norm that stores what its backward pass needs, and the backward pass.

use crate::instruction_set::InstructionSet;
use crate::layer_norm::{LayerNorm, total};
use crate::simd::{Kernel, Simd, each_vector};

/// Computes `z = LN(x + (y + b))` of each row, with the same bits as inference, and stores `n = (x
/// + y + b - mean) / σ` and `1 / σ`.
///
/// # Shapes
/// - `xs`, `normed` and `zs`: `(M, N)`, `deviations`: `(M)`
/// - `added`: y, `(M, N)`, and b, `(N)`
///
/// # Panics
/// If the shapes do not match.
pub fn layer_norm(
    instructions: InstructionSet,
    norm: LayerNorm<'_>,
    xs: &[f32],
    added: Option<(&[f32], &[f32])>,
    normed: &mut [f32],
    deviations: &mut [f32],
    zs: &mut [f32],
) {
    let width = norm.gamma.len();
    let rows = deviations.len();
    let added_fits = added.is_none_or(|(ys, bias)| ys.len() == rows * width && bias.len() == width);
    assert!(
        width > 0 && norm.beta.len() == width && added_fits,
        "rows of {width} values"
    );
    assert!(
        [xs.len(), normed.len(), zs.len()] == [rows * width; 3],
        "{rows} rows of {width} values"
    );
    instructions.run(Forward {
        norm,
        xs,
        added,
        normed,
        deviations,
        zs,
    });
}

/// The gradients of the parameters of a layer norm, to which its backward pass adds.
#[derive(Debug)]
pub struct NormGradients<'a> {
    /// dγ, `(N)`
    pub gamma: &'a mut [f32],
    /// dβ, `(N)`
    pub beta: &'a mut [f32],
    /// The column sums of dx, which are the gradient of a bias added before the norm, `(N)`
    pub bias: Option<&'a mut [f32]>,
}

/// Computes the backward pass from dz: dx replaces dz, and the gradients of the parameters are
/// added to `gradients`.
///
/// ```text
/// dx = (dn - mean dn - n mean(dn n)) / σ,   dn = γ dz
/// ```
///
/// # Shapes
/// - `normed` and `dzs`: `(M, N)`, `deviations`: `(M)`, `gamma`: `(N)`
///
/// # Panics
/// If the shapes do not match.
pub fn layer_norm_backward(
    instructions: InstructionSet,
    gamma: &[f32],
    normed: &[f32],
    deviations: &[f32],
    dzs: &mut [f32],
    gradients: NormGradients<'_>,
) {
    let (width, rows) = (gamma.len(), deviations.len());
    let bias_fits = gradients
        .bias
        .as_ref()
        .is_none_or(|bias| bias.len() == width);
    assert!(
        width > 0 && gradients.gamma.len() == width && gradients.beta.len() == width && bias_fits,
        "gradients of {width} values"
    );
    assert!(
        normed.len() == rows * width && dzs.len() == rows * width,
        "{rows} rows of {width} values"
    );
    instructions.run(Backward {
        gamma,
        normed,
        deviations,
        dzs,
        gradients,
    });
}

struct Forward<'a> {
    norm: LayerNorm<'a>,
    xs: &'a [f32],
    added: Option<(&'a [f32], &'a [f32])>,
    normed: &'a mut [f32],
    deviations: &'a mut [f32],
    zs: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.norm.gamma.len();
        let kept = self.normed.chunks_exact_mut(width).zip(self.deviations);
        let rows = self
            .xs
            .chunks_exact(width)
            .zip(self.zs.chunks_exact_mut(width));
        for (index, ((xs, zs), (normed, deviation))) in rows.zip(kept).enumerate() {
            let mut sums = [s.splat(0.0); 4];
            if let Some((ys, bias)) = self.added {
                let ys = &ys[index * width..][..width];
                each_vector!(S, width, |at, sum| {
                    let x = s.add(
                        s.load(&xs[at.clone()]),
                        s.add(s.load(&ys[at.clone()]), s.load(&bias[at.clone()])),
                    );
                    s.store(&mut normed[at], x);
                    sums[sum] = s.add(sums[sum], x);
                });
            } else {
                each_vector!(S, width, |at, sum| {
                    let x = s.load(&xs[at.clone()]);
                    s.store(&mut normed[at], x);
                    sums[sum] = s.add(sums[sum], x);
                });
            }
            // As in inference, so that the bits agree.
            let rough = total(s, sums) / width as f32;
            let at_rough = s.splat(rough);
            let (mut sums, mut squares) = ([s.splat(0.0); 4], [s.splat(0.0); 4]);
            each_vector!(S, width, |at, sum| {
                let x = s.sub(s.load_or(&normed[at], rough), at_rough);
                (sums[sum], squares[sum]) = (s.add(sums[sum], x), s.mul_add(x, x, squares[sum]));
            });
            let rest = total(s, sums) / width as f32;
            let variance = (total(s, squares) / width as f32 - rest * rest).max(0.0);
            *deviation = (variance + self.norm.eps).sqrt().recip();
            let (mean, scale) = (s.splat(rough + rest), s.splat(*deviation));
            each_vector!(S, width, |at, _sum| {
                let n = s.mul(s.sub(s.load(&normed[at.clone()]), mean), scale);
                let z = s.mul_add(
                    n,
                    s.load(&self.norm.gamma[at.clone()]),
                    s.load(&self.norm.beta[at.clone()]),
                );
                s.store(&mut normed[at.clone()], n);
                s.store(&mut zs[at], z);
            });
        }
    }
}

struct Backward<'a> {
    gamma: &'a [f32],
    normed: &'a [f32],
    deviations: &'a [f32],
    dzs: &'a mut [f32],
    gradients: NormGradients<'a>,
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.gamma.len();
        let NormGradients {
            gamma: d_gamma,
            beta: d_beta,
            bias: mut d_bias,
        } = self.gradients;
        let kept = self.normed.chunks_exact(width).zip(self.deviations);
        for (dzs, (normed, deviation)) in self.dzs.chunks_exact_mut(width).zip(kept) {
            let (mut sums, mut products) = ([s.splat(0.0); 4], [s.splat(0.0); 4]);
            each_vector!(S, width, |at, one| {
                let (n, dz) = (s.load(&normed[at.clone()]), s.load(&dzs[at.clone()]));
                let dn = s.mul(dz, s.load(&self.gamma[at.clone()]));
                sums[one] = s.add(sums[one], dn);
                products[one] = s.mul_add(dn, n, products[one]);
                let sum = s.mul_add(dz, n, s.load(&d_gamma[at.clone()]));
                s.store(&mut d_gamma[at.clone()], sum);
                let sum = s.add(dz, s.load(&d_beta[at.clone()]));
                s.store(&mut d_beta[at], sum);
            });
            let mean = s.splat(total(s, sums) / width as f32);
            let mean_product = s.splat(total(s, products) / width as f32);
            let scale = s.splat(*deviation);
            each_vector!(S, width, |at, _one| {
                let n = s.load(&normed[at.clone()]);
                let dn = s.mul(s.load(&dzs[at.clone()]), s.load(&self.gamma[at.clone()]));
                let dx = s.mul(scale, s.sub(s.sub(dn, mean), s.mul(n, mean_product)));
                s.store(&mut dzs[at.clone()], dx);
                if let Some(d_bias) = d_bias.as_deref_mut() {
                    let sum = s.add(dx, s.load(&d_bias[at.clone()]));
                    s.store(&mut d_bias[at], sum);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    /// f32 sums of up to 1000 terms of about 1.
    const TOLERANCE: f64 = 1e-5;

    const EPS: f32 = 1e-12;

    struct Case {
        width: usize,
        gamma: Vec<f32>,
        beta: Vec<f32>,
        bias: Vec<f32>,
        xs: Vec<f32>,
        ys: Vec<f32>,
    }

    impl Case {
        fn new(rows: usize, width: usize) -> Self {
            Self {
                width,
                gamma: numbers(width, 1),
                beta: numbers(width, 2),
                bias: numbers(width, 3),
                xs: numbers(rows * width, 4),
                ys: numbers(rows * width, 5),
            }
        }

        fn norm(&self) -> LayerNorm<'_> {
            LayerNorm {
                gamma: &self.gamma,
                beta: &self.beta,
                eps: EPS,
            }
        }
    }

    #[test]
    fn the_forward_pass_has_the_bits_of_inference() {
        for instructions in InstructionSet::available() {
            for width in [1, 2, 13, 64, 100, 768] {
                let case = Case::new(3, width);
                let mut expected = case.xs.clone();
                case.norm()
                    .apply_to_sum(instructions, &mut expected, &case.ys, &case.bias);
                let (mut normed, mut deviations) = (vec![0.0; 3 * width], vec![0.0; 3]);
                let mut zs = vec![0.0; 3 * width];
                let added = Some((&case.ys[..], &case.bias[..]));
                layer_norm(
                    instructions,
                    case.norm(),
                    &case.xs,
                    added,
                    &mut normed,
                    &mut deviations,
                    &mut zs,
                );
                assert_eq!(zs, expected, "width {width} on {instructions}");
            }
        }
    }

    /// Returns `Σ w LN(x)` in f64.
    fn weighted_sum(case: &Case, xs: &[f64], weights: &[f32]) -> f64 {
        let mut sum = 0.0;
        for (row, weights) in xs.chunks(case.width).zip(weights.chunks(case.width)) {
            let width = case.width as f64;
            let mean = row.iter().sum::<f64>() / width;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
            let scale = (variance + f64::from(EPS)).sqrt().recip();
            for (i, x) in row.iter().enumerate() {
                let z = (x - mean) * scale * f64::from(case.gamma[i]) + f64::from(case.beta[i]);
                sum += z * f64::from(weights[i]);
            }
        }
        sum
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for instructions in InstructionSet::available() {
            for (rows, width) in [(1, 2), (3, 13), (2, 64), (3, 100)] {
                let case = Case::new(rows, width);
                let weights = numbers(rows * width, 6);
                let (mut normed, mut deviations) = (vec![0.0; rows * width], vec![0.0; rows]);
                let mut zs = vec![0.0; rows * width];
                layer_norm(
                    instructions,
                    case.norm(),
                    &case.xs,
                    None,
                    &mut normed,
                    &mut deviations,
                    &mut zs,
                );
                let mut dxs = weights.clone();
                let (mut gamma, mut beta, mut bias) =
                    (vec![0.5; width], vec![0.5; width], vec![0.5; width]);
                let gradients = NormGradients {
                    gamma: &mut gamma,
                    beta: &mut beta,
                    bias: Some(&mut bias),
                };
                layer_norm_backward(
                    instructions,
                    &case.gamma,
                    &normed,
                    &deviations,
                    &mut dxs,
                    gradients,
                );

                let xs: Vec<f64> = case.xs.iter().map(|x| f64::from(*x)).collect();
                let scale = dxs
                    .iter()
                    .fold(1.0f64, |most, dx| most.max(f64::from(dx.abs())));
                for (i, dx) in dxs.iter().enumerate() {
                    const STEP: f64 = 1e-6;
                    let shifted = |by: f64| {
                        let mut xs = xs.clone();
                        xs[i] += by;
                        weighted_sum(&case, &xs, &weights)
                    };
                    let expected = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
                    let error = (expected - f64::from(*dx)).abs() / scale;
                    assert!(
                        error <= TOLERANCE,
                        "dx is off by {error:.1e} at {rows}×{width} on {instructions}"
                    );
                }
                for column in 0..width {
                    let of = |values: &dyn Fn(usize) -> f32| -> f64 {
                        0.5 + (0..rows)
                            .map(|row| f64::from(values(row * width + column)))
                            .sum::<f64>()
                    };
                    let expected = [
                        (of(&|i| weights[i] * normed[i]), gamma[column]),
                        (of(&|i| weights[i]), beta[column]),
                        (of(&|i| dxs[i]), bias[column]),
                    ];
                    for (expected, found) in expected {
                        let error = (expected - f64::from(found)).abs() / scale;
                        assert!(
                            error <= TOLERANCE,
                            "off by {error:.1e} at {rows}×{width} on {instructions}"
                        );
                    }
                }
            }
        }
    }
}
