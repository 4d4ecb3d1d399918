//! Statements for the primary that ask about a statement which a replica ran.
//!
//! Owns the question to the replica. The answer takes the place of the question in the text.

use super::replica::first_row;
use super::session::Running;
use crate::core::mysql::protocol::command::Query;
use crate::core::mysql::session::Asks;
use crate::core::mysql::sql::{AboutLast, Answers, with_answers};

impl Running {
    /// The text with answers to what it asks of `wanted`; `None`: nobody knows them, or they cannot stand in it.
    pub(super) async fn answered(&mut self, query: &Query<'_>, wanted: AboutLast) -> Option<Vec<u8>> {
        let mut answers = Answers {
            found_rows: self.session.found_rows(),
            // Replicas only read.
            row_count: Some(-1),
            ..Answers::default()
        };
        if wanted.warnings || wanted.found_rows && answers.found_rows.is_none() {
            let link = self.replica.as_mut()?;
            let asks = Asks { last: wanted.warnings, found_rows: wanted.found_rows, ..Asks::default() };
            if !link.is_usable() || !link.recalls(&asks) {
                return None;
            }
            let finds = link.recalls.found_rows;
            // In one statement: each one would be the last for the next.
            let asked = link.tell(b"SELECT FOUND_ROWS(), @@warning_count, @@error_count").await;
            let Ok(rows) = asked else {
                self.replica = None;
                return None;
            };
            let mut values = first_row(rows).into_iter();
            let mut next = || String::from_utf8(values.next()??).ok()?.parse::<u64>().ok();
            let found_rows = next();
            (answers.warnings, answers.errors) = (next(), next());
            // The question is what the replica found last, now.
            let is_there = wanted.found_rows || self.session.finds_at_replica() && finds;
            if let Some(rows) = found_rows.filter(|_| answers.found_rows.is_none() && is_there) {
                self.session.rows_are_known(rows);
                answers.found_rows = Some(rows);
            }
        }
        let text = with_answers(query.sql, &self.session.context(), wanted, &answers)?;
        Some(text)
    }
}
