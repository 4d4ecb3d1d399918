//! What the proxy offers to clients and asks of backends.
//!
//! Owns the sorting of the flags: those that give the stream its shape (they must be the same on both sides,
//! as responses are passed on byte for byte), those that change what a statement means (they too), and those
//! that concern one hop only. Never sees a connection.

use thiserror::Error;

use super::super::handshake::InitialHandshake;
use super::Capabilities;

/// Which server a backend is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// MySQL, and what calls itself so.
    MySql,
    /// MariaDB.
    MariaDb,
}

impl Flavor {
    /// Tells the servers apart by the version string and the bit MariaDB leaves off.
    pub fn of(handshake: &InitialHandshake) -> Self {
        let named = handshake.server_version.windows(7).any(|part| part.eq_ignore_ascii_case(b"mariadb"));
        match named || !handshake.capabilities.contains(Capabilities::MYSQL) {
            true => Self::MariaDb,
            false => Self::MySql,
        }
    }
}

/// Flags that decide the layout of commands and responses after the login.
const STREAM: Capabilities = Capabilities(
    Capabilities::LONG_FLAG.0
        | Capabilities::PROTOCOL_41.0
        | Capabilities::TRANSACTIONS.0
        | Capabilities::MULTI_RESULTS.0
        | Capabilities::PS_MULTI_RESULTS.0
        | Capabilities::DEPRECATE_EOF.0
        | Capabilities::OPTIONAL_RESULTSET_METADATA.0
        | Capabilities::QUERY_ATTRIBUTES.0
        | Capabilities::MARIADB_PROGRESS.0
        | Capabilities::MARIADB_STMT_BULK_OPERATIONS.0
        | Capabilities::MARIADB_EXTENDED_METADATA.0
        | Capabilities::MARIADB_BULK_UNIT_RESULTS.0,
);

/// Flags that decide what a server makes of a statement.
const MEANING: Capabilities = Capabilities(
    Capabilities::FOUND_ROWS.0
        | Capabilities::NO_SCHEMA.0
        | Capabilities::ODBC.0
        | Capabilities::LOCAL_FILES.0
        | Capabilities::IGNORE_SPACE.0
        | Capabilities::INTERACTIVE.0
        | Capabilities::MULTI_STATEMENTS.0
        | Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS.0,
);

/// Flags that say which flags there are: the same on both sides, so that a server takes the proxy for a
/// client of the same kind.
const KIND: Capabilities = Capabilities::MYSQL;

/// Flags of the login, which the proxy holds with each side for itself.
const LOGIN: Capabilities = Capabilities(
    Capabilities::CONNECT_WITH_DB.0
        | Capabilities::SECURE_CONNECTION.0
        | Capabilities::PLUGIN_AUTH.0
        | Capabilities::CONNECT_ATTRS.0
        | Capabilities::PLUGIN_AUTH_LENENC.0
        | Capabilities::IGNORE_SIGPIPE.0,
);

/// The part of a client's capabilities that a backend connection must share with it. Connections of the same
/// user with the same shape can take each other's place.
pub fn shape(client: Capabilities) -> Capabilities {
    // MULTI_STATEMENTS implies MULTI_RESULTS for every server: both notations are one shape.
    let implied = match client.contains(Capabilities::MULTI_STATEMENTS) {
        true => Capabilities::MULTI_RESULTS,
        false => Capabilities::default(),
    };
    (client | implied) & (STREAM | MEANING | KIND)
}

/// What the proxy puts in its initial handshake, made from the sample of a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The flags to offer.
    pub capabilities: Capabilities,
    /// The server behind the proxy.
    pub flavor: Flavor,
}

impl Offer {
    /// What can be offered in front of the backend that sent `sample`; `tls` says whether the proxy has a
    /// certificate for its clients.
    pub fn new(sample: &InitialHandshake, tls: bool) -> Self {
        let passed = sample.capabilities & (STREAM | MEANING | KIND | Capabilities::SESSION_TRACK);
        let tls = if tls { Capabilities::SSL } else { Capabilities::default() };
        let capabilities = passed | LOGIN | Capabilities::PROTOCOL_41 | tls;
        Self { capabilities, flavor: Flavor::of(sample) }
    }

    /// What holds with a client that sent `client` in its handshake response. A client that says it is a MySQL
    /// client has no extended flags, whatever the bytes say.
    pub fn negotiated(self, client: Capabilities) -> Capabilities {
        let common = self.capabilities & client;
        match client.contains(Capabilities::MYSQL) {
            true => Capabilities::from_halves(common.low(), 0) | (client & Capabilities::MYSQL),
            false => common,
        }
    }
}

/// Why a backend cannot serve a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BackendCapabilitiesError {
    /// The backend lacks what the client was promised: its responses would not fit the client.
    #[error("the backend lacks capabilities the client was promised: {0:?}")]
    Lacking(Capabilities),
}

/// What to ask of the backend that sent `backend` for a client with the negotiated flags `client`.
/// Session tracking is always asked for: [`super::super::response::OkPacket::encode`] takes it out again for a
/// client that did not. TLS is set when `tls`, and a database when `database`.
pub fn backend_capabilities(
    client: Capabilities,
    backend: &InitialHandshake,
    tls: bool,
    database: bool,
) -> Result<Capabilities, BackendCapabilitiesError> {
    let wanted = shape(client);
    // Bit 0 is a client's own statement. What changes the meaning of statements only, such as local files that
    // one backend does not allow, is the backend's to refuse.
    let lacking = (wanted & STREAM).without(backend.capabilities);
    if lacking != Capabilities::default() {
        return Err(BackendCapabilitiesError::Lacking(lacking));
    }
    let mut asked = wanted | (backend.capabilities & (LOGIN | Capabilities::SESSION_TRACK));
    asked = asked | Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
    if Flavor::of(backend) == Flavor::MySql {
        asked = asked | Capabilities::MYSQL;
    }
    if !database {
        asked = asked.without(Capabilities::CONNECT_WITH_DB);
    }
    Ok(if tls { asked | Capabilities::SSL } else { asked })
}
