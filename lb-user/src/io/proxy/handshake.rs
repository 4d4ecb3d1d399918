//! Handshakes of TLS: with a client, and with a backend.
//!
//! Owns their course. For how long they may last the connection decides; what is offered, and to whom, says the configuration they are
//! given. Never moves data: what comes with the last message of a handshake is handed on.

use super::Challenges;
use super::wire::{Session, flush};
use crate::core::acme::ACME_TLS;
use rustls::pki_types::ServerName;
use rustls::server::{Acceptor, ClientHello};
use rustls::{ClientConfig, ClientConnection, Connection, HandshakeKind, ProtocolVersion, ServerConfig};
use std::io;
use std::sync::Arc;
use tokio::net::TcpStream;

/// `fatal`, `unrecognized_name`, in a record of its own: RFC 6066 §3.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
/// What is read of a handshake at once.
const READ_BYTES: usize = 4096;

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It was not agreed on how to go on.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    /// There is no certificate for the name the client asked for.
    #[error("no certificate for this name")]
    UnknownName,
    /// It was made by an authority to see whose a name is, and it has seen it.
    #[error("an authority asked whose a name is")]
    Challenged,
}

/// A session, and what came on it already.
pub(super) struct Established {
    pub(super) session: Box<Session>,
    pub(super) first: Vec<u8>,
    pub(super) facts: TlsFacts,
}

/// What was agreed on, in the words of the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsFacts {
    /// `TLSv1.3`.
    pub(super) version: &'static str,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub(super) cipher: String,
    pub(super) alpn: Option<Vec<u8>>,
    pub(super) server_name: Option<String>,
    /// The client's certificate, in DER.
    pub(super) client_certificate: Option<Vec<u8>>,
    /// It went on with an earlier session.
    pub(super) is_resumed: bool,
}

/// With a client, of whom `first` has been read already.
pub(super) async fn accept(
    tcp: &TcpStream,
    first: &[u8],
    config: &Arc<ServerConfig>,
    challenges: Option<&Challenges>,
) -> Result<Established, HandshakeError> {
    let (mut acceptor, mut bytes) = (Acceptor::default(), first.to_vec());
    let accepted = loop {
        let mut unread = &bytes[..];
        while !unread.is_empty() && acceptor.read_tls(&mut unread)? > 0 {}
        match acceptor.accept() {
            Ok(Some(accepted)) => break accepted,
            Ok(None) => bytes = read(tcp).await?,
            Err((error, mut alert)) => {
                let mut told = Vec::new();
                alert.write_all(&mut told)?;
                // Whether it arrives is the client's concern.
                let _ = tcp.try_write(&told);
                return Err(error.into());
            }
        }
    };
    let server_name = accepted.client_hello().server_name().map(str::to_owned);
    if let Some(asked) = challenge(&accepted.client_hello(), challenges) {
        let connection = accepted.into_connection(asked).map_err(|(error, _)| error)?;
        let mut session = finish(tcp, connection.into(), server_name).await?.session;
        session.close(tcp);
        return Err(HandshakeError::Challenged);
    }
    if config.cert_resolver.resolve(accepted.client_hello()).is_none() {
        let _ = tcp.try_write(&UNRECOGNIZED_NAME);
        return Err(HandshakeError::UnknownName);
    }
    let connection = match accepted.into_connection(config.clone()) {
        Ok(connection) => connection,
        Err((error, mut alert)) => {
            let mut told = Vec::new();
            alert.write_all(&mut told)?;
            let _ = tcp.try_write(&told);
            return Err(error.into());
        }
    };
    finish(tcp, connection.into(), server_name).await
}

/// How to answer an authority that asks whose a name is, if it is one and that was announced.
fn challenge(hello: &ClientHello<'_>, challenges: Option<&Challenges>) -> Option<Arc<ServerConfig>> {
    let challenges = challenges?;
    if !hello.alpn()?.eq([ACME_TLS]) {
        return None;
    }
    challenges.sessions.get(&hello.server_name()?.to_ascii_lowercase()).cloned()
}

/// With a backend, that must prove to be the one of that name.
pub(super) async fn connect(
    tcp: &TcpStream,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Established, HandshakeError> {
    let connection = ClientConnection::new(config, name)?;
    finish(tcp, connection.into(), None).await
}

async fn finish(
    tcp: &TcpStream,
    mut connection: Connection,
    server_name: Option<String>,
) -> Result<Established, HandshakeError> {
    loop {
        send(&mut connection, tcp).await?;
        if !connection.is_handshaking() {
            break;
        }
        let bytes = read(tcp).await?;
        let mut unread = &bytes[..];
        // Behind an end that was announced nothing is taken any more, whatever comes.
        while !unread.is_empty() && connection.read_tls(&mut unread)? > 0 {
            if let Err(error) = connection.process_new_packets() {
                // The other side is told why, if that goes at once.
                let _ = flush(&mut connection, tcp);
                return Err(error.into());
            }
        }
    }
    let facts = facts(&connection, server_name);
    let (session, first) = Session::begin(connection)?;
    Ok(Established { session: Box::new(session), first, facts })
}

async fn send(connection: &mut Connection, tcp: &TcpStream) -> io::Result<()> {
    loop {
        match flush(connection, tcp) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.writable().await?,
            other => return other,
        }
    }
}

async fn read(tcp: &TcpStream) -> io::Result<Vec<u8>> {
    loop {
        tcp.readable().await?;
        let mut bytes = Vec::with_capacity(READ_BYTES);
        match tcp.try_read_buf(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => return Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn facts(connection: &Connection, server_name: Option<String>) -> TlsFacts {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let suite = connection.negotiated_cipher_suite();
    TlsFacts {
        version,
        cipher: suite.and_then(|suite| suite.suite().as_str().map(str::to_owned)).unwrap_or_default(),
        alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        server_name,
        client_certificate: connection
            .peer_certificates()
            .and_then(|chain| chain.first())
            .map(|certificate| certificate.to_vec()),
        is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}
