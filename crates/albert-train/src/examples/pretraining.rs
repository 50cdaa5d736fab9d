//! Examples for pretraining, from a stream of text.
//!
//! Documents are read in blocks of about [`BLOCK_BYTES`] of text. The sequences of a block are
//! built from its documents, shuffled within the block, and masked on request. Memory only depends
//! on the block, and the first example is available once the first block is read.
//!
//! An example is a function of the seed and its [`Position`], two integers, which is all that is
//! needed to resume a run. A [`Bookmark`] only avoids reading the epoch from its start.

use std::sync::Arc;

use albert_tasks::Tokenizer;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::corpus::{Corpus, Documents, Place};
use super::masking::{Mask, MaskSettings, MaskVocabulary, mask};
use super::sentence_order::{Lengths, PAIR_TOKENS, Segments, TokenizedDocument, pairs, singles};
use crate::draws::{Draws, Purpose, key};
use crate::error::{Error, Result};
use crate::permutation::Permutation;

/// The size of a block in bytes of text: about a million tokens, or 8,000 sequences of 128 tokens.
const BLOCK_BYTES: usize = 4 << 20;

/// The minimum number of tokens in a sequence: special tokens and one or two text tokens.
const LEAST_TOKENS: usize = 5;

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
    /// True for sequences of two segments, for sentence order prediction.
    pub sentence_order: bool,
    /// True to shuffle files and sequences.
    pub shuffle: bool,
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
            sentence_order: true,
            shuffle: true,
            seed,
        }
    }
}

/// A position in the data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The next sequence in the order of the epoch, from 0.
    pub sequence: u64,
}

/// The position in the text at which the block of a position starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    epoch: u64,
    block: u64,
    /// Sequences of the epoch before the block.
    sequences: u64,
    place: Place,
}

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

/// The sequences of consecutive documents.
#[derive(Debug)]
struct Block {
    sequences: Vec<Segments>,
    order: Option<Permutation>,
    /// The place where the block begins.
    bookmark: Bookmark,
    /// The fraction of the epoch's text before the end of the previous block and of this one.
    shares: (f64, f64),
    counts: Vec<u64>,
}

impl PretrainingExamples {
    /// Returns the examples of `corpus` from its beginning. Nothing is read yet.
    ///
    /// # Errors
    /// If the tokenizer lacks `[CLS]`, `[SEP]` or `[MASK]`, or a setting is out of its range.
    pub fn new(corpus: Corpus, tokenizer: Arc<Tokenizer>, text: PretrainingText) -> Result<Self> {
        check(&text)?;
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
        let documents = corpus.documents(Some(text.seed).filter(|_| text.shuffle), 0);
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
        let index = (self.position.sequence - block.bookmark.sequences) as usize;
        let index = block.order.map_or(index, |order| order.at(index));
        let sequence = block.bookmark.sequences + index as u64;
        let example = self.example(&block.sequences[index], sequence);
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
        if self.text.sentence_order {
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
            masks,
            order: self
                .text
                .sentence_order
                .then_some(u32::from(segments.is_swapped)),
        }
    }

    /// Reads blocks until one has the position.
    fn fill(&mut self) -> Result<()> {
        loop {
            if let Some(block) = &self.block {
                let end = block.bookmark.sequences + block.sequences.len() as u64;
                if self.position.sequence < end {
                    return Ok(());
                }
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
            sequences: block.bookmark.sequences + block.sequences.len() as u64,
            place: self.documents.place(),
        }
    }

    /// Goes to the beginning of a block.
    fn start(&mut self, bookmark: Bookmark) -> Result<()> {
        let seed = Some(self.text.seed).filter(|_| self.text.shuffle);
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
        let tokenizer = &self.tokenizer;
        let tokenized: Vec<TokenizedDocument> = texts
            .par_iter()
            .map(|sentences| {
                let mut document = TokenizedDocument::default();
                for sentence in sentences {
                    document.push(&tokenizer.ids_without_special_tokens(sentence)?);
                }
                Ok(document)
            })
            .collect::<Result<_>>()?;
        let documents: Vec<_> = tokenized
            .into_iter()
            .filter(|document| document.sentences() > 0)
            .collect();
        let mut counts = vec![0; self.vocabulary.len()];
        for id in documents.iter().flat_map(TokenizedDocument::ids) {
            counts[*id as usize] += 1;
        }
        let lengths = Lengths {
            max_length: self.text.max_length,
            short_probability: self.text.short_probability,
        };
        let sequences: Vec<Segments> = (0..documents.len())
            .into_par_iter()
            .flat_map_iter(|index| {
                let place = [bookmark.epoch, bookmark.block, index as u64];
                let mut draws = Draws::new(self.text.seed, Purpose::Segments, &place);
                if self.text.sentence_order {
                    pairs(&documents, index, lengths, &mut draws)
                } else {
                    singles(&documents[index], lengths, &mut draws)
                }
            })
            .collect();
        let place = [bookmark.epoch, bookmark.block];
        let order = key(self.text.seed, Purpose::SequenceOrder, &place);
        self.block = Some(Block {
            order: self
                .text
                .shuffle
                .then(|| Permutation::new(order, sequences.len())),
            sequences,
            bookmark,
            shares: (before, self.documents.share()),
            counts,
        });
        Ok(true)
    }
}

fn check(text: &PretrainingText) -> Result<()> {
    if text.max_length < LEAST_TOKENS {
        return Err(Error::TooShort {
            least: LEAST_TOKENS,
            found: text.max_length,
        });
    }
    for (name, probability) in [
        ("mask_probability", text.mask_probability),
        ("short_probability", text.short_probability),
    ] {
        if !(0.0..1.0).contains(&probability) {
            return Err(Error::Setting {
                name,
                expected: "a probability, at least 0 and below 1".into(),
                found: probability.to_string(),
            });
        }
    }
    if text.max_ngram == 0 {
        return Err(Error::Setting {
            name: "max_ngram",
            expected: "at least 1 word".into(),
            found: "0".into(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use albert_tasks::{ModelFiles, TokenizerOptions};
    use std::path::Path;

    const WORDS: usize = 200;
    const MASK: u32 = 4;

    /// A corpus of documents of three to nine sentences, and a tokenizer of its words.
    fn folder(documents: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
        let words = (0..WORDS).map(|word| format!("w{word}"));
        let vocabulary: Vec<String> = special.into_iter().chain(words).collect();
        std::fs::write(dir.path().join("vocab.txt"), vocabulary.join("\n")).unwrap();
        std::fs::create_dir(dir.path().join("text")).unwrap();
        for file in 0..3 {
            let mut text = String::new();
            for document in 0..documents {
                let mut draws = Draws::new(99, Purpose::Segments, &[file, document as u64]);
                for _ in 0..3 + draws.below(7) {
                    for _ in 0..4 + draws.below(9) {
                        text.push_str(&format!("w{} ", draws.below(WORDS)));
                    }
                    text.push_str(".\n");
                }
                text.push('\n');
            }
            std::fs::write(dir.path().join(format!("text/{file}.txt")), text).unwrap();
        }
        dir
    }

    fn examples(dir: &Path, seed: u64) -> PretrainingExamples {
        let corpus = Corpus::open(&[dir.join("text")]).unwrap();
        let files = ModelFiles::from_dir(dir).unwrap();
        let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
        let text = PretrainingText::new(48, seed);
        let mut examples = PretrainingExamples::new(corpus, Arc::new(tokenizer), text).unwrap();
        // Several blocks an epoch.
        examples.block_bytes = 4000;
        examples
    }

    fn take(examples: &mut PretrainingExamples, count: usize) -> Vec<PretrainingExample> {
        (0..count)
            .map(|_| examples.next_example().unwrap())
            .collect()
    }

    #[test]
    fn an_example_is_framed_typed_and_masked() {
        let dir = folder(20);
        for example in take(&mut examples(dir.path(), 1), 100) {
            let PretrainingExample {
                ids,
                type_ids,
                masks,
                order,
            } = example;
            assert!(ids.len() <= 48 && ids.len() == type_ids.len());
            assert_eq!((ids[0], ids[ids.len() - 1]), (2, 3));
            let boundary = type_ids.iter().position(|&id| id == 1).unwrap();
            assert_eq!(ids[boundary - 1], 3);
            assert!(type_ids[boundary..].iter().all(|&id| id == 1));
            assert!(!masks.is_empty() && masks.len() <= 8);
            assert!(masks.iter().all(|mask| ids[mask.position as usize] != 2));
            assert!(order.is_some());
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_examples_and_another_one_others() {
        let dir = folder(20);
        let first = take(&mut examples(dir.path(), 1), 300);
        assert_eq!(first, take(&mut examples(dir.path(), 1), 300));
        assert_ne!(first, take(&mut examples(dir.path(), 2), 300));
    }

    #[test]
    fn reading_goes_on_from_any_position_across_blocks_and_epochs() {
        let dir = folder(20);
        let whole = take(&mut examples(dir.path(), 1), 400);
        for start in [0, 1, 37, 64, 150, 399] {
            let mut first = examples(dir.path(), 1);
            take(&mut first, start);
            let (position, bookmark) = (first.position(), first.bookmark().clone());
            let mut second = examples(dir.path(), 1);
            second.go_to(position, &bookmark).unwrap();
            assert_eq!(take(&mut second, 400 - start), whole[start..], "{start}");
            // The position alone is enough.
            let mut third = examples(dir.path(), 1);
            let beginning = Bookmark {
                epoch: position.epoch,
                ..Bookmark::default()
            };
            third.go_to(position, &beginning).unwrap();
            assert_eq!(take(&mut third, 400 - start), whole[start..], "{start}");
        }
    }

    /// The share by which two epochs of 20 short documents may differ in length: short sequences
    /// and the places where segments end are drawn anew. Seen: 0.18.
    const EPOCH_LENGTH_TOLERANCE: f64 = 1.0 / 3.0;

    #[test]
    fn epochs_differ_in_order_and_masks_but_little_in_length() {
        let dir = folder(20);
        let mut examples = examples(dir.path(), 1);
        let mut epoch = Vec::new();
        while let Some(example) = examples.next_of_epoch().unwrap() {
            epoch.push(example);
        }
        let estimate = examples.statistics().unwrap().sequences_per_epoch;
        let apart = estimate as f64 / epoch.len() as f64 - 1.0;
        assert!(apart.abs() < EPOCH_LENGTH_TOLERANCE, "{apart}");
        let second = take(&mut examples, epoch.len());
        assert_ne!(epoch, second);
        let apart = (examples.epochs() - 2.0).abs();
        assert!(apart < EPOCH_LENGTH_TOLERANCE, "{apart}");
    }

    #[test]
    fn a_corpus_in_one_block_is_counted_exactly() {
        let dir = folder(20);
        let mut examples = examples(dir.path(), 1);
        examples.block_bytes = BLOCK_BYTES;
        let statistics = examples.statistics().unwrap();
        assert!(statistics.is_whole);
        let mut count = 0;
        while examples.next_of_epoch().unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, statistics.sequences_per_epoch);
        // Words are drawn evenly, and every eighth token or so is a full stop, which is unknown.
        let even = (WORDS as f64).ln();
        assert!((even - 0.6..even).contains(&statistics.unigram_entropy));
    }

    #[test]
    fn masks_are_mask_tokens_in_eight_of_ten() {
        let dir = folder(20);
        let (mut masked, mut total) = (0, 0);
        for example in take(&mut examples(dir.path(), 1), 500) {
            total += example.masks.len();
            let is_mask = |mask: &&Mask| example.ids[mask.position as usize] == MASK;
            masked += example.masks.iter().filter(is_mask).count();
        }
        let share = masked as f64 / total as f64;
        assert!((0.76..0.84).contains(&share), "{share}");
    }

    #[test]
    fn text_without_sentences_is_refused() {
        let dir = folder(0);
        let message = examples(dir.path(), 1)
            .next_example()
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("expected one sentence per line, found no text"),
            "{message}"
        );
    }
}
