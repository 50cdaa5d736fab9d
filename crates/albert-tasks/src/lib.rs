//! Text in, answers out, with [ALBERT](albert_model) models on Candle.
//!
//! A model is a folder as Hugging Face lays it out, a name of the Hub (feature `hub`), or
//! `albert-mini-en`, which the default feature `builtin` compiles in. [`ModelFiles`] finds its
//! files; each task is a struct that is loaded from them and takes many texts at once:
//!
//! - [`Embedder`]: texts to sentence embeddings; [`Quantizer`]: those in fewer bits
//! - [`MaskFiller`]: what stands at a `[MASK]`, and how well a text fits the model
//! - [`Similarity`]: how alike two texts are; [`Searcher`]: the texts most like a query
//! - [`Classifier`]: labels for texts; [`ZeroShot`]: labels that the model was not trained on
//! - [`Tagger`]: names, places and other labelled stretches of a text
//! - [`Answerer`]: the answer to a question in a context; [`Chooser`]: the best of several choices
//! - [`Orderer`]: which of two texts comes first, and the order of shuffled sentences
//! - [`Tokenizer`]: texts to token ids and back to places in the text
//! - [`Forwarder`]: the network's tensors, by name
//! - [`inspect`]: what a model's files hold, and what would be made of them
//! - [`verify`]: how far apart two ways of computing a model come out
//! - [`bench()`]: how fast a model runs on this machine
//! - [`convert`]: a model in any layout to a folder as Hugging Face has it today
//! - [`overlap()`]: a stream of texts through a task, without a GPU ever waiting for the next ones
//!
//! All of them are `Send + Sync`. No text and no file makes them panic; an [`Error`] names the
//! file, what was expected and what was found, and [`Error::hint`] what to do.
//!
//! ```
//! use albert_tasks::{Embedder, ModelFiles, RunOptions};
//! # fn main() -> albert_tasks::Result<()> {
//! # if cfg!(not(feature = "builtin")) { return Ok(()) }
//! let embedder = Embedder::load(&ModelFiles::builtin()?, &RunOptions::default())?;
//! let embeddings = embedder.embed(&["A man is playing a guitar.", "Someone plays an instrument."])?;
//! let cosine: f32 = embeddings[0].vector.iter().zip(&embeddings[1].vector).map(|(a, b)| a * b).sum();
//! assert!(cosine <= 1.0 + 1e-5);
//! # Ok(())
//! # }
//! ```

// docs.rs tells what is there with the feature `hub` alone.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer;
mod batching;
mod bench;
mod budget;
mod choose;
mod classify;
mod convert;
mod embed;
mod error;
mod files;
mod fill_mask;
mod forward;
#[cfg(feature = "hub")]
mod hub;
mod inspect;
mod json;
mod names;
mod options;
mod order;
mod overlap;
mod pooling;
mod precision;
mod probability;
mod runner;
mod search;
mod sequence;
mod similarity;
mod tag;
mod tokenizer;
mod verify;
mod zero_shot;

pub use albert_model;

pub use answer::{Answer, AnswerOptions, Answerer};
pub use bench::{Benchmark, ShapeTime, bench};
pub use choose::{Choice, Chooser};
pub use classify::{Classification, Classifier, ClassifyOptions, LabelScore, ScoreFunction};
pub use convert::convert;
pub use embed::{Embedder, Embedding, TokenEmbeddings};
pub use error::{Error, Result, TokenizerSource};
pub use files::{BUILTIN, ModelFiles};
pub use fill_mask::{
    Candidate, FillOptions, FilledMask, FilledText, Filling, MaskFiller, TextScore,
};
pub use forward::{ForwardOutput, Forwarder};
#[cfg(feature = "hub")]
pub use hub::{
    CachedModel, CachedRevision, Event as HubEvent, Hub, HubError, HubSettings, HubToken,
    Observer as HubObserver, Proxies, Removable,
};
pub use inspect::{
    Activation, Inspection, Renamed, Section, Shape, TensorNames, Tied, TokenizerInfo, inspect,
};
pub use options::{DEFAULT_BATCH_TOKENS, MOST_BATCH_TOKENS, RunOptions};
pub use order::{InOrder, Orderer, Sorted, split_sentences};
pub use overlap::overlap;
pub use pooling::{Pooling, PoolingMode, Stage};
pub use precision::{Calibration, Quantized, Quantizer};
pub use search::{Hit, Search, Searcher};
pub use similarity::{Similar, Similarity};
pub use tag::{Aggregation, Entity, TagOptions, Tagged, Tagger};
pub use tokenizer::{Encoding, Explanation, Normalized, Rule, Tokenizer, TokenizerOptions};
pub use verify::{SAMPLE_TEXTS, Verification, verify};
pub use zero_shot::{DEFAULT_HYPOTHESIS, ZeroShot, ZeroShotOptions};

/// The README's examples, kept working.
#[cfg(all(doctest, feature = "builtin"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
