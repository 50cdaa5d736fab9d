//! Self-attention with output projection, residual and layer norm.

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;

use crate::config::AlbertConfig;
use crate::dropout::dropout;
use crate::layer_norm::{LayerNorm, NormConstants};
use crate::linear::Linear;
use crate::ops::attention::Attention;
use crate::ops::packed_linear::PackedLinear;
use crate::ops::softmax::masked_softmax;
use crate::parameters::{ATTENTION_NORM, Product};
use crate::ragged::Sequences;

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
    /// Attention over ragged sequences, if the CUDA kernels are used.
    kernel: Option<Attention>,
    heads: usize,
    head_size: usize,
    probs_dropout_prob: f64,
    output_dropout_prob: f64,
}

/// The projections from hidden states to queries, keys and values.
#[derive(Debug, Clone)]
enum Projections {
    Separate {
        query: Linear,
        key: Linear,
        value: Linear,
    },
    /// A single projection, `(H, 3H)`
    Joined(Linear),
}

impl AlbertAttention {
    /// Takes `query`, `key`, `value`, `dense` and `LayerNorm` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let h = config.hidden_size;
        let std = config.initializer_range;
        let linear = |product: Product| Linear::new(h, h, std, vb.pp(product.in_attention()));
        let parts = [Product::Query, Product::Key, Product::Value];
        let vbs = parts.map(|product| vb.pp(product.in_attention()));
        let projections = match Linear::side_by_side(h, h, std, &vbs)? {
            Some(joined) => Projections::Joined(joined),
            None => Projections::Separate {
                query: linear(Product::Query)?,
                key: linear(Product::Key)?,
                value: linear(Product::Value)?,
            },
        };
        let (heads, head_size) = (config.num_attention_heads, config.head_size());
        Ok(Self {
            projections,
            output: linear(Product::AttentionOutput)?,
            norm: LayerNorm::new(h, config.layer_norm_eps, vb.pp(ATTENTION_NORM))?,
            kernel: Attention::new(heads, head_size, vb.device(), vb.dtype())?,
            heads,
            head_size,
            probs_dropout_prob: config.attention_probs_dropout_prob,
            output_dropout_prob: config.hidden_dropout_prob,
        })
    }

    /// Returns the weights for the fused path, if all of them are packed.
    pub(crate) fn packed(&self) -> Result<Option<PackedAttention>> {
        let Projections::Joined(projections) = &self.projections else {
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

    /// Returns true if [`forward_ragged`](Self::forward_ragged) is available.
    pub(crate) fn takes_ragged(&self) -> bool {
        self.kernel.is_some() && matches!(self.projections, Projections::Joined(_))
    }

    /// Runs inference over ragged sequences with the CUDA kernels.
    ///
    /// # Shapes
    /// - `hidden_states`: `(ΣT, H)`
    /// - returns `(ΣT, H)`
    pub(crate) fn forward_ragged(
        &self,
        hidden_states: &Tensor,
        sequences: &Sequences,
    ) -> Result<Tensor> {
        let (Some(kernel), Projections::Joined(projections)) = (self.kernel, &self.projections)
        else {
            bail!("attention over ragged sequences: expected constant weights on CUDA")
        };
        // Weights after attention may be variables, but inference needs no gradients.
        let hidden_states = hidden_states.detach();
        let context = kernel.apply(&projections.forward(&hidden_states)?, sequences)?;
        self.norm
            .forward_sum_t(&hidden_states, &self.output.forward(&context)?, false)
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
            Projections::Separate { query, key, value } => {
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
            Projections::Joined(projection) => {
                let split = (batch, tokens, 3, self.heads, self.head_size);
                let projected = projection.forward(hidden_states)?.reshape(split)?;
                // One copy for queries, keys and values together.
                let projected = projected.permute((2, 0, 3, 1, 4))?.contiguous()?;
                [projected.get(0)?, projected.get(1)?, projected.get(2)?]
            }
        }; // (B, N, T, D)
        let query = (query / (self.head_size as f64).sqrt())?;
        let scores = query.matmul(&key.transpose(2, 3)?)?; // (B, N, T, T)
        let probs = dropout(
            &masked_softmax(&scores, mask, train)?,
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

/// The weights of [`AlbertAttention`], packed for the fused path.
#[derive(Debug)]
pub(crate) struct PackedAttention {
    /// Queries, keys and values, `(H, 3H)`
    pub(crate) projections: Arc<PackedLinear>,
    pub(crate) output: Arc<PackedLinear>,
    pub(crate) norm: NormConstants,
}
