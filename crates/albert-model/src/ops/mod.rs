//! Custom operations that replace Candle's, one file each, with CPU and CUDA code next to each
//! other.
//!
//! - [`packed_linear`]: dense layers whose weights are packed in panels, in f32 or int8 (CPU)
//! - [`dense`]: the weight and bias of a dense layer, before they are laid out
//! - [`quantized_weight`]: an int8 weight, as a `VarBuilder` of a checkpoint provides it
//! - [`layer_norm`]: layer norm by rows (CPU)
//! - [`softmax`], [`activation`]: the fastest form for the input
//! - [`attention`]: attention over ragged sequences (CUDA)
//! - [`rows`]: norm, softmax and activation in one pass over memory (CUDA)
//! - [`cuda`]: chooses between these CUDA kernels and Candle's operations
//!
//! None of them has a backward pass, so they are only used if no gradient is needed.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod cuda;
pub(crate) mod dense;
pub(crate) mod layer_norm;
pub(crate) mod packed_linear;
pub(crate) mod quantized_weight;
pub(crate) mod rows;
pub(crate) mod softmax;

use albert_kernels::InstructionSet;
use candle_core::{CpuStorage, Layout, Result, bail};

/// Returns the instruction set of the kernels.
pub(crate) fn instruction_set() -> Result<InstructionSet> {
    InstructionSet::current().map_err(candle_core::Error::wrap)
}

/// Returns the values of a contiguous f32 tensor.
pub(crate) fn f32_values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (layout.contiguous_offsets(), storage) {
        (Some((start, end)), CpuStorage::F32(values)) => Ok(&values[start..end]),
        _ => bail!("expected a contiguous tensor of f32"),
    }
}
