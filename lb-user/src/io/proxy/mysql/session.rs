//! The course of a session: command after command, until the client leaves.
//!
//! Owns what both connections and the client's have in common. One command is answered before the next is looked at, as servers do.

use super::super::Served;
use super::super::account::{BackendAccount, Ended};
use super::super::connection::{Context, Ends};
use super::super::terms::MysqlPlan;
use super::backends::{Gone, Interruption};
use super::channel::Message;
use super::link::{Link, LinkError};
use super::login::Client;
use super::logins::fresh;
use super::prepared::Statements;
use super::relay::{Manner, Relayed, relay};
use super::sessions::{Registered, Sessions};
use crate::core::mysql::protocol::command::{Command, Query, StatementText};
use crate::core::mysql::protocol::packet::frame;
use crate::core::mysql::protocol::response::{ErrPacket, OkPacket, PreparedStatement, ServerError};
use crate::core::mysql::protocol::status::StatusFlags;
use crate::core::mysql::session::{Plan, Session, Target, Why};
use std::io;
use std::sync::Arc;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

/// All of a session.
pub(super) struct Running {
    pub(super) client: Client,
    pub(super) ends: Ends,
    pub(super) context: Context,
    pub(super) served: Arc<Served>,
    pub(super) plan: Arc<MysqlPlan>,
    pub(super) session: Session,
    pub(super) primary: Option<Link>,
    pub(super) replica: Option<Link>,
    /// No replica is tried before.
    pub(super) replica_again: Option<Instant>,
    pub(super) statements: Statements,
    /// `COM_SET_OPTION` as it was sent last.
    pub(super) option: Option<Vec<u8>>,
    /// How far the primary's connection has written was not told, and has to be asked for.
    pub(super) must_ask_position: bool,
    pub(super) registered: Registered,
}

/// Errors of statements that were ended: by `KILL QUERY`, and by the time they may take (MariaDB, MySQL).
const ENDED: [u16; 3] = [1317, 1969, 3024];

/// What is sent.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    /// This.
    Plain(&'a [u8]),
    /// The same, with the server's id in place of the session's.
    OfStatement(u32, &'a [u8]),
}

impl Running {
    pub(super) fn new(
        client: Client,
        (served, plan): (Arc<Served>, Arc<MysqlPlan>),
        ends: Ends,
        registered: Registered,
        context: &Context,
    ) -> Self {
        let session = fresh(&client, &plan);
        Self {
            client,
            ends,
            context: context.clone(),
            served,
            plan,
            session,
            primary: None,
            replica: None,
            replica_again: None,
            statements: Statements::default(),
            option: None,
            must_ask_position: false,
            registered,
        }
    }

    /// Until it ends.
    pub(super) async fn run(mut self) -> Ended {
        let ended = match self.welcome().await {
            Err(ended) => ended,
            Ok(()) => loop {
                self.show();
                match self.step().await {
                    Ok(()) => {}
                    Err(ended) => break ended,
                }
            },
        };
        for link in [self.primary.take(), self.replica.take()].into_iter().flatten() {
            // A server whose client has left in the midst of something should end that.
            if ended == Ended::Closed { link.quit().await } else { link.channel.reset() }
        }
        if !matches!(ended, Ended::Closed | Ended::ClientReset | Ended::BadHandshake) {
            self.client.channel.reset();
        }
        ended
    }

    /// Shows others what it is like.
    fn show(&self) {
        let address = |link: &Option<Link>| link.as_ref().map(|link| link.address);
        self.registered.show(self.session.holds().collect(), address(&self.primary), address(&self.replica));
    }

    /// One command.
    async fn step(&mut self) -> Result<(), Ended> {
        let Some(message) = self.next_command().await? else { return Ok(()) };
        let payload = &message.payload[..];
        let Some(command) = Command::of(payload) else {
            return self.refuse(&ServerError::MalformedPacket.packet()).await;
        };
        match command {
            Command::Quit => Err(Ended::Closed),
            Command::Query => self.query(payload).await,
            Command::InitDb => {
                let schema = StatementText::parse(payload).map(|text| text.text).unwrap_or_default();
                self.perform(Request::Plain(payload), command, Plan::init_db(schema)).await
            }
            Command::ProcessKill => {
                let number =
                    payload.get(1..5).and_then(|id| id.try_into().ok()).map_or(0, u32::from_le_bytes);
                self.perform_or_kill(payload, command, Plan::process_kill(number)).await
            }
            Command::ChangeUser => self.change_user(&message).await,
            Command::ResetConnection => self.reset(payload).await,
            Command::StmtPrepare => self.prepare(payload).await,
            Command::StmtClose => self.close_statement(payload).await,
            command if command.names_statement() => self.statement(command, payload).await,
            command if command.can_be_passed_on() => {
                self.perform(Request::Plain(payload), command, Plan::command()).await?;
                if command == Command::SetOption {
                    self.option = Some(payload.to_vec());
                    self.replica = None;
                }
                Ok(())
            }
            _ => self.refuse(&ServerError::UnknownCommand.packet()).await,
        }
    }

    /// Waits for the client; `None` where something else has changed meanwhile.
    async fn next_command(&mut self) -> Result<Option<Message>, Ended> {
        let deadline = Instant::now() + self.served.terms.idle.client;
        let entry = self.registered.entry().clone();
        let cut_of =
            |link: &Option<Link>| link.as_ref().and_then(|link| Some(link.place.as_ref()?.backend.clone()));
        let (primary, replica) = (cut_of(&self.primary), cut_of(&self.replica));
        tokio::select! {
            biased;
            message = self.client.channel.message() => match message {
                Ok(message) => return Ok(Some(message)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Ended::Closed),
                Err(_) => return Err(Ended::ClientReset),
            },
            () = entry.kill.notified() => return Err(Ended::Cut),
            () = cut(primary) => {
                self.primary = None;
                if !self.session.is_portable() {
                    return Err(Ended::Cut);
                }
            }
            () = cut(replica) => self.replica = None,
            () = sleep_until(deadline) => return Err(Ended::ClientIdle),
        }
        Ok(None)
    }

    /// Tells the client an error in answer to its command.
    pub(super) async fn refuse(&mut self, error: &ErrPacket) -> Result<(), Ended> {
        let packet = frame(1, &error.encode(self.client.capabilities));
        self.client.channel.send(&packet).await.map_err(|_| Ended::ClientReset)
    }

    /// Tells it that all went well.
    pub(super) async fn agree(&mut self) -> Result<(), Ended> {
        let ok = OkPacket::plain(StatusFlags::AUTOCOMMIT).encode(self.client.capabilities);
        self.client.channel.send(&frame(1, &ok)).await.map_err(|_| Ended::ClientReset)
    }

    async fn query(&mut self, payload: &[u8]) -> Result<(), Ended> {
        let Ok(query) = Query::parse(payload, self.client.capabilities) else {
            return self.refuse(&ServerError::MalformedPacket.packet()).await;
        };
        let plan = self.session.plan(query.sql);
        self.perform_or_kill(payload, Command::Query, plan).await
    }

    /// Runs a command, unless it ends a session of ours: no server has its number.
    async fn perform_or_kill(&mut self, payload: &[u8], command: Command, plan: Plan) -> Result<(), Ended> {
        match plan.kill {
            Some((what, number)) if Sessions::is_ours(number) => self.kill(what, number).await,
            _ => self.perform(Request::Plain(payload), command, plan).await,
        }
    }

    /// Runs a command where it belongs.
    pub(super) async fn perform(
        &mut self,
        request: Request<'_>,
        command: Command,
        plan: Plan,
    ) -> Result<(), Ended> {
        self.refresh();
        let mut why = plan.why.clone();
        if plan.target == Target::Replica {
            match self.on_replica(request, command, &plan).await? {
                None => {
                    self.registered.sessions.count(Target::Replica, &plan.why);
                    return Ok(());
                }
                Some(_) if plan.why == Why::AsksAboutLast => {
                    return self.refuse(&ServerError::ConnectionKilled.packet()).await;
                }
                Some(other) => why = other,
            }
        }
        self.registered.sessions.count(Target::Primary, &why);
        self.on_primary(request, command, &plan, None).await.map(drop)
    }

    /// Runs it at a replica; `Some`: it did not run, and the client has heard nothing.
    async fn on_replica(
        &mut self,
        request: Request<'_>,
        command: Command,
        plan: &Plan,
    ) -> Result<Option<Why>, Ended> {
        let is_about_last = plan.why == Why::AsksAboutLast;
        if is_about_last && self.replica.is_none() {
            return Ok(Some(Why::NoReplica));
        }
        if !is_about_last && let Err(why) = self.ready_replica().await {
            return Ok(Some(why));
        }
        let manner = Manner { command, hold_error: !is_about_last, statement: None };
        match self.exchange(Target::Replica, request, manner).await? {
            Relayed::Done(..) => {
                self.session.replica_ran();
                Ok(None)
            }
            // Somebody ended it, or its time was over: that is the answer.
            Relayed::Refused(error) if ENDED.contains(&error.code) => {
                self.refuse(&error).await?;
                self.session.replica_ran();
                Ok(None)
            }
            Relayed::Refused(_) => Ok(Some(Why::ReplicaRefused)),
            Relayed::Lost => {
                self.replica = None;
                Ok(Some(Why::NoReplica))
            }
            Relayed::Broken { is_told } => {
                self.replica = None;
                if is_told { Ok(None) } else { Err(Ended::BackendReset) }
            }
        }
    }

    /// Runs it at the primary. What it prepared, if that was its purpose.
    pub(super) async fn on_primary(
        &mut self,
        request: Request<'_>,
        command: Command,
        plan: &Plan,
        statement: Option<u32>,
    ) -> Result<Option<PreparedStatement>, Ended> {
        let mut may_repeat = plan.is_read;
        loop {
            if let Err(error) = self.ensure_primary().await? {
                self.refuse(&error).await?;
                return Ok(None);
            }
            let was_portable = self.session.is_portable();
            let manner = Manner { command, hold_error: false, statement };
            match self.exchange(Target::Primary, request, manner).await? {
                Relayed::Done(outcome, prepared) => {
                    self.must_ask_position |= outcome.hides_changes && !plan.is_read;
                    self.session.primary_ran(plan, &outcome);
                    return Ok(prepared);
                }
                // Not without `hold_error`.
                Relayed::Refused(error) => {
                    self.refuse(&error).await?;
                    return Ok(None);
                }
                Relayed::Lost if was_portable && std::mem::take(&mut may_repeat) => self.primary = None,
                Relayed::Lost => {
                    self.primary = None;
                    let message = "the primary was lost while it ran this: whether it did is not known";
                    let error = ServerError::Other { code: 1053, sql_state: *b"08S01", message };
                    self.refuse(&error.packet()).await?;
                    return if was_portable { Ok(None) } else { Err(Ended::BackendReset) };
                }
                Relayed::Broken { is_told } => {
                    self.primary = None;
                    return if is_told && was_portable { Ok(None) } else { Err(Ended::BackendReset) };
                }
            }
        }
    }

    /// Sends a request to one of both, and passes the response on.
    async fn exchange(
        &mut self,
        target: Target,
        request: Request<'_>,
        manner: Manner,
    ) -> Result<Relayed, Ended> {
        let link = match target {
            Target::Primary => &mut self.primary,
            Target::Replica => &mut self.replica,
        };
        let Some(link) = link else { return Ok(Relayed::Lost) };
        let packet = match request {
            Request::Plain(payload) => frame(0, payload),
            Request::OfStatement(id, payload) => match self.statements.request(link, id, payload).await {
                Ok(payload) => frame(0, &payload),
                Err(LinkError::Refused(error)) if manner.hold_error => {
                    return Ok(Relayed::Refused(error));
                }
                Err(LinkError::Refused(error)) => {
                    self.refuse(&error).await?;
                    return Ok(Relayed::Done(Default::default(), None));
                }
                Err(error) => {
                    debug!(%error, "a backend is lost");
                    return Ok(Relayed::Lost);
                }
            },
        };
        if link.channel.send(&packet).await.is_err() {
            return Ok(Relayed::Lost);
        }
        if let Some(place) = &link.place {
            place.backend.count_bytes(packet.len() as u64, 0);
        }
        let cancel = &self.registered.entry().cancel;
        let interruption = Interruption { cancel, ends: self.ends, served: &self.served };
        let gone = Gone { service: self.context.service.clone(), address: link.address, target };
        let relayed = relay(link, &mut self.client, manner, interruption, gone);
        relayed.await.map_err(|_| Ended::ClientReset)
    }
}

/// Until the operator wants the connections of a backend to end.
async fn cut(account: Option<Arc<BackendAccount>>) {
    match account {
        Some(account) => account.cut_wanted().await,
        None => std::future::pending().await,
    }
}
