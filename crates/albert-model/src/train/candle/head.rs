//! An objective's working data on a device: rows of hidden states, dense layers and losses.

use std::fmt;

use candle_core::{DType, Tensor};

use crate::loss;
use crate::train::candle::Records;
use crate::train::candle::chunk::Chunk;
use crate::train::candle::network::{Masked, TensorNetwork};
use crate::train::error::Result;
use crate::train::network::{Dense, Norm};
use crate::train::objective::ObjectiveLoss;
use crate::train::objectives::{Pooling, Softmax};
use crate::train::slot::{Purpose, Recorded};

/// The hidden states of a chunk.
pub struct TensorHead<'a> {
    pub(super) step: &'a TensorNetwork<'a>,
    pub(super) chunk: &'a Chunk<'a>,
    /// After no repetition, after one, … , each `(B T, H)`.
    pub(super) states: &'a [Tensor],
    /// The index of the objective in the step.
    pub(super) objective: usize,
    /// The gradients of all sequences' vectors, `(sequences, H)`.
    pub(super) vector_gradients: Option<&'a Tensor>,
    /// The values of sequences, if the call keeps them.
    pub(super) recorded: Option<&'a Records>,
}

/// Shows the place of the objective instead of the values.
impl fmt::Debug for TensorHead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorHead({})", self.objective)
    }
}

/// The loss of a chunk: a scalar with its graph, and counts.
#[derive(Debug, Default)]
pub struct TensorLoss {
    pub(in crate::train) value: Option<Tensor>,
    pub(in crate::train) counts: ObjectiveLoss,
}

/// A token of a chunk.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) struct Place {
    /// The index of its sequence in the chunk.
    pub(in crate::train) index: usize,
    /// Its index in the sequence.
    pub(in crate::train) token: usize,
}

impl TensorHead<'_> {
    /// Returns the sequences of the chunk by their indices in the batch.
    pub(in crate::train) fn sequences(&self) -> &[usize] {
        &self.chunk.sequences
    }

    pub(in crate::train) fn batch(&self) -> &crate::train::TrainingBatch {
        self.chunk.batch
    }

    /// Returns the places of all tokens, without padding.
    pub(in crate::train) fn all(&self) -> Vec<Place> {
        let indices = 0..self.sequences().len();
        let places = indices
            .flat_map(|index| (0..self.chunk.tokens(index)).map(move |token| (index, token)));
        places
            .map(|(index, token)| Place { index, token })
            .collect()
    }

    /// Keeps the values of the sequence at `index` of the chunk, if the call does.
    pub(in crate::train) fn record(&self, index: usize, values: &Tensor) -> Result<()> {
        if let Some(recorded) = self.recorded {
            let values = values.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            recorded.borrow_mut().push(Recorded {
                objective: self.objective,
                sequence: self.sequences()[index],
                values,
            });
        }
        Ok(())
    }

    /// Returns the rows of some tokens after a number of repetitions, `None` for all.
    ///
    /// # Shapes
    /// - returns `(n, H)`
    pub(in crate::train) fn select(
        &self,
        places: &[Place],
        repetition: Option<usize>,
    ) -> Result<Tensor> {
        let places = places.iter();
        let rows = places.map(|place| (place.index * self.chunk.width + place.token) as u32);
        let rows = Tensor::new(rows.collect::<Vec<_>>(), self.step.device)?;
        let last = self.states.len() - 1;
        Ok(self.states[repetition.unwrap_or(last)].index_select(&rows, 0)?)
    }

    /// `y = x Wᵀ + b`
    pub(in crate::train) fn dense(&self, dense: &Dense, xs: &Tensor) -> Result<Tensor> {
        self.step.dense(dense, xs)
    }

    pub(in crate::train) fn norm(&self, norm: &Norm, xs: &Tensor) -> Result<Tensor> {
        self.step.norm(norm, xs)
    }

    pub(in crate::train) fn activate(&self, xs: &Tensor) -> Result<Tensor> {
        self.step.activate(xs)
    }

    /// Returns the vector of each sequence, `(B, H)`.
    pub(in crate::train) fn pool(&self, pooling: Pooling) -> Result<Tensor> {
        let (b, t) = (self.sequences().len(), self.chunk.width);
        if pooling == Pooling::Cls {
            let first = (0..b).map(|index| Place { index, token: 0 });
            return self.select(&first.collect::<Vec<_>>(), None);
        }
        let states = self.states.last().expect("the projected embeddings");
        let states = self.wide(states)?;
        let mut shares = vec![0f32; b * t];
        for (index, shares) in shares.chunks_exact_mut(t).enumerate() {
            let tokens = self.chunk.tokens(index);
            shares[..tokens].fill((tokens as f32).recip());
        }
        let shares = self.tensor(&shares, &[b, t, 1])?;
        let states = states.reshape((b, t, states.dim(1)?))?;
        Ok(states.broadcast_mul(&shares)?.sum(1)?)
    }

    /// Drops out rows that a classifier reads, `(n, width)`.
    pub(in crate::train) fn drop_out(&self, places: &[Place], xs: &Tensor) -> Result<Tensor> {
        let width = xs.dim(1)?;
        let purpose = Purpose::Classifier {
            objective: self.objective,
        };
        let masked = places.iter().enumerate().map(|(row, place)| Masked {
            key: purpose.key(self.step.key, self.sequences()[place.index]),
            first: place.token * width,
            at: row * width..(row + 1) * width,
        });
        self.step.drop_out(self.step.dropout.classifier, xs, masked)
    }

    /// Returns the logits of the pooled `[CLS]` of some sequences, by their indices in the chunk, in
    /// f32 at least.
    pub(in crate::train) fn classify(
        &self,
        pooler: &Dense,
        classifier: &Dense,
        indices: &[usize],
    ) -> Result<Tensor> {
        let places: Vec<_> = indices
            .iter()
            .map(|index| Place {
                index: *index,
                token: 0,
            })
            .collect();
        let pooled = self.dense(pooler, &self.select(&places, None)?)?.tanh()?;
        let read = if self.step.network.has_dropout_before(classifier) {
            self.drop_out(&places, &pooled)?
        } else {
            pooled
        };
        let logits = self.dense(classifier, &read)?;
        for (row, index) in indices.iter().enumerate() {
            self.record(*index, &logits.narrow(0, row, 1)?)?;
        }
        self.step.wide(&logits)
    }

    /// Returns values in f32 at least.
    pub(in crate::train) fn wide(&self, xs: &Tensor) -> Result<Tensor> {
        self.step.wide(xs)
    }

    /// Returns values of the CPU as a tensor in f32 at least.
    pub(in crate::train) fn tensor(&self, values: &[f32], shape: &[usize]) -> Result<Tensor> {
        self.wide(&Tensor::from_slice(values, shape, self.step.device)?)
    }

    /// Returns the cross-entropy of labels, times `factor`.
    ///
    /// # Shapes
    /// - `logits`: `(n, C)`, `labels`: `(n)`
    pub(in crate::train) fn cross_entropy(
        &self,
        logits: &Tensor,
        labels: &[u32],
        softmax: &Softmax,
        factor: f32,
    ) -> Result<TensorLoss> {
        let logits = self.wide(logits)?.contiguous()?;
        let labels = Tensor::new(labels, self.step.device)?;
        let weights = match softmax.class_weights.as_slice() {
            [] => None,
            weights => Some(Tensor::new(weights, self.step.device)?),
        };
        let smoothing = f64::from(softmax.label_smoothing);
        let sum = loss::classification_sum(&logits, &labels, weights.as_ref(), smoothing)?;
        Ok(TensorLoss {
            value: Some((sum * f64::from(factor))?),
            counts: ObjectiveLoss::counted(ranks(&logits, &labels)?),
        })
    }

    /// Returns the gradients of the vectors of the chunk's sequences, `(n, H)`.
    pub(in crate::train) fn vector_gradients(&self) -> Result<Option<Tensor>> {
        let Some(all) = self.vector_gradients else {
            return Ok(None);
        };
        let sequences = self.sequences().iter().map(|sequence| *sequence as u32);
        let sequences = Tensor::new(sequences.collect::<Vec<_>>(), self.step.device)?;
        Ok(Some(self.wide(&all.index_select(&sequences, 0)?)?))
    }
}

impl TensorLoss {
    /// Makes the loss of items that have no choices.
    pub(in crate::train) fn from_items(value: Tensor, items: usize) -> Self {
        let counts = ObjectiveLoss {
            items,
            ..ObjectiveLoss::default()
        };
        Self {
            value: Some(value),
            counts,
        }
    }

    /// Adds another loss and its counts.
    pub(in crate::train) fn add(&mut self, other: Self) -> Result<()> {
        self.value = match (self.value.take(), other.value) {
            (Some(a), Some(b)) => Some((a + b)?),
            (a, b) => a.or(b),
        };
        self.counts.add(other.counts);
        Ok(())
    }
}

/// Returns for each row how many logits are larger than its label's.
pub(in crate::train) fn ranks(logits: &Tensor, labels: &Tensor) -> Result<Vec<usize>> {
    let logits = logits.detach();
    let own = logits.gather(&labels.unsqueeze(1)?, 1)?; // (n, 1)
    let larger = logits.broadcast_gt(&own)?.to_dtype(DType::F32)?.sum(1)?;
    let larger = larger.to_vec1::<f32>()?;
    Ok(larger.into_iter().map(|count| count as usize).collect())
}
