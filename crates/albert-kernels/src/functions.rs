//! Elementary functions of f32 vectors.
//!
//! Each is an exact reduction to a short interval and a polynomial over it. The coefficients were
//! fitted by least squares, reweighted to minimize the maximum of the stated error; the tests check
//! that error in a dense sweep against f64.

use crate::simd::Simd;

/// Beyond this, `eˣ` is infinite in f32.
const EXP_MAX: f32 = 88.72;
/// Below this, [`exp`] is 0, which is `e^-87` to the 38th digit.
const EXP_MIN: f32 = -86.9;

/// Returns `eˣ`, to 2 ULP; 0 below -86.9, infinite above 88.72, NaN for NaN.
///
/// ```text
/// eˣ = 2ⁿ eʳ,   n = round(x / ln 2),   r = x - n ln 2
/// ```
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::V) -> S::V {
    let (n, e_to_r) = reduced_exp(s, s.min(s.splat(EXP_MAX), s.max(s.splat(EXP_MIN), x)));
    // 2ⁿ in two factors, because 2¹²⁸ exceeds the range of f32.
    let power = s.power_of_two(s.sub(n, s.splat(1.0)));
    let y = s.mul(s.mul(e_to_r, s.splat(2.0)), power);
    let y = s.select_less(x, s.splat(EXP_MIN), s.splat(0.0), y);
    s.select_less(s.splat(EXP_MAX), x, s.splat(f32::INFINITY), y)
}

/// Returns `eˣ` to 2 ULP, with x clamped to the range from -87.3 to 88.3; NaN for NaN.
#[inline(always)]
pub(crate) fn exp_between<S: Simd>(s: S, x: S::V) -> S::V {
    let (n, e_to_r) = reduced_exp(s, s.min(s.splat(88.3), s.max(s.splat(-87.3), x)));
    s.times_power_of_two(e_to_r, n)
}

/// Returns `n` and `eʳ` for x between the bounds of [`exp`], which is not NaN.
#[inline(always)]
fn reduced_exp<S: Simd>(s: S, x: S::V) -> (S::V, S::V) {
    // ln 2 in two parts, the first short enough that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-LN_2_HIGH), x);
    let r = s.mul_add(n, s.splat(-LN_2_LOW), r);
    let tail = polynomial(
        s,
        r,
        [0.5, 0.166_665_21, 0.041_668_39, 0.008_368_716, 0.001_381_46],
    );
    (n, s.add(s.mul_add(s.mul(r, r), tail, r), s.splat(1.0)))
}

/// Returns `σ(x) = 1 / (1 + e⁻ˣ)`, to 3 ULP if the result is a normal number.
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// Returns `tanh x`, to 3 ULP.
///
/// ```text
/// x + x³ P(x²) where |x| < 0.65, else ±(1 - 2 / (e^2|x| + 1))
/// ```
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::V) -> S::V {
    let (one, magnitude, square) = (s.splat(1.0), s.abs(x), s.mul(x, x));
    let tail = polynomial(
        s,
        square,
        [
            -0.333_333_28,
            0.133_331_58,
            -0.053_940_564,
            0.021_666_344,
            -0.008_091_965,
            0.002_064_662,
        ],
    );
    let near = s.mul_add(s.mul(x, square), tail, x);
    let e = exp(s, s.add(magnitude, magnitude));
    let far = s.sub(one, s.div(s.splat(2.0), s.add(e, one)));
    s.select_less(magnitude, s.splat(0.65), near, s.copy_sign(far, x))
}

/// Returns `erf x`, within 1.8e-7.
///
/// ```text
/// x P(x²) where |x| < 1, else ±(1 - e^Q(|x|)); Q is ln erfc
/// ```
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::V) -> S::V {
    let (one, square) = (s.splat(1.0), s.mul(x, x));
    let near = s.mul(
        x,
        polynomial(
            s,
            square,
            [
                std::f32::consts::FRAC_2_SQRT_PI,
                -0.376_126_26,
                0.112_836,
                -0.026_854_444,
                0.005_189_535,
                -0.000_802_084_1,
                7.889_119e-5,
            ],
        ),
    );
    // From 4 on erf rounds to 1; NaN is preserved.
    let magnitude = s.min(s.splat(4.0), s.abs(x));
    let log = polynomial(
        s,
        magnitude,
        [
            1.705_522e-4,
            -1.129_495_1,
            -0.633_386_7,
            -0.108_236_62,
            0.025_091_5,
            -0.004_160_527_6,
            4.323_032e-4,
            -2.090_957_2e-5,
        ],
    );
    let far = s.sub(one, exp(s, log));
    s.select_less(s.abs(x), one, near, s.copy_sign(far, x))
}

/// Returns `ln(1 + eˣ)`, to 4 ULP; never overflows.
///
/// ```text
/// max(x, 0) + ln(1 + e),  e = e^-|x|;   ln(1 + e) = 2 atanh u,  u = e / (2 + e) ≤ 1/3
/// ```
#[inline(always)]
pub(crate) fn softplus<S: Simd>(s: S, x: S::V) -> S::V {
    let e = exp(s, s.sub(s.splat(0.0), s.abs(x)));
    let u = s.div(e, s.add(s.splat(2.0), e));
    let square = s.mul(u, u);
    let tail = polynomial(
        s,
        square,
        [
            0.333_333_34,
            0.200_000_27,
            0.142_841_98,
            0.111_507_505,
            0.085_739_25,
            0.108_961_984,
        ],
    );
    let half = s.mul_add(s.mul(u, square), tail, u);
    s.add(s.max(s.splat(0.0), x), s.add(half, half))
}

/// Evaluates the polynomial `c₀ + c₁ x + c₂ x² + …`.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::V, coefficients: [f32; N]) -> S::V {
    let mut sum = s.splat(coefficients[N - 1]);
    let mut index = N - 1;
    while index > 0 {
        index -= 1;
        sum = s.mul_add(sum, x, s.splat(coefficients[index]));
    }
    sum
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::instruction_set::InstructionSet;
    use crate::simd::Kernel;

    /// Applies a function to all values.
    struct Each<'a, F>(&'a mut [f32], F);

    trait Function {
        fn eval<S: Simd>(&self, s: S, x: S::V) -> S::V;
    }

    impl<F: Function> Kernel for Each<'_, F> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for chunk in self.0.chunks_mut(S::LANES) {
                let y = self.1.eval(s, s.load(chunk));
                s.store(chunk, y);
            }
        }
    }

    macro_rules! function {
        ($name:ident, $f:ident) => {
            #[derive(Clone, Copy)]
            struct $name;
            impl Function for $name {
                #[inline(always)]
                fn eval<S: Simd>(&self, s: S, x: S::V) -> S::V {
                    $f(s, x)
                }
            }
        };
    }
    function!(Exp, exp);
    function!(Sigmoid, sigmoid);
    function!(Tanh, tanh);
    function!(Erf, erf);
    function!(Softplus, softplus);

    /// Returns values from `low` to `high`, and tiny ones of both signs.
    pub(crate) fn sweep(low: f32, high: f32) -> Vec<f32> {
        const STEPS: usize = 1_000_003;
        let step = (f64::from(high) - f64::from(low)) / STEPS as f64;
        let mut xs: Vec<f32> = (0..=STEPS)
            .map(|i| (f64::from(low) + step * i as f64) as f32)
            .collect();
        for exponent in -120..0 {
            for mantissa in [1.0f32, 1.1, 1.37, 1.93] {
                xs.extend([
                    mantissa * 2f32.powi(exponent),
                    -mantissa * 2f32.powi(exponent),
                ]);
            }
        }
        xs.extend([0.0, -0.0]);
        xs.retain(|x| (low..=high).contains(x));
        xs
    }

    /// Computes `erf` by the series of positive terms `2/√π e^-x² Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!`.
    pub(crate) fn exact_erf(x: f64) -> f64 {
        if x.abs() > 6.0 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        sum * (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI
    }

    /// Returns the largest error over `xs` on all instruction sets, in the units that `unit`
    /// returns for an exact value.
    fn worst<F: Function + Copy>(
        f: F,
        xs: &[f32],
        exact: impl Fn(f64) -> f64,
        unit: impl Fn(f64) -> f64,
    ) -> f64 {
        let mut worst = 0.0f64;
        for instructions in InstructionSet::available() {
            let mut ys = xs.to_vec();
            instructions.run(Each(&mut ys, f));
            for (x, y) in xs.iter().zip(&ys) {
                let exact = exact(f64::from(*x));
                let error = (f64::from(*y) - exact).abs() / unit(exact);
                assert!(!error.is_nan(), "{x} gives {y} on {instructions}");
                worst = worst.max(error);
            }
        }
        worst
    }

    /// Returns the distance between neighboring f32 values at `y`.
    fn ulp(y: f64) -> f64 {
        let y = (y.abs() as f32).max(f32::MIN_POSITIVE);
        f64::from(y.next_up()) - f64::from(y)
    }

    fn assert_within(what: &str, seen: f64, stated: f64) {
        assert!(
            seen <= stated,
            "{what} is off by {seen}, more than the stated {stated}"
        );
    }

    #[test]
    fn every_function_is_as_exact_as_stated() {
        let one = |_: f64| 1.0;
        assert_within("exp", worst(Exp, &sweep(-86.9, 88.7), f64::exp, ulp), 2.0);
        assert_within(
            "sigmoid",
            worst(
                Sigmoid,
                &sweep(-80.0, 80.0),
                |x| 1.0 / (1.0 + (-x).exp()),
                ulp,
            ),
            3.0,
        );
        assert_within(
            "tanh",
            worst(Tanh, &sweep(-12.0, 12.0), f64::tanh, ulp),
            3.0,
        );
        assert_within("erf", worst(Erf, &sweep(-8.0, 8.0), exact_erf, one), 1.8e-7);
        assert_within(
            "softplus",
            worst(
                Softplus,
                &sweep(-86.0, 100.0),
                |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
                ulp,
            ),
            4.0,
        );
    }

    /// Tests every f32 bit pattern, including NaN and infinities, in about half an hour: `cargo
    /// test --release -p albert-kernels -- --ignored every_f32`.
    #[test]
    #[ignore = "four billion values, half an hour"]
    fn every_f32_is_as_exact_as_stated() {
        const CHUNK: u32 = 1 << 20;
        for chunk in 0..u32::MAX / CHUNK + 1 {
            let xs: Vec<f32> = (0..CHUNK)
                .map(|i| f32::from_bits(chunk * CHUNK + i))
                .collect();
            let within = |low: f32, high: f32| -> Vec<f32> {
                let xs = xs.iter().copied();
                xs.filter(|x| (low..=high).contains(x)).collect()
            };
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
            let one = |_: f64| 1.0;
            // The ranges for which the documentation states the error.
            assert_within("exp", worst(Exp, &within(-86.9, 88.72), f64::exp, ulp), 2.0);
            let found = worst(Sigmoid, &within(-86.9, f32::MAX), sigmoid, ulp);
            assert_within("sigmoid", found, 3.0);
            let found = worst(Tanh, &within(f32::MIN, f32::MAX), f64::tanh, ulp);
            assert_within("tanh", found, 3.0);
            let found = worst(Erf, &within(f32::MIN, f32::MAX), exact_erf, one);
            assert_within("erf", found, 1.8e-7);
            let found = worst(Softplus, &within(-86.0, f32::MAX), softplus, ulp);
            assert_within("softplus", found, 4.0);
            for instructions in InstructionSet::available() {
                let mut ys = xs.clone();
                instructions.run(Each(&mut ys, Exp));
                for (x, y) in xs.iter().zip(&ys) {
                    assert_eq!(x.is_nan(), y.is_nan(), "exp({x}) = {y} on {instructions}");
                    assert!(*x >= -86.9 || *y == 0.0, "exp({x}) = {y} on {instructions}");
                    assert!(
                        *x <= 88.73 || *y == f32::INFINITY,
                        "exp({x}) = {y} on {instructions}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_is_lost_at_the_ends() {
        for instructions in InstructionSet::available() {
            let mut ys = [f32::NEG_INFINITY, -1e30, 0.0, 89.0, f32::INFINITY, f32::NAN];
            instructions.run(Each(&mut ys, Exp));
            assert_eq!(
                ys[..5],
                [0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY],
                "{instructions}"
            );
            assert!(ys[5].is_nan());
            let mut xs = [f32::NAN; 4];
            instructions.run(Each(&mut xs[..1], Tanh));
            instructions.run(Each(&mut xs[1..2], Erf));
            instructions.run(Each(&mut xs[2..3], Softplus));
            instructions.run(Each(&mut xs[3..], Sigmoid));
            assert!(xs.iter().all(|x| x.is_nan()), "{instructions}: {xs:?}");
        }
    }
}
