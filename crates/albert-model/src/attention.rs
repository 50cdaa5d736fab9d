//! Self-attention with its output projection, residual and layer norm.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::AlbertConfig;
use crate::dropout::dropout;
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;

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
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    norm: LayerNorm,
    heads: usize,
    head_size: usize,
    probs_dropout_prob: f64,
    output_dropout_prob: f64,
}

impl AlbertAttention {
    /// Takes `query`, `key`, `value`, `dense` and `LayerNorm` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let h = config.hidden_size;
        let linear = |name: &str| Linear::new(h, h, config.initializer_range, vb.pp(name));
        Ok(Self {
            query: linear("query")?,
            key: linear("key")?,
            value: linear("value")?,
            output: linear("dense")?,
            norm: LayerNorm::new(h, config.layer_norm_eps, vb.pp("LayerNorm"))?,
            heads: config.num_attention_heads,
            head_size: config.head_size(),
            probs_dropout_prob: config.attention_probs_dropout_prob,
            output_dropout_prob: config.hidden_dropout_prob,
        })
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
        let split = |projection: &Linear| {
            let projected =
                projection.forward(hidden_states)?.reshape((batch, tokens, self.heads, self.head_size))?;
            projected.transpose(1, 2)?.contiguous() // (B, N, T, D)
        };
        let query = (split(&self.query)? / (self.head_size as f64).sqrt())?;
        let key = split(&self.key)?;
        let value = split(&self.value)?;

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

/// Softmax over the last dimension, in f32 at least. Candle's fused form has no backward pass.
fn softmax(scores: &Tensor, train: bool) -> Result<Tensor> {
    match scores.dtype() {
        DType::F16 | DType::BF16 => softmax(&scores.to_dtype(DType::F32)?, train)?.to_dtype(scores.dtype()),
        _ if train => candle_nn::ops::softmax(scores, D::Minus1),
        _ => candle_nn::ops::softmax_last_dim(&scores.contiguous()?),
    }
}
