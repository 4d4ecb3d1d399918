//! EOF packets, which end columns and rows for clients without `DEPRECATE_EOF`.
//!
//! Owns their layout. MySQL protocol: `EOF_Packet`.

use super::super::packet::{ReadError, Reader, Writer};
use super::super::status::StatusFlags;

/// The end of columns or of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EofPacket {
    /// Warnings of the statement.
    pub warnings: u16,
    /// Status of the session.
    pub status: StatusFlags,
}

impl EofPacket {
    /// First byte of the payload.
    pub const MARKER: u8 = 0xfe;

    /// A payload that begins with the marker and is shorter than this is an EOF packet; a longer one is a row
    /// whose first value is long.
    pub const LENGTH_LIMIT: usize = 9;

    /// Reads the payload of the protocol since 4.1.
    pub fn parse(payload: &[u8]) -> Result<Self, ReadError> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        Ok(Self { warnings: reader.u16()?, status: StatusFlags(reader.u16()?) })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(5);
        writer.u8(Self::MARKER).u16(self.warnings).u16(self.status.0);
        writer.finish()
    }
}
