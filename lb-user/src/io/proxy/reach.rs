//! The way to one backend: the connection, the header it is told who the client is by, and TLS where it wants that.
//!
//! Owns what comes before a connection's data on the backend's side. Which backend, and what is done where it fails, the connection decides.

use super::Terms;
use super::handshake::{self, HandshakeError, TlsFacts};
use super::wire::Session;
use crate::core::certificate::CertificateFacts;
use crate::core::proxy::{TlsTold, write};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// For whom a backend is reached, and how.
pub(super) struct Wanted<'a> {
    pub(super) client: SocketAddr,
    pub(super) vip: SocketAddr,
    /// What the client's TLS is like, where it ends here.
    pub(super) tls: Option<&'a TlsFacts>,
    pub(super) terms: &'a Terms,
    /// Whether TLS, where backends want it, begins at once; with databases it begins after the server's first words.
    pub(super) begins_tls: bool,
}

/// A backend that took the connection.
pub(super) struct Reached {
    pub(super) stream: TcpStream,
    pub(super) session: Option<Box<Session>>,
    /// What it said already.
    pub(super) first: Vec<u8>,
    /// What it is to be told before the client's data.
    pub(super) unsent: Vec<u8>,
}

/// Connects, within the time for it.
pub(super) async fn reach(address: SocketAddr, wanted: &Wanted<'_>) -> io::Result<Reached> {
    let reached = timeout(wanted.terms.connect, connect(address, wanted)).await;
    reached.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn connect(address: SocketAddr, wanted: &Wanted<'_>) -> io::Result<Reached> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_nodelay(true)?;
    if wanted.terms.shows(wanted.client, address) {
        show_client(&socket, wanted.client.ip())?;
    }
    let stream = socket.connect(address).await?;
    let header = header(wanted);
    let Some(tls) = wanted.terms.backend_tls.as_ref().filter(|_| wanted.begins_tls) else {
        return Ok(Reached { stream, session: None, first: Vec::new(), unsent: header });
    };
    // In the clear: it is for whoever ends TLS there.
    send(&stream, &header).await?;
    let name = tls.server_name.clone().unwrap_or_else(|| ServerName::from(address.ip()));
    let established =
        handshake::connect(&stream, tls.config.clone(), name).await.map_err(|error| match error {
            HandshakeError::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        })?;
    let (session, first) = (Some(established.session), established.first);
    Ok(Reached { stream, session, first, unsent: Vec::new() })
}

/// Lets the connection come from the client's address, with any port that is free towards the backend.
fn show_client(socket: &TcpSocket, client: IpAddr) -> io::Result<()> {
    let options = SockRef::from(socket);
    match client {
        IpAddr::V4(_) => options.set_ip_transparent_v4(true)?,
        IpAddr::V6(_) => options.set_ip_transparent_v6(true)?,
    }
    setsockopt(socket, IpBindAddressNoPort, &true)?;
    socket.bind(SocketAddr::new(client, 0))
}

fn header(wanted: &Wanted<'_>) -> Vec<u8> {
    let Some(version) = wanted.terms.send_proxy else { return Vec::new() };
    let Some(tls) = wanted.tls else { return write(version, wanted.client, wanted.vip, None) };
    let client = tls
        .client_certificate
        .as_ref()
        .map(|der| CertificateFacts::of(der).map(|facts| facts.common_name).unwrap_or_default());
    let told = TlsTold {
        version: tls.version,
        cipher: &tls.cipher,
        alpn: tls.alpn.as_deref(),
        server_name: tls.server_name.as_deref(),
        client_name: client.as_deref(),
        is_resumed: tls.is_resumed,
    };
    write(version, wanted.client, wanted.vip, Some(&told))
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
