//! Adam with decoupled weight decay.

use rayon::prelude::*;

use super::{OptimizerSettings, Update};

/// Values that one task updates.
const CHUNK: usize = 1 << 14;

/// Updates a tensor.
///
/// ```text
/// w ← w (1 - η λ);   m ← β₁ m + (1 - β₁) g;   v ← β₂ v + (1 - β₂) g²
/// w ← w - η / (1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)
/// ```
///
/// Source: Loshchilov and Hutter 2019, algorithm 2; the order of operations is that of
/// `torch.optim.AdamW`.
pub(super) fn update(state: Update<'_>, settings: &OptimizerSettings) {
    let power = |beta: f64| 1.0 - beta.powf(state.step as f64);
    let step_size = (state.learning_rate / power(settings.beta1)) as f32;
    let root = power(settings.beta2).sqrt() as f32;
    let keep = (1.0 - state.learning_rate * state.weight_decay) as f32;
    let (beta1, beta2) = (settings.beta1 as f32, settings.beta2 as f32);
    let (rest1, rest2) = ((1.0 - settings.beta1) as f32, (1.0 - settings.beta2) as f32);
    let epsilon = settings.epsilon as f32;
    state
        .parameters
        .par_chunks_mut(CHUNK)
        .zip(state.gradients.par_chunks(CHUNK))
        .zip(state.first.par_chunks_mut(CHUNK))
        .zip(state.second.par_chunks_mut(CHUNK))
        .for_each(|(((parameters, gradients), first), second)| {
            let moments = first.iter_mut().zip(second);
            for ((w, &g), (m, v)) in parameters.iter_mut().zip(gradients).zip(moments) {
                *m = beta1 * *m + rest1 * g;
                *v = beta2 * *v + rest2 * g * g;
                *w = *w * keep - step_size * (*m / (v.sqrt() / root + epsilon));
            }
        });
}
