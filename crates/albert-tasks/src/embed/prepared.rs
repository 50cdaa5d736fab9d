//! A tokenized text, in one pass or in several windows.
//!
//! A window holds the special tokens, the tokens of the prompt, and a part of the text; each begins
//! with the last `stride` tokens of the one before. With `n` tokens of text, `c` the number of
//! windows that a token of text is in, sums over the tokens of text of one window:
//!
//! ```text
//! share of a window = Σ (1 / c) / n
//! weight of a token = 1 / c              of the text
//!                     the window's share  around it: special tokens and the prompt, which every window has
//! ```
//!
//! So the weights of all occurrences of a token sum to 1, and in a text that fits every weight is
//! 1.

use std::borrow::Cow;
use std::ops::Range;

use super::TruncationSide;
use crate::pooling::{Occurrence, Pass};
use crate::sequence::{Owner, Sequence, windows};
use crate::tokenizer::TokenIds;
use crate::{Error, Result, Tokenizer};

/// The division of a text that is too long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Windows {
    /// The number of tokens that a window shares with the previous one.
    pub(super) stride: usize,
    /// The number of tokens of the prompt, which is in every window.
    pub(super) prompt: usize,
}

/// The tokens of a text, in passes through the network.
#[derive(Debug)]
pub(super) enum Prepared {
    /// One pass, of the whole text or of its beginning or end.
    Whole(TokenIds),
    /// One pass for each window.
    Windowed(Box<Windowed>),
}

/// A text divided into windows.
#[derive(Debug)]
pub(super) struct Windowed {
    sequence: Sequence,
    prompt: usize,
    /// For each window, the range of text tokens after the prompt.
    ranges: Vec<Range<usize>>,
    /// For each text token after the prompt, the number of windows that hold it.
    windows_of: Vec<u32>,
}

impl Windows {
    /// Returns the number of text tokens for which a window has room.
    ///
    /// # Errors
    /// If there is no room, or no more than the stride.
    pub(super) fn room(&self, tokenizer: &Tokenizer, max_length: usize) -> Result<usize> {
        let room = tokenizer.room(max_length, false)?;
        let room = room.checked_sub(self.prompt).filter(|room| *room > 0);
        let prompt = max_length.min(self.prompt);
        let room = room.ok_or(Error::PromptTooLong { prompt, max_length })?;
        if self.stride >= room {
            return Err(Error::Stride {
                stride: self.stride,
                room,
            });
        }
        Ok(room)
    }
}

impl Prepared {
    /// Tokenizes a text or a pair; one that is too long is truncated, or divided if `windows` is
    /// set.
    pub(super) fn new(
        tokenizer: &Tokenizer,
        (text, pair): (&str, Option<&str>),
        max_length: usize,
        windows: Option<&Windows>,
        truncation: TruncationSide,
    ) -> Result<Self> {
        let cut = tokenizer.encode_ids(text, pair, max_length)?;
        match windows {
            Some(windows) if cut.truncated => {
                let room = windows.room(tokenizer, max_length)?;
                let sequence = Sequence::new(tokenizer, text, None)?;
                Ok(Self::Windowed(Box::new(Windowed::new(
                    sequence, room, windows,
                ))))
            }
            None if cut.truncated && truncation == TruncationSide::Left => {
                let sequence = Sequence::new(tokenizer, text, pair)?;
                Ok(Self::Whole(sequence.truncated_left(max_length)))
            }
            _ => Ok(Self::Whole(cut)),
        }
    }

    /// Puts special tokens around the ids of a text, unless it has them, and truncates it.
    pub(super) fn from_ids(
        tokenizer: &Tokenizer,
        ids: &[u32],
        vocab_size: usize,
        max_length: usize,
        truncation: TruncationSide,
    ) -> Result<Self> {
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(Error::TokenId { id, vocab_size });
        }
        let frame = tokenizer.frame(false)?;
        let Some([before, after]) = frame.as_ref().map(|it| it.around.as_slice()) else {
            let why = "the tokenizer puts special tokens inside of texts, which ids lack";
            return Err(Error::Tokenize(why.into()));
        };
        let [first, last] = [before, after].map(|it| it.iter().map(|token| token.0));
        let (first, last): (Vec<u32>, Vec<u32>) = (first.collect(), last.collect());
        let bare = ids
            .strip_prefix(first.as_slice())
            .and_then(|ids| ids.strip_suffix(last.as_slice()))
            .unwrap_or(ids);
        let room = tokenizer.room(max_length, false)?;
        let kept = match truncation {
            _ if bare.len() <= room => bare,
            TruncationSide::Right => &bare[..room],
            TruncationSide::Left => &bare[bare.len() - room..],
        };
        let type_id = frame.as_ref().map_or(0, |frame| frame.types[0]);
        let of_kept = kept.iter().map(|&id| (id, type_id));
        let framed = before.iter().copied().chain(of_kept);
        let framed = framed.chain(after.iter().copied());
        let (ids, type_ids) = framed.map(|(id, kind)| (id, u32::from(kind))).unzip();
        Ok(Self::Whole(TokenIds {
            ids,
            type_ids,
            truncated: kept.len() < bare.len(),
        }))
    }

    /// Returns the number of passes.
    pub(super) fn passes(&self) -> usize {
        match self {
            Self::Whole(_) => 1,
            Self::Windowed(windowed) => windowed.ranges.len(),
        }
    }

    /// Returns the number of tokens that enter the network in a pass.
    pub(super) fn pass_len(&self, pass: usize) -> usize {
        match self {
            Self::Whole(tokens) => tokens.ids.len(),
            Self::Windowed(windowed) => {
                windowed.sequence.special() + windowed.prompt + windowed.ranges[pass].len()
            }
        }
    }

    /// Returns the tokens that enter the network in a pass.
    pub(super) fn pass(&self, pass: usize) -> Cow<'_, TokenIds> {
        match self {
            Self::Whole(tokens) => Cow::Borrowed(tokens),
            Self::Windowed(windowed) => {
                Cow::Owned(windowed.sequence.tokens(&windowed.window(pass)))
            }
        }
    }

    /// Returns the places and weights of a pass's tokens, and its share. `skipped` tokens at the
    /// start of the text are not pooled.
    pub(super) fn places(&self, pass: usize, skipped: usize) -> Pass {
        let (occurrences, share) = match self {
            Self::Whole(tokens) => {
                let positions = 0..tokens.ids.len();
                (
                    positions
                        .map(|position| Occurrence {
                            position,
                            weight: 1.0,
                        })
                        .collect(),
                    1.0,
                )
            }
            Self::Windowed(windowed) => windowed.occurrences(pass),
        };
        Pass {
            occurrences,
            share,
            tokens: self.ids().len(),
            skipped,
        }
    }

    /// Returns the ids of the text, as far as it is read.
    pub(super) fn ids(&self) -> &[u32] {
        match self {
            Self::Whole(tokens) => &tokens.ids,
            Self::Windowed(windowed) => &windowed.sequence.ids,
        }
    }

    /// Returns true if the text was truncated.
    pub(super) fn truncated(&self) -> bool {
        matches!(self, Self::Whole(tokens) if tokens.truncated)
    }

    /// Returns the number of tokens that enter the network, over all passes.
    pub(super) fn entered(&self) -> usize {
        (0..self.passes()).map(|pass| self.pass_len(pass)).sum()
    }
}

impl Windowed {
    fn new(sequence: Sequence, room: usize, by: &Windows) -> Self {
        let tokens = sequence.count(Owner::First);
        let prompt = by.prompt.min(tokens);
        let ranges = windows(tokens - prompt, room, by.stride);
        let mut windows_of = vec![0; tokens - prompt];
        for range in &ranges {
            windows_of[range.clone()]
                .iter_mut()
                .for_each(|windows| *windows += 1);
        }
        Self {
            sequence,
            prompt,
            ranges,
            windows_of,
        }
    }

    /// Returns the tokens of a window by their places in the text.
    fn window(&self, pass: usize) -> Vec<usize> {
        let Range { start, end } = self.ranges[pass];
        self.sequence.window(
            (0..self.prompt).chain(self.prompt + start..self.prompt + end),
            0..0,
        )
    }

    fn occurrences(&self, pass: usize) -> (Vec<Occurrence>, f32) {
        let windows_of = &self.windows_of[self.ranges[pass].clone()];
        let share = match self.windows_of.len() {
            0 => 1.0,
            count => {
                let counted: f64 = windows_of
                    .iter()
                    .map(|&windows| 1.0 / f64::from(windows))
                    .sum();
                (counted / count as f64) as f32
            }
        };
        let of_text = windows_of.iter().map(|&windows| 1.0 / windows as f32);
        let mut of_text = std::iter::repeat_n(share, self.prompt).chain(of_text);
        let weighted = |position: usize| {
            let weight = self
                .sequence
                .owner(position)
                .and_then(|_| of_text.next())
                .unwrap_or(share);
            Occurrence { position, weight }
        };
        (self.window(pass).into_iter().map(weighted).collect(), share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelFiles, TokenizerOptions};

    /// f32 rounding of a few fractions that add up to 1.
    const ROUNDING: f32 = 1e-6;

    fn windowed(text: &str, room: usize, windows: Windows) -> Windowed {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny");
        let files = ModelFiles::from_dir(folder).unwrap();
        let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
        Windowed::new(
            Sequence::new(&tokenizer, text, None).unwrap(),
            room,
            &windows,
        )
    }

    #[test]
    fn every_token_counts_once_over_all_windows() {
        for (room, stride, prompt) in [
            (4, 0, 0),
            (4, 1, 0),
            (4, 3, 0),
            (5, 2, 2),
            (9, 8, 1),
            (3, 1, 3),
        ] {
            let text = windowed(
                "the river and the town and the river",
                room,
                Windows { stride, prompt },
            );
            assert_eq!(text.windows_of.len(), 8 - prompt);
            let text = Prepared::Windowed(Box::new(text));
            let mut counted = vec![0f32; text.ids().len()];
            let mut shares = 0.0;
            for pass in 0..text.passes() {
                let Pass {
                    occurrences, share, ..
                } = text.places(pass, 0);
                assert_eq!(
                    (occurrences.len(), text.pass(pass).ids.len()),
                    (text.pass_len(pass), occurrences.len())
                );
                occurrences
                    .iter()
                    .for_each(|it| counted[it.position] += it.weight);
                shares += share;
            }
            assert!(
                counted
                    .iter()
                    .chain([&shares])
                    .all(|sum| (sum - 1.0).abs() < ROUNDING),
                "{counted:?}"
            );
        }
    }

    #[test]
    fn ids_get_special_tokens_once_and_are_truncated_on_either_side() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny");
        let files = ModelFiles::from_dir(folder).unwrap();
        let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
        let whole = tokenizer
            .encode("the river and the town", None, None)
            .unwrap()
            .ids;
        let bare = &whole[1..whole.len() - 1];
        let read = |ids: &[u32], max_length, side| {
            Prepared::from_ids(&tokenizer, ids, 1000, max_length, side)
        };
        for ids in [bare, &whole] {
            let text = read(ids, 64, TruncationSide::Right).unwrap();
            assert_eq!((text.ids(), text.truncated()), (&whole[..], false));
        }
        let (first, last) = (whole[0], whole[whole.len() - 1]);
        for (side, kept) in [
            (TruncationSide::Right, &bare[..2]),
            (TruncationSide::Left, &bare[bare.len() - 2..]),
        ] {
            let text = read(bare, 4, side).unwrap();
            assert_eq!(text.ids(), [&[first], kept, &[last]].concat());
            assert!(text.truncated());
        }
        assert!(matches!(
            read(&[1000], 64, TruncationSide::Right),
            Err(Error::TokenId {
                id: 1000,
                vocab_size: 1000
            })
        ));
    }

    #[test]
    fn a_window_has_the_special_tokens_the_prompt_and_its_part() {
        let text = windowed(
            "the river and the town",
            2,
            Windows {
                stride: 1,
                prompt: 1,
            },
        );
        let ids = text.sequence.ids.clone();
        let text = Prepared::Windowed(Box::new(text));
        assert_eq!(text.passes(), 3);
        assert_eq!(text.pass(1).ids, [ids[0], ids[1], ids[3], ids[4], ids[6]]);
        assert_eq!((text.entered(), text.truncated()), (15, false));
    }
}
