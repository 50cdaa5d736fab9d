//! The tokens of a whole text, and its windows: parts of a text that is too long for the network,
//! each with the special tokens and, for a pair, the other text.

use std::ops::Range;

use crate::tokenizer::{Encoding, Frame, TokenIds};
use crate::{Result, Tokenizer};

/// The tokens of a text or a pair, in 18 bytes each, and the text that each of them belongs to.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    /// The token ids.
    pub(crate) ids: Vec<u32>,
    /// The range of characters of each token in its text; (0, 0) for the special tokens around the
    /// texts.
    offsets: Vec<(u32, u32)>,
    type_ids: Vec<u8>,
    /// For each token, the text it belongs to; `None` for the special tokens around the texts.
    owners: Vec<Option<Owner>>,
    /// The indices of the special tokens around the texts.
    special: Vec<u32>,
    /// The indices of the tokens of either text.
    places: [Vec<u32>; 2],
}

/// The first text or the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    First,
    Second,
}

impl Sequence {
    /// Tokenizes a text or a pair as a whole.
    pub(crate) fn new(tokenizer: &Tokenizer, text: &str, pair: Option<&str>) -> Result<Self> {
        if let Some(framed) = Self::of_long_texts(tokenizer, text, pair)? {
            return Ok(framed);
        }
        let first = match pair {
            None => usize::MAX,
            Some(_) => Self::tokens_alone(tokenizer, text)?,
        };
        let encoding = tokenizer.encode(text, pair, None)?;
        Ok(Self::from_encoding(&encoding, first))
    }

    /// Returns the number of a text's tokens, which is the same alone as in a pair, because the
    /// texts of a pair are tokenized separately. The token types cannot be used instead, because
    /// not every tokenizer sets them.
    pub(crate) fn tokens_alone(tokenizer: &Tokenizer, text: &str) -> Result<usize> {
        Ok(tokenizer.ids_without_special_tokens(text)?.len())
    }

    /// Tokenizes a text or a pair whose first text has `first` tokens.
    pub(crate) fn with_first(
        tokenizer: &Tokenizer,
        text: &str,
        pair: Option<&str>,
        first: usize,
    ) -> Result<Self> {
        if let Some(framed) = Self::of_long_texts(tokenizer, text, pair)? {
            return Ok(framed);
        }
        let encoding = tokenizer.encode(text, pair, None)?;
        Ok(Self::from_encoding(&encoding, first))
    }

    fn from_encoding(encoding: &Encoding, first: usize) -> Self {
        let mut sequence = Self::default();
        for (index, &id) in encoding.ids.iter().enumerate() {
            let owner = match encoding.special_tokens_mask[index] {
                0 if sequence.places[0].len() < first => Some(Owner::First),
                0 => Some(Owner::Second),
                _ => None,
            };
            // A text has fewer than 2³² characters.
            let (start, end) = encoding.offsets[index];
            let place = (start as u32, end as u32);
            sequence.push(id, encoding.type_ids[index] as u8, place, owner);
        }
        sequence
    }

    /// Tokenizes texts part by part, if one of them is so long that all forms of its tokens together
    /// would take much memory; `None` for others.
    fn of_long_texts(
        tokenizer: &Tokenizer,
        text: &str,
        pair: Option<&str>,
    ) -> Result<Option<Self>> {
        const LONG: usize = 1 << 16;
        if text.len().max(pair.map_or(0, str::len)) <= LONG {
            return Ok(None);
        }
        let Some(frame) = tokenizer.frame(pair.is_some())? else {
            return Ok(None);
        };
        let Frame {
            around,
            types: [first_type, second_type],
        } = frame;
        let mut sequence = Self::default();
        let owners = [(Owner::First, first_type), (Owner::Second, second_type)];
        let mut texts = std::iter::once(text).chain(pair).zip(owners);
        for special in around {
            for (id, type_id) in special {
                sequence.push(id, type_id, (0, 0), None);
            }
            if let Some((text, (owner, type_id))) = texts.next() {
                let mut push = |id, place| sequence.push(id, type_id, place, Some(owner));
                tokenizer.each_token(text, &mut push)?;
            }
        }
        Ok(Some(sequence))
    }

    fn push(&mut self, id: u32, type_id: u8, place: (u32, u32), owner: Option<Owner>) {
        let index = self.ids.len() as u32;
        let indices = owner.map_or(&mut self.special, |owner| &mut self.places[owner as usize]);
        indices.push(index);
        self.ids.push(id);
        self.type_ids.push(type_id);
        self.offsets.push(place);
        self.owners.push(owner);
    }

    /// Returns the number of a text's tokens.
    pub(crate) fn count(&self, owner: Owner) -> usize {
        self.places[owner as usize].len()
    }

    /// Returns the number of special tokens around the texts.
    pub(crate) fn special(&self) -> usize {
        self.special.len()
    }

    /// Returns the indices of the special tokens, and of the tokens in `first` and in `second`,
    /// each counted within its text.
    pub(crate) fn window(
        &self,
        first: impl Iterator<Item = usize>,
        second: Range<usize>,
    ) -> Vec<usize> {
        let [of_first, of_second] = &self.places;
        let around = self.special.iter().chain(&of_second[second]);
        let mut kept: Vec<usize> = around.map(|&index| index as usize).collect();
        kept.extend(first.map(|token| of_first[token] as usize));
        kept.sort_unstable();
        kept
    }

    /// Keeps the last tokens that fit into `max_length`. In a pair the longer text is truncated
    /// first, and the second one if they are equally long.
    pub(crate) fn truncated_left(&self, max_length: usize) -> TokenIds {
        let room = max_length.saturating_sub(self.special());
        let [mut first, mut second] = [Owner::First, Owner::Second].map(|owner| self.count(owner));
        let (all_first, all_second) = (first, second);
        while first + second > room {
            if first > second {
                first -= 1;
            } else {
                second -= 1;
            }
        }
        let kept = self.window(
            all_first - first..all_first,
            all_second - second..all_second,
        );
        self.tokens(&kept)
    }

    /// Returns the range of characters of a token in its text.
    pub(crate) fn place(&self, index: usize) -> Range<usize> {
        let (start, end) = self.offsets[index];
        start as usize..end as usize
    }

    /// Returns the text that a token belongs to.
    pub(crate) fn owner(&self, index: usize) -> Option<Owner> {
        self.owners[index]
    }

    /// Returns the tokens of a window in the form of the network's input.
    pub(crate) fn tokens(&self, window: &[usize]) -> TokenIds {
        TokenIds {
            ids: window.iter().map(|&index| self.ids[index]).collect(),
            type_ids: window
                .iter()
                .map(|&index| u32::from(self.type_ids[index]))
                .collect(),
            truncated: window.len() < self.owners.len(),
        }
    }
}

/// Returns ranges of at most `room` that cover `count` tokens, each beginning with the last
/// `stride` of the one before; one empty range for no tokens.
///
/// `stride` must be below `room`. Source: tokenizers 0.23, `Encoding::truncate`.
pub(crate) fn windows(count: usize, room: usize, stride: usize) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    let mut start = 0usize;
    loop {
        let end = count.min(start.saturating_add(room));
        windows.push(start..end);
        if end == count {
            return windows;
        }
        start += room.saturating_sub(stride).max(1);
    }
}

/// The characters from one remembered place to the next.
const STEP: usize = 64;

/// A text that is sliced by characters.
pub(crate) struct Characters<'a> {
    text: &'a str,
    /// The byte where every 64th character begins.
    starts: Vec<usize>,
}

impl<'a> Characters<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let starts = text.char_indices().step_by(STEP).map(|(start, _)| start);
        Self {
            text,
            starts: starts.collect(),
        }
    }

    /// Returns the characters from `start` up to `end` or the end of the text.
    pub(crate) fn slice(&self, start: usize, end: usize) -> &'a str {
        self.text
            .get(self.byte(start)..self.byte(end))
            .unwrap_or_default()
    }

    /// Returns the byte where a character begins, or the length of the text.
    fn byte(&self, at: usize) -> usize {
        let found = self.starts.get(at / STEP).and_then(|&start| {
            let (offset, _) = self.text[start..].char_indices().nth(at % STEP)?;
            Some(start + offset)
        });
        found.unwrap_or(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelFiles, TokenizerOptions};

    #[test]
    fn windows_overlap_by_the_stride_and_the_last_ends_the_text() {
        assert_eq!(windows(10, 4, 1), [0..4, 3..7, 6..10]);
        assert_eq!(windows(11, 4, 1), [0..4, 3..7, 6..10, 9..11]);
        assert_eq!(windows(10, 4, 0), [0..4, 4..8, 8..10]);
    }

    #[test]
    fn what_fits_is_one_window_and_so_is_nothing() {
        assert_eq!(windows(4, 4, 3), vec![Range { start: 0, end: 4 }]);
        assert_eq!(windows(0, 4, 0), vec![Range { start: 0, end: 0 }]);
    }

    #[test]
    fn long_texts_have_the_tokens_of_the_whole() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny");
        let files = ModelFiles::from_dir(folder).unwrap();
        let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
        let text = "the river and the town ".repeat(4000);
        let first = Sequence::tokens_alone(&tokenizer, &text).unwrap();
        for pair in [None, Some("the river"), Some(text.as_str())] {
            let long = Sequence::of_long_texts(&tokenizer, &text, pair).unwrap();
            let long = long.unwrap();
            let encoding = tokenizer.encode(&text, pair, None).unwrap();
            let whole = Sequence::from_encoding(&encoding, first);
            assert_eq!(long.ids, whole.ids);
            assert_eq!(long.offsets, whole.offsets);
            assert_eq!(long.type_ids, whole.type_ids);
            assert_eq!(long.owners, whole.owners);
            assert_eq!((long.special, long.places), (whole.special, whole.places));
        }
    }

    #[test]
    fn slices_count_characters_and_stay_within_the_text() {
        let characters = Characters::new("né 東京");
        assert_eq!(characters.slice(1, 2), "é");
        assert_eq!(characters.slice(3, 5), "東京");
        assert_eq!(characters.slice(4, 99), "京");
        assert_eq!(characters.slice(3, 1), "");
        let long = "né".repeat(1000);
        let characters = Characters::new(&long);
        for at in [0, 1, 63, 64, 65, 1999] {
            let expected = long.chars().nth(at).unwrap().to_string();
            assert_eq!(characters.slice(at, at + 1), expected, "{at}");
        }
        assert_eq!(characters.slice(1999, 5000), "é");
        assert_eq!(characters.slice(2000, 5000), "");
    }
}
