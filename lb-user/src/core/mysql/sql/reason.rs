//! Why a statement belongs to the primary.
//!
//! Owns the list of reasons and their words; it never decides which one applies.

use std::fmt;

/// Why a statement cannot run on a replica with the result the primary would give.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It changes data, definitions or the server.
    Writes,
    /// It locks the rows it reads.
    LocksRows,
    /// It calls a function that is not built in and so may write.
    CallsUnknownFunction(String),
    /// It calls a function whose value belongs to the connection or the server.
    CallsSessionFunction(String),
    /// It reads a system variable that may differ between servers.
    ReadsServerVariable(String),
    /// It assigns a user variable inside of an expression.
    AssignsUserVariable,
    /// It reads a schema in which every server describes itself.
    ServerSchema(String),
    /// It writes its result to a file or to variables.
    IntoFileOrVariable,
    /// It asks the server about itself.
    ServerState,
    /// It asks about the statement before it.
    LastStatement,
    /// It asks for, or sets, the last generated id.
    LastInsertId,
    /// It takes, releases or looks at a lock with a name.
    UserLock,
    /// It reads or moves a sequence.
    Sequence,
    /// It calls a procedure.
    Procedure,
    /// It creates or drops a temporary table of the connection.
    TemporaryTable,
    /// It takes or releases locks on tables or the server.
    Locks,
    /// It works with an open handler of the connection.
    Handler,
    /// It works with a prepared statement of the connection.
    PreparedStatement,
    /// It begins, ends or marks a transaction that may write.
    Transaction,
    /// It carries a hint that changes variables or resources.
    Hint,
    /// It cannot be read with certainty.
    Malformed,
    /// It is nothing that is known to be a read.
    NotKnownToBeARead,
}

impl Reason {
    /// A stable word for metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Reason::Writes => "writes",
            Reason::LocksRows => "locks_rows",
            Reason::CallsUnknownFunction(_) => "unknown_function",
            Reason::CallsSessionFunction(_) => "session_function",
            Reason::ReadsServerVariable(_) => "server_variable",
            Reason::AssignsUserVariable => "assigns_user_variable",
            Reason::ServerSchema(_) => "server_schema",
            Reason::IntoFileOrVariable => "into",
            Reason::ServerState => "server_state",
            Reason::LastStatement => "last_statement",
            Reason::LastInsertId => "last_insert_id",
            Reason::UserLock => "user_lock",
            Reason::Sequence => "sequence",
            Reason::Procedure => "procedure",
            Reason::TemporaryTable => "temporary_table",
            Reason::Locks => "locks",
            Reason::Handler => "handler",
            Reason::PreparedStatement => "prepared_statement",
            Reason::Transaction => "transaction",
            Reason::Hint => "hint",
            Reason::Malformed => "malformed",
            Reason::NotKnownToBeARead => "not_known_to_be_a_read",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Reason::CallsUnknownFunction(name) => {
                return write!(out, "calls a function that may write: `{name}`");
            }
            Reason::CallsSessionFunction(name) => {
                return write!(out, "calls a function that belongs to the connection or server: `{name}`");
            }
            Reason::ReadsServerVariable(name) => {
                return write!(out, "reads a variable that may differ between servers: `{name}`");
            }
            Reason::ServerSchema(name) => {
                return write!(out, "reads a schema in which every server describes itself: `{name}`");
            }
            Reason::Writes => "changes data, definitions or the server",
            Reason::LocksRows => "locks the rows it reads",
            Reason::AssignsUserVariable => "assigns a user variable in an expression",
            Reason::IntoFileOrVariable => "writes its result to a file or to variables",
            Reason::ServerState => "asks the server about itself",
            Reason::LastStatement => "asks about the statement before it",
            Reason::LastInsertId => "asks for the last generated id",
            Reason::UserLock => "uses a lock with a name",
            Reason::Sequence => "uses a sequence",
            Reason::Procedure => "calls a procedure",
            Reason::TemporaryTable => "creates or drops a temporary table",
            Reason::Locks => "takes or releases locks on tables or the server",
            Reason::Handler => "uses a handler of the connection",
            Reason::PreparedStatement => "uses a prepared statement of the connection",
            Reason::Transaction => "begins, ends or marks a transaction that may write",
            Reason::Hint => "carries a hint that changes variables or resources",
            Reason::Malformed => "cannot be read with certainty",
            Reason::NotKnownToBeARead => "is not known to be a read",
        })
    }
}
