//! One statement of a text and what is known of it.
//!
//! Owns the result the classifier fills in; it never changes or copies the text.

use super::lexer::Lexer;
use super::token::{Token, TokenKind};
use super::{Context, Kind, Reason, value};

/// What a statement asks about those before it: it must run where these ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AboutLast {
    /// `FOUND_ROWS()`: of the last statement that found any.
    pub found_rows: bool,
    /// `ROW_COUNT()`: of the last statement.
    pub row_count: bool,
    /// `SHOW WARNINGS`, `@@warning_count`, `GET DIAGNOSTICS` and the like: of the last statement.
    pub warnings: bool,
}

impl AboutLast {
    /// Whether it asks for any of it.
    #[must_use]
    pub fn any(self) -> bool {
        self.found_rows || self.row_count || self.warnings
    }
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Its text, without the `;` that ends it.
    pub text: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// Why it cannot run on a replica; `None`: it can run on any server whose data is recent enough.
    pub primary: Option<Reason>,
    /// Lower-case names of the user variables it reads; it can run elsewhere only where these are known.
    pub user_variables: Vec<String>,
    /// Lower-case names of the user variables it assigns other than as items of `SET`: by `:=`, by `INTO`, as
    /// arguments of `CALL`, by `LOAD DATA` or `GET DIAGNOSTICS`. Their values are known only to the server that
    /// ran it. Stored programs, triggers and prepared statements may assign others of which the text says nothing.
    pub assigned_variables: Vec<String>,
    /// What it asks about statements before it.
    pub asks_about_last: AboutLast,
    /// It asks for nothing but that: no table, no variable, nothing else that ties it to a server.
    pub only_asks_about_last: bool,
    /// `FOUND_ROWS()` is about it from here on, if it goes well.
    pub finds_rows: bool,
    /// It asks for `LAST_INSERT_ID()`, `@@identity` or `@@last_insert_id`.
    pub asks_last_insert_id: bool,
    /// It sets it: `LAST_INSERT_ID(…)`.
    pub sets_last_insert_id: bool,
    /// It uses `GET_LOCK` or a relative; such a lock belongs to the connection.
    pub uses_user_lock: bool,
    /// It ends an open transaction by itself: the implicit commits of both manuals, also those that depend on the
    /// state of the session (`UNLOCK TABLES`, `SET autocommit = 1`); the status flags of the answer have the last
    /// word. `COMMIT` and `ROLLBACK` have their own kinds and are not meant.
    pub commits: bool,
    /// Its first words announce a compound statement or a stored program, so it reaches to the end of the text.
    pub compound: bool,
    pub(crate) context: Context,
}

/// With what names of `SHOW STATUS` begin that are about the server as a whole, or about the connection from its beginning.
const NO_COUNTERS: [&[u8]; 6] = [b"ssl_", b"uptime", b"wsrep_", b"innodb_", b"threads_", b"rpl_"];

impl Statement<'_> {
    /// Whether it looks at, or begins anew, what a server counts for each connection by itself: `SHOW STATUS`, `FLUSH STATUS`, and the tables of the
    /// same.
    #[must_use]
    pub fn asks_for_counters(&self) -> bool {
        // Those are for the primary in any case.
        match &self.primary {
            None => return false,
            Some(Reason::ServerSchema(_)) => return self.mentions("session_status"),
            Some(_) => {}
        }
        let mut lexer = Lexer::new(self.text, &self.context);
        let is = |token: &Token<'_>, word: &str| token.text.eq_ignore_ascii_case(word.as_bytes());
        let first = lexer.next();
        let skipped: &[&str] = match (is(&first, "show"), is(&first, "flush")) {
            (true, _) => &["session", "local"],
            (_, true) => &["session", "local", "no_write_to_binlog"],
            _ => return false,
        };
        let mut next = lexer.next();
        if skipped.iter().any(|word| is(&next, word)) {
            next = lexer.next();
        }
        if !is(&next, "status") {
            return false;
        }
        // One pattern that names something else.
        if !is(&lexer.next(), "like") {
            return true;
        }
        let pattern = lexer.next().text.to_ascii_lowercase();
        !NO_COUNTERS.iter().any(|word| pattern.get(1..).is_some_and(|text| text.starts_with(word)))
    }

    /// True when an identifier in it, quoted or not, equals the name without regard to case, or when that cannot
    /// be told. For the temporary tables of a connection.
    #[must_use]
    pub fn mentions(&self, name: &str) -> bool {
        let mut lexer = Lexer::new(self.text, &self.context);
        loop {
            let token = lexer.next();
            match token.kind {
                TokenKind::End => return false,
                TokenKind::Malformed => return true,
                TokenKind::Word if token.text.eq_ignore_ascii_case(name.as_bytes()) => return true,
                TokenKind::Word if token.text.is_ascii() => {}
                TokenKind::Word | TokenKind::Quoted => {
                    let mentioned = value::name(&token);
                    if mentioned
                        .chars()
                        .flat_map(char::to_lowercase)
                        .eq(name.chars().flat_map(char::to_lowercase))
                    {
                        return true;
                    }
                }
                _ => {}
            }
        }
    }
}
