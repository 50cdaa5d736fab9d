//! A model in the cache at one commit.

use std::fs;
use std::path::{Path, PathBuf};

use albert_formats::{json, small_file};
use serde_json::Value;

use super::cache::{Presence, Repository};
use super::selection::Files;

/// A model in the cache at one commit.
pub(super) struct Snapshot<'a> {
    pub(super) repository: &'a Repository,
    pub(super) commit: String,
}

impl Snapshot<'_> {
    /// Returns the folder of the files.
    pub(super) fn folder(&self) -> PathBuf {
        self.repository.snapshot(&self.commit)
    }

    /// Returns a file as JSON. A file that is not JSON is reported when the model is loaded.
    pub(super) fn json(&self, file: &str) -> Option<Value> {
        read_json(&self.folder().join(file))
    }
}

impl Files for Snapshot<'_> {
    fn presence(&self, file: &str) -> Presence {
        self.repository.presence(&self.commit, file)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder())
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok());
        entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }
}

pub(super) fn read_json(path: &Path) -> Option<Value> {
    json::parse(&small_file::read(path).ok()?).ok()
}
