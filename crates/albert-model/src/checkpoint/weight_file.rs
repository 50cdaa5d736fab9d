//! A file of weights, memory-mapped or in memory.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use albert_formats::small_file::is_lfs_pointer;
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

use crate::error::{Error, Result};

/// A file, memory-mapped or in memory.
#[derive(Debug)]
pub(super) struct WeightFile {
    pub(super) path: PathBuf,
    pub(super) bytes: Bytes,
}

pub(super) enum Bytes {
    Mapped(Mapped),
    Owned(Cow<'static, [u8]>),
}

/// A mapped file.
pub(super) struct Mapped {
    map: Mmap,
    file: File,
    /// The version of the file when it was mapped.
    version: Option<Version>,
}

/// The length of a file and the time of its last change.
type Version = (u64, SystemTime);

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
            Self::Mapped(mapped) => &mapped.map,
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
            bytes: Bytes::Mapped(Mapped {
                map,
                version: version(&file),
                file,
            }),
        })
    }

    /// Checks that the file has not been written to since it was mapped. A file that another one
    /// has replaced under its name is unchanged.
    pub(super) fn expect_unchanged(&self) -> Result<()> {
        let Bytes::Mapped(mapped) = &self.bytes else {
            return Ok(());
        };
        if version(&mapped.file) == mapped.version {
            return Ok(());
        }
        Err(self.refused("has changed since the model's encoder was loaded from it"))
    }

    /// Returns the memory of the pages that were read to the system. They are read from the file
    /// again when they are used.
    pub(super) fn release_pages(&self) {
        #[cfg(unix)]
        if let Bytes::Mapped(mapped) = &self.bytes {
            #[expect(unsafe_code)]
            // SAFETY: the map is a read-only one of a file, so that its pages have no other content
            // than the file's, which they have again when they are next read.
            let advised = unsafe { mapped.map.unchecked_advise(UncheckedAdvice::DontNeed) };
            // Without the advice, the pages stay until the system needs them.
            let _ = advised;
        }
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

/// Returns the version of a file; `None` where the system has no times of change.
fn version(file: &File) -> Option<Version> {
    let metadata = file.metadata().ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    /// Returns a folder with a file of these bytes, mapped.
    fn mapped(bytes: &[u8]) -> (tempfile::TempDir, WeightFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        fs::write(&path, bytes).unwrap();
        let file = WeightFile::map(&path).unwrap();
        (dir, file)
    }

    #[test]
    fn a_file_that_is_written_to_is_changed_and_one_that_is_replaced_is_not() {
        let (dir, file) = mapped(b"weights");
        assert!(file.expect_unchanged().is_ok());
        fs::write(dir.path().join("new"), b"another").unwrap();
        fs::rename(dir.path().join("new"), &file.path).unwrap();
        assert!(file.expect_unchanged().is_ok());
        assert_eq!(&*file.bytes, b"weights");

        let (_dir, file) = mapped(b"weights");
        let written = File::options().write(true).open(&file.path).unwrap();
        let later = SystemTime::now() + Duration::from_secs(1);
        written.set_modified(later).unwrap();
        let error = file.expect_unchanged().unwrap_err().to_string();
        assert!(
            error.ends_with("has changed since the model's encoder was loaded from it"),
            "{error}"
        );

        let (_dir, file) = mapped(b"weights");
        let written = File::options().write(true).open(&file.path).unwrap();
        written.set_len(3).unwrap();
        assert!(file.expect_unchanged().is_err());
    }

    #[test]
    fn released_pages_are_read_again() {
        let bytes: Vec<u8> = (0..20_000).map(|byte| byte as u8).collect();
        let (_dir, file) = mapped(&bytes);
        assert_eq!(&*file.bytes, bytes);
        file.release_pages();
        assert_eq!(&*file.bytes, bytes);
    }
}
