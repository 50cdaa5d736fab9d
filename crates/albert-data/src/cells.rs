//! The strings of a column, whichever of Arrow's types it has.

use anyhow::{anyhow, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{ByteArrayType, ByteViewType};
use arrow_array::{Array, GenericByteArray, GenericByteViewArray};
use arrow_schema::DataType;

use super::lines::utf8;

/// The bytes of each cell; `None` for null.
type Cells<'a> = Box<dyn Fn(usize) -> Option<&'a [u8]> + 'a>;

/// The texts of a column of strings.
pub(super) struct Strings<'a>(Cells<'a>);

impl<'a> Strings<'a> {
    /// Reads a column.
    ///
    /// # Errors
    /// If it holds no strings. Bytes are taken too: older writers of Parquet do not say that theirs
    /// are text.
    pub(super) fn new(array: &'a dyn Array) -> anyhow::Result<Self> {
        match cells(array) {
            Some(cells) => Ok(Self(cells)),
            None => bail!("expected strings, found {}", array.data_type()),
        }
    }

    /// The text of a row.
    ///
    /// # Errors
    /// If there is none, or it is not UTF-8.
    pub(super) fn text(&self, row: usize) -> anyhow::Result<String> {
        utf8(
            self.0(row)
                .ok_or_else(|| anyhow!("expected a string, found null"))?
                .to_vec(),
        )
    }
}

fn cells(array: &dyn Array) -> Option<Cells<'_>> {
    Some(match array.data_type() {
        DataType::Utf8 => bytes(array.as_string::<i32>()),
        DataType::LargeUtf8 => bytes(array.as_string::<i64>()),
        DataType::Utf8View => views(array.as_string_view()),
        DataType::Binary => bytes(array.as_binary::<i32>()),
        DataType::LargeBinary => bytes(array.as_binary::<i64>()),
        DataType::BinaryView => views(array.as_binary_view()),
        DataType::Null => Box::new(|_| None),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let values = cells(dictionary.values().as_ref())?;
            // In an empty dictionary every row is null, and there are no keys to count from zero.
            let keys = if dictionary.values().is_empty() {
                Vec::new()
            } else {
                dictionary.normalized_keys()
            };
            Box::new(move |row| {
                if array.is_null(row) {
                    None
                } else {
                    values(*keys.get(row)?)
                }
            })
        }
        _ => return None,
    })
}

fn bytes<T: ByteArrayType>(array: &GenericByteArray<T>) -> Cells<'_> {
    Box::new(|row| array.is_valid(row).then(|| array.value(row).as_ref()))
}

fn views<T: ByteViewType>(array: &GenericByteViewArray<T>) -> Cells<'_> {
    Box::new(|row| array.is_valid(row).then(|| array.value(row).as_ref()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int8Type;
    use arrow_array::{
        ArrayRef, BinaryArray, DictionaryArray, Int64Array, LargeStringArray, NullArray,
        StringArray, StringViewArray,
    };

    use super::*;

    fn texts(array: &dyn Array) -> Vec<Option<String>> {
        let strings = Strings::new(array).unwrap();
        (0..array.len()).map(|row| strings.text(row).ok()).collect()
    }

    #[test]
    fn strings_of_every_type_are_the_same() {
        let values = vec![Some("a"), None, Some("é, and longer than twelve bytes")];
        let expected: Vec<_> = values.iter().map(|value| value.map(String::from)).collect();
        let arrays: [ArrayRef; 5] = [
            Arc::new(StringArray::from(values.clone())),
            Arc::new(LargeStringArray::from(values.clone())),
            Arc::new(StringViewArray::from(values.clone())),
            Arc::new(BinaryArray::from_iter(
                values.iter().map(|value| value.map(str::as_bytes)),
            )),
            Arc::new(DictionaryArray::<Int8Type>::from_iter(values)),
        ];
        for array in arrays {
            assert_eq!(texts(&array), expected, "{}", array.data_type());
            assert_eq!(
                texts(&array.slice(1, 2)),
                expected[1..],
                "{}",
                array.data_type()
            );
        }
    }

    #[test]
    fn what_has_no_text_says_why() {
        assert!(
            Strings::new(&Int64Array::from(vec![1]))
                .err()
                .unwrap()
                .to_string()
                .contains("Int64")
        );
        let error = |array: &dyn Array| {
            Strings::new(array)
                .unwrap()
                .text(0)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(error(&NullArray::new(1)), "expected a string, found null");
        assert_eq!(
            error(&DictionaryArray::<Int8Type>::from_iter([None::<&str>])),
            "expected a string, found null"
        );
        assert!(error(&BinaryArray::from(vec![&b"\xff"[..]])).contains("UTF-8"));
    }
}
