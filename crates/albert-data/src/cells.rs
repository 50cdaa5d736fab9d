//! Reads the cells of a column of any supported Arrow type.

use crate::error::{bail, error};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, ByteArrayType, ByteViewType, Date32Type, Date64Type, Decimal128Type,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    RunEndIndexType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, GenericByteArray, GenericByteViewArray};
use arrow_schema::{DataType, TimeUnit};

use crate::Cell;
use crate::lines::utf8;
use crate::moments::{date, decimal, timestamp};
use crate::record::Kind;

/// Returns the cell of each row.
pub(crate) type Cells<'a> = Box<dyn Fn(usize) -> crate::Result<Cell> + 'a>;

/// Checks that a column of this type can hold the expected values.
///
/// # Errors
/// If it cannot.
pub(crate) fn expect_kind(found: &DataType, kind: Kind) -> crate::Result<()> {
    let (is_right, expected) = match kind {
        Kind::Any => return Ok(()),
        Kind::Text => (is_text(found), "strings"),
        // A text may hold a list as JSON.
        Kind::Texts => (is_text(found) || is_list_of_text(found), "lists of strings"),
        Kind::TextOrTexts => (
            is_text(found) || is_list_of_text(found),
            "strings or lists of strings",
        ),
    };
    if is_right {
        Ok(())
    } else {
        Err(error!("expected {expected}, found {found}"))
    }
}

/// Returns true for text types, and for bytes, because older Parquet writers do not mark text.
fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        DataType::Null => true,
        DataType::Dictionary(_, values) => is_text(values),
        DataType::RunEndEncoded(_, values) => is_text(values.data_type()),
        _ => false,
    }
}

fn is_list_of_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => is_text(item.data_type()),
        DataType::Dictionary(_, values) => is_list_of_text(values),
        DataType::RunEndEncoded(_, values) => is_list_of_text(values.data_type()),
        _ => false,
    }
}

/// Reads a column.
///
/// # Errors
/// If its type is not supported.
pub(crate) fn cells(array: &dyn Array) -> crate::Result<Cells<'_>> {
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_| Ok(Cell::Null)),
        DataType::Utf8 => bytes(array.as_string::<i32>()),
        DataType::LargeUtf8 => bytes(array.as_string::<i64>()),
        DataType::Utf8View => views(array.as_string_view()),
        DataType::Binary => bytes(array.as_binary::<i32>()),
        DataType::LargeBinary => bytes(array.as_binary::<i64>()),
        DataType::BinaryView => views(array.as_binary_view()),
        DataType::Boolean => {
            let values = array.as_boolean();
            unless_null(array, |row| Ok(Cell::Boolean(values.value(row))))
        }
        DataType::Int8 => integers::<Int8Type>(array),
        DataType::Int16 => integers::<Int16Type>(array),
        DataType::Int32 => integers::<Int32Type>(array),
        DataType::Int64 => integers::<Int64Type>(array),
        DataType::UInt8 => integers::<UInt8Type>(array),
        DataType::UInt16 => integers::<UInt16Type>(array),
        DataType::UInt32 => integers::<UInt32Type>(array),
        DataType::UInt64 => integers::<UInt64Type>(array),
        DataType::Float16 => {
            let values = array.as_primitive::<Float16Type>();
            unless_null(array, |row| Ok(Cell::Float(values.value(row).into())))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            unless_null(array, |row| Ok(Cell::Float(values.value(row).into())))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            unless_null(array, |row| Ok(Cell::Float(values.value(row))))
        }
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>();
            unless_null(array, |row| Ok(Cell::Text(date(days.value(row).into()))))
        }
        DataType::Date64 => moments::<Date64Type>(array, TimeUnit::Millisecond, false),
        DataType::Timestamp(unit, zone) => {
            let has_zone = zone.is_some();
            match unit {
                TimeUnit::Second => moments::<TimestampSecondType>(array, *unit, has_zone),
                TimeUnit::Millisecond => {
                    moments::<TimestampMillisecondType>(array, *unit, has_zone)
                }
                TimeUnit::Microsecond => {
                    moments::<TimestampMicrosecondType>(array, *unit, has_zone)
                }
                TimeUnit::Nanosecond => moments::<TimestampNanosecondType>(array, *unit, has_zone),
            }
        }
        DataType::Decimal128(_, scale) => {
            let (values, scale) = (array.as_primitive::<Decimal128Type>(), *scale);
            unless_null(array, move |row| {
                Ok(Cell::Text(decimal(values.value(row), scale)))
            })
        }
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            unless_null(array, |row| list(&lists.value(row)))
        }
        DataType::LargeList(_) => {
            let lists = array.as_list::<i64>();
            unless_null(array, |row| list(&lists.value(row)))
        }
        DataType::ListView(_) => {
            let lists = array.as_list_view::<i32>();
            unless_null(array, |row| list(&lists.value(row)))
        }
        DataType::LargeListView(_) => {
            let lists = array.as_list_view::<i64>();
            unless_null(array, |row| list(&lists.value(row)))
        }
        DataType::FixedSizeList(_, _) => {
            let lists = array.as_fixed_size_list();
            unless_null(array, |row| list(&lists.value(row)))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let mut members = Vec::with_capacity(columns.len());
            for (field, column) in fields.iter().zip(columns) {
                members.push((field.name(), cells(column)?));
            }
            unless_null(array, move |row| {
                let member =
                    |(name, cells): &(&String, Cells<'_>)| Ok((name.to_string(), cells(row)?));
                let members: crate::Result<_> = members.iter().map(member).collect();
                Ok(Cell::Object(members?))
            })
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let values = cells(dictionary.values().as_ref())?;
            // With an empty dictionary every row is null, and there are no keys.
            let keys = if dictionary.values().is_empty() {
                Vec::new()
            } else {
                dictionary.normalized_keys()
            };
            unless_null(array, move |row| match keys.get(row) {
                Some(&key) => values(key),
                None => Ok(Cell::Null),
            })
        }
        DataType::RunEndEncoded(ends, _) => match ends.data_type() {
            DataType::Int16 => runs::<Int16Type>(array)?,
            DataType::Int32 => runs::<Int32Type>(array)?,
            _ => runs::<Int64Type>(array)?,
        },
        other => bail!("columns of type {other} are not supported"),
    })
}

fn unless_null<'a>(
    array: &'a dyn Array,
    cell: impl Fn(usize) -> crate::Result<Cell> + 'a,
) -> Cells<'a> {
    Box::new(move |row| {
        if array.is_null(row) {
            Ok(Cell::Null)
        } else {
            cell(row)
        }
    })
}

fn bytes<T: ByteArrayType>(array: &GenericByteArray<T>) -> Cells<'_> {
    unless_null(array, |row| text(array.value(row).as_ref()))
}

fn views<T: ByteViewType>(array: &GenericByteViewArray<T>) -> Cells<'_> {
    unless_null(array, |row| text(array.value(row).as_ref()))
}

fn text(bytes: &[u8]) -> crate::Result<Cell> {
    Ok(Cell::Text(utf8(bytes.to_vec())?))
}

fn integers<T: ArrowPrimitiveType<Native: Into<i128>>>(array: &dyn Array) -> Cells<'_> {
    let values = array.as_primitive::<T>();
    unless_null(array, |row| Ok(Cell::Integer(values.value(row).into())))
}

fn moments<T: ArrowPrimitiveType<Native = i64>>(
    array: &dyn Array,
    unit: TimeUnit,
    has_zone: bool,
) -> Cells<'_> {
    let values = array.as_primitive::<T>();
    unless_null(array, move |row| {
        Ok(Cell::Text(timestamp(values.value(row), unit, has_zone)))
    })
}

fn runs<T: RunEndIndexType>(array: &dyn Array) -> crate::Result<Cells<'_>> {
    let runs = array.as_run::<T>();
    let values = cells(runs.values().as_ref())?;
    Ok(Box::new(move |row| values(runs.get_physical_index(row))))
}

fn list(items: &ArrayRef) -> crate::Result<Cell> {
    let cells = cells(items)?;
    let items: crate::Result<_> = (0..items.len()).map(cells).collect();
    Ok(Cell::List(items?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::builder::{Int32Builder, ListBuilder};
    use arrow_array::{
        BinaryArray, DictionaryArray, Float32Array, Int64Array, LargeStringArray, NullArray,
        RunArray, StringArray, StringViewArray, StructArray, UInt64Array,
    };
    use arrow_schema::Field;

    use super::*;

    fn read(array: &dyn Array) -> Vec<Cell> {
        let cells = cells(array).unwrap();
        (0..array.len()).map(|row| cells(row).unwrap()).collect()
    }

    fn text(text: &str) -> Cell {
        Cell::Text(text.to_string())
    }

    #[test]
    fn strings_of_every_type_are_the_same() {
        let values = vec![Some("a"), None, Some("é, and longer than twelve bytes")];
        let expected: Vec<_> = values
            .iter()
            .map(|value| value.map_or(Cell::Null, text))
            .collect();
        let plain = StringArray::from(values.clone());
        let runs: RunArray<Int32Type> = RunArray::try_new(&vec![1, 2, 3].into(), &plain).unwrap();
        let bytes = values.iter().map(|value| value.map(str::as_bytes));
        let arrays: [ArrayRef; 6] = [
            Arc::new(plain),
            Arc::new(LargeStringArray::from(values.clone())),
            Arc::new(StringViewArray::from(values.clone())),
            Arc::new(BinaryArray::from_iter(bytes)),
            Arc::new(DictionaryArray::<Int8Type>::from_iter(values)),
            Arc::new(runs),
        ];
        for array in arrays {
            assert_eq!(read(&array), expected, "{}", array.data_type());
            assert_eq!(read(&array.slice(1, 2)), expected[1..]);
            expect_kind(array.data_type(), Kind::Text).unwrap();
        }
        assert_eq!(read(&NullArray::new(2)), [Cell::Null, Cell::Null]);
    }

    #[test]
    fn a_run_s_value_is_that_of_all_its_rows() {
        let values = StringArray::from(vec!["a", "b"]);
        let runs: RunArray<Int16Type> = RunArray::try_new(&vec![2_i16, 5].into(), &values).unwrap();
        let expected = ["a", "a", "b", "b", "b"].map(text);
        assert_eq!(read(&runs), expected);
        assert_eq!(read(&runs.slice(1, 3)), expected[1..4]);
    }

    #[test]
    fn numbers_lists_and_structs_keep_their_types() {
        assert_eq!(
            read(&Int64Array::from(vec![Some(-1), None])),
            [Cell::Integer(-1), Cell::Null]
        );
        let wide = Cell::Integer(u64::MAX.into());
        assert_eq!(read(&UInt64Array::from(vec![u64::MAX])), [wide]);
        assert_eq!(read(&Float32Array::from(vec![0.5])), [Cell::Float(0.5)]);
        let mut lists = ListBuilder::new(Int32Builder::new());
        lists.append_value([Some(1), None]);
        lists.append_null();
        let lists = lists.finish();
        let expected = [Cell::List(vec![Cell::Integer(1), Cell::Null]), Cell::Null];
        assert_eq!(read(&lists), expected);
        let field = Arc::new(Field::new("a", lists.data_type().clone(), true));
        let members = StructArray::from(vec![(field, Arc::new(lists) as ArrayRef)]);
        let expected = expected.map(|cell| Cell::Object(vec![("a".to_string(), cell)]));
        assert_eq!(read(&members), expected);
    }

    #[test]
    fn columns_of_other_types_are_refused() {
        let error = |found: DataType, kind| expect_kind(&found, kind).unwrap_err().to_string();
        assert_eq!(
            error(DataType::Int64, Kind::Text),
            "expected strings, found Int64"
        );
        let list = DataType::new_list(DataType::Int64, true);
        assert!(error(list, Kind::Texts).starts_with("expected lists of strings, found List"));
        let strings = DataType::new_list(DataType::Utf8, true);
        expect_kind(&strings, Kind::Texts).unwrap();
        expect_kind(&strings, Kind::TextOrTexts).unwrap();
        assert!(expect_kind(&strings, Kind::Text).is_err());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_a_bad_cell() {
        let array = BinaryArray::from_vec(vec![b"a", b"\xff"]);
        let cells = cells(&array).unwrap();
        assert!(cells(0).is_ok() && cells(1).is_err());
    }
}
