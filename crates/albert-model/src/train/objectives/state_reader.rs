//! The hidden states of a model, read without a loss.

use crate::train::batch::TrainingBatch;
use crate::train::candle::{TensorHead, TensorLoss};
use crate::train::error::Result;
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::Dense;
use crate::train::objective::{Objective, ObjectiveLoss, Reads};
use crate::train::objectives::hidden_states::depth;

/// The states of all rows after a number of repetitions, `(T, H)` of each sequence.
#[derive(Debug, Clone)]
pub(in crate::train) struct StateReader {
    repetition: usize,
    /// `None` after the last repetition.
    depth: Option<usize>,
}

impl StateReader {
    pub(in crate::train) fn new(layout: &FlatLayout, repetition: usize) -> Result<Self> {
        Ok(Self {
            repetition,
            depth: depth(layout, repetition)?,
        })
    }
}

impl Objective for StateReader {
    fn name(&self) -> &'static str {
        "states"
    }

    fn check(&self, _batch: &TrainingBatch) -> Result<()> {
        Ok(())
    }

    fn layers(&self) -> Vec<&Dense> {
        Vec::new()
    }

    fn reads(&self, _batch: &TrainingBatch, _sequence: usize) -> Reads {
        Reads::All
    }

    fn depth(&self) -> Option<usize> {
        self.depth
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        for span in &head.bundle.spans {
            let rows: Vec<usize> = (span.start..span.start + span.tokens).collect();
            head.record(span.sequence, &head.gather(&rows));
        }
        ObjectiveLoss::default()
    }

    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        let places = head.all();
        let states = head.select(&places, Some(self.repetition))?; // (tokens, H)
        for (index, sequence) in head.sequences().iter().enumerate() {
            let first = places.partition_point(|place| place.index < index);
            let tokens = head.batch().rows(*sequence).len();
            head.record(index, &states.narrow(0, first, tokens)?)?;
        }
        Ok(TensorLoss::default())
    }
}
