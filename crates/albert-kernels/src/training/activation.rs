//! Forward and backward pass of bias and activation.

use crate::activation::{Activation, LAPLACE_MEAN, LAPLACE_SCALE, gelu};
use crate::functions::{erf, exp, exp_between, sigmoid, softplus, tanh};
use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd};

/// Computes `y = f(x + b)`, with the same bits as inference, and keeps x.
///
/// # Shapes
/// - `xs` and `ys`: `(M, N)`, `bias`: `(N)`
///
/// # Panics
/// If the shapes do not match.
pub fn activate(
    instructions: InstructionSet,
    activation: Activation,
    xs: &[f32],
    bias: &[f32],
    ys: &mut [f32],
) {
    check(xs, bias, ys);
    instructions.run(Forward {
        activation,
        xs,
        bias,
        ys,
    });
}

/// Computes the backward pass of `y = f(x + b)` from x and dy: `dx = dy f'(x + b)` replaces dy, y
/// replaces x, and the column sums of dx, which are the gradient of the bias, are added to
/// `d_bias`.
///
/// At a kink, the derivative is that of PyTorch. From -20 to 20 the error against f64 is within
/// 1e-6 of `max(1, |f'(x)|)`; a dense sweep tests it.
///
/// # Shapes
/// - `xs` and `dys`: `(M, N)`, `bias` and `d_bias`: `(N)`
///
/// # Panics
/// If the shapes do not match.
pub fn activate_backward(
    instructions: InstructionSet,
    activation: Activation,
    xs: &mut [f32],
    bias: &[f32],
    dys: &mut [f32],
    d_bias: &mut [f32],
) {
    check(xs, bias, dys);
    assert!(
        d_bias.len() == bias.len(),
        "the gradient must be as wide as the bias"
    );
    instructions.run(Backward {
        activation,
        xs,
        bias,
        dys,
        d_bias,
    });
}

fn check(xs: &[f32], bias: &[f32], ys: &[f32]) {
    assert!(
        !bias.is_empty() && xs.len().is_multiple_of(bias.len()) && ys.len() == xs.len(),
        "rows of {} values",
        bias.len()
    );
}

struct Forward<'a> {
    activation: Activation,
    xs: &'a [f32],
    bias: &'a [f32],
    ys: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.bias.len();
        for (xs, ys) in self
            .xs
            .chunks_exact(width)
            .zip(self.ys.chunks_exact_mut(width))
        {
            ys.copy_from_slice(xs);
            // SAFETY: one row as wide as the bias.
            unsafe {
                self.activation
                    .apply(s, ys.as_mut_ptr(), width, 1, self.bias)
            }
        }
    }
}

struct Backward<'a> {
    activation: Activation,
    xs: &'a mut [f32],
    bias: &'a [f32],
    dys: &'a mut [f32],
    d_bias: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.bias.len();
        // A loop per function, so that the function is selected once.
        macro_rules! each {
            ($($name:ident($x:ident) $value_and_slope:expr;)*) => {
                match self.activation {$(
                    Activation::$name => {
                        let rows = self.xs.chunks_exact_mut(width);
                        for (xs, dys) in rows.zip(self.dys.chunks_exact_mut(width)) {
                            for start in (0..width).step_by(S::LANES) {
                                let at = start..(start + S::LANES).min(width);
                                let $x = s.add(s.load(&xs[at.clone()]), s.load(&self.bias[at.clone()]));
                                let (y, slope) = $value_and_slope;
                                let dx = s.mul(s.load(&dys[at.clone()]), slope);
                                s.store(&mut xs[at.clone()], y);
                                s.store(&mut dys[at.clone()], dx);
                                let sum = s.add(s.load(&self.d_bias[at.clone()]), dx);
                                s.store(&mut self.d_bias[at], sum);
                            }
                        }
                    }
                )*}
            };
        }
        let (zero, one, six) = (s.splat(0.0), s.splat(1.0), s.splat(6.0));
        each! {
            Linear(x) (x, one);
            Gelu(x) (gelu(s, x), gelu_slope(s, x));
            Gelu10(x) {
                let y = gelu(s, x);
                let slope = s.select_less(s.splat(10.0), y, zero, gelu_slope(s, x));
                (s.max(s.splat(-10.0), s.min(s.splat(10.0), y)), slope)
            };
            GeluTanh(x) {
                // z = -2 √(2/π) (x + 0.044715 x³), y = x σ(-z)
                let square = s.mul(x, x);
                let cubic = s.mul_add(square, s.splat(-0.071_354_814), s.splat(-1.595_769_2));
                let inner = s.mul_add(square, s.splat(3.0 * 0.071_354_814), s.splat(1.595_769_2));
                weighted(s, x, s.mul(x, cubic), inner)
            };
            QuickGelu(x) weighted(s, x, s.mul(x, s.splat(-1.702)), s.splat(1.702));
            Hardswish(x) {
                let ramp = s.min(six, s.max(zero, s.add(x, s.splat(3.0))));
                let within = s.mul_add(x, s.splat(1.0 / 3.0), s.splat(0.5));
                let above = s.select_less(s.splat(3.0), x, one, within);
                let slope = s.select_less(x, s.splat(-3.0), zero, above);
                (s.mul(x, s.mul(ramp, s.splat(1.0 / 6.0))), slope)
            };
            Laplace(x) {
                let z = s.mul(s.sub(x, s.splat(LAPLACE_MEAN)), s.splat(LAPLACE_SCALE));
                let density = exp(s, s.sub(zero, s.mul(z, z)));
                let slope = s.mul(density, s.splat(LAPLACE_SCALE * FRAC_1_SQRT_PI));
                (s.mul_add(erf(s, z), s.splat(0.5), s.splat(0.5)), slope)
            };
            LeakyRelu(x) {
                let slope = s.select_less(zero, x, one, s.splat(0.01));
                (s.max(s.mul(x, s.splat(0.01)), x), slope)
            };
            Mish(x) {
                // t = tanh(ln(1 + eˣ)) = n / (n + 2), n = e² + 2e; 1 - t² = 2 (1 + t) / (n + 2)
                let e = exp(s, s.min(s.splat(20.0), x));
                let n = s.mul(e, s.add(e, s.splat(2.0)));
                let reciprocal = s.div(one, s.add(n, s.splat(2.0)));
                let t = s.mul(n, reciprocal);
                let rest = s.mul(s.mul(s.splat(2.0), reciprocal), s.add(one, t));
                (s.mul(x, t), s.mul_add(s.mul(x, rest), sigmoid(s, x), t))
            };
            Relu(x) (s.max(zero, x), s.select_less(zero, x, one, zero));
            Relu2(x) { let y = s.max(zero, x); (s.mul(y, y), s.add(y, y)) };
            Relu6(x) {
                let below = s.select_less(x, six, one, zero);
                (s.min(six, s.max(zero, x)), s.select_less(zero, x, below, zero))
            };
            Sigmoid(x) { let y = sigmoid(s, x); (y, s.mul(y, s.sub(one, y))) };
            Silu(x) weighted(s, x, s.sub(zero, x), one);
            SqrtSoftplus(x) {
                let y = s.sqrt(softplus(s, x));
                let slope = s.div(sigmoid(s, x), s.add(y, y));
                (y, s.select_less(zero, y, slope, zero))
            };
            Tanh(x) { let y = tanh(s, x); (y, s.sub(one, s.mul(y, y))) };
        }
    }
}

/// `1 / √π`
const FRAC_1_SQRT_PI: f32 = std::f32::consts::FRAC_2_SQRT_PI / 2.0;

/// Returns `Φ(x) + x φ(x)`, the derivative of gelu.
#[inline(always)]
fn gelu_slope<S: Simd>(s: S, x: S::V) -> S::V {
    let half = s.splat(0.5);
    let z = s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let cumulative = s.mul_add(erf(s, z), half, half);
    let density = exp(s, s.sub(s.splat(0.0), s.mul(z, z)));
    // 1 / √(2π)
    let factor = s.splat(std::f32::consts::FRAC_1_SQRT_2 * FRAC_1_SQRT_PI);
    s.mul_add(s.mul(x, factor), density, cumulative)
}

/// Returns `y = x σ(-z)` and `σ + y (1 - σ) s`, for z with the slope `-s`.
#[inline(always)]
fn weighted<S: Simd>(s: S, x: S::V, z: S::V, slope: S::V) -> (S::V, S::V) {
    let one = s.splat(1.0);
    let e = exp_between(s, z);
    let sigma = s.div(one, s.add(one, e));
    let y = s.mul(x, sigma);
    // 1 - σ = e σ, without the cancellation of the difference.
    (y, s.mul_add(s.mul(y, s.mul(e, sigma)), slope, sigma))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::tests::exact;
    use crate::functions::tests::sweep;
    use crate::random::numbers;

    /// The documented error.
    const SLOPE_TOLERANCE: f64 = 1e-6;

    /// The values equal those of inference, up to f32 rounding in another order of operations.
    const VALUE_TOLERANCE: f64 = 3e-7;

    /// Returns the derivative of the formula in f64, by central differences that are exact to 1e-9.
    fn slope(activation: Activation, x: f64) -> f64 {
        const STEP: f64 = 1e-4;
        let f = |x| exact(activation, x);
        let central = |h: f64| (f(x + h) - f(x - h)) / (2.0 * h);
        // Richardson extrapolation: the remaining error is of fourth order in the step.
        (4.0 * central(STEP) - central(2.0 * STEP)) / 3.0
    }

    fn has_kink_near(activation: Activation, x: f64) -> bool {
        let kinks: &[f64] = match activation {
            Activation::Hardswish => &[-3.0, 3.0],
            Activation::Relu6 => &[0.0, 6.0],
            Activation::Gelu10 => &[10.0],
            Activation::Relu | Activation::Relu2 | Activation::LeakyRelu => &[0.0],
            _ => &[],
        };
        kinks.iter().any(|kink| (x - kink).abs() < 1e-3)
    }

    #[test]
    fn every_slope_is_the_derivative_of_its_function() {
        let xs: Vec<f32> = sweep(-20.0, 20.0).into_iter().step_by(97).collect();
        for instructions in InstructionSet::available() {
            for activation in Activation::ALL {
                let (mut ys, mut slopes) = (xs.clone(), vec![1.0; xs.len()]);
                let zeros = vec![0.0; xs.len()];
                let mut sums = zeros.clone();
                activate_backward(
                    instructions,
                    activation,
                    &mut ys,
                    &zeros,
                    &mut slopes,
                    &mut sums,
                );
                assert_eq!(slopes, sums);
                for ((x, y), found) in xs.iter().zip(&ys).zip(&slopes) {
                    let x = f64::from(*x);
                    let value = exact(activation, x);
                    let error = (value - f64::from(*y)).abs() / value.abs().max(1.0);
                    assert!(
                        error <= VALUE_TOLERANCE,
                        "{activation:?}({x}) off by {error:.1e}"
                    );
                    if has_kink_near(activation, x) {
                        continue;
                    }
                    let expected = slope(activation, x);
                    let error = (expected - f64::from(*found)).abs() / expected.abs().max(1.0);
                    assert!(
                        error <= SLOPE_TOLERANCE,
                        "{activation:?}'({x}) is off by {error:.1e} on {instructions}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_forward_pass_has_the_bits_of_inference_and_the_bias_gets_column_sums() {
        for instructions in InstructionSet::available() {
            let (rows, width) = (5, 37);
            let (xs, bias, dys) = (
                numbers(rows * width, 1),
                numbers(width, 2),
                numbers(rows * width, 3),
            );
            for activation in Activation::ALL {
                let mut ys = vec![0.0; xs.len()];
                activate(instructions, activation, &xs, &bias, &mut ys);
                let (mut again, mut dxs) = (xs.clone(), dys.clone());
                let mut d_bias = vec![1.0; width];
                activate_backward(
                    instructions,
                    activation,
                    &mut again,
                    &bias,
                    &mut dxs,
                    &mut d_bias,
                );
                for (y, again) in ys.iter().zip(&again) {
                    assert!((y - again).abs() <= 1e-6, "{activation:?}: {y} and {again}");
                }
                for (column, sum) in d_bias.iter().enumerate() {
                    let exact = 1.0 + (0..rows).map(|row| dxs[row * width + column]).sum::<f32>();
                    assert!(
                        (sum - exact).abs() <= 1e-6,
                        "{activation:?}: {sum} and {exact}"
                    );
                }
            }
        }
    }
}
