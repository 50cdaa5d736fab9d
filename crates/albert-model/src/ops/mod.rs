//! Operations of this crate in place of Candle's: one file for each, CPU and CUDA side by side.
//!
//! - [`packed_linear`]: dense layers whose weights are packed in panels, in f32 or int8 (CPU)
//! - [`quantized_weight`]: an int8 weight, as a `VarBuilder` of a checkpoint provides it
//! - [`layer_norm`]: layer norm by rows (CPU)
//! - [`softmax`], [`activation`]: the fastest form that serves an input
//! - [`attention`]: attention over ragged sequences (CUDA)
//! - [`rows`]: norm, softmax and activation in one pass over memory (CUDA)
//! - [`cuda`]: the choice between these CUDA kernels and Candle's operations
//!
//! None of them has a backward pass. They are reached only where nothing upstream is tracked.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod cuda;
pub(crate) mod layer_norm;
pub(crate) mod packed_linear;
pub(crate) mod quantized_weight;
pub(crate) mod rows;
pub(crate) mod softmax;

use albert_kernels::InstructionSet;
use candle_core::{CpuStorage, Layout, Result, bail};

/// Returns the instruction set that kernels run on.
fn instruction_set() -> Result<InstructionSet> {
    InstructionSet::current().map_err(candle_core::Error::wrap)
}

/// Returns the values of a contiguous f32 tensor.
fn f32_values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (layout.contiguous_offsets(), storage) {
        (Some((start, end)), CpuStorage::F32(values)) => Ok(&values[start..end]),
        _ => bail!("expected a contiguous tensor of f32"),
    }
}
