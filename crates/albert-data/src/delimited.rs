//! Comma- and tab-separated values with a header line.
//!
//! In csv a field may be quoted and may then span lines. In tsv a quote is a character like any
//! other: the format has no quoting, and a stray quote would swallow the lines after it.

use std::io::{Chain, Read};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use super::lines::utf8;
use super::{Fields, Line, Place, Text};

/// A line of its own behind the input, unless the input ends within quotes.
const END_MARK: &[u8] = b"\n\0end of input\0\n";

/// Records of a delimited file.
pub(super) struct Delimited<R> {
    reader: Reader<Chain<R, &'static [u8]>>,
    name: Arc<str>,
    fields: Fields,
    /// Which columns the fields are, once the header is read.
    columns: Option<Columns>,
    failed: bool,
}

impl<R: Read> Delimited<R> {
    pub(super) fn new(reader: R, name: Arc<str>, fields: Fields, delimiter: u8) -> Self {
        // Records end at LF and the CR before it is stripped below: with its own CRLF handling the
        // csv crate counts lines too low. The mark behind the last line shows whether a quote is
        // open there.
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(delimiter == b',')
            .terminator(Terminator::Any(b'\n'))
            .flexible(true)
            .from_reader(reader.chain(END_MARK));
        Self {
            reader,
            name,
            fields,
            columns: None,
            failed: false,
        }
    }

    /// Finds the fields in the header; `None` if there is no header.
    fn find_columns(&mut self) -> anyhow::Result<Option<Columns>> {
        let header = self
            .reader
            .byte_headers()
            .with_context(|| format!("cannot read {}", self.name))?;
        let mut names: Vec<&[u8]> = header.iter().collect();
        if let Some(last) = names.last_mut() {
            *last = last.strip_suffix(b"\r").unwrap_or(last);
        }
        if names.iter().all(|name| name.is_empty()) || is_end(&names) {
            return Ok(None);
        }
        let find = |field: &str| {
            let found = || {
                let names = names
                    .iter()
                    .map(|name| format!("`{}`", String::from_utf8_lossy(name)));
                names.collect::<Vec<_>>().join(", ")
            };
            names
                .iter()
                .position(|name| *name == field.as_bytes())
                .ok_or_else(|| {
                    anyhow!(
                        "{}, line 1: no field `{field}`, found {}",
                        self.name,
                        found()
                    )
                })
        };
        Ok(Some(Columns {
            text: find(&self.fields.text)?,
            pair: self.fields.pair.as_deref().map(find).transpose()?,
            count: names.len(),
        }))
    }

    fn read(&mut self) -> anyhow::Result<Option<Line>> {
        let columns = match self.columns {
            Some(columns) => columns,
            None => match self.find_columns()? {
                Some(columns) => *self.columns.insert(columns),
                None => return Ok(None),
            },
        };
        let mut record = ByteRecord::new();
        loop {
            let more = self.reader.read_byte_record(&mut record);
            if !more.with_context(|| format!("cannot read {}", self.name))? {
                return Ok(None);
            }
            if is_end(&record.iter().collect::<Vec<_>>()) {
                return Ok(None);
            }
            // A blank line; without a CR the csv crate passes over it by itself.
            if record.len() != 1 || record.get(0) != Some(b"\r") {
                break;
            }
        }
        if record.iter().any(|field| field.ends_with(END_MARK)) {
            let start = record.position().map_or(0, csv::Position::line);
            bail!(
                "{}, line {start}: expected a closing quote, found the end of the input",
                self.name
            );
        }
        let inner = record
            .iter()
            .flatten()
            .filter(|&&byte| byte == b'\n')
            .count() as u64;
        let number = self.reader.position().line().saturating_sub(1 + inner);
        Ok(Some(Line {
            place: Place::Line(Arc::clone(&self.name), number),
            text: columns.text(&record),
        }))
    }
}

/// Whether a record is the mark behind the last line.
fn is_end(record: &[&[u8]]) -> bool {
    matches!(record, [only] if *only == END_MARK.trim_ascii())
}

/// Where the fields stand in a record.
#[derive(Debug, Clone, Copy)]
struct Columns {
    text: usize,
    pair: Option<usize>,
    count: usize,
}

impl Columns {
    fn text(&self, record: &ByteRecord) -> anyhow::Result<Text> {
        if record.len() != self.count {
            return Err(anyhow!(
                "expected {} fields, found {}",
                self.count,
                record.len()
            ));
        }
        let field = |column: usize| {
            let bytes = record.get(column).unwrap_or_default();
            let last = column + 1 == self.count;
            let bytes = if last {
                bytes.strip_suffix(b"\r").unwrap_or(bytes)
            } else {
                bytes
            };
            utf8(bytes.to_vec())
        };
        Ok(Text {
            text: field(self.text)?,
            pair: self.pair.map(field).transpose()?,
        })
    }
}

impl<R: Read> Iterator for Delimited<R> {
    type Item = anyhow::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let line = self.read();
        self.failed = line.is_err();
        line.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], fields: &str, delimiter: u8) -> Vec<Result<(u64, Text), String>> {
        let fields = Fields::parse(fields, super::super::Pairs::Taken).unwrap();
        Delimited::new(text, "`a`".into(), fields, delimiter)
            .map(|line| {
                let line = line.map_err(|error| format!("{error:#}"))?;
                let Place::Line(_, number) = line.place else {
                    panic!("no line number")
                };
                Ok((
                    number,
                    line.text
                        .map_err(|error| format!("line {number}: {error}"))?,
                ))
            })
            .collect()
    }

    fn one(text: &str) -> Text {
        Text {
            text: text.to_string(),
            pair: None,
        }
    }

    #[test]
    fn a_quoted_field_may_span_lines_and_the_line_is_where_it_begins() {
        let rows = read(
            b"\xef\xbb\xbfid,text\r\n1,\"a, \"\"b\"\"\r\nc\"\r\n\r\n2,d",
            "text",
            b',',
        );
        assert_eq!(rows, [Ok((2, one("a, \"b\"\r\nc"))), Ok((5, one("d")))]);
        let rows = read(b"id,text\n1,\"a\nc\"\n\n\n2,\"d\"\n", "text", b',');
        assert_eq!(rows, [Ok((2, one("a\nc"))), Ok((6, one("d")))]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_an_error_and_not_a_long_text() {
        for end in ["", "\n"] {
            let rows = read(
                format!("id,text\n1,a\n2,\"open\n3,x{end}").as_bytes(),
                "text",
                b',',
            );
            let error = "`a`, line 3: expected a closing quote, found the end of the input";
            assert_eq!(rows, [Ok((2, one("a"))), Err(error.to_string())]);
        }
    }

    #[test]
    fn a_quote_in_tsv_is_a_character() {
        let rows = read(b"a\tb\n\"x\ty\n", "a,b", b'\t');
        let expected = Text {
            text: "\"x".into(),
            pair: Some("y".into()),
        };
        assert_eq!(rows, [Ok((2, expected))]);
    }

    #[test]
    fn a_missing_field_ends_the_reading() {
        let rows = read(b"id,body\n1,x\n", "text", b',');
        assert_eq!(
            rows,
            [Err(
                "`a`, line 1: no field `text`, found `id`, `body`".to_string()
            )]
        );
    }

    #[test]
    fn a_bad_record_is_named_and_the_next_is_read() {
        let rows = read(b"id,text\n1\n2,b\xff\n3,c\n", "text", b',');
        assert_eq!(
            rows[0],
            Err("line 2: expected 2 fields, found 1".to_string())
        );
        assert_eq!(
            rows[1],
            Err("line 3: expected UTF-8, found byte 0xff at byte 2".to_string())
        );
        assert_eq!(rows[2], Ok((4, one("c"))));
    }

    #[test]
    fn nothing_or_a_header_alone_is_no_rows() {
        assert!(read(b"", "text", b',').is_empty());
        assert!(read(b"id,text\n", "text", b',').is_empty());
    }
}
