//! The matrix products of a layer.

use crate::config::AlbertConfig;

/// A matrix product of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    /// Hidden states to queries.
    Query,
    /// Hidden states to keys.
    Key,
    /// Hidden states to values.
    Value,
    /// Context to attention output.
    AttentionOutput,
    /// The feed-forward network's first product, H to I.
    Inner,
    /// The feed-forward network's second product, I to H.
    Output,
}

impl Product {
    /// All products, in the order of a forward pass.
    pub(crate) const ALL: [Self; 6] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::AttentionOutput,
        Self::Inner,
        Self::Output,
    ];

    /// Returns the product's name in a layer.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Query => "attention.query",
            Self::Key => "attention.key",
            Self::Value => "attention.value",
            Self::AttentionOutput => "attention.dense",
            Self::Inner => "ffn",
            Self::Output => "ffn_output",
        }
    }

    /// Returns the product's name in the layer's attention, or in the layer if it is not part of
    /// attention.
    pub(crate) fn in_attention(self) -> &'static str {
        self.name()
            .strip_prefix("attention.")
            .unwrap_or(self.name())
    }

    /// Returns the number of outputs and of inputs.
    pub(super) fn shape(self, config: &AlbertConfig) -> (usize, usize) {
        let (h, i) = (config.hidden_size, config.intermediate_size);
        match self {
            Self::Inner => (i, h),
            Self::Output => (h, i),
            _ => (h, h),
        }
    }
}
