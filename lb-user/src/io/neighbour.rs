//! Keeps the kernel's neighbour entries of unchecked backends alive.
//!
//! The XDP program can only use addresses the kernel has resolved, and nothing on this host talks to a backend
//! without health checks. An empty UDP datagram to the discard port makes the kernel resolve it. Never waits, and
//! never reads an answer.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// RFC 863's discard port.
const DISCARD: u16 = 9;

/// Makes the kernel resolve the next hop towards an address.
///
/// # Errors
/// No route, or no socket.
pub fn resolve(address: IpAddr) -> std::io::Result<()> {
    let any: SocketAddr = match address {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.send_to(&[], (address, DISCARD)).map(drop)
}
