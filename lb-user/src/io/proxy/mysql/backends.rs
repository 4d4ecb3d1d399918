//! The connections of a session: when one is made, to whom, and what it has to know before it is used.
//!
//! Owns the waiting: for a primary where there is none, and for a replica that is behind.

use super::super::Served;
use super::super::account::{Ended, Place};
use super::super::connection::{Ends, note_failure};
use super::super::terms::Part;
use super::link::{Link, LinkError, UTF8MB4_GENERAL_CI, Who};
use super::login::{Client, Identity};
use super::relay::trackers;
use super::session::Running;
use crate::core::mysql::protocol::capabilities::{Capabilities, Flavor};
use crate::core::mysql::protocol::command::{Command, StatementText};
use crate::core::mysql::protocol::gtid::GtidPosition;
use crate::core::mysql::protocol::response::{ErrPacket, ServerError};
use crate::core::mysql::session::{Target, Why};
use crate::core::proxy::{Ask, Choice};
use crate::model::Consistency;
use futures_util::FutureExt as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

/// Where no replica could be connected to, none is tried again before.
const REPLICA_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A primary that could not be connected to is tried again after that.
const PRIMARY_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// For the proxy's own questions.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);
/// Nothing of it is written on such a connection, whatever a function does that seemed to read.
const PROTECTION: &[u8] = b"SET SESSION TRANSACTION READ ONLY";

impl Served {
    /// What the backend with that address is good for.
    fn part(&self, address: SocketAddr) -> Part {
        let place = self.backends.iter().position(|backend| backend.address == address);
        let part = |place: usize| self.terms.mysql.as_ref()?.parts.get(place).copied();
        place.and_then(part).unwrap_or(Part::None)
    }
}

impl Running {
    /// Takes the service as it is now.
    pub(super) fn refresh(&mut self) {
        if self.context.service.has_changed().unwrap_or(false) {
            let served = self.context.service.borrow_and_update().clone();
            if let Some(plan) = served.terms.mysql.clone() {
                (self.served, self.plan) = (served, plan);
                self.replica_again = None;
            }
        }
    }

    fn primary_place(&self) -> Option<usize> {
        self.plan.parts.iter().position(|part| *part == Part::Primary)
    }

    pub(super) fn has_primary(&self) -> bool {
        self.primary_place().is_some()
    }

    pub(super) fn has_replica(&self) -> bool {
        self.plan.parts.contains(&Part::Replica)
    }

    /// Sees to it that there is a connection to the primary of now. The inner error is for the client; the outer one ends its session.
    pub(super) async fn ensure_primary(&mut self) -> Result<Result<(), ErrPacket>, Ended> {
        self.refresh();
        let is_portable = self.session.is_portable();
        if self.primary.is_none() && !is_portable {
            // What it had there is lost.
            self.refuse(&ServerError::ConnectionKilled.packet()).await?;
            return Err(Ended::BackendReset);
        }
        if let Some(link) = &mut self.primary {
            // A server says nothing unasked but that it leaves.
            let is_alive = link.channel.fill().now_or_never().is_none();
            let address = link.address;
            if is_alive && (!is_portable || self.served.part(address) == Part::Primary) {
                return Ok(Ok(()));
            }
            self.primary = None;
            if !is_portable {
                self.refuse(&ServerError::ConnectionKilled.packet()).await?;
                return Err(Ended::BackendReset);
            }
        }
        Ok(self.connect_primary().await)
    }

    /// Connects to the primary, and waits for one as long as may be.
    async fn connect_primary(&mut self) -> Result<(), ErrPacket> {
        let deadline = Instant::now() + self.served.terms.queue;
        loop {
            let trouble = match self.primary_place() {
                None => self.plan.no_primary.clone(),
                Some(place) => match self.open(place, None).await {
                    Ok(link) => {
                        self.primary = Some(link);
                        return Ok(());
                    }
                    Err(LinkError::Refused(error)) => return Err(error),
                    Err(error) => error.to_string(),
                },
            };
            if Instant::now() >= deadline {
                let message = format!("no primary takes writes now: {trouble}");
                let error = ServerError::Other { code: 1836, sql_state: *b"HY000", message: &message };
                return Err(error.packet());
            }
            let again = deadline.min(Instant::now() + PRIMARY_AGAIN_AFTER);
            // Another topology, or time, whichever comes first.
            let _ = timeout_at(again, self.context.service.changed()).await;
            self.context.service.mark_changed();
            self.refresh();
        }
    }

    /// Connects to a backend, and tells it all that it has to know. `protection` is said first to a replica.
    async fn open(&mut self, place: usize, protection: Option<&[u8]>) -> Result<Link, LinkError> {
        let (Some(backend), (_, table)) = (self.served.backends.get(place), self.served.tables.of(None))
        else {
            return Err(LinkError::Io(std::io::ErrorKind::NotConnected.into()));
        };
        let max = table.backends.get(place).map_or(0, |backend| backend.max);
        let Some(taken) = Place::take_beside((&backend.account, max)) else {
            return Err(LinkError::Refused(ServerError::TooManyConnections.packet()));
        };
        let identity = &self.client.identity;
        let schema = self.session.schema().map(<[u8]>::to_vec);
        let who = who(identity, schema.as_deref(), self.client.capabilities);
        let ends = (self.ends.client, self.ends.vip);
        let opened = Link::open(backend.address, ends, &self.served.terms, &who).await;
        let mut link = match opened {
            Ok(link) => link,
            Err(error) => {
                taken.backend.count_failed();
                if let LinkError::Io(error) = &error {
                    let is_shown = self.served.terms.shows(self.ends.client, backend.address);
                    note_failure(error, backend.name_hash, is_shown, &self.context);
                }
                return Err(error);
            }
        };
        taken.backend.count_established();
        link.place = Some(taken);
        let first = protection.unwrap_or_else(|| trackers(link.flavor));
        link.tell(first).await?;
        if let Some(option) = &self.option {
            link.command(option).await?;
        }
        let (settings, known) = self.session.settings_after(0);
        for setting in settings {
            link.tell(setting.sql()).await?;
        }
        link.settings = known;
        Ok(link)
    }

    /// Sees to it that a replica can answer as the primary would.
    pub(super) async fn ready_replica(&mut self) -> Result<(), Why> {
        if let Some(link) = &mut self.replica {
            let is_alive = link.channel.fill().now_or_never().is_none();
            let address = link.address;
            if !is_alive || self.served.part(address) != Part::Replica {
                self.replica = None;
            }
        }
        // A schema cannot be left, only changed for another one.
        if self.session.schema().is_none() && self.replica.as_ref().is_some_and(|link| link.schema.is_some())
        {
            self.replica = None;
        }
        if self.replica.is_none() {
            self.connect_replica().await?;
        }
        let limit = self.plan.max_wait.saturating_add(ANSWERED_WITHIN);
        let caught_up = timeout(limit, self.catch_up()).await;
        match caught_up.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into())) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Why::ReplicaBehind),
            Err(LinkError::Refused(error)) => {
                debug!(error = %String::from_utf8_lossy(&error.message), "a setting is refused by a replica");
                self.session.stay_with_primary();
                self.replica = None;
                Err(Why::ReplicaRefused)
            }
            Err(_) => {
                self.replica = None;
                Err(Why::NoReplica)
            }
        }
    }

    async fn connect_replica(&mut self) -> Result<(), Why> {
        if !self.has_replica() || self.replica_again.is_some_and(|again| again > Instant::now()) {
            return Err(Why::NoReplica);
        }
        let others = self.plan.parts.iter().enumerate().filter(|(_, part)| **part != Part::Replica);
        let mut tried: Vec<usize> = others.map(|(place, _)| place).collect();
        let (table, _, ticket) = self.served.draw(None);
        loop {
            let ask = Ask { client: self.ends.client, vip: self.ends.vip, ticket, tried: &tried };
            let Choice::Backend(place) = table.choose(&ask, |place| self.served.connections(place)) else {
                self.replica_again = Some(Instant::now() + REPLICA_AGAIN_AFTER);
                return Err(Why::NoReplica);
            };
            match self.open(place, Some(PROTECTION)).await {
                Ok(link) => {
                    self.replica = Some(link);
                    return Ok(());
                }
                Err(error) => {
                    debug!(%error, "a replica is of no use");
                    tried.push(place);
                }
            }
        }
    }

    /// Tells the replica what has changed in the session, and waits until it has what the session wrote; whether it has.
    async fn catch_up(&mut self) -> Result<bool, LinkError> {
        let wanted = match self.plan.consistency {
            Consistency::Eventual => None,
            Consistency::Session => {
                self.ask_position().await;
                Some(self.session.written().clone())
            }
            Consistency::Global => match self.primary_position().await {
                Some(position) => Some(position),
                None => return Ok(false),
            },
        };
        if self.session.holds().next().is_some() {
            return Ok(false);
        }
        let Some(link) = &mut self.replica else { return Ok(false) };
        if let Some(schema) = self.session.schema().filter(|schema| link.schema.as_deref() != Some(*schema)) {
            link.command(&StatementText { command: Command::InitDb, text: schema }.encode()).await?;
            link.schema = Some(schema.to_vec());
        }
        let (settings, known) = self.session.settings_after(link.settings);
        for setting in settings {
            link.tell(setting.sql()).await?;
        }
        link.settings = known;
        match wanted {
            Some(position) if !link.reached.contains(&position) => {
                let has_it = wait_for(link, &position, self.plan.max_wait).await?;
                if has_it {
                    link.reached = position;
                }
                Ok(has_it)
            }
            _ => Ok(true),
        }
    }

    /// Asks how far the session has written, where there was no room to tell.
    async fn ask_position(&mut self) {
        if !std::mem::take(&mut self.must_ask_position) {
            return;
        }
        let Some(link) = &mut self.primary else { return };
        let question: &[u8] = match link.flavor {
            Flavor::MySql => b"SELECT @@global.gtid_executed",
            Flavor::MariaDb => b"SELECT @@last_gtid",
        };
        let told = timeout(ANSWERED_WITHIN, link.tell(question)).await;
        match told {
            Ok(Ok(rows)) => self.session.has_written(&first_value(rows).unwrap_or_else(|| b"?".to_vec())),
            // In the midst of an answer the connection is of no more use.
            Ok(Err(_)) | Err(_) => {
                self.primary = None;
                self.session.has_written(b"?");
            }
        }
    }

    /// Where the primary is now.
    async fn primary_position(&mut self) -> Option<GtidPosition> {
        if !matches!(self.ensure_primary().await, Ok(Ok(()))) {
            return None;
        }
        let link = self.primary.as_mut()?;
        let question: &[u8] = match link.flavor {
            Flavor::MySql => b"SELECT @@global.gtid_executed",
            Flavor::MariaDb => b"SELECT @@global.gtid_binlog_pos",
        };
        let flavor = link.flavor;
        match timeout(ANSWERED_WITHIN, link.tell(question)).await {
            Ok(Ok(rows)) => GtidPosition::parse(flavor, &first_value(rows)?).ok(),
            Ok(Err(_)) | Err(_) => {
                self.primary = None;
                None
            }
        }
    }
}

fn who<'a>(identity: &'a Identity, schema: Option<&'a [u8]>, capabilities: Capabilities) -> Who<'a> {
    Who {
        user: &identity.user,
        password: &identity.password,
        schema,
        capabilities,
        collation: identity.collation,
        attributes: identity.attributes.as_deref(),
    }
}

fn first_value(rows: Vec<Vec<(String, Option<Vec<u8>>)>>) -> Option<Vec<u8>> {
    rows.into_iter().next()?.into_iter().next()?.1
}

/// Whether a replica has that, or gets it in time.
async fn wait_for(link: &mut Link, position: &GtidPosition, max_wait: Duration) -> Result<bool, LinkError> {
    // MySQL takes 0 for "as long as it takes".
    let seconds = max_wait.as_secs_f64().max(0.001);
    let question = match link.flavor {
        Flavor::MySql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', {seconds:.3})"),
        Flavor::MariaDb => format!("SELECT MASTER_GTID_WAIT('{position}', {seconds:.3})"),
    };
    Ok(link.tell(question.as_bytes()).await.map(first_value)?.as_deref() == Some(b"0"))
}

/// A backend that does not answer any more, not even those who ask what it is: it would be waited for in vain. A primary is waited for until
/// there is another one.
pub(super) struct Gone {
    pub(super) service: watch::Receiver<Arc<Served>>,
    pub(super) address: SocketAddr,
    pub(super) target: Target,
}

impl Gone {
    /// Until that is so.
    pub(super) async fn wait(&mut self) {
        loop {
            let is_gone = {
                let served = self.service.borrow_and_update();
                let has_another =
                    served.terms.mysql.as_ref().is_some_and(|plan| plan.parts.contains(&Part::Primary));
                served.part(self.address) == Part::Silent && (self.target == Target::Replica || has_another)
            };
            if is_gone {
                return;
            }
            if self.service.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Who may want a statement to end while it runs, and what it takes to end it.
pub(super) struct Interruption<'a> {
    pub(super) cancel: &'a Notify,
    pub(super) ends: Ends,
    pub(super) served: &'a Served,
}

impl Interruption<'_> {
    /// Ends what a connection runs, by another one of the same user.
    pub(super) async fn kill_query(&self, address: SocketAddr, thread: u32, client: &Client) {
        let own = who(&client.identity, None, client.capabilities);
        let who = Who { collation: UTF8MB4_GENERAL_CI, attributes: None, ..own };
        let killed = async {
            let ends = (self.ends.client, self.ends.vip);
            let mut other = Link::open(address, ends, &self.served.terms, &who).await?;
            other.tell(format!("KILL QUERY {thread}").as_bytes()).await?;
            other.quit().await;
            Ok::<(), LinkError>(())
        };
        if let Err(error) = killed.await {
            debug!(%error, "a statement was not ended");
        }
    }
}
