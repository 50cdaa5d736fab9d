//! The settings that turn text into examples.

use crate::error::{Error, Result};

/// The minimum number of tokens in a sequence: special tokens and one or two text tokens.
const LEAST_TOKENS: usize = 5;

/// The parts of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sequences {
    /// One sentence.
    Sentences,
    /// One segment of consecutive sentences.
    Segments,
    /// Two segments, swapped in half of the sequences, for sentence order prediction.
    Pairs,
    /// Two segments, in both orders one after the other: the two examples of a pair differ in
    /// nothing but the order and the masks.
    BothOrders,
}

impl Sequences {
    /// Returns true if a sequence has two segments, whose order is trained.
    pub fn are_pairs(self) -> bool {
        matches!(self, Self::Pairs | Self::BothOrders)
    }
}

/// The settings that turn text into examples.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PretrainingText {
    /// The maximum number of tokens in a sequence, special tokens included.
    pub max_length: usize,
    /// The probability that a document's sequences are cut to a random shorter length.
    pub short_probability: f64,
    /// The fraction of the tokens that is masked.
    pub mask_probability: f64,
    /// The maximum length of a masked n-gram, in words.
    pub max_ngram: usize,
    /// The parts of a sequence.
    pub sequences: Sequences,
    /// True to shuffle files and sequences.
    pub shuffle: bool,
    /// True to read files one after another as they are listed, even if sequences are shuffled.
    pub in_file_order: bool,
    /// The seed of every draw.
    pub seed: u64,
}

impl PretrainingText {
    /// Returns the settings of google-research/albert for sequences of `max_length` tokens.
    pub fn new(max_length: usize, seed: u64) -> Self {
        Self {
            max_length,
            short_probability: 0.1,
            mask_probability: 0.15,
            max_ngram: 3,
            sequences: Sequences::Pairs,
            shuffle: true,
            in_file_order: false,
            seed,
        }
    }

    /// Returns the seed of the order of files; `None` for the order in which they are listed.
    pub(super) fn file_seed(&self) -> Option<u64> {
        (self.shuffle && !self.in_file_order).then_some(self.seed)
    }

    /// Checks the ranges of the settings.
    pub(super) fn check(&self) -> Result<()> {
        if self.max_length < LEAST_TOKENS {
            return Err(Error::TooShort {
                least: LEAST_TOKENS,
                found: self.max_length,
            });
        }
        for (name, probability) in [
            ("mask_probability", self.mask_probability),
            ("short_probability", self.short_probability),
        ] {
            if !(0.0..1.0).contains(&probability) {
                return Err(Error::Setting {
                    name,
                    expected: "a probability, at least 0 and below 1".into(),
                    found: probability.to_string(),
                });
            }
        }
        if self.max_ngram == 0 {
            return Err(Error::Setting {
                name: "max_ngram",
                expected: "at least 1 word".into(),
                found: "0".into(),
            });
        }
        Ok(())
    }
}
