//! `y = x Wᵀ + b`, with the weight laid out for the product that uses it.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// A dense layer.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    weight: Weight,
    bias: Tensor,
}

#[derive(Debug, Clone)]
enum Weight {
    /// `(out, in)`, as checkpoints and optimizers have it.
    Trainable(Tensor),
    /// `(in, out)`, row by row: gemm's kernels are slow on the transposed view, most of all for
    /// the few rows of a short text.
    RowMajor(Tensor),
}

impl Linear {
    /// Takes `weight`, `(out, in)`, and `bias`, `(out)`, from `vb`.
    ///
    /// A weight that is a variable stays as it is, so that gradients and updates reach it.
    pub(crate) fn new(input: usize, out: usize, init_std: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let init = Init::Randn { mean: 0.0, stdev: init_std };
        let weight = vb.get_with_hints((out, input), "weight", init)?;
        let bias = vb.get_with_hints(out, "bias", Init::Const(0.0))?;
        let weight = if weight.is_variable() {
            Weight::Trainable(weight)
        } else {
            Weight::RowMajor(weight.t()?.contiguous()?)
        };
        Ok(Self { weight, bias })
    }

    /// `(…, in)` → `(…, out)`
    pub(crate) fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let weight = match &self.weight {
            Weight::Trainable(weight) => weight.t()?,
            Weight::RowMajor(weight) => weight.clone(),
        };
        let (input, out) = weight.dims2()?;
        let mut shape = xs.dims().to_vec();
        let rows = xs.elem_count() / input;
        if let Some(last) = shape.last_mut() {
            *last = out;
        }
        // One product of all rows: Candle would run a batch of small ones.
        xs.reshape((rows, input))?.matmul(&weight)?.broadcast_add(&self.bias)?.reshape(shape)
    }
}
