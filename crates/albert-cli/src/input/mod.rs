//! Opens the texts of a command: arguments, files, folders of shards or standard input.

mod format;
mod remarks;
mod request;
mod vectors;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use albert_data::{Feed, Field, Fields, Line, Notes, Place, Reader, RowBatches, Text};

use crate::failure::usage;
use crate::progress::Extent;
pub(crate) use remarks::Remarks;
pub(crate) use request::{Origin, Request};
pub(crate) use vectors::vectors;

/// The open input of a run, not yet read.
pub(crate) struct Input {
    reader: Reader,
    /// The extent of the input.
    pub(crate) extent: Extent,
    /// The number of bytes read so far.
    pub(crate) bytes_read: Arc<AtomicU64>,
    /// Pass over bad lines.
    pub(crate) skip_bad: bool,
    /// The number of lines that an earlier run has processed.
    pub(crate) skipped: usize,
    notes: Notes,
}

impl Input {
    /// Opens the requested texts.
    ///
    /// # Errors
    /// If the options contradict each other or the format, or a file cannot be opened.
    pub(crate) fn open(request: &Request) -> anyhow::Result<Self> {
        let pairs = request.pairs();
        let names = request.field.as_deref().unwrap_or(pairs.default_field());
        let fields = Fields::parse(names, pairs)
            .map_err(|error| usage(format!("`--field {names}`: {error}")))?;
        let fields = match request.keep.as_deref() {
            None => fields,
            Some("all") => fields.with_all_kept(),
            Some(columns) => fields.with_kept(
                Field::parse_list(columns)
                    .map_err(|error| usage(format!("`--keep {columns}`: {error}")))?,
            ),
        };
        let (reader, extent) = match &request.origin {
            Origin::Arguments { .. } if request.keep.is_some() => {
                return Err(usage(
                    "`--keep` applies to files, but the texts are arguments",
                ));
            }
            Origin::Arguments { .. } if request.keeps_batches => {
                return Err(usage(
                    "`--row-batches as-input` is for Arrow files, and the texts are arguments",
                ));
            }
            Origin::Arguments { texts, pair } => {
                let reader = Reader::from_lines(lines(texts, pair.as_deref()));
                (reader, Extent::Short)
            }
            Origin::Stdin => request.read(&[PathBuf::from("-")], &fields)?,
            Origin::Files(paths) => request.read(paths, &fields)?,
        };
        Ok(Self {
            bytes_read: reader.bytes_read(),
            notes: reader.notes(),
            reader,
            extent,
            skip_bad: request.skip_bad,
            skipped: 0,
        })
    }

    /// Returns the remarks on this input; more are added while it is read.
    pub(crate) fn remarks(&self) -> Remarks {
        Remarks {
            notes: self.notes.clone(),
            extent: self.extent,
            bytes_read: Arc::clone(&self.bytes_read),
        }
    }

    /// Returns the record batches of Arrow inputs, which come as they are read.
    pub(crate) fn row_batches(&self) -> RowBatches {
        self.reader.row_batches()
    }

    /// Returns the number of bytes read so far.
    pub(crate) fn position(bytes_read: &AtomicU64) -> u64 {
        bytes_read.load(Ordering::Relaxed)
    }

    /// Skips the first `count` lines, or as many as there are, and returns the first and the last
    /// of them with their numbers.
    ///
    /// # Errors
    /// If reading fails.
    pub(crate) fn skip(&mut self, count: usize) -> anyhow::Result<Vec<(usize, Line)>> {
        let mut ends = Vec::new();
        while self.skipped < count {
            let Some(line) = self.reader.next().transpose()? else {
                break;
            };
            ends.truncate(1);
            ends.push((self.skipped, line));
            self.skipped += 1;
        }
        Ok(ends)
    }

    /// Returns true if no line is left.
    ///
    /// # Errors
    /// If reading fails.
    pub(crate) fn is_at_end(&mut self) -> anyhow::Result<bool> {
        Ok(self.reader.is_at_end()?)
    }

    /// Starts reading, a chunk at a time.
    pub(crate) fn feed(self) -> Feed {
        self.reader.feed()
    }
}

/// Returns the arguments as lines.
fn lines(texts: &[String], pair: Option<&str>) -> Vec<Line> {
    let line = |(index, text): (usize, &String)| Line {
        place: if texts.len() == 1 {
            Place::OnlyArgument
        } else {
            Place::Argument(index + 1)
        },
        text: Ok(Text {
            text: text.clone(),
            pair: pair.map(String::from),
            words: None,
        }),
        kept: Vec::new(),
    };
    texts.iter().enumerate().map(line).collect()
}
