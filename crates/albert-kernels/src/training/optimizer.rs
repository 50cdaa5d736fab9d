//! One step of AdamW and of LAMB over slices of the flat buffers; the caller keeps state, schedules
//! and groups.

use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd, each_vector};

/// The constants of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// The step size; [`lamb_update`] does not use it.
    pub learning_rate: f32,
    /// β₁, the decay of the running mean of the gradients.
    pub beta1: f64,
    /// β₂, the decay of the running mean of their squares. In f64, because `1 - β₂` in f32 has a
    /// relative error of 1e-5.
    pub beta2: f64,
    /// ε, added to the square root.
    pub epsilon: f32,
    /// λ, decoupled from the gradient.
    pub weight_decay: f32,
    /// `1 - β₁ᵗ` at step t (from 1), or 1 without bias correction.
    pub correction1: f32,
    /// `1 - β₂ᵗ` at step t (from 1), or 1 without bias correction.
    pub correction2: f32,
}

impl Adam {
    /// Sets the bias corrections of step `step`, counted from 1.
    pub fn with_bias_correction(self, step: u64) -> Self {
        let power = |beta: f64| beta.powf(step as f64);
        Self {
            correction1: (1.0 - power(self.beta1)) as f32,
            correction2: (1.0 - power(self.beta2)) as f32,
            ..self
        }
    }
}

/// Takes one step of AdamW.
///
/// ```text
/// m = β₁ m + (1 - β₁) g,   v = β₂ v + (1 - β₂) g²
/// p = p (1 - η λ) - η (m / c₁) / (√(v / c₂) + ε)
/// ```
///
/// # Panics
/// If the lengths differ.
///
/// Source: Loshchilov and Hutter 2019; `torch.optim.AdamW`.
pub fn adamw(
    instructions: InstructionSet,
    step: &Adam,
    parameters: &mut [f32],
    gradients: &[f32],
    means: &mut [f32],
    squares: &mut [f32],
) {
    let len = parameters.len();
    assert!(
        [gradients.len(), means.len(), squares.len()] == [len; 3],
        "{len} gradients, means and squares"
    );
    instructions.run(AdamW {
        step,
        parameters,
        gradients,
        means,
        squares,
    });
}

/// Computes the direction of a LAMB step, before the trust ratio.
///
/// ```text
/// u = (m / c₁) / (√(v / c₂) + ε) + λ p
/// ```
///
/// A tensor then moves by `-η (‖p‖ / ‖u‖) u`: [`square_sum`](super::square_sum) computes the norms,
/// and [`add_scaled`](super::add_scaled) takes the step.
///
/// # Panics
/// If the lengths differ.
///
/// Source: You et al. 2020, algorithm 2; google-research/albert, `lamb_optimizer.py`.
pub fn lamb_update(
    instructions: InstructionSet,
    step: &Adam,
    parameters: &[f32],
    gradients: &[f32],
    means: &mut [f32],
    squares: &mut [f32],
    update: &mut [f32],
) {
    let len = parameters.len();
    assert!(
        [gradients.len(), means.len(), squares.len(), update.len()] == [len; 4],
        "{len} gradients, means, squares and updates"
    );
    instructions.run(Lamb {
        step,
        parameters,
        gradients,
        means,
        squares,
        update,
    });
}

/// The constants, broadcast to vectors.
#[derive(Clone, Copy)]
struct Constants<V> {
    beta1: V,
    beta2: V,
    rest1: V,
    rest2: V,
    factor1: V,
    factor2: V,
    epsilon: V,
}

impl<V: Copy> Constants<V> {
    #[inline(always)]
    fn new<S: Simd<V = V>>(s: S, step: &Adam) -> Self {
        Self {
            beta1: s.splat(step.beta1 as f32),
            beta2: s.splat(step.beta2 as f32),
            rest1: s.splat((1.0 - step.beta1) as f32),
            rest2: s.splat((1.0 - step.beta2) as f32),
            factor1: s.splat(step.correction1.recip()),
            factor2: s.splat(step.correction2.recip()),
            epsilon: s.splat(step.epsilon),
        }
    }

    /// Updates the running means; returns `(m / c₁) / (√(v / c₂) + ε)`.
    #[inline(always)]
    fn direction<S: Simd<V = V>>(
        self,
        s: S,
        g: &[f32],
        means: &mut [f32],
        squares: &mut [f32],
    ) -> V {
        let g = s.load(g);
        let m = s.mul_add(self.beta1, s.load(means), s.mul(self.rest1, g));
        let v = s.mul_add(self.beta2, s.load(squares), s.mul(self.rest2, s.mul(g, g)));
        s.store(means, m);
        s.store(squares, v);
        let root = s.sqrt(s.mul(v, self.factor2));
        s.div(s.mul(m, self.factor1), s.add(root, self.epsilon))
    }
}

struct AdamW<'a> {
    step: &'a Adam,
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    means: &'a mut [f32],
    squares: &'a mut [f32],
}

impl Kernel for AdamW<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let constants = Constants::new(s, self.step);
        let rate = s.splat(-self.step.learning_rate);
        let kept = s.splat(1.0 - self.step.learning_rate * self.step.weight_decay);
        each_vector!(S, self.parameters.len(), |at, _sum| {
            let direction = constants.direction(
                s,
                &self.gradients[at.clone()],
                &mut self.means[at.clone()],
                &mut self.squares[at.clone()],
            );
            let p = s.mul(s.load(&self.parameters[at.clone()]), kept);
            s.store(&mut self.parameters[at], s.mul_add(rate, direction, p));
        });
    }
}

struct Lamb<'a> {
    step: &'a Adam,
    parameters: &'a [f32],
    gradients: &'a [f32],
    means: &'a mut [f32],
    squares: &'a mut [f32],
    update: &'a mut [f32],
}

impl Kernel for Lamb<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let constants = Constants::new(s, self.step);
        let decay = s.splat(self.step.weight_decay);
        each_vector!(S, self.parameters.len(), |at, _sum| {
            let direction = constants.direction(
                s,
                &self.gradients[at.clone()],
                &mut self.means[at.clone()],
                &mut self.squares[at.clone()],
            );
            let u = s.mul_add(decay, s.load(&self.parameters[at.clone()]), direction);
            s.store(&mut self.update[at], u);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    /// f32 state over 20 steps, each as large as about the learning rate.
    const TOLERANCE: f64 = 1e-6;

    const STEP: Adam = Adam {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.1,
        correction1: 1.0,
        correction2: 1.0,
    };

    /// Computes the formula in f64.
    #[derive(Clone, Copy, Default)]
    struct Exact {
        m: f64,
        v: f64,
    }

    impl Exact {
        fn direction(&mut self, g: f64, step: i32) -> f64 {
            let (beta1, beta2) = (STEP.beta1, STEP.beta2);
            self.m = beta1 * self.m + (1.0 - beta1) * g;
            self.v = beta2 * self.v + (1.0 - beta2) * g * g;
            let (m, v) = (
                self.m / (1.0 - beta1.powi(step)),
                self.v / (1.0 - beta2.powi(step)),
            );
            m / (v.sqrt() + f64::from(STEP.epsilon))
        }
    }

    #[test]
    fn steps_are_those_of_the_formula() {
        for instructions in InstructionSet::available() {
            let len = 37;
            let mut parameters = numbers(len, 1);
            let (mut means, mut squares) = (vec![0.0; len], vec![0.0; len]);
            let mut exact: Vec<(f64, Exact)> = parameters
                .iter()
                .map(|p| (f64::from(*p), Exact::default()))
                .collect();
            for number in 1..=20u64 {
                let gradients = numbers(len, 1 + number);
                let step = STEP.with_bias_correction(number);
                let (mut lamb_means, mut lamb_squares) = (means.clone(), squares.clone());
                let mut update = vec![0.0; len];
                lamb_update(
                    instructions,
                    &step,
                    &parameters,
                    &gradients,
                    &mut lamb_means,
                    &mut lamb_squares,
                    &mut update,
                );
                adamw(
                    instructions,
                    &step,
                    &mut parameters,
                    &gradients,
                    &mut means,
                    &mut squares,
                );
                assert!(lamb_means == means && lamb_squares == squares);
                for (i, (p, state)) in exact.iter_mut().enumerate() {
                    let direction = state.direction(f64::from(gradients[i]), number as i32);
                    let (rate, decay) =
                        (f64::from(STEP.learning_rate), f64::from(STEP.weight_decay));
                    let expected = direction + decay * *p;
                    assert!(
                        (expected - f64::from(update[i])).abs() <= 1e-4,
                        "{instructions}"
                    );
                    *p = *p * (1.0 - rate * decay) - rate * direction;
                    let error = (*p - f64::from(parameters[i])).abs();
                    assert!(
                        error <= TOLERANCE,
                        "{error:.1e} after step {number} on {instructions}"
                    );
                }
            }
        }
    }
}
