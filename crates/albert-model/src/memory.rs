//! The device memory that a computation needs in addition to the weights.

use crate::config::AlbertConfig;

/// Bytes per attention score: three copies in f32; in half precision, three copies and two more in
/// f32.
const SCORE: usize = 14;

/// Bytes per attention probability, which is kept until the end of the layer.
const PROBABILITY: usize = 4;

/// Bytes per value of the feed-forward network's inner width: up to four copies in f32.
const INNER: usize = 16;

/// Bytes per value of the hidden width: the input of a layer, and twice the queries, keys and
/// values, or the norm's intermediate results.
const HIDDEN: usize = 32;

impl AlbertConfig {
    /// Returns an upper bound of the bytes per token, padding included, that inference with plain
    /// Candle operations needs for rows of `tokens` tokens, as on a GPU.
    ///
    /// ```text
    /// bytes / token = 32 H + max(14 N T, 16 I + 4 N T)
    /// ```
    ///
    /// The first argument of `max` is attention with its scores, the second the feed-forward
    /// network. The bound holds in f32 and in half precision, where softmax, norms and activations
    /// are in f32. It excludes requested outputs, such as hidden states, and logits over the
    /// vocabulary.
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
