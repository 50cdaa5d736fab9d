//! The labeled spans of a text.

use serde::Serialize;

/// A labeled span of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entity {
    /// The label, without `B-` or `I-` except with [`Aggregation::None`](crate::Aggregation::None).
    pub label: String,
    /// The offset of the first character, in Unicode scalar values.
    pub start: usize,
    /// The end offset (exclusive).
    pub end: usize,
    /// The index of the first word, if the text was given as words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_word: Option<usize>,
    /// The index of the last word (inclusive), if the text was given as words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_word: Option<usize>,
    /// The characters of the span.
    pub text: String,
    /// The probability, as the aggregation defines it.
    pub score: f32,
}

/// The entities of one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Entities {
    /// The entities in the order of the text; spans labeled `O` are left out.
    pub entities: Vec<Entity>,
    /// Tokens that entered the network, special tokens included, over all windows.
    pub tokens: usize,
    /// True if the text was truncated.
    pub truncated: bool,
}
