//! A file of weights, memory-mapped or in memory.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use albert_formats::small_file::is_lfs_pointer;
use memmap2::Mmap;

use crate::error::{Error, Result};

/// A file, memory-mapped or in memory.
#[derive(Debug)]
pub(super) struct WeightFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Bytes,
}

pub(super) enum Bytes {
    Mapped(Mmap),
    Owned(Cow<'static, [u8]>),
}

/// Shows only the length, not the bytes.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl WeightFile {
    /// Maps a file into memory.
    pub(super) fn map(path: &Path) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.into(),
            source,
        };
        // Checked before it is opened: opening a pipe waits for its writer.
        if !path.metadata().map_err(io)?.is_file() {
            return Err(Error::NotAFile { path: path.into() });
        }
        let file = File::open(path).map_err(io)?;
        #[expect(unsafe_code)]
        // SAFETY: the map is read-only. If another process truncates the file while it is mapped,
        // reads fault. Like every reader of mapped weights, this relies on model files not being
        // changed; a copy would take as much memory as the file.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        if is_lfs_pointer(&map) {
            return Err(Error::LfsPointer { path: path.into() });
        }
        Ok(Self {
            path: path.into(),
            bytes: Bytes::Mapped(map),
        })
    }

    /// Creates a file from bytes in memory; errors call it `name`.
    pub(super) fn owned(bytes: Cow<'static, [u8]>, name: &str) -> Self {
        Self {
            path: name.into(),
            bytes: Bytes::Owned(bytes),
        }
    }

    /// Returns the error for a file that violates its format.
    pub(super) fn malformed(&self, format: &'static str, why: impl Into<String>) -> Error {
        Error::Malformed {
            file: self.path.display().to_string(),
            format,
            why: why.into(),
        }
    }

    /// Returns the error for a valid file with unsupported content.
    pub(super) fn refused(&self, why: impl Into<String>) -> Error {
        Error::Refused {
            file: self.path.display().to_string(),
            why: why.into(),
        }
    }
}
