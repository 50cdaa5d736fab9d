//! The weight and bias of a dense layer, before they are laid out for a product.

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

/// Returns the shape `(…, out)` for an input `(…, in)`.
pub(crate) fn output_shape(shape: &[usize], input: usize, out: usize) -> Result<Vec<usize>> {
    match shape.split_last() {
        Some((&last, rows)) if last == input => Ok([rows, &[out]].concat()),
        _ => bail!("dense layer: expected a last dimension of {input}, found the shape {shape:?}"),
    }
}

/// The weight, `(out, in)`, and bias, `(out)`, of a layer.
pub(crate) struct Parameters {
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
}

impl Parameters {
    /// Takes `weight` and `bias` from `vb`.
    pub(crate) fn new(input: usize, out: usize, init_std: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let init = Init::Randn {
            mean: 0.0,
            stdev: init_std,
        };
        Ok(Self {
            weight: vb.get_with_hints((out, input), "weight", init)?,
            bias: vb.get_with_hints(out, "bias", Init::Const(0.0))?,
        })
    }

    /// Returns true if they are variables or made from variables: their values may change, and
    /// gradients pass through.
    pub(crate) fn are_variables(&self) -> bool {
        self.weight.track_op() || self.bias.track_op()
    }

    /// Returns true if the kernels of the CPU can multiply by the weight.
    pub(crate) fn can_be_packed(&self) -> bool {
        let is_f32 = self.weight.dtype() == DType::F32 && self.bias.dtype() == DType::F32;
        is_f32 && matches!(self.weight.device(), Device::Cpu) && !self.are_variables()
    }
}
