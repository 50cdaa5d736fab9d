//! Self-attention with its output projection, residual and layer norm.

use std::sync::Arc;

use candle_core::{D, DType, Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::AlbertConfig;
use crate::dropout::dropout;
use crate::layer_norm::{LayerNorm, NormConstants};
use crate::linear::{Linear, PackedLinear};

/// One attention sub-layer.
///
/// ```text
/// P = softmax(Q Kᵀ / √D + M);   y = LayerNorm(x + dropout(dropout(P) V Wₒ + bₒ))
/// ```
///
/// Source: Vaswani et al. 2017, eq. 1; google-research/albert b772393, `modeling.py`,
/// `attention_layer`; transformers 4.46.3, `modeling_albert.py`, `AlbertAttention`.
#[derive(Debug, Clone)]
pub struct AlbertAttention {
    projections: Projections,
    output: Linear,
    norm: LayerNorm,
    heads: usize,
    head_size: usize,
    probs_dropout_prob: f64,
    output_dropout_prob: f64,
}

/// From hidden states to queries, keys and values.
#[derive(Debug, Clone)]
enum Projections {
    Apart {
        query: Linear,
        key: Linear,
        value: Linear,
    },
    /// One product, `(H, 3H)`
    Fused(Linear),
}

impl AlbertAttention {
    /// Takes `query`, `key`, `value`, `dense` and `LayerNorm` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let h = config.hidden_size;
        let linear = |name: &str| Linear::new(h, h, config.initializer_range, vb.pp(name));
        let parts = ["query", "key", "value"].map(|name| vb.pp(name));
        let projections = match Linear::side_by_side(h, h, config.initializer_range, &parts)? {
            Some(fused) => Projections::Fused(fused),
            None => {
                Projections::Apart { query: linear("query")?, key: linear("key")?, value: linear("value")? }
            }
        };
        Ok(Self {
            projections,
            output: linear("dense")?,
            norm: LayerNorm::new(h, config.layer_norm_eps, vb.pp("LayerNorm"))?,
            heads: config.num_attention_heads,
            head_size: config.head_size(),
            probs_dropout_prob: config.attention_probs_dropout_prob,
            output_dropout_prob: config.hidden_dropout_prob,
        })
    }

    /// Its weights for the fused path, where all of them are packed.
    pub(crate) fn packed(&self) -> Result<Option<PackedAttention>> {
        let Projections::Fused(projections) = &self.projections else { return Ok(None) };
        let parts = (projections.packed(), self.output.packed(), self.norm.constants()?);
        let (Some(projections), Some(output), Some(norm)) = parts else { return Ok(None) };
        Ok(Some(PackedAttention { projections, output, norm }))
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
        let (batch, tokens, h) = hidden_states.dims3()?;
        let split = |projected: Tensor| {
            let projected = projected.reshape((batch, tokens, self.heads, self.head_size))?;
            projected.transpose(1, 2)?.contiguous() // (B, N, T, D)
        };
        let [query, key, value] = match &self.projections {
            Projections::Apart { query, key, value } => {
                [query.forward(hidden_states)?, key.forward(hidden_states)?, value.forward(hidden_states)?]
            }
            Projections::Fused(projection) => {
                let projected = projection.forward(hidden_states)?; // (B, T, 3H)
                [projected.narrow(2, 0, h)?, projected.narrow(2, h, h)?, projected.narrow(2, 2 * h, h)?]
            }
        };
        let query = (split(query)? / (self.head_size as f64).sqrt())?;
        let (key, value) = (split(key)?, split(value)?);

        let mut scores = query.matmul(&key.transpose(2, 3)?)?; // (B, N, T, T)
        if let Some(mask) = mask {
            scores = scores.broadcast_add(mask)?;
        }
        let probs = dropout(&softmax(&scores, train)?, self.probs_dropout_prob, train)?;

        let context = probs.matmul(&value)?; // (B, N, T, D)
        let context = context.transpose(1, 2)?.reshape((batch, tokens, h))?;
        let output = dropout(&self.output.forward(&context)?, self.output_dropout_prob, train)?;
        Ok((self.norm.forward_t(&(hidden_states + output)?, train)?, probs))
    }
}

/// The weights of [`AlbertAttention`] for the CPU's own kernels.
#[derive(Debug)]
pub(crate) struct PackedAttention {
    /// Queries, keys and values, `(H, 3H)`
    pub(crate) projections: Arc<PackedLinear>,
    pub(crate) output: Arc<PackedLinear>,
    pub(crate) norm: NormConstants,
}

/// Softmax over the last dimension, in f32 at least. Candle's fused form has no backward pass.
fn softmax(scores: &Tensor, train: bool) -> Result<Tensor> {
    match scores.dtype() {
        DType::F16 | DType::BF16 => softmax(&scores.to_dtype(DType::F32)?, train)?.to_dtype(scores.dtype()),
        _ if train => candle_nn::ops::softmax(scores, D::Minus1),
        _ => candle_nn::ops::softmax_last_dim(&scores.contiguous()?),
    }
}
