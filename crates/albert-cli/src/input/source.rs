//! Where texts are read from: a file, or standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};

use crate::args::InputArgs;
use crate::failure::{Hint, usage};
use crate::progress::Extent;

/// Where the texts are.
pub(super) enum Source {
    Arguments,
    File(PathBuf),
    Stdin,
}

/// Settles where the texts are.
///
/// # Errors
/// If there are none.
pub(super) fn source(args: &InputArgs) -> anyhow::Result<Source> {
    if let [only] = args.texts.as_slice()
        && only == "-"
    {
        return Ok(Source::Stdin);
    }
    match &args.input {
        _ if !args.texts.is_empty() => Ok(Source::Arguments),
        Some(path) if path.as_os_str() == "-" => Ok(Source::Stdin),
        Some(path) => Ok(Source::File(path.clone())),
        None if !io::stdin().is_terminal() => Ok(Source::Stdin),
        None => Err(usage("no text given")
            .hint("give a text as an argument, `--input FILE`, or pipe lines into the command")),
    }
}

/// A file or standard input.
pub(super) struct Opened {
    pub(super) reader: Reader,
    /// Its name, for messages.
    pub(super) name: Arc<str>,
    pub(super) extent: Extent,
}

/// What is read.
pub(super) enum Reader {
    File(File),
    Stdin(io::Stdin),
}

impl Opened {
    /// Opens a file, or without one standard input.
    ///
    /// # Errors
    /// If it cannot be opened, or is a folder.
    pub(super) fn new(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            let reader = Reader::Stdin(io::stdin());
            return Ok(Self {
                reader,
                name: "standard input".into(),
                extent: Extent::Unknown,
            });
        };
        let name = path.display();
        let file = File::open(path).with_context(|| format!("cannot open `{name}`"))?;
        let metadata = file
            .metadata()
            .with_context(|| format!("cannot open `{name}`"))?;
        if metadata.is_dir() {
            bail!("cannot read `{name}`: expected a file, found a folder");
        }
        let extent = if metadata.is_file() {
            Extent::Bytes(metadata.len())
        } else {
            Extent::Unknown
        };
        Ok(Self {
            reader: Reader::File(file),
            name: format!("`{name}`").into(),
            extent,
        })
    }
}

impl Reader {
    /// Something to read from beginning to end.
    pub(super) fn into_read(self) -> Box<dyn Read + Send> {
        match self {
            Self::File(file) => Box::new(file),
            Self::Stdin(stdin) => Box::new(stdin),
        }
    }
}

/// Counts what passes through, for the progress bar.
pub(super) struct Counted<R> {
    pub(super) reader: R,
    pub(super) bytes: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
