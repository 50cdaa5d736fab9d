//! The options for tagging.

use super::Aggregation;

/// Options for [`Tagger::tag`](crate::Tagger::tag) and [`Tagger::tag_words`](crate::Tagger::tag_words).
///
/// ```
/// use albert_tasks::{Aggregation, TagOptions};
///
/// let options = TagOptions::default().with_aggregation(Aggregation::First).with_stride(32);
/// assert_eq!(options.stride, Some(32));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagOptions {
    /// Joins tokens into entities.
    pub aggregation: Aggregation,
    /// Tags the whole of a long text in windows that share this many tokens; `None` truncates the
    /// text. Among overlapping entities the longest is kept, and among equally long ones the most
    /// probable.
    pub stride: Option<usize>,
    /// True to label whole words, for the aggregations that label words. Otherwise every token
    /// counts as a word, which suits texts without spaces.
    pub align_to_words: bool,
}

impl Default for TagOptions {
    fn default() -> Self {
        Self {
            aggregation: Aggregation::default(),
            stride: None,
            align_to_words: true,
        }
    }
}

impl TagOptions {
    /// Joins tokens into entities by `aggregation`.
    pub fn with_aggregation(mut self, aggregation: Aggregation) -> Self {
        self.aggregation = aggregation;
        self
    }

    /// Reads long texts in windows that share `stride` tokens.
    pub fn with_stride(mut self, stride: impl Into<Option<usize>>) -> Self {
        self.stride = stride.into();
        self
    }

    /// Sets whether whole words are labeled.
    pub fn with_align_to_words(mut self, align_to_words: bool) -> Self {
        self.align_to_words = align_to_words;
        self
    }
}
