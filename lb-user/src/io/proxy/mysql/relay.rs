//! One command at one backend: the command goes there, and the response to the client as it comes.
//!
//! Owns the way of the bytes, and what of a response the session has to know. Rows are passed on unread.

use super::channel::Channel;
use super::interruption::{Gone, Interruption};
use super::link::Link;
use super::login::Client;
use crate::core::mysql::protocol::capabilities::{Capabilities, Flavor};
use crate::core::mysql::protocol::command::Command;
use crate::core::mysql::protocol::response::{
    ErrPacket, OkPacket, Piece, PreparedStatement, RawPacket, ResponseTracker, ServerError, SessionChange,
};
use crate::core::mysql::protocol::status::StatusFlags;
use crate::core::mysql::session::Outcome;
use crate::core::mysql::sql::Kill;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;
use tracing::debug;

/// So much is gathered before it is sent.
const SENT_BYTES: usize = 32 * 1024;

/// Variables that servers tell clients of without being asked to.
const TOLD: [&[u8]; 6] = [
    b"time_zone",
    b"autocommit",
    b"character_set_client",
    b"character_set_results",
    b"character_set_connection",
    b"redirect_url",
];

/// What came of it.
pub(super) enum Relayed {
    /// The client has the whole response.
    Done(Outcome, Option<PreparedStatement>),
    /// The first thing the backend said is this error, and the client does not know of it.
    Refused(ErrPacket),
    /// The backend is lost, and the client has nothing of the response yet.
    Lost,
    /// The backend is lost in the midst of the response; the client has been told, if that was possible.
    Broken {
        /// Its session can go on.
        is_told: bool,
    },
}

/// How a response is passed on.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    pub(super) command: Command,
    /// An error in the first place is kept back.
    pub(super) hold_error: bool,
    /// The id of the session for a statement that is prepared.
    pub(super) statement: Option<u32>,
    /// The status that the client is told in place of the server's, where that does not know of a transaction elsewhere.
    pub(super) status: Option<StatusFlags>,
}

struct Passing<'a> {
    client: &'a mut Client,
    out: Vec<u8>,
    has_begun: bool,
    outcome: Outcome,
    prepared: Option<PreparedStatement>,
    manner: Manner,
    /// The client takes or sends something in that time, or is given up.
    patience: Duration,
}

/// What is heard while a response is waited for.
enum Heard {
    /// More of it, or that nothing more comes.
    Backend(io::Result<()>),
    /// Somebody wants the statement to end.
    Cancelled,
    /// The client says more already, or has left.
    Client(io::Result<()>),
}

/// What a piece asks for.
enum Next {
    GoOn,
    Infile,
    Refused(ErrPacket),
}

/// Passes the response on. An error is the client's end.
pub(super) async fn relay(
    link: &mut Link,
    client: &mut Client,
    manner: Manner,
    interruption: Interruption<'_>,
    mut gone: Gone,
    patience: Duration,
) -> io::Result<Relayed> {
    let mut tracker = ResponseTracker::new(manner.command, link.capabilities);
    let outcome = Outcome { is_ok: true, ..Outcome::default() };
    let mut passing =
        Passing { client, out: Vec::new(), has_begun: false, outcome, prepared: None, manner, patience };
    let mut cancelled = pin!(interruption.cancel.notified());
    // From here on it is not missed, whatever is waited for.
    cancelled.as_mut().enable();
    let mut has_left = false;
    while !tracker.is_done() {
        if link.channel.unread().is_empty() {
            passing.flush().await?;
            let filled = loop {
                let client = &mut passing.client.channel;
                // What it says before it has its answer stays for later, and then its end is not seen.
                let listens = !has_left && client.unread().is_empty();
                let heard = tokio::select! {
                    biased;
                    filled = link.channel.fill() => Heard::Backend(filled),
                    () = gone.wait() => Heard::Backend(Err(io::ErrorKind::HostUnreachable.into())),
                    () = cancelled.as_mut() => Heard::Cancelled,
                    said = client.fill(), if listens => Heard::Client(said),
                };
                match heard {
                    Heard::Backend(filled) => break filled,
                    Heard::Client(Ok(())) => {}
                    Heard::Client(Err(_)) => {
                        // As if it were connected there: servers look for that while they wait, for a lock, say.
                        has_left = true;
                        link.channel.stop();
                    }
                    Heard::Cancelled => {
                        cancelled.set(interruption.cancel.notified());
                        cancelled.as_mut().enable();
                        interruption.kill(Kill::Query, link.address, link.thread, passing.client).await;
                    }
                }
            };
            match filled {
                Ok(()) => {}
                // Nobody waits for another server's answer.
                Err(_) if has_left => return Err(io::ErrorKind::ConnectionAborted.into()),
                Err(error) => return passing.lose(&tracker, error).await,
            }
        }
        match passing.take(&mut tracker, &mut link.channel) {
            Ok(Next::GoOn) => {}
            Ok(Next::Infile) => {
                passing.flush().await?;
                if let Err(error) = send_file(&mut passing, &mut link.channel, &mut gone).await? {
                    return passing.lose(&tracker, error).await;
                }
            }
            Ok(Next::Refused(error)) => return Ok(Relayed::Refused(error)),
            Err(error) => return passing.lose(&tracker, error).await,
        }
        if passing.out.len() >= SENT_BYTES {
            passing.flush().await?;
        }
    }
    passing.flush().await?;
    let mut outcome = passing.outcome;
    outcome.status = tracker.status();
    outcome.hides_changes = tracker.hides_changes();
    outcome.rows = tracker.rows();
    Ok(Relayed::Done(outcome, passing.prepared))
}

/// The client's file goes to the server, up to the empty packet that ends it. The inner error is the server's.
async fn send_file(
    passing: &mut Passing<'_>,
    server: &mut Channel,
    gone: &mut Gone,
) -> io::Result<io::Result<()>> {
    let mut lost = Ok(());
    loop {
        let (packet, is_last) = timeout(passing.patience, passing.client.channel.raw_packet()).await??;
        if lost.is_ok() {
            lost = tokio::select! {
                biased;
                sent = server.send(&packet) => sent,
                () = gone.wait() => Err(io::ErrorKind::HostUnreachable.into()),
            };
        }
        if is_last {
            return Ok(lost);
        }
    }
}

impl Passing<'_> {
    /// Takes what the backend has said.
    fn take(&mut self, tracker: &mut ResponseTracker, server: &mut Channel) -> io::Result<Next> {
        let unread = server.unread();
        let (mut rest, mut next) = (unread, Next::GoOn);
        while matches!(next, Next::GoOn) && self.out.len() < SENT_BYTES {
            match tracker.next_piece(&mut rest) {
                Ok(Some(piece)) => next = self.pass(piece),
                Ok(None) => break,
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        let used = unread.len().saturating_sub(rest.len());
        server.consume(used);
        Ok(next)
    }

    fn pass(&mut self, piece: Piece<'_>) -> Next {
        match piece {
            Piece::Ok(packet, raw) => self.pass_ok(packet, &raw),
            Piece::Eof(mut packet, raw) if self.manner.status.is_some() => {
                packet.status = of_session(packet.status, self.manner.status.unwrap_or_default());
                self.out.extend_from_slice(&raw.with_payload(&packet.encode()));
            }
            Piece::Err(error, raw) => {
                if self.manner.hold_error && !self.has_begun && self.out.is_empty() {
                    return Next::Refused(error);
                }
                self.outcome.is_ok = false;
                self.outcome.error = Some(error.code);
                self.out.extend_from_slice(raw.bytes());
            }
            Piece::Prepared(statement, raw) => {
                let id = self.manner.statement.unwrap_or(statement.id);
                self.out.extend_from_slice(&raw.with_statement_id(id));
                self.prepared = Some(statement);
            }
            Piece::LocalInfile { raw, .. } => {
                self.out.extend_from_slice(raw.bytes());
                return Next::Infile;
            }
            other => self.out.extend_from_slice(other.bytes()),
        }
        Next::GoOn
    }

    fn pass_ok(&mut self, mut packet: OkPacket, raw: &RawPacket<'_>) {
        self.outcome.has_inserted |= packet.last_insert_id != 0;
        let capabilities = self.client.capabilities;
        let tracks = capabilities.contains(Capabilities::SESSION_TRACK);
        let is_as_sent = packet.changes.is_empty() && (tracks || packet.info.is_empty());
        if is_as_sent && self.manner.status.is_none() {
            self.out.extend_from_slice(raw.bytes());
            return;
        }
        if let Some(status) = self.manner.status {
            packet.status = of_session(packet.status, status);
        }
        let shown = match self.client.hears_all {
            true => packet.encode(capabilities),
            false => packet.clone().filtered(is_told).encode(capabilities),
        };
        self.out.extend_from_slice(&raw.with_payload(&shown));
        if !packet.changes.is_empty() {
            self.outcome.changes.push(packet.changes);
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.has_begun = true;
            timeout(self.patience, self.client.channel.send(&self.out)).await??;
            self.out.clear();
        }
        Ok(())
    }

    /// The backend is gone.
    async fn lose(mut self, tracker: &ResponseTracker, error: io::Error) -> io::Result<Relayed> {
        if !self.has_begun {
            debug!(%error, "a backend is lost");
            return Ok(Relayed::Lost);
        }
        let is_told = tracker.is_between_packets();
        if is_told {
            let packet = tracker.error_in_place_of_the_rest(&ServerError::ConnectionKilled.packet());
            self.out.extend_from_slice(&packet);
            self.flush().await?;
        }
        Ok(Relayed::Broken { is_told })
    }
}

/// A status with the session's transaction in place of the server's.
fn of_session(status: StatusFlags, session: StatusFlags) -> StatusFlags {
    status.without(StatusFlags::IN_TRANSACTION | StatusFlags::AUTOCOMMIT) | session
}

/// Whether a client that did not ask for it hears of a change.
fn is_told(change: &SessionChange<'_>) -> bool {
    match change {
        SessionChange::SystemVariable { name, .. } => TOLD.contains(name),
        SessionChange::Schema(_) => true,
        _ => false,
    }
}

/// What a connection to the primary is told first: to say what changes.
pub(super) fn trackers(flavor: Flavor) -> &'static [u8] {
    match flavor {
        Flavor::MySql => {
            b"SET SESSION session_track_system_variables = '*', SESSION session_track_state_change = 1, SESSION session_track_gtids = OWN_GTID"
        }
        Flavor::MariaDb => {
            b"SET SESSION session_track_system_variables = '*', SESSION session_track_state_change = 1"
        }
    }
}
