//! Comma- and tab-separated values with a header line.
//!
//! In CSV a field may be quoted and may then span lines. In TSV a quote is an ordinary character:
//! the format has no quoting, and a stray quote would swallow the lines after it.

mod splitter;

use std::io::BufRead;
use std::sync::Arc;

use self::splitter::{Dialect, Ending, Kept, RawRecord, Splitter};
use crate::error::{Context, ErrorKind, error};
use crate::lines::{MAX_LINE_BYTES, utf8};
use crate::names::{only_column, some_of};
use crate::record::{Presence, Record, Selection, Values};
use crate::{Cell, Error, Field, Place};

/// The maximum length of a header. Every name counts a few bytes more than its length.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// The separators to suggest for a header that lacks a field.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// The separator of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Delimiter {
    /// A comma, unless the file starts with a line such as `sep=;`.
    Comma,
    /// A tab, without quoting.
    Tab,
    /// This one.
    Given(u8),
}

/// Records of a delimited file.
pub(crate) struct Delimited<R> {
    splitter: Splitter<R>,
    name: Arc<str>,
    selection: Selection,
    delimiter: Delimiter,
    dialect: Dialect,
    header: Option<Header>,
    is_over: bool,
}

/// The columns of the header.
#[derive(Debug, Default)]
struct Header {
    /// For each column the position among those that are kept.
    slots: Vec<Option<usize>>,
    /// For each field its position among those, if the header has it.
    fields: Vec<Option<usize>>,
    /// The other columns that are kept.
    rest: Vec<(Arc<str>, usize)>,
}

impl<R: BufRead> Delimited<R> {
    pub(crate) fn new(
        reader: R,
        name: Arc<str>,
        selection: Selection,
        delimiter: Delimiter,
    ) -> Self {
        let dialect = Dialect {
            delimiter: match delimiter {
                Delimiter::Comma => b',',
                Delimiter::Tab => b'\t',
                Delimiter::Given(byte) => byte,
            },
            quoting: delimiter != Delimiter::Tab,
        };
        Self {
            splitter: Splitter::new(reader),
            name,
            selection,
            delimiter,
            dialect,
            header: None,
            is_over: false,
        }
    }

    /// Reads a record with all of its fields, such as the header.
    fn read_names(&mut self) -> crate::Result<Option<RawRecord>> {
        let record = self
            .splitter
            .read(self.dialect, Kept::All, MAX_HEADER_BYTES);
        record.with_context(|| format!("cannot read {}", self.name))
    }

    /// Reads the header; `None` without one.
    fn read_header(&mut self) -> crate::Result<Option<Header>> {
        let Some(mut header) = self.read_names()? else {
            return Ok(None);
        };
        if let Some(separator) = self.declared(&header) {
            if self.delimiter == Delimiter::Comma {
                self.dialect.delimiter = separator;
            }
            match self.read_names()? {
                Some(after) => header = after,
                None => return Ok(None),
            }
        }
        let place = Place::Line(Arc::clone(&self.name), header.line);
        self.find_columns(header)
            .map(Some)
            .map_err(|error| place.locate(error))
    }

    /// Returns the separator in a first line such as `sep=;`, as written by spreadsheets.
    fn declared(&self, header: &RawRecord) -> Option<u8> {
        if self.delimiter == Delimiter::Tab {
            return None;
        }
        let line = header.fields.join(&self.dialect.delimiter);
        match line.strip_prefix(b"sep=") {
            Some(&[separator]) if separator.is_ascii() => Some(separator),
            _ => None,
        }
    }

    fn find_columns(&self, header: RawRecord) -> crate::Result<Header> {
        match header.ending {
            Ending::Complete => {}
            Ending::OpenQuote => return Err(open_quote()),
            Ending::TooLong => {
                return Err(error!(
                    "expected at most {MAX_HEADER_BYTES} bytes in the header, found more"
                ));
            }
        }
        let names: Vec<_> = header
            .fields
            .iter()
            .map(|name| String::from_utf8_lossy(name))
            .collect();
        let mut found = Header {
            slots: vec![None; names.len()],
            ..Header::default()
        };
        let mut kept = 0;
        let mut keep = |column: usize| {
            *found.slots[column].get_or_insert_with(|| {
                kept += 1;
                kept - 1
            })
        };
        for wanted in &self.selection.fields {
            let column = only_column(&names, wanted.field.name())?;
            if column.is_none() && wanted.presence != Presence::Optional {
                return Err(self.missing(&wanted.field, &names));
            }
            found.fields.push(column.map(&mut keep));
        }
        if self.selection.rest {
            for (column, name) in names.iter().enumerate() {
                if !self.selection.has(name) {
                    found.rest.push((Arc::from(name.as_ref()), keep(column)));
                }
            }
        }
        Ok(found)
    }

    fn missing<S: AsRef<str>>(&self, field: &Field, names: &[S]) -> crate::Error {
        let error = Error::missing_field(format!("no field {field}, found {}", some_of(names)));
        let [only] = names else {
            return error;
        };
        let has = |separator: &u8| {
            let mut names = only.as_ref().split(char::from(*separator));
            names.any(|name| name.trim_matches('"') == field.name())
        };
        match SEPARATORS.iter().find(|separator| has(separator)) {
            Some(&separator) => error.with_kind(ErrorKind::OtherSeparator(char::from(separator))),
            None => error,
        }
    }

    /// Reads the header before the first record is requested.
    ///
    /// # Errors
    /// If there is none, or it lacks a field.
    pub(crate) fn expect_header(&mut self) -> crate::Result<()> {
        self.header = self.read_header()?;
        match self.header {
            Some(_) => Ok(()),
            None => Err(error!(
                "{}: expected a header, found an empty file",
                self.name
            )),
        }
    }

    fn read(&mut self) -> crate::Result<Option<Record>> {
        if self.header.is_none() {
            self.header = self.read_header()?;
        }
        let Some(header) = &self.header else {
            return Ok(None);
        };
        let kept = Kept::Slots(&header.slots);
        let raw = self.splitter.read(self.dialect, kept, MAX_LINE_BYTES);
        let Some(raw) = raw.with_context(|| format!("cannot read {}", self.name))? else {
            return Ok(None);
        };
        let place = Place::Line(Arc::clone(&self.name), raw.line);
        if raw.ending == Ending::TooLong {
            return Err(place.locate(
                error!("expected at most {MAX_LINE_BYTES} bytes in a record, found more")
                    .with_kind(ErrorKind::Advised(
                        "a quote that is never closed makes the lines after it part of its field",
                    )),
            ));
        }
        Ok(Some(Record {
            place,
            values: header.values(raw, &self.selection),
        }))
    }
}

fn open_quote() -> crate::Error {
    error!("expected a closing quote, found the end of the input")
}

impl Header {
    fn values(&self, raw: RawRecord, selection: &Selection) -> crate::Result<Values> {
        if raw.ending == Ending::OpenQuote {
            return Err(open_quote());
        }
        let (expected, found) = (self.slots.len(), raw.count);
        if found != expected {
            return Err(error!("expected {expected} fields, found {found}"));
        }
        let mut texts = raw.fields;
        let rest = |(name, slot): &(Arc<str>, usize)| {
            let text = utf8(std::mem::take(&mut texts[*slot]));
            let text = text.with_context(|| format!("field `{name}`"))?;
            Ok((Arc::clone(name), Cell::Text(text)))
        };
        let rest = self.rest.iter().map(rest).collect::<crate::Result<_>>()?;
        let mut cells = Vec::with_capacity(selection.fields.len());
        for (index, (wanted, slot)) in selection.fields.iter().zip(&self.fields).enumerate() {
            cells.push(match slot {
                Some(slot) => {
                    let is_needed_again = self.fields[index + 1..].contains(&Some(*slot));
                    let text = if is_needed_again {
                        texts[*slot].clone()
                    } else {
                        std::mem::take(&mut texts[*slot])
                    };
                    wanted.check(utf8(text).map(Cell::Text))?
                }
                None => Cell::Null,
            });
        }
        Ok(Values { cells, rest })
    }
}

impl<R: BufRead> Iterator for Delimited<R> {
    type Item = crate::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let record = self.read();
        self.is_over = !matches!(record, Ok(Some(_)));
        record.transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Kind;

    type Read = Vec<Result<(u64, Vec<String>), String>>;

    /// The line and the texts of every record.
    fn read(text: &[u8], fields: &str, delimiter: Delimiter) -> Read {
        let selection = Selection::new(Field::parse_list(fields).unwrap(), Kind::Text);
        let mut found = Vec::new();
        for record in Delimited::new(text, "`a`".into(), selection, delimiter) {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    found.push(Err(format!("{error:#}")));
                    continue;
                }
            };
            let Place::Line(_, line) = record.place else {
                panic!("no line number")
            };
            let text = |cell: Cell| cell.into_text().unwrap();
            let texts = record
                .values
                .map(|values| values.cells.into_iter().map(text).collect());
            found.push(match texts {
                Ok(texts) => Ok((line, texts)),
                Err(error) => Err(format!("line {line}: {error:#}")),
            });
        }
        found
    }

    fn csv(text: &str) -> Read {
        read(text.as_bytes(), "text", Delimiter::Comma)
    }

    fn row(line: u64, text: &str) -> Result<(u64, Vec<String>), String> {
        Ok((line, vec![text.to_string()]))
    }

    #[test]
    fn a_quoted_field_may_span_lines_and_the_line_is_that_of_its_record() {
        let rows = csv("id,text\r\n1,\"a, \"\"b\"\"\r\nc\"\r\n\r\n2,d");
        assert_eq!(rows, [row(2, "a, \"b\"\r\nc"), row(5, "d")]);
        let rows = csv("id,text\n1,\"a\nc\"\n\n\n2,\"d\"\n");
        assert_eq!(rows, [row(2, "a\nc"), row(6, "d")]);
    }

    #[test]
    fn lines_may_end_in_a_return_alone() {
        assert_eq!(
            csv("text,id\rfirst,1\rsecond,2\r"),
            [row(2, "first"), row(3, "second")]
        );
        let rows = read(b"text\tid\rfirst\t1\r", "text", Delimiter::Tab);
        assert_eq!(rows, [row(2, "first")]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_a_bad_record() {
        for end in ["", "\n"] {
            let rows = csv(&format!("id,text\n1,a\n2,\"open\n3,x{end}"));
            let error = "line 3: expected a closing quote, found the end of the input";
            assert_eq!(rows, [row(2, "a"), Err(error.to_string())]);
        }
        let error = "`a`, line 1: expected a closing quote, found the end of the input";
        assert_eq!(csv("id,\"text\n1,a\n"), [Err(error.to_string())]);
    }

    #[test]
    fn blank_lines_before_the_header_are_passed_over() {
        assert_eq!(csv("\r\ntext\r\nhello\r\n"), [row(3, "hello")]);
    }

    #[test]
    fn an_empty_text_in_quotes_is_a_record() {
        assert_eq!(csv("text\r\n\"\"\r\na\r\n"), [row(2, ""), row(3, "a")]);
    }

    #[test]
    fn no_text_ends_the_reading() {
        let rows = csv("text\nhello\n\0end of input\0\nrest\n");
        assert_eq!(
            rows,
            [row(2, "hello"), row(3, "\0end of input\0"), row(4, "rest")]
        );
    }

    #[test]
    fn a_quote_in_tsv_is_a_character() {
        let rows = read(b"a\tb\n\"x\ty\n", "a,b", Delimiter::Tab);
        assert_eq!(rows, [Ok((2, vec!["\"x".to_string(), "y".to_string()]))]);
    }

    #[test]
    fn a_separator_is_given_or_declared_by_the_file() {
        let semicolons = "id;text\n1;\"a;b\"\n";
        let rows = read(semicolons.as_bytes(), "text", Delimiter::Given(b';'));
        assert_eq!(rows, [row(2, "a;b")]);
        for declaration in ["sep=;", "\"sep=;\""] {
            let rows = csv(&format!("{declaration}\r\n{semicolons}"));
            assert_eq!(rows, [row(3, "a;b")], "{declaration}");
        }
        assert_eq!(csv("sep=,\nid,text\n1,a\n"), [row(3, "a")]);
        let rows = read(b"sep=,\nid;text\n1;a\n", "text", Delimiter::Given(b';'));
        assert_eq!(rows, [row(3, "a")]);
    }

    #[test]
    fn a_missing_field_ends_the_reading_and_another_separator_is_named() {
        let error = "`a`, line 1: no field `text`, found `id`, `body`";
        assert_eq!(csv("id,body\n1,x\n"), [Err(error.to_string())]);
        let error = "`a`, line 1: no field `text`, found ``, ``, ``";
        assert_eq!(csv(",,\ntext,b,c\n"), [Err(error.to_string())]);
        for (header, expected) in [("id;text", ';'), ("id\ttext", '\t'), ("\"id|text\"", '|')] {
            let selection = Selection::new([Field::from_name("text")], Kind::Text);
            let mut records =
                Delimited::new(header.as_bytes(), "`a`".into(), selection, Delimiter::Comma);
            let error = records.next().unwrap().unwrap_err();
            assert_eq!(error.other_separator(), Some(expected));
            assert!(error.is_missing_field());
        }
    }

    #[test]
    fn a_field_that_two_columns_have_ends_the_reading() {
        let error = "`a`, line 1: expected one column `text`, found two: columns 2 and 4";
        let rows = csv("id,text,b,text\n1,first,x,second\n");
        assert_eq!(rows, [Err(error.to_string())]);
        let rows = read(b"b\ttext\tb\n1\ta\t2\n", "text", Delimiter::Tab);
        assert_eq!(rows, [row(2, "a")]);
    }

    #[test]
    fn a_header_without_an_end_is_refused_with_few_of_its_names() {
        let wide = format!("{}\nx\n", "long name,".repeat(MAX_HEADER_BYTES / 10 + 1));
        let error = csv(&wide).remove(0).unwrap_err();
        assert!(error.contains("1048576 bytes in the header"), "{error}");
        let many = format!("{}\nx\n", "name,".repeat(1000));
        let error = csv(&many).remove(0).unwrap_err();
        assert!(
            error.len() < 200 && error.contains("1001 in all"),
            "{error}"
        );
    }

    #[test]
    fn a_bad_record_is_named_and_the_next_is_read() {
        let rows = read(b"id,text\n1\n2,b\xff\n3,c\n", "text", Delimiter::Comma);
        let error = "line 2: expected 2 fields, found 1";
        assert_eq!(rows[0], Err(error.to_string()));
        let error = "line 3: field `text`: expected UTF-8, found byte 0xff at byte 2";
        assert_eq!(rows[1], Err(error.to_string()));
        assert_eq!(rows[2], row(4, "c"));
    }

    #[test]
    fn nothing_or_a_header_alone_is_no_rows() {
        assert!(csv("").is_empty() && csv("id,text\n").is_empty() && csv("\n\r\n").is_empty());
    }

    #[test]
    fn the_other_columns_are_read_where_they_are_asked_for() {
        let mut selection = Selection::new(Field::parse_list("b,b,x").unwrap(), Kind::Any);
        selection.fields[2].presence = Presence::Optional;
        selection.rest = true;
        let text = "a,b,c\n1,2,3\n";
        let mut records =
            Delimited::new(text.as_bytes(), "`a`".into(), selection, Delimiter::Comma);
        let values = records.next().unwrap().unwrap().values.unwrap();
        let text = |text: &str| Cell::Text(text.into());
        assert_eq!(values.cells, [text("2"), text("2"), Cell::Null]);
        assert_eq!(
            values.rest,
            [("a".into(), text("1")), ("c".into(), text("3"))]
        );
    }

    /// The fields of a file's records after the header; `None` is a bad record.
    fn fields(text: &str, delimiter: Delimiter) -> Vec<Option<Vec<String>>> {
        let all = Selection {
            fields: Vec::new(),
            rest: true,
        };
        let text_of = |(_, cell): (Arc<str>, Cell)| cell.into_text().unwrap();
        Delimited::new(text.as_bytes(), "`a`".into(), all, delimiter)
            .filter_map(Result::ok)
            .map(|record| Some(record.values.ok()?.rest.into_iter().map(text_of).collect()))
            .collect()
    }

    #[test]
    fn ten_thousand_files_are_read_as_python_reads_them() {
        // [text, rows, whether a quote is open at the end] a line; made by
        // scripts/make_csv_fixtures.py.
        let cases = &include_bytes!("../tests/fixtures/csv.jsonl.gz")[..];
        let mut lines = String::new();
        let mut decoder = flate2::bufread::GzDecoder::new(cases);
        std::io::Read::read_to_string(&mut decoder, &mut lines).unwrap();
        let (mut files, mut records) = (0, 0);
        for line in lines.lines() {
            let (text, rows, is_open): (String, Vec<Vec<String>>, u8) =
                serde_json::from_str(line).unwrap();
            let delimiter = if files < 9_000 {
                Delimiter::Comma
            } else {
                Delimiter::Tab
            };
            files += 1;
            let found = fields(&text, delimiter);
            let Some((header, rows)) = rows.split_first() else {
                assert!(found.is_empty(), "{text:?}");
                continue;
            };
            let is_open = is_open == 1;
            if is_open && rows.is_empty() {
                assert!(found.is_empty(), "{text:?}");
                continue;
            }
            assert_eq!(found.len(), rows.len(), "{text:?}");
            for (index, (found, expected)) in found.iter().zip(rows).enumerate() {
                let is_cut = is_open && index + 1 == rows.len();
                let is_good = expected.len() == header.len() && !is_cut;
                let expected = is_good.then_some(expected);
                assert_eq!(found.as_ref(), expected, "{text:?}, record {index}");
                records += usize::from(is_good);
            }
        }
        assert!(
            files == 10_000 && records > 2_000,
            "{files} files, {records} records"
        );
    }
}
