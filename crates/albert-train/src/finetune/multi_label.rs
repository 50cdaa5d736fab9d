//! Any number of labels for a text or a pair of texts.

use albert_data::Cell;
use albert_tasks::Tokenizer;
use albert_tasks::albert_model::train::{FlatLayout, MultiLabel, Objective, TrainingBatch};
use serde_json::json;

use super::examples::{Assessment, Examples};
use super::files::{DataFiles, Row};
use super::labels::Labels;
use super::options::ExampleOptions;
use super::sequences::Sequences;
use super::texts::{LabeledTexts, label_name};
use crate::error::Result;
use crate::metrics::multi_label;

/// Texts with the names of their labels.
#[derive(Debug)]
pub(super) struct MultiLabelData {
    texts: LabeledTexts,
    names: Vec<Vec<String>>,
}

impl MultiLabelData {
    pub(super) fn read(data: &DataFiles, options: &ExampleOptions) -> Result<Self> {
        let texts = LabeledTexts::read(data, options)?;
        let mut names = Vec::with_capacity(texts.labels.len());
        for (row, cell) in texts.rows.iter().zip(&texts.labels) {
            names.push(label_names(row, cell)?);
        }
        Ok(Self { texts, names })
    }

    /// Returns the labels that occur.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn labels(&self) -> Result<Labels> {
        let labels = Labels::from_data(self.names.iter().flatten().map(String::as_str));
        if labels.is_empty() {
            let row = self.texts.rows.last().expect("there are rows");
            return Err(
                row.error("expected at least one label, found none up to this row, the last")
            );
        }
        Ok(labels)
    }

    pub(super) fn encode(
        self,
        tokenizer: &Tokenizer,
        labels: &Labels,
        options: &ExampleOptions,
    ) -> Result<MultiLabelExamples> {
        let mut targets = vec![false; self.names.len() * labels.len()];
        for (index, (row, names)) in self.texts.rows.iter().zip(&self.names).enumerate() {
            for name in names {
                let label = labels.index(name).ok_or_else(|| {
                    let known = labels.shown();
                    row.error(format!(
                        "labels: expected labels among {known}, found `{name}`"
                    ))
                })?;
                targets[index * labels.len() + label] = true;
            }
        }
        Ok(MultiLabelExamples {
            sequences: self.texts.encode(tokenizer, options.length())?,
            targets,
            labels: labels.clone(),
        })
    }
}

/// Returns the labels of a row: a list, a list as JSON in a text, or one label.
fn label_names(row: &Row, cell: &Cell) -> Result<Vec<String>> {
    match cell {
        Cell::List(cells) => cells.iter().map(|cell| label_name(row, cell)).collect(),
        Cell::Text(text) if text.trim_start().starts_with('[') => {
            let texts = cell.clone().into_texts();
            texts.map_err(|error| row.error(format!("labels: {error:#}")))
        }
        one => Ok(vec![label_name(row, one)?]),
    }
}

/// Texts with any number of labels each.
#[derive(Debug)]
pub(super) struct MultiLabelExamples {
    sequences: Sequences,
    /// `(B, C)`
    targets: Vec<bool>,
    labels: Labels,
}

impl Examples for MultiLabelExamples {
    fn len(&self) -> usize {
        self.sequences.len()
    }

    /// Returns the number of labels: the mean is over examples and labels.
    fn weight(&self, _index: usize) -> f64 {
        self.labels.len() as f64
    }

    fn batch(
        &self,
        layout: &FlatLayout,
        examples: &[usize],
        divisor: f64,
    ) -> Result<(TrainingBatch, Box<dyn Objective>)> {
        let classes = self.labels.len();
        let rows = examples
            .iter()
            .flat_map(|index| &self.targets[index * classes..][..classes]);
        let targets = rows.map(|is_true| f32::from(u8::from(*is_true))).collect();
        let objective = MultiLabel::new(layout, targets)?.with_divisor(divisor);
        Ok((self.sequences.batch(examples), Box::new(objective)))
    }

    fn assess(&self, outputs: &[Vec<f32>]) -> Assessment {
        let classes = self.labels.len();
        let metrics = multi_label::MultiLabel::new(classes, self.targets.clone(), outputs.concat());
        let names = |is_true: &dyn Fn(usize) -> bool| -> Vec<&str> {
            let found = (0..classes).filter(|class| is_true(*class));
            found.map(|class| self.labels.name(class)).collect()
        };
        let predictions = outputs.iter().enumerate().map(|(index, logits)| {
            json!({
                "index": index,
                "label": names(&|class| self.targets[index * classes + class]),
                "prediction": names(&|class| logits[class] > 0.0),
                "logits": logits,
            })
        });
        Assessment {
            predictions: predictions.collect(),
            ..Assessment::new([
                ("micro_f1", metrics.micro_f1()),
                ("macro_f1", metrics.macro_f1()),
                ("average_precision", metrics.average_precision()),
            ])
        }
    }
}
