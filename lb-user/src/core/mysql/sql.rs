//! SQL as a proxy sees it: which statement a client sends, what it does to the session, and whether a replica
//! may run it with exactly the result the primary would give.
//!
//! Owns the lexer, the classifier and the digest for MySQL 8.0–9.x and MariaDB 10.x–11.x. It works on an allowlist:
//! what is not known to be a read of replicated data without side effects belongs to the primary.
//! It never talks to a server, never looks at the schema and never changes the text of a statement.

mod answers;
mod classify;
mod cursor;
mod digest;
mod expression;
mod function;
mod keyword;
mod kind;
mod lexer;
mod mode;
mod names;
mod reason;
mod split;
mod statement;
#[cfg(test)]
mod tests;
mod token;
mod value;

pub use super::protocol::capabilities::Flavor;
use super::protocol::handshake::InitialHandshake;
pub use answers::{Answers, with_answers};
pub use digest::{DIGEST_TEXT_LIMIT, Digest, digest};
pub use kind::{Access, Assignment, Isolation, Kill, Kind, PrepareSource, Rename, Scope, Target, Value};
pub use mode::SqlMode;
pub use reason::Reason;
pub use split::statements;
pub use statement::{AboutLast, Statement};

/// A family and the version that decides which version comments are executed and which functions exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// The family of the server.
    pub flavor: Flavor,
    /// The version as one number, two digits each for minor and patch: 8.4.3 is 80403, 10.11.6 is 101106.
    /// With servers of several versions: the lowest one, because it knows the fewest built-in functions.
    pub version: u32,
}

impl Dialect {
    /// Of the server that says this first.
    pub fn of(greeting: &InitialHandshake) -> Self {
        let text = greeting.version();
        let mut parts = text.split(|letter: char| !letter.is_ascii_digit());
        let mut part = || parts.next().and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0).min(99);
        let (major, minor, patch) = (part(), part(), part());
        Self { flavor: Flavor::of(greeting), version: major * 10_000 + minor * 100 + patch }
    }
}

/// All that changes how a text is read. The caller keeps it up to date with the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Context {
    /// The dialect of the servers behind the proxy.
    pub dialect: Dialect,
    /// The `sql_mode` of the session, as far as it changes how text is read.
    pub mode: SqlMode,
    /// The client's character set is UTF-8 (utf8mb3 or utf8mb4). With any other ASCII-compatible set a byte of
    /// 0x80 and above outside of quotes may be white space to the server (0xA0 in latin1), so such a text is not
    /// taken to be understood.
    pub utf8: bool,
}

impl Context {
    pub(crate) fn is_mariadb(&self) -> bool {
        self.dialect.flavor == Flavor::MariaDb
    }
}
