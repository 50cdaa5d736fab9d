//! Self-attention with its output projection, residual and layer norm.

use std::sync::Arc;

use candle_core::{D, DType, Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::AlbertConfig;
use crate::dropout::dropout;
use crate::gpu_kernels::{self, Attention, RowKernel};
use crate::layer_norm::{LayerNorm, NormConstants};
use crate::linear::{Linear, PackedLinear};
use crate::packing::Sequences;

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
    /// Attention without padding, where it serves.
    kernel: Option<Attention>,
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
            None => Projections::Apart {
                query: linear("query")?,
                key: linear("key")?,
                value: linear("value")?,
            },
        };
        let (heads, head_size) = (config.num_attention_heads, config.head_size());
        Ok(Self {
            projections,
            output: linear("dense")?,
            norm: LayerNorm::new(h, config.layer_norm_eps, vb.pp("LayerNorm"))?,
            kernel: Attention::new(heads, head_size, vb.device(), vb.dtype())?,
            heads,
            head_size,
            probs_dropout_prob: config.attention_probs_dropout_prob,
            output_dropout_prob: config.hidden_dropout_prob,
        })
    }

    /// Its weights for the fused path, where all of them are packed.
    pub(crate) fn packed(&self) -> Result<Option<PackedAttention>> {
        let Projections::Fused(projections) = &self.projections else {
            return Ok(None);
        };
        let parts = (
            projections.packed(),
            self.output.packed(),
            self.norm.constants()?,
        );
        let (Some(projections), Some(output), Some(norm)) = parts else {
            return Ok(None);
        };
        Ok(Some(PackedAttention {
            projections,
            output,
            norm,
        }))
    }

    /// Whether [`forward_packed`](Self::forward_packed) serves.
    pub(crate) fn takes_packed(&self) -> bool {
        self.kernel.is_some() && matches!(self.projections, Projections::Fused(_))
    }

    /// For inference, over sequences without padding; `None` where something before it is trained.
    ///
    /// # Shapes
    /// - `hidden_states`: `(ΣT, H)`
    /// - returns `(ΣT, H)`
    pub(crate) fn forward_packed(
        &self,
        hidden_states: &Tensor,
        sequences: &Sequences,
    ) -> Result<Option<Tensor>> {
        let (Some(kernel), Projections::Fused(projections)) = (self.kernel, &self.projections)
        else {
            return Ok(None);
        };
        if hidden_states.track_op() {
            return Ok(None);
        }
        let context = kernel.apply(&projections.forward(hidden_states)?, sequences)?;
        self.norm
            .forward_sum_t(hidden_states, &self.output.forward(&context)?, false)
            .map(Some)
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
        let [query, key, value] = match &self.projections {
            Projections::Apart { query, key, value } => {
                let project = |linear: &Linear| {
                    let split = (batch, tokens, self.heads, self.head_size);
                    linear
                        .forward(hidden_states)?
                        .reshape(split)?
                        .transpose(1, 2)?
                        .contiguous()
                };
                [project(query)?, project(key)?, project(value)?]
            }
            Projections::Fused(projection) => {
                let split = (batch, tokens, 3, self.heads, self.head_size);
                let projected = projection.forward(hidden_states)?.reshape(split)?;
                // One copy for all three.
                let projected = projected.permute((2, 0, 3, 1, 4))?.contiguous()?;
                [projected.get(0)?, projected.get(1)?, projected.get(2)?]
            }
        }; // (B, N, T, D)
        let query = (query / (self.head_size as f64).sqrt())?;
        let scores = query.matmul(&key.transpose(2, 3)?)?; // (B, N, T, T)
        let probs = dropout(
            &softmax(&scores, mask, train)?,
            self.probs_dropout_prob,
            train,
        )?;

        let context = probs.matmul(&value)?; // (B, N, T, D)
        let context = context.transpose(1, 2)?.reshape((batch, tokens, h))?;
        let output = dropout(
            &self.output.forward(&context)?,
            self.output_dropout_prob,
            train,
        )?;
        Ok((
            self.norm.forward_sum_t(hidden_states, &output, train)?,
            probs,
        ))
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

/// `softmax(scores + mask)` over the last dimension, in f32 at least. Candle's fused form has no
/// backward pass.
fn softmax(scores: &Tensor, mask: Option<&Tensor>, train: bool) -> Result<Tensor> {
    if !train && gpu_kernels::serve(scores) {
        let rows_of_mask = mask.map_or(0, |mask| scores.elem_count() / mask.elem_count());
        return RowKernel::Softmax { rows_of_mask }.apply(scores, mask.unwrap_or(scores), scores);
    }
    let scores = match mask {
        Some(mask) => scores.broadcast_add(mask)?,
        None => scores.clone(),
    };
    let dtype = scores.dtype();
    let scores = match dtype {
        DType::F16 | DType::BF16 => scores.to_dtype(DType::F32)?,
        _ => scores,
    };
    let probs = match train {
        true => candle_nn::ops::softmax(&scores, D::Minus1)?,
        false => candle_nn::ops::softmax_last_dim(&scores.contiguous()?)?,
    };
    probs.to_dtype(dtype)
}
