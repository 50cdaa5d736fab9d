//! The interface between a loss and the training pass.

use std::fmt;

use crate::train::batch::TrainingBatch;
use crate::train::candle::{TensorHead, TensorLoss};
use crate::train::error::{Result, TrainError};
use crate::train::head_pass::HeadPass;
use crate::train::network::Dense;
use crate::train::objectives::SentenceVectors;

/// A loss over a batch: the rows of hidden states that it reads, and the gradient of each.
///
/// The implementations are the types of this module; the trait cannot be implemented elsewhere,
/// because its methods name private types.
pub trait Objective: fmt::Debug + Send + Sync {
    /// Returns a short name for logs, such as `masked_lm`.
    fn name(&self) -> &'static str;

    /// Checks that the targets match the batch.
    #[doc(hidden)]
    fn check(&self, batch: &TrainingBatch) -> Result<()>;

    /// Returns the dense layers that the loss computes with.
    #[doc(hidden)]
    fn layers(&self) -> Vec<&Dense>;

    /// Returns the tokens of a sequence that are read.
    #[doc(hidden)]
    fn reads(&self, batch: &TrainingBatch, sequence: usize) -> Reads;

    /// Returns the number of repetitions after which hidden states are read; `None` after all of
    /// them.
    #[doc(hidden)]
    fn depth(&self) -> Option<usize> {
        None
    }

    /// Computes the loss of a bundle and adds the gradients of rows and parameters.
    #[doc(hidden)]
    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss;

    /// Computes the loss of a chunk by differentiable operations.
    #[doc(hidden)]
    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss>;

    /// Returns a loss that compares the vectors of the whole batch.
    #[doc(hidden)]
    fn vectors(&self) -> Option<&SentenceVectors> {
        None
    }
}

/// Tokens of a sequence that an objective reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// None.
    Nothing,
    /// `[CLS]`
    First,
    /// Some, by their index in the sequence.
    Tokens(Vec<usize>),
    /// All.
    All,
}

/// The loss of one objective over a batch.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct ObjectiveLoss {
    /// The sum of the items' losses, times the objective's weight, over its divisor.
    pub loss: f64,
    /// Items that the loss counts: masked tokens, sequences, pairs.
    pub items: usize,
    /// Items whose target is the model's first choice, if the objective has choices.
    pub correct: usize,
    /// Items whose target is among the model's first five choices, if there are as many.
    pub correct_in_five: usize,
}

impl ObjectiveLoss {
    /// Returns the counts of items, without a loss, by the number of choices preferred to each target.
    pub(super) fn counted(ranks: impl IntoIterator<Item = usize>) -> Self {
        let mut counts = Self::default();
        ranks.into_iter().for_each(|rank| counts.count(0.0, rank));
        counts
    }

    /// Adds the loss of another part of the batch.
    pub(super) fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.items += other.items;
        self.correct += other.correct;
        self.correct_in_five += other.correct_in_five;
    }

    /// Counts an item by the number of choices that the model prefers to its target.
    pub(super) fn count(&mut self, loss: f64, rank: usize) {
        self.loss += loss;
        self.items += 1;
        self.correct += usize::from(rank == 0);
        self.correct_in_five += usize::from(rank < 5);
    }
}

/// The factor of each item's loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    pub(super) weight: f32,
    /// `None`: the batch's own items.
    pub(super) divisor: Option<f64>,
}

impl Scale {
    pub(super) const MEAN: Self = Self {
        weight: 1.0,
        divisor: None,
    };

    /// Returns the factor for a batch of `own` items, or of item weights that sum to `own`.
    pub(super) fn factor(self, own: f64) -> f32 {
        let divisor = self.divisor.unwrap_or(own);
        if divisor > 0.0 {
            (f64::from(self.weight) / divisor) as f32
        } else {
            0.0
        }
    }
}

/// Methods that every objective has.
macro_rules! scaled {
    ($objective:ident) => {
        impl $objective {
            /// Multiplies the loss by a weight, 1 unless set.
            #[must_use]
            pub fn with_weight(mut self, weight: f32) -> Self {
                self.scale.weight = weight;
                self
            }

            /// Divides the sum of the items' losses by this, in place of the number of this batch's
            /// items: for a step whose batches are computed one after another.
            #[must_use]
            pub fn with_divisor(mut self, divisor: f64) -> Self {
                self.scale.divisor = Some(divisor);
                self
            }
        }
    };
}
pub(super) use scaled;

/// Returns the error for targets that do not match.
pub(super) fn misfit(
    objective: &'static str,
    expected: impl Into<String>,
    found: impl Into<String>,
) -> TrainError {
    TrainError::Targets {
        objective,
        expected: expected.into(),
        found: found.into(),
    }
}

/// Returns a dense layer that the objective needs.
pub(super) fn needed(
    layer: Option<&Dense>,
    objective: &'static str,
    expected: &'static str,
    found: crate::Head,
) -> Result<Dense> {
    layer.cloned().ok_or(TrainError::Head {
        objective,
        expected,
        found,
    })
}
