//! Following a response in the stream.
//!
//! Owns the place in the stream, and the few bytes of a packet that came in part. Rows are passed on by their
//! headers: no byte of them but the first is looked at, and none is copied but where a slice of the stream
//! ends within the first five bytes of a packet.

use std::borrow::Cow;

use super::super::capabilities::Capabilities;
use super::super::command::Command;
use super::super::packet::{HEADER_LENGTH, Header, MAX_PACKET};
use super::super::status::StatusFlags;
use super::phase::{Found, Machine};
use super::piece::RawPacket;
use super::{ErrPacket, Piece, ResponseError};

/// Finds the pieces and the end of the response to one command.
///
/// The stream may come in slices of any size; the pieces are the same. A packet that must be read (never a
/// row) is held until it is complete: at most 16 MB.
#[derive(Debug, Clone)]
pub struct ResponseTracker {
    machine: Machine,
    capabilities: Capabilities,
    /// The beginning of a packet that is not decided upon or not complete.
    partial: Vec<u8>,
    /// Bytes still to come of the packet that is being passed on.
    skip: usize,
    /// The next packet goes on with the payload of the last one.
    continued: bool,
    rows: u64,
    last_sequence: Option<u8>,
}

/// What to do with the packet at the front.
enum Look {
    /// More bytes are needed to tell.
    More,
    /// Pass it on.
    Pass(Header),
    /// Read it; so many bytes with its header.
    Read(usize),
}

impl ResponseTracker {
    /// A tracker of the response to `command` on a connection with `capabilities`.
    pub fn new(command: Command, capabilities: Capabilities) -> Self {
        Self {
            machine: Machine::new(command, capabilities),
            capabilities,
            partial: Vec::new(),
            skip: 0,
            continued: false,
            rows: 0,
            last_sequence: None,
        }
    }

    /// The capabilities of the connection, which its OK packets follow.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Whether the response is complete. Commands without a response are complete at once.
    pub fn is_done(&self) -> bool {
        self.machine.is_done() && self.skip == 0 && !self.continued && self.partial.is_empty()
    }

    /// Whether the server waits for the file it asked the client for: the client's packets up to and with an
    /// empty one go to the server, outside this tracker.
    pub fn awaits_infile(&self) -> bool {
        self.machine.awaits_infile()
    }

    /// Status flags of the last OK or EOF packet of this response.
    pub fn status(&self) -> Option<StatusFlags> {
        self.machine.status()
    }

    /// Whether rows of this response ended with an EOF, as they do without `DEPRECATE_EOF`. Servers then tell
    /// nobody of the changes the statement made, not even with the next command's OK: the GTID of a write that
    /// ends with rows (`INSERT … RETURNING`, a function that writes) must be asked for.
    pub fn hides_changes(&self) -> bool {
        self.machine.hides_changes()
    }

    /// Rows so far, of all results of the response.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The sequence id of the last packet that began. A packet the proxy itself adds after it has the next.
    pub fn last_sequence(&self) -> Option<u8> {
        self.last_sequence
    }

    /// Whether all the pieces so far end with a complete payload, so that a packet of the proxy itself (an
    /// error in place of the rest) can follow what was passed on.
    pub fn is_between_packets(&self) -> bool {
        self.skip == 0 && !self.continued
    }

    /// Takes the next piece from the front of `input`. `None` when the input is used up or the response is
    /// complete; what is left of the input then belongs to the next response. After an error the connection
    /// is of no more use.
    pub fn next_piece<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, ResponseError> {
        if !self.partial.is_empty() {
            return self.resume(input);
        }
        let all = *input;
        let passed = self.pass(all)?;
        if passed > 0 {
            let (forward, rest) = all.split_at_checked(passed).unwrap_or((all, &[]));
            *input = rest;
            return Ok(Some(Piece::Forward(Cow::Borrowed(forward))));
        }
        if all.is_empty() || self.is_done() {
            return Ok(None);
        }
        if let Look::Read(total) = self.look(all)?
            && let Some((packet, rest)) = all.split_at_checked(total)
        {
            *input = rest;
            return self.read(Cow::Borrowed(packet)).map(Some);
        }
        self.partial.extend_from_slice(all);
        *input = &[];
        Ok(None)
    }

    /// How many bytes at the front can be passed on.
    fn pass(&mut self, all: &[u8]) -> Result<usize, ResponseError> {
        let mut rest = all;
        loop {
            if self.skip > 0 {
                let count = self.skip.min(rest.len());
                self.skip = self.skip.saturating_sub(count);
                rest = rest.get(count..).unwrap_or_default();
            }
            if rest.is_empty() || self.skip > 0 || (self.machine.is_done() && !self.continued) {
                break;
            }
            if self.machine.is_in_rows() && !self.continued {
                rest = self.pass_rows(rest);
            }
            let Look::Pass(header) = self.look(rest)? else { break };
            rest = rest.get(HEADER_LENGTH..).unwrap_or_default();
            self.begin_passing(header, header.length);
        }
        Ok(all.len().saturating_sub(rest.len()))
    }

    /// Skips the rows at the front that are complete and in one packet each: the common case, kept small.
    fn pass_rows<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let mut rest = bytes;
        let mut sequence = self.last_sequence;
        while let Some(&[low, middle, high, number, first]) = rest.first_chunk() {
            let length = u32::from_le_bytes([low, middle, high, 0]);
            let Ok(length) = usize::try_from(length) else { break };
            if first >= super::EofPacket::MARKER || length == 0 || length == MAX_PACKET {
                break;
            }
            let Some(after) = rest.get(HEADER_LENGTH.saturating_add(length)..) else { break };
            sequence = Some(number);
            self.rows = self.rows.saturating_add(1);
            rest = after;
        }
        self.last_sequence = sequence;
        rest
    }

    fn begin_passing(&mut self, header: Header, left: usize) {
        if !self.continued {
            self.rows = self.rows.saturating_add(u64::from(self.machine.is_in_rows()));
            self.machine.passed();
        }
        self.skip = left;
        self.continued = header.continues();
        self.last_sequence = Some(header.sequence);
    }

    fn look(&self, bytes: &[u8]) -> Result<Look, ResponseError> {
        let Some(header) = Header::parse(bytes) else { return Ok(Look::More) };
        if self.continued {
            return Ok(Look::Pass(header));
        }
        let first = bytes.get(HEADER_LENGTH).copied();
        if first.is_none() && header.length > 0 {
            return Ok(Look::More);
        }
        let first = first.filter(|_| header.length > 0);
        if !self.machine.must_read(header.length, first) {
            return Ok(Look::Pass(header));
        }
        if header.continues() {
            return Err(ResponseError::TooLong);
        }
        Ok(Look::Read(HEADER_LENGTH.saturating_add(header.length)))
    }

    /// Goes on with a packet that came in part.
    fn resume<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, ResponseError> {
        loop {
            let wanted = match self.look(&self.partial)? {
                Look::Pass(header) => {
                    let held = std::mem::take(&mut self.partial);
                    let left = HEADER_LENGTH.saturating_add(header.length).saturating_sub(held.len());
                    self.begin_passing(header, left);
                    return Ok(Some(Piece::Forward(Cow::Owned(held))));
                }
                Look::Read(total) => total.saturating_sub(self.partial.len()),
                Look::More => 1,
            };
            if wanted == 0 {
                let held = std::mem::take(&mut self.partial);
                return self.read(Cow::Owned(held)).map(Some);
            }
            if input.is_empty() {
                return Ok(None);
            }
            let (taken, rest) = input.split_at_checked(wanted.min(input.len())).unwrap_or((*input, &[]));
            self.partial.extend_from_slice(taken);
            *input = rest;
        }
    }

    fn read<'a>(&mut self, packet: Cow<'a, [u8]>) -> Result<Piece<'a>, ResponseError> {
        let raw = RawPacket::new(packet);
        self.last_sequence = Some(raw.sequence());
        Ok(match self.machine.read(raw.payload())? {
            Found::ResultSet(count) => Piece::ResultSet(count, raw),
            Found::Ok(packet) => Piece::Ok(packet, raw),
            Found::Eof(packet) => Piece::Eof(packet, raw),
            Found::Err(packet) => Piece::Err(packet, raw),
            Found::Prepared(statement) => Piece::Prepared(statement, raw),
            Found::LocalInfile(name) => Piece::LocalInfile { name, raw },
            Found::Progress => Piece::Progress(raw),
            Found::Login => Piece::Login(raw),
            Found::Text => Piece::Text(raw),
        })
    }

    /// A packet with `error` that can follow what was passed on, in place of the rest of the response:
    /// the session goes on as if the server had sent it. Only where [`Self::is_between_packets`] holds.
    pub fn error_in_place_of_the_rest(&self, error: &ErrPacket) -> Vec<u8> {
        let sequence = self.last_sequence.map_or(1, |last| last.wrapping_add(1));
        super::super::packet::frame(sequence, &error.encode(self.capabilities))
    }
}
