//! A replica that is to answer a read: which one, and whether it has what the session wrote.
//!
//! Owns the waiting for a replica that is behind, and the questions of how far the session has written.

use super::super::account::Ended;
use super::super::terms::Part;
use super::backends::Purpose;
use super::link::{ANSWERED_WITHIN, Link, LinkError};
use super::session::Running;
use crate::core::mysql::protocol::capabilities::Flavor;
use crate::core::mysql::protocol::command::{Command, StatementText};
use crate::core::mysql::protocol::gtid::GtidPosition;
use crate::core::mysql::protocol::response::TextRow;
use crate::core::mysql::session::{Session, Why};
use crate::core::proxy::{Ask, Choice};
use crate::model::Consistency;
use std::fmt::Display;
use std::time::Duration;
use tokio::time::Instant;
use tracing::debug;

/// Where no replica could be connected to, none is tried again before.
const REPLICA_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Running {
    /// Sees to it that a replica can answer as the primary would. The outer error ends the session.
    pub(super) async fn ready_replica(&mut self) -> Result<Result<(), Why>, Ended> {
        if let Some(link) = &mut self.replica {
            let (is_usable, address) = (link.is_usable(), link.address);
            if !is_usable || self.served.part(address) != Some(Part::Replica) {
                self.replica = None;
            }
        }
        // A schema cannot be left, only changed for another one.
        if self.session.schema().is_none() && self.replica.as_ref().is_some_and(|link| link.schema.is_some())
        {
            self.replica = None;
        }
        if !self.has_begun && self.has_primary() && self.ensure_primary().await?.is_err() {
            // What a session begins with, the primary says.
            return Ok(Err(Why::NoReplica));
        }
        if self.replica.is_none()
            && let Err(why) = self.connect_replica().await
        {
            return Ok(Err(why));
        }
        let Some(wanted) = self.wanted().await? else { return Ok(Err(Why::ReplicaBehind)) };
        if let Some(hold) = self.session.holds().next() {
            return Ok(Err(Why::Held(hold)));
        }
        Ok(match self.catch_up(wanted).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Why::ReplicaBehind),
            Err(LinkError::Refused(error)) => {
                debug!(error = error.code, "a setting is refused by a replica");
                self.session.stay_with_primary();
                self.replica = None;
                Err(Why::ReplicaRefused)
            }
            Err(_) => {
                self.replica = None;
                Err(Why::NoReplica)
            }
        })
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
            match self.open(place, Purpose::Replica).await {
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

    /// What a replica has to have; `None`: that cannot be found out.
    async fn wanted(&mut self) -> Result<Option<GtidPosition>, Ended> {
        Ok(match self.plan.consistency {
            Consistency::Eventual => Some(GtidPosition::empty(self.plan.dialect.flavor)),
            Consistency::Session => {
                let is_known = self.ask_position().await?;
                is_known.then(|| self.session.written().clone())
            }
            Consistency::Global => self.primary_position().await?,
        })
    }

    /// Tells the replica what has changed in the session, and waits until it has what is wanted; whether it has.
    async fn catch_up(&mut self, wanted: GtidPosition) -> Result<bool, LinkError> {
        let Some(link) = &mut self.replica else { return Ok(false) };
        if !link.reached.contains(&wanted) {
            match wait_for(link, &wanted, self.plan.max_wait).await {
                Ok(true) => link.reached = wanted,
                // It was ended there, say: whether it has it is not known.
                Ok(false) | Err(LinkError::Refused(_)) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        // Only what has the session's writes has the schemas that it made.
        if let Some(schema) = self.session.schema().filter(|schema| link.schema.as_deref() != Some(*schema)) {
            link.command(&StatementText { command: Command::InitDb, text: schema }.encode()).await?;
            link.schema = Some(schema.to_vec());
        }
        let (settings, known) = self.session.settings_after(link.settings);
        if !settings.is_empty() {
            let said: Vec<&[u8]> = settings.iter().map(|setting| setting.sql()).collect();
            link.tell_all(&said, ANSWERED_WITHIN).await?;
        }
        link.settings = known;
        Ok(true)
    }

    /// Asks how far the session has written, where there was no room to tell; whether that is known now.
    pub(super) async fn ask_position(&mut self) -> Result<bool, Ended> {
        if self.primary.as_ref().is_some_and(|link| link.is_busy) {
            self.lose_primary();
        }
        if let Some(link) = self.primary.as_mut().filter(|link| link.must_ask) {
            let question: &[u8] = match link.flavor {
                Flavor::MySql => position_question(Flavor::MySql).as_bytes(),
                Flavor::MariaDb => b"SELECT @@last_gtid",
            };
            match asked(link, &mut self.session, question).await {
                Ok(rows) => {
                    link.must_ask = false;
                    self.session.has_written(&first_value(rows).unwrap_or_else(|| b"?".to_vec()));
                }
                Err(_) => self.lose_primary(),
            }
        }
        if !self.must_ask_primary {
            return Ok(true);
        }
        // The connection is lost on which it was written: what the primary has includes it, if anybody has it.
        let Some(position) = self.primary_position().await? else { return Ok(false) };
        self.must_ask_primary = false;
        self.session.has_written(position.to_string().as_bytes());
        Ok(true)
    }

    /// Where the primary is now.
    async fn primary_position(&mut self) -> Result<Option<GtidPosition>, Ended> {
        // Who asks waits for a primary afterwards, if that is what it takes.
        if self.primary.is_none() && !self.has_primary() || self.ensure_primary().await?.is_err() {
            return Ok(None);
        }
        let Some(link) = &mut self.primary else { return Ok(None) };
        let flavor = link.flavor;
        match asked(link, &mut self.session, position_question(flavor).as_bytes()).await {
            Ok(rows) => Ok(first_value(rows).and_then(|text| GtidPosition::parse(flavor, &text).ok())),
            Err(_) => {
                self.lose_primary();
                Ok(None)
            }
        }
    }
}

/// A question to the primary. It would be what the session finds last there: that is asked first.
async fn asked(link: &mut Link, session: &mut Session, question: &[u8]) -> Result<Vec<TextRow>, LinkError> {
    if !(session.finds_at_primary() && link.recalls.found_rows) {
        return link.tell(question).await;
    }
    let mut answers = link.tell_all(&[b"SELECT FOUND_ROWS()", question], ANSWERED_WITHIN).await?;
    let rows = answers.pop().unwrap_or_default();
    let found =
        answers.pop().and_then(first_value).and_then(|text| String::from_utf8(text).ok()?.parse().ok());
    if let Some(found) = found {
        session.rows_are_known(found);
    }
    Ok(rows)
}

/// The first value of the first row, on one line.
pub(super) fn first_value(rows: Vec<TextRow>) -> Option<Vec<u8>> {
    let mut value = rows.into_iter().next()?.into_iter().next()?.1?;
    value.retain(|byte| *byte != b'\n');
    Some(value)
}

/// Asks a server which transactions it has.
pub(super) const fn position_question(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::MySql => "SELECT @@global.gtid_executed",
        Flavor::MariaDb => "SELECT @@global.gtid_current_pos",
    }
}

/// The values of the first row.
pub(super) fn first_row(rows: Vec<TextRow>) -> Vec<Option<Vec<u8>>> {
    rows.into_iter().next().unwrap_or_default().into_iter().map(|(_, value)| value).collect()
}

/// Whether a replica has that, or gets it in time.
pub(super) async fn wait_for(
    link: &mut Link,
    position: impl Display,
    max_wait: Duration,
) -> Result<bool, LinkError> {
    // MySQL takes 0 for "as long as it takes".
    let seconds = max_wait.as_secs_f64().max(0.001);
    let question = match link.flavor {
        Flavor::MySql => format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{position}', {seconds:.3})"),
        Flavor::MariaDb => format!("SELECT MASTER_GTID_WAIT('{position}', {seconds:.3})"),
    };
    let patience = max_wait.saturating_add(ANSWERED_WITHIN);
    let answer = link.tell_all(&[question.as_bytes()], patience).await?.pop().unwrap_or_default();
    Ok(first_value(answer).as_deref() == Some(b"0"))
}
