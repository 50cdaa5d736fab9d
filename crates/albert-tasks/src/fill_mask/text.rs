//! A text with masks: their tokens, and their places in the text.

use std::ops::Range;

use crate::tokenizer::TokenIds;
use crate::{Error, Result, Tokenizer};

/// A text with at least one mask, all of them within the longest text.
pub(super) struct MaskedText<'a> {
    text: &'a str,
    pub(super) tokens: TokenIds,
    /// The masks' token indices, in order.
    pub(super) positions: Vec<usize>,
    /// The masks' places in the text, in bytes, in order.
    spans: Vec<Range<usize>>,
}

impl<'a> MaskedText<'a> {
    /// Tokenizes a text and finds its masks.
    ///
    /// # Errors
    /// If there is no mask, or one beyond `max_length` tokens.
    pub(super) fn new(
        text: &'a str,
        tokenizer: &Tokenizer,
        mask_id: u32,
        max_length: usize,
    ) -> Result<Self> {
        let encoding = tokenizer.encode(text, None, Some(max_length))?;
        let positions: Vec<usize> = encoding
            .ids
            .iter()
            .enumerate()
            .filter(|(_, id)| **id == mask_id)
            .map(|(position, _)| position)
            .collect();
        if encoding.truncated {
            // By the characters: tokenizing all of a long text takes much memory.
            let masks = text.matches(tokenizer.mask_token()).count();
            if masks > positions.len() {
                let mask_token = tokenizer.mask_token().to_string();
                return Err(Error::MaskTruncated {
                    mask_token,
                    lost: masks - positions.len(),
                    masks,
                    max_length,
                });
            }
        }
        if positions.is_empty() {
            return Err(Error::NoMask(tokenizer.mask_token().to_string()));
        }
        let bytes: Vec<usize> = text
            .char_indices()
            .map(|(byte, _)| byte)
            .chain([text.len()])
            .collect();
        let spans = positions.iter().map(|&position| {
            let (start, end) = encoding.offsets[position];
            let token = bytes[start]..bytes[end];
            tighten(text, token, tokenizer.mask_token())
        });
        Ok(Self {
            text,
            spans: spans.collect(),
            tokens: TokenIds {
                ids: encoding.ids,
                type_ids: encoding.type_ids,
                truncated: encoding.truncated,
            },
            positions,
        })
    }

    /// Creates a text from tokens alone.
    #[cfg(test)]
    pub(super) fn from_tokens(tokens: TokenIds, positions: Vec<usize>) -> Self {
        Self {
            text: "",
            tokens,
            positions,
            spans: Vec::new(),
        }
    }

    /// Returns the text with a filling for some of its masks.
    pub(super) fn filled(&self, fillings: &[Option<&str>]) -> String {
        let mut filled = String::with_capacity(self.text.len());
        let mut done = 0;
        for (span, filling) in self.spans.iter().zip(fillings) {
            let Some(filling) = filling else { continue };
            filled.push_str(&self.text[done..span.start]);
            filled.push_str(filling);
            done = span.end;
        }
        filled.push_str(&self.text[done..]);
        filled
    }
}

/// Returns the mask inside the characters of its token, which include the spaces before it.
fn tighten(text: &str, token: Range<usize>, mask_token: &str) -> Range<usize> {
    let characters = &text[token.clone()];
    match characters.find(mask_token) {
        Some(at) => token.start + at..token.start + at + mask_token.len(),
        None => {
            let start = token.start + (characters.len() - characters.trim_start().len());
            start..start + characters.trim().len()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_before_a_mask_stay_in_the_text() {
        let text = "the  [MASK] end";
        assert_eq!(tighten(text, 3..11, "[MASK]"), 5..11);
        assert_eq!(tighten(text, 3..11, "<mask>"), 5..11);
    }

    #[test]
    fn only_masks_with_a_filling_are_replaced() {
        let text = "é [MASK] b [MASK].";
        let masked = MaskedText {
            text,
            tokens: TokenIds {
                ids: vec![],
                type_ids: vec![],
                truncated: false,
            },
            positions: vec![],
            spans: vec![3..9, 12..18],
        };
        assert_eq!(masked.filled(&[None, Some("x")]), "é [MASK] b x.");
        assert_eq!(masked.filled(&[Some("yy"), Some("x")]), "é yy b x.");
    }
}
