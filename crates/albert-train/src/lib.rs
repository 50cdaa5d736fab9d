//! Training of [ALBERT and BERT](albert_tasks::albert_model) models: fine-tuning, pretraining,
//! distillation and compression.
//!
//! Start with [`FineTune`], which trains a model for a task from labeled examples:
//!
//! ```no_run
//! use albert_tasks::ModelFiles;
//! use albert_train::{FineTune, FineTuneTask};
//!
//! let model = ModelFiles::resolve("albert-mini-en")?;
//! let summary = FineTune::new(FineTuneTask::Classification, model)
//!     .with_train("train.tsv")
//!     .run("my-classifier", |_event| ())?;
//! println!("{:?}", summary.evaluation);
//! # Ok::<(), albert_train::Error>(())
//! ```
//!
//! # Tasks
//!
//! - [`finetune`]: classification, tagging, question answering and other tasks, with their
//!   [`metrics`]
//! - [`pretrain`]: masked language modeling and sentence order prediction on a stream of text, with
//!   their metrics in [`evaluate`]
//! - [`distill`]: training of a student to imitate a teacher
//! - [`compress`]: fewer layer groups, layers or vocabulary pieces, and narrower embeddings
//!
//! # Parts of a run
//!
//! - [`Run`]: a task in its output folder, new or resumed
//! - [`Trainer`]: the training loop, with a log and snapshots to resume from
//! - [`examples`]: training examples made from text
//! - [`optim`]: AdamW, LAMB and Muon, learning rate schedules, gradient clipping
//! - [`Engine`]: this project's kernels on the CPU, or Candle's autograd on any device
//!
//! # Reproducibility
//!
//! Every random draw is a hash of the seed, its purpose and its position ([`draws`]), and every sum
//! runs in a fixed order, so a resumed run gives the same bits as an uninterrupted one, on any
//! number of threads.

pub mod compress;
pub mod distill;
pub mod draws;
mod engine;
mod error;
pub mod evaluate;
pub mod examples;
pub mod finetune;
mod layer_groups;
pub mod log;
pub mod metrics;
pub mod optim;
mod output;
mod pass_settings;
mod permutation;
pub mod pretrain;
mod run;
mod snapshot;
mod text_training;
mod trainer;

pub use engine::Engine;
pub use error::{Error, Result};
pub use finetune::{FineTune, FineTuneTask};
pub use output::Output;
pub use pass_settings::PassSettings;
pub use permutation::Permutation;
pub use run::{Run, Training};
pub use snapshot::{Snapshot, State, remove_all as remove_snapshots};
pub use text_training::TextTraining;
pub use trainer::{
    End, Evaluation, Event, Every, Length, StepLoss, Summary, Task, Trainer, TrainerSettings,
};

/// The example of docs/training.md, kept working.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/training.md")]
struct TrainingGuide;
