//! The proxy of a request, from the environment variables as interpreted by curl.

use std::fmt;

/// The proxies of the environment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For addresses that begin with `http://`.
    pub http: Option<String>,
    /// For addresses that begin with `https://`.
    pub https: Option<String>,
    /// Hosts that are contacted without a proxy: a name includes its subdomains, and `*` means all
    /// hosts.
    pub exceptions: Vec<String>,
}

/// Their addresses may hold passwords.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |address: &Option<String>| address.as_ref().map(|_| "…");
        f.debug_struct("Proxies")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("exceptions", &self.exceptions)
            .finish()
    }
}

impl Proxies {
    /// Small letters before capitals, the scheme's own variable before `ALL_PROXY`.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| variable(&name.to_lowercase()).or_else(|| variable(name));
        let all = || either("ALL_PROXY");
        let exceptions = either("NO_PROXY").unwrap_or_default();
        let exceptions = exceptions
            .split([',', ' '])
            .map(|host| host.trim_start_matches("*.").to_lowercase());
        Self {
            http: either("HTTP_PROXY").or_else(all),
            https: either("HTTPS_PROXY").or_else(all),
            exceptions: exceptions.filter(|host| !host.is_empty()).collect(),
        }
    }

    /// Returns true if `host` is contacted directly.
    pub(super) fn bypasses(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.to_lowercase();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.exceptions.iter().any(|exception| {
            let (name, of_port) = match exception.rsplit_once(':') {
                // More colons are an IPv6 address.
                Some((name, digits)) if !name.contains(':') => (name, digits.parse::<u16>().ok()),
                _ => (exception.as_str(), None),
            };
            let name = name.trim_start_matches('.');
            let covers = name == "*"
                || host == name
                || host
                    .strip_suffix(name)
                    .is_some_and(|rest| rest.ends_with('.'));
            covers && of_port.is_none_or(|of_port| port == Some(of_port))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::read(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_string())
        })
    }

    #[test]
    fn each_scheme_has_its_own_and_all_serves_the_rest() {
        let read = proxies(&[
            ("HTTPS_PROXY", "s"),
            ("http_proxy", "h"),
            ("HTTP_PROXY", "H"),
        ]);
        assert_eq!(
            (read.https.as_deref(), read.http.as_deref()),
            (Some("s"), Some("h"))
        );
        let read = proxies(&[("ALL_PROXY", "a"), ("https_proxy", "s")]);
        assert_eq!(
            (read.https.as_deref(), read.http.as_deref()),
            (Some("s"), Some("a"))
        );
        assert_eq!(proxies(&[]), Proxies::default());
    }

    #[test]
    fn an_exception_covers_a_name_and_its_subdomains() {
        let read = proxies(&[(
            "NO_PROXY",
            "localhost, .example.com,*.b.org,10.0.0.1,host:80,::1",
        )]);
        for spared in [
            "localhost",
            "example.com",
            "A.Example.com",
            "x.b.org",
            "10.0.0.1",
            "[::1]",
        ] {
            assert!(read.bypasses(spared, Some(443)), "{spared}");
        }
        for not in ["notexample.com", "example.com.evil", "10.0.0.11", "host"] {
            assert!(!read.bypasses(not, Some(443)), "{not}");
        }
        assert!(read.bypasses("host", Some(80)));
        assert!(proxies(&[("no_proxy", "*")]).bypasses("anything", None));
    }
}
