//! A task with its examples as a run of the trainer.

use std::sync::Arc;

use albert_tasks::ModelFiles;
use albert_tasks::albert_model::train::{Draw, FlatParameters, TrainingPass};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::examples::{Assessment, Examples};
use super::model;
use super::task::FineTuneTask;
use crate::draws::{Purpose, key};
use crate::error::{Error, Result};
use crate::optim::Groups;
use crate::output::Output;
use crate::permutation::Permutation;
use crate::trainer::{Evaluation, StepLoss, Task};

/// Examples that are evaluated at a time.
const EVALUATION_BATCH: usize = 64;

/// The prefix of the pooler's tensors.
const POOLER: &str = "albert.pooler.";

/// The fine-tuning of a model: parameters, and examples in memory.
#[derive(Debug)]
pub struct FineTuning {
    pub(super) parameters: FlatParameters,
    pub(super) pass: TrainingPass,
    pub(super) examples: Arc<dyn Examples>,
    pub(super) evaluation: Option<Box<dyn Examples>>,
    pub(super) new_tensors: Vec<String>,
    pub(super) data: Value,
    pub(super) seed: u64,
    pub(super) shuffle: bool,
    pub(super) place: Place,
    /// The factor of each tensor's learning rate; none where all are 1.
    pub(super) rates: Vec<f64>,
    pub(super) task: FineTuneTask,
    /// The files of the start, whose tokenizer is copied next to the model.
    pub(super) files: ModelFiles,
}

/// The next example.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    epoch: u64,
    index: u64,
}

impl FineTuning {
    /// Returns the number of examples of an epoch; windows, for questions about long contexts.
    pub fn examples(&self) -> usize {
        self.examples.len()
    }

    /// Returns remarks about the training and the evaluation data, such as words that are left out.
    pub fn notes(&self) -> Vec<String> {
        let evaluation = self
            .evaluation
            .as_ref()
            .and_then(|examples| examples.note());
        let named = [
            ("training", self.examples.note()),
            ("evaluation", evaluation),
        ];
        let notes = named
            .into_iter()
            .filter_map(|(name, note)| Some((name, note?)));
        notes
            .map(|(name, note)| format!("{name} data: {note}"))
            .collect()
    }

    /// Returns the parameters.
    pub fn parameters(&self) -> &FlatParameters {
        &self.parameters
    }

    /// Returns the tensors that the start lacked, or had for other labels, and that were drawn.
    pub fn new_tensors(&self) -> &[String] {
        &self.new_tensors
    }

    /// Returns the number of gradient buffers, on which the bits of a run depend.
    pub fn slots(&self) -> usize {
        self.pass.options().slots
    }

    /// Returns the indices of the next examples, up to the end of the epoch.
    fn take(&mut self, count: usize) -> Vec<usize> {
        let (len, place) = (self.examples.len(), self.place);
        let first = place.index as usize;
        let last = len.min(first + count);
        let order = self.shuffle.then(|| {
            let key = key(self.seed, Purpose::ExampleOrder, &[place.epoch]);
            Permutation::new(key, len)
        });
        let indices = (first..last).map(|index| order.map_or(index, |order| order.at(index)));
        let indices = indices.collect();
        self.place = if last == len {
            Place {
                epoch: place.epoch + 1,
                index: 0,
            }
        } else {
            Place {
                index: last as u64,
                ..place
            }
        };
        indices
    }
}

/// Computes the outputs for all examples; returns their mean loss with what they amount to.
pub(super) fn assess(
    pass: &mut TrainingPass,
    parameters: &FlatParameters,
    examples: &dyn Examples,
) -> Result<(f64, Assessment)> {
    let mut outputs = Vec::new();
    let (mut loss, mut weight) = (0.0, 0.0);
    let indices: Vec<usize> = (0..examples.len()).collect();
    for part in indices.chunks(EVALUATION_BATCH) {
        let (batch, objective) = examples.batch(parameters.layout(), part, 1.0)?;
        let (report, found) = pass.predict(parameters, &batch, &*objective)?;
        loss += report.loss();
        weight += part
            .iter()
            .map(|index| examples.weight(*index))
            .sum::<f64>();
        outputs.extend(found);
    }
    let mean = if weight > 0.0 { loss / weight } else { 0.0 };
    Ok((mean, examples.assess(&outputs)))
}

/// Returns the metrics with the loss in front of them.
pub(super) fn with_loss(loss: f64, assessment: &Assessment) -> Evaluation {
    let mut metrics = vec![("loss".to_string(), loss)];
    metrics.extend(assessment.metrics.iter().cloned());
    metrics
}

impl Task for FineTuning {
    fn groups(&self) -> Groups {
        let groups = Groups::from_layout(self.parameters.layout(), self.pass.options().frozen);
        let groups = match self.task {
            // Only the vectors of tokens are trained.
            FineTuneTask::Similarity => groups.with_frozen(POOLER),
            _ => groups,
        };
        if self.rates.is_empty() {
            return groups;
        }
        groups.with_rates(self.rates.clone())
    }

    fn buffers(&mut self) -> (&mut [f32], &mut [f32]) {
        (self.parameters.values_mut(), self.pass.gradients())
    }

    fn accumulate(&mut self, step: u64, examples: usize, passes: usize) -> Result<StepLoss> {
        let Place { epoch, index } = self.place;
        let taken = self.take(examples);
        let data = Arc::clone(&self.examples);
        let divisor: f64 = taken.iter().map(|index| data.weight(*index)).sum();
        let passes = if data.is_divisible() { passes } else { 1 };
        self.pass.clear();
        let (mut loss, mut tokens) = (0.0, 0);
        for (part, indices) in taken.chunks(taken.len().div_ceil(passes)).enumerate() {
            let (batch, objective) = data.batch(self.parameters.layout(), indices, divisor)?;
            let draw = Draw {
                seed: self.seed,
                step: step.wrapping_mul(passes as u64).wrapping_add(part as u64),
            };
            let report = self
                .pass
                .accumulate(&self.parameters, &batch, &[&*objective], draw)?;
            loss += report.loss();
            tokens += report.tokens;
        }
        Ok(StepLoss {
            loss,
            terms: Vec::new(),
            tokens,
            epoch,
            examples: (index, index + taken.len() as u64 - 1),
        })
    }

    fn evaluate(&mut self) -> Result<Option<Evaluation>> {
        let Some(examples) = &self.evaluation else {
            return Ok(None);
        };
        let (loss, assessment) = assess(&mut self.pass, &self.parameters, &**examples)?;
        Ok(Some(with_loss(loss, &assessment)))
    }

    fn metric(&self) -> &str {
        self.examples.metric().unwrap_or(self.task.metric())
    }

    /// Returns the number of steps, of which the last one of an epoch may have a smaller batch.
    fn steps(&mut self, epochs: f64, batch_size: usize) -> Result<u64> {
        let steps_per_epoch = self.examples.len().div_ceil(batch_size) as f64;
        Ok((epochs * steps_per_epoch).ceil().max(1.0) as u64)
    }

    fn epochs(&self) -> f64 {
        self.place.epoch as f64 + self.place.index as f64 / self.examples.len() as f64
    }

    fn place(&self) -> Value {
        json!(self.place)
    }

    fn go_to(&mut self, place: &Value) -> Result<()> {
        let place: Place =
            serde_json::from_value(place.clone()).map_err(|error| Error::Setting {
                name: "place",
                expected: "an epoch and an index".into(),
                found: error.to_string(),
            })?;
        if place.index >= self.examples.len() as u64 {
            return Err(Error::Setting {
                name: "place",
                expected: format!("an index below {}", self.examples.len()),
                found: place.index.to_string(),
            });
        }
        self.place = place;
        Ok(())
    }

    fn fingerprint(&self) -> Value {
        self.data.clone()
    }

    fn write(&self, output: &Output) -> Result<()> {
        let width = self.parameters.layout().config().hidden_size;
        if self.task == FineTuneTask::Similarity && !output.copy_modules(&self.files, width)? {
            let pooling = model::pooling(&self.files)?;
            for (name, bytes) in model::sentence_files(pooling, width) {
                output.write_file(name, &bytes)?;
            }
        }
        output.write_model(&self.parameters, &self.files)
    }
}
