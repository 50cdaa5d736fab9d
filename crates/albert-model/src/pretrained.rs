//! Loads models from checkpoints.

use std::borrow::Cow;

use candle_core::Device;
use candle_nn::VarBuilder;

use crate::checkpoint::{Checkpoint, LoadOptions, WeightFormat};
use crate::config::AlbertConfig;
use crate::error::Result;
use crate::parameters::Head;

/// A model that can be loaded from a checkpoint.
pub trait Pretrained: Sized {
    /// The head of the model.
    const HEAD: Head;

    /// Creates the model from a [`VarBuilder`] at the root of the checkpoint's names (for
    /// [`AlbertModel`](crate::AlbertModel), at the level of the model itself).
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> candle_core::Result<Self>;

    /// Loads the model. [`Checkpoint::check`] reports the use of each tensor of the file.
    ///
    /// # Errors
    /// If the checkpoint lacks weights of this head, or one of them has an unexpected shape or
    /// type. Nothing is ever initialized at random.
    fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Self> {
        checkpoint.check(Self::HEAD)?;
        let vb = prepared(checkpoint, options)?.var_builder(options)?;
        Ok(Self::new(checkpoint.config(), vb)?)
    }
}

/// Returns the checkpoint, calibrated if int8 weights are requested and it has none.
pub(crate) fn prepared<'a>(
    checkpoint: &'a Checkpoint,
    options: &LoadOptions,
) -> Result<Cow<'a, Checkpoint>> {
    Ok(match options.weights {
        WeightFormat::Int8 if matches!(options.device, Device::Cpu) => {
            Cow::Owned(checkpoint.quantize()?)
        }
        _ => Cow::Borrowed(checkpoint),
    })
}
