//! One text a line: LF or CRLF, with or without a byte order mark or a last newline.

use std::io::{BufRead, Read};
use std::sync::Arc;

use anyhow::{Context, anyhow};

use super::{Line, Pairs, Place, Text};

/// A longer line is no text but a file without lines, which would fill the memory.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Reads numbered lines of bytes; what they hold is for others to say.
pub(super) struct RawLines<R> {
    reader: R,
    name: Arc<str>,
    number: u64,
}

impl<R: BufRead> RawLines<R> {
    pub(super) fn new(reader: R, name: Arc<str>) -> Self {
        Self {
            reader,
            name,
            number: 0,
        }
    }
}

impl<R: BufRead> Iterator for RawLines<R> {
    type Item = anyhow::Result<(Place, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        match self
            .reader
            .by_ref()
            .take(MAX_LINE_BYTES + 1)
            .read_until(b'\n', &mut bytes)
        {
            Ok(0) => return None,
            Ok(length) if length as u64 > MAX_LINE_BYTES => {
                let (name, number) = (&self.name, self.number + 1);
                return Some(Err(anyhow::anyhow!(
                    "{name}, line {number}: expected at most {MAX_LINE_BYTES} bytes in a line, found more"
                )));
            }
            Ok(_) => self.number += 1,
            Err(error) => {
                let number = self.number + 1;
                return Some(
                    Err(error).with_context(|| format!("cannot read {}, line {number}", self.name)),
                );
            }
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        if self.number == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
            // A file of a mark alone has no line.
            if bytes.is_empty() && self.reader.fill_buf().is_ok_and(<[u8]>::is_empty) {
                return None;
            }
        }
        Some(Ok((
            Place::Line(Arc::clone(&self.name), self.number),
            bytes,
        )))
    }
}

/// The bytes as text.
pub(super) fn utf8(bytes: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let found = bytes.get(offset).copied().unwrap_or_default();
        let wide = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
        let guess = if wide {
            ", which looks like UTF-16"
        } else {
            ""
        };
        anyhow!(
            "expected UTF-8, found byte 0x{found:02x} at byte {}{guess}",
            offset + 1
        )
    })
}

/// Lines of plain text, a tab between the two texts of a pair.
pub(super) struct PlainLines<R> {
    lines: RawLines<R>,
    pairs: Pairs,
}

impl<R: BufRead> PlainLines<R> {
    pub(super) fn new(reader: R, name: Arc<str>, pairs: Pairs) -> Self {
        Self {
            lines: RawLines::new(reader, name),
            pairs,
        }
    }

    fn text(&self, bytes: Vec<u8>) -> anyhow::Result<Text> {
        let line = utf8(bytes)?;
        match line.split_once('\t') {
            Some((first, second)) if self.pairs != Pairs::Refused => {
                if second.contains('\t') {
                    let found = line.matches('\t').count();
                    return Err(anyhow!(
                        "expected at most one tab, between the texts of a pair, found {found}"
                    ));
                }
                Ok(Text {
                    text: first.to_string(),
                    pair: Some(second.to_string()),
                })
            }
            None if matches!(self.pairs, Pairs::Needed(_)) => Err(anyhow!(
                "expected two texts with a tab between them, found one"
            )),
            _ => Ok(Text {
                text: line,
                pair: None,
            }),
        }
    }
}

impl<R: BufRead> Iterator for PlainLines<R> {
    type Item = anyhow::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        Some(line.map(|(place, bytes)| Line {
            place,
            text: self.text(bytes),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn read(bytes: &[u8], pairs: Pairs) -> Vec<Line> {
        PlainLines::new(Cursor::new(bytes.to_vec()), "`a`".into(), pairs)
            .map(Result::unwrap)
            .collect()
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        read(bytes, Pairs::Refused)
            .into_iter()
            .map(|line| line.text.unwrap().text)
            .collect()
    }

    #[test]
    fn lines_lose_their_ends_and_the_byte_order_mark() {
        assert_eq!(
            texts(b"\xef\xbb\xbfone\r\ntwo\n\nlast"),
            ["one", "two", "", "last"]
        );
    }

    #[test]
    fn a_mark_or_a_return_elsewhere_is_text() {
        assert_eq!(texts("a\n\u{feff}b\rc\n".as_bytes()), ["a", "\u{feff}b\rc"]);
    }

    #[test]
    fn empty_input_has_no_lines_and_an_empty_line_is_a_text() {
        assert!(texts(b"").is_empty());
        assert!(texts(b"\xef\xbb\xbf").is_empty());
        assert_eq!(texts(b"\n"), [""]);
        assert_eq!(texts(b"\xef\xbb\xbf\n\n"), ["", ""]);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named_and_the_next_is_read() {
        let lines = read(b"good\nb\xffd\ngood\n", Pairs::Refused);
        let error = lines[1].text.as_ref().unwrap_err().to_string();
        assert_eq!(lines[1].place, Place::Line("`a`".into(), 2));
        assert_eq!(error, "expected UTF-8, found byte 0xff at byte 2");
        assert_eq!(lines[2].text.as_ref().unwrap().text, "good");
    }

    #[test]
    fn a_tab_makes_a_pair_where_pairs_are_taken() {
        let lines = read(b"a\tb\nalone\nx\ty\tz\n", Pairs::Taken);
        let text = lines[0].text.as_ref().unwrap();
        assert_eq!((text.text.as_str(), text.pair.as_deref()), ("a", Some("b")));
        assert_eq!(lines[1].text.as_ref().unwrap().pair, None);
        assert!(
            lines[2]
                .text
                .as_ref()
                .unwrap_err()
                .to_string()
                .contains("found 2")
        );
        assert_eq!(texts(b"a\tb\n"), ["a\tb"]);
    }

    #[test]
    fn a_line_without_a_tab_is_bad_where_pairs_are_needed() {
        let lines = read(b"a\tb\nalone\n\tb\n", Pairs::Needed("first,second"));
        assert!(lines[0].text.is_ok() && lines[2].text.is_ok());
        let error = lines[1].text.as_ref().unwrap_err().to_string();
        assert_eq!(
            error,
            "expected two texts with a tab between them, found one"
        );
    }
}
