//! Layer norm with a gradient and an accurate variance.
//!
//! Candle's fused `layer_norm` has neither. Without a backward pass, everything upstream of it
//! would silently stay untrained. On the CPU and on CUDA it computes the variance as `mean x² -
//! (mean x)²` in f32, which cancels if the mean is large compared with the deviation, and can be
//! negative: with ALBERT's ε of 1e-12, the result is then NaN. This one subtracts the mean first. ε
//! rounds to 0 in f16, so half-precision input is normalized in f32.

use std::fmt;

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::ops::cuda;
use crate::ops::layer_norm::RowNorm;
use crate::ops::rows::RowKernel;

/// `y = γ (x - mean x) / √(var x + ε) + β`, over the last dimension.
#[derive(Debug, Clone)]
pub(crate) struct LayerNorm {
    gamma: Tensor,
    beta: Tensor,
    eps: f64,
    /// γ and β, `(2, width)`, if the CUDA row kernels are used.
    stacked: Option<Tensor>,
}

impl LayerNorm {
    /// Takes `weight` (γ) and `bias` (β), both `(width)`, from `vb`.
    pub(crate) fn new(width: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let gamma = vb.get_with_hints(width, "weight", Init::Const(1.0))?;
        let beta = vb.get_with_hints(width, "bias", Init::Const(0.0))?;
        let stacked = cuda::serves(&gamma)
            .then(|| Tensor::stack(&[&gamma, &beta], 0))
            .transpose()?;
        Ok(Self {
            gamma,
            beta,
            eps,
            stacked,
        })
    }

    /// Makes a norm of γ and β, both `(width)`, for training.
    pub(crate) fn from_tensors(gamma: Tensor, beta: Tensor, eps: f64) -> Self {
        Self {
            gamma,
            beta,
            eps,
            stacked: None,
        }
    }

    /// Returns γ, β and ε for the CPU kernels, unless they are variables or on another device.
    pub(crate) fn constants(&self) -> Result<Option<NormConstants>> {
        if !is_constant(&self.gamma) || !is_constant(&self.beta) {
            return Ok(None);
        }
        let (gamma, beta) = (self.gamma.to_vec1()?, self.beta.to_vec1()?);
        Ok(Some(NormConstants {
            gamma,
            beta,
            eps: self.eps as f32,
        }))
    }

    /// Computes `LayerNorm(x + r)`: `(…, width)` → `(…, width)`.
    pub(crate) fn forward_sum_t(
        &self,
        xs: &Tensor,
        residual: &Tensor,
        train: bool,
    ) -> Result<Tensor> {
        match &self.stacked {
            Some(stacked) if !train && cuda::serves(xs) => RowKernel::AddNorm {
                eps: self.eps as f32,
            }
            .apply(xs, residual, stacked),
            _ => self.forward_t(&(xs + residual)?, train),
        }
    }

    /// Computes `LayerNorm(x)`: `(…, width)` → `(…, width)`.
    pub(crate) fn forward_t(&self, xs: &Tensor, train: bool) -> Result<Tensor> {
        let dtype = xs.dtype();
        if !train && dtype == DType::F32 && matches!(xs.device(), Device::Cpu) {
            return xs.contiguous()?.apply_op3_no_bwd(
                &self.gamma,
                &self.beta,
                &RowNorm {
                    eps: self.eps as f32,
                },
            );
        }
        let internal = if dtype == DType::F64 {
            DType::F64
        } else {
            DType::F32
        };
        let xs = xs.to_dtype(internal)?;
        let centered = xs.broadcast_sub(&xs.mean_keepdim(D::Minus1)?)?;
        let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centered.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        let scaled = normed.broadcast_mul(&self.gamma.to_dtype(internal)?)?;
        scaled
            .broadcast_add(&self.beta.to_dtype(internal)?)?
            .to_dtype(dtype)
    }
}

/// Returns true if the CPU kernels can read a tensor: f32 on the CPU, and no variable.
pub(crate) fn is_constant(tensor: &Tensor) -> bool {
    tensor.dtype() == DType::F32 && matches!(tensor.device(), Device::Cpu) && !tensor.track_op()
}

/// γ, β and ε as plain values.
#[derive(Clone)]
pub(crate) struct NormConstants {
    gamma: Vec<f32>,
    beta: Vec<f32>,
    eps: f32,
}

/// Shows the width instead of the values.
impl fmt::Debug for NormConstants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NormConstants({})", self.gamma.len())
    }
}

impl NormConstants {
    /// Returns the kernel with these constants.
    pub(crate) fn kernel(&self) -> albert_kernels::LayerNorm<'_> {
        albert_kernels::LayerNorm {
            gamma: &self.gamma,
            beta: &self.beta,
            eps: self.eps,
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Eight f32 values summed in two orders, with results of up to 6.
    const ROUNDING: f32 = 2e-6;

    /// f16 has 11 bits, here of results up to 6, and fewer of the subnormal input.
    const HALF_ROUNDING: f32 = 0.02;

    fn norm(dtype: DType, eps: f64) -> Result<LayerNorm> {
        let gamma =
            Tensor::new(&[1f32, 2., 0.5, -1., 1., 1., 3., 1.], &Device::Cpu)?.to_dtype(dtype)?;
        let beta =
            Tensor::new(&[0f32, 1., 0., 0., -1., 0., 0., 2.], &Device::Cpu)?.to_dtype(dtype)?;
        Ok(LayerNorm {
            gamma,
            beta,
            eps,
            stacked: None,
        })
    }

    #[test]
    fn training_and_inference_agree_also_far_from_zero() -> Result<()> {
        let xs = Tensor::new(
            &[[0.25f32, -1.5, 0.75, 2.0, -0.5, 0.0, 1.5, -2.25]],
            &Device::Cpu,
        )?;
        let norm = norm(DType::F32, 1e-12)?;
        let reference = norm.forward_t(&xs, true)?;
        // Multiples of 1/4 are exact after these shifts too, so the result must not change.
        for shift in [0.0, 100.0, 4096.0] {
            for train in [true, false] {
                let shifted = norm.forward_t(&(&xs + shift)?, train)?;
                let delta = (shifted - &reference)?
                    .abs()?
                    .max_all()?
                    .to_scalar::<f32>()?;
                assert!(delta <= ROUNDING, "shift {shift}, train {train}: {delta:e}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_constant_row_becomes_the_bias() -> Result<()> {
        let norm = norm(DType::F32, 1e-12)?;
        for value in [0.1f32, 0.3, 1.1, 2.7] {
            let row = norm.forward_t(&Tensor::full(value, (1, 8), &Device::Cpu)?, false)?;
            assert_eq!(
                row.flatten_all()?.to_vec1::<f32>()?,
                norm.beta.to_vec1::<f32>()?,
                "{value}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_tiny_variance_survives_half_precision() -> Result<()> {
        // The squares of these differences underflow in f16.
        let xs = Tensor::new(
            &[[1e-4f32, 2e-4, 1e-4, 3e-4, 1e-4, 2e-4, 1e-4, 0.]],
            &Device::Cpu,
        )?;
        let half = norm(DType::F16, 1e-12)?
            .forward_t(&xs.to_dtype(DType::F16)?, false)?
            .to_dtype(DType::F32)?;
        let full = norm(DType::F32, 1e-12)?.forward_t(&xs, false)?;
        let delta = (half - full)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(delta <= HALF_ROUNDING, "{delta}");
        Ok(())
    }
}
