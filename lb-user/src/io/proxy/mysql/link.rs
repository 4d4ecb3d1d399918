//! One connection to a backend: the login there, the proxy's own questions, and what the connection knows of the session.
//!
//! Owns the socket and the ids that the server gave prepared statements. What is sent on it, the session decides.

use super::super::account::Place;
use super::super::handshake;
use super::super::reach::{Wanted, reach};
use super::super::terms::{Terms, TlsClient};
use super::super::wire::Wire;
use super::channel::Channel;
use crate::core::mysql::protocol::auth::{BackendAuth, BackendAuthError, BackendStep, Login, Password};
use crate::core::mysql::protocol::capabilities::{
    BackendCapabilitiesError, Capabilities, Flavor, backend_capabilities,
};
use crate::core::mysql::protocol::command::{Command, Query};
use crate::core::mysql::protocol::gtid::GtidPosition;
use crate::core::mysql::protocol::handshake::{HandshakeError as PacketError, InitialHandshake};
use crate::core::mysql::protocol::packet::frame;
use crate::core::mysql::protocol::response::{
    ErrPacket, OkPacket, ResponseError, TextAnswer, TextReader, TextRow,
};
use crate::core::mysql::session::Asks;
use futures_util::FutureExt as _;
use rustls::pki_types::ServerName;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The longest packet that servers are told to send.
const PACKET_BYTES_MAX: u32 = 1 << 30;

/// The collation of connections that nobody but the proxy uses.
pub(super) const UTF8MB4_GENERAL_CI: u8 = 45;

/// An answer to a question of the proxy's own takes no longer than that.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// Why a backend is of no use.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It was not understood.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Nor was this.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// It cannot do what its client was promised.
    #[error(transparent)]
    Capabilities(#[from] BackendCapabilitiesError),
    /// There is no way to prove the password.
    #[error(transparent)]
    Auth(#[from] BackendAuthError),
    /// It has as many connections as it may have.
    #[error("the backend has as many connections as it may have (max_flows)")]
    Full,
    /// It refused, in these words.
    #[error("{}", String::from_utf8_lossy(&.0.message))]
    Refused(ErrPacket),
    /// TLS came to nothing.
    #[error("no TLS with it: {0}")]
    Tls(String),
    /// It has no TLS, and shall have.
    #[error("it offers no TLS")]
    NoTls,
}

/// As whom, and how.
#[derive(Clone)]
pub(super) struct Who<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a Password,
    pub(super) schema: Option<&'a [u8]>,
    pub(super) capabilities: Capabilities,
    pub(super) collation: u8,
    pub(super) attributes: Option<&'a [u8]>,
}

/// A statement as this connection knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) id: u32,
    /// The types of its parameters have been sent, so many times by the session.
    pub(super) types: u64,
}

/// A connection that is logged in.
pub(super) struct Link {
    pub(super) channel: Channel,
    pub(super) capabilities: Capabilities,
    pub(super) flavor: Flavor,
    pub(super) address: SocketAddr,
    /// The server's number of it.
    pub(super) thread: u32,
    pub(super) place: Option<Place>,
    /// How often its backend's connections had been cut when it was made.
    pub(super) cuts: u64,
    /// Which of the session's connections it is.
    pub(super) serial: u64,
    /// Since when it has the rights that it has.
    pub(super) logged_in: Instant,
    /// When something was said on it last.
    pub(super) used: Instant,
    /// Something was sent on it whose answer has not been read to its end: it is of no use for anything else.
    pub(super) is_busy: bool,
    /// How far it has written was not told, and has to be asked for.
    pub(super) must_ask: bool,
    /// What it can be asked about statements of the client.
    pub(super) recalls: Asks,
    /// The settings of the session that it knows.
    pub(super) settings: u64,
    pub(super) schema: Option<Vec<u8>>,
    /// Statements by the session's ids.
    pub(super) statements: BTreeMap<u32, Known>,
    /// What the server had when it was last waited for.
    pub(super) reached: GtidPosition,
    /// What it said at the end of the login.
    pub(super) welcome: OkPacket,
    /// What it said first.
    pub(super) greeting: InitialHandshake,
}

impl Link {
    /// Connects and logs in.
    pub(super) async fn open(
        address: SocketAddr,
        (client, vip): (SocketAddr, SocketAddr),
        terms: &Terms,
        who: &Who<'_>,
    ) -> Result<Self, LinkError> {
        let reached = reach(address, &Wanted { client, vip, tls: None, terms, begins_tls: false }).await?;
        let mut channel = Channel::new(Wire::new(reached.stream, None), reached.first);
        let login = timeout(terms.connect.max(terms.handshake), async {
            channel.send(&reached.unsent).await?;
            log_in(channel, address, terms.backend_tls.as_ref(), who).await
        });
        login.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Whether it can be used: a server says nothing unasked but that it leaves, and nobody wants it to end.
    pub(super) fn is_usable(&mut self) -> bool {
        let is_quiet = !self.is_busy && self.channel.unread().is_empty();
        is_quiet && !self.is_cut() && self.channel.fill().now_or_never().is_none()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.backend.cuts() != self.cuts)
    }

    /// Whether it can tell what is asked.
    pub(super) fn recalls(&self, asks: &Asks) -> bool {
        (self.recalls.last || !asks.last)
            && (self.recalls.found_rows || !asks.found_rows)
            && (self.recalls.insert_id || !asks.insert_id)
    }

    /// Something of the proxy's own is sent: what the client's last statement left is gone.
    pub(super) fn begin_own(&mut self) {
        (self.is_busy, self.used) = (true, Instant::now());
        self.recalls = Asks { insert_id: self.recalls.insert_id, ..Asks::default() };
    }

    /// Says things of the proxy's own, all at once, and reads the answers. The first refusal is an error, when all have been read.
    pub(super) async fn tell_all(
        &mut self,
        said: &[&[u8]],
        patience: Duration,
    ) -> Result<Vec<Vec<TextRow>>, LinkError> {
        self.begin_own();
        let answered = timeout(patience, self.exchange(said)).await;
        let answers = answered.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.is_busy = false;
        let rows = answers.into_iter().map(|answer| match answer {
            TextAnswer::Ok(_) => Ok(Vec::new()),
            TextAnswer::Rows(rows) => Ok(rows),
            TextAnswer::Err(error) => Err(LinkError::Refused(error)),
        });
        rows.collect()
    }

    async fn exchange(&mut self, said: &[&[u8]]) -> Result<Vec<TextAnswer>, LinkError> {
        let frames = said.iter().map(|sql| frame(0, &Query::encode(sql, self.capabilities)));
        let frames = frames.collect::<Vec<_>>().concat();
        self.channel.send(&frames).await?;
        let mut answers = Vec::with_capacity(said.len());
        while answers.len() < said.len() {
            let mut reader = TextReader::new(self.capabilities);
            let answer = loop {
                let message = self.channel.message().await?;
                if let Some(answer) = reader.packet(&message.payload)? {
                    break answer;
                }
            };
            answers.push(answer);
        }
        Ok(answers)
    }

    /// One of them.
    pub(super) async fn tell(&mut self, sql: &[u8]) -> Result<Vec<TextRow>, LinkError> {
        Ok(self.tell_all(&[sql], ANSWERED_WITHIN).await?.pop().unwrap_or_default())
    }

    /// A command with a simple answer.
    pub(super) async fn command(&mut self, payload: &[u8]) -> Result<(), LinkError> {
        self.begin_own();
        let answered = timeout(ANSWERED_WITHIN, async {
            self.channel.send(&frame(0, payload)).await?;
            self.channel.message().await
        });
        let message = answered.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.is_busy = false;
        match message.payload.first() {
            Some(&ErrPacket::MARKER) => {
                Err(LinkError::Refused(ErrPacket::parse(&message.payload).map_err(ResponseError::from)?))
            }
            _ => Ok(()),
        }
    }

    /// Lets the server know that it is still wanted; whether it is of use. What is said of the last statement stays but for its rows.
    pub(super) async fn keep_alive(&mut self) -> bool {
        let recalls = self.recalls;
        let is_alive = self.command(&[Command::Ping.byte()]).await.is_ok();
        self.recalls = Asks { last: false, ..recalls };
        is_alive
    }

    /// Leaves in good order, if that goes at once.
    pub(super) async fn quit(mut self) {
        // The server finds out in any case.
        let _ = self.channel.send(&frame(0, &[Command::Quit.byte()])).await;
    }
}

async fn log_in(
    mut channel: Channel,
    address: SocketAddr,
    tls: Option<&TlsClient>,
    who: &Who<'_>,
) -> Result<Link, LinkError> {
    let first = channel.message().await?;
    if first.payload.first() == Some(&ErrPacket::MARKER) {
        // Before anything was agreed on: too many connections, say.
        return Err(LinkError::Refused(ErrPacket::parse(&first.payload).map_err(ResponseError::from)?));
    }
    let greeting = InitialHandshake::parse(&first.payload)?;
    let capabilities =
        backend_capabilities(who.capabilities, &greeting, tls.is_some(), who.schema.is_some())?;
    let login = Login {
        user: who.user.as_bytes().to_vec(),
        password: who.password.clone(),
        database: who.schema.map(<[u8]>::to_vec),
        capabilities,
        max_packet: PACKET_BYTES_MAX,
        collation: who.collation,
        attributes: who.attributes.map(<[u8]>::to_vec),
        private: tls.is_some(),
        clear_allowed: false,
        server_key: None,
        key_request_allowed: true,
    };
    let mut sequence = first.sequence.wrapping_add(1);
    if let Some(tls) = tls {
        if !greeting.capabilities.contains(Capabilities::SSL) {
            return Err(LinkError::NoTls);
        }
        channel.send(&frame(sequence, &BackendAuth::ssl_request(&login))).await?;
        channel = begin_tls(channel, address, tls).await?;
        sequence = sequence.wrapping_add(1);
    }
    let (mut auth, response) = BackendAuth::start(&greeting, login)?;
    channel.send(&frame(sequence, &response)).await?;
    let welcome = loop {
        let message = channel.message().await?;
        match auth.packet(&message.payload)? {
            BackendStep::Send(payload) => {
                channel.send(&frame(message.sequence.wrapping_add(1), &payload)).await?;
            }
            BackendStep::Wait => {}
            BackendStep::Ready(ok) => break ok,
            BackendStep::Refused(error) => return Err(LinkError::Refused(error)),
        }
    };
    let flavor = Flavor::of(&greeting);
    Ok(Link {
        channel,
        capabilities,
        flavor,
        address,
        thread: greeting.connection_id,
        place: None,
        cuts: 0,
        serial: 0,
        logged_in: Instant::now(),
        used: Instant::now(),
        is_busy: false,
        must_ask: false,
        recalls: Asks::default(),
        settings: 0,
        schema: who.schema.map(<[u8]>::to_vec),
        statements: BTreeMap::new(),
        reached: GtidPosition::empty(flavor),
        welcome,
        greeting,
    })
}

async fn begin_tls(channel: Channel, address: SocketAddr, tls: &TlsClient) -> Result<Channel, LinkError> {
    let (wire, _) = channel.into_parts();
    let tcp = wire.into_socket();
    let name = tls.server_name.clone().unwrap_or_else(|| ServerName::from(address.ip()));
    let established = handshake::connect(&tcp, tls.config.clone(), name)
        .await
        .map_err(|error| LinkError::Tls(error.to_string()))?;
    Ok(Channel::new(Wire::new(tcp, Some(established.session)), established.first))
}
