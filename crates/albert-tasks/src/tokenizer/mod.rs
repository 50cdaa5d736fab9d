//! Turns text into token ids, with the offsets of each token in the text.
//!
//! The first of these files that a model has determines the tokenizer:
//!
//! 1. `spiece.model`, or Google's `30k-clean.model`: the reference, equal to SentencePiece and
//!    transformers' slow `AlbertTokenizer` (`sentencepiece`). The tokenizers crate comes close, but
//!    gives other ids for some texts.
//! 2. `tokenizer.json`, read by the tokenizers crate (`hugging_face`).
//! 3. `vocab.txt`, or Google's `vocab_chinese.txt`: WordPiece, equal to transformers'
//!    `BertTokenizer` (`word_piece`).
//!
//! Special tokens come from the tokenizer's files (`special`), never from `config.json`, whose ids
//! are wrong in many folders.

mod beginning;
mod compact;
mod encoding;
mod engine;
mod explain;
mod hugging_face;
mod load;
mod normalizer;
mod parts;
mod sentencepiece;
mod special;
mod trie;
mod vocabulary;
mod word_piece;

use crate::Result;
pub use compact::CompactEncoding;
pub(crate) use compact::Frame;
pub use encoding::Encoding;
pub(crate) use encoding::TokenIds;
use engine::Engine;
pub use explain::{Explanation, Normalized, Rule};

/// Overrides of how a tokenizer normalizes text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerOptions {
    /// True to lowercase text; `None` leaves it to the tokenizer's file.
    pub lowercase: Option<bool>,
    /// True to keep accents; `None` leaves it to the tokenizer's file.
    pub keep_accents: Option<bool>,
    /// True to read special tokens in a text, such as `[SEP]`, as ordinary characters.
    pub special_tokens_as_text: bool,
}

/// A model's tokenizer, which all threads can share.
pub struct Tokenizer {
    engine: Box<dyn Engine>,
    file: &'static str,
    source: String,
    highest_id: u32,
    mask_token: String,
    mask_token_id: Option<u32>,
}

impl Tokenizer {
    /// Tokenizes a text or a pair of texts.
    ///
    /// A text longer than `max_length` tokens, special tokens included, is truncated at its end; in
    /// a pair the longer text is truncated first (`longest_first`). `None` does not truncate.
    ///
    /// ```
    /// use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
    /// # fn main() -> albert_tasks::Result<()> {
    /// # if cfg!(not(feature = "builtin")) { return Ok(()) }
    /// let tokenizer = Tokenizer::load(&ModelFiles::builtin()?, &TokenizerOptions::default())?;
    /// let encoding = tokenizer.encode("A test.", None, None)?;
    /// assert_eq!(encoding.pieces.first().map(String::as_str), Some("[CLS]"));
    /// assert_eq!(encoding.offsets.last(), Some(&(0, 0)));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If `max_length` leaves no room next to the special tokens, or the tokenizer refuses the
    /// text.
    pub fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: Option<usize>,
    ) -> Result<Encoding> {
        let text = match (pair, max_length) {
            (None, Some(max_length)) => self.beginning(text, max_length)?,
            _ => text,
        };
        if pair.is_none()
            && max_length.is_none()
            && text.len() > parts::PART_BYTES
            && let Some(compact) = self.encode_compact(text)?
        {
            return Ok(self.expand(&compact));
        }
        self.engine.encode(text, pair, max_length, None)
    }

    /// Tokenizes a text of any length, with few bytes per token; `None` for a tokenizer whose
    /// template gives a single text token types other than 0.
    ///
    /// Memory holds the tokens and the intermediate forms of one part of the text at a time: parts
    /// end at white space, if the tokenizer's rules allow a division there.
    ///
    /// ```
    /// use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
    /// # fn main() -> albert_tasks::Result<()> {
    /// # if cfg!(not(feature = "builtin")) { return Ok(()) }
    /// let tokenizer = Tokenizer::load(&ModelFiles::builtin()?, &TokenizerOptions::default())?;
    /// let compact = tokenizer.encode_compact("A test.")?.unwrap_or_default();
    /// assert_eq!(compact.ids, tokenizer.encode("A test.", None, None)?.ids);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub fn encode_compact(&self, text: &str) -> Result<Option<CompactEncoding>> {
        let Some(frame) = self.frame(false)? else {
            return Ok(None);
        };
        let [before, after] = frame.around.as_slice() else {
            return Ok(None);
        };
        let mut special = before.iter().chain(after);
        if frame.types[0] != 0 || special.any(|(_, type_id)| *type_id != 0) {
            return Ok(None);
        }
        let id = |token: &(u32, u8)| token.0;
        let mut compact = CompactEncoding {
            ids: before.iter().map(id).collect(),
            offsets: vec![(0, 0); before.len()],
            before: before.len(),
            after: after.len(),
        };
        self.engine.each_token(text, &mut |id, place| {
            compact.ids.push(id);
            compact.offsets.push(place);
        })?;
        compact.ids.extend(after.iter().map(id));
        compact.offsets.resize(compact.ids.len(), (0, 0));
        Ok(Some(compact))
    }

    /// Returns the special tokens around a text or a pair, which are the same for all; `None` if
    /// they are not around the texts only.
    ///
    /// # Errors
    /// If the tokenizer refuses every text.
    pub(crate) fn frame(&self, is_pair: bool) -> Result<Option<Frame>> {
        const SAMPLE: &str = "a";
        let pair = is_pair.then_some(SAMPLE);
        let sample = self.engine.encode(SAMPLE, pair, None, None)?;
        Ok(Frame::from_sample(&sample, self.engine.ids(SAMPLE)?.len()))
    }

    /// Calls `visit` with the id and the range of characters of each token, without special tokens
    /// around the text.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub(crate) fn each_token(
        &self,
        text: &str,
        visit: &mut dyn FnMut(u32, (u32, u32)),
    ) -> Result<()> {
        self.engine.each_token(text, visit)
    }

    fn expand(&self, compact: &CompactEncoding) -> Encoding {
        let count = compact.ids.len();
        let pieces = compact.ids.iter();
        let offsets = compact.offsets.iter();
        Encoding {
            pieces: pieces
                .map(|&id| self.id_to_token(id).unwrap_or_default())
                .collect(),
            type_ids: vec![0; count],
            special_tokens_mask: (0..count)
                .map(|index| u32::from(compact.is_special(index)))
                .collect(),
            offsets: offsets
                .map(|&(start, end)| (start as usize, end as usize))
                .collect(),
            ids: compact.ids.clone(),
            truncated: false,
        }
    }

    /// Tokenizes like [`Tokenizer::encode`] without truncation, and returns the rule that produced each
    /// token.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub fn explain(&self, text: &str, pair: Option<&str>) -> Result<(Encoding, Vec<Explanation>)> {
        let mut explanations = Vec::new();
        let encoding = self
            .engine
            .encode(text, pair, None, Some(&mut explanations))?;
        Ok((encoding, explanations))
    }

    /// Tokenizes like [`Tokenizer::encode`], without pieces and offsets, which take time to make.
    pub(crate) fn encode_ids(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: usize,
    ) -> Result<TokenIds> {
        let Some(pair) = pair else {
            let text = self.beginning(text, max_length)?;
            return self.engine.encode_ids(text, None, max_length);
        };
        let [text, pair] = self.beginnings([text, pair], max_length)?;
        self.engine.encode_ids(text, Some(pair), max_length)
    }

    /// Returns the number of text tokens that fit next to the special ones.
    pub(crate) fn room(&self, max_length: usize, is_pair: bool) -> Result<usize> {
        self.engine.room(max_length, is_pair)
    }

    /// Returns the ids of a text, without special tokens around it.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub fn ids_without_special_tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.engine.ids(text)
    }

    /// Returns the ids of a text; `None` if a part of it is not in the vocabulary.
    pub(crate) fn known_ids(&self, text: &str) -> Result<Option<Vec<u32>>> {
        self.engine.known_ids(text)
    }

    /// Returns the file that the tokenizer was read from, and the reason for that choice.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Returns the file that the tokenizer was read from.
    pub(crate) fn file(&self) -> &'static str {
        self.file
    }

    /// Returns the kind of model inside, such as `Unigram` or `WordPiece`.
    pub(crate) fn model_name(&self) -> &'static str {
        self.engine.model_name()
    }

    /// Returns true if text is lowercased.
    pub(crate) fn lowercases(&self) -> Result<bool> {
        self.engine.lowercases()
    }

    /// Returns true if accents are kept.
    pub(crate) fn keeps_accents(&self) -> Result<bool> {
        self.engine.keeps_accents()
    }

    /// Returns true if accents are stripped and any text so far lost combining marks that were more
    /// than accents, such as the virama of Hindi. Only known for `spiece.model`.
    pub fn dropped_marks(&self) -> bool {
        self.engine.dropped_marks()
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("source", &self.source)
            .field("vocab_size", &self.vocab_size())
            .finish()
    }
}
