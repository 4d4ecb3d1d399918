//! What becomes of a statement in the books: its digest, where it ran and why, and how long that took.
//!
//! Owns the slow log. No literal comes into either.

use super::session::Running;
use crate::core::mysql::digests::Ran;
use crate::core::mysql::session::{Outcome, Target, Why};
use crate::core::mysql::sql::Digest;
use crate::model::whole_ms;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::info;

/// `ER_PARSE_ERROR`.
const SYNTAX_ERROR: u16 = 1064;

/// A statement that runs.
pub(super) struct Current {
    digest: Arc<Digest>,
    begun: Instant,
    /// Why it is sent where it is sent, so far.
    why: &'static str,
}

impl Running {
    /// A statement begins.
    pub(super) fn begin_statement(&mut self, digest: Arc<Digest>) {
        self.current = Some(Current { digest, begun: Instant::now(), why: "" });
    }

    /// It is sent somewhere for that reason.
    pub(super) fn note_why(&mut self, why: &Why) {
        if let Some(current) = &mut self.current {
            current.why = why.name();
        }
    }

    /// It has run.
    pub(super) fn end_statement(&mut self, target: Target, outcome: &Outcome) {
        let Some(Current { digest, begun, why }) = self.current.take() else { return };
        let time = begun.elapsed();
        // What no server can read may be anything, a password in the wrong quotes as well.
        let digest = match outcome.error {
            Some(SYNTAX_ERROR) => Arc::new(Digest { hash: 0, text: "(not understood)".to_owned() }),
            _ => digest,
        };
        let ran = Ran { target, why, time, rows: outcome.rows, is_ok: outcome.is_ok };
        self.registered.sessions.ran(&digest, &ran);
        if self.plan.slow_log.is_some_and(|slow| time >= slow) {
            let ms = whole_ms(time);
            let (session, user) = (self.registered.entry().number, &self.client.identity.user);
            let (target, rows, is_ok) = (target.name(), outcome.rows, outcome.is_ok);
            let (service, statement) = (self.plan.service.as_str(), digest.text.as_str());
            info!(target: "lbctl::slow", service, ms, rows, is_ok, target, why, user, session, statement, "slow statement");
        }
    }
}
