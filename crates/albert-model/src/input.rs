//! The input of a model: a batch of sequences, padded or ragged.

use candle_core::Tensor;

use crate::outputs::Outputs;

/// The tokens whose last hidden states are read.
///
/// Inference on the CPU computes the output projection and the feed-forward network of the last
/// layer for these tokens alone, and every value that is read keeps its bits. For a classifier,
/// which reads one token, this saves 6 % of the products of 12 layers and 12 % of those of 6.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokensRead {
    /// Every token.
    #[default]
    All,
    /// The first token of each sequence, which the pooler reads too.
    First,
    /// Some tokens, each `b × T + t` for token `t` of row `b`; in a ragged batch, the index of the
    /// token. With a pooler, the first of each sequence as well.
    At(Vec<u32>),
}

/// The tokens of a batch of sequences, padded on the right to the same length, or ragged.
///
/// ```
/// use albert_model::candle_core::{Device, Tensor};
/// use albert_model::{ModelInput, Outputs};
///
/// let ids = Tensor::new(&[[2u32, 48, 25, 3], [2, 21, 3, 0]], &Device::Cpu)?;
/// let mask = Tensor::new(&[[1u32, 1, 1, 1], [1, 1, 1, 0]], &Device::Cpu)?;
/// let input = ModelInput::new(ids).with_attention_mask(mask).with_outputs(Outputs::ATTENTIONS);
///
/// // The same sequences, one after another, without padding.
/// let ids = Tensor::new(&[2u32, 48, 25, 3, 2, 21, 3], &Device::Cpu)?;
/// let input = ModelInput::ragged(ids, vec![4, 3]);
/// # Ok::<(), albert_model::candle_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelInput {
    pub(crate) ids: Tensor,
    /// The lengths of ragged sequences; `None` for a padded batch.
    pub(crate) lengths: Option<Vec<usize>>,
    pub(crate) attention_mask: Option<Tensor>,
    pub(crate) token_type_ids: Option<Tensor>,
    pub(crate) position_ids: Option<Tensor>,
    pub(crate) outputs: Outputs,
    pub(crate) tokens_read: TokensRead,
}

impl ModelInput {
    /// Creates a padded batch from token ids, `(B, T)` (for multiple choice `(B, choices, T)`), of
    /// type u32, i64 or u8. Unless set, every token is attended to, every token type is 0 and
    /// positions count from 0.
    pub fn new(ids: Tensor) -> Self {
        Self {
            ids,
            lengths: None,
            attention_mask: None,
            token_type_ids: None,
            position_ids: None,
            outputs: Outputs::empty(),
            tokens_read: TokensRead::All,
        }
    }

    /// Creates a ragged batch: the token ids of all sequences, one after another, `(ΣT)`, and the
    /// length of each sequence. Results are ragged as well: `(ΣT, …)` in place of `(B, T, …)`.
    ///
    /// Nothing is computed for padding, so there is none to mask. Intermediate results
    /// ([`Outputs`]) are available from padded batches only.
    pub fn ragged(ids: Tensor, lengths: Vec<usize>) -> Self {
        Self {
            lengths: Some(lengths),
            ..Self::new(ids)
        }
    }

    /// Returns the token ids, `(B, T)`, `(B, choices, T)` or `(ΣT)`.
    pub fn ids(&self) -> &Tensor {
        &self.ids
    }

    /// Returns the length of each sequence of a ragged batch.
    pub fn lengths(&self) -> Option<&[usize]> {
        self.lengths.as_deref()
    }

    /// Sets the mask: 1 for a token and 0 for padding, in the shape of the ids and any numeric
    /// type.
    ///
    /// Without a mask, the padding of a batch changes the results of its rows.
    ///
    /// If the ids are on a GPU, prefer a mask on the CPU: the model reads it to skip padding, and
    /// reading it from the GPU would stall.
    pub fn with_attention_mask(self, attention_mask: Tensor) -> Self {
        Self {
            attention_mask: Some(attention_mask),
            ..self
        }
    }

    /// Sets token types, in the shape of the ids: 0 for tokens of the first segment and 1 for those
    /// of the second.
    pub fn with_token_type_ids(self, token_type_ids: Tensor) -> Self {
        Self {
            token_type_ids: Some(token_type_ids),
            ..self
        }
    }

    /// Sets positions, in the shape of the ids, or `(T)` for the same positions in every row of a
    /// padded batch.
    pub fn with_position_ids(self, position_ids: Tensor) -> Self {
        Self {
            position_ids: Some(position_ids),
            ..self
        }
    }

    /// Requests optional outputs, such as intermediate results.
    pub fn with_outputs(self, outputs: Outputs) -> Self {
        Self { outputs, ..self }
    }

    /// Limits the last hidden states to those that are read: the others may be zero. The shapes of
    /// results stay the same, and so does every bit that is read.
    ///
    /// Heads that read a part of the tokens set this by themselves. Training and passes with
    /// intermediate results ([`Outputs`]) compute all tokens.
    pub fn with_tokens_read(self, tokens_read: TokensRead) -> Self {
        Self {
            tokens_read,
            ..self
        }
    }

    /// Sets the tokens that a head reads, unless the caller has limited them already.
    pub(crate) fn read_by_head(&self, tokens_read: TokensRead) -> Self {
        match self.tokens_read {
            TokensRead::All => self.clone().with_tokens_read(tokens_read),
            _ => self.clone(),
        }
    }
}
