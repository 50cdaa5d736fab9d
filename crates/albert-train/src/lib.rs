//! Trains [ALBERT](albert_tasks::albert_model) models.
//!
//! - [`Engine`]: the CPU's own kernels, or Candle's autograd on any device
//! - [`examples`]: turns text into examples of masked language modeling and sentence order
//!   prediction
//! - [`optim`]: AdamW, LAMB and Muon, learning rate schedules, clipping
//! - [`pretrain`]: the two losses on a stream of text; [`evaluate`]: their metrics
//! - [`compress`]: fewer groups, a narrower embedding, fewer layers or pieces; [`distill`]: training
//!   after a teacher
//! - [`finetune`]: classification, tagging, question answering and other tasks; [`metrics`]: theirs
//! - [`Run`]: a task in its output folder, new or resumed; [`Trainer`]: the training loop, with a
//!   log and snapshots to resume from
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
