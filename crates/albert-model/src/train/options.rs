//! The options of a training pass.

use crate::config::AlbertConfig;

/// Probabilities of dropout, each in [0, 1).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dropout {
    /// Dropout of the embeddings and of the attention output.
    pub hidden: f32,
    /// Dropout of the feed-forward network's output, which only a BERT has.
    pub feed_forward: f32,
    /// Dropout of the attention probabilities.
    pub attention: f32,
    /// Dropout of the input of a classifier.
    pub classifier: f32,
}

impl Dropout {
    /// Nothing is dropped.
    pub const NONE: Self = Self {
        hidden: 0.0,
        feed_forward: 0.0,
        attention: 0.0,
        classifier: 0.0,
    };

    /// Takes the probabilities of the configuration.
    pub fn from_config(config: &AlbertConfig) -> Self {
        let classifier = config.classifier_dropout_prob;
        Self {
            hidden: config.hidden_dropout_prob as f32,
            feed_forward: config.feed_forward_dropout() as f32,
            attention: config.attention_probs_dropout_prob as f32,
            classifier: classifier.unwrap_or(config.hidden_dropout_prob) as f32,
        }
    }
}

/// The parts of a model that are not trained: their gradients are neither computed nor changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Frozen {
    /// The embedding tables and their norm, and with them a tied decoder's weight.
    pub embeddings: bool,
    /// The embeddings, the projection and all layers; only the pooler and the heads are trained.
    pub encoder: bool,
}

impl Frozen {
    pub(super) fn freezes_embeddings(self) -> bool {
        self.embeddings || self.encoder
    }
}

/// The options of a [`TrainingPass`](super::TrainingPass).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PassOptions {
    /// The number of gradient buffers, each filled by one thread at a time. The bits of the
    /// gradient depend on this number, never on the number of threads, which determines how many
    /// slots run at once.
    pub slots: usize,
    /// The number of tokens in a bundle, unless a single sequence is longer. Memory grows with it.
    pub bundle_tokens: usize,
    /// Dropout during training; evaluation has none.
    pub dropout: Dropout,
    /// The parts that are not trained.
    pub frozen: Frozen,
    /// True to compute the last layer only in the rows that an objective reads. The result is the
    /// same up to the order of sums over rows.
    pub skip_unread_rows: bool,
}

impl PassOptions {
    /// Creates options with one slot per core, at most 8, and the configuration's dropout.
    pub fn new(config: &AlbertConfig) -> Self {
        const MOST_SLOTS: usize = 8;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            slots: cores.min(MOST_SLOTS),
            bundle_tokens: 256,
            dropout: Dropout::from_config(config),
            frozen: Frozen::default(),
            skip_unread_rows: true,
        }
    }
}

/// The key of a step's dropout: equal draws give equal masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Draw {
    /// The seed of the run.
    pub seed: u64,
    /// Different for every call of a run.
    pub step: u64,
}
