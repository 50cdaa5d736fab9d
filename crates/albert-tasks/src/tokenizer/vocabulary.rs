//! Look-ups in a tokenizer's vocabulary.

use super::Tokenizer;
use crate::{Error, Result};

impl Tokenizer {
    /// Decodes ids to a text, special tokens included.
    ///
    /// ```
    /// use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
    /// # fn main() -> albert_tasks::Result<()> {
    /// # if cfg!(not(feature = "builtin")) { return Ok(()) }
    /// let tokenizer = Tokenizer::load(&ModelFiles::builtin()?, &TokenizerOptions::default())?;
    /// let ids = tokenizer.encode("a quick test", None, None)?.ids;
    /// assert_eq!(tokenizer.decode(&ids[1..ids.len() - 1])?, "a quick test");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the decoder fails, which that of a broken `tokenizer.json` may.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.engine.decode(ids)
    }

    /// Returns the number of pieces in the vocabulary, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.engine.vocab_size()
    }

    /// Returns the id of a piece.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.engine.token_to_id(token)
    }

    /// Returns the piece of an id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.engine.id_to_token(id)
    }

    /// Returns the id of the mask token, if the vocabulary has one.
    pub fn mask_token_id(&self) -> Option<u32> {
        self.mask_token_id
    }

    /// Returns the mask token: `[MASK]`, unless `tokenizer_config.json` names another.
    pub fn mask_token(&self) -> &str {
        &self.mask_token
    }

    /// Returns true if `id` is that of a special token, such as `[CLS]` or `[MASK]`.
    ///
    /// ```
    /// use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
    /// # fn main() -> albert_tasks::Result<()> {
    /// # if cfg!(not(feature = "builtin")) { return Ok(()) }
    /// let tokenizer = Tokenizer::load(&ModelFiles::builtin()?, &TokenizerOptions::default())?;
    /// let ids = tokenizer.encode("quick", None, None)?.ids;
    /// assert_eq!(ids.iter().filter(|&&id| tokenizer.is_special(id)).count(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_special(&self, id: u32) -> bool {
        const ROLES: [&str; 7] = [
            "cls_token",
            "sep_token",
            "mask_token",
            "pad_token",
            "unk_token",
            "bos_token",
            "eos_token",
        ];
        let mut tokens = ROLES.iter().filter_map(|role| self.engine.role(role));
        tokens.any(|token| self.engine.token_to_id(token) == Some(id))
    }

    /// Refuses ids that an embedding table of `rows` rows does not have.
    pub(crate) fn check_vocabulary(&self, rows: usize) -> Result<()> {
        if (self.highest_id as usize) < rows {
            return Ok(());
        }
        Err(Error::VocabularyTooLarge {
            file: self.file.into(),
            highest: self.highest_id,
            rows,
        })
    }
}
