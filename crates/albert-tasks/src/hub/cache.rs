//! The cache shared with Python's huggingface_hub, and its layout.
//!
//! ```text
//! models--owner--name/
//!   refs/main                         the commit of the branch
//!   blobs/ETAG                        content, under its hash; ETAG.incomplete while it arrives
//!   snapshots/COMMIT/config.json      a link to ../../blobs/ETAG
//!   .no_exist/COMMIT/modules.json     empty: this commit is known to have no such file
//! .locks/models--owner--name/ETAG.lock
//! ```

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::HubError;
use crate::files::stays_inside;

/// One model's part of the cache.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    folder: PathBuf,
    locks: PathBuf,
}

/// The state of a file at one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Present,
    Absent,
    /// Not in the cache, and not yet requested from the Hub.
    Unknown,
}

impl Repository {
    /// Takes the part of the cache for `id`, `owner/name` or an old `name`.
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        let name = format!("models--{}", id.replace('/', "--"));
        Self {
            folder: cache.join(&name),
            locks: cache.join(".locks").join(name),
        }
    }

    /// Returns the commit of `revision`, if the cache knows it.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_string());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        let commit = commit.trim();
        // A process that was killed while writing leaves less than a commit.
        is_commit(commit).then(|| commit.to_string())
    }

    /// Records the commit of `revision`, if the cache is writable; only later runs use it.
    pub(super) fn note_ref(&self, revision: &str, commit: &str) {
        if !is_commit(revision) && self.commit(revision).as_deref() != Some(commit) {
            note(&self.folder.join("refs").join(revision), commit);
        }
    }

    /// Returns the commits with files in the cache, sorted.
    pub(super) fn snapshots(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("snapshots"));
        let names = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut commits: Vec<String> = names.filter(|name| is_commit(name)).collect();
        commits.sort_unstable();
        commits
    }

    /// Returns the folder of the model's files at a commit.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Returns the state of `file` at a commit.
    pub(super) fn presence(&self, commit: &str, file: &str) -> Presence {
        if !stays_inside(file) {
            Presence::Absent
        } else if self.snapshot(commit).join(file).is_file() {
            Presence::Present
        } else if self
            .folder
            .join(".no_exist")
            .join(commit)
            .join(file)
            .exists()
        {
            Presence::Absent
        } else {
            Presence::Unknown
        }
    }

    /// Records that a commit has no `file`, if the cache is writable, to save later runs a request.
    pub(super) fn note_absent(&self, commit: &str, file: &str) {
        let path = self.folder.join(".no_exist").join(commit).join(file);
        if !path.exists() {
            note(&path, "");
        }
    }

    /// Returns the path of content with this hash.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Returns the path of that content during its download.
    pub(super) fn incomplete(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Returns the path of that content's lock.
    pub(super) fn lock(&self, etag: &str) -> PathBuf {
        self.locks.join(format!("{etag}.lock"))
    }

    /// Links `file` of a snapshot to the content with this hash.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), HubError> {
        link_with(
            symlink,
            &self.blob(etag),
            &self.snapshot(commit),
            file,
            etag,
        )
    }
}

/// Writes an optional record, and ignores failures, so that a read-only cache works.
fn note(path: &Path, text: &str) {
    let _ = create_parent(path).map(|()| fs::write(path, text));
}

/// Creates a link, or a copy on systems without links, like Python.
fn link_with(
    symlink: impl Fn(&Path, &Path) -> io::Result<()>,
    blob: &Path,
    snapshot: &Path,
    file: &str,
    etag: &str,
) -> Result<(), HubError> {
    let path = snapshot.join(file);
    create_parent(&path)?;
    // Relative, so that the cache can be moved: up from the file's folder to the snapshot, to
    // `snapshots`, to the model.
    let up = "../".repeat(file.split('/').count() + 1);
    let target = PathBuf::from(format!("{up}blobs/{etag}"));
    let made = match symlink(&target, &path) {
        // Replaces a broken or wrong link, because a commit has only one content with that name.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            if fs::read_link(&path).is_ok_and(|link| link == target) {
                return Ok(());
            }
            fs::remove_file(&path).and_then(|()| symlink(&target, &path))
        }
        made => made,
    };
    match made {
        Ok(()) => Ok(()),
        // Another process was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(_) => fs::rename(blob, &path).map_err(|source| HubError::Write { path, source }),
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(
        target.as_os_str().to_string_lossy().replace('/', "\\"),
        link,
    )
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(ErrorKind::Unsupported.into())
}

/// Creates the parent folder of `path`.
pub(super) fn create_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|source| HubError::Write {
        path: parent.to_path_buf(),
        source,
    })
}

/// Returns true for the full name of a commit.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40
        && revision
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    fn repository() -> (tempfile::TempDir, Repository) {
        let cache = tempfile::tempdir().unwrap();
        let repository = Repository::new(cache.path(), "owner/name");
        create_parent(&repository.blob("etag")).unwrap();
        fs::write(repository.blob("etag"), "content").unwrap();
        (cache, repository)
    }

    #[test]
    fn a_reference_leads_to_a_commit_and_a_commit_to_itself() {
        let (cache, repository) = repository();
        assert_eq!(repository.commit("refs/pr/1"), None);
        repository.note_ref("refs/pr/1", COMMIT);
        assert_eq!(repository.commit("refs/pr/1").as_deref(), Some(COMMIT));
        assert_eq!(repository.commit(COMMIT).as_deref(), Some(COMMIT));
        let written = cache.path().join("models--owner--name/refs/refs/pr/1");
        assert_eq!(fs::read_to_string(&written).unwrap(), COMMIT);
        fs::write(&written, "0123").unwrap();
        assert_eq!(repository.commit("refs/pr/1"), None);
    }

    #[test]
    fn a_file_is_present_absent_or_unknown() {
        let (_cache, repository) = repository();
        assert_eq!(repository.presence(COMMIT, "a/b"), Presence::Unknown);
        repository.note_absent(COMMIT, "a/b");
        assert_eq!(repository.presence(COMMIT, "a/b"), Presence::Absent);
        repository.link(COMMIT, "a/b", "etag").unwrap();
        assert_eq!(repository.presence(COMMIT, "a/b"), Presence::Present);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_relative_and_mends_one_that_leads_nowhere() {
        let (_cache, repository) = repository();
        for file in ["config.json", "1_Pooling/config.json"] {
            repository.link(COMMIT, file, "gone").unwrap();
            assert_eq!(repository.presence(COMMIT, file), Presence::Unknown);
            for _ in 0..2 {
                repository.link(COMMIT, file, "etag").unwrap();
            }
            let path = repository.snapshot(COMMIT).join(file);
            assert_eq!(fs::read_to_string(&path).unwrap(), "content");
            assert!(fs::read_link(&path).unwrap().is_relative());
        }
    }

    #[test]
    fn a_system_without_links_has_the_content_in_the_snapshot() {
        let (_cache, repository) = repository();
        let no_links = |_: &Path, _: &Path| Err(ErrorKind::PermissionDenied.into());
        let snapshot = repository.snapshot(COMMIT);
        link_with(
            no_links,
            &repository.blob("etag"),
            &snapshot,
            "config.json",
            "etag",
        )
        .unwrap();
        assert_eq!(
            fs::read_to_string(snapshot.join("config.json")).unwrap(),
            "content"
        );
        assert!(!repository.blob("etag").exists());
    }
}
