//! What a model reads.

use candle_core::Tensor;

use crate::outputs::Outputs;

/// The tokens of a batch of sequences, padded on the right to the same length.
///
/// ```
/// use albert_model::candle_core::{Device, Tensor};
/// use albert_model::{ModelInput, Outputs};
///
/// let ids = Tensor::new(&[[2u32, 48, 25, 3], [2, 21, 3, 0]], &Device::Cpu)?;
/// let mask = Tensor::new(&[[1u32, 1, 1, 1], [1, 1, 1, 0]], &Device::Cpu)?;
/// let input = ModelInput::new(ids).with_attention_mask(mask).with_outputs(Outputs::ATTENTIONS);
/// # Ok::<(), albert_model::candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelInput {
    pub(crate) ids: Tensor,
    pub(crate) attention_mask: Option<Tensor>,
    pub(crate) token_type_ids: Option<Tensor>,
    pub(crate) position_ids: Option<Tensor>,
    pub(crate) outputs: Outputs,
}

impl ModelInput {
    /// Token ids, `(B, T)` (for multiple choice `(B, choices, T)`), u32, i64 or u8. Every token is
    /// attended to, every token type is 0 and positions count from 0, until said otherwise.
    pub fn new(ids: Tensor) -> Self {
        Self {
            ids,
            attention_mask: None,
            token_type_ids: None,
            position_ids: None,
            outputs: Outputs::empty(),
        }
    }

    /// 1 for a token and 0 for padding, in the shape of the ids and any numeric type.
    ///
    /// A padded batch without it gives other numbers than its rows alone.
    ///
    /// Where the ids are on a GPU the mask may stay on the CPU. That is the better place: the model
    /// sees there which tokens to leave out, and would have to wait for the GPU to read it from
    /// there.
    pub fn with_attention_mask(self, attention_mask: Tensor) -> Self {
        Self {
            attention_mask: Some(attention_mask),
            ..self
        }
    }

    /// 0 for tokens of the first segment and 1 for the second's, in the shape of the ids.
    pub fn with_token_type_ids(self, token_type_ids: Tensor) -> Self {
        Self {
            token_type_ids: Some(token_type_ids),
            ..self
        }
    }

    /// Positions, in the shape of the ids or, the same for every row, `(T)`.
    pub fn with_position_ids(self, position_ids: Tensor) -> Self {
        Self {
            position_ids: Some(position_ids),
            ..self
        }
    }

    /// Asks for intermediate results.
    pub fn with_outputs(self, outputs: Outputs) -> Self {
        Self { outputs, ..self }
    }
}
