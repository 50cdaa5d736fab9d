//! The bytes that texts are read from: a file, or standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail};

/// A file or standard input, open.
#[derive(Debug)]
pub struct Source {
    pub(super) reader: Origin,
    /// Its name, for messages.
    pub(super) name: Arc<str>,
    /// Its length in bytes, where it is known.
    pub(super) length: Option<u64>,
}

/// Where the bytes come from.
#[derive(Debug)]
pub(super) enum Origin {
    File(File),
    Stdin(io::Stdin),
}

impl Source {
    /// Standard input.
    pub fn stdin() -> Self {
        Self {
            reader: Origin::Stdin(io::stdin()),
            name: "standard input".into(),
            length: None,
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be opened, or is a folder.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("cannot open `{name}`"))?;
        let metadata = file
            .metadata()
            .with_context(|| format!("cannot open `{name}`"))?;
        if metadata.is_dir() {
            bail!("cannot read `{name}`: expected a file, found a folder");
        }
        Ok(Self {
            reader: Origin::File(file),
            name: format!("`{name}`").into(),
            length: metadata.is_file().then(|| metadata.len()),
        })
    }
}

impl Origin {
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
