//! Reads of system variables.
//!
//! Owns the list of those that are alike on every server; it never looks at assignments.

use super::super::keyword::Keyword as K;
use super::super::{Reason, value};
use super::Look;

/// Variables of the session that have the same value on every connection the caller uses for it, because the
/// handshake, or what the caller repeats of the client's SET statements, sets them in any case. All others may
/// come from the configuration of a server.
const SAME_EVERYWHERE: [&str; 5] = [
    "autocommit",
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
];

impl Look<'_, '_> {
    /// After `@@`: an optional scope, and a name that may have a dot.
    pub(super) fn system_variable(&mut self, index: usize) -> usize {
        let mut next = index + 1;
        let mut scope = "";
        if self.mark_at(next + 1, b'.') {
            scope = match self.keyword_at(next) {
                K::Global => "global.",
                K::Persist => "persist.",
                K::PersistOnly => "persist_only.",
                K::Session | K::Local => "session.",
                _ => "",
            };
            if !scope.is_empty() {
                next += 2;
            }
        }
        let mut name = String::new();
        while let Some(token) = self.at(next).filter(|token| token.is_name()) {
            name.push_str(&value::name(token).to_ascii_lowercase());
            next += 1;
            if !self.mark_at(next, b'.') {
                break;
            }
            name.push('.');
            next += 1;
        }
        self.judge(scope, name);
        next
    }

    fn judge(&mut self, scope: &str, name: String) {
        match name.as_str() {
            "warning_count" | "error_count" => {
                self.findings.asks_about_last.warnings = true;
                self.findings.because(Reason::LastStatement);
            }
            "identity" | "last_insert_id" => {
                self.findings.asks_last_insert_id = true;
                self.findings.because(Reason::LastInsertId);
            }
            known if matches!(scope, "" | "session.") && SAME_EVERYWHERE.contains(&known) => {}
            _ if matches!(scope, "" | "session.") => self.findings.because(Reason::ReadsServerVariable(name)),
            _ => self.findings.because(Reason::ReadsServerVariable(format!("{scope}{name}"))),
        }
    }
}
