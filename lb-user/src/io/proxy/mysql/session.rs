//! The course of a session: command after command, until the client leaves.
//!
//! Owns what both connections and the client's have in common. One command is answered before the next is looked at, as servers do.

use super::super::Served;
use super::super::account::Ended;
use super::super::connection::{Context, Ends};
use super::super::terms::MysqlPlan;
use super::accounting::Current;
use super::channel::Message;
use super::interruption::{Interruption, cut_of};
use super::link::Link;
use super::login::Client;
use super::logins::fresh;
use super::perform::Request;
use super::prepared::Statements;
use super::sessions::{Registered, Sessions};
use crate::core::mysql::protocol::command::{Command, Query, StatementText};
use crate::core::mysql::protocol::packet::frame;
use crate::core::mysql::protocol::response::{ErrPacket, OkPacket, ServerError};
use crate::core::mysql::session::{Borrows, Plan, Session};
use crate::core::mysql::sql::{Kill, digest};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

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
    /// How far the session has written was not told, and a connection is lost that could have: a primary has to be asked.
    pub(super) must_ask_primary: bool,
    /// It is known what its connections begin with.
    pub(super) has_begun: bool,
    /// For how long servers keep a connection on which nothing is said.
    pub(super) wait_timeout: Option<Duration>,
    /// An id was generated, or may have been.
    pub(super) has_inserted: bool,
    /// Since when it is logged in.
    pub(super) began: Instant,
    /// The last id that was generated, where a connection that knew it was lent to others.
    pub(super) kept_insert_id: Option<u64>,
    /// Since when it waits for its client.
    waits_since: Option<Instant>,
    /// The last command at the primary did not end with an error.
    pub(super) ran_well: bool,
    /// The statement that runs.
    pub(super) current: Option<Current>,
    /// How many connections it has opened.
    pub(super) opened: u64,
    pub(super) registered: Registered,
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
            must_ask_primary: false,
            has_begun: false,
            wait_timeout: None,
            has_inserted: false,
            began: Instant::now(),
            kept_insert_id: None,
            waits_since: None,
            ran_well: false,
            current: None,
            opened: 0,
            registered,
        }
    }

    /// Until it ends.
    pub(super) async fn run(mut self) -> Ended {
        // What is done for a command has its room for that long: most sessions wait, most of the time.
        let ended = match Box::pin(self.welcome()).await {
            Err(ended) => ended,
            Ok(()) => loop {
                self.show();
                let entry = self.registered.entry().clone();
                let stepped = tokio::select! {
                    biased;
                    stepped = self.step() => stepped,
                    () = entry.kill.notified() => Err(Ended::Cut),
                };
                if let Err(ended) = stepped {
                    break ended;
                }
            },
        };
        if ended == Ended::Cut {
            Box::pin(self.end_what_runs()).await;
        }
        for link in [self.primary.take(), self.replica.take()].into_iter().flatten() {
            // A server whose client has left in the midst of something should end that.
            if ended == Ended::Closed { Box::pin(link.quit()).await } else { link.channel.reset() }
        }
        if !matches!(ended, Ended::Closed | Ended::ClientReset | Ended::BadHandshake) {
            self.client.channel.reset();
        }
        ended
    }

    /// Shows others what it is like.
    pub(super) fn show(&self) {
        let primary = self.primary.as_ref().map(|link| (link.address, link.thread));
        let replica = self.replica.as_ref().map(|link| link.address);
        let user = &self.client.identity.user;
        self.registered.show(user, self.session.holds(), primary, replica);
    }

    /// Somebody wants the session to end: servers would find out only when they answer.
    async fn end_what_runs(&self) {
        let cancel = &self.registered.entry().cancel;
        let interruption = Interruption { cancel, ends: self.ends, served: &self.served };
        for link in [&self.primary, &self.replica].into_iter().flatten().filter(|link| link.is_busy) {
            interruption.kill(Kill::Connection, link.address, link.thread, &self.client).await;
        }
    }

    async fn step(&mut self) -> Result<(), Ended> {
        self.current = None;
        let Some(message) = self.next_command().await? else { return Ok(()) };
        Box::pin(self.command(message)).await
    }

    /// One command.
    async fn command(&mut self, message: Message) -> Result<(), Ended> {
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
                self.query_or_kill(payload, command, Plan::process_kill(number)).await
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
        let now = Instant::now();
        let since = *self.waits_since.get_or_insert(now);
        let deadline = since + self.served.terms.idle.client;
        if self.keep_alive_at().is_some_and(|at| at <= now) {
            Box::pin(self.keep_primary_alive()).await;
        }
        let keep_alive = self.keep_alive_at().filter(|at| *at < deadline);
        let lends = self.lends_at(since);
        let wakes = [keep_alive, lends].into_iter().flatten().min().unwrap_or(deadline).min(deadline);
        let cut = |link: &Option<Link>| {
            link.as_ref().and_then(|link| Some((link.place.as_ref()?.backend.clone(), link.cuts)))
        };
        let (primary, replica) = (cut(&self.primary), cut(&self.replica));
        tokio::select! {
            biased;
            message = self.client.channel.message() => match message {
                Ok(message) => {
                    self.waits_since = None;
                    return Ok(Some(message));
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(Ended::Closed),
                Err(_) => return Err(Ended::ClientReset),
            },
            () = cut_of(primary) => {
                self.lose_primary();
                if !self.session.is_portable() {
                    return Err(Ended::Cut);
                }
            }
            () = cut_of(replica) => self.replica = None,
            // The connection is kept alive when it is looked at again.
            () = sleep_until(wakes) => {
                if wakes == deadline {
                    return Err(Ended::ClientIdle);
                }
                if lends.is_some_and(|at| at <= wakes) {
                    Box::pin(self.lend()).await;
                }
            }
        }
        Ok(None)
    }

    /// When the primary's connection has to hear something, so that it stays: what the session has there, nobody else has. A session that reads at
    /// replicas alone says nothing to it.
    fn keep_alive_at(&self) -> Option<Instant> {
        let third = self.wait_timeout?.checked_div(3)?.max(Duration::from_secs(1));
        Some(self.primary.as_ref()?.used + third)
    }

    async fn keep_primary_alive(&mut self) {
        if let Some(link) = &mut self.primary
            && !link.keep_alive().await
        {
            self.lose_primary();
        }
    }

    /// Tells the client an error in answer to its command.
    pub(super) async fn refuse(&mut self, error: &ErrPacket) -> Result<(), Ended> {
        let packet = frame(1, &error.encode(self.client.capabilities));
        self.answer(&packet).await
    }

    /// Tells it that all went well.
    pub(super) async fn agree(&mut self) -> Result<(), Ended> {
        let ok = OkPacket::plain(self.session.status()).encode(self.client.capabilities);
        self.answer(&frame(1, &ok)).await
    }

    async fn answer(&mut self, packet: &[u8]) -> Result<(), Ended> {
        match timeout(self.served.terms.idle.client, self.client.channel.send(packet)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::ClientReset),
            Err(_) => Err(Ended::ClientIdle),
        }
    }

    async fn query(&mut self, payload: &[u8]) -> Result<(), Ended> {
        let Ok(query) = Query::parse(payload, self.client.capabilities) else {
            return self.refuse(&ServerError::MalformedPacket.packet()).await;
        };
        self.begin_statement(Arc::new(digest(query.sql, &self.session.context())));
        let plan = self.session.plan(query.sql);
        match plan.borrows {
            Borrows::Nothing => self.query_or_kill(payload, Command::Query, plan).await,
            Borrows::Answers(wanted) => match self.answered(&query, wanted).await {
                Some(sql) => {
                    let payload = query.with_sql(&sql);
                    self.perform(Request::Plain(&payload), Command::Query, plan).await
                }
                None => self.refuse(&cannot_tell()).await,
            },
            Borrows::Impossible => self.refuse(&cannot_tell()).await,
        }
    }

    /// Runs a command, unless it ends a session of ours: servers know it by other numbers, or by none.
    async fn query_or_kill(&mut self, payload: &[u8], command: Command, plan: Plan) -> Result<(), Ended> {
        if let Some((what, number)) = plan.kill {
            let at = self.primary.as_ref().map(|link| link.address).or_else(|| self.primary_address());
            let sessions = &self.registered.sessions;
            match sessions.find(number).or_else(|| sessions.find_by_thread(number, at?)) {
                Some(entry) => return self.kill(what, number, &entry).await,
                None if Sessions::is_ours(number) => return self.refuse(&nobody_has(number)).await,
                None => {}
            }
        }
        self.perform(Request::Plain(payload), command, plan).await
    }
}

pub(super) fn cannot_tell() -> ErrPacket {
    let message = "this asks about a statement that ran at a replica, and cannot run there: ask for that by itself first";
    ServerError::Other { code: 1235, sql_state: *b"42000", message }.packet()
}

fn nobody_has(number: u64) -> ErrPacket {
    let message = format!("Unknown thread id: {number}");
    ServerError::Other { code: 1094, sql_state: *b"HY000", message: &message }.packet()
}
