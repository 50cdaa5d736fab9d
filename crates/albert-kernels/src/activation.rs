//! Bias and activation, which end a dense layer.

use crate::functions::{erf, exp, exp_between, sigmoid, softplus, tanh};
use crate::gelu::Bump;
use crate::simd::Simd;

/// An element-wise activation function.
///
/// The stated errors are absolute, from -20 to 20, against f64, in units of `max(1, |f(x)|)`; a
/// dense sweep tests them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`
    Linear,
    /// `x/2 (1 + erf(x / √2))`, within 2.4e-7
    Gelu,
    /// [`Gelu`](Self::Gelu) clipped to [-10, 10], within 2.4e-7
    Gelu10,
    /// `x/2 (1 + tanh u) = x σ(2u)`, `u = √(2/π) (x + 0.044715 x³)`, within 2.4e-7
    GeluTanh,
    /// `x σ(1.702 x)`, within 2.4e-7
    QuickGelu,
    /// `x min(max(x + 3, 0), 6) / 6`, within 2.4e-7
    Hardswish,
    /// `(1 + erf((x - μ) / (σ √2))) / 2` with μ = 0.707107, σ = 0.282095, within 2.4e-7
    Laplace,
    /// `max(x, 0.01 x)`
    LeakyRelu,
    /// `x tanh(ln(1 + eˣ)) = x (e² + 2e) / (e² + 2e + 2)`, `e = eˣ`, within 2.4e-7
    Mish,
    /// `max(x, 0)`
    Relu,
    /// `max(x, 0)²`
    Relu2,
    /// `min(max(x, 0), 6)`
    Relu6,
    /// `1 / (1 + e⁻ˣ)`, within 1.2e-7
    Sigmoid,
    /// `x σ(x)`, within 2.4e-7
    Silu,
    /// `√(ln(1 + eˣ))`, within 1.2e-7
    SqrtSoftplus,
    /// `tanh x`, within 1.2e-7
    Tanh,
}

impl Activation {
    /// All functions.
    pub const ALL: [Self; 16] = [
        Self::Linear,
        Self::Gelu,
        Self::Gelu10,
        Self::GeluTanh,
        Self::QuickGelu,
        Self::Hardswish,
        Self::Laplace,
        Self::LeakyRelu,
        Self::Mish,
        Self::Relu,
        Self::Relu2,
        Self::Relu6,
        Self::Sigmoid,
        Self::Silu,
        Self::SqrtSoftplus,
        Self::Tanh,
    ];

    /// Computes `x = f(x + bias)`, element by element, in rows as wide as the bias.
    ///
    /// # Safety
    /// `xs` has the rows, `stride` values apart, and nothing else reads or writes them.
    #[inline(always)]
    pub(crate) unsafe fn apply<S: Simd>(
        self,
        s: S,
        xs: *mut f32,
        stride: usize,
        rows: usize,
        bias: &[f32],
    ) {
        let whole = bias.len() / S::LANES * S::LANES;
        let bump = match self {
            Self::Gelu | Self::Gelu10 if S::HAS_TABLES => Some(Bump::of_gelu().load(s)),
            Self::GeluTanh if S::HAS_TABLES => Some(Bump::of_gelu_tanh().load(s)),
            _ => None,
        };
        // Computes a gelu from its table, if there is one, or by its formula. A macro, because a
        // function passed as an argument is compiled without this instruction set.
        macro_rules! tabulated {
            ($formula:ident($x:ident)) => {
                match bump {
                    Some(bump) => bump.apply(s, $x),
                    None => $formula(s, $x),
                }
            };
        }
        // A loop per function, so that the function is selected once.
        macro_rules! each {
            ($($name:ident($x:ident) $f:expr;)*) => {
                match self {$(
                    Self::$name => {
                        for row in 0..rows {
                            // SAFETY: the caller's promise.
                            let xs = unsafe { std::slice::from_raw_parts_mut(xs.add(row * stride), bias.len()) };
                            for start in (0..whole).step_by(S::LANES) {
                                let (xs, bias) = (&mut xs[start..start + S::LANES], &bias[start..start + S::LANES]);
                                let $x = s.add(s.load(xs), s.load(bias));
                                let y = $f;
                                s.store(xs, y);
                            }
                            if whole < bias.len() {
                                let $x = s.add(s.load(&xs[whole..]), s.load(&bias[whole..]));
                                let y = $f;
                                s.store(&mut xs[whole..], y);
                            }
                        }
                    }
                )*}
            };
        }
        let (zero, six) = (s.splat(0.0), s.splat(6.0));
        each! {
            Linear(x) x;
            Gelu(x) tabulated!(gelu(x));
            Gelu10(x) s.max(s.splat(-10.0), s.min(s.splat(10.0), tabulated!(gelu(x))));
            GeluTanh(x) tabulated!(gelu_tanh(x));
            QuickGelu(x) weighted(s, x, s.mul(x, s.splat(-1.702)));
            Hardswish(x) {
                let ramp = s.min(six, s.max(zero, s.add(x, s.splat(3.0))));
                s.mul(x, s.mul(ramp, s.splat(1.0 / 6.0)))
            };
            Laplace(x) {
                let z = s.mul(s.sub(x, s.splat(LAPLACE_MEAN)), s.splat(LAPLACE_SCALE));
                s.mul_add(erf(s, z), s.splat(0.5), s.splat(0.5))
            };
            LeakyRelu(x) s.max(s.mul(x, s.splat(0.01)), x);
            Mish(x) {
                // From 20 on the quotient is 1, and for larger x e² would overflow.
                let e = exp(s, s.min(s.splat(20.0), x));
                let n = s.mul(e, s.add(e, s.splat(2.0)));
                s.mul(x, s.div(n, s.add(n, s.splat(2.0))))
            };
            Relu(x) s.max(zero, x);
            Relu2(x) { let y = s.max(zero, x); s.mul(y, y) };
            Relu6(x) s.min(six, s.max(zero, x));
            Sigmoid(x) sigmoid(s, x);
            Silu(x) weighted(s, x, s.sub(zero, x));
            SqrtSoftplus(x) s.sqrt(softplus(s, x));
            Tanh(x) tanh(s, x);
        }
    }
}

/// 1/√2 to six digits, as in transformers.
#[expect(clippy::approx_constant, reason = "the reference's own digits")]
pub(crate) const LAPLACE_MEAN: f32 = 0.707107;
/// `1 / (σ √2)`
pub(crate) const LAPLACE_SCALE: f32 = (1.0 / (0.282095 * std::f64::consts::SQRT_2)) as f32;

#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::V) -> S::V {
    let half = s.mul(x, s.splat(0.5));
    s.mul_add(
        half,
        erf(s, s.mul(x, s.splat(std::f32::consts::FRAC_1_SQRT_2))),
        half,
    )
}

#[inline(always)]
fn gelu_tanh<S: Simd>(s: S, x: S::V) -> S::V {
    // -2 √(2/π) (x + 0.044715 x³)
    let cubic = s.mul_add(s.mul(x, x), s.splat(-0.071_354_814), s.splat(-1.595_769_2));
    weighted(s, x, s.mul(x, cubic))
}

/// `x σ(-z) = x / (1 + eᶻ)`
#[inline(always)]
fn weighted<S: Simd>(s: S, x: S::V, z: S::V) -> S::V {
    s.div(x, s.add(s.splat(1.0), exp_between(s, z)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::functions::tests::{exact_erf, sweep};
    use crate::instruction_set::InstructionSet;
    use crate::simd::Kernel;

    struct Activate<'a> {
        xs: &'a mut [f32],
        bias: &'a [f32],
        activation: Activation,
    }

    impl Kernel for Activate<'_> {
        type Output = ();

        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let rows = self.xs.len() / self.bias.len();
            // SAFETY: the slice has these rows.
            unsafe {
                self.activation
                    .apply(s, self.xs.as_mut_ptr(), self.bias.len(), rows, self.bias)
            }
        }
    }

    fn activate(
        instructions: InstructionSet,
        xs: &mut [f32],
        bias: &[f32],
        activation: Activation,
    ) {
        instructions.run(Activate {
            xs,
            bias,
            activation,
        });
    }

    pub(crate) fn exact(activation: Activation, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let gelu = |x: f64| 0.5 * x * (1.0 + exact_erf(x * std::f64::consts::FRAC_1_SQRT_2));
        match activation {
            Activation::Linear => x,
            Activation::Gelu => gelu(x),
            Activation::Gelu10 => gelu(x).clamp(-10.0, 10.0),
            Activation::GeluTanh => {
                0.5 * x
                    * (1.0
                        + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
            }
            Activation::QuickGelu => x * sigmoid(1.702 * x),
            Activation::Hardswish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            Activation::Laplace => {
                0.5 * (1.0
                    + exact_erf(
                        (x - f64::from(LAPLACE_MEAN)) / (0.282095 * std::f64::consts::SQRT_2),
                    ))
            }
            Activation::LeakyRelu => x.max(0.01 * x),
            Activation::Mish => x * softplus(x).tanh(),
            Activation::Relu => x.max(0.0),
            Activation::Relu2 => x.max(0.0).powi(2),
            Activation::Relu6 => x.clamp(0.0, 6.0),
            Activation::Sigmoid => sigmoid(x),
            Activation::Silu => x * sigmoid(x),
            Activation::SqrtSoftplus => softplus(x).sqrt(),
            Activation::Tanh => x.tanh(),
        }
    }

    /// Returns the error that the documentation of each function states, or that of f32 rounding.
    fn stated(activation: Activation) -> f64 {
        match activation {
            Activation::Sigmoid | Activation::SqrtSoftplus | Activation::Tanh => 1.2e-7,
            Activation::Linear
            | Activation::LeakyRelu
            | Activation::Relu
            | Activation::Relu2
            | Activation::Relu6 => 6e-8,
            _ => 2.4e-7,
        }
    }

    #[test]
    fn every_activation_is_as_exact_as_stated() {
        let xs = sweep(-20.0, 20.0);
        for instructions in InstructionSet::available() {
            for activation in Activation::ALL {
                let mut ys = xs.clone();
                activate(instructions, &mut ys, &vec![0.0; xs.len()], activation);
                let mut worst = 0.0f64;
                for (x, y) in xs.iter().zip(&ys) {
                    let exact = exact(activation, f64::from(*x));
                    let error = (f64::from(*y) - exact).abs() / exact.abs().max(1.0);
                    assert!(
                        !error.is_nan(),
                        "{activation:?}({x}) = {y} on {instructions}"
                    );
                    worst = worst.max(error);
                }
                assert!(
                    worst <= stated(activation),
                    "{activation:?} is off by {worst:.2e} on {instructions}"
                );
            }
        }
    }

    #[test]
    fn the_bias_is_added_first_and_nan_stays() {
        for instructions in InstructionSet::available() {
            for activation in Activation::ALL {
                let mut xs = [0.5f32, -1.0, f32::NAN, 3.0, 1.0, f32::NAN];
                activate(instructions, &mut xs, &[0.25, 1.5, 0.0], activation);
                for (x, at) in [(0, 0.75), (1, 0.5), (3, 3.25), (4, 2.5)] {
                    let exact = exact(activation, at);
                    assert!(
                        (f64::from(xs[x]) - exact).abs() <= 1e-6 * exact.abs().max(1.0),
                        "{activation:?} on {instructions}"
                    );
                }
                assert!(
                    xs[2].is_nan() && xs[5].is_nan(),
                    "{activation:?} on {instructions}: {xs:?}"
                );
            }
        }
    }

    #[test]
    fn numbers_far_out_stay_numbers() {
        for instructions in InstructionSet::available() {
            for activation in Activation::ALL {
                let mut xs = [-1e4f32, -200.0, -90.0, 90.0, 200.0, 1e4];
                let before = xs;
                activate(instructions, &mut xs, &[0.0; 6], activation);
                for (x, y) in before.iter().zip(xs) {
                    let exact = exact(activation, f64::from(*x));
                    assert!(
                        (f64::from(y) - exact).abs() <= 1e-6 * exact.abs().max(1.0),
                        "{activation:?}({x}) = {y} on {instructions}"
                    );
                }
            }
        }
    }
}
