//! What a statement is.
//!
//! Owns the shapes the classifier hands to its caller; it never decides anything.

/// `READ ONLY` or `READ WRITE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// `READ ONLY`.
    ReadOnly,
    /// `READ WRITE`.
    ReadWrite,
}

/// A transaction isolation level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// `READ UNCOMMITTED`.
    ReadUncommitted,
    /// `READ COMMITTED`.
    ReadCommitted,
    /// `REPEATABLE READ`.
    RepeatableRead,
    /// `SERIALIZABLE`.
    Serializable,
}

/// For whom `SET TRANSACTION` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The next transaction only.
    Next,
    /// The session.
    Session,
    /// Sessions to come.
    Global,
}

/// What `KILL` ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kill {
    /// A connection.
    Connection,
    /// The statement a connection runs.
    Query,
    /// A user's connections, or a query by its query id (MariaDB).
    Other,
}

/// Where the text of a prepared statement comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrepareSource {
    /// A string: the text with its escapes resolved.
    Literal(Vec<u8>),
    /// A user variable: its lower-case name.
    UserVariable(String),
    /// Any other expression (MariaDB).
    Expression,
}

/// A table that changes its name; schemas are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The old name.
    pub from: String,
    /// The new name.
    pub to: String,
}

/// What a statement is, with what the session must know of it.
///
/// Names of tables, schemas and handlers are as written, without quotes. Names of savepoints, prepared statements
/// and variables are lower case, because they are compared without case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// White space and comments only. The server answers with an error.
    Empty,
    /// SELECT, SHOW, EXPLAIN and the like, also those that belong to the primary.
    Read,
    /// Everything that is none of the others.
    Write,
    /// `BEGIN`, `START TRANSACTION`; not `BEGIN NOT ATOMIC`.
    Begin {
        /// `READ ONLY` or `READ WRITE` if it was said.
        access: Option<Access>,
        /// `WITH CONSISTENT SNAPSHOT`.
        consistent_snapshot: bool,
    },
    /// `COMMIT`.
    Commit {
        /// `AND CHAIN`, `AND NO CHAIN`; `None`: the variable `completion_type` decides.
        chain: Option<bool>,
        /// `RELEASE`, `NO RELEASE`.
        release: Option<bool>,
    },
    /// `ROLLBACK` of the whole transaction.
    Rollback {
        /// `AND CHAIN`, `AND NO CHAIN`.
        chain: Option<bool>,
        /// `RELEASE`, `NO RELEASE`.
        release: Option<bool>,
    },
    /// `SAVEPOINT name`.
    Savepoint {
        /// Its name.
        name: String,
    },
    /// `ROLLBACK TO name`.
    RollbackTo {
        /// The savepoint's name.
        name: String,
    },
    /// `RELEASE SAVEPOINT name`.
    ReleaseSavepoint {
        /// The savepoint's name.
        name: String,
    },
    /// Any XA statement.
    Xa,
    /// `SET [SESSION | GLOBAL] TRANSACTION`.
    SetTransaction {
        /// For whom.
        scope: Scope,
        /// `READ ONLY` or `READ WRITE` if it was said.
        access: Option<Access>,
        /// The isolation level if it was said.
        isolation: Option<Isolation>,
    },
    /// `SET`, item by item in their order.
    Set(Vec<Assignment>),
    /// `USE schema`.
    Use {
        /// Its name.
        schema: String,
    },
    /// `PREPARE name FROM source`.
    Prepare {
        /// Its name.
        name: String,
        /// Its text.
        source: PrepareSource,
    },
    /// `EXECUTE name [USING …]`.
    Execute {
        /// The prepared statement's name.
        name: String,
        /// The user variables that are its parameters.
        using: Vec<String>,
    },
    /// `EXECUTE IMMEDIATE source` (MariaDB).
    ExecuteImmediate {
        /// The text to run.
        source: PrepareSource,
    },
    /// `DEALLOCATE PREPARE name`, `DROP PREPARE name`.
    Deallocate {
        /// The prepared statement's name.
        name: String,
    },
    /// `CREATE TEMPORARY TABLE name`. The connection holds it from here on.
    CreateTemporaryTable {
        /// The last part of its name.
        name: String,
    },
    /// `DROP [TEMPORARY] TABLE …`.
    DropTable {
        /// The last parts of their names.
        names: Vec<String>,
        /// `TEMPORARY` was said.
        temporary: bool,
    },
    /// `RENAME TABLE`, and `ALTER TABLE … RENAME`: a temporary table may have another name from here on.
    RenameTables(Vec<Rename>),
    /// `LOCK TABLES`. The connection holds the locks.
    LockTables,
    /// `UNLOCK TABLES`.
    UnlockTables,
    /// `FLUSH TABLES … WITH READ LOCK`, `… FOR EXPORT`; `UNLOCK TABLES` ends it.
    FlushTablesWithLock,
    /// `LOCK INSTANCE FOR BACKUP` (MySQL).
    LockInstance,
    /// `UNLOCK INSTANCE` (MySQL).
    UnlockInstance,
    /// `BACKUP STAGE`, `BACKUP LOCK`, `BACKUP UNLOCK` (MariaDB). The connection holds the stage or lock.
    Backup,
    /// `HANDLER table OPEN`. The connection holds it.
    HandlerOpen {
        /// The alias, or the last part of the table's name.
        name: String,
    },
    /// `HANDLER name READ`.
    HandlerRead {
        /// The handler's name.
        name: String,
    },
    /// `HANDLER name CLOSE`.
    HandlerClose {
        /// The handler's name.
        name: String,
    },
    /// `KILL`.
    Kill {
        /// What it ends.
        what: Kill,
        /// The connection's number when it is written as one.
        id: Option<u64>,
    },
    /// `CALL`.
    Call,
    /// `DO`.
    Do,
    /// `LOAD DATA LOCAL`, `LOAD XML LOCAL`: the server asks the client for the file.
    LoadDataLocal,
}

/// One item of `SET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What is set.
    pub target: Target,
    /// To what.
    pub value: Value,
}

/// What an item of `SET` sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `@name`, lower case.
    UserVariable(String),
    /// A system variable of the session, lower case.
    Session(String),
    /// `GLOBAL`, lower case.
    Global(String),
    /// `PERSIST`, `PERSIST_ONLY`, lower case.
    Persist(String),
    /// `NAMES`; the value is the character set.
    Names {
        /// `COLLATE`, lower case.
        collation: Option<String>,
    },
    /// `CHARACTER SET`, `CHARSET`; the value is the character set. Also sets the collation of the connection to
    /// that of the default schema.
    CharacterSet,
    /// `SET PASSWORD`: an account changes.
    Password,
    /// `SET ROLE`: the session's roles.
    Role,
    /// `SET DEFAULT ROLE`: an account changes.
    DefaultRole,
    /// `SET RESOURCE GROUP`: a thread of the server changes.
    ResourceGroup,
    /// Something else, or nothing the grammar knows.
    Other,
}

/// What an item of `SET` sets it to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A literal that gives the same value on every server.
    Literal {
        /// A word in lower case, a string without quotes and escapes, a number as written.
        text: String,
        /// The value as it was written, fit to be sent again under the same `sql_mode` and character set.
        sql: Vec<u8>,
    },
    /// Anything else: its value is known only to the server that runs it.
    Expression,
}
