//! The position-wise feed-forward network.

use std::sync::Arc;

use albert_kernels::Activation;
use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use crate::activation::HiddenAct;
use crate::config::AlbertConfig;
use crate::linear::Linear;
use crate::ops::packed_linear::PackedLinear;
use crate::parameters::Product;

/// Two dense layers with an activation between them.
///
/// ```text
/// y = act(x W₁ + b₁) W₂ + b₂
/// ```
///
/// Dropout, residual and layer norm belong to [`AlbertLayer`](crate::AlbertLayer).
///
/// Source: Vaswani et al. 2017, eq. 2; transformers 4.46.3, `modeling_albert.py`,
/// `AlbertLayer.ff_chunk`.
#[derive(Debug, Clone)]
pub struct FeedForward {
    inner: Linear,
    activation: HiddenAct,
    output: Linear,
}

impl FeedForward {
    /// Takes `ffn` and `ffn_output` from `vb`, which is that of the *layer*: checkpoints have no
    /// level in between.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let (h, i, std) = (
            config.hidden_size,
            config.intermediate_size,
            config.initializer_range,
        );
        Ok(Self {
            inner: Linear::new(h, i, std, vb.pp(Product::Inner.name()))?,
            activation: config.hidden_act,
            output: Linear::new(i, h, std, vb.pp(Product::Output.name()))?,
        })
    }
}

/// The weights of [`FeedForward`], packed for the fused path.
#[derive(Debug)]
pub(crate) struct PackedFeedForward {
    pub(crate) inner: Arc<PackedLinear>,
    pub(crate) activation: Activation,
    pub(crate) output: Arc<PackedLinear>,
}

impl FeedForward {
    /// Returns the weights for the fused path, if all of them are packed.
    pub(crate) fn packed(&self) -> Option<PackedFeedForward> {
        let (inner, output) = (self.inner.packed()?, self.output.packed()?);
        Some(PackedFeedForward {
            inner,
            activation: self.activation.kernel(),
            output,
        })
    }
}

impl Module for FeedForward {
    /// # Shapes
    /// - `hidden_states`: `(B, T, H)`
    /// - returns `(B, T, H)`
    ///
    /// # Errors
    /// If the last dimension is not `hidden_size`.
    fn forward(&self, hidden_states: &Tensor) -> Result<Tensor> {
        self.output.forward(
            &self
                .inner
                .forward_activated(hidden_states, self.activation)?,
        )
    }
}
