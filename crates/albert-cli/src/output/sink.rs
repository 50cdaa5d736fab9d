//! The destination of bytes: standard output or a file, buffered, with every error reported.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, StdoutLock, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::failure::{ClosedPipe, Hint};
#[cfg(unix)]
use crate::output::closed::stdout_was_closed;

/// An open output.
pub(crate) struct Sink {
    place: Place,
    name: String,
    /// The number of bytes to keep of a regular file whose old content is not yet cleared.
    keep: Option<u64>,
    /// The path of a new file, until something is written to it.
    untouched: Option<PathBuf>,
}

enum Place {
    Stdout(BufWriter<StdoutLock<'static>>),
    File(BufWriter<File>),
}

const BUFFER_BYTES: usize = 1 << 16;

impl Sink {
    /// Standard output.
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
        })
    }

    /// Keeps the first `bytes` bytes of a file and writes after them.
    pub(super) fn keep(&mut self, bytes: u64) {
        self.keep = self.keep.map(|_| bytes);
    }

    /// The output's name, for messages.
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
        let result = match &mut self.place {
            Place::Stdout(writer) => writer.write_all(bytes),
            Place::File(writer) => writer.write_all(bytes),
        };
        self.check(result)
    }

    /// Flushes everything written so far.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        let result = match &mut self.place {
            Place::Stdout(writer) => writer.flush(),
            Place::File(writer) => writer.flush(),
        };
        self.check(result)
    }

    /// Completes the output; a file to which nothing was written becomes empty.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        self.clear()?;
        self.flush()
    }

    /// Overwrites the first bytes.
    pub(super) fn rewrite_start(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let result = match &mut self.place {
            // Only opened for formats that never call this.
            Place::Stdout(_) => Err(io::Error::from(ErrorKind::NotSeekable)),
            Place::File(writer) => writer
                .seek(SeekFrom::Start(0))
                .and_then(|_| writer.write_all(bytes)),
        };
        self.check(result)?;
        self.flush()
    }

    /// Truncates a file that could not be completed to whole rows, and returns their number.
    pub(super) fn keep_whole(
        &mut self,
        header_bytes: usize,
        row_bytes: usize,
    ) -> io::Result<usize> {
        let Place::File(writer) = &mut self.place else {
            return Err(io::Error::from(ErrorKind::NotSeekable));
        };
        let file = writer.get_ref().try_clone()?;
        let failed = std::mem::replace(writer, BufWriter::with_capacity(BUFFER_BYTES, file));
        // Drops the bytes that did not fit; a flush would try to write them again.
        drop(failed.into_parts());
        let file = writer.get_ref();
        let (header_bytes, row_bytes) = (header_bytes as u64, row_bytes.max(1) as u64);
        let rows = file.metadata()?.len().saturating_sub(header_bytes) / row_bytes;
        file.set_len(header_bytes + rows * row_bytes)?;
        usize::try_from(rows).map_err(io::Error::other)
    }

    /// Clears the old content of a file, except for the part to keep, before the first new byte.
    fn clear(&mut self) -> anyhow::Result<()> {
        let Some(keep) = self.keep.take() else {
            return Ok(());
        };
        self.untouched = None;
        let result = match &mut self.place {
            Place::Stdout(_) => Ok(()),
            Place::File(writer) => writer
                .get_ref()
                .set_len(keep)
                .and_then(|()| writer.seek(SeekFrom::Start(keep)).map(drop)),
        };
        self.check(result)
    }

    fn check(&self, result: io::Result<()>) -> anyhow::Result<()> {
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ClosedPipe.into()),
            Err(error) => {
                let full = error.kind() == ErrorKind::StorageFull;
                let failed = Err(error).with_context(|| format!("cannot write to {}", self.name));
                if full {
                    failed
                        .hint("free some space and run the command again: the output is incomplete")
                } else {
                    failed
                }
            }
            Ok(()) => Ok(()),
        }
    }
}

/// Runs a function that writes to standard output itself.
///
/// # Errors
/// If standard output was closed before the start, or cannot be written to.
pub(crate) fn print_to_stdout(print: impl FnOnce() -> io::Result<()>) -> anyhow::Result<()> {
    let sink = Sink::stdout()?;
    let printed = print().and_then(|()| io::stdout().flush());
    sink.check(printed)
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(path) = &self.untouched {
            // Report the failure that led here, not one of the removal.
            drop(fs::remove_file(path));
        }
    }
}
