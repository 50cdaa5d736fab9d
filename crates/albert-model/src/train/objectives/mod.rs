//! The objectives, one file each.

mod choice;
mod classification;
mod hidden_states;
mod masked_lm;
mod masked_logits;
mod sentence_vectors;
mod softmax;
mod spans;
mod state_reader;
mod targets;
mod token_labels;
mod vector_loss;
mod vocabulary;

pub use choice::Choice;
pub use classification::{Classification, SentenceOrder};
pub use hidden_states::HiddenStates;
pub use masked_lm::MaskedLm;
pub use masked_logits::MaskedLogits;
pub use sentence_vectors::{Pooling, SentenceVectors};
pub(super) use softmax::Softmax;
pub use spans::Spans;
pub(super) use state_reader::StateReader;
pub use targets::{MultiLabel, Regression};
pub use token_labels::TokenLabels;
pub use vector_loss::VectorLoss;
