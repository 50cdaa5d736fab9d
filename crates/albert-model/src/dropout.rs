//! Dropout that costs nothing when its probability is 0.

use candle_core::{Result, Tensor};

/// Zeroes each element with this probability and scales the rest by `1 / (1 - probability)`.
///
/// ALBERT's probabilities are mostly 0, where Candle's own would still draw a random number for
/// every element.
pub(crate) fn dropout(xs: &Tensor, probability: f64, train: bool) -> Result<Tensor> {
    if train && probability > 0.0 {
        candle_nn::ops::dropout(xs, probability as f32)
    } else {
        Ok(xs.clone())
    }
}
