//! LAMB as google-research/albert trains with it.

use albert_kernels::training::{Adam, add_scaled, lamb_update};

use super::Update;
use super::clip::global_norm;

/// Updates a tensor.
///
/// ```text
/// w ← w - η r u,   r = ‖w‖ / ‖u‖, and 1 where either is 0 or the tensor is a bias or a norm
/// ```
///
/// `u` is that of [`lamb_update`] without bias correction, and the gradient is clipped before.
///
/// Source: You et al. 2020; google-research/albert b772393, `lamb_optimizer.py`.
pub(super) fn update(state: Update<'_>, adam: Adam, is_scaled: bool) {
    let instructions = state.instructions;
    let mut update = vec![0.0; state.parameters.len()];
    lamb_update(
        instructions,
        &adam,
        state.parameters,
        state.gradients,
        state.first,
        state.second,
        &mut update,
    );
    let (weights, updates) = (global_norm(state.parameters), global_norm(&update));
    let ratio = if is_scaled && weights > 0.0 && updates > 0.0 {
        weights / updates
    } else {
        1.0
    };
    let rate = (ratio * state.learning_rate) as f32;
    add_scaled(instructions, -rate, &update, state.parameters);
}
