//! The dense layer `y = x Wᵀ + b`, with the weight in the layout that its matrix product needs.

use std::sync::Arc;

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use crate::activation::HiddenAct;
use crate::ops::activation::activate;
use crate::ops::dense::{Parameters, output_shape};
use crate::ops::packed_linear::PackedLinear;

/// A dense layer.
#[derive(Debug, Clone)]
pub(crate) enum Linear {
    /// The weight is `(out, in)`, as in checkpoints, optimizers and tied tables.
    Trainable { weight: Tensor, bias: Tensor },
    /// The weight is `(in, out)` in row-major order: gemm's kernels are slow on the transposed
    /// view, especially for the few rows of a short text.
    RowMajor { weight: Tensor, bias: Tensor },
    /// f32 or int8 on the CPU.
    Packed(Arc<PackedLinear>),
}

impl Linear {
    /// Takes `weight`, `(out, in)`, and `bias`, `(out)`, from `vb`.
    ///
    /// A weight that is a variable keeps its layout, so that gradients and updates apply to it.
    pub(crate) fn new(input: usize, out: usize, init_std: f64, vb: VarBuilder<'_>) -> Result<Self> {
        if let Some(packed) = PackedLinear::quantized(input, out, std::slice::from_ref(&vb))? {
            return Ok(Self::Packed(Arc::new(packed)));
        }
        let parameters = Parameters::new(input, out, init_std, vb)?;
        if parameters.are_variables() {
            return Ok(Self::Trainable {
                weight: parameters.weight,
                bias: parameters.bias,
            });
        }
        if parameters.can_be_packed() {
            return Ok(Self::Packed(Arc::new(PackedLinear::new(&[parameters])?)));
        }
        Ok(Self::RowMajor {
            weight: parameters.weight.t()?.contiguous()?,
            bias: parameters.bias,
        })
    }

    /// Builds a layer from a weight, `(out, in)`, shared with another module, and a bias, `(out)`.
    /// Shares storage unless the weight is packed.
    pub(crate) fn from_shared(weight: Tensor, bias: Tensor) -> Result<Self> {
        let parameters = Parameters { weight, bias };
        if parameters.can_be_packed() {
            return Ok(Self::Packed(Arc::new(PackedLinear::new(&[parameters])?)));
        }
        Ok(Self::Trainable {
            weight: parameters.weight,
            bias: parameters.bias,
        })
    }

    /// Joins layers that share an input into one layer with concatenated outputs. Returns `None` if
    /// any weight is a variable, which keeps its layout.
    pub(crate) fn side_by_side(
        input: usize,
        out: usize,
        init_std: f64,
        vbs: &[VarBuilder<'_>],
    ) -> Result<Option<Self>> {
        if let Some(packed) = PackedLinear::quantized(input, out, vbs)? {
            return Ok(Some(Self::Packed(Arc::new(packed))));
        }
        let parts = vbs
            .iter()
            .map(|vb| Parameters::new(input, out, init_std, vb.clone()));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        if parts.iter().any(Parameters::are_variables) {
            return Ok(None);
        }
        if parts.iter().all(Parameters::can_be_packed) {
            return Ok(Some(Self::Packed(Arc::new(PackedLinear::new(&parts)?))));
        }
        let weights: Vec<_> = parts.iter().map(|part| &part.weight).collect();
        let biases: Vec<_> = parts.iter().map(|part| &part.bias).collect();
        let weight = Tensor::cat(&weights, 0)?.t()?.contiguous()?;
        Ok(Some(Self::RowMajor {
            weight,
            bias: Tensor::cat(&biases, 0)?,
        }))
    }

    /// Returns the packed weights, if any.
    pub(crate) fn packed(&self) -> Option<Arc<PackedLinear>> {
        match self {
            Self::Packed(packed) => Some(Arc::clone(packed)),
            _ => None,
        }
    }

    /// Computes `x Wᵀ + b`: `(…, in)` → `(…, out)`.
    pub(crate) fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (weight, bias) = match self {
            Self::Trainable { weight, bias } => (weight.t()?, bias.clone()),
            Self::RowMajor { weight, bias } => (weight.clone(), bias.clone()),
            // Packed products have no gradient. Unpack the weight if a module upstream of this
            // layer is trained while the layer is not.
            Self::Packed(packed) if xs.track_op() => (packed.weight()?.t()?, packed.bias()?),
            Self::Packed(packed) => return xs.contiguous()?.apply_op1_no_bwd(packed.as_ref()),
        };
        row_product(xs, &weight)?.broadcast_add(&bias)
    }

    /// Computes `act(x Wᵀ + b)`: `(…, in)` → `(…, out)`.
    pub(crate) fn forward_activated(&self, xs: &Tensor, act: HiddenAct) -> Result<Tensor> {
        match self {
            Self::RowMajor { weight, bias } => activate(&row_product(xs, weight)?, bias, act),
            _ => act.forward(&self.forward(xs)?),
        }
    }
}

/// Computes `(…, in) × (in, out)` → `(…, out)` as one product of all rows, where Candle would run a
/// batch of small products.
fn row_product(xs: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (input, out) = weight.dims2()?;
    let rows = xs.elem_count() / input;
    let shape = output_shape(xs.dims(), input, out)?;
    xs.reshape((rows, input))?.matmul(weight)?.reshape(shape)
}
