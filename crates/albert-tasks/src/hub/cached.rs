//! The contents of the cache: models, revisions, sizes, and parts that are no longer needed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::HubError;
use super::cache::{Repository, is_commit};
use super::completeness::{Completeness, completeness};
use super::snapshot::{Snapshot, read_json};

/// A model in the cache.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CachedModel {
    /// Its name at the Hub.
    pub id: String,
    /// Its folder in the cache.
    pub path: PathBuf,
    /// Its bytes on the disk.
    pub bytes: u64,
    /// The commits with files in the cache.
    pub revisions: Vec<CachedRevision>,
    /// The parts that could be removed.
    pub removable: Vec<Removable>,
}

/// A model's files at one commit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CachedRevision {
    /// The commit.
    pub commit: String,
    /// The branches and tags that point to it.
    pub refs: Vec<String>,
    /// The bytes of its files, shared ones included.
    pub bytes: u64,
    /// True if it has all files that it needs to run.
    pub complete: bool,
}

/// A part of the cache that is probably no longer needed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Removable {
    /// A file or a folder.
    pub path: PathBuf,
    /// The bytes that its removal frees if the others of the list are removed too.
    pub bytes: u64,
    /// The reason why it is not needed.
    pub why: &'static str,
}

/// Returns the ALBERTs in a cache.
pub(super) fn models(cache: &Path) -> Result<Vec<CachedModel>, HubError> {
    let mut models = Vec::new();
    for folder in entries(cache)? {
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let Some(id) = name
            .strip_prefix("models--")
            .map(|name| name.replace("--", "/"))
        else {
            continue;
        };
        if let Some(model) = model(cache, &folder, id)? {
            models.push(model);
        }
    }
    Ok(models)
}

fn model(cache: &Path, folder: &Path, id: String) -> Result<Option<CachedModel>, HubError> {
    let repository = Repository::new(cache, &id);
    let refs = references(folder)?;
    let mut model = CachedModel {
        id,
        path: folder.to_path_buf(),
        bytes: 0,
        revisions: Vec::new(),
        removable: Vec::new(),
    };
    let mut is_albert = false;
    // The content of commits with a branch or tag, and of all commits.
    let (mut wanted, mut linked) = (BTreeSet::new(), BTreeSet::new());
    let mut unwanted = Vec::new();
    for path in entries(&folder.join("snapshots"))? {
        let commit = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if !is_commit(&commit) {
            continue;
        }
        let mut files = BTreeMap::new();
        contents(&path, &mut files)?;
        let config = read_json(&path.join("config.json"))
            .or_else(|| read_json(&path.join("albert_config.json")));
        let kind = config
            .as_ref()
            .and_then(|config| config.get("model_type"))
            .and_then(|kind| kind.as_str());
        is_albert |= config.is_some() && kind.is_none_or(|kind| matches!(kind, "albert" | "bert"));
        let snapshot = Snapshot {
            repository: &repository,
            commit: commit.clone(),
        };
        let complete = !matches!(
            completeness(&snapshot, |file| snapshot.json(file)),
            Completeness::Lacks(_)
        );
        let refs = refs.get(&commit).cloned().unwrap_or_default();
        linked.extend(files.keys().cloned());
        if refs.is_empty() {
            unwanted.push((path, files.clone()))
        } else {
            wanted.extend(files.keys().cloned())
        }
        model.revisions.push(CachedRevision {
            commit,
            refs,
            bytes: files.values().sum(),
            complete,
        });
    }
    if !is_albert {
        return Ok(None);
    }
    // A blob is counted with the first of the snapshots that alone have it.
    for (path, files) in unwanted {
        let own = files
            .into_iter()
            .filter(|(blob, _)| wanted.insert(blob.clone()));
        let bytes = own.map(|(_, bytes)| bytes).sum();
        model.removable.push(Removable {
            path,
            bytes,
            why: "no branch or tag points to it, so only its commit selects it",
        });
    }
    let mut all: BTreeMap<PathBuf, u64> = BTreeMap::new();
    contents(&folder.join("blobs"), &mut all)?;
    for (path, bytes) in &all {
        let why = match path
            .extension()
            .is_some_and(|ending| ending == "incomplete")
        {
            true => "an unfinished download",
            false if !linked.contains(path) => "no revision uses it",
            false => continue,
        };
        model.removable.push(Removable {
            path: path.clone(),
            bytes: *bytes,
            why,
        });
    }
    // On systems without links, the content is in the snapshots.
    contents(&folder.join("snapshots"), &mut all)?;
    model.bytes = all.values().sum();
    Ok(Some(model))
}

/// Returns the branches and tags of each commit.
fn references(folder: &Path) -> Result<BTreeMap<String, Vec<String>>, HubError> {
    fn walk(
        folder: &Path,
        prefix: &str,
        refs: &mut BTreeMap<String, Vec<String>>,
    ) -> Result<(), HubError> {
        for path in entries(folder)? {
            let name = format!(
                "{prefix}{}",
                path.file_name().unwrap_or_default().to_string_lossy()
            );
            if path.is_dir() {
                walk(&path, &format!("{name}/"), refs)?;
            } else if let Ok(commit) = fs::read_to_string(&path) {
                refs.entry(commit.trim().to_string())
                    .or_default()
                    .push(name);
            }
        }
        Ok(())
    }
    let mut refs = BTreeMap::new();
    walk(&folder.join("refs"), "", &mut refs)?;
    Ok(refs)
}

/// Returns the files to which a folder's links lead, with their sizes.
fn contents(folder: &Path, files: &mut BTreeMap<PathBuf, u64>) -> Result<(), HubError> {
    for path in entries(folder)? {
        // A link that leads nowhere takes no space.
        let Ok(metadata) = fs::metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            contents(&path, files)?;
        } else {
            files.insert(fs::canonicalize(&path).unwrap_or(path), metadata.len());
        }
    }
    Ok(())
}

/// Lists a folder, sorted; a missing folder is empty.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, HubError> {
    let read_error = |source| HubError::Read {
        path: folder.to_path_buf(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(read_error(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(read_error)?.path());
    }
    paths.sort();
    Ok(paths)
}
