//! Writing the basic data types, and framing a payload.
//!
//! Owns the splitting of long payloads. Never fails: what it writes is ours.

use super::{Header, MAX_PACKET};

/// Builds a payload.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty payload.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty payload with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity) }
    }

    /// The payload.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// `count` zero bytes.
    pub fn zeros(&mut self, count: usize) -> &mut Self {
        self.bytes.resize(self.bytes.len().saturating_add(count), 0);
        self
    }

    /// `int<1>`.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    /// `int<2>`, little endian.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// `int<4>`, little endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    /// Length-encoded integer in its shortest form. MySQL protocol: Basic Data Types.
    pub fn lenenc_int(&mut self, value: u64) -> &mut Self {
        let [first, second, third, ..] = value.to_le_bytes();
        match value {
            0..=0xfa => self.bytes(&[first]),
            0xfb..=0xffff => self.bytes(&[0xfc, first, second]),
            0x1_0000..=0xff_ffff => self.bytes(&[0xfd, first, second, third]),
            _ => self.u8(0xfe).bytes(&value.to_le_bytes()),
        }
    }

    /// Length-encoded string. MySQL protocol: Basic Data Types.
    pub fn lenenc_bytes(&mut self, text: &[u8]) -> &mut Self {
        self.lenenc_int(u64::try_from(text.len()).unwrap_or(u64::MAX)).bytes(text)
    }

    /// String and a zero byte. The text is cut at a zero byte of its own, which would end it for the reader.
    pub fn nul_bytes(&mut self, text: &[u8]) -> &mut Self {
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        self.bytes(text).u8(0)
    }
}

/// Frames `payload` into physical packets at the end of `out`, the first with the sequence id `sequence`.
/// Returns the sequence id of the packet that would follow. A payload whose length is a multiple of
/// [`MAX_PACKET`] ends with an empty packet, as the protocol demands.
pub fn frame_into(out: &mut Vec<u8>, sequence: u8, payload: &[u8]) -> u8 {
    let mut sequence = sequence;
    let mut rest = payload;
    loop {
        let (part, after) = rest.split_at_checked(MAX_PACKET).unwrap_or((rest, &[]));
        out.extend_from_slice(&Header { length: part.len(), sequence }.to_bytes());
        out.extend_from_slice(part);
        sequence = sequence.wrapping_add(1);
        if part.len() < MAX_PACKET {
            return sequence;
        }
        rest = after;
    }
}

/// [`frame_into`] a new vector.
pub fn frame(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len().saturating_add(super::HEADER_LENGTH));
    frame_into(&mut out, sequence, payload);
    out
}
