//! Turns text into examples: the stream of documents, their sequences, and their masks.

mod corpus;
mod lines;
mod masking;
mod pretraining;
mod sentence_order;

pub use corpus::{Corpus, CorpusFile, Document, Documents, Place};
pub use masking::{Mask, MaskSettings, MaskVocabulary, mask};
pub use pretraining::{
    Bookmark, Position, PretrainingExample, PretrainingExamples, PretrainingText, Sequences,
    TextStatistics,
};
pub use sentence_order::{Lengths, Segments, TokenizedDocument, both_orders, pairs, singles};
