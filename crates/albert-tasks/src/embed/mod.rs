//! Sentence embeddings: one vector per text, computed as in sentence-transformers.

mod effective;
mod forward;
mod options;
mod passes;
mod pooled;
mod prepared;
mod prompts;
mod tokens;
mod windows;

use std::collections::BTreeMap;

use albert_model::AlbertModel;

use crate::pipeline::{Pipeline, Purpose};
use crate::pooling::LoadedStage;
use crate::task::impl_access;
use crate::{Error, ModelFiles, Pooling, PoolingMode, Result, RunOptions, SharedModel};
pub use options::{EmbedOptions, TruncationSide};
pub use pooled::Embedding;
pub use prepared::PreparedText;
use prompts::Prompts;
pub use tokens::TokenEmbeddings;

/// Turns texts into sentence embeddings, like sentence-transformers.
///
/// Pooling, the modules after it, the maximum length and the prompts come from the model's files.
/// The `with_…` methods override them for all calls, [`EmbedOptions`] for one call.
///
/// ```
/// use albert_tasks::{Embedder, ModelFiles, PoolingMode, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let embedder = Embedder::load(&ModelFiles::builtin()?, &RunOptions::default())?.with_pooling(PoolingMode::Mean)?;
/// assert_eq!(embedder.embed(&["A short text"])?[0].vector.len(), embedder.dim());
/// # Ok(())
/// # }
/// ```
#[doc(alias = "sentence embeddings")]
#[doc(alias = "feature extraction")]
#[doc(alias = "SentenceTransformer")]
#[derive(Debug)]
pub struct Embedder {
    pipeline: Pipeline<AlbertModel>,
    pooling: Pooling,
    stages: Vec<LoadedStage>,
    prompts: Prompts,
    /// The width after the stages.
    full_dim: usize,
    has_pooler: bool,
    /// The options that the caller set for all calls.
    defaults: EmbedOptions,
}

impl_access!(Embedder);

impl Embedder {
    /// Loads the model that `id` names: a folder, the built-in model or a model on the Hub.
    ///
    /// ```
    /// # fn main() -> albert_tasks::Result<()> {
    /// # if cfg!(not(feature = "builtin")) { return Ok(()) }
    /// use albert_tasks::{Embedder, cosine};
    ///
    /// let embedder = Embedder::from_pretrained("albert-mini-en")?;
    /// let texts = embedder.embed(&["A man plays the guitar.", "Someone plays an instrument."])?;
    /// assert!(cosine(&texts[0].vector, &texts[1].vector) > 0.5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`ModelFiles::resolve`] and [`Embedder::load`].
    pub fn from_pretrained(id: &str) -> Result<Self> {
        Self::load(&ModelFiles::resolve(id)?, &RunOptions::default())
    }

    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, or the tokenizer does not belong to the network.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        Self::from_model(&SharedModel::new(files, options)?)
    }

    /// Creates the task on a model that other tasks may share.
    ///
    /// # Errors
    /// See [`load`](Self::load).
    pub fn from_model(model: &SharedModel) -> Result<Self> {
        let files = model.files();
        let pooling = Pooling::from_files(files)?;
        let prompts = Prompts::from_files(files)?;
        let pipeline: Pipeline<AlbertModel> = Pipeline::from_model(model, Purpose::Embedding)?;
        let full_dim = pooling.check_width(pipeline.model.config().hidden_size)?;
        let stages = pooling.load_stages(files)?;
        Ok(Self {
            has_pooler: model.checkpoint().has_pooler(),
            pipeline,
            pooling,
            stages,
            prompts,
            full_dim,
            defaults: EmbedOptions::default(),
        })
    }

    /// Pools with `mode` instead of the model's modes; the modules after the pooling stay.
    ///
    /// # Errors
    /// If `mode` is the pooler and the model has none, or the model's dense layer has another input
    /// width.
    pub fn with_pooling(mut self, mode: PoolingMode) -> Result<Self> {
        if mode == PoolingMode::Pooler && !self.has_pooler {
            return Err(Error::NoPooler);
        }
        self.pooling.modes = vec![mode];
        self.pooling.why = format!("{mode} by the caller");
        self.full_dim = self.pooling.check_width(self.config().hidden_size)?;
        Ok(self)
    }

    /// Sets whether embeddings are scaled to length 1.
    pub fn with_normalize(mut self, normalize: bool) -> Self {
        self.defaults.normalize = Some(normalize);
        self
    }

    /// Keeps the first `dim` dimensions of embeddings.
    ///
    /// A model with a normalization module applies it before the cut. The cut vector is only
    /// normalized again with [`Embedder::with_normalize`], or if the model's files do not describe
    /// the pooling.
    ///
    /// # Errors
    /// If `dim` is zero or more than the model has.
    pub fn with_truncate_dim(mut self, dim: usize) -> Result<Self> {
        self.defaults.truncate_dim = Some(dim);
        self.check(&EmbedOptions::default())?;
        Ok(self)
    }

    /// Puts `prompt` before every text, instead of the model's default prompt; an empty prompt
    /// removes it.
    pub fn with_prompt(mut self, prompt: &str) -> Self {
        self.defaults.prompt = Some(prompt.to_string());
        self.defaults.prompt_name = None;
        self
    }

    /// Puts the model's prompt of this name before every text.
    ///
    /// # Errors
    /// If the model has no such prompt.
    pub fn with_prompt_name(mut self, name: &str) -> Result<Self> {
        let prompt = self.prompts.get(name)?.to_string();
        self.defaults.prompt = Some(prompt);
        Ok(self)
    }

    /// Reads a text longer than the model's limit in windows, each starting with the last `stride`
    /// tokens of the previous one, instead of truncating it.
    ///
    /// Every window has the special tokens and the prompt. Tokens are weighted so that each counts
    /// once: a token of the text that is in `c` windows has weight `1 / c` in each of them, and the
    /// special tokens and the prompt have the window's share of the text, which is `Σ (1 / c)` over
    /// the text tokens of the window, divided by the number of all text tokens. The weighted sums
    /// are pooled like those of a short text:
    ///
    /// ```text
    /// mean, mean-sqrt-len, weighted-mean   the same formula over every token of the text
    /// cls, last, pooler                    the windows' vectors, weighted by their shares
    /// max                                  the largest value in any window
    /// ```
    ///
    /// A text that fits has the same embedding as without windows.
    ///
    /// # Errors
    /// If a window has no more tokens of text than the stride, or the prompt leaves no room for
    /// text.
    pub fn with_stride(mut self, stride: usize) -> Result<Self> {
        self.defaults.stride = Some(stride);
        self.check(&EmbedOptions::default())?;
        Ok(self)
    }

    /// Returns the pooling of this embedder, with its origin.
    pub fn pooling(&self) -> &Pooling {
        &self.pooling
    }

    /// Returns the model's prompts by name.
    pub fn prompts(&self) -> &BTreeMap<String, String> {
        self.prompts.by_name()
    }

    /// Returns options for the queries of a search: with the model's prompt `query`, if it has one.
    pub fn query_options(&self) -> EmbedOptions {
        self.prompts.for_queries()
    }

    /// Returns options for the documents of a search: with the model's prompt `document`, `passage`
    /// or `corpus`, if it has one.
    pub fn document_options(&self) -> EmbedOptions {
        self.prompts.for_documents()
    }

    /// Returns the width of an embedding.
    pub fn dim(&self) -> usize {
        self.dim_with(&EmbedOptions::default())
    }

    /// Returns the width of an embedding with options.
    pub fn dim_with(&self, options: &EmbedOptions) -> usize {
        self.truncate_dim(options)
            .map_or(self.full_dim, |dim| dim.min(self.full_dim))
    }

    /// Returns the maximum length of a text in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.pipeline.max_length
    }
}
