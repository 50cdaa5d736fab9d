//! LAMB as google-research/albert trains with it.

use super::clip::global_norm;
use super::{OptimizerSettings, Update};

/// Updates a tensor.
///
/// ```text
/// m ← β₁ m + (1 - β₁) g;   v ← β₂ v + (1 - β₂) g²;   u = m / (√v + ε) + λ w
/// w ← w - η r u,   r = ‖w‖ / ‖u‖, and 1 where either is 0 or the tensor is a bias or a norm
/// ```
///
/// There is no bias correction, and the gradient is clipped before.
///
/// Source: You et al. 2020; google-research/albert b772393, `lamb_optimizer.py`.
pub(super) fn update(state: Update<'_>, settings: &OptimizerSettings, is_scaled: bool) {
    let (beta1, beta2) = (settings.beta1 as f32, settings.beta2 as f32);
    let (rest1, rest2) = ((1.0 - settings.beta1) as f32, (1.0 - settings.beta2) as f32);
    let (epsilon, decay) = (settings.epsilon as f32, state.weight_decay as f32);
    let moments = state.first.iter_mut().zip(state.second);
    let values = state.parameters.iter().zip(state.gradients).zip(moments);
    let update: Vec<f32> = values
        .map(|((&w, &g), (m, v))| {
            *m = beta1 * *m + rest1 * g;
            *v = beta2 * *v + rest2 * g * g;
            *m / (v.sqrt() + epsilon) + decay * w
        })
        .collect();
    let ratio = if is_scaled {
        let (weights, updates) = (global_norm(state.parameters), global_norm(&update));
        if weights > 0.0 && updates > 0.0 {
            weights / updates
        } else {
            1.0
        }
    } else {
        1.0
    };
    let rate = (ratio * state.learning_rate) as f32;
    for (w, u) in state.parameters.iter_mut().zip(&update) {
        *w -= rate * u;
    }
}
