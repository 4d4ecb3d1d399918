//! Capabilities: what client and server agree on in the handshake.
//!
//! Owns the flags, and which of them the proxy offers to a client, passes on to a backend, or keeps for
//! itself. Never offers what would change the stream in a way the proxy does not follow (compression).

mod negotiation;

use std::fmt;
use std::ops::{BitAnd, BitOr};

pub use negotiation::{BackendCapabilitiesError, Flavor, Offer, backend_capabilities, shape};

/// A set of capability flags: the 32 of MySQL (`CLIENT_*`) and above them the 32 MariaDB adds
/// (`MARIADB_CLIENT_*`). MySQL protocol: Capabilities Flags; MariaDB protocol: Connecting.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// The old "long password"; MariaDB since 10.2 reads the bit as "is MySQL": when it is off, the extended
    /// flags are sent.
    pub const MYSQL: Self = Self(1);
    /// Affected rows are the rows found, not the rows changed.
    pub const FOUND_ROWS: Self = Self(1 << 1);
    /// All column flags.
    pub const LONG_FLAG: Self = Self(1 << 2);
    /// A database name is in the handshake response.
    pub const CONNECT_WITH_DB: Self = Self(1 << 3);
    /// `database.table.column` is not allowed.
    pub const NO_SCHEMA: Self = Self(1 << 4);
    /// Compression with zlib.
    pub const COMPRESS: Self = Self(1 << 5);
    /// Nothing since 3.22; some clients set it.
    pub const ODBC: Self = Self(1 << 6);
    /// `LOAD DATA LOCAL INFILE`.
    pub const LOCAL_FILES: Self = Self(1 << 7);
    /// Spaces may stand before the parenthesis of a function.
    pub const IGNORE_SPACE: Self = Self(1 << 8);
    /// The protocol since 4.1.
    pub const PROTOCOL_41: Self = Self(1 << 9);
    /// `interactive_timeout` applies instead of `wait_timeout`.
    pub const INTERACTIVE: Self = Self(1 << 10);
    /// TLS.
    pub const SSL: Self = Self(1 << 11);
    /// The client ignores SIGPIPE: nothing to do with the protocol.
    pub const IGNORE_SIGPIPE: Self = Self(1 << 12);
    /// Status flags are in EOF packets.
    pub const TRANSACTIONS: Self = Self(1 << 13);
    /// Was the number of `PROTOCOL_41` for a while.
    pub const RESERVED: Self = Self(1 << 14);
    /// Passwords as in 4.1 and later.
    pub const SECURE_CONNECTION: Self = Self(1 << 15);
    /// Several statements in one `COM_QUERY`.
    pub const MULTI_STATEMENTS: Self = Self(1 << 16);
    /// Several results of one `COM_QUERY`.
    pub const MULTI_RESULTS: Self = Self(1 << 17);
    /// Several results, and OUT parameters, of one `COM_STMT_EXECUTE`.
    pub const PS_MULTI_RESULTS: Self = Self(1 << 18);
    /// Authentication plugins.
    pub const PLUGIN_AUTH: Self = Self(1 << 19);
    /// Connection attributes.
    pub const CONNECT_ATTRS: Self = Self(1 << 20);
    /// Authentication data of more than 255 bytes in the handshake response.
    pub const PLUGIN_AUTH_LENENC: Self = Self(1 << 21);
    /// The client can change an expired password.
    pub const CAN_HANDLE_EXPIRED_PASSWORDS: Self = Self(1 << 22);
    /// Session state changes are in OK packets.
    pub const SESSION_TRACK: Self = Self(1 << 23);
    /// OK packets stand where EOF packets stood.
    pub const DEPRECATE_EOF: Self = Self(1 << 24);
    /// Column definitions may be left out; a byte says so (MySQL only).
    pub const OPTIONAL_RESULTSET_METADATA: Self = Self(1 << 25);
    /// Compression with zstd.
    pub const ZSTD_COMPRESSION: Self = Self(1 << 26);
    /// Attributes before the text of a query (MySQL ≥ 8.0.23).
    pub const QUERY_ATTRIBUTES: Self = Self(1 << 27);
    /// Several factors of authentication.
    pub const MULTI_FACTOR_AUTHENTICATION: Self = Self(1 << 28);
    /// More flags are to come one day; MariaDB clients of old: progress reports.
    pub const CAPABILITY_EXTENSION: Self = Self(1 << 29);
    /// A client's own note that it verifies the certificate.
    pub const SSL_VERIFY_SERVER_CERT: Self = Self(1 << 30);
    /// A client's own note.
    pub const REMEMBER_OPTIONS: Self = Self(1 << 31);
    /// MariaDB: progress reports.
    pub const MARIADB_PROGRESS: Self = Self(1 << 32);
    /// MariaDB: `COM_MULTI`.
    pub const MARIADB_COM_MULTI: Self = Self(1 << 33);
    /// MariaDB: `COM_STMT_BULK_EXECUTE`.
    pub const MARIADB_STMT_BULK_OPERATIONS: Self = Self(1 << 34);
    /// MariaDB: more about types in column definitions.
    pub const MARIADB_EXTENDED_METADATA: Self = Self(1 << 35);
    /// MariaDB: column definitions a client knows already are left out; a byte says so.
    pub const MARIADB_CACHE_METADATA: Self = Self(1 << 36);
    /// MariaDB ≥ 11.5: a result set of the single results of a bulk execute.
    pub const MARIADB_BULK_UNIT_RESULTS: Self = Self(1 << 37);

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Whether any of `flags` is set.
    pub fn intersects(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// These flags without `flags`.
    #[must_use]
    pub fn without(self, flags: Self) -> Self {
        Self(self.0 & !flags.0)
    }

    /// The flags of MySQL, as they stand in the handshake.
    pub fn low(self) -> u32 {
        let [a, b, c, d, ..] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// The flags MariaDB adds, as they stand in the handshake.
    pub fn extended(self) -> u32 {
        let [_, _, _, _, a, b, c, d] = self.0.to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// A set from both halves.
    pub fn from_halves(low: u32, extended: u32) -> Self {
        Self(u64::from(low) | u64::from(extended) << 32)
    }
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Capabilities {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Capabilities({:#x})", self.0)
    }
}

#[cfg(test)]
mod tests;
