//! Sizes of new models, with the settings that train them.

use albert_tasks::albert_model::AlbertConfig;

/// Batch and learning rate of the published models, from which the rate of any batch follows.
///
/// Source: google-research/albert b772393, README; the square root is You et al. 2020.
const PUBLISHED_BATCH: f64 = 4096.0;
const PUBLISHED_RATE: f64 = 0.00176;

/// Returns the learning rate of LAMB for a batch: 0.00176 √(batch / 4096).
pub fn lamb_learning_rate(batch_size: usize) -> f64 {
    PUBLISHED_RATE * (batch_size as f64 / PUBLISHED_BATCH).sqrt()
}

/// The share of a run that the published models warmed up for: 3,125 of 125,000 steps.
pub const WARMUP_SHARE: f64 = 0.025;

/// A size of model with the settings that train it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// 4 repetitions of a layer 256 wide: hours on a few cores.
    Tiny,
    /// albert-base-v2.
    Base,
    /// albert-large-v2.
    Large,
}

impl Preset {
    /// Returns the configuration for a vocabulary.
    pub fn config(self, vocab_size: usize) -> AlbertConfig {
        let config = match self {
            Self::Tiny => AlbertConfig {
                hidden_size: 256,
                num_hidden_layers: 4,
                num_attention_heads: 4,
                intermediate_size: 1024,
                ..AlbertConfig::base_v2()
            },
            Self::Base => AlbertConfig::base_v2(),
            Self::Large => AlbertConfig::large_v2(),
        };
        AlbertConfig {
            vocab_size,
            ..config
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_lamb_follows_the_square_root_of_the_batch() {
        assert_eq!(lamb_learning_rate(4096), 0.00176);
        assert!((lamb_learning_rate(1024) - 0.00088).abs() < 1e-12);
    }
}
