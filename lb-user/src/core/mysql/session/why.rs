//! Why a command runs where it does, in words.
//!
//! Owns the words: they are in metrics, in lists of digests and in answers to people.

use super::super::sql::Reason;
use std::fmt;

/// Something about the session that keeps all of it at the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hold {
    /// A transaction is open.
    Transaction,
    /// Every statement begins one.
    Autocommit,
    /// `SET TRANSACTION` is for the next one.
    NextTransaction,
    /// It has locks on tables.
    TableLocks,
    /// It may have a lock with a name.
    UserLock,
    /// It looks at what servers count for each connection.
    Counters,
    /// It has state that nobody but the server knows.
    State,
    /// How far it has written is not known.
    Position,
}

impl Hold {
    /// A word for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Autocommit => "autocommit_off",
            Self::NextTransaction => "next_transaction",
            Self::TableLocks => "table_locks",
            Self::UserLock => "user_lock_held",
            Self::Counters => "session_counters",
            Self::State => "session_state",
            Self::Position => "position_unknown",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Transaction => "a transaction is open",
            Self::Autocommit => "autocommit is off: every statement is in a transaction",
            Self::NextTransaction => "SET TRANSACTION was said for the next one",
            Self::TableLocks => "the session has locked tables",
            Self::UserLock => "the session may hold a lock with a name",
            Self::Counters => "the session looks at what the server counts for its connection",
            Self::State => "the session has state that cannot be said again elsewhere",
            Self::Position => "how far the session has written is not known",
        }
    }
}

/// Why a command runs there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Any server whose data is recent enough can answer it.
    Read,
    /// The statement belongs to the primary.
    Statement(Reason),
    /// The session does.
    Held(Hold),
    /// It sets something of the session.
    Setting,
    /// It is not SQL.
    Command,
    /// It asks about the statement before it.
    AsksAboutLast,
    /// It reads a user variable whose value only the primary knows.
    UserVariable(String),
    /// It may read a temporary table.
    TemporaryTable(String),
    /// It is one of several in one text.
    Several,
    /// It was prepared under another schema or other settings than those of now.
    PreparedOtherwise,
    /// It has parameters that were sent to the primary, or a cursor.
    Cursor,
    /// No replica can answer now.
    NoReplica,
    /// None has what the session wrote, and would not get it in time.
    ReplicaBehind,
    /// A replica refused it.
    ReplicaRefused,
}

impl Why {
    /// A word for metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Statement(reason) => reason.name(),
            Self::Held(hold) => hold.name(),
            Self::Setting => "setting",
            Self::Command => "command",
            Self::AsksAboutLast => "last_statement",
            Self::UserVariable(_) => "user_variable",
            Self::TemporaryTable(_) => "temporary_table",
            Self::Several => "several_statements",
            Self::PreparedOtherwise => "prepared_otherwise",
            Self::Cursor => "cursor",
            Self::NoReplica => "no_replica",
            Self::ReplicaBehind => "replica_behind",
            Self::ReplicaRefused => "replica_refused",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Statement(reason) => return reason.fmt(f),
            Self::UserVariable(name) => {
                return write!(f, "reads @{name}, whose value only the primary knows");
            }
            Self::TemporaryTable(name) => {
                return write!(f, "may read the temporary table {name}, which only the primary has");
            }
            Self::Held(hold) => hold.words(),
            Self::Read => "reads, and changes nothing",
            Self::Setting => "sets something of the session",
            Self::Command => "is a command that is not SQL",
            Self::AsksAboutLast => "asks about the statement before it, which ran there",
            Self::Several => "is one of several statements in one text",
            Self::PreparedOtherwise => {
                "was prepared in another schema, or under another sql_mode or character set"
            }
            Self::Cursor => "has a cursor or a long parameter at the primary",
            Self::NoReplica => "no replica can answer now",
            Self::ReplicaBehind => "no replica has what the session wrote",
            Self::ReplicaRefused => "a replica refused it",
        })
    }
}
