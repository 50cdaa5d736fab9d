//! The interface between a task's examples and a run.

use std::fmt;

use albert_tasks::albert_model::train::{FlatLayout, Objective, TrainingBatch};
use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::metrics::classification::Confusion;
use crate::metrics::correlation::{pearson, spearman};
use crate::trainer::Evaluation;

/// The examples of a task, ready for the network.
pub(super) trait Examples: fmt::Debug + Send + Sync {
    /// Returns the number of examples.
    fn len(&self) -> usize;

    /// Returns what an example adds to the divisor of the mean loss: 1, or its labeled words or the
    /// weight of its class.
    fn weight(&self, index: usize) -> f64 {
        let _ = index;
        1.0
    }

    /// Returns true if a step may be computed in several passes, which is not so if its examples
    /// are compared with each other.
    fn is_divisible(&self) -> bool {
        true
    }

    /// Returns the metric that selects the best evaluation, if that is not the task's.
    fn metric(&self) -> Option<&'static str> {
        None
    }

    /// Returns the range of the scores, if the examples have scores that are scaled.
    fn score_range(&self) -> Option<(f32, f32)> {
        None
    }

    /// Returns a remark about the examples, such as that some are read in part.
    fn note(&self) -> Option<String> {
        None
    }

    /// Returns the sequences of some examples, and their loss divided by `divisor`.
    fn batch(
        &self,
        layout: &FlatLayout,
        examples: &[usize],
        divisor: f64,
    ) -> Result<(TrainingBatch, Box<dyn Objective>)>;

    /// Compares the outputs of all sequences, in the order of the examples, with the targets.
    fn assess(&self, outputs: &[Vec<f32>]) -> Assessment;
}

/// The predictions of a model compared with the right ones.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Assessment {
    /// Metrics by name, without the loss.
    pub metrics: Evaluation,
    /// Further figures for the row of an evaluation, such as those of each label.
    pub details: Map<String, Value>,
    /// The counts of labels and predictions, where a task has one label for each example.
    pub confusion: Option<Confusion>,
    /// The prediction for each example.
    pub predictions: Vec<Value>,
}

impl Assessment {
    pub(super) fn new<const N: usize>(metrics: [(&str, f64); N]) -> Self {
        let metrics = metrics.map(|(name, value)| (name.to_string(), value));
        Self {
            metrics: metrics.into(),
            ..Self::default()
        }
    }

    /// Compares predicted scores with the right ones by their correlation.
    pub(super) fn of_scores(labels: &[f32], predicted: &[f64]) -> Self {
        let labels: Vec<f64> = labels.iter().map(|label| f64::from(*label)).collect();
        let predictions = labels.iter().zip(predicted).enumerate();
        let predictions = predictions.map(|(index, (label, prediction))| {
            json!({"index": index, "label": label, "prediction": prediction})
        });
        Self {
            predictions: predictions.collect(),
            ..Self::new([
                ("pearson", pearson(&labels, predicted)),
                ("spearman", spearman(&labels, predicted)),
            ])
        }
    }

    pub(super) fn with_confusion(mut self, confusion: Confusion) -> Self {
        self.confusion = Some(confusion);
        self
    }
}
