//! OK packets, which end most responses and tell of the session.
//!
//! Owns their layout with and without `SESSION_TRACK`, and putting one anew for a client with other wishes.
//! MySQL protocol: `OK_Packet`.

use super::super::capabilities::Capabilities;
use super::super::packet::{ReadError, Reader, Writer};
use super::super::status::StatusFlags;
use super::session::{SessionChange, SessionChanges};

/// A success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OkPacket {
    /// 0x00, or 0xfe where the packet stands for an EOF.
    pub header: u8,
    /// Rows changed (or found: `FOUND_ROWS`).
    pub affected_rows: u64,
    /// The last id that was inserted.
    pub last_insert_id: u64,
    /// Status of the session.
    pub status: StatusFlags,
    /// Warnings of the statement.
    pub warnings: u16,
    /// Words for people.
    pub info: Vec<u8>,
    /// What changed in the session.
    pub changes: SessionChanges,
}

impl OkPacket {
    /// First byte of a success.
    pub const OK: u8 = 0x00;
    /// First byte where the packet ends a result set.
    pub const END_OF_ROWS: u8 = 0xfe;

    /// A plain success with the given status.
    pub fn plain(status: StatusFlags) -> Self {
        Self {
            header: Self::OK,
            affected_rows: 0,
            last_insert_id: 0,
            status,
            warnings: 0,
            info: Vec::new(),
            changes: SessionChanges::default(),
        }
    }

    /// Reads the payload that was sent to a receiver with `capabilities`.
    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, ReadError> {
        let mut reader = Reader::new(payload);
        let mut packet = Self::plain(StatusFlags::default());
        packet.header = reader.u8()?;
        packet.affected_rows = reader.lenenc_int()?;
        packet.last_insert_id = reader.lenenc_int()?;
        packet.status = StatusFlags(reader.u16()?);
        packet.warnings = reader.u16()?;
        if reader.is_empty() {
            return Ok(packet);
        }
        if !capabilities.contains(Capabilities::SESSION_TRACK) {
            packet.info = info_without_tracking(reader.take_rest()).to_vec();
            return Ok(packet);
        }
        packet.info = reader.lenenc_bytes()?.to_vec();
        if packet.status.contains(StatusFlags::SESSION_STATE_CHANGED) && !reader.is_empty() {
            packet.changes = SessionChanges::from_bytes(reader.lenenc_bytes()?);
        }
        Ok(packet)
    }

    /// The payload for a receiver with `capabilities`: for one without `SESSION_TRACK` the changes and the
    /// flag that announces them are left out.
    pub fn encode(&self, capabilities: Capabilities) -> Vec<u8> {
        let mut status = self.status.without(StatusFlags::SESSION_STATE_CHANGED);
        let tracks = capabilities.contains(Capabilities::SESSION_TRACK) && !self.changes.is_empty();
        if tracks {
            status = status | StatusFlags::SESSION_STATE_CHANGED;
        }
        let room = self.info.len().saturating_add(self.changes.as_bytes().len()).saturating_add(24);
        let mut writer = Writer::with_capacity(room);
        writer.u8(self.header).lenenc_int(self.affected_rows).lenenc_int(self.last_insert_id);
        writer.u16(status.0).u16(self.warnings);
        // The documentation says the words go to the end of the packet without SESSION_TRACK; servers send
        // their length in both cases, and client libraries skip one.
        if tracks || !self.info.is_empty() {
            writer.lenenc_bytes(&self.info);
        }
        if tracks {
            writer.lenenc_bytes(self.changes.as_bytes());
        }
        writer.finish()
    }

    /// This packet with the changes for which `keep` holds.
    #[must_use]
    pub fn filtered(mut self, keep: impl FnMut(&SessionChange<'_>) -> bool) -> Self {
        self.changes = self.changes.filtered(keep);
        self
    }
}

/// The words of a packet without session tracking: with a length before them as servers send them, or without
/// one as the documentation has it.
fn info_without_tracking(rest: &[u8]) -> &[u8] {
    let mut reader = Reader::new(rest);
    match reader.lenenc_bytes() {
        Ok(info) if reader.is_empty() => info,
        _ => rest,
    }
}
