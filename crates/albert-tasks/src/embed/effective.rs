//! The options in effect for a call: the call's own, then the embedder's, then the model's.

use super::windows::Windows;
use super::{EmbedOptions, Embedder};
use crate::{Error, Result};

impl Embedder {
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

    /// Returns the width to which embeddings are cut.
    pub(super) fn truncate_dim(&self, options: &EmbedOptions) -> Option<usize> {
        options
            .truncate_dim
            .or(self.defaults.truncate_dim)
            .or(self.pooling.truncate_dim)
    }

    /// Returns the prompt of merged options, else the model's default one.
    pub(super) fn prompt<'a>(&'a self, options: &'a EmbedOptions) -> Result<Option<&'a str>> {
        // A name is looked up even if the text takes precedence: an unknown one is a mistake.
        let name = options.prompt_name.as_ref();
        let named = name.map(|name| self.prompts.get(name)).transpose()?;
        let prompt = options.prompt.as_deref().or(named);
        let prompt = prompt.or(self.pooling.prompt.as_deref());
        Ok(prompt.filter(|prompt| !prompt.is_empty()))
    }

    /// Returns the division of long texts, if merged options have a stride.
    pub(super) fn windows(&self, options: &EmbedOptions) -> Result<Option<Windows>> {
        let Some(stride) = options.stride else {
            return Ok(None);
        };
        // The first special token does not belong to the prompt.
        let prompt = self.prompt_tokens(self.prompt(options)?)?.saturating_sub(1);
        Ok(Some(Windows { stride, prompt }))
    }

    /// Returns the number of tokens of a prompt and the `[CLS]` before it, tokenized without the
    /// text as in sentence-transformers; 0 without a prompt.
    pub(super) fn prompt_tokens(&self, prompt: Option<&str>) -> Result<usize> {
        let Some(prompt) = prompt else {
            return Ok(0);
        };
        let alone = self
            .tokenizer()
            .encode_ids(prompt, None, self.max_length())?;
        Ok(alone.ids.len().saturating_sub(1))
    }
}
