//! Loading a model from a checkpoint.

use std::borrow::Cow;

use candle_core::Device;
use candle_nn::VarBuilder;

use crate::checkpoint::{Checkpoint, LoadOptions, LoadReport, WeightType};
use crate::config::AlbertConfig;
use crate::error::Result;
use crate::parameters::Head;

/// A model that trained weights can be loaded into.
pub trait Pretrained: Sized {
    /// What the model ends in.
    const HEAD: Head;

    /// Makes the model from a [`VarBuilder`] at the root of the checkpoint's names (for
    /// [`AlbertModel`](crate::AlbertModel), at its own level).
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> candle_core::Result<Self>;

    /// Loads the model, and reports what became of each tensor of the file.
    ///
    /// # Errors
    /// If the checkpoint has no weights for this head, or any of them has a shape or type that
    /// the configuration does not expect. Nothing is ever initialised at random.
    fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<(Self, LoadReport)> {
        let report = checkpoint.check(Self::HEAD)?;
        let model = Self::new(
            checkpoint.config(),
            prepared(checkpoint, options)?.var_builder(options)?,
        )?;
        Ok((model, report))
    }
}

/// The checkpoint, ready for the weights that are asked for.
pub(crate) fn prepared<'a>(
    checkpoint: &'a Checkpoint,
    options: &LoadOptions,
) -> Result<Cow<'a, Checkpoint>> {
    Ok(match options.dtype {
        WeightType::Int8 if matches!(options.device, Device::Cpu) => {
            Cow::Owned(checkpoint.quantize()?)
        }
        _ => Cow::Borrowed(checkpoint),
    })
}
