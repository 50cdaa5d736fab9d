//! The interface of the tokenizers that a model may have.

use super::{Encoding, Explanation, TokenIds};
use crate::{Error, Result};

/// A tokenizer implementation: this crate's SentencePiece, or the tokenizers crate.
pub(super) trait Engine: Send + Sync {
    /// Returns the tokens of a text or a pair; `explain` gets a reason for each.
    fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: Option<usize>,
        explain: Option<&mut Vec<Explanation>>,
    ) -> Result<Encoding>;
    /// [`Engine::encode`] without pieces and offsets, which take time to make.
    fn encode_ids(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<TokenIds>;
    /// Calls `visit` with the id and the range of characters of each token, without special tokens
    /// around the text. A long text is read part by part if that gives the tokens of the whole.
    fn each_token(&self, text: &str, visit: &mut dyn FnMut(u32, (u32, u32))) -> Result<()>;
    /// Returns the ids of a text without special tokens around it.
    fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 4);
        self.each_token(text, &mut |id, _| ids.push(id))?;
        Ok(ids)
    }
    /// Returns the ids of a text, or `None` if a part of it is not in the vocabulary.
    fn known_ids(&self, text: &str) -> Result<Option<Vec<u32>>>;
    /// Returns the number of special tokens around a text or a pair.
    fn special_tokens(&self, is_pair: bool) -> usize;
    /// Returns the text of ids.
    fn decode(&self, ids: &[u32]) -> Result<String>;
    /// Returns the number of pieces.
    fn vocab_size(&self) -> usize;
    /// Returns the highest id of a piece.
    fn highest_id(&self) -> u32;
    /// Returns the id of a piece.
    fn token_to_id(&self, token: &str) -> Option<u32>;
    /// Returns the piece of an id.
    fn id_to_token(&self, id: u32) -> Option<String>;
    /// Returns the special token of a role, such as `mask_token`.
    fn role(&self, role: &str) -> Option<&str>;
    /// Returns the kind of model: Unigram, WordPiece and so on.
    fn model_name(&self) -> &'static str;
    /// Returns true if text is lowercased.
    fn lowercases(&self) -> Result<bool>;
    /// Returns true if accents are kept.
    fn keeps_accents(&self) -> Result<bool>;
    /// Returns true if any text so far lost marks that were more than accents.
    fn dropped_marks(&self) -> bool {
        false
    }
    /// Returns the tokens of text that fit next to the special ones.
    fn room(&self, max_length: usize, is_pair: bool) -> Result<usize> {
        let special = self.special_tokens(is_pair);
        match max_length.checked_sub(special) {
            Some(room) if room > 0 => Ok(room),
            _ => Err(Error::MaxLength {
                max_length,
                special,
            }),
        }
    }
}
