//! A client for models on the Hugging Face Hub.
//!
//! [`Hub::find`] returns the folder with a model's files: from the cache, without any request, if
//! they are complete there, else after downloading them. The cache has the location and the layout
//! of Python's huggingface_hub, so both find each other's files, and the environment variables are
//! the same ([`HubSettings`]). Once a branch is in the cache, only [`Hub::download`] checks whether
//! it has moved.
//!
//! A file is downloaded by one process at a time, resumes where it stopped, and is compared with
//! its hash before it gets its final name. Only the files that a model needs are downloaded: the
//! configuration, one set of weights, the tokenizer, and sentence-transformers' modules.

mod absolute_form;
mod address;
mod cache;
mod cached;
mod cancellation;
mod completeness;
mod download;
mod error;
mod event;
mod http;
mod lock;
mod proxy;
mod remote;
mod selection;
mod settings;
mod snapshot;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::files::{MODULES, looks_like_hub_id, stays_inside};
use cache::Repository;
use cancellation::Cancellation;
use completeness::{Completeness, completeness};
use http::Client;
use remote::Remote;
use selection::{Files, Network, Weights};
use snapshot::Snapshot;

pub use cached::{CachedModel, CachedRevision, Removable};
pub use error::HubError;
pub use event::{Event, Observer};
pub use proxy::Proxies;
pub use settings::{HubSettings, HubToken};

/// The default branch.
const MAIN: &str = "main";

/// The Hub, or a mirror of it, and its cache on this machine.
///
/// ```no_run
/// use albert_tasks::{Hub, ModelFiles};
/// # fn main() -> albert_tasks::Result<()> {
/// let hub = Hub::from_env()?.with_revision("main")?;
/// let files = ModelFiles::from_hub("albert/albert-base-v2", &hub)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Hub {
    settings: HubSettings,
    revision: String,
    observer: Observer,
    cancellation: Cancellation,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            settings, revision, ..
        } = self;
        f.debug_struct("Hub")
            .field("settings", settings)
            .field("revision", revision)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Creates a client with the settings of the environment.
    ///
    /// # Errors
    /// See [`HubSettings::from_env`].
    pub fn from_env() -> Result<Self, HubError> {
        Ok(Self::new(HubSettings::from_env()?))
    }

    /// Creates a client with these settings.
    pub fn new(settings: HubSettings) -> Self {
        Self {
            settings,
            revision: MAIN.to_string(),
            observer: http::silent(),
            cancellation: Cancellation::default(),
        }
    }

    /// Uses a branch, a tag, a commit or a `refs/pr/N` instead of `main`.
    ///
    /// # Errors
    /// If no revision can have that name.
    pub fn with_revision(mut self, revision: &str) -> Result<Self, HubError> {
        // It becomes a path under `refs`.
        let is_path =
            stays_inside(revision) && !revision.starts_with('.') && !revision.contains("/.");
        if revision.is_empty()
            || revision.ends_with('/')
            || revision.contains(char::is_control)
            || !is_path
        {
            return Err(HubError::Revision(revision.to_string()));
        }
        self.revision = revision.to_string();
        Ok(self)
    }

    /// Disables the network, whatever the environment says.
    pub fn offline(mut self) -> Self {
        self.settings.offline = true;
        self
    }

    /// Calls `observer` with each event.
    pub fn with_observer(mut self, observer: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Ends a download with [`HubError::Cancelled`] once `is_cancelled` returns true. It is called
    /// often, on the thread that downloads: before each request, between pieces of a file of at most
    /// 64 KB, and during pauses. A later download resumes where this one ended.
    pub fn with_cancellation(
        mut self,
        is_cancelled: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        self.cancellation = Cancellation::new(is_cancelled);
        self
    }

    /// Returns the folder with a model's files: from the cache if it is complete there, else after
    /// downloading.
    ///
    /// If the cache has enough to run, but not every file that the Hub might have, the Hub is
    /// asked. If that is not possible, the cached files are used, and [`Event::Unchecked`] reports
    /// it.
    ///
    /// # Errors
    /// If `id` cannot be a name on the Hub, the Hub does not have it or cannot be reached, or it is
    /// not an ALBERT or BERT with supported weights.
    pub fn find(&self, id: &str) -> Result<PathBuf, HubError> {
        let repository = self.repository(id)?;
        let known = repository.commit(&self.revision);
        let is_known = known.is_some();
        let found = known
            .or_else(|| self.only_snapshot(&repository))
            .map(|commit| Snapshot {
                repository: &repository,
                commit,
            });
        let completeness = match &found {
            Some(snapshot) => completeness(snapshot, |file| snapshot.json(file)),
            None => Completeness::Lacks(self.without_revision(&repository)),
        };
        let usable = match (&found, completeness) {
            (Some(snapshot), Completeness::Whole) if is_known => return Ok(snapshot.folder()),
            // It may be of another time than the branch is now.
            (Some(snapshot), Completeness::Whole) => Some((snapshot.folder(), Vec::new())),
            (Some(snapshot), Completeness::Usable(files)) => Some((snapshot.folder(), files)),
            (_, Completeness::Lacks(missing)) if self.settings.offline => {
                return Err(HubError::Offline {
                    id: id.to_string(),
                    missing,
                });
            }
            _ => None,
        };
        let unchecked = |(folder, files): (PathBuf, Vec<String>), error: Option<&HubError>| {
            if !files.is_empty() {
                (self.observer)(&Event::Unchecked {
                    files: &files,
                    error,
                });
            }
            folder
        };
        match usable {
            Some(usable) if self.settings.offline => Ok(unchecked(usable, None)),
            Some(usable) => match self.fetch(id, &repository) {
                Err(error) if error.is_network() => Ok(unchecked(usable, Some(&error))),
                fetched => fetched,
            },
            None => self.fetch(id, &repository),
        }
    }

    /// Asks the Hub for the commit of the revision, downloads the files that the cache lacks, and
    /// returns the folder with the model's files. In offline mode, does the same as
    /// [`find`](Self::find).
    ///
    /// # Errors
    /// See [`find`](Self::find); also if the Hub cannot be reached.
    pub fn download(&self, id: &str) -> Result<PathBuf, HubError> {
        if self.settings.offline {
            self.find(id)
        } else {
            self.fetch(id, &self.repository(id)?)
        }
    }

    /// Returns the models in the cache by name, with their sizes and the parts that could be
    /// removed.
    ///
    /// # Errors
    /// If a folder of the cache cannot be read. A missing cache is empty.
    pub fn cached(&self) -> Result<Vec<CachedModel>, HubError> {
        cached::models(&self.settings.cache)
    }

    /// Returns the one commit of a model in a cache without the branch `main`, as copies of a cache
    /// may be.
    fn only_snapshot(&self, repository: &Repository) -> Option<String> {
        let mut commits = repository.snapshots();
        (self.revision == MAIN && commits.len() == 1)
            .then(|| commits.pop())
            .flatten()
    }

    fn without_revision(&self, repository: &Repository) -> String {
        let missing = format!("no revision `{}` in the cache", self.revision);
        match repository.snapshots() {
            commits if commits.is_empty() => missing,
            commits => format!("{missing}, found the commits `{}`", commits.join("`, `")),
        }
    }

    fn repository(&self, id: &str) -> Result<Repository, HubError> {
        if looks_like_hub_id(id) {
            Ok(Repository::new(&self.settings.cache, id))
        } else {
            Err(HubError::Id(id.to_string()))
        }
    }

    fn fetch(&self, id: &str, repository: &Repository) -> Result<PathBuf, HubError> {
        let observer = Arc::clone(&self.observer);
        let client = Client::new(self.settings.clone(), observer, self.cancellation.clone())?;
        let remote = Remote::list(&client, id, &self.revision)?;
        let snapshot = Snapshot {
            repository,
            commit: remote.commit.clone(),
        };
        let get = |file: &str| download::download(&remote, repository, file);
        let absent = |file: &str| repository.note_absent(&remote.commit, file);

        // First the files that decide where the others are, and whether they are needed.
        if remote.has(MODULES) {
            get(MODULES)?;
        }
        let modules = snapshot.json(MODULES);
        let network = Network::new(&remote, modules.as_ref());
        let config = ["config.json", "albert_config.json"]
            .into_iter()
            .find(|file| network.has(file));
        let without_config = || {
            if remote.has("adapter_config.json") {
                HubError::Adapter(id.to_string())
            } else {
                HubError::NoConfig(id.to_string())
            }
        };
        get(&network.path(config.ok_or_else(without_config)?))?;
        let found = snapshot.json(&network.path("config.json"));
        if let Some(found) = found.as_ref().and_then(|config| config.get("model_type"))
            && found != "albert"
            && found != "bert"
        {
            let found = found
                .as_str()
                .map_or_else(|| found.to_string(), String::from);
            return Err(HubError::NotAlbert {
                id: id.to_string(),
                found,
            });
        }
        let weights = selection::weights(&network);
        if weights == Weights::None {
            let found = selection::other_weights(&remote.names());
            return Err(HubError::NoWeights {
                id: id.to_string(),
                found,
            });
        }

        for file in selection::small(&network) {
            let path = network.path(file);
            if network.has(file) {
                get(&path)?;
            } else {
                absent(&path);
            }
        }
        for module in modules.iter().flat_map(selection::module_files) {
            let weights = module.weights.iter().find(|file| remote.has(file));
            for file in std::iter::once(&module.config).chain(&module.weights) {
                match remote.has(file) {
                    // Of two forms of the weights, one is enough.
                    true if *file == module.config || Some(file) == weights => get(file)?,
                    true => {}
                    false => absent(file),
                }
            }
        }
        let files = match weights {
            Weights::Files(files) => files,
            Weights::Index(index) => {
                let index = network.path(index);
                get(&index)?;
                snapshot
                    .json(&index)
                    .iter()
                    .flat_map(selection::parts)
                    .collect()
            }
            Weights::None => Vec::new(),
        };
        for file in &files {
            get(&network.path(file))?;
        }
        // Last, so that a branch never refers to an incomplete commit.
        repository.note_ref(&self.revision, &remote.commit);
        Ok(snapshot.folder())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_a_path_that_stays_in_its_folder() {
        let hub = Hub::new(HubSettings::from_env().unwrap());
        for revision in ["main", "v1.0", "refs/pr/21", "feature/x"] {
            assert!(hub.clone().with_revision(revision).is_ok(), "{revision}");
        }
        for revision in [
            "", "..", "../x", "/etc", "a/../b", ".x", "a/", "a\nb", "a\\b",
        ] {
            assert!(hub.clone().with_revision(revision).is_err(), "{revision}");
        }
    }
}
