//! One command of a session: at a replica if it may, else at the primary, and what becomes of it where a server is lost.
//!
//! Owns what is sent a second time and what never is.

use super::super::account::Ended;
use super::backends::PROTECTION;
use super::interruption::{Gone, Interruption};
use super::link::LinkError;
use super::relay::{Manner, Relayed, relay, trackers};
use super::session::Running;
use crate::core::mysql::protocol::command::Command;
use crate::core::mysql::protocol::packet::frame;
use crate::core::mysql::protocol::response::{ErrPacket, PreparedStatement, ServerError};
use crate::core::mysql::session::{Outcome, Plan, Target, Why};
use tokio::time::Instant;
use tracing::debug;

/// Errors of statements that were ended: by `KILL`, and by the time they may take (MariaDB, MySQL).
const ENDED: [u16; 4] = [1317, 1927, 1969, 3024];

/// What is sent.
#[derive(Clone, Copy)]
pub(super) enum Request<'a> {
    /// This.
    Plain(&'a [u8]),
    /// This, with the server's id in place of the session's.
    OfStatement {
        id: u32,
        payload: &'a [u8],
        /// On no other connection than that one: it has parts of the parameters.
        on: Option<u64>,
    },
}

impl Running {
    /// Runs a command where it belongs.
    pub(super) async fn perform(
        &mut self,
        request: Request<'_>,
        command: Command,
        plan: Plan,
    ) -> Result<(), Ended> {
        self.refresh();
        let mut why = plan.why.clone();
        self.note_why(&why);
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
        self.note_why(&why);
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
        if is_about_last {
            let knows =
                self.replica.as_mut().is_some_and(|link| link.is_usable() && link.recalls(&plan.asks));
            if !knows {
                return Ok(Some(Why::NoReplica));
            }
        } else if let Err(why) = self.ready_replica().await? {
            return Ok(Some(why));
        }
        // It may stand in the midst of a transaction at the primary, of which the replica knows nothing.
        let status = is_about_last.then(|| self.session.status());
        let manner = Manner { command, hold_error: !is_about_last, statement: None, status };
        match self.exchange(Target::Replica, request, manner).await? {
            Relayed::Done(outcome, _) => {
                self.replica_ran(plan, &outcome);
                Ok(None)
            }
            // Somebody ended it, or its time was over: that is the answer.
            Relayed::Refused(error) if ENDED.contains(&error.code) => {
                self.refuse(&error).await?;
                self.replica_ran(plan, &Outcome { error: Some(error.code), ..Outcome::default() });
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
        let mut is_repeated = false;
        loop {
            if let Err(error) = self.ensure_primary().await? {
                self.refuse(&error).await?;
                return Ok(None);
            }
            if is_repeated && !self.guard_primary(true).await {
                self.refuse(&lost_while_it_ran()).await?;
                return Ok(None);
            }
            if !self.primary.as_ref().is_some_and(|link| link.recalls(&plan.asks)) {
                self.refuse(&nobody_knows()).await?;
                return Ok(None);
            }
            let was_portable = self.session.is_portable();
            let manner = Manner { command, hold_error: is_repeated, statement, status: None };
            let relayed = self.exchange(Target::Primary, request, manner).await?;
            if is_repeated && matches!(relayed, Relayed::Done(..) | Relayed::Refused(_)) {
                self.guard_primary(false).await;
            }
            match relayed {
                Relayed::Done(outcome, prepared) => {
                    self.note(plan, &outcome).await;
                    return Ok(prepared);
                }
                Relayed::Refused(error) => {
                    let writes = error.code == READ_ONLY_TRANSACTION;
                    let error = if writes { lost_while_it_ran() } else { error };
                    self.refuse(&error).await?;
                    return Ok(None);
                }
                Relayed::Lost => {
                    self.lose_primary();
                    if was_portable && plan.is_read && !is_repeated {
                        is_repeated = true;
                        continue;
                    }
                    self.refuse(&lost_while_it_ran()).await?;
                    return if was_portable { Ok(None) } else { Err(Ended::BackendReset) };
                }
                Relayed::Broken { is_told } => {
                    self.lose_primary();
                    // What of it has been done, nobody knows any more.
                    let goes_on = is_told && was_portable && plan.is_read;
                    return if goes_on { Ok(None) } else { Err(Ended::BackendReset) };
                }
            }
        }
    }

    /// What follows from what a replica has run.
    fn replica_ran(&mut self, plan: &Plan, outcome: &Outcome) {
        if let Some(link) = &mut self.replica {
            link.recalls.last = true;
            link.recalls.found_rows |= plan.finds_rows() && outcome.is_ok;
        }
        self.session.replica_ran(plan);
        self.end_statement(Target::Replica, outcome);
    }

    /// What follows for the session and its connection from what the primary has run.
    async fn note(&mut self, plan: &Plan, outcome: &Outcome) {
        self.session.primary_ran(plan, outcome);
        self.end_statement(Target::Primary, outcome);
        let has_inserted = outcome.has_inserted || plan.may_insert_unseen(outcome.rows);
        self.has_inserted |= has_inserted;
        if has_inserted {
            self.kept_insert_id = None;
        }
        self.ran_well = outcome.is_ok;
        let Some(link) = &mut self.primary else { return };
        // Even what seemed to read may have written, and what failed may have written before.
        let is_hidden = outcome.hides_changes || plan.changes_trackers();
        link.must_ask |= is_hidden || !(outcome.is_ok || plan.is_read);
        link.recalls.last |= plan.is_statement();
        link.recalls.found_rows |= plan.finds_rows() && outcome.is_ok;
        link.recalls.insert_id |= outcome.is_ok && has_inserted;
        if plan.changes_trackers() {
            self.client.hears_all = true;
            // Whatever the client wants to hear, the session has to hear all.
            let recalls = link.recalls;
            let is_told = link.tell(trackers(link.flavor)).await.is_ok();
            link.recalls = recalls;
            if !is_told {
                self.lose_primary();
            }
        }
    }

    /// What is sent a second time must not write a second time, whatever a view or a function in it does. Whether it is so.
    async fn guard_primary(&mut self, is_guarded: bool) -> bool {
        let Some(link) = &mut self.primary else { return false };
        let said = if is_guarded { PROTECTION } else { b"SET SESSION TRANSACTION READ WRITE" };
        let recalls = link.recalls;
        let is_so = link.tell(said).await.is_ok();
        link.recalls = recalls;
        if !is_so {
            self.lose_primary();
        }
        is_so
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
        let mut gone = Gone::of(link, target, &self.context.service);
        let packet = match request {
            Request::Plain(payload) => frame(0, payload),
            Request::OfStatement { id, payload, on } => {
                if on.is_some_and(|serial| serial != link.serial) {
                    return Ok(Relayed::Lost);
                }
                let now = self.session.reading();
                match self.statements.request(link, id, payload, &now).await {
                    Ok(payload) => frame(0, &payload),
                    Err(LinkError::Refused(error)) if manner.hold_error => {
                        return Ok(Relayed::Refused(error));
                    }
                    Err(LinkError::Refused(error)) => {
                        self.refuse(&error).await?;
                        return Ok(Relayed::Done(Outcome::default(), None));
                    }
                    Err(error) => {
                        debug!(%error, "a backend is lost");
                        return Ok(Relayed::Lost);
                    }
                }
            }
        };
        (link.is_busy, link.used) = (true, Instant::now());
        let is_sent = tokio::select! {
            biased;
            sent = link.channel.send(&packet) => sent.is_ok(),
            () = gone.wait() => false,
        };
        if !is_sent {
            return Ok(Relayed::Lost);
        }
        if let Some(place) = &link.place {
            place.backend.count_bytes(packet.len() as u64, 0);
        }
        let cancel = &self.registered.entry().cancel;
        let interruption = Interruption { cancel, ends: self.ends, served: &self.served };
        let patience = self.served.terms.idle.client;
        let relayed = relay(link, &mut self.client, manner, interruption, gone, patience).await;
        let relayed = relayed.map_err(|_| Ended::ClientReset)?;
        let is_whole = matches!(relayed, Relayed::Done(..) | Relayed::Refused(_));
        link.is_busy = !is_whole;
        Ok(relayed)
    }
}

/// MariaDB, MySQL: `ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION`.
const READ_ONLY_TRANSACTION: u16 = 1792;

fn nobody_knows() -> ErrPacket {
    let message = "this asks about a statement of a connection to the primary that is lost";
    ServerError::Other { code: 1927, sql_state: *b"70100", message }.packet()
}

fn lost_while_it_ran() -> ErrPacket {
    let message = "the primary was lost while it ran this: whether it did is not known";
    ServerError::Other { code: 1053, sql_state: *b"08S01", message }.packet()
}
