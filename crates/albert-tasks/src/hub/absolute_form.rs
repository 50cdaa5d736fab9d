//! Requests for `http://` addresses through a proxy, in the absolute form.
//!
//! ureq asks every proxy for a tunnel (CONNECT), which most allow to port 443 alone. So the
//! connection goes to the proxy, and each request line names the whole address.
//!
//! Source: RFC 9112, section 3.2.2.

use std::fmt;
use std::io;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport,
};
use ureq::{Agent, Error, Proxy};

/// Returns an agent that sends requests for `http://` addresses to a proxy that speaks HTTP.
pub(super) fn agent(config: Config, proxy: &Proxy) -> Agent {
    let credentials = proxy.username().map(|name| {
        let password = proxy.password().unwrap_or_default();
        base64(format!("{name}:{password}").as_bytes())
    });
    let connector = ().chain(TcpConnector::default()).chain(AbsoluteForm { credentials });
    let resolver = ProxyAddress {
        proxy: proxy.uri().clone(),
        resolver: DefaultResolver::default(),
    };
    Agent::with_parts(config, connector, resolver)
}

/// Gives the addresses of the proxy in place of a host's.
#[derive(Debug)]
struct ProxyAddress {
    proxy: Uri,
    resolver: DefaultResolver,
}

impl Resolver for ProxyAddress {
    fn resolve(
        &self,
        _: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        self.resolver.resolve(&self.proxy, config, timeout)
    }
}

/// Wraps connections to the proxy.
struct AbsoluteForm {
    /// Name and password for the proxy, encoded.
    credentials: Option<String>,
}

/// Shows no password.
impl fmt::Debug for AbsoluteForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbsoluteForm").finish_non_exhaustive()
    }
}

impl<In: Transport> Connector<In> for AbsoluteForm {
    type Out = ToProxy<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let authority = details.uri.authority().map_or("", |it| it.as_str());
        let host = authority.rsplit('@').next().unwrap_or_default();
        Ok(chained.map(|inner| ToProxy {
            inner,
            requests: Requests {
                origin: format!("http://{host}"),
                credentials: self.credentials.clone(),
                head: Vec::new(),
            },
        }))
    }
}

/// A connection to the proxy for the requests to one host.
struct ToProxy<In> {
    inner: In,
    requests: Requests,
}

impl<In: fmt::Debug> fmt::Debug for ToProxy<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ToProxy").field(&self.inner).finish()
    }
}

impl<In: Transport> Transport for ToProxy<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let bytes = self.inner.buffers().output()[..amount].to_vec();
        let head = self.requests.push(&bytes).map_err(Error::Io)?;
        let room = self.inner.buffers().output().len().max(1);
        for part in head.chunks(room) {
            self.inner.buffers().output()[..part.len()].copy_from_slice(part);
            self.inner.transmit_output(part.len(), timeout)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

/// The requests of a connection, which are GET and HEAD: a head each, and no body.
struct Requests {
    /// The scheme and the host.
    origin: String,
    credentials: Option<String>,
    /// The part of a head that was sent so far.
    head: Vec<u8>,
}

impl Requests {
    /// Takes the next bytes of a request; returns its head in the absolute form once it is whole.
    fn push(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        /// ureq's own limit of what it writes at once.
        const MAX_HEAD_BYTES: usize = 128 << 10;
        let invalid = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_string());
        self.head.extend_from_slice(bytes);
        if !self.head.ends_with(b"\r\n\r\n") {
            return if self.head.len() > MAX_HEAD_BYTES {
                Err(invalid("the head of the request is too long"))
            } else {
                Ok(Vec::new())
            };
        }
        let head = std::mem::take(&mut self.head);
        let head = String::from_utf8(head).map_err(|_| invalid("the request is not UTF-8"))?;
        let (line, headers) = head
            .split_once("\r\n")
            .ok_or_else(|| invalid("the request has no request line"))?;
        let (method, rest) = line
            .split_once(' ')
            .ok_or_else(|| invalid("the request has no path"))?;
        let mut whole = format!("{method} {}{rest}\r\n", self.origin);
        if let Some(credentials) = &self.credentials {
            whole.push_str(&format!("proxy-authorization: Basic {credentials}\r\n"));
        }
        whole.push_str(headers);
        Ok(whole.into_bytes())
    }
}

/// Encodes bytes in base64 (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= group.len() {
                text.push(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63].into());
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_encoded_as_the_examples_of_the_standard() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_request_line_names_the_host_however_the_head_is_cut() {
        let head = b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n";
        for cut in 0..head.len() {
            let mut requests = Requests {
                origin: "http://h:8080".into(),
                credentials: Some("eDp5".into()),
                head: Vec::new(),
            };
            for _ in 0..2 {
                let mut sent = requests.push(&head[..cut]).unwrap();
                sent.extend(requests.push(&head[cut..]).unwrap());
                let expected = "GET http://h:8080/a HTTP/1.1\r\n\
                                proxy-authorization: Basic eDp5\r\nhost: h\r\n\r\n";
                assert_eq!(String::from_utf8(sent).unwrap(), expected);
            }
        }
    }

    #[test]
    fn a_head_without_an_end_is_refused() {
        let mut requests = Requests {
            origin: String::new(),
            credentials: None,
            head: Vec::new(),
        };
        assert!(requests.push(&vec![b'x'; 200 << 10]).is_err());
    }
}
