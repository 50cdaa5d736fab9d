//! Texts from a source in any of the formats.

use std::fmt;
use std::io::BufReader;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

#[cfg(feature = "parquet")]
use anyhow::Context;
use anyhow::bail;

#[cfg(feature = "parquet")]
use super::batches::{Batches, spool};
#[cfg(feature = "parquet")]
use super::columns::Columns;
use super::delimited::Delimited;
use super::feed::Feed;
use super::json_lines::JsonLines;
use super::lines::PlainLines;
#[cfg(feature = "parquet")]
use super::source::Origin;
use super::source::{Counted, Source};
use super::{Fields, Format, Line, Lines, Pairs};

/// The texts of a source, not yet read.
pub struct Reader {
    lines: Lines,
    /// The lines come at somebody else's pace, from a pipe.
    is_paced: bool,
    length: Option<u64>,
    bytes_read: Arc<AtomicU64>,
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
    /// Opens a source as a format, of which the named fields are read.
    ///
    /// # Errors
    /// If the source is not of that format, has no such fields, or cannot be read.
    pub fn open(
        source: Source,
        format: Format,
        fields: Fields,
        pairs: Pairs,
    ) -> anyhow::Result<Self> {
        #[cfg(not(feature = "parquet"))]
        if matches!(format, Format::Parquet | Format::Arrow) {
            bail!("format `{format}`: albert-data was built without the feature `parquet`");
        }
        if let (Format::Lines, Pairs::Listed(fields)) = (format, pairs) {
            bail!("lines hold no lists: expected a table with the fields `{fields}`");
        }
        let bytes_read = Arc::new(AtomicU64::new(0));
        #[cfg(feature = "parquet")]
        if format == Format::Parquet {
            return Self::open_parquet(source, fields, bytes_read);
        }
        let Source {
            reader,
            name,
            length,
        } = source;
        let reader = Counted {
            reader: reader.into_read(),
            bytes: Arc::clone(&bytes_read),
        };
        let reader = BufReader::with_capacity(1 << 16, reader);
        let lines: Lines = match format {
            Format::Jsonl => Box::new(JsonLines::new(reader, name, fields)),
            Format::Csv => Box::new(Delimited::new(reader, name, fields, b',')),
            Format::Tsv => Box::new(Delimited::new(reader, name, fields, b'\t')),
            #[cfg(feature = "parquet")]
            Format::Arrow => Box::new(Columns::new(Batches::arrow(reader, name)?, fields)?),
            _ => Box::new(PlainLines::new(reader, name, pairs)),
        };
        Ok(Self {
            lines,
            is_paced: length.is_none(),
            length,
            bytes_read,
        })
    }

    /// Opens a Parquet file, of which a copy is made if it comes from a pipe.
    #[cfg(feature = "parquet")]
    fn open_parquet(
        source: Source,
        fields: Fields,
        bytes_read: Arc<AtomicU64>,
    ) -> anyhow::Result<Self> {
        let Source {
            reader,
            name,
            length,
        } = source;
        let (file, length) = match (reader, length) {
            (Origin::File(file), Some(length)) => (file, length),
            (reader, _) => {
                let file = spool(&mut reader.into_read(), &name)?;
                let length = file
                    .metadata()
                    .with_context(|| format!("cannot read {name}"))?
                    .len();
                (file, length)
            }
        };
        let names: Vec<&str> = fields.names().collect();
        let batches = Batches::parquet(file, &names, name, Arc::clone(&bytes_read))?;
        let lines = Box::new(Columns::new(batches, fields)?);
        Ok(Self {
            lines,
            is_paced: false,
            length: Some(length),
            bytes_read,
        })
    }

    /// A reader of lines that are at hand.
    pub fn from_lines(lines: Vec<Line>) -> Self {
        Self {
            lines: Box::new(lines.into_iter().map(Ok)),
            is_paced: false,
            length: Some(0),
            bytes_read: Arc::default(),
        }
    }

    /// The length of the source in bytes, where it is known.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// A count of the bytes that have been read, which grows as reading goes on.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_read)
    }

    /// Whether no line is left.
    ///
    /// # Errors
    /// If reading fails.
    pub fn is_at_end(&mut self) -> anyhow::Result<bool> {
        let Some(line) = self.lines.next().transpose()? else {
            return Ok(true);
        };
        let rest = std::mem::replace(&mut self.lines, Box::new(std::iter::empty()));
        self.lines = Box::new(std::iter::once(Ok(line)).chain(rest));
        Ok(false)
    }

    /// Starts reading, a window at a time.
    pub fn feed(self) -> Feed {
        Feed::new(self.lines, self.is_paced)
    }
}

impl Iterator for Reader {
    type Item = anyhow::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lines.next()
    }
}
