//! The errors of finding and downloading a model.

use std::io;
use std::path::PathBuf;

/// The reason why a model could not be fetched from the Hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// `HF_ENDPOINT` is not an address.
    #[error("endpoint `{0}` is not a URL: expected one that begins with https:// or http://")]
    Endpoint(String),
    /// No environment variable determines the location of the cache.
    #[error("cannot locate the cache: expected a home folder or the variable HF_HOME")]
    NoHome,
    /// A proxy that cannot be used.
    #[error("proxy `{0}` cannot be used: expected an address that begins with http:// or https://")]
    Proxy(String),
    /// A certificate file without certificates.
    #[error("no certificates in `{}`: expected PEM", .0.display())]
    Certificates(PathBuf),
    /// A token with characters that cannot be sent in a header.
    #[error(
        "the token cannot be sent: expected ASCII letters, digits and punctuation, found another \
         character"
    )]
    TokenText,
    /// Not a name that the Hub could have.
    #[error("`{0}` is not a model on the Hub: expected `owner/model`")]
    Id(String),
    /// Not a name that a revision could have.
    #[error("`{0}` is not a revision: expected a branch, a tag, a commit or refs/pr/N")]
    Revision(String),

    /// The download was cancelled ([`Hub::with_cancellation`](super::Hub::with_cancellation)).
    #[error("the download was cancelled")]
    Cancelled,

    /// Offline mode, with files missing from the cache.
    #[error("`{id}` is not in the cache, and the network is off: {missing}")]
    Offline {
        /// The model.
        id: String,
        /// The files that the cache lacks.
        missing: String,
    },
    /// The host does not answer.
    #[error("cannot reach `{host}`")]
    Unreachable {
        /// The host.
        host: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The connection broke too often.
    #[error("the connection to `{host}` broke{}", times(.attempts))]
    Cut {
        /// The host.
        host: String,
        /// The number of times in a row.
        attempts: u32,
        /// The system's reason.
        source: io::Error,
    },
    /// An invalid response.
    #[error("unexpected answer from `{url}`: {why}")]
    Answer {
        /// The address, without its query.
        url: String,
        /// The reason.
        why: String,
    },
    /// An error response that has no variant below.
    #[error("`{url}` answers {status}{message}")]
    Status {
        /// The address, without its query.
        url: String,
        /// The number.
        status: u16,
        /// A colon and the Hub's own words, or nothing.
        message: String,
    },

    /// The endpoint does not accept the token.
    #[error("`{endpoint}` does not accept the token")]
    Token {
        /// The Hub or its mirror.
        endpoint: String,
    },
    /// A gated model, whose terms must be accepted first.
    #[error("`{id}` is gated: its authors have to grant access first")]
    Gated {
        /// The model.
        id: String,
        /// Its page.
        page: String,
        /// True if a token was sent.
        with_token: bool,
    },
    /// A missing or private model, which the Hub does not distinguish.
    #[error("no folder `{id}`, and no such model at `{endpoint}`, unless it is private")]
    NoModel {
        /// The model.
        id: String,
        /// The Hub or its mirror.
        endpoint: String,
        /// True if a token was sent.
        with_token: bool,
    },
    /// The model has no such branch, tag or commit.
    #[error("no revision `{revision}` of `{id}`")]
    NoRevision {
        /// The model.
        id: String,
        /// The requested revision.
        revision: String,
    },
    /// A file that is listed but missing.
    #[error("no file `{file}` in `{id}`")]
    NoFile {
        /// The model.
        id: String,
        /// The file.
        file: String,
    },

    /// A model of another kind.
    #[error(
        "`{id}` is neither an ALBERT nor a BERT: expected the model type albert or bert in \
         `config.json`, found {found}"
    )]
    NotAlbert {
        /// The model.
        id: String,
        /// Its `model_type`.
        found: String,
    },
    /// A repository that only holds an adapter.
    #[error(
        "`{0}` is an adapter, not a model: expected the weights of a model, with the adapter merged"
    )]
    Adapter(String),
    /// A repository with no configuration.
    #[error("no `config.json` in `{0}`: expected a model")]
    NoConfig(String),
    /// A repository without weights in a supported format.
    #[error("no supported weights in `{id}`: expected safetensors, PyTorch or TensorFlow, {found}")]
    NoWeights {
        /// The model.
        id: String,
        /// The weights that it has instead.
        found: String,
    },
    /// A name that would leave the model's folder.
    #[error("file `{file}` of `{id}` leaves the model's folder")]
    Outside {
        /// The model.
        id: String,
        /// The name.
        file: String,
    },
    /// A file whose size or hash differs from the announced one.
    #[error("`{file}` of `{id}` arrived damaged: expected {expected}, found {found}")]
    Damaged {
        /// The model.
        id: String,
        /// The file.
        file: String,
        /// The size or the hash that was announced.
        expected: String,
        /// The size or hash of the received file.
        found: String,
    },

    /// The disk is full.
    #[error("no space left for `{file}`: {left} bytes are still missing")]
    NoSpace {
        /// The file that was being written.
        file: String,
        /// The missing bytes.
        left: u64,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of the cache that cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of the cache that cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl HubError {
    /// Returns true if the Hub has no such model, revision or file, or not the files of a model.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::NoModel { .. }
                | Self::NoRevision { .. }
                | Self::NoFile { .. }
                | Self::NoConfig(_)
                | Self::NoWeights { .. }
        )
    }

    /// Returns true if the token is refused, or the model's authors have to grant access first.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Token { .. } | Self::Gated { .. })
    }

    /// Returns true for an error of the network, which says nothing about the model.
    pub fn is_network(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Cut { .. }
                | Self::Status {
                    status: 429 | 500..,
                    ..
                }
        )
    }

    /// Suggests a remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        let login = "set HF_TOKEN to your token, or log in with `hf auth login`";
        let hint = match self {
            Self::Endpoint(_) => "unset HF_ENDPOINT for the Hub itself",
            Self::NoHome => "set HF_HOME to a folder",
            Self::Proxy(_) => "set HTTPS_PROXY to an HTTP proxy, or NO_PROXY to the host",
            Self::Certificates(_) => {
                "unset SSL_CERT_FILE and REQUESTS_CA_BUNDLE for the system's certificates"
            }
            Self::Revision(_) | Self::NoRevision { .. } => {
                "omit the revision to use the branch main"
            }
            Self::Unreachable { source, .. } if source.to_string().contains("certificate") => {
                "behind a proxy that intercepts TLS, set SSL_CERT_FILE to its certificate"
            }
            Self::Unreachable { .. } => {
                "check the network, HTTPS_PROXY and HF_ENDPOINT; a model in the cache needs none of them"
            }
            Self::Cut { .. } => "run it again: the download resumes where it stopped",
            Self::Status { status: 429, .. } => {
                "wait a few minutes; with a token (HF_TOKEN) the limits are higher"
            }
            Self::Status { status: 500.., .. } => "the Hub has an internal error: try again later",
            Self::Adapter(_) => {
                "merge it with PEFT: PeftModel.from_pretrained(BASE, ADAPTER).merge_and_unload().save_pretrained(DIR)"
            }
            Self::TokenText => "copy the token again, without quotation marks",
            Self::Token { .. } => {
                "create a new one at https://huggingface.co/settings/tokens, or unset HF_TOKEN"
            }
            Self::Gated {
                page,
                with_token: true,
                ..
            } => return Some(format!("accept the terms at {page}")),
            Self::Gated { page, .. } => {
                return Some(format!("accept the terms at {page}, then {login}"));
            }
            Self::NoModel { id, .. } if !id.contains('/') => {
                return Some(format!(
                    "models have an owner: try `{}/{id}`, or search the Hub for the name",
                    likely_owner(id)
                ));
            }
            Self::Offline { id, .. } if !id.contains('/') => {
                return Some(format!(
                    "models have an owner, as in `{}/{id}`; the cache has them under their full names",
                    likely_owner(id)
                ));
            }
            Self::Offline { .. } => {
                "download the model once with network access and without offline mode \
                 (HF_HUB_OFFLINE)"
            }
            Self::NoModel {
                with_token: true, ..
            } => "check the spelling, and that the token gives access to the model",
            Self::NoModel { .. } => {
                return Some(format!("check the spelling; for a private model {login}"));
            }
            Self::NoWeights { .. } => {
                "look for the model it was converted from; models/README.md lists models known to work"
            }
            Self::NotAlbert { .. } => "models/README.md lists models known to work",
            Self::Damaged { .. } => "run it again: the damaged file was removed",
            Self::NoSpace { .. } => {
                "free some space, or set HF_HOME to a folder on another disk; the download then \
                 resumes"
            }
            Self::Write { .. } => "set HF_HOME to a folder that can be written to",
            _ => return None,
        };
        Some(hint.to_string())
    }
}

/// Returns the most likely owner of a model with this name.
fn likely_owner(name: &str) -> &'static str {
    const PREFIXES: [(&str, &str); 4] = [
        ("paraphrase-", "sentence-transformers"),
        ("all-", "sentence-transformers"),
        ("albert_chinese_", "voidful"),
        ("albert-", "albert"),
    ];
    PREFIXES
        .into_iter()
        .find(|(prefix, _)| name.starts_with(prefix))
        .map_or("OWNER", |(_, owner)| owner)
}

/// Returns the words for a number of times, of which once needs none.
fn times(count: &u32) -> String {
    match count {
        1 => String::new(),
        count => format!(" {count} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_broke_once_has_no_number() {
        let broken = |attempts| HubError::Cut {
            host: "a".into(),
            attempts,
            source: io::ErrorKind::ConnectionReset.into(),
        };
        assert_eq!(broken(1).to_string(), "the connection to `a` broke");
        assert_eq!(broken(6).to_string(), "the connection to `a` broke 6 times");
    }

    #[test]
    fn a_name_without_an_owner_gets_the_likely_one() {
        for (name, full) in [
            (
                "paraphrase-albert-small-v2",
                "`sentence-transformers/paraphrase-albert-small-v2`",
            ),
            ("albert-base-v2", "`albert/albert-base-v2`"),
            ("other", "`OWNER/other`"),
        ] {
            let error = HubError::NoModel {
                id: name.into(),
                endpoint: "https://huggingface.co".into(),
                with_token: true,
            };
            assert!(error.hint().unwrap().contains(full), "{:?}", error.hint());
        }
    }
}
