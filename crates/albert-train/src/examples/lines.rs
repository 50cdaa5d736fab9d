//! The lines of one text file, plain or compressed, from a known place on.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// The longest line in bytes. A longer one is no sentence: most likely the file has no line breaks.
const LONGEST_LINE: u64 = 1 << 20;

/// Bytes read from the file at a time. Small, because the share of a compressed file that has been
/// read is known only as exactly as this.
const READ_BYTES: usize = 1 << 12;

/// Bytes of text that are ready at a time.
const TEXT_BYTES: usize = 1 << 16;

/// The lines of a file.
pub(super) struct Lines {
    path: PathBuf,
    text: BufReader<Box<dyn Read + Send>>,
    file_bytes: Arc<AtomicU64>,
    is_compressed: bool,
    text_bytes: u64,
    line: u64,
    buffer: Vec<u8>,
}

impl Lines {
    /// Opens a file at its beginning. Compression is recognized by the first bytes.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let failed = Error::read;
        let file = File::open(path).map_err(failed(path))?;
        let file_bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            file,
            bytes: Arc::clone(&file_bytes),
        };
        let file = BufReader::with_capacity(READ_BYTES, counted);
        let (text, is_compressed) = albert_data::decompress(file).map_err(failed(path))?;
        Ok(Self {
            path: path.into(),
            text: BufReader::with_capacity(TEXT_BYTES, text),
            file_bytes,
            is_compressed,
            text_bytes: 0,
            line: 0,
            buffer: Vec::new(),
        })
    }

    /// Passes over `bytes` bytes of text that hold `lines` lines, as a run read them before.
    pub(super) fn skip(&mut self, bytes: u64, lines: u64) -> Result<()> {
        let mut left = bytes;
        while left > 0 {
            let ready = self.text.fill_buf().map_err(Error::read(&self.path))?.len() as u64;
            if ready == 0 {
                return Err(self.wrong(format!("expected {bytes} bytes of text, found fewer")));
            }
            let taken = ready.min(left);
            self.text.consume(taken as usize);
            left -= taken;
        }
        self.text_bytes += bytes;
        self.line += lines;
        Ok(())
    }

    /// Returns the next line without white space around it; `None` at the end of the file.
    pub(super) fn next(&mut self) -> Result<Option<&str>> {
        self.buffer.clear();
        let mut limited = (&mut self.text).take(LONGEST_LINE + 1);
        let read = limited.read_until(b'\n', &mut self.buffer);
        let read = read.map_err(Error::read(&self.path))? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if read > LONGEST_LINE {
            return Err(self.wrong(format!(
                "expected one sentence, found a line of more than {LONGEST_LINE} bytes"
            )));
        }
        let is_first = self.text_bytes == 0;
        self.text_bytes += read;
        let Ok(text) = std::str::from_utf8(&self.buffer) else {
            return Err(self.wrong("expected UTF-8 text, found other bytes".into()));
        };
        // A byte order mark is not part of the text.
        let text = if is_first {
            text.trim_start_matches('\u{feff}')
        } else {
            text
        };
        Ok(Some(text.trim()))
    }

    /// Returns the bytes of text read so far.
    pub(super) fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// Returns the lines read so far.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Returns the bytes of the file read so far, compressed ones in a compressed file.
    pub(super) fn file_bytes(&self) -> u64 {
        if self.is_compressed {
            self.file_bytes.load(Ordering::Relaxed)
        } else {
            self.text_bytes
        }
    }

    fn wrong(&self, reason: String) -> Error {
        Error::Line {
            path: self.path.clone(),
            line: self.line.max(1),
            reason,
        }
    }
}

/// A file that counts the bytes read from it.
struct Counted {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn all(path: &Path) -> Vec<String> {
        let mut lines = Lines::open(path).unwrap();
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push(line.to_string());
        }
        all
    }

    #[test]
    fn plain_gzip_and_zstandard_give_the_same_lines() {
        let dir = tempfile::tempdir().unwrap();
        let text = "\u{feff}One.\r\nTwo.\n\n  Three. \nno end";
        let plain = dir.path().join("a.txt");
        std::fs::write(&plain, text).unwrap();
        let gzip = dir.path().join("a.gz");
        let mut writer = flate2::write::GzEncoder::new(
            File::create(&gzip).unwrap(),
            flate2::Compression::default(),
        );
        writer.write_all(text.as_bytes()).unwrap();
        writer.finish().unwrap();
        let zst = dir.path().join("a.zst");
        std::fs::write(&zst, zstd::encode_all(text.as_bytes(), 3).unwrap()).unwrap();
        for path in [plain, gzip, zst] {
            assert_eq!(
                all(&path),
                ["One.", "Two.", "", "Three.", "no end"],
                "{path:?}"
            );
        }
    }

    #[test]
    fn reading_goes_on_from_a_place_with_the_same_lines_and_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt.zst");
        let text: String = (0..20_000)
            .map(|i| format!("Sentence number {i}.\n"))
            .collect();
        std::fs::write(&path, zstd::encode_all(text.as_bytes(), 3).unwrap()).unwrap();
        let mut first = Lines::open(&path).unwrap();
        for _ in 0..12_345 {
            first.next().unwrap();
        }
        let mut second = Lines::open(&path).unwrap();
        second.skip(first.text_bytes(), first.line()).unwrap();
        assert_eq!(second.file_bytes(), first.file_bytes());
        assert_eq!(second.next().unwrap(), Some("Sentence number 12345."));
        assert_eq!(second.line(), 12_346);
    }

    #[test]
    fn a_line_that_is_no_text_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        std::fs::write(&path, b"fine\n\xff\xfe\n").unwrap();
        let mut lines = Lines::open(&path).unwrap();
        lines.next().unwrap();
        let message = lines.next().unwrap_err().to_string();
        assert!(message.ends_with("a.txt`, line 2: expected UTF-8 text, found other bytes"));
        std::fs::write(&path, vec![b'a'; 2 << 20]).unwrap();
        let message = Lines::open(&path).unwrap().next().unwrap_err().to_string();
        assert!(message.contains("line 1: expected one sentence, found a line of more than"));
    }
}
