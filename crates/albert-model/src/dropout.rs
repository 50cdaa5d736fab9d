//! Dropout that costs nothing if its probability is 0.

use candle_core::{Result, Tensor};

/// Zeroes each element with the given probability and scales the others by `1 / (1 - probability)`.
///
/// ALBERT's probability is usually 0, for which Candle's own dropout would still draw a random
/// number for every element.
pub(crate) fn dropout(xs: &Tensor, probability: f64, train: bool) -> Result<Tensor> {
    if train && probability > 0.0 {
        candle_nn::ops::dropout(xs, probability as f32)
    } else {
        Ok(xs.clone())
    }
}
