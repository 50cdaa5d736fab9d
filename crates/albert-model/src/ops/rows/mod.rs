//! The operations between a layer's matrix products, each as one pass over memory: residual and
//! layer norm, scaled and masked softmax, bias and activation. Candle's operations take up to ten
//! passes for each.
//!
//! `rows.cu` has the kernels, and `check.cpp` compares them with the formulas on the CPU. This
//! module also has the operations as plain loops, for tests of the code around the kernels.

#[cfg(feature = "cuda")]
mod cuda;

use albert_kernels::Activation;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp3, Device, Layout, Module, Result, Shape, Tensor, bail};

use crate::activation::HiddenAct;
use crate::ops::cuda::{from_f32, to_f32};

/// A row-wise computation on x, with two more inputs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RowKernel {
    /// `y = γ (s - mean s) / √(var s + ε) + β` with `s = x + r`: r `(…, width)`; γ and β `(2,
    /// width)`
    AddNorm { eps: f32 },
    /// `y = softmax(x + m)`: m `(…, width)`, each row of which applies to `rows_of_mask` rows of x;
    /// no mask if 0
    Softmax { rows_of_mask: usize },
    /// `y = act(x + b)`: b `(width)`
    Activate(HiddenAct),
}

impl RowKernel {
    /// Creates the kernel of an activation; `None` if it has no kernel.
    pub(crate) fn activation(act: HiddenAct) -> Option<Self> {
        function(act).map(|_| Self::Activate(act))
    }

    /// Computes `(…, width)` → `(…, width)`. An argument that a kernel does not use may be any
    /// tensor of the same type.
    pub(crate) fn apply(&self, xs: &Tensor, other: &Tensor, constants: &Tensor) -> Result<Tensor> {
        xs.contiguous()?
            .apply_op3_no_bwd(&other.contiguous()?, &constants.contiguous()?, self)
    }

    /// Checks the other inputs and returns the rows and columns of x.
    fn check(&self, [xs, other, constants]: [&Layout; 3]) -> Result<(usize, usize)> {
        let columns = xs.dims().last().copied().unwrap_or(0);
        if columns == 0 {
            bail!(
                "row kernels: expected rows, found the shape {:?}",
                xs.dims()
            )
        }
        let count = xs.shape().elem_count();
        let rows = count / columns;
        let elements = [other, constants].map(|layout| layout.shape().elem_count());
        let fits = match self {
            Self::AddNorm { .. } => elements == [count, 2 * columns],
            Self::Softmax {
                rows_of_mask: 0, ..
            } => true,
            Self::Softmax { rows_of_mask, .. } => elements[0] * rows_of_mask == count,
            Self::Activate(_) => elements[0] == columns,
        };
        if !fits || i32::try_from(rows).is_err() || i32::try_from(columns).is_err() {
            let [xs, other, constants] = [xs, other, constants].map(Layout::dims);
            bail!("{self:?}: the shapes {xs:?}, {other:?} and {constants:?} do not match")
        }
        Ok((rows, columns))
    }

    /// Computes one row by the formulas.
    fn row(&self, row: usize, xs: &[f32], other: &[f32], constants: &[f32]) -> Result<Vec<f32>> {
        let columns = xs.len();
        let sums = |addends: &[f32]| {
            xs.iter()
                .zip(addends)
                .map(|(x, addend)| x + addend)
                .collect::<Vec<f32>>()
        };
        match *self {
            Self::AddNorm { eps } => {
                let sums = sums(&other[row * columns..]);
                let mean = sums.iter().sum::<f32>() / columns as f32;
                let variance =
                    sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f32>() / columns as f32;
                let deviation = (variance + eps).sqrt();
                let (gamma, beta) = constants.split_at(columns);
                let norm = |((sum, gamma), beta)| gamma * (sum - mean) / deviation + beta;
                Ok(sums.iter().zip(gamma).zip(beta).map(norm).collect())
            }
            Self::Softmax { rows_of_mask } => {
                let scores = match rows_of_mask {
                    0 => xs.to_vec(),
                    rows => sums(&other[row / rows * columns..]),
                };
                let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let powers: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
                let sum: f32 = powers.iter().sum();
                Ok(powers.iter().map(|power| power / sum).collect())
            }
            Self::Activate(act) => act
                .forward(&Tensor::new(sums(other), &Device::Cpu)?)?
                .to_vec1(),
        }
    }
}

/// Returns the number of an activation in `rows.cu`, which has the activations of published ALBERT
/// checkpoints.
fn function(act: HiddenAct) -> Option<i32> {
    match act.kernel() {
        Activation::Gelu => Some(0),
        Activation::GeluTanh => Some(1),
        Activation::Relu => Some(2),
        _ => None,
    }
}

impl CustomOp3 for RowKernel {
    fn name(&self) -> &'static str {
        match self {
            Self::AddNorm { .. } => "add_norm",
            Self::Softmax { .. } => "softmax",
            Self::Activate(_) => "activate",
        }
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        xs_layout: &Layout,
        other: &CpuStorage,
        other_layout: &Layout,
        constants: &CpuStorage,
        constants_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, columns) = self.check([xs_layout, other_layout, constants_layout])?;
        let other = to_f32(other, other_layout)?;
        let constants = to_f32(constants, constants_layout)?;
        let rows = to_f32(xs, xs_layout)?;
        let rows = rows.chunks_exact(columns).enumerate();
        let ys = rows.map(|(row, xs)| self.row(row, xs, &other, &constants));
        let ys = ys.collect::<Result<Vec<_>>>()?.concat();
        Ok((from_f32(ys, xs.dtype())?, xs_layout.shape().clone()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        xs: &candle_core::CudaStorage,
        xs_layout: &Layout,
        other: &candle_core::CudaStorage,
        other_layout: &Layout,
        constants: &candle_core::CudaStorage,
        constants_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let layouts = [xs_layout, other_layout, constants_layout];
        self.launch([xs, other, constants], layouts, self.check(layouts)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{D, DType};

    use super::*;

    /// f32 sums in two orders, with results up to 6.
    const ROUNDING: f32 = 5e-6;

    fn wave(shape: &[usize], step: f64) -> Result<Tensor> {
        let count = shape.iter().product::<usize>() as u32;
        let numbers = Tensor::arange(0u32, count, &Device::Cpu)?.to_dtype(DType::F32)?;
        ((numbers * step)?.sin()? * 3.0)?.reshape(shape)
    }

    fn assert_close(expected: &Tensor, found: &Tensor) -> Result<()> {
        let delta = (expected - found)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(delta <= ROUNDING, "{delta:e}");
        Ok(())
    }

    #[test]
    fn a_mask_is_that_of_the_rows_own_sequence() -> Result<()> {
        let (scores, mask) = (wave(&[2, 3, 5, 5], 0.7)?, wave(&[2, 1, 1, 5], 1.3)?);
        let found = RowKernel::Softmax { rows_of_mask: 15 }.apply(&scores, &mask, &scores)?;
        assert_close(
            &candle_nn::ops::softmax(&scores.broadcast_add(&mask)?, D::Minus1)?,
            &found,
        )?;
        let found = RowKernel::Softmax { rows_of_mask: 0 }.apply(&scores, &scores, &scores)?;
        assert_close(&candle_nn::ops::softmax(&scores, D::Minus1)?, &found)
    }

    #[test]
    fn every_activation_with_a_kernel_is_itself() -> Result<()> {
        let (xs, bias) = (wave(&[2, 3, 4], 0.9)?, wave(&[4], 0.4)?);
        for act in [HiddenAct::Gelu, HiddenAct::GeluNew, HiddenAct::Relu] {
            let kernel = RowKernel::activation(act).expect("ALBERT's own have kernels");
            assert_close(
                &act.forward(&xs.broadcast_add(&bias)?)?,
                &kernel.apply(&xs, &bias, &bias)?,
            )?;
        }
        assert!(RowKernel::activation(HiddenAct::Mish).is_none());
        Ok(())
    }

    #[test]
    fn inputs_that_do_not_go_together_are_refused() -> Result<()> {
        let (xs, short) = (wave(&[2, 4], 1.0)?, wave(&[3], 1.0)?);
        for kernel in [
            RowKernel::AddNorm { eps: 0.0 },
            RowKernel::Softmax { rows_of_mask: 1 },
        ] {
            assert!(kernel.apply(&xs, &short, &xs).is_err(), "{kernel:?}");
        }
        assert!(
            RowKernel::Activate(HiddenAct::Relu)
                .apply(&xs, &short, &short)
                .is_err()
        );
        Ok(())
    }
}
