//! A group of layers that is repeated as a whole.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::AlbertConfig;
use crate::layer::AlbertLayer;
use crate::outputs::Trace;
use crate::parameters::LAYERS;

/// `inner_group_num` layers with separate weights, applied one after another.
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertLayerGroup`.
#[derive(Debug, Clone)]
pub struct AlbertLayerGroup {
    layers: Vec<AlbertLayer>,
}

impl AlbertLayerGroup {
    /// Takes `albert_layers.{0, 1, …}` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let vb = vb.pp(LAYERS);
        let layers =
            (0..config.inner_group_num).map(|inner| AlbertLayer::new(config, vb.pp(inner)));
        Ok(Self {
            layers: layers.collect::<Result<_>>()?,
        })
    }

    /// Returns the layers, in the order in which they are applied.
    pub fn layers(&self) -> &[AlbertLayer] {
        &self.layers
    }

    /// Runs the layers, `(B, T, H)` → `(B, T, H)`, and records the intermediate results that
    /// `trace` collects.
    pub(crate) fn forward_traced(
        &self,
        hidden_states: &Tensor,
        mask: Option<&Tensor>,
        trace: &mut Trace,
        train: bool,
    ) -> Result<Tensor> {
        let mut hidden_states = hidden_states.clone();
        for layer in &self.layers {
            let (next, probs) = layer.forward_t(&hidden_states, mask, train)?;
            trace.attention(&probs);
            trace.hidden_state(&next);
            hidden_states = next;
        }
        Ok(hidden_states)
    }
}
