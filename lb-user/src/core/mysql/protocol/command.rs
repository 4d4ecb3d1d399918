//! Commands: what a client asks for.
//!
//! Owns the command bytes and the layout of the commands the proxy must understand. Never knows SQL.

mod execute;
mod query;
mod statement;

use thiserror::Error;

use super::packet::ReadError;

pub use execute::{BulkExecute, Execute};
pub use query::{Query, StatementText, multi_statements_option};
pub use statement::{LAST_PREPARED, put_statement_id, statement_id};

/// The first byte of a command's payload. MySQL protocol: Command Phase, `enum_server_command`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Command {
    /// 0x01: the client leaves. No response.
    Quit,
    /// 0x02: change the current database.
    InitDb,
    /// 0x03: run the text.
    Query,
    /// 0x04: columns of a table (old).
    FieldList,
    /// 0x05: create a database (old).
    CreateDb,
    /// 0x06: drop a database (old).
    DropDb,
    /// 0x07: flush something (old).
    Refresh,
    /// 0x08: shut the server down (old).
    Shutdown,
    /// 0x09: a line of figures.
    Statistics,
    /// 0x0a: the list of processes (old).
    ProcessInfo,
    /// 0x0c: end a connection (old).
    ProcessKill,
    /// 0x0d: write debugging facts to the log.
    Debug,
    /// 0x0e: is the server alive.
    Ping,
    /// 0x11: log in anew.
    ChangeUser,
    /// 0x12: replication.
    BinlogDump,
    /// 0x13: replication (old).
    TableDump,
    /// 0x15: replication.
    RegisterReplica,
    /// 0x16: prepare a statement.
    StmtPrepare,
    /// 0x17: execute a prepared statement.
    StmtExecute,
    /// 0x18: part of a parameter's value. No response.
    StmtSendLongData,
    /// 0x19: forget a prepared statement. No response.
    StmtClose,
    /// 0x1a: forget a statement's long data and cursor.
    StmtReset,
    /// 0x1b: switch multi-statements on or off.
    SetOption,
    /// 0x1c: rows of a cursor.
    StmtFetch,
    /// 0x1e: replication with GTIDs.
    BinlogDumpGtid,
    /// 0x1f: a fresh session without a new login.
    ResetConnection,
    /// 0x20: clone a server.
    Clone,
    /// 0xfa: execute a prepared statement with many sets of parameters (MariaDB).
    StmtBulkExecute,
    /// 0xfe: several commands at once (MariaDB).
    Multi,
    /// Another byte.
    Other(u8),
}

/// Why a command was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandError {
    /// A field is broken.
    #[error("a command is malformed: {0}")]
    Malformed(#[from] ReadError),
    /// The payload is of another command.
    #[error("a command begins with 0x{0:02x}, another was expected")]
    Another(u8),
    /// A parameter has a type no server knows.
    #[error("a parameter has the unknown type {0}")]
    ParameterType(u8),
    /// The query carries attributes in more than one set, or without their types.
    #[error("a query's attributes are not in one complete set")]
    AttributeSets,
    /// The types to put in are for another number of parameters.
    #[error("the types of the parameters do not fit their number")]
    Types,
}

/// All commands with a byte of their own.
const COMMANDS: [(u8, Command); 29] = [
    (0x01, Command::Quit),
    (0x02, Command::InitDb),
    (0x03, Command::Query),
    (0x04, Command::FieldList),
    (0x05, Command::CreateDb),
    (0x06, Command::DropDb),
    (0x07, Command::Refresh),
    (0x08, Command::Shutdown),
    (0x09, Command::Statistics),
    (0x0a, Command::ProcessInfo),
    (0x0c, Command::ProcessKill),
    (0x0d, Command::Debug),
    (0x0e, Command::Ping),
    (0x11, Command::ChangeUser),
    (0x12, Command::BinlogDump),
    (0x13, Command::TableDump),
    (0x15, Command::RegisterReplica),
    (0x16, Command::StmtPrepare),
    (0x17, Command::StmtExecute),
    (0x18, Command::StmtSendLongData),
    (0x19, Command::StmtClose),
    (0x1a, Command::StmtReset),
    (0x1b, Command::SetOption),
    (0x1c, Command::StmtFetch),
    (0x1e, Command::BinlogDumpGtid),
    (0x1f, Command::ResetConnection),
    (0x20, Command::Clone),
    (0xfa, Command::StmtBulkExecute),
    (0xfe, Command::Multi),
];

impl Command {
    /// The command with this byte.
    pub fn from_byte(byte: u8) -> Self {
        COMMANDS.iter().find(|(code, _)| *code == byte).map_or(Self::Other(byte), |(_, command)| *command)
    }

    /// The command of a payload; `None` of an empty one.
    pub fn of(payload: &[u8]) -> Option<Self> {
        payload.first().copied().map(Self::from_byte)
    }

    /// The command's byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Other(byte) => byte,
            known => COMMANDS.iter().find(|(_, command)| *command == known).map_or(0, |(code, _)| *code),
        }
    }

    /// Whether a server answers the command.
    pub fn has_response(self) -> bool {
        !matches!(self, Self::Quit | Self::StmtClose | Self::StmtSendLongData)
    }

    /// Whether the command names a prepared statement by its id, which stands right after the command's byte.
    pub fn names_statement(self) -> bool {
        matches!(
            self,
            Self::StmtExecute
                | Self::StmtSendLongData
                | Self::StmtClose
                | Self::StmtReset
                | Self::StmtFetch
                | Self::StmtBulkExecute
        )
    }

    /// Whether the proxy can pass the command on: its response is known to end. Replication, cloning,
    /// `COM_MULTI` and what no server documents are not.
    pub fn can_be_passed_on(self) -> bool {
        !matches!(
            self,
            Self::BinlogDump
                | Self::BinlogDumpGtid
                | Self::TableDump
                | Self::RegisterReplica
                | Self::Clone
                | Self::Multi
                | Self::Other(_)
        )
    }
}

#[cfg(test)]
mod tests;
