//! The limits of a server, its API keys, and the origins of web pages that may use it.

use std::time::Duration;

use subtle::ConstantTimeEq;

/// The limits of a server, its keys and its origins.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The maximum number of texts in a request.
    pub max_texts: usize,
    /// The maximum number of bytes in a request's body.
    pub max_body: usize,
    /// The maximum number of bytes in all bodies of requests that are not answered yet.
    pub max_body_memory: usize,
    /// The maximum number of connections at a time; others wait to be accepted.
    pub max_connections: usize,
    /// The number of tokens in a step; `None` for 256 per thread, at least 512.
    pub step_tokens: Option<usize>,
    /// The seconds of work that may wait in the queue.
    pub queue_seconds: f64,
    /// The time within which a request must begin to be computed.
    pub timeout: Option<Duration>,
    /// The time that a client may take to send a request's head, and then its body.
    pub receive_timeout: Duration,
    /// The time between the signal to end and the moment when no connection is accepted any more:
    /// `/health` answers 503 meanwhile, so that a load balancer sends no more requests.
    pub drain: Duration,
    /// The time that accepted requests have to end after that.
    pub shutdown_timeout: Duration,
    /// Truncates texts that are too long, unless a request decides otherwise.
    pub truncate: bool,
    /// Accepts texts as token ids, which must be those of the model's own tokenizer.
    pub allow_ids: bool,
    /// The API keys that clients may use.
    pub keys: Keys,
    /// The origins of web pages that may use the server, or `*` for any.
    pub origins: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_texts: 2048,
            max_body: 32_000_000,
            max_body_memory: 256_000_000,
            max_connections: 1024,
            step_tokens: None,
            queue_seconds: 10.0,
            timeout: None,
            receive_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(5),
            shutdown_timeout: Duration::from_secs(30),
            truncate: true,
            allow_ids: false,
            keys: Keys::default(),
            origins: Vec::new(),
        }
    }
}

/// API keys. Without any, everyone may use the server.
#[derive(Clone, Default)]
pub struct Keys(Vec<String>);

impl Keys {
    /// Reads keys, one per line; empty lines and lines that begin with `#` are skipped.
    ///
    /// ```
    /// let keys = albert_server::Keys::from_lines("# the web team\nsecret-1\n\nsecret-2\n");
    /// assert_eq!(keys.len(), 2);
    /// ```
    pub fn from_lines(text: &str) -> Self {
        let lines = text.lines().map(str::trim);
        let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self(keys.map(str::to_string).collect())
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if an `Authorization` header holds one of the keys, with or without `Bearer`.
    /// Every key is compared in full, so the time that it takes says nothing about them.
    pub(crate) fn allow(&self, authorization: Option<&[u8]>) -> bool {
        if self.is_empty() {
            return true;
        }
        let Some(header) = authorization else {
            return false;
        };
        let scheme = header
            .get(..7)
            .filter(|it| it.eq_ignore_ascii_case(b"bearer "));
        let found = &header[scheme.map_or(0, <[u8]>::len)..];
        let matches = self.0.iter().map(|key| key.as_bytes().ct_eq(found));
        matches
            .fold(subtle::Choice::from(0), |any, one| any | one)
            .into()
    }
}

impl std::fmt::Debug for Keys {
    /// Keys are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({} hidden)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_with_and_without_bearer_and_nothing_else_is() {
        let keys = Keys::from_lines("one\ntwo");
        for (header, allowed) in [
            (Some("Bearer one"), true),
            (Some("bearer two"), true),
            (Some("two"), true),
            (Some("Bearer on"), false),
            (Some("Bearer one "), false),
            (Some("Basic one"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(keys.allow(header.map(str::as_bytes)), allowed, "{header:?}");
        }
        assert!(Keys::default().allow(None));
    }

    #[test]
    fn keys_are_not_shown() {
        let shown = format!("{:?}", Keys::from_lines("secret"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
