//! One label for a text or a pair of texts.

use albert_tasks::Tokenizer;
use albert_tasks::albert_model::train::{Classification, FlatLayout, Objective, TrainingBatch};
use serde_json::json;

use super::examples::{Assessment, Examples};
use super::files::DataFiles;
use super::labels::Labels;
use super::options::{ClassWeights, ExampleOptions};
use super::sequences::Sequences;
use super::texts::{LabeledTexts, label_name};
use crate::error::{Error, Result};
use crate::metrics::classification::{Confusion, largest};

/// Texts with the names of their labels.
#[derive(Debug)]
pub(super) struct ClassificationData {
    texts: LabeledTexts,
    names: Vec<String>,
}

impl ClassificationData {
    pub(super) fn read(data: &DataFiles, options: &ExampleOptions) -> Result<Self> {
        let texts = LabeledTexts::read(data, options)?;
        let mut names = Vec::with_capacity(texts.labels.len());
        for (row, cell) in texts.rows.iter().zip(&texts.labels) {
            let name = label_name(row, cell)?;
            names.push(match options.preset {
                Some(preset) => preset.label_name(name),
                None => name,
            });
        }
        Ok(Self { texts, names })
    }

    /// Returns the labels that occur.
    ///
    /// # Errors
    /// If there is only one.
    pub(super) fn labels(&self, options: &ExampleOptions) -> Result<Labels> {
        let found = Labels::from_data(self.names.iter().map(String::as_str));
        if let [only] = found.names() {
            let row = self.texts.rows.last().expect("there are rows");
            return Err(row.error(format!(
                "expected at least two labels, found only `{only}` up to this row, the last"
            )));
        }
        let ordered = options.preset.and_then(|preset| preset.ordered(&found));
        Ok(ordered.unwrap_or(found))
    }

    pub(super) fn encode(
        self,
        tokenizer: &Tokenizer,
        labels: &Labels,
        options: &ExampleOptions,
    ) -> Result<ClassificationExamples> {
        let mut targets = Vec::with_capacity(self.names.len());
        for (row, name) in self.texts.rows.iter().zip(&self.names) {
            let label = labels.index(name).ok_or_else(|| {
                let known = labels.shown();
                row.error(format!("label: expected one of {known}, found `{name}`"))
            })?;
            targets.push(label as u32);
        }
        let weights = class_weights(&options.class_weights, labels, &targets)?;
        Ok(ClassificationExamples {
            sequences: self.texts.encode(tokenizer, options.length())?,
            targets,
            labels: labels.clone(),
            weights,
            label_smoothing: options.label_smoothing,
        })
    }
}

/// Returns the weight of each class; none where all are 1.
pub(super) fn class_weights(
    weights: &ClassWeights,
    labels: &Labels,
    targets: &[u32],
) -> Result<Vec<f32>> {
    match weights {
        ClassWeights::Equal => Ok(Vec::new()),
        ClassWeights::Balanced => {
            let mut counts = vec![0usize; labels.len()];
            targets
                .iter()
                .for_each(|target| counts[*target as usize] += 1);
            let total = targets.len() as f64;
            // A class that does not occur has no loss to weigh.
            let weight = |count: &usize| match count {
                0 => 1.0,
                count => (total / (labels.len() as f64 * *count as f64)) as f32,
            };
            Ok(counts.iter().map(weight).collect())
        }
        ClassWeights::Given(given) => {
            let mut weights = vec![1.0; labels.len()];
            for (name, weight) in given {
                let index = labels.index(name).ok_or_else(|| Error::Setting {
                    name: "class weights",
                    expected: format!("labels among {}", labels.shown()),
                    found: name.clone(),
                })?;
                weights[index] = *weight;
            }
            Ok(weights)
        }
    }
}

/// Texts with the indices of their labels.
#[derive(Debug)]
pub(super) struct ClassificationExamples {
    sequences: Sequences,
    targets: Vec<u32>,
    labels: Labels,
    weights: Vec<f32>,
    label_smoothing: f32,
}

impl Examples for ClassificationExamples {
    fn len(&self) -> usize {
        self.sequences.len()
    }

    fn weight(&self, index: usize) -> f64 {
        let weight = self.weights.get(self.targets[index] as usize);
        f64::from(weight.copied().unwrap_or(1.0))
    }

    fn batch(
        &self,
        layout: &FlatLayout,
        examples: &[usize],
        divisor: f64,
    ) -> Result<(TrainingBatch, Box<dyn Objective>)> {
        let labels = examples.iter().map(|index| Some(self.targets[*index]));
        let objective = Classification::new(layout, labels.collect())?
            .with_class_weights(self.weights.clone())
            .with_label_smoothing(self.label_smoothing)
            .with_divisor(divisor);
        Ok((self.sequences.batch(examples), Box::new(objective)))
    }

    fn assess(&self, outputs: &[Vec<f32>]) -> Assessment {
        let predicted: Vec<usize> = outputs.iter().map(|logits| largest(logits)).collect();
        let pairs = self.targets.iter().zip(&predicted);
        let confusion = Confusion::new(
            self.labels.len(),
            pairs.map(|(label, prediction)| (*label as usize, *prediction)),
        );
        let predictions = self.targets.iter().zip(&predicted).zip(outputs);
        let predictions = predictions
            .enumerate()
            .map(|(index, ((label, prediction), logits))| {
                json!({
                    "index": index,
                    "label": self.labels.name(*label as usize),
                    "prediction": self.labels.name(*prediction),
                    "logits": logits,
                })
            });
        Assessment {
            predictions: predictions.collect(),
            ..Assessment::new([
                ("accuracy", confusion.accuracy()),
                ("f1", confusion.f1()),
                ("mcc", confusion.matthews()),
            ])
        }
        .with_confusion(confusion)
    }
}
