//! The tokens of a text in few bytes, for texts of any length.

/// The tokens of one text, special tokens included, in 12 bytes each: an
/// [`Encoding`](super::Encoding) without the pieces, which follow from the ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactEncoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Half-open ranges in characters; (0, 0) for the tokens added around the text.
    pub offsets: Vec<(u32, u32)>,
    /// The number of tokens added before the text.
    pub before: usize,
    /// The number of tokens added after it.
    pub after: usize,
}

impl CompactEncoding {
    /// Returns true for the tokens added around the text.
    pub fn is_special(&self, index: usize) -> bool {
        index < self.before || index >= self.ids.len() - self.after
    }
}
