//! Determines the number of rows in a batch, from a number of tokens or from the memory of a GPU.

use std::sync::atomic::{AtomicUsize, Ordering};

use albert_model::AlbertConfig;
use candle_core::{Device, Result};

use crate::RunOptions;

/// The fraction of the memory left after loading the weights that batches may use is 1 over this.
/// The rest is for the allocator's gaps, cuBLAS, logits over the vocabulary, and other processes.
const PART_OF_FREE_MEMORY: usize = 2;

/// The number of tokens in a batch, and the device memory that they may take.
#[derive(Debug)]
pub(crate) struct Budget {
    config: AlbertConfig,
    /// Padding included.
    tokens: usize,
    /// The memory for activations; unbounded if the device does not report its memory, or the
    /// caller set the number of tokens.
    bytes: AtomicUsize,
}

impl Budget {
    /// Creates the requested budget, or else one from the device's free memory.
    ///
    /// Call it once the weights are loaded.
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

    /// Returns the number of rows that fit into a batch whose longest row has `longest` tokens; at
    /// least one.
    ///
    /// ```text
    /// rows = min(tokens, bytes / bytes per token) / longest
    /// ```
    ///
    /// Every row counts as the longest: some devices compute padding, and rows of similar length
    /// have little. Results do not depend on it.
    pub(crate) fn rows(&self, longest: usize) -> usize {
        let fit = self.bytes.load(Ordering::Relaxed) / self.config.activation_bytes(longest).max(1);
        (self.tokens.min(fit) / longest.max(1)).max(1)
    }

    /// Lowers the limit to half of what a failed batch would have needed.
    pub(crate) fn halve(&self, rows: usize, longest: usize) {
        let tried = self
            .config
            .activation_bytes(longest)
            .saturating_mul(rows.saturating_mul(longest));
        self.bytes.fetch_min(tried / 2, Ordering::Relaxed);
    }
}

/// Returns the free memory of a CUDA device in bytes; `None` on other devices.
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
    /// Creates a budget of `tokens` and `bytes`.
    pub(crate) fn with_limits(tokens: usize, bytes: usize) -> Self {
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
        let tokens = Budget::with_limits(2048, usize::MAX);
        assert_eq!(
            [16, 128, 512, 2048, 2049].map(|longest| tokens.rows(longest)),
            [128, 16, 4, 1, 1]
        );
        let config = AlbertConfig::base_v2();
        // The memory of eight rows of 512 tokens.
        let memory = Budget::with_limits(usize::MAX, 8 * 512 * config.activation_bytes(512));
        assert_eq!(memory.rows(512), 8);
        // Scores grow with the length: of rows twice as long there are less than half as many.
        assert!(memory.rows(128) > 4 * 8 && memory.rows(1024) < 8 / 2);
    }

    #[test]
    fn nothing_and_absurd_lengths_are_one_row() {
        assert_eq!(Budget::with_limits(0, 0).rows(1), 1);
        assert_eq!(
            Budget::with_limits(usize::MAX, usize::MAX).rows(usize::MAX),
            1
        );
        assert_eq!(Budget::with_limits(7, usize::MAX).rows(0), 7);
    }

    #[test]
    fn halving_halves_the_rows_of_that_length_and_of_others() {
        let budget = Budget::with_limits(1 << 16, usize::MAX);
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
