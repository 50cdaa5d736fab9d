//! One transformer layer.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use crate::attention::{AlbertAttention, PackedAttention};
use crate::config::AlbertConfig;
use crate::feed_forward::{FeedForward, PackedFeedForward};
use crate::layer_norm::{LayerNorm, NormConstants};
use crate::packing::Sequences;

/// Attention, then the feed-forward network, each normalised after its residual.
///
/// ```text
/// a = AlbertAttention(x);   y = LayerNorm(a + FeedForward(a))
/// ```
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertLayer`.
#[derive(Debug, Clone)]
pub struct AlbertLayer {
    attention: AlbertAttention,
    feed_forward: FeedForward,
    norm: LayerNorm,
}

/// The weights of [`AlbertLayer`] for the CPU's own kernels.
#[derive(Debug)]
pub(crate) struct PackedLayer {
    pub(crate) attention: PackedAttention,
    pub(crate) feed_forward: PackedFeedForward,
    pub(crate) norm: NormConstants,
}

impl AlbertLayer {
    /// Takes `attention`, `ffn`, `ffn_output` and `full_layer_layer_norm` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            attention: AlbertAttention::new(config, vb.pp("attention"))?,
            norm: LayerNorm::new(
                config.hidden_size,
                config.layer_norm_eps,
                vb.pp("full_layer_layer_norm"),
            )?,
            feed_forward: FeedForward::new(config, vb)?,
        })
    }

    /// Its weights for the fused path, where all of them are packed.
    pub(crate) fn packed(&self) -> Result<Option<PackedLayer>> {
        let parts = (
            self.attention.packed()?,
            self.feed_forward.packed(),
            self.norm.constants()?,
        );
        let (Some(attention), Some(feed_forward), Some(norm)) = parts else {
            return Ok(None);
        };
        Ok(Some(PackedLayer {
            attention,
            feed_forward,
            norm,
        }))
    }

    /// Whether [`forward_packed`](Self::forward_packed) serves.
    pub(crate) fn takes_packed(&self) -> bool {
        self.attention.takes_packed()
    }

    /// For inference, over sequences without padding: `(ΣT, H)` → `(ΣT, H)`; `None` where something
    /// before it is trained.
    pub(crate) fn forward_packed(
        &self,
        hidden_states: &Tensor,
        sequences: &Sequences,
    ) -> Result<Option<Tensor>> {
        let attended = self.attention.forward_packed(hidden_states, sequences)?;
        attended
            .map(|attended| self.forward_attended(&attended, false))
            .transpose()
    }

    /// Returns the new hidden states and the attention probabilities.
    ///
    /// # Shapes
    /// - `hidden_states`: `(B, T, H)`
    /// - `mask`: `(B, 1, 1, T)`, from [`additive_mask`](crate::additive_mask)
    /// - returns `(B, T, H)` and `(B, N, T, T)`
    ///
    /// # Errors
    /// If the last dimension of `hidden_states` is not `hidden_size`, or the shapes differ.
    pub fn forward_t(
        &self,
        hidden_states: &Tensor,
        mask: Option<&Tensor>,
        train: bool,
    ) -> Result<(Tensor, Tensor)> {
        let (attended, probs) = self.attention.forward_t(hidden_states, mask, train)?;
        Ok((self.forward_attended(&attended, train)?, probs))
    }

    /// What follows attention.
    fn forward_attended(&self, attended: &Tensor, train: bool) -> Result<Tensor> {
        self.norm
            .forward_sum_t(attended, &self.feed_forward.forward(attended)?, train)
    }
}
