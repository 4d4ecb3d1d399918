//! One side of a session: its socket, with or without TLS, and the packets on it.
//!
//! Owns what was read and is not used yet. While nothing is there it keeps no buffer.

use super::super::wire::Wire;
use crate::core::mysql::protocol::packet::{HEADER_LENGTH, Header};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

/// What is read at once; TLS wants as much.
const READ_BYTES: usize = 64 * 1024;
/// A buffer that has grown over this is not kept.
const KEPT_BYTES: usize = 4 * 1024;
/// The longest message: what servers allow at most.
const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// The longest one of somebody who has not proved who he is.
const STRANGERS_BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// A whole message.
pub(super) struct Message {
    /// The sequence id of its last packet.
    pub(super) sequence: u8,
    pub(super) payload: Vec<u8>,
}

pub(super) struct Channel {
    wire: Wire,
    inbox: Vec<u8>,
    used: usize,
    message_bytes_max: usize,
}

impl Channel {
    pub(super) fn new(wire: Wire, first: Vec<u8>) -> Self {
        Self { wire, inbox: first, used: 0, message_bytes_max: MESSAGE_BYTES_MAX }
    }

    /// Of somebody who has not proved who he is.
    pub(super) fn of_a_stranger(wire: Wire, first: Vec<u8>) -> Self {
        Self { message_bytes_max: STRANGERS_BYTES_MAX, ..Self::new(wire, first) }
    }

    /// He has.
    pub(super) fn trust(&mut self) {
        self.message_bytes_max = MESSAGE_BYTES_MAX;
    }

    /// What was read and is not used.
    pub(super) fn unread(&self) -> &[u8] {
        self.inbox.get(self.used..).unwrap_or_default()
    }

    /// So much of it is used.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes).min(self.inbox.len());
        if self.used == self.inbox.len() {
            self.used = 0;
            if self.inbox.capacity() > KEPT_BYTES {
                self.inbox = Vec::new();
            }
            self.inbox.clear();
        }
    }

    /// When it is closed it is broken off.
    pub(super) fn reset(&self) {
        self.wire.reset();
    }

    /// The wire, and what came on it; for TLS, which begins in the midst of a connection.
    pub(super) fn into_parts(self) -> (Wire, Vec<u8>) {
        let rest = self.unread().to_vec();
        (self.wire, rest)
    }

    /// Nothing more comes, as when a client is gone. Servers look whether there is anything to read, a word of TLS included, to see whether one is.
    pub(super) fn stop(&self) {
        self.wire.stop();
    }

    /// Reads more. An end is an error. Nothing is lost where it is given up.
    pub(super) async fn fill(&mut self) -> io::Result<()> {
        if self.used > 0 {
            self.inbox.drain(..self.used);
            self.used = 0;
        }
        let (wire, inbox) = (&mut self.wire, &mut self.inbox);
        poll_fn(|cx| {
            loop {
                std::task::ready!(wire.poll_read_ready(cx))?;
                let read = BUFFER.with_borrow_mut(|buffer| {
                    let bytes = wire.try_read(buffer)?;
                    inbox.extend_from_slice(buffer.get(..bytes).unwrap_or_default());
                    if bytes > 0 && bytes < buffer.len() {
                        wire.was_emptied();
                    }
                    Ok(bytes)
                });
                match read {
                    Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Ok(_) => return Poll::Ready(Ok(())),
                    Err(error) if io::Error::kind(&error) == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
        .await
    }

    /// The next message. Where it is given up, what came of it stays.
    pub(super) async fn message(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = self.take_message()? {
                return Ok(message);
            }
            self.fill().await?;
        }
    }

    fn take_message(&mut self) -> io::Result<Option<Message>> {
        // Its end is found before anything is copied: it may come in many pieces.
        let (mut rest, mut bytes) = (self.unread(), 0_usize);
        let sequence = loop {
            let Some(header) = Header::parse(rest) else { return Ok(None) };
            let packet = HEADER_LENGTH.saturating_add(header.length);
            bytes = bytes.saturating_add(packet);
            if bytes > self.message_bytes_max {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is too long"));
            }
            let Some(after) = rest.get(packet..) else { return Ok(None) };
            rest = after;
            if !header.continues() {
                break header.sequence;
            }
        };
        let mut payload = Vec::with_capacity(bytes);
        let mut rest = self.unread().get(..bytes).unwrap_or_default();
        while let Some(header) = Header::parse(rest) {
            let (packet, after) = rest.split_at(HEADER_LENGTH.saturating_add(header.length).min(rest.len()));
            payload.extend_from_slice(packet.get(HEADER_LENGTH..).unwrap_or_default());
            rest = after;
        }
        self.consume(bytes);
        Ok(Some(Message { sequence, payload }))
    }

    /// The next physical packet as it is; `true` with the last one of a file, which is empty.
    pub(super) async fn raw_packet(&mut self) -> io::Result<(Vec<u8>, bool)> {
        loop {
            if let Some(header) = Header::parse(self.unread())
                && let Some(packet) = self.unread().get(..HEADER_LENGTH.saturating_add(header.length))
            {
                let packet = packet.to_vec();
                self.consume(packet.len());
                return Ok((packet, header.length == 0));
            }
            self.fill().await?;
        }
    }

    /// Sends all of it.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (wire, mut rest) = (&mut self.wire, bytes);
        poll_fn(|cx| {
            loop {
                let sent = match rest.is_empty() {
                    true if !wire.has_pending() => return Poll::Ready(Ok(())),
                    true => wire.try_flush().map(|()| 0),
                    false => wire.try_write(rest),
                };
                match sent {
                    Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        std::task::ready!(wire.poll_write_ready(cx))?;
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
        })
        .await
    }
}
