//! Makes health checks: opens a TCP connection or asks for a page, and says how that went.
//!
//! Owns the sockets of the checks and the words for their failures. Never counts results: that is
//! `core::health`'s, which also says when to check.

mod http;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;

use crate::config::{CheckKind, HealthCheck};
use crate::core::health::CheckTimes;

/// Why a check failed, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckFailure {
    /// The host answered that nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("no answer within {}", humantime::format_duration(*after))]
    TimedOut {
        /// The check's timeout.
        after: Duration,
    },
    /// No way to the host, as this machine or a router said.
    #[error("unreachable: {why}")]
    Unreachable {
        /// The kernel's words.
        why: String,
    },
    /// The connection was opened and then cut.
    #[error("connection reset")]
    Reset,
    /// The page came with another status.
    #[error("status {found}, expected {}", expected.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "))]
    BadStatus {
        /// The status that came.
        found: u16,
        /// Those that count as success.
        expected: Vec<u16>,
    },
    /// The page does not contain what it should.
    #[error("{wanted:?} is not in the first {searched_bytes} bytes of the page")]
    BodyWithoutMatch {
        /// What was looked for.
        wanted: String,
        /// How much of the page was searched: all of it, or the 64 KiB a check reads at most.
        searched_bytes: usize,
    },
    /// What came is not HTTP.
    #[error("not a proper HTTP answer: {why}")]
    Protocol {
        /// What was wrong with it.
        why: String,
    },
    /// The check could not be made at all: this says nothing about the backend.
    #[error("this machine could not make the check: {why}")]
    Local {
        /// The kernel's words.
        why: String,
    },
}

impl CheckFailure {
    /// Whether the failure is this machine's own and says nothing about the backend.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. })
    }

    fn of(error: &io::Error) -> Self {
        let why = error.to_string();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Self::Reset
            }
            io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown => Self::Unreachable { why },
            // The kernel's own patience ended before the check's: for people, no answer all the same.
            io::ErrorKind::TimedOut => Self::Unreachable { why },
            _ => Self::Local { why },
        }
    }
}

/// How a check ended: how long it took, or why it failed.
pub type CheckOutcome = Result<Duration, CheckFailure>;

/// Makes one check. `source` is the address to check from, if it matters.
pub async fn check_once(
    target: SocketAddr,
    kind: &CheckKind,
    timeout: Duration,
    source: Option<IpAddr>,
) -> CheckOutcome {
    let begun = Instant::now();
    let check = async {
        let stream = connect(target, source).await.map_err(|error| CheckFailure::of(&error))?;
        match kind {
            CheckKind::Tcp => Ok(()),
            CheckKind::Http { path, expect_status, expect_body } => {
                http::ask(stream, target, path, expect_status, expect_body.as_deref()).await
            }
        }
    };
    match tokio::time::timeout(timeout, check).await {
        Ok(result) => result.map(|()| begun.elapsed()),
        Err(_) => Err(CheckFailure::TimedOut { after: timeout }),
    }
}

/// Opens a connection that closes with a reset.
///
/// An orderly close leaves the connection in TIME_WAIT for a minute at the side that closes first: here
/// after a TCP check, at the backend after an HTTP check. With many backends and short intervals these add
/// up to thousands. A reset leaves nothing at either side, and all that was wanted has been read by then.
async fn connect(target: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = match target {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_zero_linger()?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(target).await
}

/// Checks an address for ever and sends each outcome, with the key, into `sink`.
///
/// Made to be spawned, one task for each address, and aborted when it is no longer wanted; ends by itself
/// when nobody listens to the sink. `check.port`, if given, replaces the port of the address.
pub async fn run<K: Clone + Send>(
    key: K,
    address: SocketAddr,
    check: HealthCheck,
    sink: mpsc::Sender<(K, CheckOutcome)>,
) {
    let target = SocketAddr::new(address.ip(), check.port.unwrap_or(address.port()));
    let mut times = CheckTimes::new(check.interval, seed_of(address));
    let mut due = times.first_check_at(Instant::now());
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => {}
            () = sink.closed() => return,
        }
        let begun = Instant::now();
        let outcome = check_once(target, &check.kind, check.timeout, None).await;
        if sink.send((key.clone(), outcome)).await.is_err() {
            return;
        }
        due = times.next_check_at(begun, Instant::now());
    }
}

/// A number that is the address's own, so that checks of different addresses come at different times
/// and those of one address at the same times on every start (FNV-1a over its bytes).
fn seed_of(address: SocketAddr) -> u64 {
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let ip = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let hash = ip.octets().into_iter().fold(0xcbf2_9ce4_8422_2325, add);
    address.port().to_be_bytes().into_iter().fold(hash, add)
}

#[cfg(test)]
mod tests;
