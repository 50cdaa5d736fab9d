//! The destination of bytes: standard output or a file, buffered, every error reported.

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
    /// For a regular file whose old content is still there, the number of bytes to keep of it.
    keep: Option<u64>,
    /// A file that did not exist before, until something is written to it.
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
                .hint("send it to /dev/null if nothing of it is wanted, or name a file with `--output`"));
        }
        let writer = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
        Ok(Self {
            place: Place::Stdout(writer),
            name: "standard output".to_string(),
            keep: None,
            untouched: None,
        })
    }

    /// Opens a file; with `needs_seek` one in which a writer can go back to the beginning.
    ///
    /// A file created here is removed again if the run fails before anything is written to it.
    ///
    /// # Errors
    /// If it cannot be written to, or is not a file where one is needed.
    pub(super) fn file(path: &Path, needs_seek: bool) -> anyhow::Result<Self> {
        let name = format!("`{}`", path.display());
        let cannot = || format!("cannot write to {name}");
        let (mut file, untouched) = match File::create_new(path) {
            Ok(file) => (file, Some(path.to_path_buf())),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // A link may lead to a file that is still to be made.
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
                .with_context(|| format!("{}: the format needs a real file", cannot()))?;
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

    /// Writes after the first `bytes` bytes of a file instead of over them.
    pub(super) fn keep(&mut self, bytes: u64) {
        self.keep = self.keep.map(|_| bytes);
    }

    /// The output's name, for messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns true for a file that did not exist before.
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

    /// Hands everything written so far to the system.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        let result = match &mut self.place {
            Place::Stdout(writer) => writer.flush(),
            Place::File(writer) => writer.flush(),
        };
        self.check(result)
    }

    /// Completes the output; a file that nothing was written to is empty now.
    pub(crate) fn finish(&mut self) -> anyhow::Result<()> {
        self.clear()?;
        self.flush()
    }

    /// Overwrites the first bytes.
    pub(super) fn rewrite_start(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let result = match &mut self.place {
            // Opened only for formats that never ask for this.
            Place::Stdout(_) => Err(io::Error::from(ErrorKind::NotSeekable)),
            Place::File(writer) => writer
                .seek(SeekFrom::Start(0))
                .and_then(|_| writer.write_all(bytes)),
        };
        self.check(result)?;
        self.flush()
    }

    /// Cuts a file that could not be written to its end to the whole rows that it holds, and returns
    /// their number.
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
        // The bytes that did not fit are dropped; a flush would try them again.
        drop(failed.into_parts());
        let file = writer.get_ref();
        let (header_bytes, row_bytes) = (header_bytes as u64, row_bytes.max(1) as u64);
        let rows = file.metadata()?.len().saturating_sub(header_bytes) / row_bytes;
        file.set_len(header_bytes + rows * row_bytes)?;
        usize::try_from(rows).map_err(io::Error::other)
    }

    /// Drops the old content of a file, but for the part that is kept, before the first new byte.
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
                    failed.hint("make room and run it again: what is written so far is incomplete")
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
            // The failure that led here is the one to report.
            drop(fs::remove_file(path));
        }
    }
}
