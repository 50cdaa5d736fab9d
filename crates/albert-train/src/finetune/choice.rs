//! One of several continuations of a text.

use albert_data::{Cell, Format, Kind};
use albert_tasks::Tokenizer;
use albert_tasks::albert_model::train::{Choice, FlatLayout, Objective, TrainingBatch};
use rayon::prelude::*;
use serde_json::json;

use super::examples::{Assessment, Examples};
use super::files::{DataFiles, Role, Row, read};
use super::options::ExampleOptions;
use super::race;
use super::sequences::Sequences;
use crate::error::Result;
use crate::metrics::classification::largest;

/// A text, its continuations and the right one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Question {
    pub(super) text: String,
    pub(super) choices: Vec<String>,
    pub(super) label: usize,
}

/// Texts with choices.
#[derive(Debug)]
pub(super) struct ChoiceExamples {
    sequences: Sequences,
    /// The end of each question's choices among the sequences.
    ends: Vec<usize>,
    labels: Vec<u32>,
}

impl ChoiceExamples {
    /// Reads tables, or folders of RACE.
    ///
    /// # Errors
    /// If a file cannot be read, or a label is the index of no choice.
    pub(super) fn read(
        data: &DataFiles,
        tokenizer: &Tokenizer,
        options: &ExampleOptions,
    ) -> Result<Self> {
        let is_race = data.paths.iter().any(|path| path.is_dir());
        let questions = if is_race {
            race::read(data)?
        } else {
            table(data, options)?
        };
        let encode = |question: &Question| {
            let encodings = question.choices.iter().map(|choice| {
                tokenizer.encode(&question.text, Some(choice), Some(options.length()))
            });
            encodings.collect::<albert_tasks::Result<Vec<_>>>()
        };
        let encoded: albert_tasks::Result<Vec<_>> = questions.par_iter().map(encode).collect();
        let encoded = encoded?;
        let mut end = 0;
        let ends = questions.iter().map(|question| {
            end += question.choices.len();
            end
        });
        Ok(Self {
            ends: ends.collect(),
            sequences: Sequences::from_encodings(encoded.iter().flatten()),
            labels: questions
                .iter()
                .map(|question| question.label as u32)
                .collect(),
        })
    }

    fn choices(&self, index: usize) -> std::ops::Range<usize> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[index]
    }
}

/// Reads tables with the fields `text`, `choices` and `label`.
fn table(data: &DataFiles, options: &ExampleOptions) -> Result<Vec<Question>> {
    let fields = options.text_fields(&[&["text"], &["choices"]]);
    let mut roles: Vec<Role> = fields
        .into_iter()
        .zip([Kind::Text, Kind::Texts])
        .map(|(names, kind)| Role::new(names, kind))
        .collect();
    roles.push(Role::new(options.label_fields(&["label"]), Kind::Any));
    let rows = read(data, Format::Lines, options.columns(), &roles)?;
    rows.into_iter().map(question).collect()
}

fn question(mut row: Row) -> Result<Question> {
    let (text, choices) = (row.text(0)?, row.texts(1)?);
    let label = match row.take(2) {
        Cell::Integer(label) => label.to_string(),
        Cell::Text(label) => label,
        other => return Err(row.error(format!("label: expected an index, found {}", other.kind()))),
    };
    let index = label
        .trim()
        .parse()
        .ok()
        .filter(|index: &usize| *index < choices.len());
    let Some(index) = index else {
        let last = choices.len().saturating_sub(1);
        return Err(row.error(format!(
            "label: expected the index of a choice from 0 to {last}, found `{label}`"
        )));
    };
    if choices.len() < 2 {
        return Err(row.error(format!(
            "choices: expected at least two, found {}",
            choices.len()
        )));
    }
    Ok(Question {
        text,
        choices,
        label: index,
    })
}

impl Examples for ChoiceExamples {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn batch(
        &self,
        layout: &FlatLayout,
        examples: &[usize],
        divisor: f64,
    ) -> Result<(TrainingBatch, Box<dyn Objective>)> {
        let mut batch = TrainingBatch::new();
        for &index in examples {
            batch.push_together(
                self.choices(index)
                    .map(|sequence| self.sequences.at(sequence)),
            );
        }
        let labels = examples.iter().map(|index| self.labels[*index]);
        let objective = Choice::new(layout, labels.collect())?.with_divisor(divisor);
        Ok((batch, Box::new(objective)))
    }

    fn assess(&self, outputs: &[Vec<f32>]) -> Assessment {
        let mut correct = 0;
        let mut predictions = Vec::new();
        for (index, label) in self.labels.iter().enumerate() {
            let scores: Vec<f32> = outputs[self.choices(index)].concat();
            let prediction = largest(&scores);
            correct += usize::from(prediction == *label as usize);
            predictions.push(json!({
                "index": index, "label": label, "prediction": prediction, "logits": scores,
            }));
        }
        Assessment {
            predictions,
            ..Assessment::new([("accuracy", correct as f64 / self.labels.len().max(1) as f64)])
        }
    }
}
