//! One vector per text: pooled hidden states, then the modules after the pooling.

use std::borrow::Borrow;

use albert_model::AlbertOutput;
use serde::Serialize;

use super::{EmbedOptions, Embedder, PreparedText};
use crate::engine::batching::chunks;
use crate::engine::runner::CHUNK_BYTES;
use crate::pooling::{Pass, Pool, Reduction, normalize};
use crate::{Error, PoolingMode, Result, TextInput, input};

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

impl Embedder {
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
}
