//! ERR packets, and MariaDB's progress reports, which look like them.
//!
//! Owns their layout. MySQL protocol: `ERR_Packet`.

use super::super::capabilities::Capabilities;
use super::super::packet::{ReadError, Reader, Writer};

/// The code with which MariaDB marks a report of progress, which ends nothing.
pub const PROGRESS_CODE: u16 = 0xffff;

/// An error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrPacket {
    /// The error's number.
    pub code: u16,
    /// SQLSTATE; `None` in errors sent before the capabilities are known, and of servers before 4.1.
    pub sql_state: Option<[u8; 5]>,
    /// What went wrong, for people.
    pub message: Vec<u8>,
}

impl ErrPacket {
    /// First byte of the payload.
    pub const MARKER: u8 = 0xff;

    /// An error with a SQLSTATE.
    pub fn new(code: u16, sql_state: [u8; 5], message: impl Into<Vec<u8>>) -> Self {
        Self { code, sql_state: Some(sql_state), message: message.into() }
    }

    /// Reads the payload. The SQLSTATE is told by its `#`, whatever the capabilities.
    pub fn parse(payload: &[u8]) -> Result<Self, ReadError> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let code = reader.u16()?;
        let mut sql_state = None;
        if reader.peek() == Some(b'#') && reader.remaining() >= 6 {
            reader.u8()?;
            sql_state = Some(reader.array()?);
        }
        Ok(Self { code, sql_state, message: reader.take_rest().to_vec() })
    }

    /// The payload for a receiver with `capabilities`. Without `PROTOCOL_41` (also: before they are known)
    /// there is no SQLSTATE.
    pub fn encode(&self, capabilities: Capabilities) -> Vec<u8> {
        let mut writer = Writer::with_capacity(self.message.len().saturating_add(9));
        writer.u8(Self::MARKER).u16(self.code);
        if capabilities.contains(Capabilities::PROTOCOL_41) {
            writer.u8(b'#').bytes(&self.sql_state.unwrap_or(*b"HY000"));
        }
        writer.bytes(&self.message);
        writer.finish()
    }

    /// Whether a payload that begins with the marker is a report of progress, to a client that asked for them.
    pub fn is_progress(payload: &[u8], capabilities: Capabilities) -> bool {
        let asked = Capabilities::MARIADB_PROGRESS;
        capabilities.contains(asked) && payload.get(1..3) == Some(&PROGRESS_CODE.to_le_bytes())
    }
}
