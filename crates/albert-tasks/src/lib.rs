//! Natural language tasks with [ALBERT and BERT encoders](albert_model) on Candle: embeddings,
//! semantic search, masked language modeling, classification, named entity recognition, question
//! answering and more.
//!
//! ```
//! # fn main() -> albert_tasks::Result<()> {
//! # if cfg!(not(feature = "builtin")) { return Ok(()) }
//! use albert_tasks::{Embedder, cosine};
//!
//! let embedder = Embedder::from_pretrained("albert-mini-en")?;
//! let texts = ["A man is playing a guitar.", "Someone plays an instrument."];
//! let embeddings = embedder.embed(&texts)?;
//! assert!(cosine(&embeddings[0].vector, &embeddings[1].vector) > 0.5);
//! # Ok(())
//! # }
//! ```
//!
//! # Tasks
//!
//! Each task is a struct that is loaded from a model and processes many texts at once. All are
//! `Send + Sync`, and none panics on any text or file.
//!
//! | Type | Task | Name at Hugging Face |
//! |---|---|---|
//! | [`Embedder`] | sentence embeddings; [`VectorQuantizer`] stores them in fewer bits | feature-extraction |
//! | [`SimilarityScorer`] | semantic similarity of two texts | sentence-similarity |
//! | [`Searcher`] | semantic search: the texts of a corpus that are most similar to a query | |
//! | [`NeighborFinder`] | near-duplicates: the pairs of texts that are most similar | paraphrase mining |
//! | [`Reranker`] | ranks texts for a query with a cross-encoder | text-ranking |
//! | [`MaskFiller`] | masked language modeling: tokens at a `[MASK]`, scores of texts | fill-mask |
//! | [`Classifier`] | text classification, such as sentiment | text-classification |
//! | [`ZeroShotClassifier`] | classification with labels that the model was not trained on | zero-shot-classification |
//! | [`Tagger`] | named entity recognition (NER) and other token classification | token-classification |
//! | [`Answerer`] | extractive question answering (QA) | question-answering |
//! | [`Chooser`] | multiple choice | multiple-choice |
//! | [`Orderer`] | sentence order prediction, and sorting shuffled sentences | |
//! | [`Forwarder`] | the tensors of a forward pass, by name | |
//!
//! A call takes a slice of texts and returns a `Result<Vec<_>>` with one result per text, in order;
//! the first error ends the call. A method whose name ends in `_each` returns a `Vec<Result<_>>`
//! instead, with a separate error for each text. Optional arguments are in an options struct with
//! `with_…` methods, such as [`TagOptions`]. [`TextInput`] is a text or a pair of texts.
//!
//! Tasks of one model share its weights and its tokenizer if they are created on a [`SharedModel`].
//!
//! [`pipelined()`] runs a stream of texts through a task so that a GPU never waits for input.
//!
//! # Files and the Hub
//!
//! A model is a folder in Hugging Face's layout, a name on the Hub (feature `hub`), or
//! `albert-mini-en`, which the feature `builtin` compiles into the program. `from_pretrained` takes
//! any of them by name. For more control, [`ModelFiles`] finds the files, and `load` takes them
//! with [`RunOptions`]. The module `hub` is the client of the Hub, with cache, tokens and proxies.
//!
//! # Tokenizer
//!
//! [`tokenizer`] turns texts into token ids, with offsets into the text. [`pooling`] describes how
//! an embedding is computed from the vectors of a text's tokens.
//!
//! # Tools
//!
//! [`tools`] inspects a model's files, converts them, compares a model's hidden states under two
//! settings, and measures its speed.
//!
//! # Devices
//!
//! The default device is the CPU. [`RunOptions::on_device`] selects a CUDA or Metal [`Device`], and
//! [`RunOptions::with_weights`] the format of the weights:
//!
//! ```no_run
//! use albert_tasks::{Device, ModelFiles, RunOptions, Tagger, WeightFormat};
//! # fn main() -> anyhow::Result<()> {
//! let options = RunOptions::on_device(Device::new_cuda(0)?).with_weights(WeightFormat::BF16);
//! let tagger = Tagger::load(&ModelFiles::from_dir("./ner")?, &options)?;
//! # Ok(())
//! # }
//! ```
//!
//! # Feature flags
//!
//! | Flag | |
//! |---|---|
//! | `builtin` (default) | compiles the model `albert-mini-en` (10 MB, in int8) into the program |
//! | `hub` | models on the Hugging Face Hub by name |
//! | `cuda`, `cudnn`, `flash-attn`, `metal`, `mkl`, `accelerate` | Candle's backends |
//!
//! # Errors and hints
//!
//! An [`Error`] names the file or value, what was expected and what was found. [`Error::hint`]
//! suggests a remedy; it is a separate call, which `?` in `main` does not make.

// docs.rs marks items that need the feature `hub`.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod choose;
mod classify;
mod embed;
mod engine;
mod error;
mod events;
mod files;
mod fill_mask;
mod forward;
#[cfg(feature = "hub")]
pub mod hub;
mod input;
mod json;
mod names;
mod neighbors;
mod options;
mod order;
mod pipeline;
pub mod pooling;
mod probability;
mod rerank;
mod search;
mod sequence;
mod shared_model;
mod similarity;
mod tag;
mod task;
pub mod tokenizer;
pub mod tools;
mod vector_precision;
mod windowed;
mod zero_shot;

pub use albert_model;
pub use albert_model::{LoadOptions, WeightFormat};
pub use candle_core::Device;

pub use answer::{Answer, AnswerOptions, Answerer, Answers};
pub use choose::{ChoiceScores, ChooseOptions, Chooser};
pub use classify::{Classification, Classifier, ClassifyOptions, LabelScore, ScoreFunction};
pub use embed::{EmbedOptions, Embedder, Embedding, PreparedText, TokenEmbeddings, TruncationSide};
pub use engine::pipelined;
pub use error::{Error, Result, TokenizerSource};
pub use events::{Event, Observer};
pub use files::{BUILTIN, ModelFiles};
pub use fill_mask::{
    Candidate, FillOptions, FilledMask, FilledText, Filling, MaskFiller, TextScore,
};
pub use forward::{ForwardOutput, Forwarder};
#[cfg(feature = "hub")]
pub use hub::{Hub, HubError};
pub use input::{SecondText, TextInput};
pub use neighbors::{Neighbor, NeighborFinder, NeighborOptions, NeighborSearch};
pub use options::{DEFAULT_BATCH_TOKENS, MAX_BATCH_TOKENS, RunOptions};
pub use order::{Orderer, SentenceOrder, SortedSentences, split_sentences};
pub use pooling::{Pooling, PoolingMode};
pub use rerank::{RankedText, Relevance, RerankOptions, Reranker};
pub use search::{Hit, Search, Searcher};
pub use shared_model::SharedModel;
pub use similarity::{SimilarityScore, SimilarityScorer, cosine};
pub use tag::{Aggregation, Entities, Entity, TagOptions, Tagger};
pub use tokenizer::{Tokenizer, TokenizerOptions};
pub use vector_precision::{QuantizedVector, Ranges, VectorQuantizer};
pub use zero_shot::{DEFAULT_HYPOTHESIS, ZeroShotClassifier, ZeroShotOptions};

/// The README's examples, kept working.
#[cfg(all(doctest, feature = "builtin"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The examples of docs/rust.md, kept working.
#[cfg(all(doctest, feature = "builtin"))]
#[doc = include_str!("../../../docs/rust.md")]
struct FromRust;
