//! Implements the tokenizer interface for a `spiece.model`: adds special tokens, truncates, and
//! decodes.

use std::sync::atomic::Ordering;

use super::albert::AlbertTokenizer;
use super::normalizer::SPACE;
use crate::Result;
use crate::tokenizer::explain::{Explanation, Rule};
use crate::tokenizer::{Encoding, Engine, TokenIds};

impl Engine for AlbertTokenizer {
    fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: Option<usize>,
        mut explain: Option<&mut Vec<Explanation>>,
    ) -> Result<Encoding> {
        let mut sides = Vec::with_capacity(2);
        for text in std::iter::once(text).chain(pair) {
            let (mut ids, mut offsets, mut explanations) = (Vec::new(), Vec::new(), Vec::new());
            let chars: Vec<char> = if explain.is_some() {
                text.chars().collect()
            } else {
                Vec::new()
            };
            self.tokens(text, |found| {
                ids.push(found.id);
                offsets.push((found.start as usize, found.end as usize));
                if explain.is_some() {
                    explanations.push(self.explanation(&chars, &found));
                }
            })?;
            sides.push((ids, offsets, explanations));
        }
        let lengths = [
            sides[0].0.len(),
            sides.get(1).map_or(0, |side| side.0.len()),
        ];
        let kept = self.keep(lengths, pair.is_some(), max_length)?;
        let mut encoding = Encoding {
            truncated: kept != lengths,
            ..Encoding::default()
        };
        let mut put = |id: u32, type_id: u32, offset: Option<(usize, usize)>| {
            encoding.ids.push(id);
            encoding.type_ids.push(type_id);
            encoding
                .special_tokens_mask
                .push(u32::from(offset.is_none()));
            encoding.offsets.push(offset.unwrap_or_default());
        };
        let mut note = |explanation: Explanation| {
            if let Some(explain) = &mut explain {
                explain.push(explanation);
            }
        };
        put(self.cls, 0, None);
        note(Explanation::of(Rule::Template));
        for (type_id, ((ids, offsets, explanations), kept)) in
            (0u32..).zip(sides.into_iter().zip(kept))
        {
            ids.into_iter()
                .zip(offsets)
                .take(kept)
                .for_each(|(id, offset)| put(id, type_id, Some(offset)));
            explanations.into_iter().take(kept).for_each(&mut note);
            put(self.sep, type_id, None);
            note(Explanation::of(Rule::Template));
        }
        encoding.pieces = encoding
            .ids
            .iter()
            .map(|&id| self.id_to_token(id).unwrap_or_default())
            .collect();
        Ok(encoding)
    }

    fn encode_ids(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<TokenIds> {
        let sides = [
            self.ids(text)?,
            pair.map_or(Ok(Vec::new()), |pair| self.ids(pair))?,
        ];
        let lengths = [sides[0].len(), sides[1].len()];
        let kept = self.keep(lengths, pair.is_some(), Some(max_length))?;
        let mut tokens = TokenIds {
            ids: vec![self.cls],
            type_ids: vec![0],
            truncated: kept != lengths,
        };
        let count = if pair.is_some() { 2 } else { 1 };
        for (type_id, (ids, kept)) in (0u32..).zip(sides.iter().zip(kept)).take(count) {
            tokens.ids.extend_from_slice(&ids[..kept]);
            tokens.ids.push(self.sep);
            tokens.type_ids.resize(tokens.ids.len(), type_id);
        }
        Ok(tokens)
    }

    fn each_token(&self, text: &str, visit: &mut dyn FnMut(u32, (u32, u32))) -> Result<()> {
        self.tokens(text, |found| visit(found.id, (found.start, found.end)))
    }

    fn known_ids(&self, text: &str) -> Result<Option<Vec<u32>>> {
        Ok(Some(self.ids(text)?).filter(|ids| !ids.contains(&self.model.pieces.unknown())))
    }

    fn special_tokens(&self, is_pair: bool) -> usize {
        if is_pair { 3 } else { 2 }
    }

    fn decode(&self, ids: &[u32]) -> Result<String> {
        let is_special = |token: &str| {
            self.special
                .special()
                .any(|special| special.content == token)
        };
        let mut text = String::new();
        let mut pieces = String::new();
        let mut after_special = false;
        for id in ids {
            let token = self.id_to_token(*id).unwrap_or_default();
            if is_special(&token) {
                if !after_special {
                    text.push(' ');
                }
                text.push_str(&self.unescaped(&std::mem::take(&mut pieces)));
                text.push_str(&token);
                after_special = true;
            } else {
                pieces.push_str(&token);
                after_special = false;
            }
        }
        text.push_str(&self.unescaped(&pieces));
        Ok(text.trim().to_string())
    }

    fn vocab_size(&self) -> usize {
        self.model.len()
            + self
                .extra
                .iter()
                .filter(|(id, _)| *id as usize >= self.model.len())
                .count()
    }

    fn highest_id(&self) -> u32 {
        let extra = self.extra.iter().map(|(id, _)| *id);
        extra
            .chain([(self.model.len() - 1) as u32])
            .max()
            .unwrap_or(0)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        let extra = self
            .extra
            .iter()
            .find(|(_, extra)| extra == token)
            .map(|(id, _)| *id);
        extra.or_else(|| self.model.id(token))
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        let extra = self
            .extra
            .iter()
            .find(|(extra, _)| *extra == id)
            .map(|(_, token)| token.as_str());
        extra.or_else(|| self.model.piece(id)).map(str::to_string)
    }

    fn role(&self, role: &str) -> Option<&str> {
        self.special.role(role)
    }

    fn model_name(&self) -> &'static str {
        self.model.algorithm.name()
    }

    fn lowercases(&self) -> Result<bool> {
        Ok(self.steps.lowercase)
    }

    fn keeps_accents(&self) -> Result<bool> {
        Ok(self.steps.keep_accents)
    }

    fn dropped_marks(&self) -> bool {
        self.dropped_marks.load(Ordering::Relaxed)
    }
}

impl AlbertTokenizer {
    /// Returns the number of tokens to keep of each text.
    fn keep(
        &self,
        lengths: [usize; 2],
        is_pair: bool,
        max_length: Option<usize>,
    ) -> Result<[usize; 2]> {
        let Some(max_length) = max_length else {
            return Ok(lengths);
        };
        Ok(longest_first(lengths, self.room(max_length, is_pair)?))
    }

    /// Converts pieces to text: signs for spaces become spaces, except before the first piece.
    fn unescaped(&self, pieces: &str) -> String {
        let pieces = if self.model.normalizer.adds_dummy_prefix() {
            pieces
                .strip_prefix(self.model.normalizer.space())
                .unwrap_or(pieces)
        } else {
            pieces
        };
        pieces.replace(SPACE, " ")
    }
}

/// Returns the number of tokens of each text that fit into `room`: the longer text is truncated
/// first, as in the tokenizers crate with `longest_first`.
fn longest_first([first, second]: [usize; 2], room: usize) -> [usize; 2] {
    if first + second <= room {
        return [first, second];
    }
    let shorter = first.min(second).min(room / 2);
    let longer = room - shorter;
    if first > second {
        [longer, shorter]
    } else {
        [shorter, longer]
    }
}

#[cfg(test)]
mod tests {
    use super::super::model_file::tests::model;
    use super::*;
    use crate::tokenizer::TokenizerOptions;

    #[test]
    fn decoded_pieces_are_text_and_special_tokens_stand_apart() {
        let pieces = [
            ("<unk>", 0.0, 2),
            ("[CLS]", 0.0, 3),
            ("[SEP]", 0.0, 3),
            ("▁the", -1.0, 1),
            ("s", -2.0, 1),
        ];
        let tokenizer = AlbertTokenizer::read(
            &model(&pieces, b""),
            "spiece.model",
            None,
            &TokenizerOptions::default(),
        )
        .unwrap();
        for (ids, text) in [
            (&[3][..], "the"),
            (&[4], "s"),
            (&[3, 4, 3], "thes the"),
            (&[1, 3, 2], "[CLS] the[SEP]"),
            (&[], ""),
        ] {
            assert_eq!(tokenizer.decode(ids).unwrap(), text);
        }
    }

    #[test]
    fn the_longer_text_is_cut_first() {
        assert_eq!(longest_first([3, 3], 6), [3, 3]);
        assert_eq!(longest_first([2, 9], 6), [2, 4]);
        assert_eq!(longest_first([9, 2], 6), [4, 2]);
        assert_eq!(longest_first([9, 9], 7), [3, 4]);
        assert_eq!(longest_first([9, 0], 7), [7, 0]);
    }
}
