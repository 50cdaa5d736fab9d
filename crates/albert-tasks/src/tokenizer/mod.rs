//! Text to token ids, with what a caller needs to find its way back to the text.
//!
//! `tokenizer.json` decides, as the tokenizers crate reads it. Two things in it are ignored, because
//! they are this crate's business: stored truncation and padding. Special tokens come from the
//! vocabulary, never from `config.json`, whose ids are wrong in many folders.

mod normalizer;

use serde::Serialize;
use tokenizers::utils::truncation::{TruncationParams, truncate_encodings};
use tokenizers::{EncodeInput, PostProcessor as _};

use crate::json::{self, JsonObject};
use crate::{Error, ModelFiles, Result};

/// The only tokenizer file read so far.
const TOKENIZER_JSON: &str = "tokenizer.json";

/// Overrides of how a tokenizer normalizes text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizerOptions {
    /// Whether text is lowercased; `None` leaves it to the tokenizer's file.
    pub lowercase: Option<bool>,
    /// Whether accents are kept; `None` leaves it to the tokenizer's file.
    pub keep_accents: Option<bool>,
}

/// A text cut into tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Encoding {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The vocabulary's piece of each id.
    pub pieces: Vec<String>,
    /// 0 for the first text, 1 for the second.
    pub type_ids: Vec<u32>,
    /// 1 for the tokens added around the text.
    pub special_tokens_mask: Vec<u32>,
    /// Half-open ranges in characters (Unicode scalar values), each text of a pair in itself; (0, 0)
    /// for the tokens added around the text.
    pub offsets: Vec<(usize, usize)>,
    /// Whether tokens were cut off at the end to fit the length.
    #[serde(skip)]
    pub truncated: bool,
}

/// What the network needs of an encoding.
#[derive(Debug, Clone)]
pub(crate) struct TokenIds {
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
    pub(crate) truncated: bool,
}

impl TokenIds {
    /// Puts `ids` in place of the one token at `position`, with its type.
    pub(crate) fn replace(&mut self, position: usize, ids: &[u32]) {
        let type_id = self.type_ids[position];
        self.ids.splice(position..=position, ids.iter().copied());
        self.type_ids.splice(position..=position, ids.iter().map(|_| type_id));
    }
}

/// A model's tokenizer. `Send + Sync`: one serves all threads.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    source: String,
    highest_id: u32,
    mask_token: String,
    mask_token_id: Option<u32>,
}

impl Tokenizer {
    /// Reads the tokenizer of a model.
    ///
    /// # Errors
    /// If there is none, if it comes in a form that is not supported yet (`spiece.model`,
    /// `vocab.txt`), if its vocabulary lacks `[CLS]` or `[SEP]`, or if its normalizer cannot follow
    /// `options`.
    pub fn load(files: &ModelFiles, options: &TokenizerOptions) -> Result<Self> {
        let mut inner = read_tokenizer_json(files, options)?;
        // Length and padding are decided for each call, not by what was stored when the file was made.
        inner.with_padding(None);
        let refused = |source| Error::Tokenizer { file: TOKENIZER_JSON.into(), source };
        inner.with_truncation(None).map_err(refused)?;
        // A file can be readable and still fail on every text.
        contained(|| inner.encode(("a", "b"), true)).map_err(refused)?;

        let config = JsonObject::read(files, "tokenizer_config.json")?;
        for (key, default) in [("cls_token", "[CLS]"), ("sep_token", "[SEP]")] {
            let token = special_token(config.as_ref(), key, default)?;
            if inner.token_to_id(&token).is_none() {
                return Err(Error::MissingToken { token, file: TOKENIZER_JSON.into() });
            }
        }
        let mask_token = special_token(config.as_ref(), "mask_token", "[MASK]")?;
        let highest_id = inner.get_vocab(true).into_values().max().unwrap_or(0);
        let mut source = String::from("tokenizer.json, as the tokenizers crate reads it");
        if files.has("spiece.model") {
            source.push_str("; `spiece.model` beside it is not read yet");
        }
        Ok(Self { mask_token_id: inner.token_to_id(&mask_token), inner, source, highest_id, mask_token })
    }

    /// Cuts a text, or a pair of texts, into tokens.
    ///
    /// A text longer than `max_length` tokens, special ones included, loses its end; of a pair the
    /// longer text is cut first (`longest_first`). `None` cuts nothing.
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
    /// If `max_length` leaves no room beside the special tokens, or the tokenizer refuses the text.
    pub fn encode(&self, text: &str, pair: Option<&str>, max_length: Option<usize>) -> Result<Encoding> {
        let (encoding, truncated) =
            self.run(text, pair, max_length, |input| self.inner.encode_char_offsets(input, false))?;
        Ok(Encoding {
            ids: encoding.get_ids().to_vec(),
            // Not the encoding's tokens: for an unknown one that would be the text it stands for.
            pieces: encoding.get_ids().iter().map(|&id| self.id_to_token(id).unwrap_or_default()).collect(),
            type_ids: encoding.get_type_ids().to_vec(),
            special_tokens_mask: encoding.get_special_tokens_mask().to_vec(),
            offsets: encoding.get_offsets().to_vec(),
            truncated,
        })
    }

    /// [`Tokenizer::encode`] without pieces and offsets, which take time to make.
    pub(crate) fn encode_ids(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<TokenIds> {
        if pair.is_none()
            && let Some(beginning) = beginning(text, max_length)
        {
            let cut = self.encode_whole(beginning, None, max_length)?;
            // Else its tokens are longer than any language's, and all of it has to be read.
            if cut.truncated {
                return Ok(cut);
            }
        }
        self.encode_whole(text, pair, max_length)
    }

    fn encode_whole(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<TokenIds> {
        let (encoding, truncated) =
            self.run(text, pair, Some(max_length), |input| self.inner.encode_fast(input, false))?;
        Ok(TokenIds {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            truncated,
        })
    }

    /// Each text by itself without special tokens, then cut, then joined with them.
    fn run<'s>(
        &self,
        text: &'s str,
        pair: Option<&'s str>,
        max_length: Option<usize>,
        encode: impl Fn(EncodeInput<'s>) -> tokenizers::Result<tokenizers::Encoding>,
    ) -> Result<(tokenizers::Encoding, bool)> {
        let mut first = contained(|| encode(text.into())).map_err(Error::Tokenize)?;
        let mut second =
            pair.map(|pair| contained(|| encode(pair.into()))).transpose().map_err(Error::Tokenize)?;
        let mut truncated = false;
        if let Some(max_length) = max_length {
            let room = self.room(max_length, pair.is_some())?;
            truncated = first.len() + second.as_ref().map_or(0, tokenizers::Encoding::len) > room;
            let params = TruncationParams { max_length: room, ..TruncationParams::default() };
            (first, second) = truncate_encodings(first, second, &params).map_err(Error::Tokenize)?;
            // What was cut off would get special tokens of its own below, and is dropped anyway.
            first.take_overflowing();
            second.as_mut().map(tokenizers::Encoding::take_overflowing);
        }
        let joined = contained(|| self.inner.post_process(first, second, true)).map_err(Error::Tokenize)?;
        Ok((joined, truncated))
    }

    /// Tokens of text that fit beside the special ones.
    pub(crate) fn room(&self, max_length: usize, is_pair: bool) -> Result<usize> {
        let special = self.inner.get_post_processor().map_or(0, |post| post.added_tokens(is_pair));
        match max_length.checked_sub(special) {
            Some(room) if room > 0 => Ok(room),
            _ => Err(Error::MaxLength { max_length, special }),
        }
    }

    /// The ids of a text by itself, without special tokens around it.
    pub(crate) fn ids_without_special_tokens(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = contained(|| self.inner.encode_fast(text, false)).map_err(Error::Tokenize)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a text by itself; `None` where some part of it is not in the vocabulary.
    pub(crate) fn known_ids(&self, text: &str) -> Result<Option<Vec<u32>>> {
        use tokenizers::ModelWrapper;
        let encoding = contained(|| self.inner.encode(text, false)).map_err(Error::Tokenize)?;
        let unknown = match self.inner.get_model() {
            // Unigram gives an unknown token the text that it stands for, not a name.
            ModelWrapper::Unigram(_) => None,
            ModelWrapper::WordPiece(model) => Some(model.unk_token.as_str()),
            ModelWrapper::WordLevel(model) => Some(model.unk_token.as_str()),
            ModelWrapper::BPE(model) => model.get_unk_token().as_deref(),
        };
        let is_known = |(id, token): (&u32, &String)| {
            self.id_to_token(*id).as_ref() == Some(token) && Some(token.as_str()) != unknown
        };
        let all_known = encoding.get_ids().iter().zip(encoding.get_tokens()).all(is_known);
        Ok(all_known.then(|| encoding.get_ids().to_vec()))
    }

    /// The text of some ids, as the tokenizer's decoder writes it.
    pub(crate) fn decode(&self, ids: &[u32]) -> Result<String> {
        contained(|| self.inner.decode(ids, false)).map_err(Error::Tokenize)
    }

    /// How many pieces the vocabulary has, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a piece.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The piece of an id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of the mask token, where the vocabulary has one.
    pub fn mask_token_id(&self) -> Option<u32> {
        self.mask_token_id
    }

    /// The mask token: `[MASK]`, unless `tokenizer_config.json` names another.
    pub fn mask_token(&self) -> &str {
        &self.mask_token
    }

    /// Which file the tokenizer was read from, and why that one.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The kind of model inside: `Unigram`, `WordPiece`, `WordLevel` or `BPE`.
    pub(crate) fn model_name(&self) -> &'static str {
        use tokenizers::ModelWrapper;
        match self.inner.get_model() {
            ModelWrapper::Unigram(_) => "Unigram",
            ModelWrapper::WordPiece(_) => "WordPiece",
            ModelWrapper::WordLevel(_) => "WordLevel",
            ModelWrapper::BPE(_) => "BPE",
        }
    }

    /// Whether text is lowercased, found by trying.
    pub(crate) fn lowercases(&self) -> Result<bool> {
        normalizer::lowercases(&self.inner)
    }

    /// Whether accents are kept, found by trying.
    pub(crate) fn keeps_accents(&self) -> Result<bool> {
        normalizer::keeps_accents(&self.inner)
    }

    /// Refuses ids that an embedding table of `rows` rows does not have.
    pub(crate) fn check_vocabulary(&self, rows: usize) -> Result<()> {
        if (self.highest_id as usize) < rows {
            return Ok(());
        }
        Err(Error::VocabularyTooLarge { file: TOKENIZER_JSON.into(), highest: self.highest_id, rows })
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

fn read_tokenizer_json(files: &ModelFiles, options: &TokenizerOptions) -> Result<tokenizers::Tokenizer> {
    let Some(bytes) = files.read(TOKENIZER_JSON)? else {
        let model = files.name().to_string();
        return Err(match ["spiece.model", "vocab.txt"].into_iter().find(|file| files.has(file)) {
            Some(file) => Error::UnsupportedTokenizer { model, file },
            None => Error::NoTokenizer(model),
        });
    };
    let refused = |source| Error::Tokenizer { file: TOKENIZER_JSON.into(), source };
    if *options == TokenizerOptions::default() {
        return contained(|| tokenizers::Tokenizer::from_bytes(&bytes)).map_err(refused);
    }
    let Some(mut value) = json::read_value(files, TOKENIZER_JSON)? else {
        return Err(Error::NoTokenizer(files.name().to_string()));
    };
    normalizer::apply(&mut value, options)?;
    let tokenizer = contained(|| tokenizers::Tokenizer::from_bytes(value.to_string())).map_err(refused)?;
    normalizer::verify(&tokenizer, options)?;
    Ok(tokenizer)
}

/// The beginning of a text that is far longer than the model, up to a space.
///
/// A book on one line would be cut into tokens for seconds and gigabytes, to be thrown away.
fn beginning(text: &str, max_length: usize) -> Option<&str> {
    const BYTES_A_TOKEN: usize = 64;
    let limit = max_length.saturating_mul(BYTES_A_TOKEN);
    if text.len() <= limit {
        return None;
    }
    let end = (0..=limit).rev().find(|&end| text.is_char_boundary(end))?;
    text[..end].rfind(char::is_whitespace).map(|space| &text[..space])
}

/// Runs the tokenizers crate, which panics (0.23) on some broken files that it reads without complaint:
/// a cut or overwritten `precompiled_charsmap`, a template with a special token that it does not define.
fn contained<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err("the tokenizers crate panicked: the file is broken".into()))
}

/// A special token of `tokenizer_config.json`: a string, or an object with `content`.
fn special_token(config: Option<&JsonObject>, key: &str, default: &str) -> Result<String> {
    let Some(config) = config else { return Ok(default.to_string()) };
    match config.get(key) {
        None => Ok(default.to_string()),
        Some(value) => {
            match value.as_str().or_else(|| value.get("content").and_then(|content| content.as_str())) {
                Some(token) => Ok(token.to_string()),
                None => Err(config.unexpected(key, "a string, or an object with `content`", value)),
            }
        }
    }
}
