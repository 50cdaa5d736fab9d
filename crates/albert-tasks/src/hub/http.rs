//! Requests to the Hub, with redirects, the token, proxies, certificates and retries.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy, ProxyProtocol, ResponseExt, Timeout};

use super::address::{Origin, host, origin, path, resolve, shown};
use super::cancellation::Cancellation;
use super::settings::{HubSettings, HubToken};
use super::{Event, HubError, Observer, absolute_form};

/// The maximum number of redirects, as in browsers.
const MAX_REDIRECTS: usize = 10;

/// The maximum number of retries of a request.
const MAX_RETRIES: u32 = 5;

/// The maximum pause that a server may request.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The timeout for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A client for one endpoint.
pub(super) struct Client {
    settings: HubSettings,
    token: Option<HubToken>,
    /// The origin to which the token is sent.
    origin: Option<Origin>,
    direct: Agent,
    http: Option<Agent>,
    https: Option<Agent>,
    observer: Observer,
    cancellation: Cancellation,
}

/// A failed request, and whether a retry may succeed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: HubError,
    pub(super) retry: Retry,
}

/// The decision whether to retry a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Retry {
    /// A retry would fail again.
    Never,
    /// Retry after a pause that grows with each attempt.
    Soon,
    /// Retry after the pause that the server requests.
    After(Duration),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self {
            error,
            retry: Retry::Never,
        }
    }
}

/// The part of a file to request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Want {
    /// The headers from the endpoint itself, not from the host that stores the file.
    Headers,
    /// The content from this byte on.
    From(u64),
}

impl Client {
    pub(super) fn new(
        settings: HubSettings,
        observer: Observer,
        cancellation: Cancellation,
    ) -> Result<Self, HubError> {
        let certificates = certificates(&settings)?;
        // ureq interprets the variables without schemes, and a name in NO_PROXY without its
        // subdomains, unlike curl and Python.
        let config = |tunnel: Option<Proxy>| {
            let tls = TlsConfig::builder()
                .root_certs(certificates.clone())
                .build();
            let config = Agent::config_builder()
                .tls_config(tls)
                .proxy(tunnel)
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(concat!("albert-tasks/", env!("CARGO_PKG_VERSION")))
                .timeout_resolve(Some(CONNECT_TIMEOUT))
                .timeout_connect(Some(CONNECT_TIMEOUT))
                .timeout_recv_response(Some(settings.timeout))
                .timeout_per_read(Some(settings.timeout));
            config.build()
        };
        let proxy = |address: &Option<String>| {
            let proxy = address.as_deref().map(usable_proxy);
            proxy.transpose()
        };
        let http = proxy(&settings.proxies.http)?.map(|proxy| match proxy.protocol() {
            ProxyProtocol::Http => absolute_form::agent(config(None), &proxy),
            // A proxy that is itself reached over TLS gets a tunnel.
            _ => config(Some(proxy)).into(),
        });
        let https = proxy(&settings.proxies.https)?.map(|proxy| config(Some(proxy)).into());
        Ok(Self {
            origin: origin(&settings.endpoint),
            token: settings.secret()?,
            direct: config(None).into(),
            http,
            https,
            settings,
            observer,
            cancellation,
        })
    }

    /// Retries a request that fails for a temporary reason. Events name it `what`.
    pub(super) fn retrying<T>(
        &self,
        what: &str,
        mut request: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, HubError> {
        let mut failures = 0;
        loop {
            match request() {
                Ok(value) => return Ok(value),
                Err(failure) => self.pause(what, failure, &mut failures)?,
            }
        }
    }

    /// Waits before the next attempt, or gives up.
    pub(super) fn pause(
        &self,
        what: &str,
        failure: Failure,
        failures: &mut u32,
    ) -> Result<(), HubError> {
        self.cancellation.check()?;
        *failures += 1;
        let pause = match failure.retry {
            Retry::Never => return Err(failure.error),
            Retry::Soon => self.settings.pause * 2u32.pow(*failures - 1),
            Retry::After(pause) => pause,
        };
        if *failures > MAX_RETRIES || pause > MAX_PAUSE {
            return Err(match failure.error {
                HubError::Cut { host, source, .. } => HubError::Cut {
                    host,
                    attempts: *failures,
                    source,
                },
                error => error,
            });
        }
        (self.observer)(&Event::Retry {
            what,
            error: &failure.error,
            pause,
        });
        self.cancellation.sleep(pause)
    }

    /// Sends one request and follows its redirects, without retries.
    pub(super) fn request(&self, url: &str, want: Want) -> Result<Response<Body>, Failure> {
        let mut url = url.to_string();
        for _ in 0..=MAX_REDIRECTS {
            self.cancellation.check()?;
            let response = self.once(&url, want)?;
            let headers = response.headers();
            let location =
                header(headers, "location").filter(|_| response.status().is_redirection());
            match location {
                // The redirect to the host that stores the file is the response that describes the
                // file.
                Some(_) if want == Want::Headers && headers.contains_key("x-linked-etag") => {
                    return Ok(response);
                }
                Some(location) => {
                    url = resolve(&url, location).ok_or_else(|| {
                        answer(&url, format!("it redirects to `{}`", shown(location)))
                    })?;
                }
                None => return Ok(response),
            }
        }
        Err(answer(&url, format!("more than {MAX_REDIRECTS} redirects")).into())
    }

    fn once(&self, url: &str, want: Want) -> Result<Response<Body>, Failure> {
        let uri: Uri = url.parse().map_err(|_| answer(url, "it is not a URL"))?;
        let agent = self.agent(&uri);
        let mut request = match want {
            Want::Headers => agent.head(url),
            Want::From(_) => agent.get(url),
        };
        if let Some(token) = &self.token
            && self.is_endpoint(url)
        {
            request = request.header("authorization", format!("Bearer {}", token.secret()));
        }
        if let Want::From(start) = want
            && start > 0
        {
            request = request.header("range", format!("bytes={start}-"));
        }
        request.call().map_err(|error| self.failed(url, error))
    }

    /// Returns true for an address of the endpoint itself.
    fn is_endpoint(&self, url: &str) -> bool {
        self.origin.is_some() && origin(url) == self.origin
    }

    fn agent(&self, uri: &Uri) -> &Agent {
        let proxied = match uri.scheme_str() {
            Some("https") => &self.https,
            _ => &self.http,
        };
        match (proxied, uri.host()) {
            (Some(agent), Some(host)) if !self.settings.proxies.bypasses(host, uri.port_u16()) => {
                agent
            }
            _ => &self.direct,
        }
    }

    /// Classifies the client's errors by whether a retry may succeed.
    pub(super) fn failed(&self, url: &str, error: ureq::Error) -> Failure {
        let host = || host(url).to_string();
        let unreachable = |source: io::Error| {
            HubError::Unreachable {
                host: host(),
                source,
            }
            .into()
        };
        let cut = |source: io::Error| Failure {
            error: HubError::Cut {
                host: host(),
                attempts: 1,
                source,
            },
            retry: Retry::Soon,
        };
        match error {
            ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => unreachable(
                io::Error::new(io::ErrorKind::TimedOut, "connecting timed out"),
            ),
            ureq::Error::Timeout(_) => {
                let seconds = self.settings.timeout.as_secs_f64();
                cut(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no data arrived for {seconds} s"),
                ))
            }
            ureq::Error::HostNotFound => unreachable(io::Error::new(
                io::ErrorKind::NotFound,
                "the host name cannot be resolved",
            )),
            ureq::Error::Io(error) => match error.kind() {
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => cut(error),
                _ => unreachable(error),
            },
            ureq::Error::ConnectProxyFailed(why) => unreachable(io::Error::other(format!(
                "the proxy refused the connection: {why}"
            ))),
            ureq::Error::Protocol(why) => {
                cut(io::Error::new(io::ErrorKind::InvalidData, why.to_string()))
            }
            other => unreachable(io::Error::other(other.to_string())),
        }
    }

    /// Returns the error of a response; `None` for success.
    pub(super) fn refusal(
        &self,
        id: &str,
        revision: &str,
        response: &Response<Body>,
    ) -> Option<Failure> {
        let (status, url) = (response.status(), &response.get_uri().to_string());
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        let headers = response.headers();
        let code = header(headers, "x-error-code").unwrap_or_default();
        let message = header(headers, "x-error-message").unwrap_or_default();
        let id = id.to_string();
        let endpoint = self.settings.endpoint.clone();
        let with_token = self.token.is_some();
        let error = match (status.as_u16(), code) {
            (_, "GatedRepo") => HubError::Gated {
                page: format!("{endpoint}/{id}"),
                id,
                with_token,
            },
            (_, "RevisionNotFound") => HubError::NoRevision {
                id,
                revision: revision.to_string(),
            },
            (_, "EntryNotFound") => HubError::NoFile {
                id,
                file: path(url).to_string(),
            },
            (401, _) if with_token && message.starts_with("Invalid credentials") => {
                HubError::Token { endpoint }
            }
            (_, "RepoNotFound") => HubError::NoModel {
                id,
                endpoint,
                with_token,
            },
            // Without a code, 401 means no such model or a private one, for which the
            // Hub answers alike. A host that stores files knows no models.
            (401 | 404, _) if self.is_endpoint(url) => HubError::NoModel {
                id,
                endpoint,
                with_token,
            },
            (status, _) => HubError::Status {
                url: shown(url).to_string(),
                status,
                message: if message.is_empty() {
                    String::new()
                } else {
                    format!(": {message}")
                },
            },
        };
        let retry = match status.as_u16() {
            // 403 from the storage host: the signature of the address has expired.
            403 if !self.is_endpoint(url) => Retry::Soon,
            408 | 429 | 500 | 502 | 503 | 504 => {
                let seconds =
                    header(headers, "retry-after").and_then(|value| value.trim().parse().ok());
                seconds.map_or(Retry::Soon, |seconds| {
                    Retry::After(Duration::from_secs(seconds))
                })
            }
            _ => Retry::Never,
        };
        Some(Failure { error, retry })
    }

    pub(super) fn observer(&self) -> &Observer {
        &self.observer
    }

    pub(super) fn cancellation(&self) -> &Cancellation {
        &self.cancellation
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.settings.endpoint
    }
}

/// Returns an observer that does nothing.
pub(super) fn silent() -> Observer {
    Arc::new(|_| {})
}

/// Returns the value of a header, if it is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the error for an invalid response.
pub(super) fn answer(url: &str, why: impl Into<String>) -> HubError {
    HubError::Answer {
        url: shown(url).to_string(),
        why: why.into(),
    }
}

/// Returns the system's certificates, or those in the file that a variable names.
fn certificates(settings: &HubSettings) -> Result<RootCerts, HubError> {
    let Some(path) = &settings.certificates else {
        return Ok(RootCerts::PlatformVerifier);
    };
    let pem = std::fs::read(path).map_err(|source| HubError::Read {
        path: path.clone(),
        source,
    })?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(_) => return Err(HubError::Certificates(path.clone())),
        }
    }
    if certificates.is_empty() {
        Err(HubError::Certificates(path.clone()))
    } else {
        Ok(RootCerts::new_with_certs(&certificates))
    }
}

fn usable_proxy(address: &str) -> Result<Proxy, HubError> {
    use ProxyProtocol::{Http, Https};
    // The address may hold a password: only what follows it is shown.
    let error = || HubError::Proxy(address.rsplit('@').next().unwrap_or_default().to_string());
    let proxy = Proxy::new(address).map_err(|_| error())?;
    match proxy.protocol() {
        Http | Https => Ok(proxy),
        _ => Err(error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_speaks_http_and_its_password_is_not_shown() {
        assert!(usable_proxy("http://user:secret@proxy.example:3128").is_ok());
        assert!(usable_proxy("proxy.example:3128").is_ok());
        let error = usable_proxy("socks5://user:secret@proxy.example:1080")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`proxy.example:1080`") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn a_file_of_certificates_without_any_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "no certificate").unwrap();
        let mut settings = HubSettings::from_env().unwrap();
        settings.certificates = Some(file.path().to_path_buf());
        assert!(matches!(
            certificates(&settings),
            Err(HubError::Certificates(_))
        ));
        settings.certificates = Some("/no/such/file".into());
        assert!(matches!(
            certificates(&settings),
            Err(HubError::Read { .. })
        ));
    }
}
