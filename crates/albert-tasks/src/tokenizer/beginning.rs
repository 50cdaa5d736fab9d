//! The beginning of a text that is far longer than a model reads.

use super::Tokenizer;
use crate::Result;

impl Tokenizer {
    /// Returns a prefix of a text that is far longer than `max_length` tokens, such that the first
    /// `max_length` tokens are those of the whole text. Other texts are returned unchanged.
    ///
    /// Tokenizing a book on one line would otherwise take seconds and gigabytes, only to discard
    /// most tokens. The beginning ends before a space, where no token of the vocabulary is cut.
    /// Without a space, it ends at a character: every tokenization of the whole text continues from
    /// one of the last boundaries before that, so the beginning is taken only if all of these
    /// agree.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub(crate) fn beginning<'a>(&self, text: &'a str, max_length: usize) -> Result<&'a str> {
        /// No language has tokens this long on average.
        const BYTES_A_TOKEN: usize = 64;
        /// Characters of the longest piece that a boundary can fall into: SentencePiece trains
        /// pieces of 16 at most.
        const LONGEST_PIECE: usize = 24;
        let limit = max_length.saturating_mul(BYTES_A_TOKEN);
        if text.len() <= limit {
            return Ok(text);
        }
        let Some(end) = (0..=limit).rev().find(|&end| text.is_char_boundary(end)) else {
            return Ok(text);
        };
        let ids = |beginning: &str| self.engine.encode_ids(beginning, None, max_length);
        if let Some(space) = text[..end].rfind(char::is_whitespace)
            && ids(&text[..space])?.truncated
        {
            return Ok(&text[..space]);
        }
        let expected = ids(&text[..end])?;
        let ends = text[..end].char_indices().rev().take(LONGEST_PIECE);
        for (shorter, _) in ends {
            let found = ids(&text[..shorter])?;
            if !found.truncated || found.ids != expected.ids {
                return Ok(text);
            }
        }
        Ok(&text[..end])
    }
}
