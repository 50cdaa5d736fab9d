//! The division of a long text into parts whose tokens are those of the whole.

use tokenizers::{NormalizedString, Normalizer as _};

use super::{HuggingFace, Stages, contained};
use crate::tokenizer::parts::{Division, Part, parts};

/// The white space that always ends a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WordEnds {
    /// One space.
    SingleSpaces,
    /// White space of any kind and length.
    WhiteSpace,
}

impl HuggingFace {
    /// Returns true if the tokens of a long text are those of its parts: there is no added token in
    /// it, and words are cut by themselves.
    pub(super) fn can_be_divided(&self, text: &str) -> bool {
        let added = self.inner.get_added_tokens_decoder();
        let is_absent = |part: &str| {
            let lower = part.to_lowercase();
            let mut contents = added.values().map(|token| token.content.as_str());
            !contents.any(|content| part.contains(content) || lower.contains(content))
        };
        self.word_ends.is_some() && self.parts(text).all(|part| is_absent(part.text))
    }

    /// Divides a text where words end and no normalization reaches over.
    pub(super) fn parts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Part<'a>> {
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
}

/// Returns the white space at which words always end, so that a text may be divided there; `None`
/// if words may reach over it, or added tokens may be matched in normalized text.
pub(super) fn word_ends(inner: &Stages) -> Option<WordEnds> {
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
