//! A number for a text or a pair of texts.

use albert_data::Cell;
use albert_tasks::Tokenizer;
use albert_tasks::albert_model::train::{FlatLayout, Objective, Regression, TrainingBatch};

use super::examples::{Assessment, Examples};
use super::files::{DataFiles, Row};
use super::options::ExampleOptions;
use super::sequences::Sequences;
use super::texts::LabeledTexts;
use crate::error::Result;

/// Reads texts with a number each.
pub(super) fn regression(
    data: &DataFiles,
    tokenizer: &Tokenizer,
    options: &ExampleOptions,
) -> Result<RegressionExamples> {
    let texts = LabeledTexts::read(data, options)?;
    let mut values = Vec::with_capacity(texts.labels.len());
    for (row, cell) in texts.rows.iter().zip(&texts.labels) {
        values.push(number(row, cell)?);
    }
    Ok(RegressionExamples {
        sequences: texts.encode(tokenizer, options.length())?,
        values,
    })
}

/// Returns a label as a finite number.
pub(super) fn number(row: &Row, cell: &Cell) -> Result<f32> {
    match cell.to_float() {
        Ok(value) if (value as f32).is_finite() => Ok(value as f32),
        Ok(value) => Err(row.error(format!("expected a finite number, found {value}"))),
        Err(error) => Err(row.error(format!("{error:#}"))),
    }
}

/// Texts with a number each.
#[derive(Debug)]
pub(super) struct RegressionExamples {
    sequences: Sequences,
    values: Vec<f32>,
}

impl Examples for RegressionExamples {
    fn len(&self) -> usize {
        self.sequences.len()
    }

    fn batch(
        &self,
        layout: &FlatLayout,
        examples: &[usize],
        divisor: f64,
    ) -> Result<(TrainingBatch, Box<dyn Objective>)> {
        let values = examples.iter().map(|index| self.values[*index]);
        let objective = Regression::new(layout, values.collect())?.with_divisor(divisor);
        Ok((self.sequences.batch(examples), Box::new(objective)))
    }

    fn assess(&self, outputs: &[Vec<f32>]) -> Assessment {
        let predicted: Vec<f64> = outputs.iter().map(|values| f64::from(values[0])).collect();
        Assessment::of_scores(&self.values, &predicted)
    }
}
