//! The destination of bytes: standard output or a file, buffered, with every error reported.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, StdoutLock, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::salvage::{RowEnds, Salvage};
use crate::failure::{ClosedPipe, Hint};
#[cfg(unix)]
use crate::output::closed::stdout_was_closed;
use crate::progress::rows;

/// An open output.
pub(crate) struct Sink {
    place: Place,
    name: String,
    /// The number of bytes to keep of a regular file whose old content is not yet cleared.
    keep: Option<u64>,
    /// The path of a new file, until something is written to it.
    untouched: Option<PathBuf>,
    /// The way to a readable file after a failed write.
    salvage: Salvage,
    rows: RowEnds,
    /// A write has failed, and its error is reported.
    has_failed: bool,
}

enum Place {
    Stdout(BufWriter<StdoutLock<'static>>),
    File(BufWriter<File>),
}

const BUFFER_BYTES: usize = 1 << 16;

impl Sink {
    /// Returns standard output.
    ///
    /// # Errors
    /// If it was closed before the start.
    pub(crate) fn stdout() -> anyhow::Result<Self> {
        #[cfg(unix)]
        if stdout_was_closed() {
            return Err(anyhow!("cannot write to standard output: it is closed")
                .hint("redirect it to /dev/null to discard it, or name a file with `--output`"));
        }
        let writer = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
        Ok(Self {
            place: Place::Stdout(writer),
            name: "standard output".to_string(),
            keep: None,
            untouched: None,
            salvage: Salvage::Rows { end: b"" },
            rows: RowEnds::default(),
            has_failed: false,
        })
    }

    /// Opens a file; with `needs_seek`, one in which a writer can go back to the start.
    ///
    /// A file created here is removed again if the run fails before anything is written to it.
    ///
    /// # Errors
    /// If it cannot be written to, or is not a regular file and `needs_seek` is set.
    pub(super) fn file(path: &Path, needs_seek: bool) -> anyhow::Result<Self> {
        let name = format!("`{}`", path.display());
        let cannot = || format!("cannot write to {name}");
        let (mut file, untouched) = match File::create_new(path) {
            Ok(file) => (file, Some(path.to_path_buf())),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // A link may lead to a file that does not exist yet.
                let mut options = File::options();
                (
                    options
                        .write(true)
                        .create(true)
                        .truncate(false)
                        .open(path)
                        .with_context(cannot)?,
                    None,
                )
            }
            Err(error) => return Err(error).with_context(cannot),
        };
        if needs_seek {
            file.stream_position()
                .with_context(|| format!("{}: the format needs a regular file", cannot()))?;
        }
        let keep = file
            .metadata()
            .is_ok_and(|metadata| metadata.is_file())
            .then_some(0);
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        Ok(Self {
            place: Place::File(writer),
            name,
            keep,
            untouched,
            salvage: Salvage::Rows { end: b"" },
            rows: RowEnds::default(),
            has_failed: false,
        })
    }

    /// Writes after the first `bytes` bytes of a file, which hold `rows` rows, instead of over them.
    pub(super) fn keep(&mut self, bytes: u64, rows: usize) {
        self.keep = self.keep.map(|_| bytes);
        self.rows = RowEnds::after(bytes, rows);
    }

    /// Sets the way to a readable file after a failed write; otherwise it is cut after its last
    /// whole row.
    pub(super) fn with_salvage(mut self, salvage: Salvage) -> Self {
        self.salvage = salvage;
        self
    }

    /// Notes that `rows` rows end with the bytes written so far.
    pub(super) fn end_rows(&mut self, rows: usize) {
        self.rows.end_rows(rows);
    }

    /// Returns the output's name, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns true for a file that this run created.
    pub(super) fn is_new(&self) -> bool {
        self.untouched.is_some()
    }

    /// Writes bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.clear()?;
        self.rows.written(bytes.len());
        self.attempt(|place| match place {
            Place::Stdout(writer) => writer.write_all(bytes),
            Place::File(writer) => writer.write_all(bytes),
        })
    }

    /// Writes a value as JSON, as it is formed: a row may be many times as long as its text.
    pub(super) fn write_json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        /// Fewer, longer writes.
        const BUFFER_BYTES: usize = 1 << 14;
        let pieces = Pieces {
            sink: self,
            error: None,
        };
        let mut buffer = BufWriter::with_capacity(BUFFER_BYTES, pieces);
        let written = serde_json::to_writer(&mut buffer, value);
        let flushed = buffer.flush();
        let (pieces, _) = buffer.into_parts();
        match pieces.error {
            Some(error) => Err(error),
            None => Ok(written.map(|()| flushed)??),
        }
    }

    /// Flushes everything written so far.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.attempt(|place| match place {
            Place::Stdout(writer) => writer.flush(),
            Place::File(writer) => writer.flush(),
        })?;
        self.rows.flushed();
        Ok(())
    }

    /// Completes the output; a file to which nothing was written becomes empty.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        self.clear()?;
        self.flush()
    }

    /// Overwrites the first bytes.
    pub(super) fn rewrite_start(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.attempt(|place| match place {
            // Opened only for formats that never ask for this.
            Place::Stdout(_) => Err(io::Error::from(ErrorKind::NotSeekable)),
            Place::File(writer) => writer
                .seek(SeekFrom::Start(0))
                .and_then(|_| writer.write_all(bytes)),
        })?;
        self.flush()
    }

    /// Clears the old content of a file, except for the part to keep, before the first new byte.
    fn clear(&mut self) -> anyhow::Result<()> {
        let Some(keep) = self.keep.take() else {
            return Ok(());
        };
        self.untouched = None;
        self.attempt(|place| match place {
            Place::Stdout(_) => Ok(()),
            Place::File(writer) => writer
                .get_ref()
                .set_len(keep)
                .and_then(|()| writer.seek(SeekFrom::Start(keep)).map(drop)),
        })
    }

    /// Writes, unless a write has failed before. After a failure a file is cut to its whole rows,
    /// and the error says how many there are.
    fn attempt(&mut self, write: impl FnOnce(&mut Place) -> io::Result<()>) -> anyhow::Result<()> {
        if self.has_failed {
            return Err(anyhow!("cannot write to {}", self.name));
        }
        let Err(error) = write(&mut self.place) else {
            return Ok(());
        };
        self.has_failed = true;
        if error.kind() == ErrorKind::BrokenPipe {
            return Err(ClosedPipe.into());
        }
        let salvaged = self.salvage();
        let name = &self.name;
        let advice = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "free some space and run the command again"
            }
            ErrorKind::FileTooLarge => "raise the limit (`ulimit -f`) and run the command again",
            _ => "run the command again",
        };
        let failed = Err(error).with_context(|| format!("cannot write to {name}"));
        failed.hint(match salvaged {
            Some(Ok(Some(count))) => format!(
                "{name} has {} and ends after the last of them: {advice}",
                rows(count)
            ),
            Some(Ok(None)) => {
                format!("{name} lacks its index and cannot be read: remove it, {advice}")
            }
            Some(Err(_)) => format!("{name} is incomplete: remove it, {advice}"),
            None => format!("{advice}: the output is incomplete"),
        })
    }

    /// Makes a readable file of the rows that it holds; `None` if it is not a regular file.
    fn salvage(&mut self) -> Option<anyhow::Result<Option<usize>>> {
        let Place::File(writer) = &mut self.place else {
            return None;
        };
        let file = writer.get_ref();
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return None;
        }
        let mut file = match file.try_clone() {
            Ok(file) => file,
            Err(error) => return Some(Err(error.into())),
        };
        let salvaged = self.salvage.apply(&mut file, &self.rows);
        let failed = std::mem::replace(writer, BufWriter::with_capacity(BUFFER_BYTES, file));
        // The bytes that did not fit are dropped; a flush would try them again.
        drop(failed.into_parts());
        Some(salvaged)
    }
}

/// The sink for a serializer, whose own errors hold no others.
struct Pieces<'a> {
    sink: &'a mut Sink,
    error: Option<anyhow::Error>,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.error.is_none()
            && let Err(error) = self.sink.write(bytes)
        {
            self.error = Some(error);
        }
        if self.error.is_some() {
            return Err(ErrorKind::Other.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a function that writes to standard output itself.
///
/// # Errors
/// If standard output was closed before the start, or cannot be written to.
pub(crate) fn print_to_stdout(print: impl FnOnce() -> io::Result<()>) -> anyhow::Result<()> {
    let mut sink = Sink::stdout()?;
    sink.attempt(|_| print().and_then(|()| io::stdout().flush()))
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(path) = &self.untouched {
            // Report the failure that led here, not one of the removal.
            drop(fs::remove_file(path));
        }
    }
}
