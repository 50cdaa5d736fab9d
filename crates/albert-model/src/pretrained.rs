//! Loads models from checkpoints.

use candle_nn::VarBuilder;

use crate::checkpoint::{Checkpoint, LoadOptions};
use crate::config::AlbertConfig;
use crate::error::Result;
use crate::model::AlbertModel;
use crate::parameters::Head;
use crate::shared_encoder::SharedEncoder;

/// A model that can be loaded from a checkpoint.
pub trait Pretrained: Sized {
    /// The head of the model.
    const HEAD: Head;

    /// Creates the model from a [`VarBuilder`] at the root of the checkpoint's names (for
    /// [`AlbertModel`], at the level of the model itself).
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> candle_core::Result<Self>;

    /// Creates the model on an encoder, which other models may share, with the head's tensors from
    /// a [`VarBuilder`] at the root of the checkpoint's names.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape, or the head reads a pooler and the encoder has
    /// none.
    fn from_encoder(albert: AlbertModel, vb: VarBuilder<'_>) -> candle_core::Result<Self>;

    /// Loads the model; an [`AlbertModel`] with the pooler if the checkpoint has one.
    /// [`Checkpoint::check`] reports the use of each tensor of the file.
    ///
    /// # Errors
    /// If the checkpoint lacks weights of this head, or one of them has an unexpected shape or
    /// type. Nothing is ever initialized at random.
    fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Self> {
        SharedEncoder::new(checkpoint.clone(), options.clone()).load()
    }
}
