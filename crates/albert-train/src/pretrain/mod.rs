//! Pretraining: masked language modeling and sentence order prediction on a stream of text.
//!
//! [`Pretrain`] takes a start, a tokenizer and text; [`Pretrain::run`] trains, and writes a folder
//! that loads like any other model:
//!
//! ```no_run
//! use albert_tasks::ModelFiles;
//! use albert_train::Event;
//! use albert_train::examples::Corpus;
//! use albert_train::optim::{OptimizerKind, OptimizerSettings};
//! use albert_train::pretrain::{Pretrain, Start};
//! use albert_train::{Length, TrainerSettings};
//!
//! # fn main() -> Result<(), albert_train::Error> {
//! let model = ModelFiles::resolve("albert-mini-en")?;
//! let optimizer = OptimizerSettings::new(OptimizerKind::AdamW);
//! let settings = TrainerSettings::new(Length::Epochs(1.0), optimizer, 5e-5);
//! let summary = Pretrain::new(Start::Model(model.clone()), model, Corpus::open(&["corpus"])?)
//!     .run("my-albert", settings, |event| {
//!         if let Event::Step { row, .. } = event {
//!             println!("step {}: {:.3}", row.step, row.loss);
//!         }
//!     })?;
//! println!("{}", summary.loss);
//! # Ok(())
//! # }
//! ```
//!
//! | Module | Content |
//! |---|---|
//! | `preset`, `start` | sizes of new models, and the weights that a run starts with |
//! | `task` | parameters and examples as a task of the trainer |
//! | `batch`, `sums` | examples laid out for the pass, and sums of their losses |

mod batch;
mod preset;
mod start;
mod sums;
mod task;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
use serde_json::json;

pub(crate) use batch::{Batch, references};
pub use preset::{Preset, WARMUP_SHARE, lamb_learning_rate};
pub use start::Start;
pub(crate) use sums::Sums;
pub use task::Pretraining;

use crate::engine::Engine;
use crate::error::Result;
use crate::examples::{Corpus, PretrainingExamples, PretrainingText};
use crate::pass_settings::PassSettings;
use crate::run::Run;
use crate::trainer::{Event, Summary, TrainerSettings};

/// The default sequence length: longer sequences take too much time on a CPU.
const MAX_LENGTH: usize = 128;

/// The default seed.
const SEED: u64 = 42;

/// A pretraining to be run: a start, a tokenizer, text and settings.
#[derive(Debug, Clone)]
pub struct Pretrain {
    start: Start,
    files: ModelFiles,
    tokenizer: TokenizerOptions,
    text: PretrainingText,
    train: Corpus,
    eval: Option<Corpus>,
    pass: PassSettings,
}

impl Pretrain {
    /// Takes initial weights, the files of the tokenizer, and a corpus.
    pub fn new(start: Start, tokenizer: ModelFiles, train: Corpus) -> Self {
        Self {
            start,
            files: tokenizer,
            tokenizer: TokenizerOptions::default(),
            text: PretrainingText::new(MAX_LENGTH, SEED),
            train,
            eval: None,
            pass: PassSettings::default(),
        }
    }

    /// Overrides how the tokenizer normalizes text. Special tokens in a corpus are literal text.
    #[must_use]
    pub fn with_tokenizer(mut self, options: TokenizerOptions) -> Self {
        self.tokenizer = options;
        self
    }

    /// Sets how text is turned into examples.
    #[must_use]
    pub fn with_text(mut self, text: PretrainingText) -> Self {
        self.text = text;
        self
    }

    /// Evaluates on this corpus.
    #[must_use]
    pub fn with_eval(mut self, corpus: Corpus) -> Self {
        self.eval = Some(corpus);
        self
    }

    /// Changes the settings of the forward and backward pass: engine, dropout, frozen parts.
    #[must_use]
    pub fn with_pass(mut self, change: impl FnOnce(&mut PassSettings)) -> Self {
        change(&mut self.pass);
        self
    }

    /// Loads tokenizer and weights. The corpus is read as a stream, from the first step on.
    ///
    /// # Errors
    /// If the corpus, the model and the tokenizer do not fit each other, or a file cannot be read.
    pub fn prepare(self) -> Result<Pretraining> {
        let options = TokenizerOptions {
            // In a corpus, `[MASK]` is literal text.
            special_tokens_as_text: true,
            ..self.tokenizer
        };
        let tokenizer = Arc::new(Tokenizer::load(&self.files, &options)?);
        let (parameters, new_tensors) = self.start.parameters(&tokenizer, &self.text)?;
        let pass = self.pass.pass(parameters.layout())?;
        let mut data = json!({
            "files": self.train.files(),
            "evaluation": self.eval.as_ref().map(Corpus::files),
            "slots": pass.options().slots,
            "bundle_tokens": pass.options().bundle_tokens,
        });
        if let engine @ Engine::Candle { .. } = &self.pass.engine {
            data["engine"] = engine.to_string().into();
        }
        let text = self.text;
        let examples = PretrainingExamples::new(self.train, Arc::clone(&tokenizer), text)?;
        let ordered = PretrainingText {
            shuffle: false,
            ..text
        };
        let evaluation = self
            .eval
            .map(|corpus| PretrainingExamples::new(corpus, tokenizer, ordered));
        Ok(Pretraining {
            parameters,
            pass,
            examples,
            evaluation: evaluation.transpose()?,
            data,
            seed: text.seed,
            new_tensors,
            files: self.files,
            start: self.start.into_files(),
        })
    }

    /// Trains, and writes the model into a new folder.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare) and [`Trainer::run`](crate::Trainer::run), or if the folder
    /// exists.
    pub fn run(
        self,
        folder: impl AsRef<Path>,
        settings: TrainerSettings,
        mut observe: impl FnMut(Event<'_>),
    ) -> Result<Summary> {
        let run = Run::new(folder)?;
        let mut task = self.prepare()?;
        let training = run.start(&mut task, settings, "")?;
        training.train(&AtomicBool::new(false), &mut observe)
    }
}
