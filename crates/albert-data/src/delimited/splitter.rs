//! Splits delimited text into records like Python's `csv` module.
//!
//! - CR, LF and CRLF each end a line. Outside quotes the end of a line ends the record.
//! - A quote opens a quoted field only as the field's first byte; within it a doubled quote is one
//!   quote, and delimiters and line ends are text. Whatever follows the closing quote up to the
//!   next delimiter is appended as it is. A quote anywhere else is text.
//! - A blank line is not a record. A line of `""` is a record with one empty field.
//!
//! The content of a field does not affect the splitting, and no byte is stripped from it
//! afterwards. Memory holds the requested fields of one record.

use std::io::{self, BufRead};

/// The separator, and whether quoting is supported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quoting: bool,
}

/// The bytes of memory that a field takes in addition to its text, which count if all fields are
/// kept.
const FIELD_BYTES: usize = 32;

/// The columns of a record that are kept; `slots[column]` is the position in [`RawRecord::fields`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept<'a> {
    All,
    Slots(&'a [Option<usize>]),
}

/// The end of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ending {
    /// The end of a line, or of the input.
    Complete,
    /// The end of the input within quotes.
    OpenQuote,
    /// More bytes than the limit.
    TooLong,
}

/// One record: the fields that are kept, and the number of all of them.
#[derive(Debug)]
pub(super) struct RawRecord {
    pub(super) fields: Vec<Vec<u8>>,
    pub(super) count: usize,
    /// The line it begins on, counted from 1.
    pub(super) line: u64,
    pub(super) ending: Ending,
}

/// Reads records of raw fields.
#[derive(Debug)]
pub(super) struct Splitter<R> {
    reader: R,
    lines: LineCount,
}

/// Counts lines with any line end.
#[derive(Debug, Default)]
struct LineCount {
    /// The number of lines that have ended.
    ended: u64,
    /// The last byte was a CR: an LF after it ends the same line.
    after_return: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    RecordStart,
    FieldStart,
    Unquoted,
    Quoted,
    QuoteInQuoted,
}

impl<R: BufRead> Splitter<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            lines: LineCount::default(),
        }
    }

    /// Reads the next record of at most `limit` bytes; `None` at the end of the input.
    ///
    /// # Errors
    /// If reading fails.
    pub(super) fn read(
        &mut self,
        dialect: Dialect,
        kept: Kept<'_>,
        limit: usize,
    ) -> io::Result<Option<RawRecord>> {
        let mut state = State::RecordStart;
        let mut record = RawRecord::new(kept);
        let mut size = 0;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                if state == State::RecordStart {
                    return Ok(None);
                }
                record.count += 1;
                if state == State::Quoted {
                    record.ending = Ending::OpenQuote;
                }
                return Ok(Some(record));
            }
            let mut at = 0;
            let mut is_over = false;
            while at < chunk.len() && !is_over {
                let byte = chunk[at];
                // The second half of CRLF: the line has ended already.
                if state == State::RecordStart {
                    if byte == b'\n' && self.lines.after_return {
                        self.lines.after_return = false;
                        at += 1;
                        continue;
                    }
                    record.line = self.lines.ended + 1;
                }
                let ends_line = matches!(byte, b'\r' | b'\n');
                let opens = byte == b'"' && dialect.quoting;
                match state {
                    State::Quoted => {
                        let rest = &chunk[at..];
                        let text = rest.iter().position(|&byte| byte == b'"');
                        let text = &rest[..text.unwrap_or(rest.len())];
                        if text.is_empty() {
                            state = State::QuoteInQuoted;
                            at += 1;
                            continue;
                        }
                        self.lines.pass(text);
                        record.append(text, kept);
                        at += text.len();
                        size += text.len();
                    }
                    State::QuoteInQuoted if byte == b'"' => {
                        record.append(b"\"", kept);
                        state = State::Quoted;
                        at += 1;
                    }
                    _ if ends_line => {
                        self.lines.pass(&[byte]);
                        at += 1;
                        // A blank line is skipped.
                        if state != State::RecordStart {
                            record.count += 1;
                            is_over = true;
                        }
                    }
                    _ if byte == dialect.delimiter => {
                        record.next_field(kept);
                        state = State::FieldStart;
                        at += 1;
                        size += match kept {
                            Kept::All => FIELD_BYTES,
                            Kept::Slots(_) => 1,
                        };
                    }
                    State::RecordStart | State::FieldStart if opens => {
                        state = State::Quoted;
                        at += 1;
                    }
                    _ => {
                        let rest = &chunk[at..];
                        let is_text = |&byte: &u8| {
                            byte != dialect.delimiter && byte != b'\r' && byte != b'\n'
                        };
                        let length = rest.iter().position(|byte| !is_text(byte));
                        let text = &rest[..length.unwrap_or(rest.len())];
                        record.append(text, kept);
                        state = State::Unquoted;
                        at += text.len();
                        size += text.len();
                    }
                }
                if size > limit {
                    record.ending = Ending::TooLong;
                    is_over = true;
                }
            }
            self.reader.consume(at);
            if is_over {
                return Ok(Some(record));
            }
        }
    }
}

impl LineCount {
    /// Counts the ends of lines in a text that is passed.
    fn pass(&mut self, text: &[u8]) {
        for &byte in text {
            let is_second_half = byte == b'\n' && self.after_return;
            self.after_return = byte == b'\r';
            if matches!(byte, b'\r' | b'\n') && !is_second_half {
                self.ended += 1;
            }
        }
    }
}

impl RawRecord {
    fn new(kept: Kept<'_>) -> Self {
        let fields = match kept {
            Kept::All => 1,
            Kept::Slots(slots) => slots.iter().flatten().count(),
        };
        Self {
            fields: vec![Vec::new(); fields],
            count: 0,
            line: 0,
            ending: Ending::Complete,
        }
    }

    /// Appends to the field that is being read, the one after the `count` that are complete.
    fn append(&mut self, text: &[u8], kept: Kept<'_>) {
        let slot = match kept {
            Kept::All => Some(self.count),
            Kept::Slots(slots) => slots.get(self.count).copied().flatten(),
        };
        if let Some(field) = slot.and_then(|slot| self.fields.get_mut(slot)) {
            field.extend_from_slice(text);
        }
    }

    fn next_field(&mut self, kept: Kept<'_>) {
        self.count += 1;
        if let Kept::All = kept {
            self.fields.push(Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMA: Dialect = Dialect {
        delimiter: b',',
        quoting: true,
    };

    /// Returns the records of a text, read in pieces of this many bytes.
    fn read(text: &str, dialect: Dialect, piece: usize) -> Vec<RawRecord> {
        let reader = io::BufReader::with_capacity(piece, text.as_bytes());
        let mut records = Splitter::new(reader);
        let next = || records.read(dialect, Kept::All, 1 << 20).unwrap();
        std::iter::from_fn(next).collect()
    }

    fn fields(text: &str) -> Vec<Vec<String>> {
        let fields = |record: &RawRecord| -> Vec<String> {
            assert_eq!(record.fields.len(), record.count);
            let text = |field: &Vec<u8>| String::from_utf8(field.clone()).unwrap();
            record.fields.iter().map(text).collect()
        };
        let whole: Vec<_> = read(text, COMMA, 1 << 10).iter().map(fields).collect();
        for piece in [1, 2, 3] {
            let pieces: Vec<_> = read(text, COMMA, piece).iter().map(fields).collect();
            assert_eq!(pieces, whole, "{text:?} in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn every_line_end_ends_a_record() {
        for end in ["\n", "\r", "\r\n"] {
            let text = ["a,b", "c,", "", "\"\",d"].join(end);
            assert_eq!(fields(&text), [["a", "b"], ["c", ""], ["", "d"]], "{end:?}");
        }
    }

    #[test]
    fn a_quoted_field_keeps_its_line_ends_and_its_last_return() {
        assert_eq!(fields("\"a\r\nb\"\r\n\"c\r\"\r\n"), [["a\r\nb"], ["c\r"]]);
        assert_eq!(fields("\"a\"\"b,\",c"), [["a\"b,", "c"]]);
    }

    #[test]
    fn a_quote_within_a_field_is_text() {
        assert_eq!(fields("a\"b,\"c\"d\"e\n"), [["a\"b", "cd\"e"]]);
    }

    #[test]
    fn an_empty_quoted_line_is_a_record_and_a_blank_one_is_none() {
        assert_eq!(fields("a\r\n\"\"\r\n\r\n\n\rb"), [["a"], [""], ["b"]]);
    }

    #[test]
    fn a_record_knows_its_line_whatever_ends_the_lines_before_it() {
        for end in ["\n", "\r", "\r\n"] {
            let text = format!("a{end}\"b{end}{end}c\"{end}{end}d{end}e");
            for piece in [1, 2, 1 << 10] {
                let lines: Vec<u64> = read(&text, COMMA, piece).iter().map(|r| r.line).collect();
                assert_eq!(lines, [1, 2, 6, 7], "{end:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_quote_that_is_open_at_the_end_is_seen() {
        for text in ["a\n\"b\nc", "a\n\"b\nc\n", "a\n\"", "a\n\"b\"\""] {
            assert_eq!(
                read(text, COMMA, 4).last().unwrap().ending,
                Ending::OpenQuote
            );
        }
        assert_eq!(
            read("a\n\"b\"", COMMA, 4).last().unwrap().ending,
            Ending::Complete
        );
    }

    #[test]
    fn only_the_columns_that_are_asked_for_are_kept() {
        let mut records = Splitter::new(&b"a,b,c,d\n1,2\n"[..]);
        let slots = [None, Some(1), Some(0)];
        let mut next = || records.read(COMMA, Kept::Slots(&slots), 99).unwrap();
        let first = next().unwrap();
        assert_eq!(first.fields, [b"c".to_vec(), b"b".to_vec()]);
        assert_eq!(first.count, 4);
        let second = next().unwrap();
        assert_eq!(second.fields, [b"".to_vec(), b"2".to_vec()]);
        assert_eq!(second.count, 2);
    }

    #[test]
    fn a_record_over_the_limit_ends_there() {
        for text in ["aaaaaaaaaa", "\"aaaaaaaaaa", ",,,,,,,,,,"] {
            let mut records = Splitter::new(io::BufReader::with_capacity(2, text.as_bytes()));
            let record = records.read(COMMA, Kept::All, 6).unwrap().unwrap();
            assert_eq!(record.ending, Ending::TooLong, "{text}");
        }
    }

    #[test]
    fn without_quoting_a_quote_is_text() {
        let dialect = Dialect {
            delimiter: b'\t',
            quoting: false,
        };
        let records = read("\"a\tb\"\nc", dialect, 3);
        assert_eq!(records[0].fields, [b"\"a".to_vec(), b"b\"".to_vec()]);
        assert_eq!(records.len(), 2);
    }
}
