//! The packet that begins a result set.
//!
//! Owns the count of columns and the byte that says whether their definitions follow. MySQL protocol: Text
//! Resultset; MariaDB protocol: Result Set Packets.

use super::super::capabilities::Capabilities;
use super::super::packet::{ReadError, Reader};

/// How many columns a result set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnCount {
    /// Columns, at least 1.
    pub columns: u64,
    /// Whether their definitions follow. They may be left out when the client asked for
    /// `OPTIONAL_RESULTSET_METADATA` (MySQL) or `MARIADB_CACHE_METADATA`.
    pub metadata_follows: bool,
}

impl ColumnCount {
    /// Reads the payload.
    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, ReadError> {
        let mut reader = Reader::new(payload);
        let columns = reader.lenenc_int()?;
        let optional = Capabilities::OPTIONAL_RESULTSET_METADATA | Capabilities::MARIADB_CACHE_METADATA;
        let metadata_follows = match capabilities.intersects(optional) {
            true => reader.u8()? != 0,
            false => true,
        };
        Ok(Self { columns, metadata_follows })
    }
}
