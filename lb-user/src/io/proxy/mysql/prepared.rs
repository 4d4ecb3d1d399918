//! Prepared statements of the binary protocol: the session's ids, and each server's own.
//!
//! Owns the texts and the types of their parameters, which clients send once. Every statement is prepared at the primary when the client says so,
//! and on any other connection when it runs there first.

use super::super::Served;
use super::super::account::Ended;
use super::interruption::Gone;
use super::link::{Known, Link, LinkError};
use super::perform::Request;
use super::session::{Running, cannot_tell};
use crate::core::mysql::protocol::capabilities::Capabilities;
use crate::core::mysql::protocol::command::{
    BulkExecute, Command, Execute, LAST_PREPARED, StatementText, put_statement_id, statement_id,
};
use crate::core::mysql::protocol::packet::frame;
use crate::core::mysql::protocol::response::{ErrPacket, Piece, ResponseTracker, ServerError};
use crate::core::mysql::session::{Borrows, Plan, Reading, Target, Why};
use crate::core::mysql::sql::{Context, Digest, digest};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// A statement is prepared at another server in that time: it may have to wait there until a table is free.
const PREPARED_WITHIN: Duration = Duration::from_secs(10);

/// One.
struct Prepared {
    sql: Vec<u8>,
    digest: Arc<Digest>,
    /// How its text is read.
    context: Context,
    parameters: u16,
    /// The types of its parameters as they were sent last, and for how many.
    types: (Vec<u8>, usize),
    /// How often they were sent.
    version: u64,
    /// A part of a parameter was sent by itself, on that connection.
    long_data: Option<u64>,
    /// What it was prepared under.
    reading: Reading,
}

/// All of a session.
#[derive(Default)]
pub(super) struct Statements {
    all: BTreeMap<u32, Prepared>,
    /// The last id that was given.
    given: u32,
    /// What was prepared last, if that went well and it is still there.
    last_prepared: Option<u32>,
    /// A cursor was asked for: it may be open yet.
    had_cursor: bool,
    capabilities: Capabilities,
}

impl Statements {
    /// Whether the connection has something of one that cannot be had on another one.
    pub(super) fn are_bound(&self, now: &Reading) -> bool {
        let is_bound = |one: &Prepared| one.long_data.is_some() || one.reading != *now;
        self.had_cursor || self.all.values().any(is_bound)
    }

    /// The payload for a server, which knows the statement then.
    pub(super) async fn request(
        &mut self,
        link: &mut Link,
        id: u32,
        payload: &[u8],
        now: &Reading,
    ) -> Result<Vec<u8>, LinkError> {
        let Some(prepared) = self.all.get(&id) else { return Ok(payload.to_vec()) };
        let known = match link.statements.get(&id) {
            Some(known) => *known,
            None => {
                let known = Known { id: prepare_as_before(link, prepared, now).await?, types: 0 };
                link.statements.insert(id, known);
                known
            }
        };
        let mut payload = payload.to_vec();
        let knows_types = known.types == prepared.version;
        let (types, count) = &prepared.types;
        let with_types = match Command::of(&payload) {
            _ if knows_types || prepared.version == 0 => None,
            Some(Command::StmtExecute) => Execute::parse(&payload, prepared.parameters, self.capabilities)
                .and_then(|execute| execute.with_types(&payload, types, *count))
                .ok(),
            Some(Command::StmtBulkExecute) => BulkExecute::parse(&payload, prepared.parameters)
                .and_then(|execute| execute.with_types(&payload, types))
                .ok(),
            _ => None,
        };
        if let Some(complete) = with_types {
            payload = complete;
            link.statements.insert(id, Known { types: prepared.version, ..known });
        }
        put_statement_id(&mut payload, known.id);
        Ok(payload)
    }
}

/// Prepares a text at another server than the one at which the client did, so that it means the same.
async fn prepare_as_before(link: &mut Link, prepared: &Prepared, now: &Reading) -> Result<u32, LinkError> {
    if prepared.reading == *now {
        return prepare(link, &prepared.sql).await;
    }
    let (Some(then), Some(of_now), true) =
        (&prepared.reading.schema, &now.schema, prepared.reading.differs_by_schema(now))
    else {
        return Err(LinkError::Refused(prepared_otherwise()));
    };
    let change = |schema: &[u8]| StatementText { command: Command::InitDb, text: schema }.encode();
    link.command(&change(then)).await?;
    let id = prepare(link, &prepared.sql).await;
    link.command(&change(of_now)).await?;
    id
}

/// The server at which it was prepared is lost, and nowhere else can it be prepared as it was.
fn prepared_otherwise() -> ErrPacket {
    let message = "this was prepared under another sql_mode or character set, at a server that is lost: prepare it again";
    ServerError::Other { code: 1243, sql_state: *b"HY000", message }.packet()
}

/// Prepares a text at a server, for its id.
async fn prepare(link: &mut Link, sql: &[u8]) -> Result<u32, LinkError> {
    link.begin_own();
    let prepared = timeout(PREPARED_WITHIN, prepare_on(link, sql)).await;
    let prepared = prepared.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?;
    link.is_busy = !matches!(prepared, Ok(_) | Err(LinkError::Refused(_)));
    prepared
}

async fn prepare_on(link: &mut Link, sql: &[u8]) -> Result<u32, LinkError> {
    let command = StatementText { command: Command::StmtPrepare, text: sql };
    link.channel.send(&frame(0, &command.encode())).await?;
    let mut tracker = ResponseTracker::new(Command::StmtPrepare, link.capabilities);
    let mut found: Option<Result<u32, ErrPacket>> = None;
    while !tracker.is_done() {
        if link.channel.unread().is_empty() {
            link.channel.fill().await?;
        }
        let unread = link.channel.unread();
        let mut rest = unread;
        while let Some(piece) = tracker.next_piece(&mut rest)? {
            match piece {
                Piece::Prepared(statement, _) => found = Some(Ok(statement.id)),
                Piece::Err(error, _) => found = Some(Err(error)),
                _ => {}
            }
        }
        let used = unread.len().saturating_sub(rest.len());
        link.channel.consume(used);
    }
    match found {
        Some(Ok(id)) => Ok(id),
        Some(Err(error)) => Err(LinkError::Refused(error)),
        None => Err(LinkError::Io(std::io::ErrorKind::InvalidData.into())),
    }
}

impl Running {
    /// `COM_STMT_PREPARE`.
    pub(super) async fn prepare(&mut self, payload: &[u8]) -> Result<(), Ended> {
        let Ok(text) = StatementText::parse(payload) else {
            return self.refuse(&ServerError::MalformedPacket.packet()).await;
        };
        let (context, reading) = (self.session.context(), self.session.reading());
        let id = self.statements.given.wrapping_add(1).max(1);
        self.registered.sessions.count(Target::Primary, &Why::Command);
        self.statements.last_prepared = None;
        let prepared = self
            .on_primary(Request::Plain(payload), Command::StmtPrepare, &Plan::prepare(), Some(id))
            .await?;
        let Some(prepared) = prepared else { return Ok(()) };
        self.statements.capabilities = self.client.capabilities;
        (self.statements.given, self.statements.last_prepared) = (id, Some(id));
        if let Some(link) = &mut self.primary {
            link.statements.insert(id, Known { id: prepared.id, types: 0 });
        }
        let statement = Prepared {
            sql: text.text.to_vec(),
            digest: Arc::new(digest(text.text, &context)),
            context,
            parameters: prepared.parameters,
            types: (Vec::new(), 0),
            version: 0,
            long_data: None,
            reading,
        };
        self.statements.all.insert(id, statement);
        Ok(())
    }

    /// A command that names a statement.
    pub(super) async fn statement(&mut self, command: Command, payload: &[u8]) -> Result<(), Ended> {
        let named = statement_id(payload).unwrap_or_default();
        let id = if named == LAST_PREPARED { self.statements.last_prepared.unwrap_or(0) } else { named };
        let Some(prepared) = self.statements.all.get_mut(&id) else {
            if command.has_response() {
                let command = match command {
                    Command::StmtReset => "mysqld_stmt_reset",
                    Command::StmtFetch => "mysqld_stmt_fetch",
                    _ => "mysqld_stmt_execute",
                };
                return self.refuse(&ServerError::UnknownStatement { id: named, command }.packet()).await;
            }
            return Ok(());
        };
        match command {
            Command::StmtSendLongData => self.send_long_data(id, payload).await,
            Command::StmtExecute | Command::StmtBulkExecute => {
                let long_data = std::mem::take(&mut prepared.long_data);
                let is_cursor = match prepared.take_types(command, payload, self.client.capabilities) {
                    Ok(is_cursor) => is_cursor,
                    Err(()) => return self.refuse(&ServerError::MalformedPacket.packet()).await,
                };
                let (sql, context) = (prepared.sql.clone(), prepared.context);
                let digest = prepared.digest.clone();
                let is_as_then = prepared.reading == self.session.reading();
                let mut plan = self.session.plan_in(&sql, &context);
                if plan.borrows != Borrows::Nothing {
                    return self.refuse(&cannot_tell()).await;
                }
                self.statements.had_cursor |= is_cursor;
                self.begin_statement(digest);
                let knows_it = self.replica.as_ref().is_some_and(|link| link.statements.contains_key(&id));
                let is_moved = long_data.is_some() || is_cursor || !(is_as_then || knows_it);
                // To be prepared there first would clear warnings.
                if plan.why == Why::AsksAboutLast && (is_moved || !knows_it && plan.asks.last) {
                    return self.refuse(&cannot_tell()).await;
                }
                if plan.target == Target::Replica && !(is_as_then || knows_it) {
                    (plan.target, plan.why) = (Target::Primary, Why::PreparedOtherwise);
                }
                if plan.target == Target::Replica && (long_data.is_some() || is_cursor) {
                    (plan.target, plan.why) = (Target::Primary, Why::Cursor);
                }
                // A cursor belongs to its connection, and so do parts of parameters.
                plan.is_read &= !(long_data.is_some() || is_cursor);
                let request = Request::OfStatement { id, payload, on: long_data };
                self.perform(request, command, plan).await
            }
            _ => {
                prepared.long_data = None;
                let request = Request::OfStatement { id, payload, on: None };
                self.perform(request, command, Plan::command()).await
            }
        }
    }

    /// It has no answer; what is wrong is told with the execution.
    async fn send_long_data(&mut self, id: u32, payload: &[u8]) -> Result<(), Ended> {
        let now = self.session.reading();
        // Whatever goes wrong, the execution finds that its parts are not where it runs.
        let mut serial = 0;
        if let Ok(()) = self.ensure_primary().await?
            && let Some(link) = &mut self.primary
            && let Ok(payload) = self.statements.request(link, id, payload, &now).await
            && send(link, &payload, &self.context.service).await
        {
            serial = link.serial;
        }
        if let Some(prepared) = self.statements.all.get_mut(&id) {
            let before = prepared.long_data.unwrap_or(serial);
            prepared.long_data = Some(if before == serial { serial } else { 0 });
        }
        Ok(())
    }

    /// `COM_STMT_CLOSE`, which has no answer.
    pub(super) async fn close_statement(&mut self, payload: &[u8]) -> Result<(), Ended> {
        let Some(id) = statement_id(payload) else { return Ok(()) };
        let id = if id == LAST_PREPARED { self.statements.last_prepared.unwrap_or(0) } else { id };
        self.statements.all.remove(&id);
        if self.statements.last_prepared == Some(id) {
            self.statements.last_prepared = None;
        }
        for link in [&mut self.primary, &mut self.replica].into_iter().flatten() {
            if let Some(known) = link.statements.remove(&id) {
                let mut payload = payload.to_vec();
                put_statement_id(&mut payload, known.id);
                // One that is lost has forgotten it.
                let _ = send(link, &payload, &self.context.service).await;
            }
        }
        Ok(())
    }
}

/// Sends what has no answer; whether that went well.
async fn send(link: &mut Link, payload: &[u8], service: &watch::Receiver<Arc<Served>>) -> bool {
    if link.is_busy {
        return false;
    }
    let mut gone = Gone::of(link, Target::Primary, service);
    let packet = frame(0, payload);
    link.is_busy = true;
    let is_sent = tokio::select! {
        biased;
        sent = link.channel.send(&packet) => sent.is_ok(),
        () = gone.wait() => false,
    };
    link.is_busy = !is_sent;
    is_sent
}

impl Prepared {
    /// Keeps the types of parameters that come with an execution; whether it asks for a cursor.
    fn take_types(
        &mut self,
        command: Command,
        payload: &[u8],
        capabilities: Capabilities,
    ) -> Result<bool, ()> {
        if command == Command::StmtBulkExecute {
            let bulk = BulkExecute::parse(payload, self.parameters).map_err(drop)?;
            if let Some(types) = payload.get(bulk.types.clone()).filter(|types| !types.is_empty()) {
                self.types = (types.to_vec(), usize::from(self.parameters));
                self.version = self.version.saturating_add(1);
            }
            return Ok(false);
        }
        let execute = Execute::parse(payload, self.parameters, capabilities).map_err(drop)?;
        if let Some(types) = execute.types_of(payload) {
            self.types = (types.to_vec(), execute.parameters);
            self.version = self.version.saturating_add(1);
        }
        Ok(execute.wants_cursor())
    }
}
