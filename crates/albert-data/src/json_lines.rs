//! One JSON object a line, the text in a field of it.

use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;

use anyhow::{anyhow, bail};
use serde_json::value::RawValue;

use super::lines::{RawLines, utf8};
use super::{Fields, Line, Text};

/// Lines of JSON. Blank lines are skipped, as the format has it.
pub(super) struct JsonLines<R> {
    lines: RawLines<R>,
    fields: Fields,
}

impl<R: BufRead> JsonLines<R> {
    pub(super) fn new(reader: R, name: Arc<str>, fields: Fields) -> Self {
        Self {
            lines: RawLines::new(reader, name),
            fields,
        }
    }

    fn text(&self, bytes: Vec<u8>) -> anyhow::Result<Text> {
        let line = utf8(bytes)?;
        // Raw values: the fields that are not asked for only have to be JSON.
        let object: HashMap<String, &RawValue> = match serde_json::from_str(&line) {
            Ok(object) => object,
            Err(error) if error.is_data() => bail!("expected a JSON object, found {}", kind(&line)),
            Err(error) => {
                bail!(
                    "expected JSON, found an error at column {}: {}",
                    error.column(),
                    bare(&error)
                )
            }
        };
        let field = |name: &str| -> anyhow::Result<String> {
            let value = object
                .get(name)
                .ok_or_else(|| missing(name, &object))?
                .get();
            serde_json::from_str(value).map_err(|error| match value.starts_with('"') {
                true => anyhow!("field `{name}`: {}", bare(&error)),
                false => anyhow!("field `{name}`: expected a string, found {}", kind(value)),
            })
        };
        let list = |name: &str| -> anyhow::Result<String> {
            let value = object
                .get(name)
                .ok_or_else(|| missing(name, &object))?
                .get();
            match value.starts_with('[') {
                true => Ok(value.to_string()),
                false => bail!(
                    "field `{name}`: expected an array of strings, found {}",
                    kind(value)
                ),
            }
        };
        let pair = self.fields.pair.as_deref();
        Ok(Text {
            text: field(&self.fields.text)?,
            pair: match self.fields.listed {
                true => pair.map(list),
                false => pair.map(field),
            }
            .transpose()?,
        })
    }
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = anyhow::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.lines.next()? {
                Ok((_, bytes)) if bytes.iter().all(u8::is_ascii_whitespace) => {}
                Ok((place, bytes)) => {
                    return Some(Ok(Line {
                        place,
                        text: self.text(bytes),
                    }));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// What a JSON value is, by its first character.
fn kind(value: &str) -> &'static str {
    match value.trim_start().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The parser's words without its own line and column: the line is named already.
fn bare(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) => text[..end].to_string(),
        None => text,
    }
}

fn missing(name: &str, object: &HashMap<String, &RawValue>) -> anyhow::Error {
    /// Enough names to see what the line has, without flooding the terminal.
    const SHOWN: usize = 8;
    let mut names: Vec<_> = object.keys().map(|name| format!("`{name}`")).collect();
    names.sort();
    let found = match names.len() {
        0 => "none".to_string(),
        count if count > SHOWN => format!("{}, …", names[..SHOWN].join(", ")),
        _ => names.join(", "),
    };
    anyhow!("no field `{name}`, found {found}")
}

#[cfg(test)]
mod tests {
    use super::super::Pairs;
    use super::*;
    use std::io::Cursor;

    fn read(text: &str, fields: &str) -> Vec<Result<Text, String>> {
        read_as(text, fields, Pairs::Taken)
    }

    fn read_as(text: &str, fields: &str, pairs: Pairs) -> Vec<Result<Text, String>> {
        let fields = Fields::parse(fields, pairs).unwrap();
        JsonLines::new(Cursor::new(text.to_string()), "`a`".into(), fields)
            .map(|line| line.unwrap().text.map_err(|error| error.to_string()))
            .collect()
    }

    fn error(text: &str) -> String {
        read(text, "text").remove(0).unwrap_err()
    }

    #[test]
    fn the_field_is_taken_and_blank_lines_are_skipped() {
        let texts = read(
            "{\"text\":\"a\\u00e9\\n\"}\n\n  \r\n{\"id\":1e999,\"text\":\"b\"}",
            "text",
        );
        assert_eq!(texts[0].as_ref().unwrap().text, "aé\n");
        assert_eq!(texts[1].as_ref().unwrap().text, "b");
        assert_eq!(texts.len(), 2);
    }

    #[test]
    fn two_fields_make_a_pair() {
        let texts = read("{\"b\":\"second\",\"a\":\"first\"}", "a,b");
        let expected = Text {
            text: "first".into(),
            pair: Some("second".into()),
        };
        assert_eq!(texts[0].as_ref().unwrap(), &expected);
    }

    #[test]
    fn a_list_is_kept_as_json() {
        let listed =
            |text: &str| read_as(text, "text,choices", Pairs::Listed("text,choices")).remove(0);
        let text = listed("{\"text\":\"a\",\"choices\": [\"b\", \"c\"]}").unwrap();
        assert_eq!(text.pair.as_deref(), Some("[\"b\", \"c\"]"));
        let error = listed("{\"text\":\"a\",\"choices\":\"b\"}").unwrap_err();
        assert_eq!(
            error,
            "field `choices`: expected an array of strings, found a string"
        );
    }

    #[test]
    fn every_bad_line_says_what_was_expected() {
        assert_eq!(error("[1]"), "expected a JSON object, found an array");
        assert_eq!(error("\"x\""), "expected a JSON object, found a string");
        assert_eq!(
            error("{\"text\":null}"),
            "field `text`: expected a string, found null"
        );
        assert_eq!(
            error("{\"text\":3}"),
            "field `text`: expected a string, found a number"
        );
        assert_eq!(
            error("{\"b\":1,\"a\":2}"),
            "no field `text`, found `a`, `b`"
        );
        assert_eq!(error("{}"), "no field `text`, found none");
        assert!(
            error("{\"text\":").starts_with("expected JSON"),
            "{}",
            error("{\"text\":")
        );
        assert!(
            error("nonsense").starts_with("expected JSON"),
            "{}",
            error("nonsense")
        );
        let surrogate = error("{\"text\":\"\\ud800\"}");
        assert!(surrogate.starts_with("field `text`: "), "{surrogate}");
    }

    #[test]
    fn deep_nesting_in_another_field_is_survived() {
        let deep = format!(
            "{{\"x\":{}{},\"text\":\"a\"}}",
            "[".repeat(50_000),
            "]".repeat(50_000)
        );
        // Either the text or an error will do: what counts is that nothing overflows.
        assert_eq!(read(&deep, "text").len(), 1);
    }
}
