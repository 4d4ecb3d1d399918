//! Just enough HTTP to ask whether something answers. Not for measuring, not for large bodies.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

const PATIENCE: Duration = Duration::from_secs(2);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Status line and header lines.
    pub head: String,
    /// The body, chunked coding taken away.
    pub body: String,
}

/// `GET path` from a server in the current network namespace.
pub(super) fn get(address: SocketAddr, path: &str) -> Result<Response> {
    let stream =
        TcpStream::connect_timeout(&address, PATIENCE).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(PATIENCE)).context("setting the timeout")?;
    stream.set_write_timeout(Some(PATIENCE)).context("setting the timeout")?;
    exchange(stream, &address.to_string(), path).with_context(|| format!("asking {address} for {path}"))
}

/// `GET path` from the server on a Unix socket.
pub(super) fn get_over_unix_socket(socket: &Path, path: &str) -> Result<Response> {
    let stream =
        UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE)).context("setting the timeout")?;
    stream.set_write_timeout(Some(PATIENCE)).context("setting the timeout")?;
    exchange(stream, "localhost", path).with_context(|| format!("asking {} for {path}", socket.display()))
}

/// An answer whose status must be 200.
pub(super) fn expect_ok(response: Response) -> Result<Response> {
    if response.status != 200 {
        bail!("status {}: {}", response.status, response.body.trim());
    }
    Ok(response)
}

fn exchange(mut stream: impl Read + Write, host: &str, path: &str) -> Result<Response> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").context("sending")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("receiving")?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Response> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").context("the answer is not HTTP, or cut off")?;
    let status = head.split_ascii_whitespace().nth(1).and_then(|code| code.parse().ok());
    let status =
        status.with_context(|| format!("no status code in `{}`", head.lines().next().unwrap_or_default()))?;
    let chunked = head.to_ascii_lowercase().contains("\r\ntransfer-encoding: chunked");
    let body = if chunked { join_chunks(body) } else { body.to_owned() };
    Ok(Response { status, head: head.to_owned(), body })
}

fn join_chunks(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size_bytes = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some(chunk) = after.get(..size_bytes) else { break };
        if size_bytes == 0 {
            break;
        }
        body.push_str(chunk);
        rest = after.get(size_bytes + 2..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_head_and_body_are_told_apart() {
        let answer = parse(b"HTTP/1.1 503 Service Unavailable\r\nX-Backend: web1\r\n\r\nlater").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (503, "later"));
        assert!(answer.head.contains("X-Backend: web1"));
    }

    #[test]
    fn a_chunked_body_is_joined() {
        let answer =
            parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
        assert_eq!(answer.unwrap().body, "abcde");
    }

    #[test]
    fn nonsense_is_an_error_and_not_a_panic() {
        assert!(parse(b"\xff\xff").is_err());
        assert!(parse(b"HTTP/1.1\r\n\r\n").is_err());
    }
}
