//! The values of fields, with the types of their format.

use crate::error::{bail, error};
use serde::{Serialize, Serializer};

/// A value. CSV and TSV only have text; JSON, Parquet and Arrow have all of these types. Dates,
/// times and decimals are text.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer of any width.
    Integer(i128),
    /// A floating-point number; NaN and infinities included.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Cell>),
    /// Named members, in their order.
    Object(Vec<(String, Cell)>),
}

impl Cell {
    /// Returns the name of the type with its article.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    /// Returns the approximate size of the value in bytes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Null | Self::Boolean(_) | Self::Integer(_) | Self::Float(_) => 16,
            Self::Text(text) => text.len(),
            Self::List(cells) => cells.iter().map(Self::size).sum(),
            Self::Object(members) => {
                let size = |(name, cell): &(String, Self)| name.len() + cell.size();
                members.iter().map(size).sum()
            }
        }
    }

    /// Returns the text.
    ///
    /// # Errors
    /// If the value is not text.
    pub fn into_text(self) -> crate::Result<String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(error!("expected a string, found {}", other.kind())),
        }
    }

    /// Returns the texts of a list, or of the JSON list in a text, which is how CSV represents
    /// lists.
    ///
    /// # Errors
    /// If the value is no list of texts.
    pub fn into_texts(self) -> crate::Result<Vec<String>> {
        const EXPECTED: &str = "expected an array of strings";
        match self {
            Self::List(cells) => cells
                .into_iter()
                .map(|cell| match cell {
                    Self::Text(text) => Ok(text),
                    other => bail!("{EXPECTED}, found {} in it", other.kind()),
                })
                .collect(),
            Self::Text(text) if text.trim_start().starts_with('[') => {
                match crate::json_text::cell(&text)? {
                    Self::Text(_) => bail!("{EXPECTED}, found a string"),
                    list => list.into_texts(),
                }
            }
            other => bail!("{EXPECTED}, found {}", other.kind()),
        }
    }

    /// Returns the value as a number; a text is parsed, as for CSV.
    ///
    /// # Errors
    /// If the value is not a number.
    pub fn to_float(&self) -> crate::Result<f64> {
        match self {
            Self::Integer(value) => Ok(*value as f64),
            Self::Float(value) => Ok(*value),
            Self::Text(text) => text
                .trim()
                .parse()
                .map_err(|_| error!("expected a number, found `{text}`")),
            other => bail!("expected a number, found {}", other.kind()),
        }
    }
}

impl Serialize for Cell {
    /// Writes the value as JSON; a float that is not finite becomes null.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => match i64::try_from(*value) {
                Ok(value) => serializer.serialize_i64(value),
                Err(_) => serializer.serialize_i128(*value),
            },
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(cells) => serializer.collect_seq(cells),
            Self::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, cell)| (name, cell)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_as_json() {
        let cell = Cell::Object(vec![
            (
                "b".into(),
                Cell::List(vec![Cell::Null, Cell::Boolean(true)]),
            ),
            ("a".into(), Cell::Integer(i128::from(u64::MAX))),
            ("c".into(), Cell::Float(0.5)),
        ]);
        assert_eq!(
            serde_json::to_string(&cell).unwrap(),
            r#"{"b":[null,true],"a":18446744073709551615,"c":0.5}"#
        );
    }

    #[test]
    fn texts_are_a_list_or_json_in_a_text() {
        let text = |text: &str| Cell::Text(text.into());
        let list = Cell::List(vec![text("a"), text("b")]);
        assert_eq!(list.into_texts().unwrap(), ["a", "b"]);
        assert_eq!(text("[\"a\"]").into_texts().unwrap(), ["a"]);
        for (bad, found) in [
            (text("a"), "found a string"),
            (text("[1]"), "found a number in it"),
            (Cell::Null, "found null"),
            (Cell::List(vec![Cell::Null]), "found null in it"),
        ] {
            let error = bad.into_texts().unwrap_err().to_string();
            assert!(
                error.starts_with("expected an array of strings, "),
                "{error}"
            );
            assert!(error.ends_with(found), "{error}");
        }
        assert!(text("[\"a\"").into_texts().is_err());
    }

    #[test]
    fn a_number_may_be_written_as_text() {
        assert_eq!(Cell::Text(" 0.5 ".into()).to_float().unwrap(), 0.5);
        assert_eq!(Cell::Integer(3).to_float().unwrap(), 3.0);
        assert!(Cell::Text("x".into()).to_float().is_err());
        assert!(Cell::Null.to_float().is_err());
    }
}
