//! Rows with their text: `json`, `jsonl` and `csv`.

use std::fmt;
use std::io::BufRead;
use std::sync::Arc;

use crate::error::{Context, Error, ErrorKind, bail, error};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Number;

use super::VectorRow;
use crate::delimited::{Delimited, Delimiter};
use crate::lines::{RawLines, utf8};
use crate::record::{Kind, Presence, Record, Selection, Wanted};
use crate::{Cell, Field};

/// The part of a jsonl row that matters here.
#[derive(Deserialize)]
struct JsonRow {
    text: Option<String>,
    embedding: Option<Numbers>,
    error: Option<String>,
}

impl JsonRow {
    fn vector(self) -> crate::Result<VectorRow> {
        match (self.embedding, self.error) {
            (Some(numbers), _) => Ok(Some((numbers.floats()?, self.text))),
            (None, Some(_)) => Ok(None),
            (None, None) => Err(Error::missing_field("no field `embedding`")),
        }
    }
}

/// A list of numbers, and whether one of them is written as a float.
struct Numbers {
    values: Vec<f32>,
    has_float: bool,
}

impl Numbers {
    /// Returns the values, unless they are the bytes that `embed --precision` writes, whose cosines
    /// would mean nothing.
    fn floats(self) -> crate::Result<Vec<f32>> {
        if self.has_float || self.values.is_empty() {
            Ok(self.values)
        } else {
            let error = error!("field `embedding`: expected floats, found only integers");
            Err(error.with_kind(ErrorKind::IntegerVectors))
        }
    }
}

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Numbers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of numbers")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Numbers, S::Error> {
                let (mut values, mut has_float) = (Vec::new(), false);
                while let Some(number) = list.next_element::<Number>()? {
                    has_float |= number.is_f64();
                    values.push(number.as_f64().unwrap_or(f64::NAN) as f32);
                }
                Ok(Numbers { values, has_float })
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// Returns the rows of `json`, an array that is read one row at a time.
pub(super) fn json<R: BufRead + 'static>(
    mut reader: R,
    name: Arc<str>,
) -> impl Iterator<Item = crate::Result<VectorRow>> {
    let mut rows = 0;
    let mut read = move || -> crate::Result<Option<VectorRow>> {
        let (open, separator) = if rows == 0 {
            (b'[', "[")
        } else {
            (b',', ", or ]")
        };
        match significant(&mut reader)? {
            Some(b']') if rows > 0 => return Ok(None),
            Some(byte) if byte == open => reader.consume(1),
            _ => bail!("expected {separator}"),
        }
        if rows == 0 && significant(&mut reader)? == Some(b']') {
            return Ok(None);
        }
        // An object ends with its brace: nothing after it is taken.
        let mut row = serde_json::Deserializer::from_reader(&mut reader);
        let row = JsonRow::deserialize(&mut row)
            .context("expected a row of `embed`")?
            .vector()?;
        rows += 1;
        Ok(Some(row))
    };
    let mut row = 0;
    std::iter::from_fn(move || {
        row += 1;
        read()
            .with_context(|| format!("{name}, row {row}"))
            .transpose()
    })
}

/// Returns the next byte that is not white space, without consuming it.
fn significant(reader: &mut impl BufRead) -> crate::Result<Option<u8>> {
    loop {
        let bytes = reader.fill_buf().context("cannot read")?;
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        match bytes.iter().position(|byte| !byte.is_ascii_whitespace()) {
            Some(0) => return Ok(Some(first)),
            Some(spaces) => reader.consume(spaces),
            None => {
                let spaces = bytes.len();
                reader.consume(spaces);
            }
        }
    }
}

/// Returns the rows of `jsonl`.
pub(super) fn jsonl<R: BufRead + 'static>(
    reader: R,
    name: Arc<str>,
) -> impl Iterator<Item = crate::Result<VectorRow>> {
    let row = |bytes: Vec<u8>| -> crate::Result<VectorRow> {
        let row: JsonRow =
            serde_json::from_str(&utf8(bytes)?).context("expected a row of `embed`")?;
        row.vector()
    };
    RawLines::new(reader, name)
        .filter(|line| {
            !line
                .as_ref()
                .is_ok_and(|(_, bytes)| bytes.iter().all(u8::is_ascii_whitespace))
        })
        .map(move |line| {
            let (place, bytes) = line?;
            row(bytes).map_err(|error| place.locate(error))
        })
}

/// Returns the rows of `csv`.
///
/// # Errors
/// If there is no column `embedding`.
pub(super) fn csv<R: BufRead + 'static>(
    reader: R,
    name: Arc<str>,
) -> crate::Result<impl Iterator<Item = crate::Result<VectorRow>>> {
    let optional = |name: &str| Wanted {
        presence: Presence::Optional,
        ..Wanted::new(Field::from_name(name), Kind::Text)
    };
    let mut selection = Selection::new([Field::from_name("embedding")], Kind::Text);
    selection
        .fields
        .extend([optional("text"), optional("error")]);
    let mut records = Delimited::new(reader, name, selection, Delimiter::Comma);
    records.expect_header()?;
    let row = |cells: [Cell; 3]| -> crate::Result<VectorRow> {
        let text = |cell: Cell| cell.into_text().ok();
        let [embedding, text, error] = cells.map(text);
        let embedding = embedding.unwrap_or_default();
        if embedding.is_empty() && error.is_some_and(|error| !error.is_empty()) {
            return Ok(None);
        }
        let numbers: Numbers =
            serde_json::from_str(&embedding).context("field `embedding`: expected numbers")?;
        Ok(Some((numbers.floats()?, text)))
    };
    Ok(records.map(move |record| {
        let Record { place, values } = record?;
        let cells = values.and_then(|values| {
            <[Cell; 3]>::try_from(values.cells).map_err(|_| error!("expected three fields"))
        });
        cells.and_then(row).map_err(|error| place.locate(error))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_jsonl_have_their_text_and_bad_rows_none() {
        let text = "{\"text\":\"a\",\"embedding\":[0.5]}\n\n{\"index\":1,\"error\":\"bad\"}\n{\"text\":\"b\"}\n";
        let rows: Vec<_> = jsonl(text.as_bytes(), "`a`".into()).collect();
        assert_eq!(
            rows[0].as_ref().unwrap(),
            &Some((vec![0.5], Some("a".to_string())))
        );
        assert_eq!(rows[1].as_ref().unwrap(), &None);
        assert_eq!(
            format!("{:#}", rows[2].as_ref().unwrap_err()),
            "`a`, line 4: no field `embedding`"
        );
    }

    #[test]
    fn rows_of_csv_have_their_numbers_in_one_cell() {
        let text = "index,text,embedding,error\n0,a,\"[0.5,1]\",\n1,,,bad\n2,c,x,\n";
        let rows: Vec<_> = csv(text.as_bytes(), "`a`".into()).unwrap().collect();
        assert_eq!(
            rows[0].as_ref().unwrap(),
            &Some((vec![0.5, 1.0], Some("a".to_string())))
        );
        assert_eq!(rows[1].as_ref().unwrap(), &None);
        assert!(
            format!("{:#}", rows[2].as_ref().unwrap_err())
                .starts_with("`a`, line 4: field `embedding`")
        );
        assert!(csv("a,b\n".as_bytes(), "`a`".into()).is_err());
    }

    #[test]
    fn bytes_are_no_vectors_to_compare() {
        let row = |numbers: &str| {
            let line = format!("{{\"text\":\"a\",\"embedding\":{numbers}}}\n");
            jsonl(std::io::Cursor::new(line), "`a`".into())
                .next()
                .unwrap()
        };
        for bytes in ["[80,243,193]", "[-121,127]", "[0,0]"] {
            let error = format!("{:#}", row(bytes).unwrap_err());
            assert!(error.contains("found only integers"), "{error}");
            let table = format!("embedding\n\"{bytes}\"\n");
            let mut table = csv(std::io::Cursor::new(table), "`a`".into()).unwrap();
            assert!(table.next().unwrap().is_err(), "{bytes}");
        }
        assert_eq!(
            row("[0.0,1]").unwrap(),
            Some((vec![0.0, 1.0], Some("a".to_string())))
        );
    }

    #[test]
    fn rows_of_json_are_read_one_at_a_time_however_they_are_spaced() {
        let read = |text: &str| -> Vec<Result<VectorRow, String>> {
            let bytes = std::io::Cursor::new(text.to_string());
            json(bytes, "`a`".into())
                .take(3)
                .map(|row| row.map_err(|error| format!("{error:#}")))
                .collect()
        };
        let good = Ok(Some((vec![0.5], Some("a".to_string()))));
        for text in [
            "[\n{\"text\":\"a\",\"embedding\":[0.5]},\n{\"index\":1,\"error\":\"bad\"}\n]\n",
            " [ { \"text\" : \"a\", \"embedding\": [ 0.5 ] } , {\"error\":\"bad\"}]",
        ] {
            assert_eq!(read(text), [good.clone(), Ok(None)], "{text}");
        }
        assert!(read("[]").is_empty() && read(" [ ]\n").is_empty());
        for (text, row, words) in [
            ("", 0, "row 1: expected ["),
            ("{\"embedding\":[0.5]}", 0, "row 1: expected ["),
            (
                "[{\"text\":\"a\",\"embedding\":[0.5]}",
                1,
                "row 2: expected , or ]",
            ),
            (
                "[{\"text\":\"a\",\"embedding\":[0.5]},]",
                1,
                "row 2: expected a row of `embed`",
            ),
            ("[{\"text\":\"a\"}]", 0, "row 1: no field `embedding`"),
        ] {
            let error = read(text)[row].clone().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
