//! JSON lines: one object per line.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::BufRead;
use std::sync::Arc;

use crate::error::Error;
use crate::json_text::{cell, kind, members};
use crate::lines::{RawLines, utf8};
use crate::names::some_of;
use crate::record::{Presence, Record, Selection, Values};
use crate::{Cell, Field};

/// Records of JSON lines. Blank lines are skipped, as the format specifies.
pub(crate) struct JsonLines<R> {
    lines: RawLines<R>,
    selection: Selection,
}

impl<R: BufRead> JsonLines<R> {
    pub(crate) fn new(reader: R, name: Arc<str>, selection: Selection) -> Self {
        Self {
            lines: RawLines::new(reader, name),
            selection,
        }
    }

    fn values(&self, bytes: Vec<u8>) -> crate::Result<Values> {
        let line = utf8(bytes)?;
        let wanted = &self.selection.fields;
        let mut found = vec![None; wanted.len()];
        // The columns that a field may be nested in.
        let mut columns = vec![None; wanted.len()];
        let (mut rest, mut places) = (Vec::new(), HashMap::new());
        members(&line, |name, value| {
            for (index, wanted) in wanted.iter().enumerate() {
                if name == wanted.field.name() {
                    found[index] = Some(value);
                } else if name == wanted.field.path()[0] {
                    columns[index] = Some(value);
                }
            }
            if self.selection.rest && !self.selection.has(&name) {
                let name: Arc<str> = name.into();
                match places.entry(Arc::clone(&name)) {
                    Entry::Vacant(place) => {
                        place.insert(rest.len());
                        rest.push((name, value));
                    }
                    // The last value of a name counts, as in Python.
                    Entry::Occupied(place) => rest[*place.get()].1 = value,
                }
            }
        })?;
        let value = |index: usize| -> crate::Result<Cell> {
            let wanted = &wanted[index];
            let nested = || nested(columns[index]?, &wanted.field.path()[1..]);
            match found[index].or_else(nested) {
                Some(value) => wanted.check(cell(value)),
                None if wanted.presence != Presence::Required => Ok(Cell::Null),
                None => Err(missing(&wanted.field, &line)),
            }
        };
        let named = |(name, value)| Ok((name, cell(value)?));
        Ok(Values {
            cells: (0..wanted.len()).map(value).collect::<crate::Result<_>>()?,
            rest: rest.into_iter().map(named).collect::<crate::Result<_>>()?,
        })
    }
}

/// Returns the value at the end of a path of objects, if any.
fn nested<'a>(value: &'a str, path: &[String]) -> Option<&'a str> {
    path.iter().try_fold(value, |value, step| {
        let mut found = None;
        if kind(value) == "an object" {
            members(value, |name, value| {
                if name == step.as_str() {
                    found = Some(value);
                }
            })
            .ok()?;
        }
        found
    })
}

fn missing(field: &Field, line: &str) -> crate::Error {
    let mut names = Vec::new();
    let listed = members(line, |name, _| names.push(name.into_owned()));
    names.sort();
    names.dedup();
    listed.err().unwrap_or_else(|| {
        Error::missing_field(format!("no field {field}, found {}", some_of(&names)))
    })
}

impl<R: BufRead> Iterator for JsonLines<R> {
    type Item = crate::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.lines.next()? {
                Ok((_, bytes)) if bytes.iter().all(u8::is_ascii_whitespace) => {}
                Ok((place, bytes)) => {
                    return Some(Ok(Record {
                        place,
                        values: self.values(bytes),
                    }));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    fn read(text: &str, fields: &str, kind: Kind) -> Vec<Result<Values, String>> {
        let selection = Selection::new(Field::parse_list(fields).unwrap(), kind);
        read_selected(text, selection)
    }

    fn read_selected(text: &str, selection: Selection) -> Vec<Result<Values, String>> {
        JsonLines::new(text.as_bytes(), "`a`".into(), selection)
            .map(|record| record.unwrap().values.map_err(|error| format!("{error:#}")))
            .collect()
    }

    fn texts(text: &str, fields: &str) -> Vec<Vec<Cell>> {
        let values = read(text, fields, Kind::Text).into_iter();
        values.map(|values| values.unwrap().cells).collect()
    }

    fn cells(texts: &[&str]) -> Vec<Cell> {
        texts
            .iter()
            .map(|text| Cell::Text(text.to_string()))
            .collect()
    }

    fn error(text: &str) -> String {
        read(text, "text", Kind::Text).remove(0).unwrap_err()
    }

    #[test]
    fn the_field_is_taken_and_blank_lines_are_skipped() {
        let text = "{\"text\":\"a\\u00e9\\n\"}\n\n  \r\n{\"id\":1e999,\"text\":\"b\"}";
        assert_eq!(texts(text, "text"), [cells(&["aé\n"]), cells(&["b"])]);
    }

    #[test]
    fn several_fields_come_in_the_order_they_are_asked_for() {
        let text = "{\"b\":\"second\",\"a\":\"first\"}";
        assert_eq!(texts(text, "a,b"), [cells(&["first", "second"])]);
    }

    #[test]
    fn python_s_numbers_are_passed_over() {
        let text = "{\"text\":\"a\",\"score\":NaN}\n{\"score\":[-Infinity],\"text\":\"b\"}";
        assert_eq!(texts(text, "text"), [cells(&["a"]), cells(&["b"])]);
    }

    #[test]
    fn a_nested_field_is_reached_and_a_column_of_its_whole_name_wins() {
        let text =
            "{\"data\":{\"text\":\"nested\"}}\n{\"data.text\":\"flat\",\"data\":{\"text\":\"x\"}}";
        assert_eq!(
            texts(text, "data.text"),
            [cells(&["nested"]), cells(&["flat"])]
        );
        let text = "{\"a.b\":{\"c,d\":{\"e\":\"deep\"}}}";
        assert_eq!(texts(text, "\"a.b\".\"c,d\".e"), [cells(&["deep"])]);
        let missing = read("{\"data\":\"x\"}", "data.text", Kind::Text).remove(0);
        assert_eq!(
            missing,
            Err("no field `data.text`, found `data`".to_string())
        );
    }

    #[test]
    fn values_are_typed_and_an_optional_field_may_be_missing() {
        let mut selection = Selection::new(Field::parse_list("label,tags").unwrap(), Kind::Any);
        selection.fields[1].presence = Presence::Optional;
        selection.rest = true;
        let text =
            "{\"label\":3,\"id\":\"x\",\"n\":{\"m\":0.5}}\n{\"label\":null,\"tags\":[\"a\"]}";
        let values = read_selected(text, selection);
        let nested = Cell::Object(vec![("m".into(), Cell::Float(0.5))]);
        let expected = Values {
            cells: vec![Cell::Integer(3), Cell::Null],
            rest: vec![("id".into(), Cell::Text("x".into())), ("n".into(), nested)],
        };
        assert_eq!(values[0], Ok(expected));
        let expected = vec![Cell::Null, Cell::List(cells(&["a"]))];
        assert_eq!(values[1].as_ref().unwrap().cells, expected);
    }

    #[test]
    fn the_last_value_of_a_name_that_occurs_twice_counts() {
        let mut selection = Selection::new(Field::parse_list("text").unwrap(), Kind::Text);
        selection.rest = true;
        let text = r#"{"text":"a","id":1,"n":2,"text":"b","id":3}"#;
        let values = read_selected(text, selection).remove(0).unwrap();
        assert_eq!(values.cells, cells(&["b"]));
        let rest = [
            ("id".into(), Cell::Integer(3)),
            ("n".into(), Cell::Integer(2)),
        ];
        assert_eq!(values.rest, rest);
    }

    #[test]
    fn every_bad_line_says_what_was_expected() {
        for (line, expected) in [
            ("[1]", "expected a JSON object, found an array"),
            ("\"x\"", "expected a JSON object, found a string"),
            (
                "{\"text\":null}",
                "field `text`: expected a string, found null",
            ),
            (
                "{\"text\":3}",
                "field `text`: expected a string, found a number",
            ),
            ("{\"b\":1,\"a\":2}", "no field `text`, found `a`, `b`"),
            ("{}", "no field `text`, found none"),
        ] {
            assert_eq!(error(line), expected);
        }
        for line in ["{\"text\":", "nonsense", "{\"text\":\"a\"} {}"] {
            assert!(error(line).starts_with("expected JSON"), "{}", error(line));
        }
        let surrogate = error("{\"text\":\"\\ud800\"}");
        assert!(surrogate.starts_with("field `text`: "), "{surrogate}");
    }

    #[test]
    fn a_list_of_texts_is_told_from_others() {
        let lists = |line: &str| read(line, "text", Kind::Texts).remove(0);
        let list = lists("{\"text\": [\"b\", \"c\"]}").unwrap().cells;
        assert_eq!(list, [Cell::List(cells(&["b", "c"]))]);
        let error = "field `text`: expected an array of strings, found a string";
        assert_eq!(lists("{\"text\":\"b\"}"), Err(error.to_string()));
    }
}
