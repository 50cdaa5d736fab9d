//! Layer norm on the CPU, in f32.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, bail};
use rayon::prelude::*;

use super::{f32_values, instruction_set};

/// The number of rows that a thread takes at a time.
const ROWS_AT_ONCE: usize = 32;

/// `y = γ (x - mean x) / √(var x + ε) + β` over the last dimension, for inference.
///
/// # Shapes
/// - `x`: `(…, width)`
/// - `γ` and `β`: `(width)`
/// - returns `(…, width)`
pub(crate) struct RowNorm {
    pub(crate) eps: f32,
}

impl CustomOp3 for RowNorm {
    fn name(&self) -> &'static str {
        "row-norm"
    }

    fn cpu_fwd(
        &self,
        xs: &CpuStorage,
        xs_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        beta: &CpuStorage,
        beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (xs, gamma, beta) = (
            f32_values(xs, xs_layout)?,
            f32_values(gamma, gamma_layout)?,
            f32_values(beta, beta_layout)?,
        );
        let width = gamma.len();
        if beta.len() != width || xs_layout.dims().last() != Some(&width) {
            bail!(
                "layer norm: expected a last dimension of {width}, found the shape {:?}",
                xs_layout.dims()
            )
        }
        let instructions = instruction_set()?;
        let norm = albert_kernels::LayerNorm {
            gamma,
            beta,
            eps: self.eps,
        };
        let mut ys = xs.to_vec();
        ys.par_chunks_mut(width * ROWS_AT_ONCE)
            .for_each(|rows| norm.apply(instructions, rows));
        Ok((CpuStorage::F32(ys), xs_layout.shape().clone()))
    }
}
