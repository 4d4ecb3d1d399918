//! Errors the proxy itself tells a client.
//!
//! Owns their numbers, SQLSTATEs and words. All are errors a server may send: clients refuse numbers from
//! 2000 to 2999, which belong to client libraries.

use super::err::ErrPacket;

/// An error the proxy raises in a server's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerError<'a> {
    /// 1040: no more connections are taken.
    TooManyConnections,
    /// 1043: the login was not understood.
    BadHandshake,
    /// 1045: the password is wrong, or there is no such user.
    AccessDenied {
        /// The user's name as the client gave it.
        user: &'a str,
        /// Where the client comes from.
        host: &'a str,
        /// Whether the client sent a password.
        with_password: bool,
    },
    /// 1047: a command the proxy does not pass on.
    UnknownCommand,
    /// 1053: the proxy or the service shuts down.
    Shutdown,
    /// 1153: a packet is longer than is allowed.
    PacketTooLarge,
    /// 1156: packets are not in the order of their sequence ids.
    PacketsOutOfOrder,
    /// 1243: no statement with this id is prepared.
    UnknownStatement {
        /// The id.
        id: u32,
        /// The command that named it, such as `mysqld_stmt_execute`.
        command: &'a str,
    },
    /// 1251: the client cannot log in by a way the proxy takes.
    AuthNotSupported,
    /// 1290: the option that stands in the way of the statement.
    OptionPrevents(&'a str),
    /// 1792: a change in a transaction that was begun as read only.
    ReadOnlyTransaction,
    /// 1835: a command was not understood.
    MalformedPacket,
    /// 1836: no primary takes writes now.
    ReadOnly,
    /// 1927: the connection behind the session was lost or ended.
    ConnectionKilled,
    /// Another one.
    Other {
        /// Its number.
        code: u16,
        /// Its SQLSTATE.
        sql_state: [u8; 5],
        /// Its words.
        message: &'a str,
    },
}

impl ServerError<'_> {
    /// The packet.
    pub fn packet(&self) -> ErrPacket {
        let (code, sql_state, message): (u16, &[u8; 5], String) = match self {
            Self::TooManyConnections => (1040, b"08004", "Too many connections".into()),
            Self::BadHandshake => (1043, b"08S01", "Bad handshake".into()),
            Self::AccessDenied { user, host, with_password } => {
                let word = if *with_password { "YES" } else { "NO" };
                let message = format!("Access denied for user '{user}'@'{host}' (using password: {word})");
                (1045, b"28000", message)
            }
            Self::UnknownCommand => (1047, b"08S01", "Unknown command".into()),
            Self::Shutdown => (1053, b"08S01", "Server shutdown in progress".into()),
            Self::PacketTooLarge => {
                (1153, b"08S01", "Got a packet bigger than 'max_allowed_packet' bytes".into())
            }
            Self::PacketsOutOfOrder => (1156, b"08S01", "Got packets out of order".into()),
            Self::UnknownStatement { id, command } => {
                (1243, b"HY000", format!("Unknown prepared statement handler ({id}) given to {command}"))
            }
            Self::AuthNotSupported => (
                1251,
                b"08004",
                "Client does not support an authentication protocol the server accepts".into(),
            ),
            Self::OptionPrevents(option) => (
                1290,
                b"HY000",
                format!("The server runs with the {option} option: the statement cannot run"),
            ),
            Self::ReadOnlyTransaction => {
                (1792, b"25006", "Cannot execute statement in a READ ONLY transaction".into())
            }
            Self::MalformedPacket => (1835, b"HY000", "Malformed communication packet".into()),
            Self::ReadOnly => (1836, b"HY000", "Running in read-only mode".into()),
            Self::ConnectionKilled => (1927, b"70100", "Connection was killed".into()),
            Self::Other { code, sql_state, message } => (*code, sql_state, (*message).into()),
        };
        ErrPacket::new(code, *sql_state, message)
    }
}
