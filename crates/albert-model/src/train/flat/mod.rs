//! All parameters of a model in one buffer.
//!
//! Optimizers, snapshots and sums of gradients use it as one slice; the training pass uses its
//! ranges by their roles; other code looks up tensors by Hugging Face's names.

mod layout;
mod tensor;
mod values;

pub use layout::FlatLayout;
pub use tensor::{FlatTensor, ModelPart, ParameterKind};
pub use values::FlatParameters;

#[cfg(test)]
mod tests {
    use crate::config::AlbertConfig;

    /// A small model with two groups of two layers.
    pub(super) fn config() -> AlbertConfig {
        AlbertConfig {
            vocab_size: 50,
            hidden_size: 12,
            num_attention_heads: 3,
            num_hidden_layers: 4,
            num_hidden_groups: 2,
            inner_group_num: 2,
            intermediate_size: 20,
            embedding_size: 8,
            ..AlbertConfig::default()
        }
    }
}
