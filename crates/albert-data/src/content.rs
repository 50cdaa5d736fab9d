//! Recognizes the content of a source by its first bytes, whatever its name.

use std::io::{self, Read};

use crate::error::{ErrorKind, bail, error};

/// The number of bytes examined. A pipe may deliver fewer at a time.
const HEAD_BYTES: usize = 4096;

/// UTF-8's byte order mark.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The content of a source.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Content {
    /// Text after a byte order mark of this many bytes, or unrecognized content.
    Text {
        from: usize,
    },
    Gzip,
    Zstandard,
    Parquet,
    ArrowFile,
    ArrowStream,
    /// Content that must be converted first.
    Foreign {
        name: &'static str,
        hint: &'static str,
    },
}

const DECOMPRESS: &str = "decompress it first, or compress it with gzip or zstd";

/// The first bytes of each recognized content.
const MAGIC: [(&[u8], Content); 16] = [
    (b"\x1f\x8b", Content::Gzip),
    (b"\x28\xb5\x2f\xfd", Content::Zstandard),
    // A frame without data, which some writers put first.
    (b"\x50\x2a\x4d\x18", Content::Zstandard),
    // The first page of a Parquet file starts with its type, unlike a line of text.
    (b"PAR1\x15", Content::Parquet),
    (b"ARROW1\0\0", Content::ArrowFile),
    (b"\xff\xff\xff\xff", Content::ArrowStream),
    (MARK, Content::Text { from: 3 }),
    (
        b"PARE",
        foreign("an encrypted Parquet file", "decrypt it first"),
    ),
    (
        b"FEA1",
        foreign(
            "Feather version 1",
            "write it again as version 2, which is Arrow IPC",
        ),
    ),
    (b"BZh91AY&SY", foreign("bzip2", DECOMPRESS)),
    (b"\xfd7zXZ\0", foreign("xz", DECOMPRESS)),
    (b"\x04\x22\x4d\x18", foreign("lz4", DECOMPRESS)),
    (
        b"PK\x03\x04",
        foreign(
            "a ZIP archive",
            "extract it first; a spreadsheet is saved as CSV",
        ),
    ),
    (
        b"\xff\xfe\0\0",
        foreign("UTF-32", "`iconv -f UTF-32 -t UTF-8` converts it"),
    ),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
];

const fn foreign(name: &'static str, hint: &'static str) -> Content {
    Content::Foreign { name, hint }
}

const UTF_16: Content = foreign("UTF-16", "`iconv -f UTF-16 -t UTF-8` converts it");

/// Reads the first bytes of a source, from a pipe no more than necessary, and recognizes its
/// content.
///
/// # Errors
/// If reading fails.
pub(crate) fn peek(reader: &mut impl Read) -> io::Result<(Vec<u8>, Content)> {
    let mut head = vec![0; HEAD_BYTES];
    let mut length = 0;
    loop {
        let is_open = |magic: &[u8]| magic.len() > length && magic.starts_with(&head[..length]);
        if length > 0 && !MAGIC.iter().any(|(magic, _)| is_open(magic)) {
            break;
        }
        match reader.read(&mut head[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(length);
    let content = recognize(&head);
    Ok((head, content))
}

/// Recognizes the content by its first bytes.
pub(crate) fn recognize(head: &[u8]) -> Content {
    let found = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    found.map_or_else(|| unmarked(head), |(_, content)| *content)
}

/// Recognizes text in UTF-16 or UTF-32 without a byte order mark by its zero bytes.
fn unmarked(head: &[u8]) -> Content {
    let zeros = |from: usize| {
        head[from.min(head.len())..]
            .iter()
            .step_by(2)
            .filter(|b| **b == 0)
    };
    let (even, odd) = (zeros(0).count(), zeros(1).count());
    let units = head.len() / 2;
    match units >= 2 {
        true if (even + odd) * 5 >= head.len() * 3 => {
            foreign("UTF-32 without a byte order mark", "convert it with iconv")
        }
        true if even == 0 && odd * 2 >= units => foreign(
            "UTF-16 without a byte order mark",
            "`iconv -f UTF-16LE -t UTF-8` converts it",
        ),
        true if odd == 0 && even * 2 >= units => foreign(
            "UTF-16 without a byte order mark",
            "`iconv -f UTF-16BE -t UTF-8` converts it",
        ),
        _ => Content::Text { from: 0 },
    }
}

impl Content {
    /// Checks that the content is text, and returns the length of its byte order mark.
    ///
    /// # Errors
    /// If it is not text.
    pub(crate) fn expect_text(self, name: &str) -> crate::Result<usize> {
        match self {
            Self::Text { from } => Ok(from),
            Self::Foreign { name: found, hint } => {
                let error = error!("{name}: expected UTF-8, found {found}");
                Err(error.with_kind(ErrorKind::Foreign(hint)))
            }
            other => bail!("{name}: expected UTF-8, found {}", other.name()),
        }
    }

    /// Returns a description of the content.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Gzip => "gzip",
            Self::Zstandard => "zstd",
            Self::Parquet => "a Parquet file",
            Self::ArrowFile => "an Arrow IPC file",
            Self::ArrowStream => "an Arrow IPC stream",
            Self::Foreign { name, .. } => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_recognized_by_its_first_bytes() {
        let text = Content::Text { from: 0 };
        for (head, expected) in [
            (&b"\x1f\x8b\x08"[..], Content::Gzip),
            (b"\x28\xb5\x2f\xfd\x04", Content::Zstandard),
            (b"PAR1\x15\x04", Content::Parquet),
            (b"ARROW1\0\0\xff\xff\xff\xff", Content::ArrowFile),
            (b"\xff\xff\xff\xff\x10\0\0\0", Content::ArrowStream),
            (b"\xef\xbb\xbfa", Content::Text { from: 3 }),
            (b"PAR1 is a magic number\n", text),
            (b"ARROW1 too\n", text),
            (b"", text),
            (b"\xef\xbb", text),
        ] {
            assert_eq!(recognize(head), expected, "{head:?}");
        }
    }

    #[test]
    fn wide_text_is_recognized_with_and_without_its_mark() {
        let wide = |text: &str, mark: &str| -> [Vec<u8>; 2] {
            let units = || mark.encode_utf16().chain(text.encode_utf16());
            [
                units().flat_map(u16::to_le_bytes).collect(),
                units().flat_map(u16::to_be_bytes).collect(),
            ]
        };
        for mark in ["", "\u{feff}"] {
            for text in ["id,text\n1,é\n", "ab"] {
                for bytes in wide(text, mark) {
                    let name = recognize(&bytes).name();
                    assert!(name.starts_with("UTF-16"), "{bytes:?}: {name}");
                }
            }
        }
        let four: Vec<u8> = "text"
            .chars()
            .flat_map(|c| (c as u32).to_le_bytes())
            .collect();
        assert!(recognize(&four).name().starts_with("UTF-32"));
        assert_eq!(
            recognize(b"a text with a \0 in it"),
            Content::Text { from: 0 }
        );
    }

    /// Gives its pieces one at a time and then fails.
    struct Pieces(Vec<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(!self.0.is_empty(), "more was read than needed");
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn no_more_of_a_pipe_is_read_than_needed() {
        for (pieces, head) in [
            (vec![&b"a"[..]], &b"a"[..]),
            (vec![b"P", b"AR\n"], b"PAR\n"),
            (vec![b"\xef", b"\xbb", b"\xbf"], MARK),
        ] {
            assert_eq!(peek(&mut Pieces(pieces)).unwrap().0, head);
        }
        let (head, content) = peek(&mut Pieces(vec![b"\x1f", b"\x8b"])).unwrap();
        assert_eq!((head.len(), content), (2, Content::Gzip));
    }
}
