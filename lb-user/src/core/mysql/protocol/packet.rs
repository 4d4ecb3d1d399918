//! Packets: the frame that every message of the protocol travels in.
//!
//! Owns the physical header (three bytes of length, one of sequence), the rule that a payload goes on after
//! a packet of 0xffffff bytes, and the basic data types ([`Reader`], [`Writer`]). Never knows what a payload
//! means.

mod reader;
mod scanner;
mod writer;

pub use reader::{ReadError, Reader};
pub use scanner::{PacketScanner, Scanned};
pub use writer::{Writer, frame, frame_into};

/// Bytes of a physical header.
pub const HEADER_LENGTH: usize = 4;

/// The most bytes one physical packet carries. A payload goes on in the next packet when one is this long.
/// MySQL protocol: Protocol Basics, "Sending More Than 16Mb".
pub const MAX_PACKET: usize = 0x00ff_ffff;

/// The header of a physical packet. MySQL protocol: Protocol Basics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload in this physical packet, at most [`MAX_PACKET`].
    pub length: usize,
    /// Counts the packets of one exchange, both directions together, and wraps after 255.
    pub sequence: u8,
}

impl Header {
    /// Reads a header from the first four bytes; `None` while there are fewer.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[low, middle, high, sequence] = bytes.first_chunk()?;
        let length = u32::from_le_bytes([low, middle, high, 0]);
        Some(Self { length: usize::try_from(length).ok()?, sequence })
    }

    /// The header as it stands on the wire. A length over [`MAX_PACKET`] is cut to it.
    pub fn to_bytes(self) -> [u8; HEADER_LENGTH] {
        let length = u32::try_from(self.length.min(MAX_PACKET)).unwrap_or(0x00ff_ffff);
        let [low, middle, high, _] = length.to_le_bytes();
        [low, middle, high, self.sequence]
    }

    /// Whether the payload goes on in the next physical packet.
    pub fn continues(self) -> bool {
        self.length == MAX_PACKET
    }
}

#[cfg(test)]
mod tests;
