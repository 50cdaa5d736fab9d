//! Texts, or pairs of texts, with targets: the examples of three tasks.

use albert_data::{Cell, Field, Format, Kind};
use albert_tasks::Tokenizer;
use rayon::prelude::*;

use super::files::{DataFiles, Role, Row, read};
use super::options::ExampleOptions;
use super::sequences::Sequences;
use crate::error::Result;

/// Rows of texts and their labels.
#[derive(Debug)]
pub(super) struct LabeledTexts {
    pub(super) rows: Vec<Row>,
    pub(super) texts: Vec<(String, Option<String>)>,
    /// The value of each row's label.
    pub(super) labels: Vec<Cell>,
}

impl LabeledTexts {
    /// Reads texts with a label each.
    ///
    /// # Errors
    /// If a file cannot be read, or a row lacks a text or its label.
    pub(super) fn read(data: &DataFiles, options: &ExampleOptions) -> Result<Self> {
        let fields = options.text_fields(&[&["text"]]);
        let is_pair = fields.len() > 1;
        let mut roles: Vec<Role> = fields
            .into_iter()
            .map(|names| Role::new(names, Kind::Text))
            .collect();
        let label = roles.len();
        roles.push(Role::optional(options.label_fields(&["label"]), Kind::Any));
        let mut rows = read(data, Format::Lines, options.columns(), &roles)?;
        let (mut texts, mut labels) = (Vec::new(), Vec::new());
        for row in &mut rows {
            let first = row.text(0)?;
            let second = if is_pair { Some(row.text(1)?) } else { None };
            texts.push((first, second));
            let found = row.take(label);
            if matches!(&found, Cell::Null)
                || matches!(&found, Cell::Text(text) if text.trim().is_empty())
            {
                return Err(row.error("expected a label, found none"));
            }
            labels.push(found);
        }
        Ok(Self {
            rows,
            texts,
            labels,
        })
    }

    /// Tokenizes the texts.
    ///
    /// # Errors
    /// If the tokenizer refuses a text.
    pub(super) fn encode(&self, tokenizer: &Tokenizer, max_length: usize) -> Result<Sequences> {
        let encodings: albert_tasks::Result<Vec<_>> = self
            .texts
            .par_iter()
            .map(|(text, pair)| tokenizer.encode(text, pair.as_deref(), Some(max_length)))
            .collect();
        Ok(Sequences::from_encodings(&encodings?))
    }
}

/// Returns the name of a label: its text, or an integer as it is written.
pub(super) fn label_name(row: &Row, cell: &Cell) -> Result<String> {
    Ok(match cell {
        Cell::Text(text) => text.clone(),
        Cell::Integer(value) => value.to_string(),
        // Pandas writes integers of a column with gaps as floats.
        Cell::Float(value) if value.fract() == 0.0 => format!("{value:.0}"),
        Cell::Boolean(value) => value.to_string(),
        other => {
            let found = other.kind();
            return Err(row.error(format!(
                "label: expected a string or an integer, found {found}"
            )));
        }
    })
}

/// Reads a list of fields from names.
pub(super) fn fields(names: &[&str]) -> Vec<Field> {
    names.iter().map(|name| Field::from_name(name)).collect()
}
