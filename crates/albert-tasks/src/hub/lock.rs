//! One process at a time for one file, Python's among them: `.locks/models--owner--name/ETAG.lock`,
//! held as the filelock package holds it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use same_file::Handle;

/// A lock that is held until it goes out of scope or the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    /// Closing the file releases the lock.
    _file: File,
}

impl Lock {
    /// Waits for the lock at `path`, after calling `waiting` if another process has it.
    ///
    /// # Errors
    /// If the file cannot be made. Where the file system has no locks, the lock is not needed for
    /// correctness: what is downloaded is checked before it is used.
    pub(super) fn acquire(path: &Path, waiting: impl FnOnce()) -> io::Result<Self> {
        let mut waiting = Some(waiting);
        loop {
            // Python's locks are writable by the group; the file is left in place as Python leaves
            // it.
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    file.lock()?;
                }
                // Which error that is differs from one file system to the next.
                Err(TryLockError::Error(_)) => return Ok(Self { _file: file }),
            }
            // Old versions of filelock remove the file when they let go: then this lock is on
            // nothing.
            let held = Handle::from_file(file.try_clone()?)?;
            match Handle::from_path(path) {
                Ok(there) if there == held => return Ok(Self { _file: file }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_second_waits_until_the_first_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let first = Lock::acquire(&path, || panic!("nobody has it")).unwrap();
        let (send, receive) = mpsc::channel();
        let second = std::thread::spawn(move || {
            let waiting = send.clone();
            let _lock = Lock::acquire(&path, move || waiting.send("waits").unwrap()).unwrap();
            send.send("has it").unwrap();
        });
        assert_eq!(receive.recv().unwrap(), "waits");
        assert!(receive.recv_timeout(Duration::from_millis(50)).is_err());
        drop(first);
        assert_eq!(receive.recv().unwrap(), "has it");
        second.join().unwrap();
    }

    #[test]
    fn a_lock_whose_file_was_removed_is_taken_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.lock");
        let first = Lock::acquire(&path, || {}).unwrap();
        let (send, receive) = mpsc::channel();
        let other = path.clone();
        let second =
            std::thread::spawn(move || Lock::acquire(&other, || send.send(()).unwrap()).unwrap());
        receive.recv().unwrap();
        std::fs::remove_file(&path).unwrap();
        drop(first);
        let _second = second.join().unwrap();
        assert!(path.exists());
    }
}
