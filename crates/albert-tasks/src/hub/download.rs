//! Downloads one file from the Hub into the cache: resumable, by one process at a time, and checked
//! before it gets its final name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::Path;

use ring::digest;
use ureq::ResponseExt;
use ureq::http::StatusCode;

use super::cache::{Presence, Repository, create_parent};
use super::http::{Failure, Retry, Want, answer, header};
use super::lock::Lock;
use super::remote::{Described, Remote};
use super::{Event, HubError};
use crate::files::stays_inside;

/// The number of bytes read and written at a time.
const CHUNK_BYTES: usize = 1 << 16;

/// Downloads `file` into the snapshot, unless it is there already.
pub(super) fn download(
    remote: &Remote,
    repository: &Repository,
    file: &str,
) -> Result<(), HubError> {
    if !stays_inside(file) {
        return Err(HubError::Outside {
            id: remote.id.to_string(),
            file: file.to_string(),
        });
    }
    if repository.presence(&remote.commit, file) == Presence::Present {
        return Ok(());
    }
    let described = remote.describe(file)?;
    let etag = &described.etag;
    let (blob, lock) = (repository.blob(etag), repository.lock(etag));
    create_parent(&blob)?;
    let waiting = || (remote.client.observer())(&Event::Waiting { file });
    // Without a lock two processes may download the same file; each checks it before it gets its
    // name.
    let held = create_parent(&lock).and_then(|()| {
        Lock::acquire(&lock, waiting).map_err(|source| HubError::Write { path: lock, source })
    });
    // Another process may have downloaded it in the meantime, or another file has the same content.
    let is_there = repository.presence(&remote.commit, file) == Presence::Present || blob.is_file();
    if !is_there {
        Download {
            remote,
            file,
            described: &described,
            partial: &repository.incomplete(etag),
        }
        .run(&blob)?;
    }
    if blob.is_file() {
        repository.link(&remote.commit, file, etag)?;
    }
    drop(held);
    Ok(())
}

/// A file that is being downloaded.
struct Download<'a> {
    remote: &'a Remote<'a>,
    file: &'a str,
    described: &'a Described,
    partial: &'a Path,
}

impl Download<'_> {
    fn run(&self, blob: &Path) -> Result<(), HubError> {
        let write_error = |source| self.unwritable(self.partial, 0, source);
        let mut partial = OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.partial)
            .map_err(write_error)?;
        let mut resumed = partial.metadata().map_err(write_error)?.len() > 0;
        loop {
            self.transfer(&mut partial)?;
            match self.check() {
                Ok(()) => break,
                // The bytes of an earlier run may be damaged, so the file is downloaded again from
                // the start.
                Err(HubError::Damaged { .. }) if resumed => {
                    resumed = false;
                    partial.set_len(0).map_err(write_error)?;
                }
                Err(error) => {
                    // The damaged file is useless; if it cannot be removed, the next run overwrites
                    // it.
                    let _ = fs::remove_file(self.partial);
                    return Err(error);
                }
            }
        }
        // Flushed to disk before the rename, because it is not checked again afterwards.
        partial.sync_all().map_err(write_error)?;
        drop(partial);
        fs::rename(self.partial, blob).map_err(write_error)
    }

    /// Appends the missing bytes, over as many connections as necessary.
    fn transfer(&self, partial: &mut File) -> Result<(), HubError> {
        let client = self.remote.client;
        let mut have = partial
            .metadata()
            .map_err(|source| self.unwritable(self.partial, 0, source))?
            .len();
        let mut failures = 0;
        let mut most = have;
        loop {
            if self.described.size.is_some_and(|size| have > size) {
                self.restart(partial, &mut have)?;
            }
            if self.described.size == Some(have) {
                return Ok(());
            }
            match self.piece(partial, &mut have) {
                Ok(()) => return Ok(()),
                Err(failure) => {
                    // A connection that breaks often is acceptable as long as it makes progress.
                    // Bytes downloaded a second time do not count as progress.
                    if have > most {
                        (failures, most) = (0, have);
                    }
                    client.pause(self.file, failure, &mut failures)?;
                }
            }
        }
    }

    /// Downloads over one connection: the rest of the file if nothing fails.
    fn piece(&self, partial: &mut File, have: &mut u64) -> Result<(), Failure> {
        let (client, url, size) = (self.remote.client, &self.described.url, self.described.size);
        let response = client.request(url, Want::From(*have))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = header(response.headers(), "content-range").unwrap_or_default();
                if !range.starts_with(&format!("bytes {have}-")) {
                    // Some proxies drop the header, or answer with another range.
                    let why =
                        format!("requested the bytes from {have} on, found the range `{range}`");
                    self.restart(partial, have)?;
                    return Err(Failure {
                        error: answer(url, why),
                        retry: Retry::Soon,
                    });
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let came = *have;
                self.restart(partial, have)?;
                let from = response.get_uri().to_string();
                return Err(client.failed(&from, early(came, size.unwrap_or(came)).into()));
            }
            _ => {
                if let Some(refusal) =
                    client.refusal(self.remote.id, self.remote.revision, &response)
                {
                    return Err(refusal);
                }
                // The server does not support ranges and sends the whole file.
                self.restart(partial, have)?;
            }
        }
        let from = response.get_uri().to_string();
        // One byte more than announced is enough to detect an error.
        let limit = size.map_or(u64::MAX, |size| (size - *have).saturating_add(1));
        let mut body = response.into_body().into_reader().take(limit);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            (client.observer())(&Event::Progress {
                file: self.file,
                done: *have,
                total: size,
            });
            client.cancellation().check()?;
            let read = match body.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(client.failed(&from, error.into())),
            };
            let left = size.map_or(0, |size| size.saturating_sub(*have));
            partial
                .write_all(&chunk[..read])
                .map_err(|source| self.unwritable(self.partial, left, source))?;
            *have += read as u64;
        }
        match size {
            Some(size) if *have < size => Err(client.failed(&from, early(*have, size).into())),
            _ => Ok(()),
        }
    }

    fn restart(&self, partial: &mut File, have: &mut u64) -> Result<(), HubError> {
        if *have == 0 {
            return Ok(());
        }
        *have = 0;
        partial
            .set_len(0)
            .map_err(|source| self.unwritable(self.partial, 0, source))
    }

    /// Compares size and hash with the announced ones.
    fn check(&self) -> Result<(), HubError> {
        let damaged = |expected: String, found: String| HubError::Damaged {
            id: self.remote.id.to_string(),
            file: self.file.to_string(),
            expected,
            found,
        };
        let read_error = |source| HubError::Read {
            path: self.partial.to_path_buf(),
            source,
        };
        let mut file = File::open(self.partial).map_err(read_error)?;
        let length = file.metadata().map_err(read_error)?.len();
        if let Some(size) = self.described.size
            && length != size
        {
            return Err(damaged(format!("{size} bytes"), format!("{length}")));
        }
        let etag = &self.described.etag;
        let (name, mut hash) = match etag.len() {
            64 => ("sha256", digest::Context::new(&digest::SHA256)),
            40 => {
                // Git hashes the kind and the length along with the content.
                let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
                hash.update(format!("blob {length}\0").as_bytes());
                ("git's sha1", hash)
            }
            // A mirror with its own ETags: there is no hash to compare with.
            _ => return Ok(()),
        };
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match file.read(&mut chunk).map_err(read_error)? {
                0 => break,
                read => hash.update(&chunk[..read]),
            }
        }
        let found: String = hash
            .finish()
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if found == etag.to_lowercase() {
            Ok(())
        } else {
            Err(damaged(format!("{name} {etag}"), found))
        }
    }

    fn unwritable(&self, path: &Path, left: u64, source: io::Error) -> HubError {
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => HubError::NoSpace {
                file: self.file.to_string(),
                left,
                source,
            },
            _ => HubError::Write {
                path: path.to_path_buf(),
                source,
            },
        }
    }
}

/// Returns the error for a file that ends before its announced size.
fn early(have: u64, size: u64) -> io::Error {
    io::Error::new(
        ErrorKind::UnexpectedEof,
        format!("received {have} of {size} bytes"),
    )
}
