//! Reads long texts in windows, and averages the scores of the windows.
//!
//! With a stride, a text that is too long for the network is read in several windows, each starting
//! with the last `stride` tokens of the previous one. In a pair the first text is divided, and the
//! second is in every window. The scores of a text are the mean over its windows, weighted by the
//! number of tokens of the first text in each:
//!
//! ```text
//! score = Σ over windows w of nᵥ · score(w) / Σ nᵥ,   nᵥ = tokens of the first text in w
//! ```

use crate::sequence::{Owner, Sequence, windows};
use crate::tokenizer::TokenIds;
use crate::{Error, Result, TextInput, Tokenizer};

/// The rows of one input: one, or one per window.
#[derive(Debug)]
pub(crate) struct Windowed {
    pub(crate) rows: Vec<TokenIds>,
    /// The number of tokens of the first text in each row.
    weights: Vec<usize>,
}

impl Windowed {
    /// Tokenizes an input; one that is too long is truncated, or divided into windows with
    /// `stride`.
    ///
    /// # Errors
    /// If the second text or the stride leaves no room for the first, or the tokenizer refuses the
    /// input.
    pub(crate) fn new(
        tokenizer: &Tokenizer,
        input: &impl TextInput,
        max_length: usize,
        stride: Option<usize>,
    ) -> Result<Self> {
        let (first, second) = (input.first(), input.second());
        let row = tokenizer.encode_ids(first, second, max_length)?;
        match stride {
            Some(stride) if row.truncated => {
                let sequence = Sequence::new(tokenizer, first, second)?;
                let fixed = sequence.special() + sequence.count(Owner::Second);
                let room = room(max_length, fixed, "second text")?;
                Ok(Self::from_sequence(&sequence, room, stride)?)
            }
            _ => Ok(Self {
                rows: vec![row],
                weights: vec![1],
            }),
        }
    }

    /// Divides the first text of `sequence` into windows of at most `room` tokens.
    ///
    /// # Errors
    /// If the stride is not below `room`.
    pub(crate) fn from_sequence(sequence: &Sequence, room: usize, stride: usize) -> Result<Self> {
        if stride >= room {
            return Err(Error::Stride { stride, room });
        }
        let ranges = windows(sequence.count(Owner::First), room, stride);
        let second = 0..sequence.count(Owner::Second);
        Ok(Self {
            weights: ranges.iter().map(|range| range.len().max(1)).collect(),
            rows: ranges
                .into_iter()
                .map(|range| TokenIds {
                    truncated: false,
                    ..sequence.tokens(&sequence.window(range, second.clone()))
                })
                .collect(),
        })
    }

    /// Truncates the first text of `sequence` to `room` tokens.
    pub(crate) fn truncated_to(sequence: &Sequence, room: usize) -> Self {
        let kept = sequence.count(Owner::First).min(room);
        let window = sequence.window(0..kept, 0..sequence.count(Owner::Second));
        Self {
            rows: vec![sequence.tokens(&window)],
            weights: vec![1],
        }
    }

    /// Returns the tokens that enter the network, over all rows.
    pub(crate) fn tokens(&self) -> usize {
        self.rows.iter().map(|row| row.ids.len()).sum()
    }

    /// Returns true if the input was truncated.
    pub(crate) fn truncated(&self) -> bool {
        self.rows.iter().any(|row| row.truncated)
    }

    /// Averages the scores of each row, weighted by the tokens of the first text.
    pub(crate) fn average(&self, scores: &[Vec<f32>]) -> Vec<f32> {
        if let [only] = scores {
            return only.clone();
        }
        let total: usize = self.weights.iter().sum();
        let weighted = |at: usize| -> f64 {
            let rows = scores.iter().zip(&self.weights);
            rows.map(|(scores, &weight)| f64::from(scores[at]) * weight as f64)
                .sum()
        };
        let width = scores.first().map_or(0, Vec::len);
        (0..width)
            .map(|at| (weighted(at) / total as f64) as f32)
            .collect()
    }
}

/// Returns the number of tokens of the first text that fit in addition to `fixed` others.
///
/// # Errors
/// If there is no room; `what` names the text that takes it.
pub(crate) fn room(max_length: usize, fixed: usize, what: &'static str) -> Result<usize> {
    match max_length.saturating_sub(fixed) {
        0 => Err(Error::NoRoom {
            what,
            tokens: fixed,
            max_length,
        }),
        room => Ok(room),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelFiles, TokenizerOptions};

    fn tokenizer() -> Tokenizer {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny");
        let files = ModelFiles::from_dir(folder).unwrap();
        Tokenizer::load(&files, &TokenizerOptions::default()).unwrap()
    }

    #[test]
    fn windows_share_the_stride_and_hold_the_second_text() {
        let pair = ("the river and the town and", "the river");
        let windowed = Windowed::new(&tokenizer(), &pair, 8, Some(1)).unwrap();
        // `[CLS] … [SEP] the river [SEP]` leaves room for 3 of the 6 tokens.
        let lengths: Vec<usize> = windowed.rows.iter().map(|row| row.ids.len()).collect();
        assert_eq!((lengths, windowed.weights), (vec![8, 8, 7], vec![3, 3, 2]));
        assert_eq!(windowed.rows[0].ids[3], windowed.rows[1].ids[1]);
        assert_eq!(windowed.rows[0].ids[4..], windowed.rows[1].ids[4..]);
    }

    #[test]
    fn a_text_that_fits_is_one_row_and_without_a_stride_a_long_one_is_truncated() {
        for stride in [None, Some(1)] {
            let short = Windowed::new(&tokenizer(), &"the river", 8, stride).unwrap();
            assert_eq!((short.rows.len(), short.truncated()), (1, false));
        }
        let long = "the river and the town and the river";
        let cut = Windowed::new(&tokenizer(), &long, 8, None).unwrap();
        assert_eq!((cut.rows.len(), cut.truncated()), (1, true));
    }

    #[test]
    fn a_stride_or_a_second_text_that_leaves_no_room_is_an_error() {
        let error = |second: &str, stride| {
            let pair = ("the river and the town", second);
            Windowed::new(&tokenizer(), &pair, 6, Some(stride)).unwrap_err()
        };
        assert!(matches!(
            error("the", 2),
            Error::Stride { stride: 2, room: 2 }
        ));
        assert!(matches!(
            error("the river and the", 0),
            Error::NoRoom { tokens: 7, .. }
        ));
    }

    #[test]
    fn the_mean_is_weighted_by_tokens() {
        let windowed = Windowed {
            rows: Vec::new(),
            weights: vec![3, 1],
        };
        let scores = [vec![1.0, 0.0], vec![0.0, 1.0]];
        assert_eq!(windowed.average(&scores), [0.75, 0.25]);
    }
}
