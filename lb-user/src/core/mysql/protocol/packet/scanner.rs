//! Finding the packets in a stream that comes in arbitrary slices.
//!
//! Owns the place in the stream: which header it stands in, how much of a packet's body is still to come.
//! Never copies a body and never knows what it means.

use super::{HEADER_LENGTH, Header};

/// What [`PacketScanner::scan`] found at the front of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanned<'a> {
    /// A physical packet begins. `continuation` is set when its body goes on with the payload of the packet
    /// before it, so that its first byte means nothing.
    Header {
        /// The header.
        header: Header,
        /// Whether the payload began in an earlier packet.
        continuation: bool,
    },
    /// A piece of the body of the packet whose header came last. `ends_payload` is set on the last piece of
    /// the last packet of a payload; an empty last packet gives an empty piece.
    Body {
        /// The bytes, as many as the input holds.
        bytes: &'a [u8],
        /// Whether the payload is complete with them.
        ends_payload: bool,
    },
}

/// Follows the packets of one direction of a stream.
#[derive(Debug, Clone, Default)]
pub struct PacketScanner {
    partial: [u8; HEADER_LENGTH],
    have: usize,
    current: Option<Header>,
    remaining: usize,
    continuation: bool,
}

impl PacketScanner {
    /// A scanner that stands before the first header.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the scanner stands between two payloads, and not in the midst of one.
    pub fn is_at_boundary(&self) -> bool {
        self.have == 0 && self.current.is_none() && !self.continuation
    }

    /// Takes the next find from the front of `input`; `None` when the input is used up. The bytes of a header
    /// are gone from the input when [`Scanned::Header`] is returned: [`Header::to_bytes`] has them.
    pub fn scan<'a>(&mut self, input: &mut &'a [u8]) -> Option<Scanned<'a>> {
        match self.current {
            Some(header) => self.scan_body(header, input),
            None => self.scan_header(input),
        }
    }

    fn scan_header<'a>(&mut self, input: &mut &'a [u8]) -> Option<Scanned<'a>> {
        let wanted = self.partial.get_mut(self.have..)?;
        let count = wanted.len().min(input.len());
        let (taken, rest) = input.split_at_checked(count)?;
        wanted.get_mut(..count)?.copy_from_slice(taken);
        *input = rest;
        self.have = self.have.saturating_add(count);
        if self.have < HEADER_LENGTH {
            return None;
        }
        let header = Header::parse(&self.partial)?;
        let continuation = self.continuation;
        self.have = 0;
        self.continuation = header.continues();
        self.remaining = header.length;
        self.current = Some(header);
        Some(Scanned::Header { header, continuation })
    }

    fn scan_body<'a>(&mut self, header: Header, input: &mut &'a [u8]) -> Option<Scanned<'a>> {
        if self.remaining > 0 && input.is_empty() {
            return None;
        }
        let count = self.remaining.min(input.len());
        let (bytes, rest) = input.split_at_checked(count)?;
        *input = rest;
        self.remaining = self.remaining.saturating_sub(count);
        if self.remaining == 0 {
            self.current = None;
        }
        Some(Scanned::Body { bytes, ends_payload: self.remaining == 0 && !header.continues() })
    }
}
