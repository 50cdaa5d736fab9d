//! Adam with decoupled weight decay.

use albert_kernels::training::{Adam, adamw};
use rayon::prelude::*;

use super::Update;

/// Values that one thread updates at a time.
const CHUNK: usize = 1 << 14;

/// Updates a tensor, by [`adamw`] with bias correction.
pub(super) fn update(state: Update<'_>, adam: Adam) {
    let adam = adam.with_bias_correction(state.step);
    state
        .parameters
        .par_chunks_mut(CHUNK)
        .zip(state.gradients.par_chunks(CHUNK))
        .zip(state.first.par_chunks_mut(CHUNK))
        .zip(state.second.par_chunks_mut(CHUNK))
        .for_each(|(((parameters, gradients), first), second)| {
            adamw(
                state.instructions,
                &adam,
                parameters,
                gradients,
                first,
                second,
            );
        });
}
