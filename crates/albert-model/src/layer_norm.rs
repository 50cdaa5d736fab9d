//! Layer norm, differentiable where it must be and computed in f32 at least.
//!
//! Candle's fused `layer_norm` has no backward pass: everything before it would stay untrained,
//! silently. It serves inference only. ALBERT's ε of 1e-12 is 0 in f16, so half-precision input is
//! normalised in f32.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// `y = γ (x - mean x) / √(var x + ε) + β`, over the last dimension.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    gamma: Tensor,
    beta: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Takes `weight` (γ) and `bias` (β), both `(width)`, from `vb`.
    pub(crate) fn new(width: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let gamma = vb.get_with_hints(width, "weight", Init::Const(1.0))?;
        let beta = vb.get_with_hints(width, "bias", Init::Const(0.0))?;
        Ok(Self { gamma, beta, eps })
    }

    /// `(…, width)` → `(…, width)`
    pub(crate) fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        if !train && xs.dtype() == DType::F32 {
            return candle_nn::ops::layer_norm(&xs.contiguous()?, &self.gamma, &self.beta, self.eps as f32);
        }
        let dtype = xs.dtype();
        let internal = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let xs = xs.to_dtype(internal)?;
        let centred = xs.broadcast_sub(&xs.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        let scaled = normed.broadcast_mul(&self.gamma.to_dtype(internal)?)?;
        scaled.broadcast_add(&self.beta.to_dtype(internal)?)?.to_dtype(dtype)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Two orders of summing eight f32 numbers of size 1.
    const ROUNDING: f32 = 1e-6;

    fn norm(dtype: DType, eps: f64) -> Result<LayerNorm> {
        let gamma = Tensor::new(&[1f32, 2., 0.5, -1., 1., 1., 3., 1.], &Device::Cpu)?.to_dtype(dtype)?;
        let beta = Tensor::new(&[0f32, 1., 0., 0., -1., 0., 0., 2.], &Device::Cpu)?.to_dtype(dtype)?;
        Ok(LayerNorm { gamma, beta, eps })
    }

    #[test]
    fn training_and_inference_agree() -> Result<()> {
        let xs = Tensor::new(&[[0.3f32, -1.2, 0.7, 2.1, -0.4, 0.0, 1.5, -2.2]], &Device::Cpu)?;
        let norm = norm(DType::F32, 1e-12)?;
        let delta = (norm.forward_t(&xs, true)? - norm.forward_t(&xs, false)?)?.abs()?.max_all()?;
        assert!(delta.to_scalar::<f32>()? <= ROUNDING);
        Ok(())
    }

    #[test]
    fn a_tiny_variance_survives_half_precision() -> Result<()> {
        // The squares of these differences are below the smallest f16.
        let xs = Tensor::new(&[[1e-4f32, 2e-4, 1e-4, 3e-4, 1e-4, 2e-4, 1e-4, 0.]], &Device::Cpu)?;
        let half =
            norm(DType::F16, 1e-12)?.forward_t(&xs.to_dtype(DType::F16)?, false)?.to_dtype(DType::F32)?;
        let full = norm(DType::F32, 1e-12)?.forward_t(&xs, false)?;
        let delta = (half - full)?.abs()?.max_all()?.to_scalar::<f32>()?;
        // f16 keeps 11 bits, of numbers up to 6 here; subnormal input keeps fewer.
        assert!(delta <= 0.02, "{delta}");
        Ok(())
    }
}
