//! The options for one call of the embedder.

/// Options for one call of [`Embedder`](crate::Embedder). `None` means the embedder's own setting,
/// from its `with_…` methods or the model's files.
///
/// ```
/// use albert_tasks::EmbedOptions;
///
/// let options = EmbedOptions::default().with_prompt_name("query").with_normalize(true);
/// assert_eq!(options.prompt_name.as_deref(), Some("query"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmbedOptions {
    /// The text put before every text; an empty prompt means none.
    pub prompt: Option<String>,
    /// The name of one of the model's prompts ([`Embedder::prompts`](crate::Embedder::prompts)),
    /// used if `prompt` is `None`.
    pub prompt_name: Option<String>,
    /// Scales embeddings to length 1, or does not.
    pub normalize: Option<bool>,
    /// The number of dimensions to keep, from the first.
    pub truncate_dim: Option<usize>,
    /// Reads a text that is too long in windows that share this many tokens; see
    /// [`Embedder::with_stride`](crate::Embedder::with_stride).
    pub stride: Option<usize>,
    /// The side on which a text that is too long is truncated.
    pub truncation: TruncationSide,
}

/// The side on which a text is truncated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TruncationSide {
    /// Removes the end of the text.
    #[default]
    Right,
    /// Removes the start of the text.
    Left,
}

impl EmbedOptions {
    /// Puts `prompt` before every text.
    pub fn with_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.prompt = Some(prompt.into());
        self
    }

    /// Puts the model's prompt of this name before every text.
    pub fn with_prompt_name(mut self, name: impl Into<String>) -> Self {
        self.prompt_name = Some(name.into());
        self
    }

    /// Scales embeddings to length 1, or does not.
    pub fn with_normalize(mut self, normalize: impl Into<Option<bool>>) -> Self {
        self.normalize = normalize.into();
        self
    }

    /// Keeps the first `dim` dimensions.
    pub fn with_truncate_dim(mut self, dim: impl Into<Option<usize>>) -> Self {
        self.truncate_dim = dim.into();
        self
    }

    /// Reads long texts in windows that share `stride` tokens.
    pub fn with_stride(mut self, stride: impl Into<Option<usize>>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Truncates long texts on `side`.
    pub fn with_truncation(mut self, side: TruncationSide) -> Self {
        self.truncation = side;
        self
    }

    /// Replaces `None` by the values of `defaults`.
    pub(super) fn or(&self, defaults: &Self) -> Self {
        let has_prompt = self.prompt.is_some() || self.prompt_name.is_some();
        let prompts = if has_prompt { self } else { defaults };
        Self {
            prompt: prompts.prompt.clone(),
            prompt_name: prompts.prompt_name.clone(),
            normalize: self.normalize.or(defaults.normalize),
            truncate_dim: self.truncate_dim.or(defaults.truncate_dim),
            stride: self.stride.or(defaults.stride),
            truncation: self.truncation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_overrides_the_defaults_and_its_prompt_replaces_theirs() {
        let defaults = EmbedOptions::default()
            .with_prompt("a: ")
            .with_normalize(true)
            .with_truncate_dim(4);
        let named = EmbedOptions::default()
            .with_prompt_name("query")
            .or(&defaults);
        assert_eq!(
            (named.prompt, named.prompt_name),
            (None, Some("query".into()))
        );
        assert_eq!((named.normalize, named.truncate_dim), (Some(true), Some(4)));
        let plain = EmbedOptions::default().with_normalize(false).or(&defaults);
        assert_eq!(plain.prompt.as_deref(), Some("a: "));
        assert_eq!(plain.normalize, Some(false));
    }
}
