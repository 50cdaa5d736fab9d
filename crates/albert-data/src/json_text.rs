//! Splits JSON text into the values of an object without building those that are not needed.
//!
//! The others are still validated: a line that is not JSON is an error. `NaN`, `Infinity` and
//! `-Infinity`, which Python's `json` module writes, are accepted as numbers.

mod scanner;

use std::borrow::Cow;

use crate::cell::Cell;
use crate::error::{bail, error};
use scanner::{Scanner, string};

/// The maximum nesting of a value that is built. A skipped value may be deeper.
const MAX_DEPTH: usize = 128;

/// Calls `visit` with the name and the value of each member of the only object in a text. A name
/// may occur twice; Python takes the last value.
///
/// # Errors
/// If the text is not JSON, or no object.
pub(crate) fn members<'a>(
    text: &'a str,
    mut visit: impl FnMut(Cow<'a, str>, &'a str),
) -> crate::Result<()> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.space();
    if scanner.peek() != Some(b'{') {
        let value = scanner.document()?;
        bail!("expected a JSON object, found {}", kind(value));
    }
    scanner.members(&mut visit)?;
    scanner.end()?;
    Ok(())
}

/// Returns the values of the only list in a text.
///
/// # Errors
/// If the text is not JSON, or no list.
pub(crate) fn elements(text: &str) -> crate::Result<Vec<&str>> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.space();
    if scanner.peek() != Some(b'[') {
        let value = scanner.document()?;
        bail!("expected an array, found {}", kind(value));
    }
    let mut found = Vec::new();
    scanner.elements(|value| found.push(value))?;
    scanner.end()?;
    Ok(found)
}

/// Reads a value.
///
/// # Errors
/// If the text is not JSON, or nested too deep.
pub(crate) fn cell(text: &str) -> crate::Result<Cell> {
    let mut scanner = Scanner { text, at: 0 };
    let value = scanner.document()?;
    build(value, MAX_DEPTH)
}

/// Returns the type of a value from its first character.
pub(crate) fn kind(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Builds a value that has been checked.
fn build(value: &str, depth: usize) -> crate::Result<Cell> {
    if depth == 0 {
        bail!("expected at most {MAX_DEPTH} levels of nesting, found more");
    }
    Ok(match value.as_bytes().first() {
        Some(b'{') => {
            let mut found = Vec::new();
            let mut scanner = Scanner { text: value, at: 0 };
            scanner.members(&mut |name: Cow<'_, str>, value| {
                found.push((name.into_owned(), value));
            })?;
            let build = |(name, value)| Ok((name, build(value, depth - 1)?));
            Cell::Object(found.into_iter().map(build).collect::<crate::Result<_>>()?)
        }
        Some(b'[') => {
            let mut found = Vec::new();
            let mut scanner = Scanner { text: value, at: 0 };
            scanner.elements(|value| found.push(value))?;
            let build = |value| build(value, depth - 1);
            Cell::List(found.into_iter().map(build).collect::<crate::Result<_>>()?)
        }
        Some(b'"') => Cell::Text(string(value)?),
        Some(b't') => Cell::Boolean(true),
        Some(b'f') => Cell::Boolean(false),
        Some(b'n') => Cell::Null,
        _ => number(value)?,
    })
}

fn number(value: &str) -> crate::Result<Cell> {
    Ok(Cell::Float(match value {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        value => {
            if let Ok(integer) = value.parse() {
                return Ok(Cell::Integer(integer));
            }
            value
                .parse()
                .map_err(|_| error!("expected a number, found `{value}`"))?
        }
    }))
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    fn object(text: &str) -> crate::Result<Vec<(String, &str)>> {
        let mut found = Vec::new();
        members(text, |name, value| found.push((name.into_owned(), value)))?;
        Ok(found)
    }

    #[test]
    fn the_values_of_an_object_are_cut_out_as_they_are_written() {
        let text = r#" { "a" : [1, {"b":"]"}] , "\u0063\n":"x\"}" ,"d":-1.5e+3,"e":NaN,"f":{} } "#;
        let expected = [
            ("a", "[1, {\"b\":\"]\"}]"),
            ("c\n", "\"x\\\"}\""),
            ("d", "-1.5e+3"),
            ("e", "NaN"),
            ("f", "{}"),
        ];
        let found = object(text).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        assert_eq!(found, expected);
        assert!(object("{}").unwrap().is_empty());
    }

    #[test]
    fn values_have_their_types() {
        let float = |value| Cell::Float(value);
        for (text, expected) in [
            ("null", Cell::Null),
            (" true ", Cell::Boolean(true)),
            ("-12", Cell::Integer(-12)),
            ("18446744073709551615", Cell::Integer(u64::MAX.into())),
            ("1.0", float(1.0)),
            ("1e2", float(100.0)),
            ("-Infinity", float(f64::NEG_INFINITY)),
            ("\"\\ud83d\\ude00\"", Cell::Text("😀".into())),
            ("[]", Cell::List(vec![])),
            (
                "[1,\"a\"]",
                Cell::List(vec![Cell::Integer(1), Cell::Text("a".into())]),
            ),
            ("{\"a\":null}", Cell::Object(vec![("a".into(), Cell::Null)])),
        ] {
            assert_eq!(cell(text).unwrap(), expected, "{text}");
        }
        assert!(matches!(cell("NaN").unwrap(), Cell::Float(value) if value.is_nan()));
    }

    #[test]
    fn an_error_names_its_byte_and_what_was_expected() {
        for (text, words) in [
            ("{\"a\":1,}", "byte 8: expected a name in quotes"),
            ("{\"a\" 1}", "byte 6: expected `:`"),
            ("{\"a\":[1 2]}", "byte 9: expected `,` or `]`"),
            ("{\"a\":\"\\x\"}", "byte 8: expected an escape"),
            ("{\"a\":1} x", "byte 9: expected the end of the line"),
            ("{\"a\":", "byte 6: expected a value"),
        ] {
            let error = object(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn deep_nesting_is_passed_over_and_refused_where_it_is_read() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        let text = format!("{{\"x\":{deep},\"text\":\"a\"}}");
        assert_eq!(object(&text).unwrap()[1], ("text".to_string(), "\"a\""));
        assert!(cell(&deep).is_err());
    }

    #[test]
    fn exactly_what_serde_json_takes_is_taken() {
        let seeds = [
            r#"{"a":[1,-0.5e+10,true,null,{"b":"\u00e9\\"}],"c":{}}"#,
            r#"[[],{"x":"\/\b\f\n\r\t"},0,-1,1E5, 2 ,"é"]"#,
            r#""a\"b""#,
        ];
        let replacements = b"{}[],:\"\\0e.-+tfnu x\t\n1";
        let mut count = [0; 2];
        for seed in seeds {
            for at in 0..seed.len() {
                for &byte in replacements {
                    for is_inserted in [true, false] {
                        let mut bytes = seed.as_bytes().to_vec();
                        if is_inserted {
                            bytes.insert(at, byte)
                        } else {
                            bytes[at] = byte
                        }
                        let Ok(text) = String::from_utf8(bytes) else {
                            continue;
                        };
                        let expected = serde_json::from_str::<IgnoredAny>(&text).is_ok();
                        let mut scanner = Scanner { text: &text, at: 0 };
                        assert_eq!(scanner.document().is_ok(), expected, "{text}");
                        count[usize::from(expected)] += 1;
                    }
                }
            }
        }
        assert!(count.iter().all(|count| *count > 100), "{count:?}");
    }
}
