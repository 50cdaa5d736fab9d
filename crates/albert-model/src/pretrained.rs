//! Loading a model from a checkpoint.

use std::borrow::Cow;

use candle_core::Device;
use candle_nn::VarBuilder;

use crate::checkpoint::{Checkpoint, LoadOptions, WeightFormat};
use crate::config::AlbertConfig;
use crate::error::Result;
use crate::parameters::Head;

/// A model that trained weights can be loaded into.
pub trait Pretrained: Sized {
    /// The head of the model.
    const HEAD: Head;

    /// Creates the model from a [`VarBuilder`] at the root of the checkpoint's names (for
    /// [`AlbertModel`](crate::AlbertModel), at its own level).
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> candle_core::Result<Self>;

    /// Loads the model. [`Checkpoint::check`] reports the use of each tensor of the file.
    ///
    /// # Errors
    /// If the checkpoint has no weights for this head, or any of them has a shape or type that
    /// the configuration does not expect. Nothing is ever initialized at random.
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
