//! The address that a server listens on: TCP, a Unix socket, or a socket that systemd opened.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpSocket};
use tokio_io_timeout::TimeoutStream;

/// The address of a server.
///
/// ```
/// use albert_server::Address;
///
/// let address: Address = "127.0.0.1:8080".parse().unwrap();
/// assert_eq!(address.to_string(), "http://127.0.0.1:8080");
/// assert!("unix:/run/albert.sock".parse::<Address>().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port; port 0 is any free one.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err("expected a path after `unix:`, found nothing".to_string());
            }
            return Ok(Self::Unix(path.into()));
        }
        let address = text
            .strip_prefix("localhost:")
            .map(|port| format!("127.0.0.1:{port}"));
        let address = address.as_deref().unwrap_or(text);
        address.parse().map(Self::Tcp).map_err(|_| {
            format!("expected ADDRESS:PORT, such as 127.0.0.1:8080, or unix:PATH, found `{text}`")
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The maximum number of connections that wait to be accepted, within the system's own limit
/// (`net.core.somaxconn` on Linux). The system may drop one beyond it while its client believes it
/// to be open.
const BACKLOG: u32 = 4096;

/// A socket that accepts connections.
#[derive(Debug)]
pub struct Listener(Socket);

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, Option<PathBuf>),
}

/// A connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    /// Listens on an address. A Unix socket that nobody listens on is replaced.
    ///
    /// # Errors
    /// If the address is in use or must not be used.
    pub async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => Ok(Self(Socket::Tcp(listen(*address)?))),
            #[cfg(unix)]
            Address::Unix(path) => {
                use std::os::unix::fs::FileTypeExt;
                let is_socket = std::fs::metadata(path).is_ok_and(|it| it.file_type().is_socket());
                if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
                    std::fs::remove_file(path)?;
                }
                let listener = UnixListener::bind(path)?;
                Ok(Self(Socket::Unix(listener, Some(path.clone()))))
            }
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }

    /// Takes the socket that systemd opened for this process (`LISTEN_FDS`), if it did.
    ///
    /// # Errors
    /// If the socket is neither TCP nor a Unix stream.
    pub fn from_systemd() -> io::Result<Option<Self>> {
        #[cfg(unix)]
        {
            let mut sockets = listenfd::ListenFd::from_env();
            if sockets.len() == 0 {
                return Ok(None);
            }
            if let Ok(Some(listener)) = sockets.take_tcp_listener(0) {
                listener.set_nonblocking(true)?;
                return Ok(Some(Self(Socket::Tcp(TcpListener::from_std(listener)?))));
            }
            let Some(listener) = sockets.take_unix_listener(0)? else {
                return Ok(None);
            };
            listener.set_nonblocking(true)?;
            Ok(Some(Self(Socket::Unix(
                UnixListener::from_std(listener)?,
                None,
            ))))
        }
        #[cfg(not(unix))]
        Ok(None)
    }

    /// Returns the address, with the port that was chosen.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<Address> {
        match &self.0 {
            Socket::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            #[cfg(unix)]
            Socket::Unix(listener, _) => {
                let address = listener.local_addr()?;
                Ok(Address::Unix(
                    address.as_pathname().unwrap_or("".as_ref()).into(),
                ))
            }
        }
    }

    /// Accepts a connection, which is closed if its client reads nothing for `write_timeout`.
    pub(crate) async fn accept(&self, write_timeout: Duration) -> io::Result<Box<dyn Stream>> {
        match &self.0 {
            Socket::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Answers are written whole: waiting for more bytes only delays them.
                let _ = stream.set_nodelay(true);
                Ok(limited(stream, write_timeout))
            }
            #[cfg(unix)]
            Socket::Unix(listener, _) => Ok(limited(listener.accept().await?.0, write_timeout)),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Socket::Unix(_, Some(path)) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server that was just ended does not block its successor; on Windows the option would let
    // two servers share a port.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn limited<S: AsyncRead + AsyncWrite + Send + 'static>(
    stream: S,
    write_timeout: Duration,
) -> Box<dyn Stream> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(write_timeout));
    Box::new(Box::pin(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_tcp_or_unix() {
        let parse = |text: &str| text.parse::<Address>();
        assert_eq!(parse("localhost:80"), parse("127.0.0.1:80"));
        assert_eq!(parse("[::1]:80").unwrap().to_string(), "http://[::1]:80");
        assert_eq!(parse("unix:/run/a").unwrap().to_string(), "unix:/run/a");
        for wrong in ["", "8080", "unix:", "example.org"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
