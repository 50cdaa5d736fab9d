//! The device memory that a computation needs in addition to the weights.

use crate::config::AlbertConfig;

/// Bytes for each score of attention: three copies in f32, or in half precision three and two in
/// f32.
const SCORE: usize = 14;

/// Bytes for each probability of attention, which stays until the layer is done.
const PROBABILITY: usize = 4;

/// Bytes for each number of the feed-forward network's inner width: up to four copies in f32.
const INNER: usize = 16;

/// Bytes for each number of the hidden width: what goes into a layer, and queries, keys and values
/// twice, or the norm's intermediate results.
const HIDDEN: usize = 32;

impl AlbertConfig {
    /// Bytes that inference by plain Candle operations, as on a GPU, holds at the most for each
    /// token of rows of `tokens` tokens, padding included.
    ///
    /// ```text
    /// bytes / token = 32 H + max(14 N T, 16 I + 4 N T)
    /// ```
    ///
    /// The first of the two is attention with its scores, the second the feed-forward network. The
    /// same in f32 as in half precision, in which softmax, norms and activations are in f32.
    /// Outputs that are asked for, such as hidden states, and logits over the vocabulary come on
    /// top of it.
    pub fn activation_bytes(&self, tokens: usize) -> usize {
        let scores = self.num_attention_heads.saturating_mul(tokens);
        let inner = self.intermediate_size.saturating_mul(INNER);
        let fed_forward = inner.saturating_add(scores.saturating_mul(PROBABILITY));
        let hidden = self.hidden_size.saturating_mul(HIDDEN);
        scores
            .saturating_mul(SCORE)
            .max(fed_forward)
            .saturating_add(hidden)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feed_forward_network_takes_the_most_for_short_rows_and_attention_for_long_ones() {
        let base = AlbertConfig::base_v2();
        assert_eq!(
            base.activation_bytes(128),
            32 * 768 + 16 * 3072 + 4 * 12 * 128
        );
        assert_eq!(base.activation_bytes(512), 32 * 768 + 14 * 12 * 512);
        assert_eq!(base.activation_bytes(usize::MAX), usize::MAX);
    }
}
