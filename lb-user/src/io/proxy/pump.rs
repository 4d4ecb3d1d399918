//! Moves bytes between a client and its backend, both ways, until both have said all they had to say.
//!
//! Small messages are copied through a buffer that all connections of a thread share; what a reader does not take at once waits in one of the
//! connection's own, which an idle connection does not have. A direction that streams is moved by the kernel, through a pipe (`splice(2)`).
//! One side's end of data is passed on as such, and the other direction goes on. Nothing is read that cannot be passed on. Where a side
//! speaks TLS, what it says is copied in the clear, and nothing goes through a pipe.

use super::pipe::{Pipe, Pipes};
use super::wire::Wire;
use std::cell::RefCell;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::time::{Instant, Sleep};

/// What is read at once. As much as a socket's buffer holds in the common case.
const SCRATCH_BYTES: usize = 64 * 1024;
/// A direction is one that streams after so many reads in a row that filled the buffer.
const FULL_READS: u8 = 2;
/// And is none any more after so many moves in a row that were small.
const SMALL_MOVES: u8 = 8;
/// What is small.
const SMALL_BYTES: usize = 16 * 1024;
/// So often a direction goes on before others have their turn.
const TURNS: u8 = 16;

thread_local! {
    // One for all connections of a thread: it is empty whenever none of them runs.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// Whose silence, or fault, it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Backend,
}

/// How it ended.
#[derive(Debug)]
pub(super) enum End {
    /// Both sides said their last.
    Closed,
    /// A side broke the connection off.
    Reset(Side),
    /// A side was silent for too long.
    Idle(Side),
    /// One side said its last, and the other one nothing more for too long.
    HalfClosed,
}

/// For how long who may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleTimeouts {
    /// The client, while both directions are open.
    pub client: Duration,
    /// The backend, likewise.
    pub backend: Duration,
    /// Both, once one direction is closed.
    pub half_closed: Duration,
}

/// One direction.
#[derive(Default)]
struct Direction {
    /// Read, and not yet taken by the other side: from that position on.
    waiting: Vec<u8>,
    sent: usize,
    pipe: Option<Pipe>,
    full_reads: u8,
    small_moves: u8,
    is_read: bool,
    is_shut: bool,
    bytes: u64,
}

/// Both directions of a connection.
pub(super) struct Pump {
    client: Wire,
    backend: Wire,
    up: Direction,
    down: Direction,
    moved_at: Instant,
    /// One direction is closed, and the time that allows has begun.
    is_half_closed: bool,
}

/// Where a direction broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Reading,
    Writing,
}

/// Bytes that were moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) up_bytes: u64,
    pub(super) down_bytes: u64,
}

impl Moved {
    /// How many more than then, both ways.
    pub(super) const fn since(self, then: Self) -> u64 {
        self.up_bytes - then.up_bytes + (self.down_bytes - then.down_bytes)
    }
}

impl Pump {
    /// A client and a backend, and what goes to the backend, and to the client, before all that the other one says; so much of that was said
    /// by the other one.
    pub(super) fn new((client, backend): (Wire, Wire), (up, down): (Vec<u8>, Vec<u8>), early: Moved) -> Self {
        let beginning = |first, bytes| Direction { waiting: first, bytes, ..Direction::default() };
        Self {
            client,
            backend,
            up: beginning(up, early.up_bytes),
            down: beginning(down, early.down_bytes),
            moved_at: Instant::now(),
            is_half_closed: false,
        }
    }

    /// What ends now is broken off on both sides.
    pub(super) fn reset(&self) {
        self.client.reset();
        self.backend.reset();
    }

    /// The client's socket, and the backend's.
    pub(super) fn sockets(&self) -> (RawFd, RawFd) {
        (self.client.socket(), self.backend.socket())
    }

    pub(super) fn moved(&self) -> Moved {
        Moved { up_bytes: self.up.bytes, down_bytes: self.down.bytes }
    }

    /// When somebody will have been silent for too long, and who.
    pub(super) fn deadline(&self, timeouts: &IdleTimeouts) -> (Instant, End) {
        let IdleTimeouts { client, backend, half_closed } = *timeouts;
        let (after, end) = if self.up.is_shut || self.down.is_shut {
            (half_closed, End::HalfClosed)
        } else if self.down.is_stuck(&self.client) || !self.up.is_stuck(&self.backend) && client <= backend {
            // It does not take what is there for it; or both are silent.
            (client, End::Idle(Side::Client))
        } else {
            (backend, End::Idle(Side::Backend))
        };
        (self.moved_at + after, end)
    }

    /// Moves what there is to move.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, pipes: Pipes) -> Poll<End> {
        let before = self.moved();
        let is_last = self.down.is_shut;
        let up = self.up.poll(cx, (&mut self.client, &mut self.backend), pipes, is_last);
        let is_last = self.up.is_shut;
        let down = self.down.poll(cx, (&mut self.backend, &mut self.client), pipes, is_last);
        if self.moved() != before {
            self.moved_at = Instant::now();
        }
        // Who reads a side's fault is the direction from it, who writes the one to it.
        match (up, down) {
            (Poll::Ready(Err(Fault::Reading)), _) | (_, Poll::Ready(Err(Fault::Writing))) => {
                Poll::Ready(End::Reset(Side::Client))
            }
            (Poll::Ready(Err(Fault::Writing)), _) | (_, Poll::Ready(Err(Fault::Reading))) => {
                Poll::Ready(End::Reset(Side::Backend))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Closed),
            _ => Poll::Pending,
        }
    }

    /// The same until it ends, or somebody is silent for too long.
    pub(super) fn poll_within(
        &mut self,
        cx: &mut Context<'_>,
        pipes: Pipes,
        timeouts: &IdleTimeouts,
        mut sleep: Pin<&mut Sleep>,
    ) -> Poll<End> {
        loop {
            if let Poll::Ready(end) = self.poll(cx, pipes) {
                return Poll::Ready(end);
            }
            if !self.is_half_closed && (self.up.is_shut || self.down.is_shut) {
                self.is_half_closed = true;
                sleep.as_mut().reset(self.deadline(timeouts).0);
            }
            ready!(sleep.as_mut().poll(cx));
            let (deadline, end) = self.deadline(timeouts);
            if Instant::now() >= deadline {
                return Poll::Ready(end);
            }
            sleep.as_mut().reset(deadline);
        }
    }
}

impl Direction {
    /// Whether the reader of this direction has yet to take what was read.
    fn is_stuck(&self, to: &Wire) -> bool {
        let waits = self.sent < self.waiting.len() || self.pipe.as_ref().is_some_and(|pipe| !pipe.is_empty());
        waits || to.has_pending()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (from, to): (&mut Wire, &mut Wire),
        pipes: Pipes,
        is_last: bool,
    ) -> Poll<Result<(), Fault>> {
        if self.is_shut {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..TURNS {
            ready!(self.poll_flush(cx, to))?;
            if self.is_read {
                self.give_pipe_back(pipes);
                if to.end(is_last) {
                    self.is_shut = true;
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            ready!(from.poll_read_ready(cx)).map_err(|_| Fault::Reading)?;
            let moved =
                if self.streams((from, to), pipes) { self.fill_pipe(from) } else { self.copy(from, to) };
            match moved {
                Ok(0) => self.is_read = true,
                Ok(bytes) => self.bytes += bytes as u64,
                Err((Fault::Reading, error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err((fault, _)) => return Poll::Ready(Err(fault)),
            }
        }
        // There may be more, but others wait too.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what waits.
    fn poll_flush(&mut self, cx: &mut Context<'_>, to: &mut Wire) -> Poll<Result<(), Fault>> {
        while self.is_stuck(to) {
            ready!(to.poll_write_ready(cx)).map_err(|_| Fault::Writing)?;
            let sent = match (&mut self.pipe, to.plain()) {
                (Some(pipe), Some(to)) if !pipe.is_empty() => {
                    to.try_io(Interest::WRITABLE, || pipe.drain(to)).map(drop)
                }
                _ if self.sent < self.waiting.len() => {
                    to.try_write(&self.waiting[self.sent..]).map(|bytes| self.sent += bytes)
                }
                _ => to.try_flush(),
            };
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(Fault::Writing)),
            }
        }
        if self.sent > 0 {
            // An idle connection holds no memory.
            self.waiting = Vec::new();
            self.sent = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, and sends what of it the other side takes at once; what is left waits.
    fn copy(&mut self, from: &mut Wire, to: &mut Wire) -> Result<usize, (Fault, io::Error)> {
        SCRATCH.with_borrow_mut(|scratch| {
            let bytes = from.try_read(scratch).map_err(|error| (Fault::Reading, error))?;
            let read = &scratch[..bytes];
            if read.is_empty() {
                return Ok(0);
            }
            if bytes == scratch.len() {
                self.full_reads = self.full_reads.saturating_add(1);
            } else {
                self.full_reads = 0;
                from.was_emptied();
            }
            let sent = match to.try_write(read) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err((Fault::Writing, error)),
            };
            if sent < bytes {
                self.waiting = read[sent..].to_vec();
            }
            Ok(bytes)
        })
    }

    /// Whether what comes goes through a pipe; gets one where that begins, and gives it back where it ends.
    fn streams(&mut self, (from, to): (&Wire, &Wire), pipes: Pipes) -> bool {
        if from.plain().is_none() || to.plain().is_none() {
            return false;
        }
        if self.pipe.is_some() {
            if self.small_moves < SMALL_MOVES {
                return true;
            }
            self.give_pipe_back(pipes);
        } else if self.full_reads >= FULL_READS {
            self.pipe = pipes.take();
            (self.full_reads, self.small_moves) = (0, 0);
        }
        self.pipe.is_some()
    }

    fn fill_pipe(&mut self, from: &Wire) -> Result<usize, (Fault, io::Error)> {
        let (Some(pipe), Some(from)) = (&mut self.pipe, from.plain()) else { return Ok(0) };
        // It is empty, so that what would block is the socket.
        let moved = from.try_io(Interest::READABLE, || pipe.fill(from));
        let bytes = moved.map_err(|error| (Fault::Reading, error))?;
        self.small_moves = if bytes < SMALL_BYTES { self.small_moves.saturating_add(1) } else { 0 };
        Ok(bytes)
    }

    fn give_pipe_back(&mut self, pipes: Pipes) {
        pipes.give_back(self.pipe.take());
    }
}
