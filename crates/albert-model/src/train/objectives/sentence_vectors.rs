//! Losses over one vector for each sequence, for batches of any size.
//!
//! All vectors are computed first, then the loss and its gradient for each of them. Then the
//! forward pass of every bundle runs again, followed by its backward pass with these gradients.
//! This takes a third more operations, and the memory of one bundle.
//!
//! Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited
//! Setup" (GradCache).

use candle_core::Tensor;

use crate::train::batch::TrainingBatch;
use crate::train::candle::{TensorHead, TensorLoss};
use crate::train::error::Result;
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::Dense;
use crate::train::objective::{Objective, ObjectiveLoss, Reads, Scale, scaled};
use crate::train::objectives::vector_loss::VectorLoss;

/// The vector of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pooling {
    /// The mean of all tokens' states.
    Mean,
    /// The state of `[CLS]`.
    Cls,
}

/// A loss over the vectors of a whole batch.
#[derive(Debug, Clone)]
pub struct SentenceVectors {
    pooling: Pooling,
    loss: VectorLoss,
    h: usize,
    pub(super) scale: Scale,
}

scaled!(SentenceVectors);

impl SentenceVectors {
    /// Compares vectors pooled from the last hidden states.
    ///
    /// # Errors
    /// None yet; reserved for losses that need layers of their own.
    pub fn new(layout: &FlatLayout, pooling: Pooling, loss: VectorLoss) -> Result<Self> {
        Ok(Self {
            pooling,
            loss,
            h: layout.config().hidden_size,
            scale: Scale::MEAN,
        })
    }

    /// Returns the vector of a sequence of these states.
    pub(in crate::train) fn pool(&self, states: &[f32], tokens: usize, h: usize) -> Vec<f32> {
        match self.pooling {
            Pooling::Cls => states[..h].to_vec(),
            Pooling::Mean => {
                let mut sums = vec![0f64; h];
                for row in states[..tokens * h].chunks_exact(h) {
                    sums.iter_mut()
                        .zip(row)
                        .for_each(|(sum, x)| *sum += f64::from(*x));
                }
                sums.iter()
                    .map(|sum| (sum / tokens as f64) as f32)
                    .collect()
            }
        }
    }

    /// Returns the loss of all vectors, `(B, H)`, and their gradients.
    pub(in crate::train) fn compare(&self, vectors: &[f32], h: usize) -> (ObjectiveLoss, Vec<f32>) {
        self.loss.compare(vectors, h, self.scale)
    }

    /// Returns the vectors of a chunk's sequences, `(B, H)`.
    pub(in crate::train) fn pool_tensors(&self, head: &TensorHead<'_>) -> Result<Tensor> {
        head.pool(self.pooling)
    }
}

impl Objective for SentenceVectors {
    fn name(&self) -> &'static str {
        self.loss.name()
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        self.loss.check(batch.len(), self.h)
    }

    fn layers(&self) -> Vec<&Dense> {
        Vec::new()
    }

    fn reads(&self, _batch: &TrainingBatch, _sequence: usize) -> Reads {
        match self.pooling {
            Pooling::Mean => Reads::All,
            Pooling::Cls => Reads::First,
        }
    }

    /// Spreads the gradients of the vectors over the states; the loss was computed with them.
    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        let step = head.step;
        let Some(gradients) = step
            .vector_gradients
            .get(head.objective)
            .and_then(Option::as_ref)
        else {
            return ObjectiveLoss::default();
        };
        let h = self.h;
        for span in &head.bundle.spans {
            let gradient = &gradients[span.sequence * h..][..h];
            let (count, factor) = match self.pooling {
                Pooling::Mean => (span.tokens, (span.tokens as f32).recip()),
                Pooling::Cls => (1, 1.0),
            };
            let first = head.indices[span.start] * h;
            for row in head.d_states[first..first + count * h].chunks_exact_mut(h) {
                albert_kernels::training::add_scaled(step.instructions, factor, gradient, row);
            }
        }
        ObjectiveLoss::default()
    }

    fn vectors(&self) -> Option<&SentenceVectors> {
        Some(self)
    }

    /// Returns a sum whose gradients are those given; the loss was computed with the vectors.
    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        let Some(gradients) = head.vector_gradients()? else {
            return Ok(TensorLoss::default());
        };
        let vectors = head.wide(&self.pool_tensors(head)?)?;
        let sum = (vectors * gradients)?.sum_all()?;
        Ok(TensorLoss::from_items(sum, 0))
    }
}
