//! Configurations, vocabularies and the like: regular files of a bounded size, read whole.
//!
//! Opening a pipe waits for its writer, `/dev/zero` has no end, and a sparse file takes no room
//! until it is read. None of them is a configuration.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The maximum size of a small file in bytes: four times the largest vocabulary seen.
pub const MOST_BYTES: u64 = 64 << 20;

/// The first bytes of the text file that Git LFS leaves in place of a file.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// The reason why a small file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system cannot read it.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A folder, a pipe or a device has the file's name.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is larger than any of its kind.
    #[error("`{}` has {bytes} bytes: expected at most {MOST_BYTES}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Git LFS left a pointer in place of the file.
    #[error("`{}` is a Git LFS pointer: expected the file itself", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
}

/// Returns true if the bytes are a pointer that Git LFS left in place of a file.
pub fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(LFS_POINTER)
}

/// Reads a small file; `None` if there is none.
///
/// # Errors
/// If it is not a regular file, has more than [`MOST_BYTES`], is a Git LFS pointer or cannot be
/// read. Symbolic links are followed: download caches consist of them.
pub fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match read(path) {
        Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Reads a small file.
///
/// # Errors
/// If it is not there, and as [`read_if_present`].
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let io = |source| FileError::Io {
        path: path.into(),
        source,
    };
    // Asked before it is opened: opening a pipe waits for its writer.
    let metadata = path.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(FileError::NotAFile { path: path.into() });
    }
    let too_large = |bytes| FileError::TooLarge {
        path: path.into(),
        bytes,
    };
    if metadata.len() > MOST_BYTES {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile, and files of /proc have no size.
    let file = File::open(path).map_err(io)?;
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(too_large(bytes.len() as u64));
    }
    if is_lfs_pointer(&bytes) {
        return Err(FileError::LfsPointer { path: path.into() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_file_is_read_and_an_absent_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        assert!(read_if_present(&path).unwrap().is_none());
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read(&path).unwrap(), b"{}");
        assert!(matches!(read(dir.path()), Err(FileError::NotAFile { .. })));
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid").unwrap();
        assert!(matches!(read(&path), Err(FileError::LfsPointer { .. })));
    }

    #[test]
    fn a_sparse_file_is_refused_by_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vocab.txt");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, FileError::TooLarge { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_and_devices_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("tokenizer.json");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        if made.is_ok_and(|status| status.success()) {
            assert!(matches!(read(&pipe), Err(FileError::NotAFile { .. })));
        }
        let device = dir.path().join("modules.json");
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        assert!(matches!(read(&device), Err(FileError::NotAFile { .. })));
    }
}
