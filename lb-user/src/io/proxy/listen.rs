//! Sockets that listen at a VIP's address, one for each thread of the proxy: the kernel spreads connections over them.
//!
//! They listen also while another node has the address: then no packet for it comes here.

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that wait to be accepted, of each socket; the kernel may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Opens sockets there, until there are so many with those that were inherited. Of these none is left out: connections may wait at it.
///
/// # Errors
/// Somebody else listens there.
pub(super) fn open(
    at: SocketAddr,
    inherited: Vec<TcpListener>,
    count: usize,
) -> io::Result<Vec<TcpListener>> {
    let mut sockets = inherited;
    for socket in &sockets {
        socket.set_nonblocking(true)?;
    }
    while sockets.len() < count {
        sockets.push(open_one(at)?);
    }
    Ok(sockets)
}

fn open_one(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The address may not be here yet. The option of IPv4 holds for IPv6 too.
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    // What is accepted inherits it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
