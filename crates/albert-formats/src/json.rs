//! JSON as written by Python's `json` module, and objects whose values are read by type.
//!
//! Python writes `NaN`, `Infinity` and `-Infinity`, which JSON does not have; editors leave a byte
//! order mark. Both are read: such a number becomes the text of its name, so that a key which
//! nobody reads does no harm, and one that is read is refused by name.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The numbers that Python writes and JSON does not have.
const NOT_FINITE: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// Reads JSON as Python writes it.
///
/// # Errors
/// If it is not JSON otherwise.
pub fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    parse_with(text, |text| serde_json::from_slice(text))
}

/// Reads the value of one key of a JSON object as Python writes it, skipping the others; `None` if
/// the key is absent or null. Of equal keys the last counts.
///
/// # Errors
/// If it is not JSON otherwise, or not an object.
pub fn parse_key(text: &[u8], key: &str) -> Result<Option<Value>, serde_json::Error> {
    let value: Option<Value> = parse_with(text, |text| {
        let map: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(text)?;
        let value = map.get(key);
        value
            .map(|value| serde_json::from_str(value.get()))
            .transpose()
    })?;
    Ok(value.filter(|value| !value.is_null()))
}

/// Reads JSON with `read`, if need be with Python's numbers as texts.
fn parse_with<T>(
    text: &[u8],
    read: impl Fn(&[u8]) -> Result<T, serde_json::Error>,
) -> Result<T, serde_json::Error> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    match read(text) {
        Err(error) => match quoted_numbers(text) {
            Cow::Owned(quoted) => read(&quoted),
            Cow::Borrowed(_) => Err(error),
        },
        value => value,
    }
}

/// Puts the numbers that JSON does not have into quotation marks.
fn quoted_numbers(text: &[u8]) -> Cow<'_, [u8]> {
    let mut quoted: Option<Vec<u8>> = None;
    let (mut at, mut copied) = (0, 0);
    while at < text.len() {
        if text[at] == b'"' {
            at += string_len(&text[at..]);
            continue;
        }
        let rest = &text[at..];
        let number = NOT_FINITE
            .into_iter()
            .find(|name| rest.starts_with(name.as_bytes()));
        let Some(number) = number else {
            at += 1;
            continue;
        };
        let out = quoted.get_or_insert_default();
        out.extend_from_slice(&text[copied..at]);
        out.push(b'"');
        out.extend_from_slice(number.as_bytes());
        out.push(b'"');
        at += number.len();
        copied = at;
    }
    match quoted {
        Some(mut out) => {
            out.extend_from_slice(&text[copied..]);
            Cow::Owned(out)
        }
        None => Cow::Borrowed(text),
    }
}

/// Returns the bytes of the string that `text` begins with, quotation marks included.
fn string_len(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(&byte) = text.get(at) {
        at += match byte {
            b'"' => return at + 1,
            b'\\' => 2,
            _ => 1,
        };
    }
    text.len()
}

/// A value that does not have the requested type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: expected {expected}, found {found}")]
pub struct WrongValue {
    /// The key.
    pub field: String,
    /// The type, in words.
    pub expected: String,
    /// The value, shortened if it is long.
    pub found: String,
}

impl WrongValue {
    /// Creates an error that shows `found`.
    pub fn new(field: &str, expected: impl Into<String>, found: &Value) -> Self {
        Self {
            field: field.into(),
            expected: expected.into(),
            found: shown(found),
        }
    }
}

/// The maximum number of characters of a value that a message shows.
const MOST_SHOWN: usize = 60;

/// Returns a value as an error message shows it: arrays, objects and long texts by their kind.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
        Value::String(text) if text.chars().count() > MOST_SHOWN => "a long string".into(),
        other => other.to_string(),
    }
}

/// Returns the value of a key that is neither absent nor null.
pub fn get<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    map.get(key).filter(|value| !value.is_null())
}

/// Returns the value of a key as `convert` reads it; `None` if it is absent or null.
///
/// # Errors
/// If `convert` gives `None`.
pub fn typed<'a, T>(
    map: &'a Map<String, Value>,
    key: &str,
    expected: &str,
    convert: impl Fn(&'a Value) -> Option<T>,
) -> Result<Option<T>, WrongValue> {
    match get(map, key) {
        None => Ok(None),
        Some(value) => match convert(value) {
            Some(typed) => Ok(Some(typed)),
            None => Err(WrongValue::new(key, expected, value)),
        },
    }
}

/// Reads a whole number that is not negative.
pub fn to_usize(value: &Value) -> Option<usize> {
    value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pythons_numbers_are_texts_outside_of_strings() {
        let text = r#"{"a": NaN, "b": [-Infinity, 1, Infinity], "NaN": "NaN, \"Infinity", "c": 2}"#;
        assert_eq!(
            parse(text.as_bytes()).unwrap(),
            json!({"a": "NaN", "b": ["-Infinity", 1, "Infinity"], "NaN": "NaN, \"Infinity", "c": 2})
        );
        assert!(parse(b"{\"a\": nan}").is_err());
        assert!(parse(b"{\"a\": \"NaN").is_err());
        assert_eq!(parse("\u{feff}[1]".as_bytes()).unwrap(), json!([1]));
    }

    #[test]
    fn one_key_is_read_and_the_others_are_skipped() {
        let text = br#"{"a": [NaN, {"b": 1}], "b": 2, "c": null, "b": [3]}"#;
        assert_eq!(parse_key(text, "b").unwrap(), Some(json!([3])));
        assert_eq!(parse_key(text, "c").unwrap(), None);
        assert_eq!(parse_key(text, "d").unwrap(), None);
        assert!(parse_key(br#"{"a": [1, "b": 2}"#, "b").is_err());
        assert!(parse_key(b"[1]", "b").is_err());
    }

    #[test]
    fn a_value_of_another_type_is_named() {
        let Value::Object(map) = json!({"a": "x", "b": null, "c": 3}) else {
            unreachable!()
        };
        assert_eq!(typed(&map, "c", "a number", to_usize), Ok(Some(3)));
        assert_eq!(typed(&map, "b", "a number", to_usize), Ok(None));
        let error = typed(&map, "a", "a number", to_usize).unwrap_err();
        assert_eq!(error.to_string(), "`a`: expected a number, found \"x\"");
    }
}
