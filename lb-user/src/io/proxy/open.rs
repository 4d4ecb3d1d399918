//! The connections of one thread that are open, for whoever wants to see them one by one.
//!
//! Owns a place of a few bytes for each: which two sockets it is. All else the kernel knows of them anyway (whose they are, what went over
//! them, how long they have been silent), and it is asked when somebody looks. A place goes before its sockets do.

use slab::Slab;
use socket2::SockRef;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many are looked at before connections may come and go again.
const AT_ONCE: usize = 64;

/// For the thread's own work in between.
const PAUSE: Duration = Duration::from_micros(50);

/// The sockets of a connection.
#[derive(Debug)]
struct Sockets {
    client: RawFd,
    backend: RawFd,
    /// Since the thread began.
    began_after_secs: u32,
    /// Who a PROXY header said it is.
    told: Option<Box<SocketAddr>>,
}

/// All of a thread.
#[derive(Debug)]
pub(super) struct OpenConnections {
    began: Instant,
    open: Mutex<Slab<Sockets>>,
}

/// A connection as its kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenConnection {
    /// Who the client is; by a PROXY header, where there was one.
    pub client: SocketAddr,
    /// The address of a service that it connected to.
    pub vip: SocketAddr,
    /// Where it goes on to.
    pub backend: SocketAddr,
    /// For how long it has been open.
    pub age: Duration,
    /// For how long nothing went over the client's side.
    pub idle: Duration,
    /// What came from the client, with what TLS adds.
    pub up_bytes: u64,
    /// What the client has acknowledged, likewise.
    pub down_bytes: u64,
    /// The client's round trip, smoothed.
    pub round_trip: Duration,
    /// Segments that were sent to the client again.
    pub retransmitted: u32,
}

impl OpenConnections {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), open: Mutex::default() })
    }

    /// Held for a few instructions, or a few questions to the kernel; nobody panics under it.
    fn lock(&self) -> MutexGuard<'_, Slab<Sockets>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection begins. What comes back has to be dropped before one of the sockets is closed.
    pub(super) fn enter(
        self: Arc<Self>,
        (client, backend): (RawFd, RawFd),
        told: Option<SocketAddr>,
    ) -> Entered {
        let began_after_secs = u32::try_from(self.began.elapsed().as_secs()).unwrap_or(u32::MAX);
        let sockets = Sockets { client, backend, began_after_secs, told: told.map(Box::new) };
        let key = self.lock().insert(sockets);
        Entered { key, all: self }
    }

    /// What is picked of those that are open, so many at most; and whether there is more. Takes its time.
    pub(super) fn look<T>(&self, max: usize, pick: &dyn Fn(&OpenConnection) -> Option<T>) -> (Vec<T>, bool) {
        let (mut found, mut next) = (Vec::new(), 0);
        loop {
            let open = self.lock();
            let end = next + AT_ONCE;
            for key in next..end {
                let Some(sockets) = open.get(key) else { continue };
                let picked = seen(sockets, self.began.elapsed()).and_then(|seen| pick(&seen));
                if picked.is_some() && found.len() == max {
                    return (found, true);
                }
                found.extend(picked);
            }
            next = end;
            if next >= open.capacity() {
                return (found, false);
            }
            drop(open);
            // A lock that is taken again at once is not had by who waits for it.
            std::thread::sleep(PAUSE);
        }
    }
}

/// The connections of all threads, for whoever has the time to look.
#[derive(Clone, Debug)]
pub struct OpenLists(pub(super) Vec<Arc<OpenConnections>>);

impl OpenLists {
    /// What is picked of them, so many at most, and whether there is more. Each is asked for of the kernel: not for a loop that others wait for.
    pub fn look<T>(&self, max: usize, pick: &dyn Fn(&OpenConnection) -> Option<T>) -> (Vec<T>, bool) {
        let mut found = Vec::new();
        for open in &self.0 {
            let (more, are_left) = open.look(max - found.len(), pick);
            found.extend(more);
            if are_left {
                return (found, true);
            }
        }
        (found, false)
    }
}

/// A connection's place among those that are open.
pub(super) struct Entered {
    key: usize,
    all: Arc<OpenConnections>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.all.lock().try_remove(self.key);
    }
}

/// `None`: one side is gone, and the connection is about to notice.
fn seen(sockets: &Sockets, now: Duration) -> Option<OpenConnection> {
    // SAFETY: a place is removed, under the lock that our caller holds, before either of its sockets is closed: they are open.
    let (client, backend) =
        unsafe { (BorrowedFd::borrow_raw(sockets.client), BorrowedFd::borrow_raw(sockets.backend)) };
    let peer = |socket: &BorrowedFd<'_>| SockRef::from(socket).peer_addr().ok()?.as_socket();
    let tcp = tcp_info(&client)?;
    Some(OpenConnection {
        client: sockets.told.as_deref().copied().or_else(|| peer(&client))?,
        vip: SockRef::from(&client).local_addr().ok()?.as_socket()?,
        backend: peer(&backend)?,
        age: now.saturating_sub(Duration::from_secs(sockets.began_after_secs.into())),
        idle: tcp.idle,
        up_bytes: tcp.received_bytes,
        down_bytes: tcp.acked_bytes,
        round_trip: tcp.round_trip,
        retransmitted: tcp.retransmitted,
    })
}

/// What is wanted of `struct tcp_info` (linux/tcp.h), which only grows at its end.
struct TcpInfo {
    idle: Duration,
    round_trip: Duration,
    retransmitted: u32,
    acked_bytes: u64,
    received_bytes: u64,
}

/// Up to `tcpi_bytes_received`, there since Linux 4.1.
const TCP_INFO_BYTES: usize = 136;

fn tcp_info(socket: &BorrowedFd<'_>) -> Option<TcpInfo> {
    let mut bytes = [0_u8; TCP_INFO_BYTES];
    let mut length = libc::socklen_t::try_from(TCP_INFO_BYTES).ok()?;
    // SAFETY: the kernel writes at most `length` bytes, which are there; any bytes are right for an array of them.
    let outcome = unsafe {
        let (level, name) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        libc::getsockopt(socket.as_raw_fd(), level, name, bytes.as_mut_ptr().cast(), &raw mut length)
    };
    if outcome != 0 || usize::try_from(length) != Ok(TCP_INFO_BYTES) {
        return None;
    }
    let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let long = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    // last_data_sent and last_data_recv, in milliseconds.
    let idle_ms = word(44)?.min(word(52)?);
    Some(TcpInfo {
        idle: Duration::from_millis(idle_ms.into()),
        round_trip: Duration::from_micros(word(68)?.into()),
        retransmitted: word(100)?,
        acked_bytes: long(120)?,
        received_bytes: long(128)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    fn pair() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("its address");
        let stream = TcpStream::connect(at).expect("a connection");
        (stream, listener.accept().expect("the other end").0, at)
    }

    #[test]
    fn an_open_connection_is_seen_with_what_went_over_it_until_it_ends() {
        let (mut outside, mut client, vip) = pair();
        let (backend, _server, at) = pair();
        let open = OpenConnections::new();
        let entered = open.clone().enter((client.as_raw_fd(), backend.as_raw_fd()), None);
        outside.write_all(b"hello").expect("room");
        client.read_exact(&mut [0; 5]).expect("five bytes");
        let (seen, more) = open.look(10, &|seen| Some(*seen));
        let [seen] = seen[..] else { panic!("{seen:?}") };
        assert_eq!((seen.client, seen.vip), (outside.local_addr().expect("an address"), vip));
        assert_eq!((seen.backend, seen.up_bytes, seen.down_bytes, more), (at, 5, 0, false));
        assert!(seen.idle < Duration::from_secs(5) && seen.age < Duration::from_secs(5), "{seen:?}");
        drop(entered);
        assert_eq!(open.look(10, &|seen| Some(*seen)), (Vec::new(), false));
    }

    #[test]
    fn a_header_says_who_the_client_is_and_a_limit_that_there_are_more() {
        let open = OpenConnections::new();
        let (_outside, client, _) = pair();
        let (backend, _server, _) = pair();
        let told = SocketAddr::from(([198, 51, 100, 7], 4711));
        let sockets = (client.as_raw_fd(), backend.as_raw_fd());
        let entered: Vec<Entered> =
            (0..200).map(|number| open.clone().enter(sockets, (number == 199).then_some(told))).collect();
        let (seen, more) = open.look(10, &|seen| Some(*seen));
        assert_eq!((seen.len(), more), (10, true));
        let (seen, more) = open.look(10, &|seen| Some(*seen).filter(|seen| seen.client == told));
        assert_eq!((seen.len(), more), (1, false), "{seen:?}");
        drop(entered);
    }
}
