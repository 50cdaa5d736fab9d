//! Tokenizers of the tokenizers crate, from `tokenizer.json` or `vocab.txt`.
//!
//! The truncation and padding stored in a `tokenizer.json` are ignored, because this crate applies
//! its own.

mod division;
mod explanation;
mod model;
mod pieces;
mod texts;
mod unigram;
mod word_piece;

use serde::Deserialize;
use serde_json::Value;
use tokenizers::utils::truncation::{TruncationParams, truncate_encodings};
use tokenizers::{
    DecoderWrapper, EncodeInput, NormalizerWrapper, PostProcessor as _, PostProcessorWrapper,
    PreTokenizerWrapper, TokenizerImpl,
};

use super::explain::Explanation;
use super::normalizer::BertSwitches;
use super::parts::{PART_BYTES, Part};
use super::special::{SpecialTokens, defaults};
use super::{Encoding, Engine, TokenIds, TokenizerOptions, normalizer};
use crate::json::JsonObject;
use crate::{Error, ModelFiles, Result};
use division::{WordEnds, word_ends};
use model::Model;

/// The tokenizers crate's stages with a [`Model`].
type Stages = TokenizerImpl<
    Model,
    NormalizerWrapper,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// A tokenizer of the tokenizers crate.
pub(super) struct HuggingFace {
    inner: Stages,
    special: SpecialTokens,
    /// The places where texts without added tokens may be divided, if any.
    word_ends: Option<WordEnds>,
}

impl HuggingFace {
    /// Reads `tokenizer.json`.
    pub(super) fn from_json(
        files: &ModelFiles,
        options: &TokenizerOptions,
    ) -> Result<Option<Self>> {
        const FILE: &str = "tokenizer.json";
        let Some(bytes) = files.read(FILE)? else {
            return Ok(None);
        };
        let special = SpecialTokens::read(
            files,
            &defaults(&[
                ("cls_token", "[CLS]"),
                ("sep_token", "[SEP]"),
                ("mask_token", "[MASK]"),
            ]),
        )?;
        let mut this = Self::new(&bytes, FILE, special, options)?;
        let is_overridden = options.lowercase.is_some() || options.keep_accents.is_some();
        let switches = match JsonObject::read(files, "tokenizer_config.json")? {
            Some(config) => BertSwitches::read(&config)?,
            None => None,
        };
        if is_overridden || switches.is_some() {
            this.edit_normalizer(&bytes, FILE, |normalizer| {
                if let Some(switches) = switches {
                    switches.apply(normalizer);
                }
                if is_overridden {
                    normalizer::apply(normalizer, options)?;
                }
                Ok(())
            })?;
            normalizer::verify(this.inner.get_normalizer(), options)?;
        }
        Ok(Some(this))
    }

    /// Creates a tokenizer from a value in the format of `tokenizer.json`, read from `file`.
    pub(super) fn from_value(
        value: &Value,
        file: &str,
        special: SpecialTokens,
        options: &TokenizerOptions,
    ) -> Result<Self> {
        Self::new(value.to_string().as_bytes(), file, special, options)
    }

    fn new(
        bytes: &[u8],
        file: &str,
        special: SpecialTokens,
        options: &TokenizerOptions,
    ) -> Result<Self> {
        let refused = |source| Error::Tokenizer {
            file: file.into(),
            source,
        };
        let mut inner: Stages =
            contained(|| Ok(serde_json::from_slice(bytes)?)).map_err(refused)?;
        // Length and padding are decided for each call, not by what was stored when the file was
        // made.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(refused)?;
        inner.set_encode_special_tokens(options.special_tokens_as_text);
        // A file can be readable and still fail on every text.
        contained(|| inner.encode(("a", "b"), true)).map_err(refused)?;
        for role in ["cls_token", "sep_token"] {
            let token = special.role(role).unwrap_or_default().to_string();
            if inner.token_to_id(&token).is_none() {
                return Err(Error::MissingToken {
                    token,
                    file: file.into(),
                });
            }
        }
        Ok(Self {
            word_ends: word_ends(&inner),
            inner,
            special,
        })
    }

    /// Edits the `normalizer` of the file's bytes, and takes it if it has changed.
    fn edit_normalizer(
        &mut self,
        bytes: &[u8],
        file: &str,
        edit: impl FnOnce(&mut Value) -> Result<()>,
    ) -> Result<()> {
        #[derive(Deserialize)]
        struct Stage {
            #[serde(default)]
            normalizer: Value,
        }
        let refused = |source| Error::Tokenizer {
            file: file.into(),
            source,
        };
        let read = |bytes| Ok(serde_json::from_slice::<Stage>(bytes)?.normalizer);
        let before = read(bytes).map_err(refused)?;
        let mut after = before.clone();
        edit(&mut after)?;
        if after == before {
            return Ok(());
        }
        contained(|| {
            let normalizer: NormalizerWrapper = serde_json::from_value(after)?;
            self.inner.with_normalizer(Some(normalizer))?;
            self.inner.encode(("a", "b"), true).map(drop)
        })
        .map_err(refused)
    }

    /// Tokenizes each text by itself without special tokens, truncates, and joins them with special
    /// tokens.
    fn run<'s>(
        &self,
        text: &'s str,
        pair: Option<&'s str>,
        max_length: Option<usize>,
        encode: impl Fn(EncodeInput<'s>) -> tokenizers::Result<tokenizers::Encoding>,
    ) -> Result<(tokenizers::Encoding, bool)> {
        let mut first = contained(|| encode(text.into())).map_err(Error::Tokenize)?;
        let mut second = pair
            .map(|pair| contained(|| encode(pair.into())))
            .transpose()
            .map_err(Error::Tokenize)?;
        let mut truncated = false;
        if let Some(max_length) = max_length {
            let room = self.room(max_length, pair.is_some())?;
            truncated = first.len() + second.as_ref().map_or(0, tokenizers::Encoding::len) > room;
            let params = TruncationParams {
                max_length: room,
                ..TruncationParams::default()
            };
            (first, second) =
                truncate_encodings(first, second, &params).map_err(Error::Tokenize)?;
            // The overflow is dropped here, because it would get its own special tokens below.
            first.take_overflowing();
            second.as_mut().map(tokenizers::Encoding::take_overflowing);
        }
        let joined =
            contained(|| self.inner.post_process(first, second, true)).map_err(Error::Tokenize)?;
        Ok((joined, truncated))
    }
}

impl Engine for HuggingFace {
    fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: Option<usize>,
        explain: Option<&mut Vec<Explanation>>,
    ) -> Result<Encoding> {
        let (encoding, truncated) = self.run(text, pair, max_length, |input| {
            self.inner.encode_char_offsets(input, false)
        })?;
        if let Some(explain) = explain {
            *explain = self.explanations(&encoding, [text, pair.unwrap_or_default()])?;
        }
        Ok(Encoding {
            ids: encoding.get_ids().to_vec(),
            // Not the encoding's tokens: for an unknown one that would be its own text.
            pieces: encoding
                .get_ids()
                .iter()
                .map(|&id| self.id_to_token(id).unwrap_or_default())
                .collect(),
            type_ids: encoding.get_type_ids().to_vec(),
            special_tokens_mask: encoding.get_special_tokens_mask().to_vec(),
            offsets: encoding.get_offsets().to_vec(),
            truncated,
        })
    }

    fn encode_ids(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<TokenIds> {
        let (encoding, truncated) = self.run(text, pair, Some(max_length), |input| {
            self.inner.encode_fast(input, false)
        })?;
        Ok(TokenIds {
            ids: encoding.get_ids().to_vec(),
            type_ids: encoding.get_type_ids().to_vec(),
            truncated,
        })
    }

    fn each_token(&self, text: &str, visit: &mut dyn FnMut(u32, (u32, u32))) -> Result<()> {
        if u32::try_from(text.len()).is_err() {
            return Err(Error::Tokenize("the text is longer than 4 GiB".into()));
        }
        let is_divided = text.len() > PART_BYTES && self.can_be_divided(text);
        let mut start = 0;
        let mut part = |part: Part<'_>| -> Result<()> {
            let encoding = contained(|| self.inner.encode_char_offsets(part.text, false))
                .map_err(Error::Tokenize)?;
            for (&id, &(from, to)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
                visit(id, (start + from as u32, start + to as u32));
            }
            start += part.text.chars().count() as u32 + part.gap;
            Ok(())
        };
        if is_divided {
            self.parts(text).try_for_each(part)
        } else {
            part(Part { text, gap: 0 })
        }
    }

    fn known_ids(&self, text: &str) -> Result<Option<Vec<u32>>> {
        let encoding = contained(|| self.inner.encode(text, false)).map_err(Error::Tokenize)?;
        let is_known = |(id, token): (&u32, &String)| {
            self.id_to_token(*id).as_ref() == Some(token)
                && Some(token.as_str()) != self.inner.get_model().unknown()
        };
        let all_known = encoding
            .get_ids()
            .iter()
            .zip(encoding.get_tokens())
            .all(is_known);
        Ok(all_known.then(|| encoding.get_ids().to_vec()))
    }

    fn special_tokens(&self, is_pair: bool) -> usize {
        self.inner
            .get_post_processor()
            .map_or(0, |post| post.added_tokens(is_pair))
    }

    fn decode(&self, ids: &[u32]) -> Result<String> {
        contained(|| self.inner.decode(ids, false)).map_err(Error::Tokenize)
    }

    fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    fn highest_id(&self) -> u32 {
        let added = self.inner.get_added_vocabulary().get_vocab().values();
        let highest = self.inner.get_model().highest_id();
        added.copied().chain(highest).max().unwrap_or(0)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    fn role(&self, role: &str) -> Option<&str> {
        self.special.role(role)
    }

    fn model_name(&self) -> &'static str {
        self.inner.get_model().name()
    }

    fn lowercases(&self) -> Result<bool> {
        normalizer::lowercases(self.inner.get_normalizer())
    }

    fn keeps_accents(&self) -> Result<bool> {
        normalizer::keeps_accents(self.inner.get_normalizer())
    }
}

/// Runs the tokenizers crate, which panics (0.23) on some broken files that it reads without
/// complaint: a cut or overwritten `precompiled_charsmap`, a template with a special token that it
/// does not define.
pub(super) fn contained<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err("the tokenizers crate panicked: the file is broken".into()))
}
