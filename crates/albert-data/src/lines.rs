//! Lines of text, each ended by LF, CRLF or CR; the last one may have no line end.

use std::io::{self, BufRead};
use std::sync::Arc;

use crate::error::{Context, bail, error};
use crate::record::{Presence, Record, Selection, Values};
use crate::{Cell, Place};

/// The maximum length of a line: a longer one is probably a file without lines, which would fill
/// the memory.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 20;

/// Reads numbered lines of bytes.
pub(crate) struct RawLines<R> {
    reader: R,
    name: Arc<str>,
    number: u64,
    /// True if the last line ended in CR, so that an LF after it belongs to the same line end.
    after_return: bool,
}

impl<R: BufRead> RawLines<R> {
    pub(crate) fn new(reader: R, name: Arc<str>) -> Self {
        Self {
            reader,
            name,
            number: 0,
            after_return: false,
        }
    }

    /// Reads the next line without its line end, up to the maximum length.
    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let Some(&first) = chunk.first() else {
                return Ok(Some(line).filter(|line| !line.is_empty()));
            };
            // Only before a line's first byte: a line ends at its CR.
            if std::mem::take(&mut self.after_return) && first == b'\n' {
                self.reader.consume(1);
                continue;
            }
            let end = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let length = end.unwrap_or(chunk.len());
            line.extend_from_slice(&chunk[..length]);
            self.after_return = end.is_some_and(|end| chunk[end] == b'\r');
            self.reader.consume(length + usize::from(end.is_some()));
            if end.is_some() || line.len() > MAX_LINE_BYTES {
                return Ok(Some(line));
            }
        }
    }
}

impl<R: BufRead> Iterator for RawLines<R> {
    type Item = crate::Result<(Place, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let (name, number) = (&self.name, self.number + 1);
        let (name, place) = (name.clone(), Place::Line(Arc::clone(name), number));
        match self.read() {
            Ok(Some(line)) if line.len() > MAX_LINE_BYTES => Some(Err(place.locate(error!(
                "expected at most {MAX_LINE_BYTES} bytes in a line, found more"
            )))),
            Ok(Some(line)) => {
                self.number += 1;
                Some(Ok((place, line)))
            }
            Ok(None) => None,
            Err(error) => {
                Some(Err(error).with_context(|| format!("cannot read {name}, line {number}")))
            }
        }
    }
}

/// The unused capacity that a waiting text may keep.
const SPARE_BYTES: usize = 1 << 16;

/// Converts the bytes to text.
pub(crate) fn utf8(mut bytes: Vec<u8>) -> crate::Result<String> {
    if bytes.capacity() - bytes.len() > SPARE_BYTES {
        bytes.shrink_to_fit();
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let found = bytes.get(offset).copied().unwrap_or_default();
        // In UTF-16, spaces and digits contain zero bytes.
        let guess = if bytes.contains(&0) {
            ", which looks like UTF-16"
        } else {
            ""
        };
        error!(
            "expected UTF-8, found byte 0x{found:02x} at byte {}{guess}",
            offset + 1
        )
    })
}

/// Records of plain text. With one field the whole line is its text; with several, tabs separate
/// them.
pub(crate) struct PlainLines<R> {
    lines: RawLines<R>,
    selection: Selection,
}

impl<R: BufRead> PlainLines<R> {
    pub(crate) fn new(reader: R, name: Arc<str>, selection: Selection) -> Self {
        Self {
            lines: RawLines::new(reader, name),
            selection,
        }
    }

    fn values(&self, bytes: Vec<u8>) -> crate::Result<Values> {
        let line = utf8(bytes)?;
        let wanted = &self.selection.fields;
        let mut cells = match wanted.len() {
            1 => vec![Cell::Text(line)],
            count => {
                let cells: Vec<_> = line
                    .split('\t')
                    .map(|text| Cell::Text(text.into()))
                    .collect();
                let needed = wanted
                    .iter()
                    .filter(|wanted| wanted.presence == Presence::Required)
                    .count();
                match cells.len() {
                    found if found < needed && count == 2 => {
                        bail!("expected two texts with a tab between them, found one")
                    }
                    found if found > count && count == 2 => bail!(
                        "expected at most one tab, between the texts of a pair, found {}",
                        found - 1
                    ),
                    found if (needed..=count).contains(&found) => cells,
                    found => bail!("expected {count} fields with tabs between them, found {found}"),
                }
            }
        };
        cells.resize(wanted.len(), Cell::Null);
        let checked = wanted
            .iter()
            .zip(cells)
            .map(|(wanted, cell)| wanted.check(Ok(cell)));
        Ok(Values {
            cells: checked.collect::<crate::Result<_>>()?,
            rest: Vec::new(),
        })
    }
}

impl<R: BufRead> Iterator for PlainLines<R> {
    type Item = crate::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        Some(line.map(|(place, bytes)| Record {
            place,
            values: self.values(bytes),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;
    use crate::record::{Kind, Wanted};

    /// Returns lines read in pieces of this many bytes.
    fn lines(bytes: &[u8], piece: usize) -> Vec<(u64, String)> {
        let reader = io::BufReader::with_capacity(piece, bytes);
        let line = |line: crate::Result<(Place, Vec<u8>)>| {
            let (place, bytes) = line.unwrap();
            match place {
                Place::Line(_, number) => (number, utf8(bytes).unwrap()),
                place => panic!("{place:?}"),
            }
        };
        RawLines::new(reader, "`a`".into()).map(line).collect()
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        let whole = lines(bytes, 1 << 10);
        for piece in [1, 2, 3] {
            assert_eq!(lines(bytes, piece), whole);
        }
        whole.into_iter().map(|(_, text)| text).collect()
    }

    /// The cells of each record, or the error.
    fn records(bytes: &[u8], fields: usize, optional: usize) -> Vec<Result<Vec<Cell>, String>> {
        let wanted = |column: usize| Wanted {
            presence: if column >= fields - optional {
                Presence::Optional
            } else {
                Presence::Required
            },
            ..Wanted::new(Field::from_name("x"), Kind::Text)
        };
        let selection = Selection {
            fields: (0..fields).map(wanted).collect(),
            rest: false,
        };
        let cells = |record: crate::Result<Record>| {
            let values = record.unwrap().values.map_err(|error| error.to_string());
            Ok(values?.cells)
        };
        PlainLines::new(bytes, "`a`".into(), selection)
            .map(cells)
            .collect()
    }

    fn cells(texts: &[&str]) -> Vec<Cell> {
        texts
            .iter()
            .map(|text| Cell::Text(text.to_string()))
            .collect()
    }

    #[test]
    fn every_line_end_ends_a_line() {
        for end in ["\n", "\r", "\r\n"] {
            let text = ["one", "two", "", "last"].join(end);
            assert_eq!(
                texts(text.as_bytes()),
                ["one", "two", "", "last"],
                "{end:?}"
            );
            let ended = text + end;
            assert_eq!(
                texts(ended.as_bytes()),
                ["one", "two", "", "last"],
                "{end:?}"
            );
        }
        assert_eq!(texts(b"a\r\r\nb\n\rc"), ["a", "", "b", "", "c"]);
    }

    #[test]
    fn empty_input_has_no_lines_and_an_empty_line_is_one() {
        assert!(texts(b"").is_empty());
        for end in [&b"\n"[..], b"\r", b"\r\n"] {
            assert_eq!(texts(end), [""]);
        }
    }

    #[test]
    fn a_line_of_a_slow_writer_is_complete_at_its_return() {
        /// Returns its lines one at a time and fails if more are requested.
        struct Slow(Vec<&'static [u8]>);
        impl io::Read for Slow {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let line = self.0.remove(0);
                buffer[..line.len()].copy_from_slice(line);
                Ok(line.len())
            }
        }
        let reader = io::BufReader::new(Slow(vec![b"one\r", b"\ntwo\r"]));
        let mut lines = RawLines::new(reader, "`a`".into());
        for expected in ["one", "two"] {
            assert_eq!(lines.next().unwrap().unwrap().1, expected.as_bytes());
        }
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named_and_the_next_is_read() {
        let records = records(b"good\nb\xffd\ngood\n", 1, 0);
        let error = "expected UTF-8, found byte 0xff at byte 2";
        let expected = [
            Ok(cells(&["good"])),
            Err(error.to_string()),
            Ok(cells(&["good"])),
        ];
        assert_eq!(records, expected);
    }

    #[test]
    fn a_tab_divides_a_line_where_two_fields_are_asked_for() {
        assert_eq!(records(b"a\tb\tc\n", 1, 0), [Ok(cells(&["a\tb\tc"]))]);
        let found = records(b"a\tb\nalone\nx\ty\tz\n", 2, 1);
        assert_eq!(found[0], Ok(cells(&["a", "b"])));
        assert_eq!(found[1], Ok(vec![Cell::Text("alone".into()), Cell::Null]));
        assert!(found[2].as_ref().unwrap_err().contains("found 2"));
        let found = records(b"a\tb\nalone\n\tb\n", 2, 0);
        assert!(found[0].is_ok() && found[2].is_ok());
        let error = "expected two texts with a tab between them, found one";
        assert_eq!(found[1], Err(error.to_string()));
    }
}
