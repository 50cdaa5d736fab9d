//! The bias and activation of a dense layer.

use candle_core::{Module, Result, Tensor};

use crate::activation::HiddenAct;
use crate::ops::cuda;
use crate::ops::rows::RowKernel;

/// Returns `act(x + b)`: `(…, width)` and `(width)` → `(…, width)`.
pub(crate) fn activate(xs: &Tensor, bias: &Tensor, act: HiddenAct) -> Result<Tensor> {
    match RowKernel::activation(act) {
        Some(kernel) if cuda::serves(xs) => kernel.apply(xs, bias, bias),
        _ => act.forward(&xs.broadcast_add(bias)?),
    }
}
