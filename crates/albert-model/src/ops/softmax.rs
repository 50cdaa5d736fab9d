//! The softmax of masked attention scores.

use candle_core::{D, DType, Result, Tensor};

use crate::ops::cuda;
use crate::ops::rows::RowKernel;

/// Returns `softmax(scores + mask)` over the last dimension, computed in f32 or wider.
///
/// Candle's fused form has no backward pass, so training uses the differentiable one.
pub(crate) fn masked_softmax(
    scores: &Tensor,
    mask: Option<&Tensor>,
    train: bool,
) -> Result<Tensor> {
    if !train && cuda::serves(scores) {
        let rows_of_mask = mask.map_or(0, |mask| scores.elem_count() / mask.elem_count());
        return RowKernel::Softmax { rows_of_mask }.apply(scores, mask.unwrap_or(scores), scores);
    }
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores.clone(),
    };
    let dtype = scores.dtype();
    let scores = match dtype {
        DType::F16 | DType::BF16 => scores.to_dtype(DType::F32)?,
        _ => scores,
    };
    let probs = if train {
        candle_nn::ops::softmax(&scores, D::Minus1)?
    } else {
        candle_nn::ops::softmax_last_dim(&scores.contiguous()?)?
    };
    probs.to_dtype(dtype)
}
