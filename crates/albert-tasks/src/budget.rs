//! How many rows make a batch: as many as have so many tokens, or as a GPU has memory for.

use std::sync::atomic::{AtomicUsize, Ordering};

use albert_model::AlbertConfig;
use candle_core::{Device, Result};

use crate::RunOptions;

/// Of the memory that is free once the weights are loaded, batches get this part: the rest is for
/// the allocator's gaps, cuBLAS, logits over the vocabulary, and whoever shares the card.
const PART_OF_FREE_MEMORY: usize = 2;

/// The tokens of a batch, and of the device's memory what they may take.
#[derive(Debug)]
pub(crate) struct Budget {
    config: AlbertConfig,
    /// Padding included.
    tokens: usize,
    /// For activations; without bound where the device does not tell, or the number of tokens was
    /// asked for.
    bytes: AtomicUsize,
}

impl Budget {
    /// The budget that was asked for, else the device's.
    ///
    /// To be made when the weights are loaded.
    ///
    /// # Errors
    /// If the device does not answer.
    pub(crate) fn new(config: &AlbertConfig, options: &RunOptions) -> Result<Self> {
        let free = match options.batch_tokens {
            Some(_) => None,
            None => free_bytes(&options.load.device)?,
        };
        let bytes = free.map_or(usize::MAX, |free| free / PART_OF_FREE_MEMORY);
        Ok(Self {
            config: config.clone(),
            tokens: options.most_batch_tokens(),
            bytes: bytes.into(),
        })
    }

    /// How many rows fit into a batch whose longest has so many tokens; at least one.
    ///
    /// ```text
    /// rows = min(tokens, bytes / bytes per token) / longest
    /// ```
    ///
    /// Padding counts although the CPU's own path computes none: the states that come back are as
    /// large as with it, and one long row among many short ones would ask for memory without bound.
    /// Among rows of like length there is little of it.
    pub(crate) fn rows(&self, longest: usize) -> usize {
        let fit = self.bytes.load(Ordering::Relaxed) / self.config.activation_bytes(longest).max(1);
        (self.tokens.min(fit) / longest.max(1)).max(1)
    }

    /// Takes what a batch would have needed for more than there is: from now on half of it is the
    /// limit.
    pub(crate) fn halve(&self, rows: usize, longest: usize) {
        let tried = self
            .config
            .activation_bytes(longest)
            .saturating_mul(rows.saturating_mul(longest));
        self.bytes.fetch_min(tried / 2, Ordering::Relaxed);
    }
}

/// Bytes of a CUDA device's memory that nobody holds; `None` on other devices.
fn free_bytes(device: &Device) -> Result<Option<usize>> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => {
            use candle_core::cuda_backend::WrapErr;
            let (free, _) = device.cuda_stream().context().mem_get_info().w()?;
            Ok(Some(free))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
impl Budget {
    /// So many tokens and bytes.
    pub(crate) fn of(tokens: usize, bytes: usize) -> Self {
        Self {
            config: AlbertConfig::base_v2(),
            tokens,
            bytes: bytes.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_bounded_by_tokens_and_by_memory() {
        let tokens = Budget::of(2048, usize::MAX);
        assert_eq!(
            [16, 128, 512, 2048, 2049].map(|longest| tokens.rows(longest)),
            [128, 16, 4, 1, 1]
        );
        let config = AlbertConfig::base_v2();
        // The memory of eight rows of 512 tokens.
        let memory = Budget::of(usize::MAX, 8 * 512 * config.activation_bytes(512));
        assert_eq!(memory.rows(512), 8);
        // Scores grow with the length: of rows twice as long there are less than half as many.
        assert!(memory.rows(128) > 4 * 8 && memory.rows(1024) < 8 / 2);
    }

    #[test]
    fn nothing_and_absurd_lengths_are_one_row() {
        assert_eq!(Budget::of(0, 0).rows(1), 1);
        assert_eq!(Budget::of(usize::MAX, usize::MAX).rows(usize::MAX), 1);
        assert_eq!(Budget::of(7, usize::MAX).rows(0), 7);
    }

    #[test]
    fn halving_halves_the_rows_of_that_length_and_of_others() {
        let budget = Budget::of(1 << 16, usize::MAX);
        let before = budget.rows(128);
        budget.halve(before, 128);
        assert_eq!(budget.rows(128), before / 2);
        assert!(budget.rows(512) < before / 2 / 4);
        for _ in 0..20 {
            budget.halve(budget.rows(128), 128);
        }
        assert_eq!(budget.rows(128), 1);
        // A smaller limit stays.
        budget.halve(100, 128);
        assert_eq!(budget.rows(128), 1);
    }

    #[test]
    fn what_was_asked_for_is_the_limit_and_the_cpu_has_a_default() {
        let rows = |batch_tokens| {
            let options = RunOptions {
                batch_tokens,
                ..RunOptions::default()
            };
            Budget::new(&AlbertConfig::base_v2(), &options)
                .unwrap()
                .rows(8)
        };
        assert_eq!((rows(Some(64)), rows(None)), (8, 256));
    }
}
