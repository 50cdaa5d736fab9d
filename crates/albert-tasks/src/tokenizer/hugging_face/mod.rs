//! Tokenizers of the tokenizers crate, from `tokenizer.json` or `vocab.txt`.
//!
//! The truncation and padding stored in a `tokenizer.json` are ignored, because this crate applies
//! its own.

mod model;
mod unigram;

use serde_json::Value;
use tokenizers::utils::truncation::{TruncationParams, truncate_encodings};
use tokenizers::{
    DecoderWrapper, EncodeInput, ModelWrapper, NormalizedString, Normalizer as _,
    NormalizerWrapper, PostProcessor as _, PostProcessorWrapper, PreTokenizerWrapper,
    TokenizerImpl,
};

use super::explain::{Explanation, Normalized, Rule};
use super::normalizer::BertSwitches;
use super::parts::{Division, PART_BYTES, Part, parts};
use super::special::{SpecialTokens, defaults};
use super::{Encoding, Engine, TokenIds, TokenizerOptions, normalizer};
use crate::json::{self, JsonObject};
use crate::{Error, ModelFiles, Result};
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

/// The white space that always ends a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WordEnds {
    /// One space.
    SingleSpaces,
    /// White space of any kind and length.
    WhiteSpace,
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
        let is_overridden = options.lowercase.is_some() || options.keep_accents.is_some();
        let config = JsonObject::read(files, "tokenizer_config.json")?;
        let switches = config
            .as_ref()
            .map(BertSwitches::read)
            .transpose()?
            .flatten();
        if !is_overridden && switches.is_none() {
            return Self::new(&bytes, FILE, special, options).map(Some);
        }
        let Some(mut value) = json::read_value(files, FILE)? else {
            return Ok(None);
        };
        if let Some(switches) = switches {
            switches.apply(&mut value);
        }
        if !is_overridden {
            return Self::from_value(&value, FILE, special, options).map(Some);
        }
        normalizer::apply(&mut value, options)?;
        let this = Self::new(value.to_string().as_bytes(), FILE, special, options)?;
        normalizer::verify(this.inner.get_normalizer(), options)?;
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

    /// Each text by itself without special tokens, then cut, then joined with them.
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

    /// Returns true if the tokens of a long text are those of its parts: there is no added token in
    /// it, and words are cut by themselves.
    fn can_be_divided(&self, text: &str) -> bool {
        let added = self.inner.get_added_tokens_decoder();
        let is_absent = |part: &str| {
            let lower = part.to_lowercase();
            let mut contents = added.values().map(|token| token.content.as_str());
            !contents.any(|content| part.contains(content) || lower.contains(content))
        };
        self.word_ends.is_some() && self.parts(text).all(|part| is_absent(part.text))
    }

    /// Divides a text where words end and no normalization reaches over.
    fn parts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Part<'a>> {
        parts(text, |division| self.divides(division).unwrap_or(false))
    }

    /// Returns true if a word ends at a place; `None` if the normalizer fails there.
    fn divides(&self, &Division { left, gap, right }: &Division<'_>) -> Option<bool> {
        let normalized = |text: &str| {
            let mut text = NormalizedString::from(text);
            if let Some(normalizer) = self.inner.get_normalizer() {
                contained(|| normalizer.normalize(&mut text)).ok()?;
            }
            Some(text.get().to_string())
        };
        let whole = normalized(&[left, gap, right].concat())?;
        let (left, right) = (normalized(left)?, normalized(right)?);
        let inner = whole.strip_prefix(&left);
        let Some(inner) = inner.and_then(|rest| rest.strip_suffix(&right)) else {
            return Some(false);
        };
        let is_space = |text: &str| text.chars().all(char::is_whitespace);
        Some(match self.word_ends {
            None => false,
            Some(WordEnds::SingleSpaces) => inner == " ",
            // A BertNormalizer puts spaces around ideographs.
            Some(WordEnds::WhiteSpace) if gap.is_empty() => {
                inner.is_empty() && left.ends_with(char::is_whitespace)
            }
            Some(WordEnds::WhiteSpace) => !inner.is_empty() && is_space(inner),
        })
    }

    /// Returns the name of the unknown, if it has one.
    fn unknown(&self) -> Option<&str> {
        match self.inner.get_model() {
            // Unigram gives an unknown token its own text, not a name.
            Model::Unigram(_) | Model::Other(ModelWrapper::Unigram(_)) => None,
            Model::Other(ModelWrapper::WordPiece(model)) => Some(model.unk_token.as_str()),
            Model::Other(ModelWrapper::WordLevel(model)) => Some(model.unk_token.as_str()),
            Model::Other(ModelWrapper::BPE(model)) => model.get_unk_token().as_deref(),
        }
    }

    /// Returns the reason for each token of a joined encoding.
    fn explanations(
        &self,
        encoding: &tokenizers::Encoding,
        texts: [&str; 2],
    ) -> Result<Vec<Explanation>> {
        let texts = texts.map(|text| text.chars().collect::<Vec<char>>());
        let mut explanations = Vec::with_capacity(encoding.len());
        for (at, &id) in encoding.get_ids().iter().enumerate() {
            if encoding.get_special_tokens_mask()[at] == 1 {
                explanations.push(Explanation::of(Rule::Template));
                continue;
            }
            let (start, end) = encoding.get_offsets()[at];
            let text = &texts[usize::from(encoding.get_type_ids()[at] == 1)];
            let part: String = text.get(start..end).unwrap_or_default().iter().collect();
            let rule = self.rule(encoding, at, &part);
            let mut explanation = Explanation::of(rule);
            if rule == Rule::UnigramPiece {
                explanation.score = match self.inner.get_model() {
                    Model::Unigram(model) => model.score(id).map(|score| score as f32),
                    Model::Other(_) => None,
                };
            }
            if !matches!(rule, Rule::SpecialToken | Rule::AddedToken) {
                explanation.normalized = self.normalized(&part)?;
            }
            explanations.push(explanation);
        }
        Ok(explanations)
    }

    /// The rule that made the token at `at` of `part`.
    fn rule(&self, encoding: &tokenizers::Encoding, at: usize, part: &str) -> Rule {
        let (id, token) = (encoding.get_ids()[at], &encoding.get_tokens()[at]);
        // The token for the unknown is an added token too, whether the text names it or not.
        if let Some(added) = self.inner.get_added_tokens_decoder().get(&id)
            && part.trim() == added.content
        {
            return if added.special {
                Rule::SpecialToken
            } else {
                Rule::AddedToken
            };
        }
        let is_unknown =
            self.unknown() == Some(token) || self.id_to_token(id).as_ref() != Some(token);
        match self.inner.get_model() {
            Model::Unigram(_) if is_unknown => Rule::UnknownCharacters,
            Model::Unigram(_) => Rule::UnigramPiece,
            _ if is_unknown => Rule::UnknownWord,
            Model::Other(ModelWrapper::WordPiece(model)) => {
                let goes_on = |token: &String| token.starts_with(&model.continuing_subword_prefix);
                match (
                    goes_on(token),
                    encoding.get_tokens().get(at + 1).is_some_and(goes_on),
                ) {
                    (true, _) => Rule::Continuation,
                    (false, true) => Rule::WordPiece,
                    (false, false) => Rule::WholeWord,
                }
            }
            _ => Rule::Piece,
        }
    }

    /// Normalizes a part of a text by itself, step by step.
    fn normalized(&self, part: &str) -> Result<Option<Normalized>> {
        let mut text = NormalizedString::from(part);
        let mut steps = Vec::new();
        let whole = self.inner.get_normalizer();
        let parts: &[NormalizerWrapper] = match whole {
            Some(NormalizerWrapper::Sequence(sequence)) => sequence.as_ref(),
            Some(step) => std::slice::from_ref(step),
            None => &[],
        };
        for step in parts {
            let before = text.get().to_string();
            contained(|| step.normalize(&mut text)).map_err(Error::Tokenize)?;
            if text.get() != before {
                let kind = serde_json::to_value(step)
                    .ok()
                    .and_then(|step| Some(step.get("type")?.as_str()?.to_string()));
                steps.push(kind.unwrap_or_else(|| "normalizer".to_string()));
                steps.dedup();
            }
        }
        let to = text.get().trim().to_string();
        let is_changed = !steps.is_empty() && to != part && !to.is_empty();
        Ok(is_changed.then(|| Normalized {
            from: part.to_string(),
            to,
            steps,
        }))
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
            self.id_to_token(*id).as_ref() == Some(token) && Some(token.as_str()) != self.unknown()
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
        match self.inner.get_model() {
            Model::Unigram(_) | Model::Other(ModelWrapper::Unigram(_)) => "Unigram",
            Model::Other(ModelWrapper::WordPiece(_)) => "WordPiece",
            Model::Other(ModelWrapper::WordLevel(_)) => "WordLevel",
            Model::Other(ModelWrapper::BPE(_)) => "BPE",
        }
    }

    fn lowercases(&self) -> Result<bool> {
        normalizer::lowercases(self.inner.get_normalizer())
    }

    fn keeps_accents(&self) -> Result<bool> {
        normalizer::keeps_accents(self.inner.get_normalizer())
    }
}

/// Returns the white space at which words always end, so that a text may be divided there; `None`
/// if words may reach over it, or added tokens may be matched in normalized text.
fn word_ends(inner: &Stages) -> Option<WordEnds> {
    use tokenizers::PreTokenizerWrapper::{
        BertPreTokenizer, Digits, Metaspace, Punctuation, Sequence, Split, UnicodeScripts,
        Whitespace, WhitespaceSplit,
    };
    use tokenizers::pre_tokenizers::metaspace::PrependScheme;
    let added = inner.get_added_tokens_decoder();
    let is_early = |token: &tokenizers::AddedToken| {
        !token.normalized && !token.content.contains(char::is_whitespace)
    };
    if !added.values().all(is_early) {
        return None;
    }
    let of_step = |step: &tokenizers::PreTokenizerWrapper| match step {
        BertPreTokenizer(_) | Whitespace(_) | WhitespaceSplit(_) => Some(WordEnds::WhiteSpace),
        // Every word has the sign, not only the first of a text.
        Metaspace(step) if step.get_split() => {
            (step.get_prepend_scheme() == PrependScheme::Always).then_some(WordEnds::SingleSpaces)
        }
        _ => None,
    };
    let steps = match inner.get_pre_tokenizer()? {
        Sequence(steps) => steps.as_ref(),
        step => std::slice::from_ref(step),
    };
    let (first, others) = steps.split_first()?;
    let ends = of_step(first)?;
    // Each of them sees one word of the first step at a time.
    let keeps_words_apart = |step: &tokenizers::PreTokenizerWrapper| {
        matches!(
            step,
            Digits(_) | Punctuation(_) | Split(_) | UnicodeScripts(_)
        ) || of_step(step).is_some()
    };
    others.iter().all(keeps_words_apart).then_some(ends)
}

/// Runs the tokenizers crate, which panics (0.23) on some broken files that it reads without
/// complaint: a cut or overwritten `precompiled_charsmap`, a template with a special token that it
/// does not define.
pub(super) fn contained<T>(run: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err("the tokenizers crate panicked: the file is broken".into()))
}
