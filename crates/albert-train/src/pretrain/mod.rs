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

use albert_tasks::ModelFiles;

pub(crate) use batch::{Batch, references};
pub use preset::{Preset, WARMUP_SHARE, lamb_learning_rate};
pub use start::Start;
pub(crate) use sums::Sums;
pub use task::Pretraining;

use crate::error::Result;
use crate::examples::{PretrainingExamples, PretrainingText};
use crate::run;
use crate::text_training::TextTraining;
use crate::trainer::{Event, Summary, TrainerSettings};

/// The setup of a pretraining run: initial weights, a tokenizer, text and settings.
#[derive(Debug, Clone)]
pub struct Pretrain {
    start: Start,
    files: ModelFiles,
    text: TextTraining,
}

impl Pretrain {
    /// Sets up pretraining from initial weights, the files of the tokenizer, and text.
    pub fn new(start: Start, tokenizer: ModelFiles, text: impl Into<TextTraining>) -> Self {
        Self {
            start,
            files: tokenizer,
            text: text.into(),
        }
    }

    /// Loads tokenizer and weights. The corpus is read as a stream, from the first step on.
    ///
    /// # Errors
    /// If the corpus, the model and the tokenizer do not fit each other, or a file cannot be read.
    pub fn prepare(self) -> Result<Pretraining> {
        let Self { start, files, text } = self;
        let tokenizer = text.load_tokenizer(&files)?;
        let (parameters, new_tensors) = start.parameters(&tokenizer, &text.text)?;
        let pass = text.pass.pass(parameters.layout())?;
        let data = text.fingerprint(&pass);
        let TextTraining {
            train, eval, text, ..
        } = text;
        let examples = PretrainingExamples::new(train, Arc::clone(&tokenizer), text)?;
        let ordered = PretrainingText {
            shuffle: false,
            ..text
        };
        let evaluation = eval.map(|corpus| PretrainingExamples::new(corpus, tokenizer, ordered));
        Ok(Pretraining {
            parameters,
            pass,
            examples,
            evaluation: evaluation.transpose()?,
            data,
            seed: text.seed,
            new_tensors,
            files,
            start: start.into_files(),
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
        observe: impl FnMut(Event<'_>),
    ) -> Result<Summary> {
        run::train(folder.as_ref(), || self.prepare(), settings, observe)
    }
}
