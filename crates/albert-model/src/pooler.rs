//! The pooler: one vector per sequence, from its first token.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::AlbertConfig;
use crate::linear::Linear;

/// `tanh(h_[CLS] W + b)`, which the sentence-order head and sequence classifiers read.
///
/// It was trained for these; the mean of the hidden states makes a better sentence embedding.
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertModel.pooler`.
#[derive(Debug, Clone)]
pub struct AlbertPooler {
    dense: Linear,
}

impl AlbertPooler {
    /// Takes `weight` and `bias` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let h = config.hidden_size;
        Ok(Self {
            dense: Linear::new(h, h, config.initializer_range, vb)?,
        })
    }

    /// Pools the hidden states of first tokens: `(B, H)` → `(B, H)`.
    pub(crate) fn forward_first(&self, first: &Tensor) -> Result<Tensor> {
        self.dense.forward(first)?.tanh()
    }
}

impl Module for AlbertPooler {
    /// # Shapes
    /// - `hidden_states`: `(B, T, H)`
    /// - returns `(B, H)`
    ///
    /// # Errors
    /// If the last dimension is not `hidden_size`, or the sequence is empty.
    fn forward(&self, hidden_states: &Tensor) -> Result<Tensor> {
        let first = hidden_states.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?; // (B, H)
        self.forward_first(&first)
    }
}
