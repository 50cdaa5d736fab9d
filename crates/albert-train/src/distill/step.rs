//! The losses of one batch: the teacher's outputs as objectives of the student.

use albert_tasks::albert_model::AlbertConfig;
use albert_tasks::albert_model::train::{
    FlatLayout, HiddenStates, MaskedLogits, Objective, Pooling, SentenceVectors, TrainingBatch,
    VectorLoss,
};

use super::objectives::DistillWeights;
use super::teacher::{Answers, Teacher};
use crate::error::Result;
use crate::examples::PretrainingExample;
use crate::pretrain::Batch;

/// The weight of the similarities of all pairs relative to the cosines.
const SIMILARITIES: f32 = 5.0;

/// The minimum variance by which a loss is divided.
const LEAST_VARIANCE: f64 = 1e-6;

/// A repetition of the student and the teacher's that it imitates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tap {
    pub(super) student: usize,
    pub(super) teacher: usize,
    weight: f32,
}

impl Tap {
    /// Returns the last repetition of each layer group that has a counterpart in the teacher.
    pub(super) fn all(student: &AlbertConfig, teacher: &AlbertConfig) -> Vec<Self> {
        let (layers, others) = (student.num_hidden_layers, teacher.num_hidden_layers);
        let is_end = |layer: usize| {
            layer == layers || student.group_for_layer(layer - 1) != student.group_for_layer(layer)
        };
        let taps = (1..=layers).filter(|layer| is_end(*layer) && (layer * others) % layers == 0);
        taps.map(|layer| Self {
            student: layer,
            teacher: layer * others / layers,
            weight: layer as f32 / layers as f32,
        })
        .collect()
    }
}

/// A batch with the losses of the student.
pub(super) struct Goals {
    pub(super) batch: TrainingBatch,
    pub(super) objectives: Vec<Box<dyn Objective>>,
}

/// The fixed part of all batches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal<'a> {
    pub(super) layout: &'a FlatLayout,
    pub(super) weights: DistillWeights,
    pub(super) taps: &'a [Tap],
    /// The pooling of sentence embeddings, if they are compared.
    pub(super) pooling: Option<Pooling>,
}

impl Goal<'_> {
    /// Returns the losses of lone sentences without masks. `share` is their part of the step's.
    pub(super) fn sentences(
        &self,
        teacher: &mut Teacher,
        examples: &[PretrainingExample],
        share: f32,
    ) -> Result<Goals> {
        let batch = unmasked(examples);
        let mut objectives = Vec::new();
        let width = self.layout.config().hidden_size;
        let Answers { vectors, states } = teacher.sentences(examples, self.taps, self.pooling)?;
        if let Some(pooling) = self.pooling {
            let similarities = VectorLoss::Similarities {
                teacher: cosines(&vectors, width),
            };
            let weight = self.weights.embeddings * share;
            for (loss, weight) in [
                (VectorLoss::CosineTargets { vectors }, weight),
                (similarities, weight * SIMILARITIES),
            ] {
                let objective = SentenceVectors::new(self.layout, pooling, loss)?;
                objectives.push(Box::new(objective.with_weight(weight)) as Box<dyn Objective>);
            }
        }
        self.hidden_states(states, share, &mut objectives)?;
        Ok(Goals { batch, objectives })
    }

    /// Returns the losses of masked text.
    pub(super) fn masked(
        &self,
        teacher: &mut Teacher,
        examples: &[PretrainingExample],
        share: f32,
    ) -> Result<Goals> {
        let Batch {
            sequences: batch,
            masked,
            order,
        } = Batch::new(self.layout, examples)?;
        let mut objectives: Vec<Box<dyn Objective>> = Vec::new();
        if self.weights.pretraining > 0.0 {
            let weight = self.weights.pretraining * share;
            objectives.push(Box::new(masked.with_weight(weight)));
            if let Some(order) = order {
                objectives.push(Box::new(order.with_weight(weight)));
            }
        }
        if self.weights.masked_lm > 0.0 {
            let rows = masked_rows(&batch, examples);
            let texts = examples.iter();
            let texts = texts.map(|example| (example.ids.clone(), &example.type_ids[..]));
            let model = teacher.model()?;
            let logits = model.logits(&model.batch(texts), &rows)?;
            let objective = MaskedLogits::new(self.layout, rows, logits)?;
            objectives.push(Box::new(
                objective.with_weight(self.weights.masked_lm * share),
            ));
        }
        if !self.taps.is_empty() {
            let repetitions: Vec<usize> = self.taps.iter().map(|tap| tap.teacher).collect();
            let model = teacher.model()?;
            let states = model.hidden_states(&model.unmasked(examples), &repetitions)?;
            self.hidden_states(states, share, &mut objectives)?;
        }
        Ok(Goals { batch, objectives })
    }

    /// Adds the losses of hidden states, given those of the teacher for each tap.
    fn hidden_states(
        &self,
        states: Vec<Vec<f32>>,
        share: f32,
        objectives: &mut Vec<Box<dyn Objective>>,
    ) -> Result<()> {
        let width = self.layout.config().hidden_size;
        for (tap, states) in self.taps.iter().zip(states) {
            let variance = variance(&states, width).max(LEAST_VARIANCE) as f32;
            let weight = self.weights.hidden_states * tap.weight * share / variance;
            let objective = HiddenStates::new(self.layout, tap.student, states)?;
            objectives.push(Box::new(objective.with_weight(weight)));
        }
        Ok(())
    }
}

/// Returns the examples without masks.
fn unmasked(examples: &[PretrainingExample]) -> TrainingBatch {
    let mut batch = TrainingBatch::new();
    for example in examples {
        batch.push(&example.unmasked(), &example.type_ids);
    }
    batch
}

/// Returns the rows of masked tokens, ascending.
fn masked_rows(batch: &TrainingBatch, examples: &[PretrainingExample]) -> Vec<usize> {
    let mut rows: Vec<usize> = Vec::new();
    for (sequence, example) in examples.iter().enumerate() {
        let start = batch.rows(sequence).start;
        let masks = example.masks.iter();
        rows.extend(masks.map(|mask| start + mask.position as usize));
    }
    rows.sort_unstable();
    rows
}

/// Returns the cosines of all pairs of vectors, `(B, B)`.
fn cosines(vectors: &[f32], width: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = vectors.chunks_exact(width).collect();
    let pairs = rows.iter().flat_map(|a| rows.iter().map(move |b| (a, b)));
    pairs
        .map(|(a, b)| albert_tasks::cosine(a, b) as f32)
        .collect()
}

/// Returns the variance of the values of each column, averaged over columns.
fn variance(states: &[f32], width: usize) -> f64 {
    let rows = (states.len() / width).max(1) as f64;
    let (mut sums, mut squares) = (vec![0f64; width], 0f64);
    for row in states.chunks_exact(width) {
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum += f64::from(*x);
            squares += f64::from(*x).powi(2);
        }
    }
    let means: f64 = sums.iter().map(|sum| (sum / rows).powi(2)).sum();
    (squares / rows - means) / width as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_compared_at_its_last_repetition() {
        let config = |layers, groups| AlbertConfig {
            num_hidden_layers: layers,
            num_hidden_groups: groups,
            ..AlbertConfig::base_v2()
        };
        let taps = |student, teacher| -> Vec<(usize, usize)> {
            let taps = Tap::all(&student, &teacher);
            taps.iter().map(|tap| (tap.student, tap.teacher)).collect()
        };
        assert_eq!(taps(config(6, 3), config(6, 6)), [(2, 2), (4, 4), (6, 6)]);
        assert_eq!(taps(config(6, 1), config(12, 12)), [(6, 12)]);
        // 2/4 of the way is repetition 3 of 6; a quarter lies between repetitions.
        assert_eq!(taps(config(4, 4), config(6, 6)), [(2, 3), (4, 6)]);
    }

    #[test]
    fn the_variance_is_that_within_columns() {
        assert_eq!(variance(&[1.0, 10.0, 3.0, 10.0], 2), 0.5);
    }
}
