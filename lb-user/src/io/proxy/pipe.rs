//! Pipes that bytes go through inside the kernel, from one socket to another.
//!
//! Owns them, and those of a thread that are not in use. Empty ones only are given back and taken.

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// What a pipe is to hold: more lets fewer system calls move more, and costs memory only while it is full.
const PIPE_BYTES: usize = 256 * 1024;
/// What is no help any more.
const PIPE_BYTES_MIN: i32 = 64 * 1024;
/// Pipes that a thread keeps for the next connection that streams.
const KEPT_MAX: usize = 32;

/// A pipe.
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    bytes: usize,
}

impl Pipe {
    fn new() -> nix::Result<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // Where the kernel does not allow so much, its default has to do; but not the little that it gives who has many already
        // (`fs.pipe-user-pages-soft`): then copying is faster.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES as i32));
        if fcntl(&write, FcntlArg::F_GETPIPE_SZ)? < PIPE_BYTES_MIN {
            return Err(Errno::EPERM);
        }
        Ok(Self { read, write, bytes: 0 })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes in what a socket has, while the pipe is empty; 0 is the end of its data.
    pub(super) fn fill(&mut self, from: impl AsFd) -> io::Result<usize> {
        let bytes = splice(from, None, &self.write, None, PIPE_BYTES, flags())?;
        self.bytes += bytes;
        Ok(bytes)
    }

    /// Gives a socket what it takes of what is in the pipe.
    pub(super) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let bytes = splice(&self.read, None, to, None, self.bytes, flags())?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Ok(bytes)
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
}

thread_local! {
    static KEPT: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// Where connections get pipes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pipes {
    /// Whether there are any: without, everything is copied.
    pub(super) are_used: bool,
}

impl Pipes {
    /// One that is empty; `None`: there is none to be had, and copying has to do.
    pub(super) fn take(self) -> Option<Pipe> {
        if !self.are_used {
            return None;
        }
        KEPT.with_borrow_mut(Vec::pop).or_else(|| Pipe::new().ok())
    }

    pub(super) fn give_back(self, pipe: Option<Pipe>) {
        if let Some(pipe) = pipe.filter(Pipe::is_empty) {
            KEPT.with_borrow_mut(|kept| {
                if kept.len() < KEPT_MAX {
                    kept.push(pipe);
                }
            });
        }
    }
}
