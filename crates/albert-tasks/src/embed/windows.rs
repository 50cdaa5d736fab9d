//! A long text, divided into windows.
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

use std::ops::Range;

use crate::pooling::Occurrence;
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

impl Windowed {
    pub(super) fn new(sequence: Sequence, room: usize, by: &Windows) -> Self {
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

    /// Returns the number of windows.
    pub(super) fn count(&self) -> usize {
        self.ranges.len()
    }

    /// Returns the ids of the whole text.
    pub(super) fn ids(&self) -> &[u32] {
        &self.sequence.ids
    }

    /// Returns the number of tokens in a window, those of the prompt and the special ones included.
    pub(super) fn window_len(&self, pass: usize) -> usize {
        self.sequence.special() + self.prompt + self.ranges[pass].len()
    }

    /// Returns the tokens of a window.
    pub(super) fn tokens(&self, pass: usize) -> TokenIds {
        self.sequence.tokens(&self.window(pass))
    }

    /// Returns the positions in the text of a window's tokens.
    fn window(&self, pass: usize) -> Vec<usize> {
        let Range { start, end } = self.ranges[pass];
        self.sequence.window(
            (0..self.prompt).chain(self.prompt + start..self.prompt + end),
            0..0,
        )
    }

    /// Returns the positions and weights of a window's tokens, and the window's share of the text.
    pub(super) fn occurrences(&self, pass: usize) -> (Vec<Occurrence>, f32) {
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
    use super::super::passes::Passes;
    use super::*;
    use crate::pooling::Pass;
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
            let text = Passes::Windowed(Box::new(text));
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
        let text = Passes::Windowed(Box::new(text));
        assert_eq!(text.passes(), 3);
        assert_eq!(text.pass(1).ids, [ids[0], ids[1], ids[3], ids[4], ids[6]]);
        assert_eq!((text.entered(), text.truncated()), (15, false));
    }
}
