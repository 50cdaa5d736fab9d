//! Computes the losses and gradients of batches on the CPU, in constant memory.
//!
//! The backward pass is hand-written instead of autograd: [`FlatParameters`] hold all weights in
//! one buffer, a [`TrainingBatch`] holds ragged sequences, an [`Objective`] reads rows of hidden
//! states, and a [`TrainingPass`] computes the gradients, in the order of the parameters.
//! Optimizers work on these flat slices; their arithmetic is `albert_kernels::training`.
//!
//! ```
//! use std::sync::Arc;
//! use albert_model::train::{
//!     Draw, FlatLayout, FlatParameters, MaskedLm, PassOptions, TrainingBatch, TrainingPass,
//! };
//! use albert_model::{AlbertConfig, Head};
//!
//! # fn main() -> Result<(), albert_model::train::TrainError> {
//! let config = AlbertConfig {
//!     vocab_size: 50, hidden_size: 32, num_attention_heads: 2, intermediate_size: 64,
//!     ..AlbertConfig::base_v2()
//! };
//! let layout = Arc::new(FlatLayout::new(&config, Head::MaskedLm)?);
//! let mut parameters = FlatParameters::random(Arc::clone(&layout), 42);
//! let mut pass = TrainingPass::new(Arc::clone(&layout), PassOptions::new(&config))?;
//!
//! let mut batch = TrainingBatch::new();
//! batch.push(&[2, 17, 4, 31, 3], &[0; 5]);
//! let objective = MaskedLm::new(&layout, vec![(2, 25)])?;
//! let (report, gradients) = pass.step(&parameters, &batch, &[&objective], Draw::default())?;
//! for (parameter, gradient) in parameters.values_mut().iter_mut().zip(gradients) {
//!     *parameter -= 0.1 * *gradient;
//! }
//! let after = pass.evaluate(&parameters, &batch, &[&objective])?;
//! assert!(after.loss() < report.loss());
//! # Ok(())
//! # }
//! ```
//!
//! Tests compare the gradients with those of PyTorch and of Candle's autograd.

mod backward;
mod batch;
mod bundle;
mod candle;
mod cpu;
mod error;
mod flat;
mod forward;
mod head_pass;
mod network;
mod objective;
mod objectives;
mod options;
mod pass;
mod random;
mod slot;
mod weights;

pub use batch::TrainingBatch;
pub use error::{Result, TrainError};
pub use flat::{FlatLayout, FlatParameters, FlatTensor, ModelPart, ParameterKind};
pub use objective::{Objective, ObjectiveLoss};
pub use objectives::{
    Choice, Classification, HiddenStates, MaskedLm, MaskedLogits, MultiLabel, Pooling, Regression,
    SentenceOrder, SentenceVectors, Spans, TokenLabels, VectorLoss,
};
pub use options::{Draw, Dropout, Frozen, PassOptions};
pub use pass::{StepReport, TrainingPass};
