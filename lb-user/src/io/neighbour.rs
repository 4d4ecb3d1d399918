//! Keeps the kernel's neighbour entries of unchecked backends alive.
//!
//! The XDP program can only use addresses the kernel has resolved, and nothing on this host talks to a backend
//! without health checks. An empty UDP datagram to the discard port makes the kernel resolve it. Never waits, and
//! never reads an answer. Owns its sockets for one round.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// RFC 863's discard port.
const DISCARD: u16 = 9;

/// Makes the kernel resolve next hops, for one round of them.
#[derive(Default)]
pub struct Resolver {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Resolver {
    /// Makes the kernel resolve the next hop towards an address.
    ///
    /// # Errors
    /// No route, or no socket.
    pub fn resolve(&mut self, address: IpAddr) -> std::io::Result<()> {
        let (socket, any): (_, SocketAddr) = match address {
            IpAddr::V4(_) => (&mut self.v4, ([0, 0, 0, 0], 0).into()),
            IpAddr::V6(_) => (&mut self.v6, ([0u16; 8], 0).into()),
        };
        let socket = match socket {
            Some(socket) => socket,
            None => {
                let made = UdpSocket::bind(any)?;
                made.set_nonblocking(true)?;
                socket.insert(made)
            }
        };
        socket.send_to(&[], (address, DISCARD)).map(drop)
    }
}

/// The same for one address alone.
///
/// # Errors
/// No route, or no socket.
pub fn resolve(address: IpAddr) -> std::io::Result<()> {
    Resolver::default().resolve(address)
}
