//! Sentence embeddings.

use std::borrow::Cow;

use albert_model::{AlbertConfig, AlbertModel, Pretrained as _};
use rayon::prelude::*;
use serde::Serialize;

use crate::batching::{self, to_f32};
use crate::options::{Purpose, Setup};
use crate::pooling::normalize;
use crate::tokenizer::TokenIds;
use crate::{Error, ModelFiles, Pooling, PoolingMode, Result, RunOptions, Tokenizer};

/// One text's embedding.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Embedding {
    /// Tokens that entered the model, special tokens included.
    pub tokens: usize,
    /// Whether the text was cut to fit.
    pub truncated: bool,
    /// The embedding.
    pub vector: Vec<f32>,
}

/// The vectors of one text's tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenEmbeddings {
    /// The tokens' pieces, special tokens included.
    pub pieces: Vec<String>,
    /// Whether the text was cut to fit.
    pub truncated: bool,
    /// One vector a piece.
    pub vectors: Vec<Vec<f32>>,
}

/// Turns texts into embeddings as sentence-transformers does.
///
/// Pooling, normalization, length and prompt come from the model's own files; the `with_` methods
/// override them.
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
#[derive(Debug)]
pub struct Embedder {
    model: AlbertModel,
    tokenizer: Tokenizer,
    pooling: Pooling,
    has_pooler: bool,
    max_length: usize,
    batch_tokens: usize,
    truncate_dim: Option<usize>,
    /// What the caller asked for, as opposed to the model's files.
    asked_to_normalize: Option<bool>,
}

/// What the network gives for one text.
struct Hidden<'a> {
    /// `(T, H)`, padding cut off.
    states: &'a [f32],
    /// `(H)`, where it was asked for.
    pooler: &'a [f32],
}

impl Embedder {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, or the tokenizer does not belong to the network.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let pooling = Pooling::from_files(files)?;
        let Setup { checkpoint, tokenizer, max_length } = Setup::new(files, options, Purpose::Embedding)?;
        pooling.check_width(checkpoint.config().hidden_size)?;
        let (model, _) = AlbertModel::load(&checkpoint, &options.load)?;
        Ok(Self {
            has_pooler: checkpoint.has_pooler(),
            model,
            tokenizer,
            pooling,
            max_length,
            batch_tokens: options.batch_tokens,
            truncate_dim: None,
            asked_to_normalize: None,
        })
    }

    /// Pools with `mode` instead of the model's modes.
    ///
    /// # Errors
    /// If `mode` is the pooler and the model has none.
    pub fn with_pooling(mut self, mode: PoolingMode) -> Result<Self> {
        if mode == PoolingMode::Pooler && !self.has_pooler {
            return Err(Error::NoPooler);
        }
        self.pooling.modes = vec![mode];
        self.pooling.why = format!("{mode} by the caller");
        Ok(self)
    }

    /// Scales embeddings to length 1, or does not.
    pub fn with_normalize(mut self, normalize: bool) -> Self {
        self.pooling.normalize = normalize;
        self.asked_to_normalize = Some(normalize);
        self
    }

    /// Cuts embeddings to their first `dim` dimensions.
    ///
    /// A model that normalizes by itself does so before the cut; the cut vector is normalized again
    /// only by [`Embedder::with_normalize`], or where the model's files say nothing about pooling.
    ///
    /// # Errors
    /// If `dim` is zero or more than the model has.
    pub fn with_truncate_dim(mut self, dim: usize) -> Result<Self> {
        let full = self.full_dim();
        if dim == 0 || dim > full {
            return Err(Error::TruncateDim { asked: dim, dim: full });
        }
        self.truncate_dim = Some(dim);
        Ok(self)
    }

    /// Puts `prompt` before every text, instead of the model's default prompt; an empty one is none.
    pub fn with_prompt(mut self, prompt: &str) -> Self {
        self.pooling.prompt = Some(prompt.to_string()).filter(|prompt| !prompt.is_empty());
        self
    }

    /// How this embedder pools, and why.
    pub fn pooling(&self) -> &Pooling {
        &self.pooling
    }

    /// The width of an embedding.
    pub fn dim(&self) -> usize {
        self.truncate_dim.map_or(self.full_dim(), |dim| dim.min(self.full_dim()))
    }

    /// The longest text in tokens, special ones included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.model.config()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// One embedding for each text, in order.
    ///
    /// A text is computed with others of like length; its embedding does not depend on them beyond
    /// rounding. An empty text is `[CLS] [SEP]` and has an embedding.
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails, such as for want of memory.
    pub fn embed<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<Embedding>> {
        let prompted: Vec<Cow<'_, str>> = texts.iter().map(|text| self.prompted(text.as_ref())).collect();
        let inputs: Vec<(&str, Option<&str>)> = prompted.iter().map(|text| (text.as_ref(), None)).collect();
        self.embed_inputs(&inputs)
    }

    /// One embedding for each pair of texts, joined as `[CLS] first [SEP] second [SEP]`.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn embed_pairs<S: AsRef<str>, P: AsRef<str>>(&self, pairs: &[(S, P)]) -> Result<Vec<Embedding>> {
        let first: Vec<Cow<'_, str>> = pairs.iter().map(|(text, _)| self.prompted(text.as_ref())).collect();
        let second = pairs.iter().map(|(_, pair)| Some(pair.as_ref()));
        let inputs: Vec<(&str, Option<&str>)> = first.iter().map(AsRef::as_ref).zip(second).collect();
        self.embed_inputs(&inputs)
    }

    /// The vectors of each text's tokens, in order.
    ///
    /// They are the network's own: normalized only by [`Embedder::with_normalize`]`(true)`.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn embed_tokens<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<TokenEmbeddings>> {
        let prompted: Vec<Cow<'_, str>> = texts.iter().map(|text| self.prompted(text.as_ref())).collect();
        let inputs: Vec<(&str, Option<&str>)> = prompted.iter().map(|text| (text.as_ref(), None)).collect();
        self.run(&inputs, |tokens, hidden| {
            let vectors = hidden.states.chunks_exact(self.config().hidden_size).map(|vector| {
                let mut vector = vector.to_vec();
                self.cut(&mut vector);
                if self.asked_to_normalize == Some(true) {
                    normalize(&mut vector);
                }
                vector
            });
            let pieces = tokens.ids.iter().map(|&id| self.tokenizer.id_to_token(id).unwrap_or_default());
            Ok(TokenEmbeddings {
                pieces: pieces.collect(),
                truncated: tokens.truncated,
                vectors: vectors.collect(),
            })
        })
    }

    fn embed_inputs(&self, inputs: &[(&str, Option<&str>)]) -> Result<Vec<Embedding>> {
        let skipped = self.skipped_tokens()?;
        self.run(inputs, |tokens, hidden| {
            if skipped >= tokens.ids.len() {
                return Err(Error::PromptTooLong { prompt: skipped, max_length: self.max_length });
            }
            let vector = self.finish(self.pool(&hidden, skipped));
            Ok(Embedding { tokens: tokens.ids.len(), truncated: tokens.truncated, vector })
        })
    }

    /// Tokenizes, computes in batches and hands every text's part to `finish`; results in input order.
    fn run<T>(
        &self,
        inputs: &[(&str, Option<&str>)],
        finish: impl Fn(&TokenIds, Hidden<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let tokens: Vec<TokenIds> = inputs
            .par_iter()
            .map(|(text, pair)| self.tokenizer.encode_ids(text, *pair, self.max_length))
            .collect::<Result<_>>()?;
        let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.ids.len()).collect();
        let hidden_size = self.config().hidden_size;

        let mut results: Vec<Option<T>> = inputs.iter().map(|_| None).collect();
        for batch in batching::plan(&lengths, self.batch_tokens) {
            let rows: Vec<&TokenIds> = batch.iter().map(|&index| &tokens[index]).collect();
            let output = self.model.forward(&batching::model_input(&rows, self.model.device())?)?;
            let longest = output.last_hidden_state.dim(1)?;
            let states = to_f32(&output.last_hidden_state)?;
            let pooler = match &output.pooler_output {
                Some(pooler) if self.pooling.modes.contains(&PoolingMode::Pooler) => to_f32(pooler)?,
                _ => vec![],
            };
            for (row, &index) in batch.iter().enumerate() {
                let states = &states[row * longest * hidden_size..][..lengths[index] * hidden_size];
                if !states.iter().all(|value| value.is_finite()) {
                    return Err(Error::NotFinite);
                }
                let pooler = pooler.get(row * hidden_size..(row + 1) * hidden_size).unwrap_or_default();
                results[index] = Some(finish(&tokens[index], Hidden { states, pooler })?);
            }
        }
        Ok(results.into_iter().flatten().collect())
    }

    fn pool(&self, hidden: &Hidden<'_>, skipped: usize) -> Vec<f32> {
        let hidden_size = self.config().hidden_size;
        let pool = |mode: &PoolingMode| match mode {
            PoolingMode::Pooler => mode.pool(hidden.pooler, hidden_size, 0),
            _ => mode.pool(hidden.states, hidden_size, skipped),
        };
        self.pooling.modes.iter().flat_map(pool).collect()
    }

    /// Normalizes and cuts, in the order that [`Embedder::with_truncate_dim`] tells.
    fn finish(&self, mut vector: Vec<f32>) -> Vec<f32> {
        let last = self.asked_to_normalize.is_some() || !self.pooling.from_modules;
        if self.pooling.normalize && !last {
            normalize(&mut vector);
        }
        self.cut(&mut vector);
        if self.pooling.normalize && last {
            normalize(&mut vector);
        }
        vector
    }

    fn cut(&self, vector: &mut Vec<f32>) {
        vector.truncate(self.truncate_dim.unwrap_or(vector.len()));
    }

    fn full_dim(&self) -> usize {
        self.pooling.modes.len() * self.config().hidden_size
    }

    fn prompted<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.pooling.prompt {
            Some(prompt) => Cow::Owned(format!("{prompt}{text}")),
            None => Cow::Borrowed(text),
        }
    }

    /// Tokens at the start that are not pooled: the prompt's with its `[CLS]`, where the model
    /// leaves prompts out, counted as sentence-transformers does, by the prompt alone.
    fn skipped_tokens(&self) -> Result<usize> {
        match &self.pooling.prompt {
            Some(prompt) if !self.pooling.include_prompt => {
                let alone = self.tokenizer.encode_ids(prompt, None, self.max_length)?;
                Ok(alone.ids.len().saturating_sub(1))
            }
            _ => Ok(0),
        }
    }
}
