//! What a client says before its data: a PROXY header, the beginning of TLS that ends elsewhere, a request that is sent elsewhere.
//!
//! Owns reading it, within a time and a bound. What has been read and does not belong to it is left for whoever comes next.

use super::Terms;
use super::connection::Ends;
use crate::core::proxy::{
    self, ClientHello, HEAD_BYTES_MAX, HEADER_BYTES_MAX, HELLO_BYTES_MAX, Header, RequestAnswer, peek,
};
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Reads until `parse` has all it wants of what is there; no more than that many bytes, and no longer than until then.
async fn read<T, E>(
    client: &TcpStream,
    bytes: &mut Vec<u8>,
    (bytes_max, patience): (usize, Instant),
    mut parse: impl FnMut(&[u8]) -> Result<Option<T>, E>,
) -> io::Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let reading = async {
        loop {
            let parsed = parse(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(parsed) = parsed {
                return Ok(parsed);
            }
            if bytes.len() >= bytes_max {
                return Err(io::ErrorKind::InvalidData.into());
            }
            client.readable().await?;
            bytes.reserve(256);
            match client.try_read_buf(bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    timeout_at(patience, reading).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A PROXY header, which is taken away from what was read.
async fn header(client: &TcpStream, bytes: &mut Vec<u8>, patience: Instant) -> io::Result<Header> {
    let header = read(client, bytes, (HEADER_BYTES_MAX, patience), proxy::parse).await?;
    bytes.drain(..header.bytes.min(bytes.len()));
    Ok(header)
}

/// Who a client is: as its header says, where one has to come first.
pub(super) async fn who_connects(
    client: &TcpStream,
    bytes: &mut Vec<u8>,
    ends: Ends,
    terms: &Terms,
    patience: Instant,
) -> io::Result<Ends> {
    if !terms.accept_proxy_from.iter().any(|prefix| prefix.contains(&ends.client.ip())) {
        return Ok(ends);
    }
    let addresses = header(client, bytes, patience).await?.addresses;
    Ok(addresses.map_or(ends, |(source, destination)| Ends { client: source, vip: destination }))
}

/// The hello of a client whose TLS ends elsewhere, which stays for the backend.
pub(super) async fn hello(
    client: &TcpStream,
    bytes: &mut Vec<u8>,
    patience: Instant,
) -> io::Result<ClientHello> {
    read(client, bytes, (HELLO_BYTES_MAX, patience), peek).await
}

/// Answers a request with where it is to be made, or an authority that asks whose a name is.
pub(super) async fn redirect(
    client: &TcpStream,
    bytes: &mut Vec<u8>,
    (vip, https_port, challenges): (SocketAddr, u16, Option<&BTreeMap<String, String>>),
    patience: Instant,
) -> io::Result<RequestAnswer> {
    let limits = (HEAD_BYTES_MAX, patience);
    let decide = |head: &[u8]| proxy::redirect(head, vip, https_port, challenges);
    let answer = read(client, bytes, limits, decide).await?;
    let mut unsent = answer.bytes();
    let sending = async {
        while !unsent.is_empty() {
            client.writable().await?;
            match client.try_write(unsent) {
                Ok(sent) => unsent = unsent.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        SockRef::from(client).shutdown(Shutdown::Write)?;
        // A body that is not read would break off the answer.
        let mut thrown_away = [0; 4096];
        loop {
            client.readable().await?;
            match client.try_read(&mut thrown_away) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    // It has been sent, in any case.
    let _: Result<io::Result<()>, _> = timeout_at(patience, sending).await;
    Ok(answer)
}
