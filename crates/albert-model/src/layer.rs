//! One transformer layer.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use crate::attention::{AlbertAttention, PackedAttention};
use crate::config::AlbertConfig;
use crate::dropout::dropout;
use crate::feed_forward::{FeedForward, PackedFeedForward};
use crate::layer_norm::{LayerNorm, NormConstants};
use crate::parameters::{ATTENTION, LAYER_NORM};
use crate::ragged::Sequences;

/// Attention, then the feed-forward network, each followed by a residual and a layer norm.
///
/// ```text
/// a = AlbertAttention(x);   y = LayerNorm(a + dropout(FeedForward(a)))
/// ```
///
/// A BERT has this dropout. An ALBERT has none here in transformers, though Google's code has it;
/// this follows transformers.
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertLayer`; `modeling_bert.py`,
/// `BertOutput`.
#[derive(Debug, Clone)]
pub struct AlbertLayer {
    attention: AlbertAttention,
    feed_forward: FeedForward,
    norm: LayerNorm,
    output_dropout_prob: f64,
}

/// The weights of [`AlbertLayer`], packed for the fused path.
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
            attention: AlbertAttention::new(config, vb.pp(ATTENTION))?,
            norm: LayerNorm::new(config.hidden_size, config.layer_norm_eps, vb.pp(LAYER_NORM))?,
            feed_forward: FeedForward::new(config, vb)?,
            output_dropout_prob: config.feed_forward_dropout(),
        })
    }

    /// Returns the weights for the fused path, if all of them are packed.
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

    /// Returns true if [`forward_ragged`](Self::forward_ragged) is available.
    pub(crate) fn takes_ragged(&self) -> bool {
        self.attention.takes_ragged()
    }

    /// Runs inference over ragged sequences with the CUDA kernels: `(ΣT, H)` → `(ΣT, H)`.
    pub(crate) fn forward_ragged(
        &self,
        hidden_states: &Tensor,
        sequences: &Sequences,
    ) -> Result<Tensor> {
        let attended = self.attention.forward_ragged(hidden_states, sequences)?;
        self.forward_attended(&attended, false)
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

    /// Runs the feed-forward sub-layer.
    fn forward_attended(&self, attended: &Tensor, train: bool) -> Result<Tensor> {
        let output = dropout(
            &self.feed_forward.forward(attended)?,
            self.output_dropout_prob,
            train,
        )?;
        self.norm.forward_sum_t(attended, &output, train)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::VarMap;

    use super::*;
    use crate::ModelType;

    #[test]
    fn a_bert_drops_out_after_its_feed_forward_network_and_an_albert_does_not() -> Result<()> {
        for (model_type, drops) in [(ModelType::Albert, false), (ModelType::Bert, true)] {
            let config = AlbertConfig {
                model_type,
                hidden_size: 8,
                num_attention_heads: 2,
                intermediate_size: 12,
                hidden_dropout_prob: 0.5,
                initializer_range: 0.5,
                ..AlbertConfig::bert_base()
            };
            let variables = VarMap::new();
            let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
            let layer = AlbertLayer::new(&config, vb)?;
            let attended = Tensor::rand(-1f32, 1., (1, 3, 8), &Device::Cpu)?;
            let states = |train| {
                let states = layer.forward_attended(&attended, train)?;
                states.flatten_all()?.to_vec1::<f32>()
            };
            let (trained, inferred) = (states(true)?, states(false)?);
            let pairs = trained.iter().zip(&inferred);
            let largest = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert_eq!(largest > 1e-4, drops, "{model_type}: {largest}");
        }
        Ok(())
    }
}
