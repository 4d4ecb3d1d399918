//! How a session begins, begins anew, and ends another one.
//!
//! Owns what of a session is left at each of these.

use super::super::account::Ended;
use super::super::terms::MysqlPlan;
use super::channel::Message;
use super::login::{Client, LoginError};
use super::prepared::Statements;
use super::session::{Request, Running};
use crate::core::mysql::protocol::command::Command;
use crate::core::mysql::protocol::response::{OkPacket, ServerError};
use crate::core::mysql::protocol::status::StatusFlags;
use crate::core::mysql::session::{Plan, Session};
use crate::core::mysql::sql::{self, Kill, SqlMode};

/// Collations of UTF-8, by the byte in the handshake.
fn is_utf8(collation: u8) -> bool {
    matches!(collation, 33 | 45 | 46 | 76 | 83 | 192..=215 | 223..=247 | 255)
}

impl Running {
    /// The client is told that it is in, when the primary has let it in; where there is none, at once.
    pub(super) async fn welcome(&mut self) -> Result<(), Ended> {
        self.refresh();
        let mut ok = OkPacket::plain(StatusFlags::AUTOCOMMIT);
        if self.has_primary() || !self.has_replica() {
            if let Err(error) = self.ensure_primary().await? {
                self.client.refuse(&error).await.map_err(|_| Ended::ClientReset)?;
                return Err(Ended::BadHandshake);
            }
            if let Some(link) = &self.primary {
                ok = link.welcome.clone().filtered(|_| false);
                ok.status = link.welcome.status.without(StatusFlags::SESSION_STATE_CHANGED);
            }
        }
        let payload = ok.encode(self.client.capabilities);
        self.client.answer(&payload).await.map_err(|_| Ended::ClientReset)
    }

    /// Ends a session of ours, or what it runs. Users may end their own.
    pub(super) async fn kill(&mut self, what: Kill, number: u64) -> Result<(), Ended> {
        let found = self.registered.sessions.find(number);
        let Some(entry) = found else {
            let message = format!("Unknown thread id: {number}");
            let error = ServerError::Other { code: 1094, sql_state: *b"HY000", message: &message };
            return self.refuse(&error.packet()).await;
        };
        if entry.user != self.client.identity.user {
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

    pub(super) async fn change_user(&mut self, message: &Message) -> Result<(), Ended> {
        self.refresh();
        let (plan, flavor) = (self.plan.clone(), self.plan.dialect.flavor);
        match self.client.change_user(message, &plan, flavor, self.ends).await {
            Ok(()) => {}
            Err(LoginError::Io(_)) => return Err(Ended::ClientReset),
            Err(_) => return Err(Ended::BadHandshake),
        }
        for link in [self.primary.take(), self.replica.take()].into_iter().flatten() {
            link.quit().await;
        }
        self.session = fresh(&self.client, &plan);
        self.statements = Statements::default();
        self.option = None;
        self.must_ask_position = false;
        self.welcome().await
    }

    pub(super) async fn reset(&mut self, payload: &[u8]) -> Result<(), Ended> {
        self.replica = None;
        let written = self.session.written().clone();
        self.on_primary(Request::Plain(payload), Command::ResetConnection, &Plan::command(), None).await?;
        self.session.reset();
        debug_assert!(self.session.written().contains(&written), "what was written stays written");
        self.statements = Statements::default();
        if let Some(link) = &mut self.primary {
            link.statements.clear();
            let flavor = link.flavor;
            if link.tell(super::relay::trackers(flavor)).await.is_err() {
                self.primary = None;
            }
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
