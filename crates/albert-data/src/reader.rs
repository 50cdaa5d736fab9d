//! Reads texts from a source in any format.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::bail;
use crate::notes::Notes;
use crate::{Feed, Fields, Format, Line, Pairs, RecordReader, RowBatches, Source};

/// An iterator of lines.
pub(crate) type Lines = Box<dyn Iterator<Item = crate::Result<Line>> + Send>;

/// The texts of a source, not yet read.
pub struct Reader {
    lines: Lines,
    /// True for a pipe, whose lines arrive at the pace of its writer.
    is_paced: bool,
    length: Option<u64>,
    bytes_read: Arc<AtomicU64>,
    notes: Notes,
    row_batches: RowBatches,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("length", &self.length)
            .field("bytes_read", &self.bytes_read)
            .finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a source in a format and reads the named fields.
    ///
    /// # Errors
    /// If the source is not of that format, has no such fields, or cannot be read.
    pub fn open(
        source: Source,
        format: Format,
        fields: Fields,
        pairs: Pairs,
    ) -> crate::Result<Self> {
        if let (Format::Lines, Pairs::Listed(fields)) = (format, pairs) {
            bail!("lines hold no lists: expected a table with the fields `{fields}`");
        }
        let fields = match format {
            Format::Lines => fields.for_lines()?,
            _ => fields,
        };
        let records = RecordReader::open(source, format, fields.selection().clone())?;
        Ok(Self {
            is_paced: records.length().is_none(),
            length: records.length(),
            bytes_read: records.bytes_read(),
            notes: records.notes(),
            row_batches: records.row_batches(),
            lines: Box::new(records.map(move |record| Ok(fields.line(record?)))),
        })
    }

    /// Creates a reader of lines in memory.
    pub fn from_lines(lines: Vec<Line>) -> Self {
        Self {
            lines: Box::new(lines.into_iter().map(Ok)),
            is_paced: false,
            length: Some(0),
            bytes_read: Arc::default(),
            notes: Notes::default(),
            row_batches: RowBatches::default(),
        }
    }

    /// Reads other readers after this one; `length` is the length of all of them together.
    pub(super) fn chain_readers(
        self,
        rest: impl Iterator<Item = crate::Result<Self>> + Send + 'static,
        length: Option<u64>,
    ) -> Self {
        let (bytes_read, notes) = (Arc::new(AtomicU64::new(0)), Notes::default());
        let (total, all_notes) = (Arc::clone(&bytes_read), notes.clone());
        let row_batches = RowBatches::default();
        let all_row_batches = row_batches.clone();
        let (mut current, mut rest, mut done) = (self, rest, 0);
        let lines = std::iter::from_fn(move || {
            loop {
                let line = current.lines.next();
                let position = done + current.bytes_read.load(Ordering::Relaxed);
                total.store(position, Ordering::Relaxed);
                while let Some(rows) = current.row_batches.take() {
                    all_row_batches.add(rows);
                }
                if line.is_some() {
                    return line;
                }
                done = position;
                for note in current.notes.take() {
                    all_notes.add(note);
                }
                match rest.next()? {
                    Ok(next) => current = next,
                    Err(error) => return Some(Err(error)),
                }
            }
        });
        Self {
            lines: Box::new(lines),
            is_paced: length.is_none(),
            length,
            bytes_read,
            notes,
            row_batches,
        }
    }

    /// Returns the length of the source in bytes, if it is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns the counter of the source's bytes read so far.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_read)
    }

    /// Returns the remarks on the source, which grow during reading.
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Returns the record batches of Arrow inputs, which are added as they are read.
    pub fn row_batches(&self) -> RowBatches {
        self.row_batches.clone()
    }

    /// Returns true if no line is left.
    ///
    /// # Errors
    /// If reading fails.
    pub fn is_at_end(&mut self) -> crate::Result<bool> {
        let Some(line) = self.lines.next().transpose()? else {
            return Ok(true);
        };
        let rest = std::mem::replace(&mut self.lines, Box::new(std::iter::empty()));
        self.lines = Box::new(std::iter::once(Ok(line)).chain(rest));
        Ok(false)
    }

    /// Starts reading, a chunk at a time.
    pub fn feed(self) -> Feed {
        Feed::new(self.lines, self.is_paced)
    }
}

impl Iterator for Reader {
    type Item = crate::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lines.next()
    }
}
