//! Reads records from a source in any format.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

#[cfg(not(feature = "parquet"))]
use crate::error::bail;

#[cfg(feature = "parquet")]
use crate::batches::{Batches, OpenEnd, Projection};
use crate::conll::Conll;
use crate::content::Content;
use crate::delimited::{Delimited, Delimiter};
use crate::json_lines::JsonLines;
use crate::lines::PlainLines;
use crate::notes::Notes;
use crate::record::{Record, Records, Selection};
use crate::squad::Squad;
#[cfg(feature = "parquet")]
use crate::table::Table;
use crate::{Format, RowBatches, Source};

/// The records of a source, read one at a time.
///
/// Nothing is read from a pipe before the first record is requested.
pub struct RecordReader {
    records: Records,
    length: Option<u64>,
    bytes_read: Arc<AtomicU64>,
    notes: Notes,
    row_batches: RowBatches,
}

impl fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordReader")
            .field("length", &self.length)
            .field("bytes_read", &self.bytes_read)
            .finish_non_exhaustive()
    }
}

impl RecordReader {
    /// Opens a source in a format and reads a selection of fields. If the format is lines and the
    /// content is recognized as another format, that one is used.
    ///
    /// # Errors
    /// If a file is not of that format, lacks a field, or cannot be read.
    pub fn open(source: Source, format: Format, selection: Selection) -> crate::Result<Self> {
        #[cfg(not(feature = "parquet"))]
        if matches!(format, Format::Parquet | Format::Arrow) {
            bail!("format `{format}`: albert-data was built without the feature `parquet`");
        }
        let (length, bytes_read) = (source.length(), Arc::new(AtomicU64::new(0)));
        let notes = Notes::default();
        let row_batches = RowBatches::default();
        let opening = Opening {
            format,
            selection,
            bytes_read: Arc::clone(&bytes_read),
            #[cfg(feature = "parquet")]
            notes: notes.clone(),
            #[cfg(feature = "parquet")]
            row_batches: row_batches.clone(),
        };
        let records: Records = match length {
            Some(_) => opening.open(source)?,
            None => Box::new(Later::Closed(Some(Box::new((source, opening))))),
        };
        Ok(Self {
            records,
            length,
            bytes_read,
            notes,
            row_batches,
        })
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

    /// Returns the record batches of an Arrow source, which are added as they are read.
    pub fn row_batches(&self) -> RowBatches {
        self.row_batches.clone()
    }
}

impl Iterator for RecordReader {
    type Item = crate::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.records.next()
    }
}

/// The arguments of [`RecordReader::open`] except for the source.
struct Opening {
    format: Format,
    selection: Selection,
    bytes_read: Arc<AtomicU64>,
    #[cfg(feature = "parquet")]
    notes: Notes,
    #[cfg(feature = "parquet")]
    row_batches: RowBatches,
}

impl Opening {
    fn open(self, source: Source) -> crate::Result<Records> {
        let opened = source.open(Arc::clone(&self.bytes_read))?;
        let format = match (opened.content, self.format) {
            (Content::Parquet, Format::Lines | Format::Parquet | Format::Arrow) => Format::Parquet,
            (
                Content::ArrowFile | Content::ArrowStream,
                Format::Lines | Format::Parquet | Format::Arrow,
            ) => Format::Arrow,
            (_, format) => format,
        };
        let name = Arc::clone(&opened.name);
        let selection = self.selection;
        Ok(match format {
            Format::Lines => Box::new(PlainLines::new(opened.into_text()?, name, selection)),
            Format::Jsonl => Box::new(JsonLines::new(opened.into_text()?, name, selection)),
            Format::Conll => Box::new(Conll::new(opened.into_text()?, name, selection)),
            Format::Squad => Box::new(Squad::new(opened.into_text()?, name, selection)?),
            Format::Csv | Format::Tsv | Format::Delimited(_) => {
                let delimiter = match format {
                    Format::Tsv => Delimiter::Tab,
                    Format::Delimited(byte) => Delimiter::Given(byte),
                    _ => Delimiter::Comma,
                };
                Box::new(Delimited::new(
                    opened.into_text()?,
                    name,
                    selection,
                    delimiter,
                ))
            }
            #[cfg(feature = "parquet")]
            Format::Parquet | Format::Arrow => {
                let batches = match format {
                    Format::Parquet => {
                        let projection = Projection::from_selection(&selection);
                        Batches::parquet(opened, &projection, self.bytes_read)?
                    }
                    _ => {
                        Batches::arrow(opened, OpenEnd::Note(self.notes))?.counted(self.row_batches)
                    }
                };
                Box::new(Table::new(batches, selection)?)
            }
            #[cfg(not(feature = "parquet"))]
            Format::Parquet | Format::Arrow => {
                bail!("{name}: albert-data was built without the feature `parquet`")
            }
        })
    }
}

/// The records of a pipe, which is opened when the first is requested.
enum Later {
    Closed(Option<Box<(Source, Opening)>>),
    Open(Records),
}

impl Iterator for Later {
    type Item = crate::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self {
                Self::Open(records) => return records.next(),
                Self::Closed(closed) => {
                    let (source, opening) = *closed.take()?;
                    match opening.open(source) {
                        Ok(records) => *self = Self::Open(records),
                        Err(error) => return Some(Err(error)),
                    }
                }
            }
        }
    }
}
