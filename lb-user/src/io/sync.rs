//! The way to other nodes: a UDP socket whose datagrams are sealed with the key they share.
//!
//! Owns the socket and the key. Never reads what is under a seal, and never waits for anybody longer than it is told to.

use crate::core::flow_sync::SyncKey;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What may wait in the kernel for this node to read: a burst of another's snapshot.
const BUFFER_BYTES: usize = 4 << 20;
/// More than a datagram has.
const DATAGRAM_BYTES_MAX: usize = 2048;

/// Why flows cannot be shared.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The key's file.
    #[error("sync.key_file: {path}: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// The socket.
    #[error(
        "sync.address: {address}: {cause}; it must be an address that this machine has, and a UDP port that nobody else uses"
    )]
    Socket {
        /// The address.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
}

/// What came.
#[derive(Debug)]
pub enum Received<'a> {
    /// Nothing more for now.
    Nothing,
    /// Something from an address that is no peer's, which nobody looked at.
    Stranger(SocketAddr),
    /// Something that was not sealed with the key.
    Unsealed(SocketAddr),
    /// What was under a seal.
    Content(SocketAddr, &'a [u8]),
}

/// The socket.
pub struct SyncSocket {
    socket: UdpSocket,
    key: SyncKey,
    peers: BTreeSet<SocketAddr>,
    buffer: Vec<u8>,
}

/// Reads the key that nodes share.
///
/// # Errors
/// The file is not there, others can read it, or it is too short.
pub fn read_key(path: &Path) -> Result<SyncKey, SyncError> {
    let failed = |reason: String| SyncError::Key { path: path.to_owned(), reason };
    let metadata = std::fs::metadata(path).map_err(|cause| {
        failed(format!("{cause}; make one with `openssl rand -hex 32`, and copy it to every node"))
    })?;
    if metadata.mode() & 0o077 != 0 {
        return Err(failed(format!("others can read it; chmod 600 {}", path.display())));
    }
    let content = std::fs::read(path).map_err(|cause| failed(cause.to_string()))?;
    SyncKey::new(&content).ok_or_else(|| {
        failed(format!("shorter than {} bytes; make one with `openssl rand -hex 32`", SyncKey::MIN_BYTES))
    })
}

impl SyncSocket {
    /// Opens it at this node's address, to hear these.
    ///
    /// # Errors
    /// The kernel refuses: this machine does not have the address, or the port is taken.
    pub fn open(address: SocketAddr, key: SyncKey, peers: BTreeSet<SocketAddr>) -> Result<Self, SyncError> {
        let opened = || -> io::Result<UdpSocket> {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
            // As much as the kernel allows.
            socket.set_recv_buffer_size(BUFFER_BYTES)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            Ok(socket.into())
        };
        let socket = opened().map_err(|cause| SyncError::Socket { address, cause })?;
        Ok(Self { socket, key, peers, buffer: vec![0; DATAGRAM_BYTES_MAX] })
    }

    /// Waits for something to come, but only so long.
    pub fn wait(&self, most: Duration) {
        let timeout = PollTimeout::try_from(most).unwrap_or(PollTimeout::ZERO);
        let mut descriptors = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        // A signal ends it early, which does no harm.
        let _ = poll(&mut descriptors, timeout);
    }

    /// What came next.
    pub fn receive(&mut self) -> Received<'_> {
        match self.socket.recv_from(&mut self.buffer) {
            // Before any work is done for it.
            Ok((_, from)) if !self.peers.contains(&from) => Received::Stranger(from),
            Ok((bytes, from)) => {
                let datagram = self.buffer.get(..bytes).unwrap_or_default();
                match self.key.open(datagram) {
                    Some(content) => Received::Content(from, content),
                    None => Received::Unsealed(from),
                }
            }
            // That an earlier datagram was not received is told here too; what is lost is sent again.
            Err(_) => Received::Nothing,
        }
    }

    /// Seals a datagram and sends it; how many bytes went out.
    pub fn send(&self, to: SocketAddr, mut datagram: Vec<u8>) -> usize {
        self.key.seal(&mut datagram);
        // What the kernel does not take is like what the network loses.
        self.socket.send_to(&datagram, to).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef\n";

    fn socket(secret: &str, peers: &[&SyncSocket]) -> SyncSocket {
        let key = SyncKey::new(secret.as_bytes()).expect("long enough");
        let peers = peers.iter().map(|peer| peer.socket.local_addr().expect("an address")).collect();
        SyncSocket::open(SocketAddr::from(([127, 0, 0, 1], 0)), key, peers).expect("a socket")
    }

    #[test]
    fn what_is_sealed_with_the_key_is_heard_and_nothing_else() {
        let (one, another) = (socket(SECRET, &[]), socket(SECRET, &[]));
        let liar = socket(&SECRET.replace('0', "1"), &[]);
        let mut other = socket(SECRET, &[&one, &liar]);
        let at = other.socket.local_addr().expect("an address");
        assert!(one.send(at, b"flows".to_vec()) > 5);
        other.wait(Duration::from_secs(5));
        assert!(matches!(other.receive(), Received::Content(_, b"flows")));
        assert!(matches!(other.receive(), Received::Nothing));
        liar.send(at, b"flows".to_vec());
        other.wait(Duration::from_secs(5));
        assert!(matches!(other.receive(), Received::Unsealed(_)));
        another.send(at, b"flows".to_vec());
        other.wait(Duration::from_secs(5));
        assert!(matches!(other.receive(), Received::Stranger(_)), "the key alone makes no peer");
    }

    #[test]
    fn keys_that_others_can_read_or_that_are_short_are_refused_with_the_way_out() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().expect("a file");
        let refused = |mode: u32, content: &str| {
            std::fs::write(file.path(), content).expect("written");
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("set");
            read_key(file.path()).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(refused(0o644, SECRET).contains("chmod 600"));
        assert!(refused(0o600, "short").contains("openssl rand"));
        assert_eq!(refused(0o600, SECRET), "");
        let gone = read_key(Path::new("/nonexistent/sync.key")).err().expect("it is not there");
        assert!(gone.to_string().contains("sync.key_file: /nonexistent/sync.key"), "{gone}");
    }

    #[test]
    fn an_address_of_another_machine_is_refused_with_its_place() {
        let key = SyncKey::new(SECRET.as_bytes()).expect("long enough");
        let error = SyncSocket::open(SocketAddr::from(([192, 0, 2, 1], 0)), key, BTreeSet::new())
            .err()
            .expect("not ours");
        assert!(error.to_string().contains("sync.address: 192.0.2.1:0"), "{error}");
    }
}
