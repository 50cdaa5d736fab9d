//! Tokenized texts, each with the options that it is embedded with.

use std::borrow::Cow;

use rayon::prelude::*;

use super::passes::Passes;
use super::{EmbedOptions, Embedder};
use crate::{Error, Result, TextInput};

/// A tokenized text that [`Embedder::embed_prepared`] embeds.
#[derive(Debug)]
pub struct PreparedText {
    pub(super) text: Passes,
    /// The number of tokens at the start that pooling skips, those of a prompt that is not pooled.
    pub(super) skipped: usize,
    /// Scales the result to length 1, or does not; by default as the model's files have it.
    pub(super) normalize: Option<bool>,
    /// The width that the result is cut to.
    pub(super) truncate_dim: Option<usize>,
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

impl Embedder {
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
            let text = Passes::new(
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
            let text = Passes::from_ids(
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
}
