//! The environment variables of Python's huggingface_hub, with the same meaning and precedence.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::HubError;
use super::proxy::Proxies;

/// The Hub itself.
const ENDPOINT: &str = "https://huggingface.co";

/// The longest silence of a connection, unless HF_HUB_DOWNLOAD_TIMEOUT sets another.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The address of the Hub, the user's token, and the location of the cache.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HubSettings {
    /// The Hub or a mirror of it: `HF_ENDPOINT`.
    pub endpoint: String,
    /// The cache: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `$HF_HOME/hub`,
    /// `$XDG_CACHE_HOME/huggingface/hub`, `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// The user's token: `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`. It is sent to the endpoint and to no
    /// other host.
    pub token: Option<HubToken>,
    /// The file with the token if no variable sets it: `HF_TOKEN_PATH`, `$HF_HOME/token`. It is
    /// read when a request is made, and may be missing.
    pub token_file: Option<PathBuf>,
    /// True to use no network: `HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`.
    pub offline: bool,
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, in upper or lower case.
    pub proxies: Proxies,
    /// Certificates to trust in place of the system's, as PEM: `SSL_CERT_FILE`,
    /// `REQUESTS_CA_BUNDLE`.
    pub certificates: Option<PathBuf>,
    /// The longest silence before a connection counts as cut: `HF_HUB_DOWNLOAD_TIMEOUT`.
    pub timeout: Duration,
    /// The pause before a failed request is sent again; it doubles with each further attempt.
    pub pause: Duration,
}

/// A secret that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HubToken(String);

impl HubToken {
    /// Returns the token in `text` without surrounding white space; `None` if nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_string()))
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for HubToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubToken(…)")
    }
}

impl HubSettings {
    /// Reads the environment.
    ///
    /// # Errors
    /// If no variable sets the location of the cache and there is no home folder, or if
    /// `HF_ENDPOINT` is not a URL.
    pub fn from_env() -> Result<Self, HubError> {
        Self::read(|name| std::env::var_os(name), std::env::home_dir())
    }

    fn read(
        variable: impl Fn(&str) -> Option<OsString>,
        home: Option<PathBuf>,
    ) -> Result<Self, HubError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| variable(name).map(|value| value.to_string_lossy().into_owned());
        let path = |name: &str| variable(name).map(|value| expand_home(value, home.as_deref()));
        let is_true = |name: &str| text(name).is_some_and(|value| is_true(&value));

        let hf_home = path("HF_HOME").or_else(|| {
            let caches = path("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")));
            Some(caches?.join("huggingface"))
        });
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(hf_home.as_ref()?.join("hub")))
            .ok_or(HubError::NoHome)?;
        let sends_token = !is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN");
        let token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
        let token_file = match token {
            Some(_) => None,
            None => path("HF_TOKEN_PATH").or_else(|| Some(hf_home?.join("token"))),
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_string());
        let seconds = text("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|value| value.trim().parse().ok());
        Ok(Self {
            endpoint: check_endpoint(&endpoint)?,
            cache,
            token: token
                .as_deref()
                .filter(|_| sends_token)
                .and_then(HubToken::new),
            token_file: token_file.filter(|_| sends_token),
            // An empty variable leaves the word to the other one, as in Python.
            offline: match variable("HF_HUB_OFFLINE") {
                Some(_) => is_true("HF_HUB_OFFLINE"),
                None => is_true("TRANSFORMERS_OFFLINE"),
            },
            proxies: Proxies::read(text),
            certificates: path("SSL_CERT_FILE").or_else(|| path("REQUESTS_CA_BUNDLE")),
            timeout: seconds
                .filter(|&seconds| seconds > 0)
                .map_or(TIMEOUT, Duration::from_secs),
            pause: Duration::from_millis(500),
        })
    }

    /// Returns the token to send, if there is one.
    ///
    /// # Errors
    /// If its file cannot be read, or no header can hold it.
    pub(super) fn secret(&self) -> Result<Option<HubToken>, HubError> {
        let token = match (&self.token, &self.token_file) {
            (None, Some(file)) => match std::fs::read_to_string(file) {
                Ok(token) => HubToken::new(&token),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(source) => {
                    return Err(HubError::Read {
                        path: file.clone(),
                        source,
                    });
                }
            },
            (token, _) => token.clone(),
        };
        match token {
            Some(token) if !token.0.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(HubError::TokenText)
            }
            token => Ok(token),
        }
    }
}

/// Returns true for the values that huggingface_hub interprets as true.
fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&value.to_uppercase().as_str())
}

fn check_endpoint(endpoint: &str) -> Result<String, HubError> {
    let bare = endpoint.trim_end_matches('/');
    let parsed: Option<ureq::http::Uri> = bare.parse().ok();
    // Messages show the endpoint: it holds no password.
    let has_user =
        |uri: &ureq::http::Uri| uri.authority().is_some_and(|it| it.as_str().contains('@'));
    let is_web = |uri: &ureq::http::Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some()
            && uri.query().is_none()
            && !has_user(uri)
    };
    if parsed.as_ref().is_some_and(is_web) {
        Ok(bare.to_string())
    } else {
        Err(HubError::Endpoint(
            endpoint.rsplit('@').next().unwrap_or_default().to_string(),
        ))
    }
}

/// `~` and `~/…` as a shell would have it: variables of a container never went through one.
fn expand_home(value: OsString, home: Option<&Path>) -> PathBuf {
    let path = PathBuf::from(value);
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<HubSettings, HubError> {
        let get = |name: &str| {
            variables
                .iter()
                .rev()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        };
        HubSettings::read(get, Some(PathBuf::from("/no-such-home")))
    }

    #[test]
    fn the_cache_is_where_python_looks_for_it() {
        let mut variables = vec![];
        let mut expect = |name: &'static str, value: &'static str, cache: &str| {
            variables.push((name, value));
            assert_eq!(
                settings(&variables).unwrap().cache,
                Path::new(cache),
                "{name}"
            );
        };
        expect("HF_HOME", "", "/no-such-home/.cache/huggingface/hub");
        expect("XDG_CACHE_HOME", "~/x", "/no-such-home/x/huggingface/hub");
        expect("HF_HOME", "/h", "/h/hub");
        expect("HUGGINGFACE_HUB_CACHE", "/old", "/old");
        expect("HF_HUB_CACHE", "/new", "/new");
    }

    #[test]
    fn the_token_comes_from_the_variable_and_else_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, " from-the-file \n").unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        let token = |variables: &[(&str, &str)]| settings(variables).unwrap().secret().unwrap();
        assert_eq!(token(&[home]), HubToken::new("from-the-file"));
        assert_eq!(token(&[home, ("HF_TOKEN", "\n")]), None);
        assert_eq!(token(&[home, ("HF_TOKEN", "a")]), HubToken::new("a"));
        assert_eq!(
            token(&[home, ("HUGGING_FACE_HUB_TOKEN", "b")]),
            HubToken::new("b")
        );
        assert_eq!(token(&[home, ("HF_TOKEN_PATH", "/no/such/file")]), None);
        assert_eq!(token(&[home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        for (name, value) in [
            ("HF_TOKEN", "secret"),
            ("HTTPS_PROXY", "http://user:secret@proxy:1"),
        ] {
            assert!(
                !format!("{:?}", settings(&[(name, value)]).unwrap()).contains("secret"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_token_that_cannot_be_read_is_no_matter_until_it_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&[("HF_TOKEN_PATH", folder.path().to_str().unwrap())]).unwrap();
        assert!(matches!(settings.secret(), Err(HubError::Read { .. })));
    }

    #[test]
    fn a_token_that_no_header_can_hold_is_refused_at_once() {
        for token in ["hf_é", "hf_a b", "hf_a\nb"] {
            let settings = settings(&[("HF_TOKEN", token)]).unwrap();
            assert!(
                matches!(settings.secret(), Err(HubError::TokenText)),
                "{token:?}"
            );
        }
    }

    #[test]
    fn offline_has_pythons_true_values() {
        let offline = |value| settings(&[("HF_HUB_OFFLINE", value)]).unwrap().offline;
        for value in ["1", "on", "Yes", "TRUE"] {
            assert!(offline(value), "{value}");
        }
        for value in ["", "0", "no", "y", "2"] {
            assert!(!offline(value), "{value}");
        }
        assert!(settings(&[("TRANSFORMERS_OFFLINE", "1")]).unwrap().offline);
        assert!(
            !settings(&[("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "0")])
                .unwrap()
                .offline
        );
    }

    #[test]
    fn an_endpoint_is_a_url_and_nothing_else() {
        let endpoint = |value| settings(&[("HF_ENDPOINT", value)]);
        assert_eq!(
            endpoint("https://mirror.example/hf/").unwrap().endpoint,
            "https://mirror.example/hf"
        );
        assert_eq!(endpoint("").unwrap().endpoint, ENDPOINT);
        for bad in ["mirror.example", "ftp://a", "http://", "a b", "http://a?b"] {
            assert!(
                matches!(endpoint(bad), Err(HubError::Endpoint(value)) if value == bad),
                "{bad}"
            );
        }
        let with_password = endpoint("https://user:secret@mirror.example");
        assert!(
            matches!(with_password, Err(HubError::Endpoint(value)) if value == "mirror.example")
        );
    }
}
