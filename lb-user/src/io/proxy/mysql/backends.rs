//! The connections of a session: when one is made, to whom, and what it has to know before it is used.
//!
//! Owns the waiting for a primary where there is none. What a replica needs to answer is in [`super::replica`].

use super::super::Served;
use super::super::account::{Ended, Place};
use super::super::connection::note_failure;
use super::super::terms::Part;
use super::link::{ANSWERED_WITHIN, Link, LinkError, Who};
use super::login::Identity;
use super::pool::{self, Whose};
use super::relay::trackers;
use super::session::Running;
use crate::core::mysql::protocol::capabilities::{Capabilities, Flavor};
use crate::core::mysql::protocol::response::{ErrPacket, ServerError, TextRow};
use crate::core::mysql::session::Asks;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// A primary that could not be connected to is tried again after that.
const PRIMARY_AGAIN_AFTER: Duration = Duration::from_millis(100);

const WAIT_TIMEOUT: &str = "wait_timeout";
/// MariaDB, MySQL: `ER_BAD_DB_ERROR`.
const NO_SUCH_SCHEMA: u16 = 1049;

/// For what a connection is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Primary,
    Replica,
}

impl Served {
    /// What the backend with that address is good for; `None`: it is no backend of the service any more.
    pub(super) fn part(&self, address: SocketAddr) -> Option<Part> {
        let place = self.backends.iter().position(|backend| backend.address == address)?;
        Some(self.terms.mysql.as_ref()?.parts.get(place).copied().unwrap_or(Part::None))
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

    /// Where the primary is.
    pub(super) fn primary_address(&self) -> Option<SocketAddr> {
        Some(self.served.backends.get(self.primary_place()?)?.address)
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

    /// Leaves the primary's connection. What it wrote and did not tell, nobody but a primary can say.
    pub(super) fn lose_primary(&mut self) {
        if let Some(link) = self.primary.take() {
            self.must_ask_primary |= link.must_ask || link.is_busy;
        }
    }

    fn whose(&self) -> Whose {
        Whose::of((&self.served.terms, &self.plan), &self.client.identity, self.client.capabilities)
    }

    /// After how long it lends its connections; `None`: they are its own.
    fn lends_after(&self) -> Option<Duration> {
        self.plan.multiplex_after.filter(|_| pool::may_be_lent(&self.served.terms))
    }

    /// When its connections go to others, if its client says nothing before: where nothing is on them that cannot be said again.
    pub(super) fn lends_at(&self, since: Instant) -> Option<Instant> {
        let after = self.lends_after()?;
        let has_any = self.primary.is_some() || self.replica.is_some();
        let is_free = self.session.is_portable() && !self.statements.are_bound(&self.session.reading());
        // What `COM_SET_OPTION` set, a reset leaves as it is.
        let may = has_any && self.has_begun && is_free && self.option.is_none();
        may.then(|| since + after)
    }

    /// Gives them to others.
    pub(super) async fn lend(&mut self) {
        let whose = self.whose();
        if let Some(mut link) = self.replica.take()
            && link.is_usable()
        {
            pool::lend(link, whose.clone());
        }
        let asks = self.has_inserted && self.kept_insert_id.is_none();
        // One that does not know it leaves it unknown.
        if let Some(link) = self.primary.as_mut().filter(|link| asks && link.recalls.insert_id) {
            let Ok(rows) = link.tell(b"SELECT LAST_INSERT_ID()").await else { return self.lose_primary() };
            let value = rows.into_iter().flatten().find_map(|(_, value)| String::from_utf8(value?).ok());
            self.kept_insert_id = value.and_then(|value| value.parse().ok());
        }
        let Some(mut link) = self.primary.take() else { return };
        self.must_ask_primary |= link.must_ask;
        link.schema = self.session.schema().map(<[u8]>::to_vec);
        if link.is_usable() {
            pool::lend(link, whose);
        }
    }

    /// Sees to it that there is a connection to the primary of now. The inner error is for the client; the outer one ends its session.
    pub(super) async fn ensure_primary(&mut self) -> Result<Result<(), ErrPacket>, Ended> {
        self.refresh();
        let is_portable = self.session.is_portable();
        if let Some(link) = &mut self.primary {
            let (is_usable, address) = (link.is_usable(), link.address);
            let stays = match self.served.part(address) {
                Some(Part::Primary) => true,
                // Nobody else takes writes, and it may be that only the monitor does not hear it.
                Some(Part::Silent) => !self.has_primary(),
                // It does not take writes, or another one does, too: what a session has begun there must not go on.
                Some(Part::Replica | Part::None) => false,
                None => !is_portable,
            };
            if is_usable && stays {
                return Ok(Ok(()));
            }
            self.lose_primary();
        }
        if !is_portable {
            // What it had there is lost.
            self.refuse(&ServerError::ConnectionKilled.packet()).await?;
            return Err(Ended::BackendReset);
        }
        Ok(self.connect_primary().await)
    }

    /// Connects to the primary, and waits for one as long as may be.
    async fn connect_primary(&mut self) -> Result<(), ErrPacket> {
        let deadline = Instant::now() + self.served.terms.queue;
        loop {
            let mut is_full = false;
            let trouble = match self.primary_place() {
                None => self.plan.no_primary.clone(),
                Some(place) => match self.open(place, Purpose::Primary).await {
                    Ok(link) => {
                        self.primary = Some(link);
                        // Whoever ends what it runs finds it by its server's number.
                        self.show();
                        return Ok(());
                    }
                    Err(LinkError::Refused(error)) => return Err(error),
                    Err(error) => {
                        is_full = matches!(error, LinkError::Full);
                        error.to_string()
                    }
                },
            };
            if Instant::now() >= deadline {
                if is_full {
                    return Err(ServerError::TooManyConnections.packet());
                }
                let message = format!("no primary takes writes now: {trouble}");
                let error = ServerError::Other { code: 1836, sql_state: *b"HY000", message: &message };
                return Err(error.packet());
            }
            let again = deadline.min(Instant::now() + PRIMARY_AGAIN_AFTER);
            // Another topology, or time, whichever comes first.
            if let Ok(Err(_)) = timeout_at(again, self.context.service.changed()).await {
                sleep_until(again).await;
            }
            self.context.service.mark_changed();
            self.refresh();
        }
    }

    /// Connects to a backend, and tells it all that it has to know.
    pub(super) async fn open(&mut self, place: usize, purpose: Purpose) -> Result<Link, LinkError> {
        let (Some(backend), (_, table)) = (self.served.backends.get(place), self.served.tables.of(None))
        else {
            return Err(LinkError::Io(std::io::ErrorKind::NotConnected.into()));
        };
        let max = table.backends.get(place).map_or(0, |backend| backend.max);
        let Some(taken) = Place::take_beside((&backend.account, max)) else {
            return Err(LinkError::Full);
        };
        let cuts = taken.backend.cuts();
        let schema = self.session.schema().map(<[u8]>::to_vec);
        let who = who(&self.client.identity, schema.as_deref(), self.client.capabilities);
        let ends = (self.ends.client, self.ends.vip);
        // A session begins as its own connection says.
        let spare = match self.has_begun && self.lends_after().is_some() {
            true => pool::take(backend.address, &self.whose(), schema.as_deref(), self.began).await,
            false => None,
        };
        let mut opened = match spare {
            Some(link) => Ok(link),
            None => Link::open(backend.address, ends, &self.served.terms, &who).await,
        };
        if self.has_begun && matches!(&opened, Err(LinkError::Refused(error)) if error.code == NO_SUCH_SCHEMA)
        {
            // It was dropped meanwhile: a server would have the session in none from then on.
            let who = Who { schema: None, ..who };
            opened = Link::open(backend.address, ends, &self.served.terms, &who).await;
        }
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
        self.opened += 1;
        (link.place, link.cuts, link.serial) = (Some(taken), cuts, self.opened);
        self.acquaint(&mut link, purpose).await?;
        Ok(link)
    }

    /// Tells a new connection what it has to know; a session that begins learns from its first one to a primary what it begins with.
    async fn acquaint(&mut self, link: &mut Link, purpose: Purpose) -> Result<(), LinkError> {
        if let Some(option) = &self.option {
            link.command(option).await?;
        }
        let begins = purpose == Purpose::Primary && !self.has_begun;
        let (settings, known) = self.session.settings_after(0);
        let mut said: Vec<&[u8]> = match (purpose, begins) {
            (Purpose::Primary, true) => vec![trackers(link.flavor), defaults(link.flavor)],
            // The session is in none of the states that a server may begin one in.
            (Purpose::Primary, false) => vec![trackers(link.flavor), b"SET SESSION autocommit = 1"],
            // Nothing of it is written on such a connection, whatever a function does that seemed to read.
            (Purpose::Replica, _) => {
                vec![PROTECTION, b"SET SESSION autocommit = 1"]
            }
        };
        said.extend(settings.iter().map(|setting| setting.sql()));
        let insert_id = self.kept_insert_id.map(|id| format!("SET SESSION last_insert_id = {id}"));
        said.extend(insert_id.iter().filter(|_| purpose == Purpose::Primary).map(String::as_bytes));
        let mut answers = link.tell_all(&said, ANSWERED_WITHIN).await?;
        link.settings = known;
        if begins && answers.len() > 1 {
            self.begin_with(&answers.swap_remove(1));
            self.session.has_status(link.welcome.status);
            // It has them of itself.
            link.settings = self.session.settings_after(0).1;
            link.recalls = Asks::ALL;
        } else {
            // What was generated on another connection, nobody knows here.
            let insert_id = !self.has_inserted || self.kept_insert_id.is_some();
            link.recalls = Asks { insert_id, ..Asks::default() };
        }
        Ok(())
    }

    /// A session begins, and this is what its connection has set of itself.
    pub(super) fn begin_with(&mut self, rows: &[TextRow]) {
        self.has_begun = true;
        let values = rows.first().into_iter().flatten();
        let values =
            values.map(|(name, value)| (name.trim_start_matches("@@").to_ascii_lowercase(), value.clone()));
        // For how long a server keeps a connection on which nothing is said is between it and the proxy.
        let (own, values): (Vec<_>, Vec<_>) = values.partition(|(name, _)| name == WAIT_TIMEOUT);
        let seconds = own.into_iter().find_map(|(_, value)| String::from_utf8(value?).ok()?.parse().ok());
        self.wait_timeout = seconds.map(Duration::from_secs);
        self.session.begins_with(&values);
    }
}

/// Whatever is written on such a connection is refused.
pub(super) const PROTECTION: &[u8] = b"SET SESSION TRANSACTION READ ONLY";

/// What decides how a session's reads are understood and answered, and comes from a server's own configuration where nobody sets it.
pub(super) fn defaults(flavor: Flavor) -> &'static [u8] {
    match flavor {
        Flavor::MySql => {
            b"SELECT @@sql_mode, @@time_zone, @@character_set_client, @@character_set_results, @@character_set_connection, \
              @@collation_connection, @@transaction_isolation, @@sql_select_limit, @@group_concat_max_len, @@div_precision_increment, \
              @@default_week_format, @@lc_time_names, @@sql_auto_is_null, @@max_sort_length, @@sql_safe_updates, @@wait_timeout"
        }
        Flavor::MariaDb => {
            b"SELECT @@sql_mode, @@time_zone, @@character_set_client, @@character_set_results, @@character_set_connection, \
              @@collation_connection, @@tx_isolation, @@sql_select_limit, @@group_concat_max_len, @@div_precision_increment, \
              @@default_week_format, @@lc_time_names, @@sql_auto_is_null, @@max_sort_length, @@sql_safe_updates, @@old_mode, @@wait_timeout"
        }
    }
}

pub(super) fn who<'a>(
    identity: &'a Identity,
    schema: Option<&'a [u8]>,
    capabilities: Capabilities,
) -> Who<'a> {
    Who {
        user: &identity.user,
        password: &identity.password,
        schema,
        capabilities,
        collation: identity.collation,
        attributes: identity.attributes.as_deref(),
    }
}
