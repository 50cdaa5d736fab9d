//! The parts of an address that decide whom to ask, whom to trust, and what to show.
//!
//! Addresses are read by `http`'s `Uri`, which the client sends them with: the token goes to the
//! host that is asked, and to no other that merely looks like it.

use ureq::http::Uri;

/// Scheme, host and port, in lower case: the party that may see the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

/// Returns the origin of an address; `None` if it has no scheme of the web, no host, or a user.
pub(super) fn origin(url: &str) -> Option<Origin> {
    let uri: Uri = url.parse().ok()?;
    let (scheme, port) = match uri.scheme_str()?.to_ascii_lowercase().as_str() {
        "https" => ("https", 443),
        "http" => ("http", 80),
        _ => return None,
    };
    if uri.authority()?.as_str().contains('@') {
        return None;
    }
    Some(Origin {
        scheme: scheme.into(),
        host: uri.host()?.to_ascii_lowercase(),
        port: uri.port_u16().unwrap_or(port),
    })
}

/// Returns the host with its port, without a user.
pub(super) fn host(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(url, |at| &url[at + 3..]);
    let host = after_scheme
        .split(['/', '?', '#'])
        .next()
        .unwrap_or(after_scheme);
    host.rsplit('@').next().unwrap_or(host)
}

/// Returns an address without its query, which may hold a signature.
pub(super) fn shown(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

/// Returns the file that an address of the endpoint ends in: the part after `/resolve/COMMIT/`.
pub(super) fn path(url: &str) -> &str {
    let after = shown(url)
        .split_once("/resolve/")
        .map_or(shown(url), |(_, rest)| rest);
    after.split_once('/').map_or(after, |(_, file)| file)
}

/// Returns the address that a redirect leads to; `None` unless it is a web address.
pub(super) fn resolve(from: &str, location: &str) -> Option<String> {
    let from: Uri = from.parse().ok()?;
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    let to = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if has_scheme(location) {
        location.to_string()
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = from
            .path()
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    origin(&to).map(|_| to)
}

/// Returns true for an address that begins with a scheme, of the web or not.
fn has_scheme(location: &str) -> bool {
    location.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_relative_to_where_it_came_from() {
        let from = "https://hub.example/albert-base-v2/resolve/main/config.json?x=1";
        for (location, expected) in [
            ("https://cdn.example/a?b=c", "https://cdn.example/a?b=c"),
            ("HTTP://cdn.example/a", "HTTP://cdn.example/a"),
            ("//cdn.example/a", "https://cdn.example/a"),
            (
                "/albert/a?next=https://x",
                "https://hub.example/albert/a?next=https://x",
            ),
            (
                "b.json?next=https://x",
                "https://hub.example/albert-base-v2/resolve/main/b.json?next=https://x",
            ),
        ] {
            assert_eq!(resolve(from, location).as_deref(), Some(expected));
        }
        for location in [
            "ftp://cdn.example/a",
            "file:///etc/passwd",
            "https://u@evil.example/",
        ] {
            assert_eq!(resolve(from, location), None, "{location}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let hub = origin("https://hub.example").unwrap();
        for same in [
            "https://Hub.example/a/b",
            "HTTPS://hub.example:443?a",
            "https://hub.example/?x=https://evil.example",
        ] {
            assert_eq!(origin(same).as_ref(), Some(&hub), "{same}");
        }
        for other in [
            // A user's name that looks like the endpoint.
            "https://hub.example@evil.example/",
            "https://hub.example:x@evil.example/",
            "https://hub.example.evil.example/",
            "https://evil.example/https://hub.example",
            "https://hub.example:444/",
            "http://hub.example/",
            "hub.example",
        ] {
            assert_ne!(origin(other).as_ref(), Some(&hub), "{other}");
        }
        assert_eq!(origin("http://127.0.0.1:80"), origin("http://127.0.0.1/x"));
    }
}
