//! The options of all tasks: the device, the format of the weights, the tokenizer, lengths and
//! batches.

use albert_model::{LoadOptions, WeightFormat};
use candle_core::Device;

use crate::{Event, Observer, TokenizerOptions};

/// The default number of tokens in a batch, padding included, on other devices than CUDA.
///
/// From about 1,024 rows on, the matrix products run at full speed; more only moves the activations
/// out of the caches (2,048 tokens of ALBERT base are 24 MB in the feed-forward layer).
pub const DEFAULT_BATCH_TOKENS: usize = 2048;

/// The maximum number of tokens in a batch on CUDA, padding included, however much memory is free:
/// more do not use a GPU any better, and their states have to be copied to and held on the CPU.
pub const MAX_BATCH_TOKENS: usize = 32_768;

/// Options for loading and running a model.
///
/// ```
/// use albert_tasks::{Device, RunOptions};
///
/// let options = RunOptions::on_device(Device::Cpu).with_max_length(128);
/// assert_eq!(options.max_length, Some(128));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RunOptions {
    /// The device, and the type of the weights.
    pub load: LoadOptions,
    /// Overrides of the tokenizer.
    pub tokenizer: TokenizerOptions,
    /// The maximum length of a text in tokens, special tokens included; the model's own limit also
    /// applies.
    pub max_length: Option<usize>,
    /// Tokens in a batch, padding included. A single text may be longer.
    ///
    /// `None` is [`DEFAULT_BATCH_TOKENS`]. On CUDA it is as many as fit into half of the memory
    /// that is free once the weights are loaded, by
    /// [`activation_bytes`](albert_model::AlbertConfig::activation_bytes), and at most
    /// [`MAX_BATCH_TOKENS`].
    pub batch_tokens: Option<usize>,
    /// Receives events while tasks run: progress, and batches for which a GPU has no memory.
    pub observer: Observer,
}

impl RunOptions {
    /// Creates options that compute on `device`.
    pub fn on_device(device: Device) -> Self {
        Self::default().with_device(device)
    }

    /// Computes on `device`.
    pub fn with_device(mut self, device: Device) -> Self {
        self.load.device = device;
        self
    }

    /// Converts the weights to `weights` when they are loaded.
    pub fn with_weights(mut self, weights: WeightFormat) -> Self {
        self.load.weights = weights;
        self
    }

    /// Overrides the tokenizer's normalization of text.
    pub fn with_tokenizer(mut self, tokenizer: TokenizerOptions) -> Self {
        self.tokenizer = tokenizer;
        self
    }

    /// Truncates texts to `max_length` tokens, special tokens included.
    pub fn with_max_length(mut self, max_length: impl Into<Option<usize>>) -> Self {
        self.max_length = max_length.into();
        self
    }

    /// Computes batches of `batch_tokens` tokens, padding included.
    pub fn with_batch_tokens(mut self, batch_tokens: impl Into<Option<usize>>) -> Self {
        self.batch_tokens = batch_tokens.into();
        self
    }

    /// Calls `observe` for each [`Event`] of the tasks that are loaded with these options.
    pub fn with_observer(mut self, observe: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.observer = Observer::new(observe);
        self
    }

    /// Returns the maximum number of tokens in a batch, unless a single text has more.
    pub fn most_batch_tokens(&self) -> usize {
        let default = if self.load.device.is_cuda() {
            MAX_BATCH_TOKENS
        } else {
            DEFAULT_BATCH_TOKENS
        };
        self.batch_tokens.unwrap_or(default)
    }

    /// Returns the number of chunks of a stream to keep in flight
    /// ([`pipelined`](crate::pipelined())).
    ///
    /// On a GPU that is three: one is computed, one is ready and one is tokenized. On the CPU it is
    /// one, because its cores do all of that.
    pub fn chunks_in_flight(&self) -> usize {
        if self.load.device.is_cpu() { 1 } else { 3 }
    }
}
