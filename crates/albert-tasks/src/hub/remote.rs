//! Queries the Hub for the files of a model at a commit, and for the size and hash of each.

use serde_json::Value;

use super::cache::Presence;
use super::http::{Client, Want, answer, header};
use super::selection::Files;
use super::{HubError, cache};

/// The maximum size of a repository's file list, which usually has a few kilobytes.
const MAX_LISTING_BYTES: u64 = 32 << 20;

/// A repository at one commit.
pub(super) struct Remote<'a> {
    pub(super) client: &'a Client,
    pub(super) id: &'a str,
    pub(super) revision: &'a str,
    pub(super) commit: String,
    names: Vec<String>,
}

/// The Hub's description of a file before it sends it.
#[derive(Debug, PartialEq)]
pub(super) struct Described {
    pub(super) url: String,
    /// The name of its content: sha256 for large files, git's sha1 for small ones.
    pub(super) etag: String,
    pub(super) size: Option<u64>,
}

impl<'a> Remote<'a> {
    /// Requests the commit of `revision` and the list of its files.
    pub(super) fn list(
        client: &'a Client,
        id: &'a str,
        revision: &'a str,
    ) -> Result<Self, HubError> {
        let url = format!(
            "{}/api/models/{id}/revision/{}",
            client.endpoint(),
            encoded(revision, false)
        );
        let listing: Value = client.retrying(id, || {
            let mut response = client.request(&url, Want::From(0))?;
            if let Some(refusal) = client.refusal(id, revision, &response) {
                return Err(refusal);
            }
            let body = response
                .body_mut()
                .with_config()
                .limit(MAX_LISTING_BYTES)
                .read_to_vec();
            let body = body.map_err(|error| client.failed(&url, error))?;
            let listing = serde_json::from_slice(&body);
            Ok(listing.map_err(|error| answer(&url, format!("it is not JSON ({error})")))?)
        })?;
        let commit = listing
            .get("sha")
            .and_then(Value::as_str)
            .filter(|sha| cache::is_commit(sha));
        let files = listing.get("siblings").and_then(Value::as_array);
        let (Some(commit), Some(files)) = (commit, files) else {
            return Err(answer(
                &url,
                "it lacks `sha` or `siblings`, which the Hub's list of a model's files has",
            ));
        };
        let names = files
            .iter()
            .filter_map(|file| file.get("rfilename")?.as_str())
            .map(String::from);
        Ok(Self {
            client,
            id,
            revision,
            commit: commit.to_string(),
            names: names.collect(),
        })
    }

    /// Requests the hash and the size of a file.
    pub(super) fn describe(&self, file: &str) -> Result<Described, HubError> {
        let url = format!(
            "{}/{}/resolve/{}/{}",
            self.client.endpoint(),
            self.id,
            self.commit,
            encoded(file, true)
        );
        self.client.retrying(file, || {
            let response = self.client.request(&url, Want::Headers)?;
            if let Some(refusal) = self.client.refusal(self.id, self.revision, &response) {
                return Err(refusal);
            }
            let headers = response.headers();
            let etag = header(headers, "x-linked-etag")
                .or_else(|| header(headers, "etag"))
                .map(bare_etag);
            // It becomes the name of a file.
            let is_name = |etag: &&str| {
                !etag.is_empty()
                    && etag
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            };
            let etag = etag
                .filter(is_name)
                .ok_or_else(|| answer(&url, "it has no usable ETag"))?;
            let length = || {
                header(headers, "content-length").filter(|_| !response.status().is_redirection())
            };
            let size = header(headers, "x-linked-size")
                .or_else(length)
                .and_then(|size| size.parse().ok());
            Ok(Described {
                url: url.clone(),
                etag: etag.to_string(),
                size,
            })
        })
    }
}

impl Files for Remote<'_> {
    fn presence(&self, file: &str) -> Presence {
        if self.names.iter().any(|name| name == file) {
            Presence::Present
        } else {
            Presence::Absent
        }
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }
}

/// Returns an ETag without its quotes, and without the mark of a weak one.
fn bare_etag(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

/// Encodes text as a part of an address.
fn encoded(text: &str, slashes: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(byte.into())
            }
            b'/' if slashes => encoded.push('/'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_as_the_hub_takes_them() {
        assert_eq!(encoded("refs/pr/1", false), "refs%2Fpr%2F1");
        assert_eq!(
            encoded("1_Pooling/a b?.json", true),
            "1_Pooling/a%20b%3F.json"
        );
        assert_eq!(encoded("é", true), "%C3%A9");
    }

    #[test]
    fn an_etag_is_what_stands_between_its_quotes() {
        for etag in ["abc", "\"abc\"", "W/\"abc\""] {
            assert_eq!(bare_etag(etag), "abc");
        }
    }
}
