//! The parts of an address that decide whom to ask, whom to trust, and what to show.

/// Scheme, host and port: whom the token may be told to.
pub(super) fn origin(url: &str) -> String {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[after_scheme..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| after_scheme + at);
    url[..end].to_lowercase()
}

/// The host, with its port.
pub(super) fn host(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(url, |at| &url[at + 3..]);
    let host = after_scheme
        .split(['/', '?', '#'])
        .next()
        .unwrap_or(after_scheme);
    host.rsplit('@').next().unwrap_or(host)
}

/// An address without its query, which may hold a signature.
pub(super) fn shown(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

/// The file that an address of the endpoint ends in: what follows `/resolve/COMMIT/`.
pub(super) fn path(url: &str) -> &str {
    let after = shown(url)
        .split_once("/resolve/")
        .map_or(shown(url), |(_, rest)| rest);
    after.split_once('/').map_or(after, |(_, file)| file)
}

/// Where a redirect leads.
pub(super) fn resolve(from: &str, location: &str) -> String {
    if location.starts_with("https://") || location.starts_with("http://") {
        return location.to_string();
    }
    if let Some(rest) = location.strip_prefix("//") {
        let scheme = from.split("://").next().unwrap_or("https");
        return format!("{scheme}://{rest}");
    }
    if location.starts_with('/') {
        return format!("{}{location}", origin(from));
    }
    let folder = shown(from)
        .rsplit_once('/')
        .map_or(from, |(folder, _)| folder);
    format!("{folder}/{location}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_relative_to_where_it_came_from() {
        let from = "https://hub.example/albert-base-v2/resolve/main/config.json?x=1";
        for (location, expected) in [
            ("https://cdn.example/a?b=c", "https://cdn.example/a?b=c"),
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
            assert_eq!(resolve(from, location), expected);
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://Hub.example/a/b"), "https://hub.example");
        assert_eq!(origin("http://127.0.0.1:8080?a"), "http://127.0.0.1:8080");
        // What looks like the endpoint before an @ is a user's name.
        assert_ne!(
            origin("https://hub.example@evil.example/"),
            "https://hub.example"
        );
        assert_ne!(
            origin("https://hub.example.evil.example/"),
            "https://hub.example"
        );
        assert_ne!(origin("http://hub.example/"), "https://hub.example");
    }
}
