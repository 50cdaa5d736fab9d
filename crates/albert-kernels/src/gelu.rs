//! The two gelu functions by polynomials from a table, for instruction sets whose registers hold
//! the table.
//!
//! Both functions are `x C(x)` with `C(-x) = 1 - C(x)`, so that
//!
//! ```text
//! f(x) = max(x, 0) - h(|x|),   h(t) = t C(-t)
//! ```
//!
//! h is a bump: it rises to 0.17 and is below 3e-8 from 5.8 on. A polynomial of degree 4 for each
//! interval of 1 / 5.25 is within 2e-8 of it, which needs a third of the operations of an
//! exponential and a division over the whole range.

use std::sync::OnceLock;

use crate::simd::{Simd, TABLE};

/// Intervals per unit of `t`.
const INTERVALS_PER_UNIT: f32 = 5.25;

/// The number of coefficients of a polynomial.
const COEFFICIENTS: usize = 5;

/// The polynomials of h: the coefficient of each degree for each interval. Interval i is centered
/// at `i / 5.25`, and in the last one h is 0.
#[derive(Debug)]
pub(crate) struct Bump([[f32; TABLE]; COEFFICIENTS]);

/// The tables of a [`Bump`] in registers.
#[derive(Clone, Copy)]
pub(crate) struct LoadedBump<S: Simd>([S::Table; COEFFICIENTS]);

impl Bump {
    /// Returns the bump of gelu, `C(x) = (1 + erf(x / √2)) / 2`.
    pub(crate) fn of_gelu() -> &'static Self {
        static BUMP: OnceLock<Bump> = OnceLock::new();
        BUMP.get_or_init(|| {
            Self::interpolate(|t| t * (1.0 - erf(t * std::f64::consts::FRAC_1_SQRT_2)) / 2.0)
        })
    }

    /// Returns the bump of gelu's tanh approximation, `C(x) = σ(2 √(2/π) (x + 0.044715 x³))`.
    pub(crate) fn of_gelu_tanh() -> &'static Self {
        static BUMP: OnceLock<Bump> = OnceLock::new();
        BUMP.get_or_init(|| {
            let factor = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
            Self::interpolate(|t| t / (1.0 + (factor * (t + 0.044715 * t * t * t)).exp()))
        })
    }

    /// Interpolates a function in five Chebyshev nodes of each interval.
    fn interpolate(h: impl Fn(f64) -> f64) -> Self {
        let nodes: [f64; COEFFICIENTS] = std::array::from_fn(|node| {
            let angle = (2 * node + 1) as f64 / (2 * COEFFICIENTS) as f64 * std::f64::consts::PI;
            0.5 * angle.cos()
        });
        let mut table = [[0.0; TABLE]; COEFFICIENTS];
        for interval in 0..TABLE - 1 {
            let at = |node: f64| h((interval as f64 + node) / f64::from(INTERVALS_PER_UNIT));
            // Newton's divided differences, expanded to powers of the distance from the center.
            let mut differences = nodes.map(at);
            for order in 1..COEFFICIENTS {
                for node in (order..COEFFICIENTS).rev() {
                    differences[node] = (differences[node] - differences[node - 1])
                        / (nodes[node] - nodes[node - order]);
                }
            }
            let mut polynomial = [0.0; COEFFICIENTS];
            for node in (0..COEFFICIENTS).rev() {
                for degree in (0..COEFFICIENTS).rev() {
                    let lower = if degree > 0 {
                        polynomial[degree - 1]
                    } else {
                        0.0
                    };
                    polynomial[degree] = lower - nodes[node] * polynomial[degree];
                }
                polynomial[0] += differences[node];
            }
            for (of_degree, coefficient) in table.iter_mut().zip(polynomial) {
                of_degree[interval] = coefficient as f32;
            }
        }
        Self(table)
    }

    #[inline(always)]
    pub(crate) fn load<S: Simd>(&'static self, s: S) -> LoadedBump<S> {
        let mut tables = [s.load_table(&self.0[0]); COEFFICIENTS];
        for (table, values) in tables.iter_mut().zip(&self.0).skip(1) {
            *table = s.load_table(values);
        }
        LoadedBump(tables)
    }
}

impl<S: Simd> LoadedBump<S> {
    /// Returns `max(x, 0) - h(|x|)`, NaN for NaN and for infinities.
    #[inline(always)]
    pub(crate) fn apply(&self, s: S, x: S::V) -> S::V {
        // Adding 1.5 · 2²³ leaves the nearest integer in the last bits.
        let shift = s.splat(12_582_912.0);
        let (t, scale) = (s.abs(x), s.splat(INTERVALS_PER_UNIT));
        let shifted = s.mul_add(t, scale, shift);
        let shifted = s.min(s.splat(12_582_912.0 + (TABLE - 1) as f32), shifted);
        let from_center = s.mul_add(t, scale, s.sub(shift, shifted));
        let [c0, c1, c2, c3, c4] = self.0;
        let mut h = s.look_up(c4, shifted);
        for table in [c3, c2, c1, c0] {
            h = s.mul_add(h, from_center, s.look_up(table, shifted));
        }
        s.sub(s.max(s.splat(0.0), x), h)
    }
}

/// Computes erf by a series of positive terms, `2/√π e^-x² Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!`.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
    }
    sum * (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::activation::tests::exact;
    use crate::functions::tests::sweep;
    use crate::instruction_set::InstructionSet;
    use crate::simd::Kernel;

    /// The error of the polynomials and of f32 rounding of values up to 0.17, and half an ULP of x.
    const TOLERANCE: f64 = 1.2e-7;

    struct Apply<'a>(&'static Bump, &'a mut [f32]);

    impl Kernel for Apply<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let bump = self.0.load(s);
            for xs in self.1.chunks_mut(S::LANES) {
                let y = bump.apply(s, s.load(xs));
                s.store(xs, y);
            }
        }
    }

    #[test]
    fn both_functions_are_exact_with_tables_on_every_instruction_set() {
        let xs = sweep(-20.0, 20.0);
        for instructions in InstructionSet::available() {
            for (bump, activation) in [
                (Bump::of_gelu(), Activation::Gelu),
                (Bump::of_gelu_tanh(), Activation::GeluTanh),
            ] {
                let mut ys = xs.clone();
                instructions.run(Apply(bump, &mut ys));
                let error = |(x, y): (&f32, &f32)| {
                    let exact = exact(activation, f64::from(*x));
                    (f64::from(*y) - exact).abs() / exact.abs().max(1.0)
                };
                let worst = xs.iter().zip(&ys).map(error).fold(0.0, f64::max);
                assert!(
                    worst <= TOLERANCE,
                    "{activation:?} is off by {worst:.2e} on {instructions}"
                );
            }
        }
    }

    #[test]
    fn far_below_zero_the_result_is_zero_and_nan_stays() {
        for instructions in InstructionSet::available() {
            for bump in [Bump::of_gelu(), Bump::of_gelu_tanh()] {
                let mut xs = [-7.0, -1e30, 7.0, 1e30, f32::NAN, f32::NEG_INFINITY];
                instructions.run(Apply(bump, &mut xs));
                assert_eq!(xs[..4], [0.0, 0.0, 7.0, 1e30], "on {instructions}");
                assert!(xs[4].is_nan() && xs[5].is_nan(), "on {instructions}");
            }
        }
    }
}
