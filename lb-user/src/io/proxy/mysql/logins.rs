//! How a session begins, begins anew, and ends another one.
//!
//! Owns what of a session is left at each of these.

use super::super::account::Ended;
use super::super::terms::MysqlPlan;
use super::backends::defaults;
use super::channel::Message;
use super::link::ANSWERED_WITHIN;
use super::login::{Client, LoginError};
use super::perform::Request;
use super::prepared::Statements;
use super::relay::trackers;
use super::session::Running;
use super::sessions::Entry;
use crate::core::mysql::protocol::command::Command;
use crate::core::mysql::protocol::response::{OkPacket, ServerError};
use crate::core::mysql::protocol::status::StatusFlags;
use crate::core::mysql::session::{Asks, Hold, Plan, Session};
use crate::core::mysql::sql::{self, Kill, SqlMode};
use tokio::time::{Instant, timeout};

/// Collations of UTF-8, by the byte in the handshake.
fn is_utf8(collation: u8) -> bool {
    matches!(collation, 33 | 45 | 46 | 76 | 83 | 192..=215 | 223..=247 | 255)
}

impl Running {
    /// The client is told that it is in, when the primary has let it in; where there is none, at once.
    pub(super) async fn welcome(&mut self) -> Result<(), Ended> {
        self.refresh();
        let mut ok = OkPacket::plain(StatusFlags::AUTOCOMMIT);
        // A password that only servers know, the primary judges.
        let must_be_judged = self.plan.passthrough.is_some();
        if self.has_primary() || !self.has_replica() || must_be_judged {
            if let Err(error) = self.ensure_primary().await? {
                self.client.refuse(&error).await.map_err(|_| Ended::ClientReset)?;
                return Err(Ended::BadHandshake);
            }
            if let Some(link) = &self.primary {
                self.session.has_status(link.welcome.status);
                ok = link.welcome.clone().filtered(|_| false);
                ok.status = link.welcome.status.without(StatusFlags::SESSION_STATE_CHANGED);
            }
        }
        let payload = ok.encode(self.client.capabilities);
        self.client.answer(&payload).await.map_err(|_| Ended::ClientReset)
    }

    /// Ends a session of ours, or what it runs. Users may end their own.
    pub(super) async fn kill(&mut self, what: Kill, number: u64, entry: &Entry) -> Result<(), Ended> {
        if entry.user() != self.client.identity.user {
            let message = format!("You are not owner of thread {number}");
            let error = ServerError::Other { code: 1095, sql_state: *b"HY000", message: &message };
            return self.refuse(&error.packet()).await;
        }
        // Whoever runs nothing has nothing to end.
        entry.cancel.notify_waiters();
        if what == Kill::Connection {
            entry.kill.notify_one();
        }
        self.agree().await
    }

    /// What holds the session may have kept servers from telling what it wrote.
    fn distrust_trackers(&mut self) {
        let is_held = self.session.holds().any(|hold| hold == Hold::State);
        // Where a primary is, it says itself.
        self.must_ask_primary |= self.session.holds().any(|hold| hold == Hold::Position);
        if let Some(link) = &mut self.primary {
            link.must_ask |= is_held;
        }
    }

    pub(super) async fn change_user(&mut self, message: &Message) -> Result<(), Ended> {
        self.refresh();
        let (plan, flavor) = (self.plan.clone(), self.plan.dialect.flavor);
        let login = self.client.change_user(message, &plan, flavor, self.ends);
        match timeout(self.served.terms.handshake, login).await {
            Ok(Ok(())) => {}
            Ok(Err(LoginError::Io(_))) => return Err(Ended::ClientReset),
            Ok(Err(_)) | Err(_) => return Err(Ended::BadHandshake),
        }
        // What it wrote as another user it wants to read as this one.
        self.distrust_trackers();
        let _ = self.ask_position().await?;
        for link in [self.primary.take(), self.replica.take()].into_iter().flatten() {
            link.quit().await;
        }
        self.session = fresh(&self.client, &plan).after(&self.session);
        self.statements = Statements::default();
        self.option = None;
        (self.has_begun, self.has_inserted, self.kept_insert_id) = (false, false, None);
        self.began = Instant::now();
        self.welcome().await
    }

    pub(super) async fn reset(&mut self, payload: &[u8]) -> Result<(), Ended> {
        self.replica = None;
        // The server forgets it.
        self.distrust_trackers();
        let _ = self.ask_position().await?;
        self.ran_well = false;
        self.on_primary(Request::Plain(payload), Command::ResetConnection, &Plan::command(), None).await?;
        if !self.ran_well {
            return Ok(());
        }
        self.session.reset();
        self.statements = Statements::default();
        (self.has_begun, self.has_inserted, self.kept_insert_id) = (false, false, None);
        let Some(link) = &mut self.primary else { return Ok(()) };
        link.statements.clear();
        let said = [trackers(link.flavor), defaults(link.flavor)];
        match link.tell_all(&said, ANSWERED_WITHIN).await {
            Ok(mut answers) => {
                let rows = answers.pop().unwrap_or_default();
                self.begin_with(&rows);
                let settings = self.session.settings_after(0).1;
                if let Some(link) = &mut self.primary {
                    link.recalls = Asks::ALL;
                    link.settings = settings;
                }
            }
            Err(_) => self.lose_primary(),
        }
        Ok(())
    }
}

/// A session as it is after a login.
pub(super) fn fresh(client: &Client, plan: &MysqlPlan) -> Session {
    let context = sql::Context {
        dialect: plan.dialect,
        mode: SqlMode::default(),
        utf8: is_utf8(client.identity.collation),
    };
    Session::new(context, client.identity.schema.clone())
}
