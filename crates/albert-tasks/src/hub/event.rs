//! The events of a client of the Hub.

use std::sync::Arc;
use std::time::Duration;

use super::HubError;

/// An event during a download or a look-up in the cache.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A file arrives.
    Progress {
        /// Its name.
        file: &'a str,
        /// The number of bytes received so far.
        done: u64,
        /// The size of the file in bytes, if the Hub announced it.
        total: Option<u64>,
    },
    /// This process waits for another one that is downloading the file.
    Waiting {
        /// Its name.
        file: &'a str,
    },
    /// A request failed and is repeated after a pause.
    Retry {
        /// The file, or the model whose files are listed.
        what: &'a str,
        /// The reason why it failed.
        error: &'a HubError,
        /// The length of the pause.
        pause: Duration,
    },
    /// The cache is used although the Hub could not be reached to check for further files.
    Unchecked {
        /// The files that the cache lacks and the Hub may have.
        files: &'a [String],
        /// The reason why the Hub could not be asked; `None` in offline mode.
        error: Option<&'a HubError>,
    },
}

/// A function that is called with each event.
pub type Observer = Arc<dyn Fn(&Event<'_>) + Send + Sync>;
