//! The columns of rows as an Arrow schema.

use std::sync::Arc;

use anyhow::Context;
use arrow_schema::{DataType, Field, FieldRef, Fields};

use super::column::{Column, Element, Kind, VectorType};

/// The fields of a table.
///
/// A row may lack an optional column; with `skip_bad` there is an `error` column, and the row of a
/// bad text has nothing but `index` and that.
///
/// # Errors
/// If there is a vector among the columns and none of its type was given.
pub(super) fn fields(
    columns: &[Column],
    vectors: Option<VectorType>,
    skip_bad: bool,
) -> anyhow::Result<Vec<FieldRef>> {
    let mut fields = Vec::new();
    for column in columns {
        let nullable = column.optional || (skip_bad && column.name != "index");
        fields.push(Arc::new(Field::new(
            column.name,
            data_type(column.kind, vectors)?,
            nullable,
        )));
    }
    if skip_bad {
        fields.push(Arc::new(Field::new("error", DataType::Utf8, true)));
    }
    Ok(fields)
}

fn data_type(kind: Kind, vectors: Option<VectorType>) -> anyhow::Result<DataType> {
    Ok(match kind {
        Kind::Text => DataType::Utf8,
        Kind::Integer => DataType::Int64,
        Kind::Float => DataType::Float32,
        Kind::Double => DataType::Float64,
        Kind::Boolean => DataType::Boolean,
        Kind::Vector => {
            let vectors = vectors.context("a column of vectors whose type is not known")?;
            let dim = i32::try_from(vectors.dim).context("vectors too long for a table")?;
            DataType::FixedSizeList(item(number(vectors.element)), dim)
        }
        Kind::Span => DataType::FixedSizeList(item(DataType::Int64), 2),
        Kind::List(kind) => DataType::List(item(data_type(*kind, vectors)?)),
        Kind::Record(columns) => DataType::Struct(Fields::from(fields(columns, vectors, false)?)),
    })
}

fn number(element: Element) -> DataType {
    match element {
        Element::F32 => DataType::Float32,
        Element::I8 => DataType::Int8,
        Element::U8 => DataType::UInt8,
    }
}

/// What a list holds; nothing in it is ever missing.
fn item(data_type: DataType) -> FieldRef {
    Arc::new(Field::new(Field::LIST_FIELD_DEFAULT_NAME, data_type, false))
}
