//! One side of a connection: its socket and, where TLS ends here, the session over it.
//!
//! Reads and writes what the other side of the pump has to say, whichever of the two it is. What a session has encrypted and the socket did not
//! take yet waits in the session, and nothing more is encrypted before it is gone. Ciphertext is read into a buffer that all connections of
//! a thread share. An end that was not announced (`close_notify`) is an error: what came before it may not be all.

use rustls::Connection;
use socket2::SockRef;
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd as _, RawFd};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The largest record there is, with its header (RFC 8446 §5.2, RFC 5246 §6.2.3).
const RECORD_BYTES_MAX: usize = 5 + 16_384 + 2048;
/// What is read of ciphertext at once.
const CIPHERTEXT_BYTES: usize = 64 * 1024;

thread_local! {
    static CIPHERTEXT: RefCell<Box<[u8]>> = RefCell::new(vec![0; CIPHERTEXT_BYTES].into_boxed_slice());
}

/// A session whose handshake is over.
pub(super) struct Session {
    connection: Connection,
    /// The other side has said that nothing more comes.
    has_ended: bool,
    /// We have.
    has_closed: bool,
}

/// A side.
pub(super) struct Wire {
    tcp: TcpStream,
    session: Option<Box<Session>>,
}

impl Wire {
    pub(super) fn new(tcp: TcpStream, session: Option<Box<Session>>) -> Self {
        Self { tcp, session }
    }

    /// The socket's number.
    pub(super) fn socket(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }

    /// The socket, for TLS that begins now.
    pub(super) fn into_socket(self) -> TcpStream {
        self.tcp
    }

    /// The socket, where what is on it is what is said: the kernel may move it.
    pub(super) fn plain(&self) -> Option<&TcpStream> {
        self.session.is_none().then_some(&self.tcp)
    }

    /// When it is closed it is broken off.
    pub(super) fn reset(&self) {
        super::connection::reset(&self.tcp);
    }

    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.session.as_ref().is_some_and(|session| session.has_ended) {
            return Poll::Ready(Ok(()));
        }
        self.tcp.poll_read_ready(cx)
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp.poll_write_ready(cx)
    }

    /// Reads what there is; 0 is an orderly end. The buffer must be one of 64 KiB at least.
    pub(super) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.tcp.try_read(into),
            Some(session) => session.try_read(&self.tcp, into),
        }
    }

    /// Nothing more is there, as a read that did not fill its buffer has shown: what comes later is told anew, an end included. Saves the
    /// read that would find nothing.
    pub(super) fn was_emptied(&self) {
        if self.session.is_none() {
            empty(&self.tcp);
        }
    }

    /// Takes as much as there is room for.
    pub(super) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.tcp.try_write(bytes),
            Some(session) => session.try_write(&self.tcp, bytes),
        }
    }

    /// Whether there is ciphertext that the socket did not take yet.
    pub(super) fn has_pending(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.connection.wants_write())
    }

    /// Gives it to the socket; `WouldBlock` where it does not take all.
    pub(super) fn try_flush(&mut self) -> io::Result<()> {
        self.session.as_mut().map_or(Ok(()), |session| session.try_flush(&self.tcp))
    }

    /// Says that nothing more comes, once all before it is gone; whether that is done. If not, there is something to flush first. Where it is
    /// the last that is said on the whole connection, closing the socket says it.
    pub(super) fn end(&mut self, is_last: bool) -> bool {
        if let Some(session) = &mut self.session
            && !std::mem::replace(&mut session.has_closed, true)
        {
            session.connection.send_close_notify();
            return false;
        }
        if !is_last {
            self.stop();
        }
        true
    }

    /// Nothing more comes, as when whoever is there is gone: nothing of TLS is said either.
    pub(super) fn stop(&self) {
        // One that is closed already needs to hear nothing.
        let _ = SockRef::from(&self.tcp).shutdown(Shutdown::Write);
    }
}

impl Session {
    /// Of a connection whose handshake is over, and what came with its end.
    pub(super) fn begin(mut connection: Connection) -> io::Result<(Self, Vec<u8>)> {
        let mut first = Vec::new();
        let has_ended = match connection.reader().read_to_end(&mut first) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => return Err(error),
        };
        Ok((Self { connection, has_ended, has_closed: false }, first))
    }

    /// Says that nothing more comes, if that goes at once.
    pub(super) fn close(&mut self, tcp: &TcpStream) {
        self.connection.send_close_notify();
        // Whether it arrives is the other side's concern.
        let _ = self.try_flush(tcp);
    }

    fn try_read(&mut self, tcp: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
        if self.has_ended {
            return Ok(0);
        }
        CIPHERTEXT.with_borrow_mut(|ciphertext| {
            // No more than has room in the clear, with what came of a record before.
            let most = into.len().saturating_sub(RECORD_BYTES_MAX).min(ciphertext.len());
            loop {
                let bytes = tcp.try_read(&mut ciphertext[..most])?;
                if (1..most).contains(&bytes) {
                    empty(tcp);
                }
                if bytes == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let read = self.decrypt(&ciphertext[..bytes], into);
                if read.is_err() {
                    // What is wrong with it is told, if that goes at once.
                    let _ = self.try_flush(tcp);
                }
                match read? {
                    // A part of a record, or one that is not of data.
                    0 if !self.has_ended => {}
                    read => return Ok(read),
                }
            }
        })
    }

    fn decrypt(&mut self, mut ciphertext: &[u8], into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while !ciphertext.is_empty() && !self.has_ended {
            self.connection.read_tls(&mut ciphertext)?;
            self.connection.process_new_packets().map_err(invalid)?;
            loop {
                match self.connection.reader().read(&mut into[filled..]) {
                    Ok(0) => {
                        self.has_ended = true;
                        break;
                    }
                    Ok(bytes) => filled += bytes,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(filled)
    }

    fn try_write(&mut self, tcp: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        self.try_flush(tcp)?;
        let taken = self.connection.writer().write(bytes)?;
        match self.try_flush(tcp) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    fn try_flush(&mut self, tcp: &TcpStream) -> io::Result<()> {
        flush(&mut self.connection, tcp)
    }
}

/// Notes that a socket has nothing more to read.
fn empty(tcp: &TcpStream) {
    // The error is what says so.
    let _: io::Result<()> = tcp.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
}

/// Gives the socket what a session has to send; `WouldBlock` where it does not take all.
pub(super) fn flush(connection: &mut Connection, tcp: &TcpStream) -> io::Result<()> {
    while connection.wants_write() {
        tcp.try_io(Interest::WRITABLE, || connection.write_tls(&mut &*SockRef::from(tcp)))?;
    }
    Ok(())
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
