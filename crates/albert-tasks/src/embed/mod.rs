//! Sentence embeddings: one vector per text, computed as in sentence-transformers.

mod options;
mod prepared;
mod prompts;

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;

use albert_model::{AlbertConfig, AlbertModel, AlbertOutput, TokensRead};
use rayon::prelude::*;
use serde::Serialize;

use crate::engine::batching::{self, chunks, to_f32};
use crate::engine::runner::CHUNK_BYTES;
use crate::pipeline::{Pipeline, Purpose};
use crate::pooling::{LoadedStage, Pass, Pool, Reduction, add_to, finite, normalize};
use crate::tokenizer::TokenIds;
use crate::{
    Error, ModelFiles, Pooling, PoolingMode, Result, RunOptions, TextInput, Tokenizer, input,
};
pub use options::{EmbedOptions, TruncationSide};
use prepared::{Prepared, Windows};
use prompts::Prompts;

/// The embedding of one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Embedding {
    /// Tokens that entered the network, special tokens included, over all windows.
    pub tokens: usize,
    /// True if the text was truncated.
    pub truncated: bool,
    /// The embedding.
    pub vector: Vec<f32>,
}

/// The vectors of one text's tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenEmbeddings {
    /// The tokens' pieces, special tokens included.
    pub pieces: Vec<String>,
    /// Tokens that entered the network, over all windows.
    pub tokens: usize,
    /// True if the text was truncated.
    pub truncated: bool,
    /// One vector for each piece.
    pub vectors: Vec<Vec<f32>>,
}

/// A tokenized text that [`Embedder::embed_prepared`] embeds.
#[derive(Debug)]
pub struct PreparedText {
    text: Prepared,
    /// The number of tokens at the start that pooling skips, those of a prompt that is not pooled.
    skipped: usize,
    /// Scales the result to length 1, or does not; by default as the model's files have it.
    normalize: Option<bool>,
    /// The width that the result is cut to.
    truncate_dim: Option<usize>,
}

impl PreparedText {
    /// Returns the tokens that enter the network, special tokens included, over all windows.
    pub fn tokens(&self) -> usize {
        self.text.entered()
    }

    /// Returns true if the text was truncated.
    pub fn is_truncated(&self) -> bool {
        self.text.truncated()
    }
}

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
        let pooling = Pooling::from_files(files)?;
        let prompts = Prompts::from_files(files)?;
        let (pipeline, checkpoint) = Pipeline::load(files, options, Purpose::Embedding)?;
        let full_dim = pooling.check_width(checkpoint.config().hidden_size)?;
        let stages = pooling.load_stages(files)?;
        Ok(Self {
            has_pooler: checkpoint.has_pooler(),
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

    /// Returns the network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.pipeline.model.config()
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.pipeline.tokenizer
    }

    /// Embeds each text, or each pair of texts joined as `[CLS] first [SEP] second [SEP]`; results
    /// are in order.
    ///
    /// A text shares a batch with others of similar length; its embedding does not depend on them,
    /// up to rounding. An empty text is `[CLS] [SEP]` and has an embedding.
    ///
    /// # Errors
    /// If the tokenizer refuses a text, windows are requested for a pair, or the computation fails,
    /// for lack of memory for example.
    pub fn embed<I: TextInput + Sync>(&self, inputs: &[I]) -> Result<Vec<Embedding>> {
        self.embed_with(inputs, &EmbedOptions::default())
    }

    /// Embeds texts with options for this call.
    ///
    /// # Errors
    /// See [`Embedder::embed`], and [`Embedder::check`] for the options.
    pub fn embed_with<I: TextInput + Sync>(
        &self,
        inputs: &[I],
        options: &EmbedOptions,
    ) -> Result<Vec<Embedding>> {
        self.check(options)?;
        self.pipeline
            .runner
            .in_chunks(inputs, CHUNK_BYTES, input::bytes, |inputs| {
                self.embed_prepared(&self.prepare(inputs, options)?)
            })
    }

    /// Writes the embeddings of texts to `rows`, one after another, and returns for each text the
    /// number of its tokens, and true if it was truncated.
    ///
    /// ```
    /// # fn main() -> albert_tasks::Result<()> {
    /// # if cfg!(not(feature = "builtin")) { return Ok(()) }
    /// use albert_tasks::{EmbedOptions, Embedder};
    ///
    /// let embedder = Embedder::from_pretrained("albert-mini-en")?;
    /// let mut rows = vec![0.0; 2 * embedder.dim()];
    /// embedder.embed_into(&["A cat.", "A dog."], &EmbedOptions::default(), &mut rows)?;
    /// assert_eq!(rows[..embedder.dim()], embedder.embed(&["A cat."])?[0].vector);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If `rows` does not have [`dim_with`](Self::dim_with) values per text; see also
    /// [`Embedder::embed_with`].
    pub fn embed_into<I: TextInput + Sync>(
        &self,
        inputs: &[I],
        options: &EmbedOptions,
        rows: &mut [f32],
    ) -> Result<Vec<(usize, bool)>> {
        let dim = self.dim_with(options);
        if rows.len() != inputs.len() * dim {
            return Err(Error::InputLength {
                what: "rows",
                expected: (inputs.len() * dim).to_string(),
                found: rows.len(),
            });
        }
        let mut rows = rows.chunks_exact_mut(dim);
        let mut texts = Vec::with_capacity(inputs.len());
        for chunk in chunks(inputs, CHUNK_BYTES, input::bytes) {
            for (embedding, row) in self.embed_with(chunk, options)?.iter().zip(rows.by_ref()) {
                row.copy_from_slice(&embedding.vector);
                texts.push((embedding.tokens, embedding.truncated));
            }
        }
        Ok(texts)
    }

    /// Tokenizes texts for [`embed_prepared`](Self::embed_prepared), so that the number of tokens
    /// is known before anything is computed.
    ///
    /// ```
    /// # fn main() -> albert_tasks::Result<()> {
    /// # if cfg!(not(feature = "builtin")) { return Ok(()) }
    /// use albert_tasks::{EmbedOptions, Embedder};
    ///
    /// let embedder = Embedder::from_pretrained("albert-mini-en")?;
    /// let prepared = embedder.prepare(&["A cat sleeps."], &EmbedOptions::default())?;
    /// assert!(prepared[0].tokens() > 3);
    /// let embeddings = embedder.embed_prepared(&prepared)?;
    /// assert_eq!(embeddings, embedder.embed(&["A cat sleeps."])?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// See [`Embedder::embed_with`].
    pub fn prepare<I: TextInput + Sync>(
        &self,
        inputs: &[I],
        options: &EmbedOptions,
    ) -> Result<Vec<PreparedText>> {
        let options = options.or(&self.defaults);
        let prompt = self.prompt(&options)?;
        let windows = self.windows(&options)?;
        let skipped = if self.pooling.include_prompt {
            0
        } else {
            self.prompt_tokens(prompt)?
        };
        let prepare = |input: &I| {
            let first = match prompt {
                Some(prompt) => Cow::Owned(format!("{prompt}{}", input.first())),
                None => Cow::Borrowed(input.first()),
            };
            if windows.is_some() && input.second().is_some() {
                return Err(Error::PairInWindows);
            }
            let pair = (&*first, input.second());
            let text = Prepared::new(
                self.tokenizer(),
                pair,
                self.max_length(),
                windows.as_ref(),
                options.truncation,
            )?;
            Ok(PreparedText {
                text,
                skipped,
                normalize: options.normalize,
                truncate_dim: self.truncate_dim(&options),
            })
        };
        inputs.par_iter().map(prepare).collect()
    }

    /// Prepares texts that are given as ids of this model's tokenizer. Special tokens are added
    /// around each, unless it has them; one that is too long is truncated.
    ///
    /// ```
    /// # fn main() -> albert_tasks::Result<()> {
    /// # if cfg!(not(feature = "builtin")) { return Ok(()) }
    /// use albert_tasks::{EmbedOptions, Embedder};
    ///
    /// let embedder = Embedder::from_pretrained("albert-mini-en")?;
    /// let ids = embedder.tokenizer().ids_without_special_tokens("A cat sleeps.")?;
    /// let prepared = embedder.prepare_ids(&[ids], &EmbedOptions::default())?;
    /// assert_eq!(embedder.embed_prepared(&prepared)?, embedder.embed(&["A cat sleeps."])?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If an id is not in the vocabulary, or the options have a prompt, which cannot be put before
    /// tokens.
    pub fn prepare_ids(
        &self,
        texts: &[Vec<u32>],
        options: &EmbedOptions,
    ) -> Result<Vec<PreparedText>> {
        self.check(options)?;
        let options = options.or(&self.defaults);
        if self
            .prompt(&options)?
            .is_some_and(|prompt| !prompt.is_empty())
        {
            return Err(Error::PromptBeforeIds);
        }
        let framed = |ids: &Vec<u32>| {
            let text = Prepared::from_ids(
                self.tokenizer(),
                ids,
                self.config().vocab_size,
                self.max_length(),
                options.truncation,
            )?;
            Ok(PreparedText {
                text,
                skipped: 0,
                normalize: options.normalize,
                truncate_dim: self.truncate_dim(&options),
            })
        };
        texts.iter().map(framed).collect()
    }

    /// Embeds texts that [`prepare`](Self::prepare) tokenized, each with the options that it was
    /// prepared with. Texts of several calls of `prepare` can be embedded together.
    ///
    /// # Errors
    /// If the computation fails.
    pub fn embed_prepared<P: Borrow<PreparedText>>(&self, texts: &[P]) -> Result<Vec<Embedding>> {
        let texts: Vec<&PreparedText> = texts.iter().map(Borrow::borrow).collect();
        let hidden_size = self.config().hidden_size;
        let start = |prepared: &&PreparedText| -> Result<Vec<Pool>> {
            let (tokens, skipped) = (prepared.text.ids().len(), prepared.skipped);
            if skipped >= tokens {
                return Err(Error::PromptTooLong {
                    prompt: skipped,
                    max_length: self.max_length(),
                });
            }
            let pool = |&mode: &PoolingMode| Pool::new(mode, hidden_size, tokens, skipped);
            Ok(self.pooling.modes.iter().map(pool).collect())
        };
        let mut pools: Vec<Vec<Pool>> = texts.iter().map(start).collect::<Result<_>>()?;
        let reduction = Reduction {
            modes: &self.pooling.modes,
        };
        let reduce = |output: &AlbertOutput, passes: &[Pass]| {
            let pooler = output.pooler_output.as_ref();
            reduction.reduce(&output.last_hidden_state, pooler, passes)
        };
        let read = |passes: &[Pass]| reduction.tokens_read(passes);
        self.compute(&texts, read, reduce, |text, _, vectors: Vec<f32>| {
            let vectors = vectors.chunks_exact(hidden_size);
            for (pool, vector) in pools[text].iter_mut().zip(vectors) {
                pool.add(vector);
            }
        })?;
        let finish = |(text, pools): (&&PreparedText, Vec<Pool>)| {
            let pooled = pools.into_iter().flat_map(Pool::finish).collect();
            Ok(Embedding {
                tokens: text.tokens(),
                truncated: text.is_truncated(),
                vector: self.finish(pooled, text)?,
            })
        };
        texts.iter().zip(pools).map(finish).collect()
    }

    /// Returns the vectors of each text's tokens, in order.
    ///
    /// They are the hidden states of the network: not pooled, without the modules after the
    /// pooling, and only normalized with [`Embedder::with_normalize`]`(true)`. A token in several
    /// windows has the weighted mean of its vectors.
    ///
    /// # Errors
    /// See [`Embedder::embed`].
    pub fn embed_tokens<I: TextInput + Sync>(&self, inputs: &[I]) -> Result<Vec<TokenEmbeddings>> {
        self.embed_tokens_with(inputs, &EmbedOptions::default())
    }

    /// Returns the vectors of each text's tokens with options for this call.
    ///
    /// # Errors
    /// See [`Embedder::embed_with`].
    pub fn embed_tokens_with<I: TextInput + Sync>(
        &self,
        inputs: &[I],
        options: &EmbedOptions,
    ) -> Result<Vec<TokenEmbeddings>> {
        self.check(options)?;
        self.pipeline
            .runner
            .in_chunks(inputs, CHUNK_BYTES, input::bytes, |inputs| {
                self.embed_tokens_chunk(inputs, &options.or(&self.defaults))
            })
    }

    fn embed_tokens_chunk<I: TextInput + Sync>(
        &self,
        inputs: &[I],
        options: &EmbedOptions,
    ) -> Result<Vec<TokenEmbeddings>> {
        let texts = self.prepare(inputs, options)?;
        let prepared: Vec<&PreparedText> = texts.iter().collect();
        let hidden_size = self.config().hidden_size;
        let mut vectors: Vec<Vec<Vec<f32>>> = texts
            .iter()
            .map(|text| vec![vec![0f32; hidden_size]; text.text.ids().len()])
            .collect();
        let reduce = |output: &AlbertOutput, passes: &[Pass]| {
            let states = to_f32(&output.last_hidden_state)?;
            finite(&states)?;
            let mut rest = &states[..];
            let own = |pass: &Pass| {
                let own;
                (own, rest) = rest.split_at(pass.occurrences.len() * hidden_size);
                Ok(own.to_vec())
            };
            passes.iter().map(own).collect()
        };
        let read = |_: &[Pass]| TokensRead::All;
        self.compute(&prepared, read, reduce, |text, pass, states: Vec<f32>| {
            let states = states.chunks_exact(hidden_size);
            for (occurrence, state) in pass.occurrences.iter().zip(states) {
                let vector = &mut vectors[text][occurrence.position];
                add_to(vector, occurrence.weight, state);
            }
        })?;
        let dim = self.truncate_dim(options);
        let finish = |(text, mut vectors): (&PreparedText, Vec<Vec<f32>>)| {
            for vector in &mut vectors {
                vector.truncate(dim.unwrap_or(vector.len()));
                if options.normalize == Some(true) {
                    normalize(vector);
                }
            }
            let piece = |&id: &u32| self.tokenizer().id_to_token(id).unwrap_or_default();
            TokenEmbeddings {
                pieces: text.text.ids().iter().map(piece).collect(),
                tokens: text.tokens(),
                truncated: text.is_truncated(),
                vectors,
            }
        };
        Ok(texts.iter().zip(vectors).map(finish).collect())
    }

    /// Checks options, as [`embed_with`](Self::embed_with) does before it reads a text.
    ///
    /// # Errors
    /// If the model lacks the prompt or has fewer dimensions, a window has no more text tokens than
    /// the stride, or the prompt leaves no room for text.
    pub fn check(&self, options: &EmbedOptions) -> Result<()> {
        let merged = options.or(&self.defaults);
        if let Some(dim) = merged.truncate_dim
            && !(1..=self.full_dim).contains(&dim)
        {
            return Err(Error::TruncateDim {
                asked: dim,
                dim: self.full_dim,
            });
        }
        self.prompt(&merged)?;
        if let Some(windows) = self.windows(&merged)? {
            windows.room(self.tokenizer(), self.max_length())?;
        }
        Ok(())
    }

    /// Runs every pass of every text through the network; the passes of a text are in order.
    /// `read` returns the tokens that `reduce` reads.
    fn compute<P: Send>(
        &self,
        texts: &[&PreparedText],
        read: impl Fn(&[Pass]) -> TokensRead + Sync,
        reduce: impl Fn(&AlbertOutput, &[Pass]) -> Result<Vec<P>> + Sync,
        mut add: impl FnMut(usize, &Pass, P) + Send,
    ) -> Result<()> {
        let passes: Vec<(usize, usize)> = texts
            .iter()
            .enumerate()
            .flat_map(|(index, text)| (0..text.text.passes()).map(move |pass| (index, pass)))
            .collect();
        let lengths: Vec<usize> = passes
            .iter()
            .map(|&(text, pass)| texts[text].text.pass_len(pass))
            .collect();
        let forward = |batch: &[usize]| {
            let of_batch = || {
                batch
                    .iter()
                    .map(|&row| (texts[passes[row].0], passes[row].1))
            };
            let tokens: Vec<Cow<'_, TokenIds>> = of_batch()
                .map(|(text, pass)| text.text.pass(pass))
                .collect();
            let rows: Vec<&TokenIds> = tokens.iter().map(AsRef::as_ref).collect();
            let model = &self.pipeline.model;
            let places = of_batch().map(|(text, pass)| text.text.places(pass, text.skipped));
            let places: Vec<Pass> = places.collect();
            let input = batching::model_input(&rows, model.device())?;
            let output = model.forward(&input.with_tokens_read(read(&places)))?;
            let kept = reduce(&output, &places)?;
            Ok((places, kept))
        };
        // The longest passes come first, and passes of equal length in order: all windows of a text
        // but the last have the same length.
        self.pipeline
            .runner
            .run(&lengths, forward, |batch, (places, kept)| {
                let rows = batch.iter().zip(places.iter().zip(kept));
                rows.for_each(|(&index, (pass, kept))| add(passes[index].0, pass, kept));
                Ok(())
            })
    }

    /// Applies the modules after the pooling, then normalizes and cuts in the order that
    /// [`Embedder::with_truncate_dim`] describes.
    fn finish(&self, pooled: Vec<f32>, text: &PreparedText) -> Result<Vec<f32>> {
        let mut vector = self
            .stages
            .iter()
            .try_fold(pooled, |vector, stage| stage.forward(vector))?;
        let asked = text.normalize;
        let normalizes = asked.unwrap_or(self.pooling.normalize);
        let last = asked.is_some() || !self.pooling.from_modules;
        if normalizes && !last {
            normalize(&mut vector);
        }
        vector.truncate(text.truncate_dim.unwrap_or(vector.len()));
        if normalizes && last {
            normalize(&mut vector);
        }
        Ok(vector)
    }

    /// Returns the width to which embeddings are cut.
    fn truncate_dim(&self, options: &EmbedOptions) -> Option<usize> {
        options
            .truncate_dim
            .or(self.defaults.truncate_dim)
            .or(self.pooling.truncate_dim)
    }

    /// Returns the prompt of merged options, else the model's default one.
    fn prompt<'a>(&'a self, options: &'a EmbedOptions) -> Result<Option<&'a str>> {
        // A name is looked up even if the text takes precedence: an unknown one is a mistake.
        let name = options.prompt_name.as_ref();
        let named = name.map(|name| self.prompts.get(name)).transpose()?;
        let prompt = options.prompt.as_deref().or(named);
        let prompt = prompt.or(self.pooling.prompt.as_deref());
        Ok(prompt.filter(|prompt| !prompt.is_empty()))
    }

    /// Returns the division of long texts, if merged options have a stride.
    fn windows(&self, options: &EmbedOptions) -> Result<Option<Windows>> {
        let Some(stride) = options.stride else {
            return Ok(None);
        };
        // The first special token does not belong to the prompt.
        let prompt = self.prompt_tokens(self.prompt(options)?)?.saturating_sub(1);
        Ok(Some(Windows { stride, prompt }))
    }

    /// Returns the number of tokens of a prompt and the `[CLS]` before it, tokenized without the
    /// text as in sentence-transformers; 0 without a prompt.
    fn prompt_tokens(&self, prompt: Option<&str>) -> Result<usize> {
        let Some(prompt) = prompt else {
            return Ok(0);
        };
        let alone = self
            .tokenizer()
            .encode_ids(prompt, None, self.max_length())?;
        Ok(alone.ids.len().saturating_sub(1))
    }
}
