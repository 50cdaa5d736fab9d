//! The health of a running server, for containers that have no other program to ask with.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

/// The time that a healthy server needs less than.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Asks for `/health`.
///
/// # Errors
/// If the server does not answer 200 in time.
pub(super) fn health(address: SocketAddr) -> anyhow::Result<()> {
    let status = ask(address).with_context(|| format!("no answer from {address}"))?;
    ensure!(status == "200", "{address} answers {status}: expected 200");
    Ok(())
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    // `HTTP/1.1 200`
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(String::from_utf8_lossy(&head[9..]).into_owned())
}
