//! Records: rows of named, typed values, whatever their format.

use std::sync::Arc;

use crate::error::Context;
use crate::{Cell, Field, Place};

/// The fields to read of every record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// The fields whose values come in this order.
    pub fields: Vec<Wanted>,
    /// Read the other columns too.
    pub rest: bool,
}

/// A field to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its name.
    pub field: Field,
    /// The values that it may have.
    pub kind: Kind,
    /// The records that have it; others have null.
    pub presence: Presence,
}

/// The records that have a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Presence {
    /// All records, each with a value.
    Required,
    /// Some records. A table with columns must have the column.
    Column,
    /// Some records, or none.
    Optional,
}

/// The values that a field may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any.
    Any,
    /// A text.
    Text,
    /// A list of texts.
    Texts,
    /// A text, or a list of texts.
    TextOrTexts,
}

/// A record, or the reason why it is a bad one, and its place.
#[derive(Debug)]
pub struct Record {
    /// Its place, for errors.
    pub place: Place,
    /// Its values.
    pub values: crate::Result<Values>,
}

/// Cells of a record with the names of their columns.
pub type NamedCells = Vec<(Arc<str>, Cell)>;

/// The values of a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// The values of the requested fields, in their order.
    pub cells: Vec<Cell>,
    /// The values of the other columns, if they are requested.
    pub rest: NamedCells,
}

/// An iterator of records. An error of the iterator ends the reading; an error in a record only
/// concerns that record.
pub type Records = Box<dyn Iterator<Item = crate::Result<Record>> + Send>;

impl Selection {
    /// Reads these fields, which every record has, with values of one kind.
    pub fn new(fields: impl IntoIterator<Item = Field>, kind: Kind) -> Self {
        let fields = fields.into_iter().map(|field| Wanted::new(field, kind));
        Self {
            fields: fields.collect(),
            rest: false,
        }
    }

    /// Returns true if a column is one of the fields.
    pub(crate) fn has(&self, column: &str) -> bool {
        self.fields
            .iter()
            .any(|wanted| wanted.field.name() == column)
    }
}

impl Wanted {
    /// Creates a field that every record has.
    pub fn new(field: Field, kind: Kind) -> Self {
        Self {
            field,
            kind,
            presence: Presence::Required,
        }
    }

    /// Makes sure that a value is one that the field may have.
    pub(crate) fn check(&self, cell: crate::Result<Cell>) -> crate::Result<Cell> {
        cell.and_then(|cell| self.kind.check(cell, self.presence != Presence::Required))
            .with_context(|| format!("field {}", self.field))
    }
}

impl Kind {
    fn check(self, cell: Cell, may_be_null: bool) -> crate::Result<Cell> {
        let texts = |cell: Cell| -> crate::Result<Cell> {
            let texts = cell.into_texts()?;
            Ok(Cell::List(texts.into_iter().map(Cell::Text).collect()))
        };
        match (self, cell) {
            (Self::Any, cell) => Ok(cell),
            (_, Cell::Null) if may_be_null => Ok(Cell::Null),
            (Self::Texts, cell) | (Self::TextOrTexts, cell @ Cell::List(_)) => texts(cell),
            (Self::Text | Self::TextOrTexts, cell) => Ok(Cell::Text(cell.into_text()?)),
        }
    }
}
