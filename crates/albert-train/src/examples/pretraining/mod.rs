//! Examples for pretraining, from a stream of text.
//!
//! Documents are read in blocks of about [`BLOCK_BYTES`] of text. The sequences of a block are
//! built from its documents, shuffled within the block, and masked on request. Memory only depends
//! on the block, and the first example is available once the first block is read.
//!
//! An example is a function of the seed and its [`Position`], two integers, which is all that is
//! needed to resume a run. A [`Bookmark`] only avoids reading the epoch from its start.

mod block;
mod position;
mod text;

use std::sync::Arc;

use albert_tasks::Tokenizer;

use super::corpus::{Corpus, Documents};
use super::masking::{Mask, MaskSettings, MaskVocabulary, mask};
use super::sentence_order::{PAIR_TOKENS, Segments};
use crate::draws::{Draws, Purpose};
use crate::error::{Error, Result};
use block::Block;
pub use position::{Bookmark, Position};
pub use text::{PretrainingText, Sequences};

/// The size of a block in bytes of text: about a million tokens, or 8,000 sequences of 128 tokens.
const BLOCK_BYTES: usize = 4 << 20;

/// A sequence of pretraining: `[CLS] A [SEP] B [SEP]` with masks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PretrainingExample {
    /// Token ids, masks in place.
    pub ids: Vec<u32>,
    /// 0 for the first segment, 1 for the second.
    pub type_ids: Vec<u32>,
    /// The masked tokens.
    pub masks: Vec<Mask>,
    /// 0 if the second segment followed the first in the text, 1 if they were swapped; `None`
    /// without sentence order.
    pub order: Option<u32>,
    /// The index of the sequence in the epoch, in the order of the text.
    pub index: u64,
}

/// Estimates about a text from its first block, before any training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TextStatistics {
    /// The entropy of single tokens in nats: the loss of a model that only knows their frequencies.
    pub unigram_entropy: f64,
    /// The tokens that were counted.
    pub tokens: u64,
    /// The number of sequences in an epoch, estimated from the block.
    pub sequences_per_epoch: u64,
    /// True if the block is the whole epoch, so that the number of sequences is exact.
    pub is_whole: bool,
}

/// The special tokens around a sequence.
#[derive(Debug, Clone, Copy)]
struct Frame {
    start: u32,
    end: u32,
}

/// The examples of a corpus.
#[derive(Debug)]
pub struct PretrainingExamples {
    corpus: Corpus,
    tokenizer: Arc<Tokenizer>,
    vocabulary: MaskVocabulary,
    frame: Frame,
    text: PretrainingText,
    position: Position,
    bookmark: Bookmark,
    documents: Documents,
    block: Option<Block>,
    block_bytes: usize,
}

impl PretrainingExample {
    /// Returns the token ids without masks.
    pub fn unmasked(&self) -> Vec<u32> {
        let mut ids = self.ids.clone();
        for mask in &self.masks {
            ids[mask.position as usize] = mask.label;
        }
        ids
    }
}

impl PretrainingExamples {
    /// Returns the examples of `corpus` from its beginning. Nothing is read yet.
    ///
    /// # Errors
    /// If the tokenizer lacks `[CLS]`, `[SEP]` or `[MASK]`, or a setting is out of its range.
    pub fn new(corpus: Corpus, tokenizer: Arc<Tokenizer>, text: PretrainingText) -> Result<Self> {
        text.check()?;
        let mask = tokenizer.mask_token_id().ok_or_else(|| Error::Setting {
            name: "tokenizer",
            expected: "a mask token".into(),
            found: "none".into(),
        })?;
        let pieces = (0..tokenizer.vocab_size() as u32)
            .map(|id| tokenizer.id_to_token(id).unwrap_or_default());
        let vocabulary = MaskVocabulary::new(mask, pieces);
        let empty = tokenizer.encode("", None, None)?;
        let (Some(&start), Some(&end)) = (empty.ids.first(), empty.ids.last()) else {
            return Err(Error::Setting {
                name: "tokenizer",
                expected: "tokens before and after a text".into(),
                found: "none".into(),
            });
        };
        let documents = corpus.documents(text.file_seed(), 0);
        Ok(Self {
            corpus,
            tokenizer,
            vocabulary,
            frame: Frame { start, end },
            text,
            position: Position::default(),
            bookmark: Bookmark::default(),
            documents,
            block: None,
            block_bytes: BLOCK_BYTES,
        })
    }

    /// Returns true if the sequences have two segments, whose order is trained.
    pub(crate) fn has_sentence_order(&self) -> bool {
        self.text.sequences.are_pairs()
    }

    /// Returns the position of the next example.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns where the block of the next example begins.
    pub fn bookmark(&self) -> &Bookmark {
        match &self.block {
            Some(block) => &block.bookmark,
            None => &self.bookmark,
        }
    }

    /// Moves to a position, with a bookmark taken by a run with the same corpus and settings.
    ///
    /// # Errors
    /// If a file cannot be read or has become shorter.
    pub fn go_to(&mut self, position: Position, bookmark: &Bookmark) -> Result<()> {
        self.start(bookmark.clone())?;
        self.position = position;
        Ok(())
    }

    /// Returns the epochs passed, in fractions estimated from the bytes read.
    pub fn epochs(&self) -> f64 {
        let within = self.block.as_ref().map_or(0.0, |block| {
            let done = self.position.sequence - block.bookmark.sequences;
            let share = done as f64 / block.sequences.len().max(1) as f64;
            block.shares.0 + (block.shares.1 - block.shares.0) * share
        });
        self.position.epoch as f64 + within
    }

    /// Returns estimates about the text from the block of the next example.
    ///
    /// # Errors
    /// If the text cannot be read, or there is none.
    pub fn statistics(&mut self) -> Result<TextStatistics> {
        self.fill()?;
        let block = self.block.as_ref().expect("a block was read");
        let tokens: u64 = block.counts.iter().sum();
        let terms = block
            .counts
            .iter()
            .filter(|&&count| count > 0)
            .map(|&count| {
                let p = count as f64 / tokens as f64;
                -p * p.ln()
            });
        let share = (block.shares.1 - block.shares.0).max(f64::MIN_POSITIVE);
        Ok(TextStatistics {
            unigram_entropy: terms.sum(),
            tokens,
            sequences_per_epoch: (block.sequences.len() as f64 / share).round() as u64,
            is_whole: block.shares == (0.0, 1.0),
        })
    }

    /// Returns the next example of an endless sequence of epochs.
    ///
    /// # Errors
    /// If the text cannot be read, or there is none.
    pub fn next_example(&mut self) -> Result<PretrainingExample> {
        self.fill()?;
        let block = self.block.as_ref().expect("a block was read");
        let (segments, sequence) = block.sequence(self.position.sequence);
        let example = self.example(segments, sequence);
        self.position.sequence += 1;
        Ok(example)
    }

    /// Returns the next example, or `None` at the end of the first epoch.
    ///
    /// # Errors
    /// See [`next_example`](Self::next_example).
    pub fn next_of_epoch(&mut self) -> Result<Option<PretrainingExample>> {
        self.fill()?;
        if self.position.epoch > 0 {
            return Ok(None);
        }
        self.next_example().map(Some)
    }

    /// Frames and masks a sequence.
    fn example(&self, segments: &Segments, sequence: u64) -> PretrainingExample {
        let Frame { start, end } = self.frame;
        let (first, second) = (&segments.first, &segments.second);
        let mut ids = Vec::with_capacity(first.len() + second.len() + PAIR_TOKENS);
        ids.push(start);
        ids.extend_from_slice(first);
        ids.push(end);
        let boundary = ids.len();
        if self.has_sentence_order() {
            ids.extend_from_slice(second);
            ids.push(end);
        }
        let type_ids = (0..ids.len())
            .map(|position| u32::from(position >= boundary))
            .collect();
        let last = ids.len() - 1;
        let is_special = |position| position == 0 || position == boundary - 1 || position == last;
        let settings = MaskSettings {
            probability: self.text.mask_probability,
            max_ngram: self.text.max_ngram,
            max_length: self.text.max_length,
        };
        let place = [self.position.epoch, sequence];
        let mut draws = Draws::new(self.text.seed, Purpose::Masks, &place);
        let masks = mask(
            &mut ids,
            is_special,
            &settings,
            &self.vocabulary,
            &mut draws,
        );
        PretrainingExample {
            ids,
            type_ids,
            index: sequence,
            masks,
            order: self
                .has_sentence_order()
                .then_some(u32::from(segments.is_swapped)),
        }
    }

    /// Reads blocks until one has the position.
    fn fill(&mut self) -> Result<()> {
        loop {
            if let Some(block) = &self.block
                && self.position.sequence < block.end()
            {
                return Ok(());
            }
            let next = self.next_bookmark();
            if !self.read(next)? {
                if self.bookmark.sequences == 0 {
                    return Err(Error::EmptyCorpus(self.corpus.name()));
                }
                self.start(Bookmark {
                    epoch: self.bookmark.epoch + 1,
                    ..Bookmark::default()
                })?;
            }
        }
    }

    /// Returns the place where the next block begins.
    fn next_bookmark(&self) -> Bookmark {
        let Some(block) = &self.block else {
            return self.bookmark.clone();
        };
        Bookmark {
            epoch: block.bookmark.epoch,
            block: block.bookmark.block + 1,
            sequences: block.end(),
            place: self.documents.place(),
        }
    }

    /// Goes to the beginning of a block.
    fn start(&mut self, bookmark: Bookmark) -> Result<()> {
        let seed = self.text.file_seed();
        self.documents = self.corpus.documents(seed, bookmark.epoch);
        self.documents.go_to(&bookmark.place)?;
        self.position = Position {
            epoch: bookmark.epoch,
            sequence: bookmark.sequences,
        };
        self.bookmark = bookmark;
        self.block = None;
        Ok(())
    }

    /// Reads the block that begins at the current place; `false` where the epoch ends there.
    fn read(&mut self, bookmark: Bookmark) -> Result<bool> {
        let before = self.documents.share();
        let (mut texts, mut bytes) = (Vec::new(), 0);
        while bytes < self.block_bytes
            && let Some(document) = self.documents.next_document()?
        {
            bytes += document.iter().map(String::len).sum::<usize>();
            texts.push(document);
        }
        if texts.is_empty() {
            self.block = None;
            self.bookmark = bookmark;
            return Ok(false);
        }
        let shares = (before, self.documents.share());
        let block = Block::new(&texts, shares, bookmark, &self.tokenizer, &self.text)?;
        self.block = Some(block);
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
