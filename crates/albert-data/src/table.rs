//! Records of a Parquet or Arrow table.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::{Context, Error};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Fields, Schema};

use crate::batches::{Batches, column_names, parts};
use crate::cells::{Cells, cells, expect_kind};
use crate::names::only_column;
use crate::record::{Presence, Record, Selection, Values};
use crate::{Cell, Field, Place};

/// The records of a table.
pub(crate) struct Table {
    name: Arc<str>,
    selection: Selection,
    parts: Box<dyn Iterator<Item = crate::Result<RecordBatch>> + Send>,
    records: VecDeque<Record>,
    /// The number of records that have been read.
    rows: u64,
    is_over: bool,
}

impl Table {
    /// Begins reading.
    ///
    /// # Errors
    /// If the table lacks a field, or has one of another type.
    pub(crate) fn new(batches: Batches, selection: Selection) -> crate::Result<Self> {
        let name = Arc::clone(batches.name());
        if let Some(schema) = batches.schema() {
            expect_fields(schema, &selection).with_context(|| name.to_string())?;
        }
        Ok(Self {
            name,
            selection,
            parts: Box::new(batches.flat_map(parts)),
            records: VecDeque::new(),
            rows: 0,
            is_over: false,
        })
    }

    /// Reads the next records; `false` at the end.
    fn read(&mut self) -> crate::Result<bool> {
        let Some(part) = self.parts.next().transpose()? else {
            return Ok(false);
        };
        let mut readers = Vec::new();
        for wanted in &self.selection.fields {
            let column = find(&part, &wanted.field);
            let cells = column.map(|column| column.cells()).transpose();
            readers.push(
                cells
                    .with_context(|| format!("field {}", wanted.field))
                    .with_context(|| self.name.to_string())?,
            );
        }
        let mut rest: Vec<(Arc<str>, Cells<'_>)> = Vec::new();
        if self.selection.rest {
            for (field, column) in part.schema_ref().fields().iter().zip(part.columns()) {
                if !self.selection.has(field.name()) {
                    let cells = cells(column)
                        .with_context(|| format!("field `{}`", field.name()))
                        .with_context(|| self.name.to_string())?;
                    rest.push((field.name().as_str().into(), cells));
                }
            }
        }
        for row in 0..part.num_rows() {
            self.rows += 1;
            let wanted = self.selection.fields.iter().zip(&readers);
            let cells = wanted.map(|(wanted, reader)| match reader {
                Some(reader) => wanted.check(reader(row)),
                None => Ok(Cell::Null),
            });
            let cells: crate::Result<Vec<_>> = cells.collect();
            let others = rest.iter().map(|(name, reader)| {
                let cell = reader(row).with_context(|| format!("field `{name}`"))?;
                Ok((Arc::clone(name), cell))
            });
            let values = cells.and_then(|cells| {
                Ok(Values {
                    cells,
                    rest: others.collect::<crate::Result<_>>()?,
                })
            });
            self.records.push_back(Record {
                place: Place::Row(Arc::clone(&self.name), self.rows),
                values,
            });
        }
        Ok(true)
    }
}

impl Iterator for Table {
    type Item = crate::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.records.is_empty() && !self.is_over {
            match self.read() {
                Ok(is_more) => self.is_over = !is_more,
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        self.records.pop_front().map(Ok)
    }
}

/// Makes sure that a table has the fields, each once and of a type that can hold what is expected.
pub(crate) fn expect_fields(schema: &Schema, selection: &Selection) -> crate::Result<()> {
    for wanted in &selection.fields {
        match data_type(schema, &wanted.field)? {
            Some(found) => expect_kind(found, wanted.kind)
                .with_context(|| format!("field {}", wanted.field))?,
            None if wanted.presence == Presence::Optional => {}
            None => {
                let (field, names) = (&wanted.field, column_names(schema));
                return Err(Error::missing_field(format!(
                    "no field {field}, found {names}"
                )));
            }
        }
    }
    Ok(())
}

/// Returns the type of a field, if the table has it.
///
/// # Errors
/// If two columns have its name.
fn data_type<'a>(schema: &'a Schema, field: &Field) -> crate::Result<Option<&'a DataType>> {
    let type_of = |fields: &'a Fields, name: &str| -> crate::Result<Option<&'a DataType>> {
        let place = only_column(fields.iter().map(|field| field.name()), name)?;
        Ok(place.map(|place| fields[place].data_type()))
    };
    if let Some(found) = type_of(schema.fields(), field.name())? {
        return Ok(Some(found));
    }
    let mut steps = field.path().iter();
    let mut found = match steps.next() {
        Some(first) => type_of(schema.fields(), first)?,
        None => None,
    };
    for step in steps {
        found = match found {
            Some(DataType::Struct(fields)) => type_of(fields, step)?,
            _ => None,
        };
    }
    Ok(found)
}

/// A column, or a field of the structs of one.
struct Nested<'a> {
    array: &'a ArrayRef,
    /// The structs around the column, whose rows may be null.
    parents: Vec<&'a ArrayRef>,
}

/// Finds a field of a batch.
fn find<'a>(batch: &'a RecordBatch, field: &Field) -> Option<Nested<'a>> {
    if let Some(array) = batch.column_by_name(field.name()) {
        let parents = Vec::new();
        return Some(Nested { array, parents });
    }
    let (first, steps) = field.path().split_first()?;
    let mut found = Nested {
        array: batch.column_by_name(first)?,
        parents: Vec::new(),
    };
    for step in steps {
        let inner = found.array.as_struct_opt()?.column_by_name(step)?;
        found.parents.push(found.array);
        found.array = inner;
    }
    Some(found)
}

impl<'a> Nested<'a> {
    fn cells(self) -> crate::Result<Cells<'a>> {
        let cells = cells(self.array)?;
        let parents = self.parents;
        if parents.is_empty() {
            return Ok(cells);
        }
        Ok(Box::new(move |row| {
            if parents.iter().any(|parent| parent.is_null(row)) {
                Ok(Cell::Null)
            } else {
                cells(row)
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    fn expect(schema: &Schema, field: &str) -> Result<(), String> {
        let fields = Field::parse_list(field).unwrap();
        let found = expect_fields(schema, &Selection::new(fields, Kind::Text));
        found.map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_field_that_two_columns_have_is_refused() {
        let text = |name: &str| arrow_schema::Field::new(name, DataType::Utf8, true);
        let inner = DataType::Struct(vec![text("a"), text("b"), text("b")].into());
        let nested = arrow_schema::Field::new("data", inner, true);
        let schema = Schema::new(vec![text("id"), text("text"), nested, text("text")]);
        assert_eq!(expect(&schema, "id"), Ok(()));
        assert_eq!(expect(&schema, "data.a"), Ok(()));
        let error = "expected one column `text`, found two: columns 2 and 4";
        assert_eq!(expect(&schema, "text"), Err(error.to_string()));
        let error = "expected one column `b`, found two: columns 2 and 3";
        assert_eq!(expect(&schema, "data.b"), Err(error.to_string()));
    }
}
