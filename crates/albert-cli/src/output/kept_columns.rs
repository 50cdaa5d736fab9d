//! Columns of the input that are kept as columns of a table.
//!
//! The type of a column is that of its values in the first batch. Lists, objects and columns of
//! mixed types become strings of JSON.

use std::sync::Arc;

use anyhow::anyhow;
use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field, FieldRef};
use serde_json::Value;

use super::layout::Kept;
use crate::failure::Hint;

/// The kept columns of the rows since the last batch.
#[derive(Default)]
pub(super) struct KeptColumns {
    columns: Vec<Column>,
    rows: usize,
    /// True once the schema is written and no column can be added.
    is_fixed: bool,
}

struct Column {
    name: Arc<str>,
    values: Vec<Value>,
    data_type: Option<DataType>,
}

impl KeptColumns {
    /// Adds the values of a row; a bad row has none, and all its values are null.
    ///
    /// # Errors
    /// If the row has a column that the first batch did not have.
    pub(super) fn push(&mut self, kept: &Kept) -> anyhow::Result<()> {
        for (name, value) in kept {
            let column = match self.columns.iter().position(|column| column.name == *name) {
                Some(column) => column,
                None if self.is_fixed => {
                    return Err(anyhow!(
                        "this row has a column `{name}`, which the first rows did not have"
                    )
                    .hint("a table needs the same columns in every row: choose jsonl"));
                }
                None => {
                    self.columns.push(Column {
                        name: Arc::clone(name),
                        values: vec![Value::Null; self.rows],
                        data_type: None,
                    });
                    self.columns.len() - 1
                }
            };
            self.columns[column].values.push(value.clone());
        }
        self.rows += 1;
        for column in &mut self.columns {
            column.values.resize(self.rows, Value::Null);
        }
        Ok(())
    }

    /// Takes the columns of a batch. Their number and types are fixed by the first batch.
    ///
    /// # Errors
    /// If a value is not of its column's type.
    pub(super) fn take(&mut self) -> anyhow::Result<Vec<(FieldRef, ArrayRef)>> {
        self.is_fixed = true;
        self.rows = 0;
        self.columns.iter_mut().map(Column::take).collect()
    }
}

impl Column {
    fn take(&mut self) -> anyhow::Result<(FieldRef, ArrayRef)> {
        let values = std::mem::take(&mut self.values);
        let data_type = self
            .data_type
            .get_or_insert_with(|| data_type(&values))
            .clone();
        let array = array(&data_type, &values).ok_or_else(|| {
            anyhow!(
                "column `{}`: expected values of type {data_type}, as in the first rows",
                self.name
            )
            .hint("choose jsonl, where the types may differ from row to row")
        })?;
        let field = Arc::new(Field::new(&*self.name, data_type, true));
        Ok((field, array))
    }
}

/// Returns the type that can hold all of the values.
fn data_type(values: &[Value]) -> DataType {
    let present = || values.iter().filter(|value| !value.is_null());
    if present().next().is_none() {
        DataType::Utf8
    } else if present().all(Value::is_boolean) {
        DataType::Boolean
    } else if present().all(Value::is_i64) {
        DataType::Int64
    } else if present().all(Value::is_number) {
        DataType::Float64
    } else {
        DataType::Utf8
    }
}

/// Returns the values as an array; `None` if one of them has another type.
fn array(data_type: &DataType, values: &[Value]) -> Option<ArrayRef> {
    fn all<T>(values: &[Value], value: impl Fn(&Value) -> Option<T>) -> Option<Vec<Option<T>>> {
        let cell = |cell: &Value| match cell {
            Value::Null => Some(None),
            cell => value(cell).map(Some),
        };
        values.iter().map(cell).collect()
    }
    Some(match data_type {
        DataType::Boolean => Arc::new(BooleanArray::from(all(values, Value::as_bool)?)),
        DataType::Int64 => Arc::new(Int64Array::from(all(values, Value::as_i64)?)),
        DataType::Float64 => Arc::new(Float64Array::from(all(values, Value::as_f64)?)),
        _ => Arc::new(StringArray::from(all(values, |value| {
            Some(match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        })?)),
    })
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use serde_json::json;

    use super::*;

    fn push(columns: &mut KeptColumns, row: Value) -> anyhow::Result<()> {
        let Value::Object(members) = row else {
            panic!("expected an object")
        };
        let kept = members
            .into_iter()
            .map(|(name, value)| (name.as_str().into(), value));
        columns.push(&kept.collect())
    }

    #[test]
    fn a_column_has_the_type_of_its_values_and_nulls_where_it_has_none() {
        let mut columns = KeptColumns::default();
        push(&mut columns, json!({"n": 1, "mixed": 1, "list": [1]})).unwrap();
        push(&mut columns, json!({})).unwrap();
        push(&mut columns, json!({"n": 2, "mixed": "a", "late": 0.5})).unwrap();
        let taken = columns.take().unwrap();
        let types: Vec<_> = taken
            .iter()
            .map(|(field, _)| field.data_type().clone())
            .collect();
        let expected = [
            DataType::Int64,
            DataType::Utf8,
            DataType::Utf8,
            DataType::Float64,
        ];
        assert_eq!(types, expected);
        let nulls: Vec<_> = taken.iter().map(|(_, array)| array.null_count()).collect();
        assert_eq!(nulls, [1, 1, 2, 2]);
    }

    #[test]
    fn a_later_column_or_type_is_an_error() {
        let mut columns = KeptColumns::default();
        push(&mut columns, json!({"n": 1})).unwrap();
        columns.take().unwrap();
        assert!(push(&mut columns, json!({"m": 1})).is_err());
        let mut columns = KeptColumns::default();
        push(&mut columns, json!({"n": 1})).unwrap();
        columns.take().unwrap();
        push(&mut columns, json!({"n": "a"})).unwrap();
        assert!(columns.take().is_err());
    }
}
