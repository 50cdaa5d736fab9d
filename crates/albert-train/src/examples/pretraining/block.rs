//! The sequences of a block of documents.

use albert_tasks::Tokenizer;
use rayon::prelude::*;

use super::position::Bookmark;
use super::text::{PretrainingText, Sequences};
use crate::draws::{Draws, Purpose, key};
use crate::error::Result;
use crate::examples::sentence_order::{
    Lengths, Segments, TokenizedDocument, both_orders, pairs, sentences, singles,
};
use crate::permutation::Permutation;

/// The sequences of consecutive documents.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) sequences: Vec<Segments>,
    order: Option<Permutation>,
    /// The sequences that stay next to each other when they are shuffled.
    stride: usize,
    /// The place where the block begins.
    pub(super) bookmark: Bookmark,
    /// The fraction of the epoch's text before the end of the previous block and of this one.
    pub(super) shares: (f64, f64),
    pub(super) counts: Vec<u64>,
}

impl Block {
    /// Builds the sequences of documents, whose text lies between two shares of the epoch.
    ///
    /// # Errors
    /// If the tokenizer refuses a sentence.
    pub(super) fn new(
        documents: &[Vec<String>],
        shares: (f64, f64),
        bookmark: Bookmark,
        tokenizer: &Tokenizer,
        text: &PretrainingText,
    ) -> Result<Self> {
        let tokenized: Vec<TokenizedDocument> = documents
            .par_iter()
            .map(|sentences| {
                let mut document = TokenizedDocument::default();
                for sentence in sentences {
                    let ids = tokenizer.ids_without_special_tokens(sentence)?;
                    // Lone sentences are numbered as the lines of the text.
                    if text.sequences == Sequences::Sentences || !ids.is_empty() {
                        document.push(&ids);
                    }
                }
                Ok(document)
            })
            .collect::<Result<_>>()?;
        let documents: Vec<_> = tokenized
            .into_iter()
            .filter(|document| document.sentences() > 0)
            .collect();
        let mut counts = vec![0; tokenizer.vocab_size()];
        for id in documents.iter().flat_map(TokenizedDocument::ids) {
            counts[*id as usize] += 1;
        }
        let lengths = Lengths {
            max_length: text.max_length,
            short_probability: text.short_probability,
        };
        let sequences: Vec<Segments> = (0..documents.len())
            .into_par_iter()
            .flat_map_iter(|index| {
                let place = [bookmark.epoch, bookmark.block, index as u64];
                let mut draws = Draws::new(text.seed, Purpose::Segments, &place);
                match text.sequences {
                    Sequences::Sentences => sentences(&documents[index], lengths),
                    Sequences::Segments => singles(&documents[index], lengths, &mut draws),
                    Sequences::Pairs => pairs(&documents, index, lengths, &mut draws),
                    Sequences::BothOrders => both_orders(&documents, index, lengths, &mut draws),
                }
            })
            .collect();
        let place = [bookmark.epoch, bookmark.block];
        let order = key(text.seed, Purpose::SequenceOrder, &place);
        let stride = match text.sequences {
            Sequences::BothOrders => 2,
            _ => 1,
        };
        Ok(Self {
            order: text
                .shuffle
                .then(|| Permutation::new(order, sequences.len() / stride)),
            stride,
            sequences,
            bookmark,
            shares,
            counts,
        })
    }

    /// Returns the sequence at a place in the order of the block, and its index in the epoch.
    pub(super) fn sequence(&self, position: u64) -> (&Segments, u64) {
        let index = (position - self.bookmark.sequences) as usize;
        let index = self.order.map_or(index, |order| {
            order.at(index / self.stride) * self.stride + index % self.stride
        });
        (
            &self.sequences[index],
            self.bookmark.sequences + index as u64,
        )
    }

    /// Returns the index in the epoch of the first sequence after the block.
    pub(super) fn end(&self) -> u64 {
        self.bookmark.sequences + self.sequences.len() as u64
    }
}
