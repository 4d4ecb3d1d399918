//! Sends the frames that announce an address on an interface.
//!
//! Owns its socket for as long as a call lasts. What the frames say is `core::announce`'s.

use crate::core::announce::announcement;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

/// Tells the network behind an interface that it has an address. An interface without Ethernet addresses
/// has nobody to tell.
///
/// # Errors
/// There is no such interface, it is down, or the kernel does not give out raw sockets.
pub fn announce(interface: &str, address: IpAddr) -> io::Result<()> {
    let link = link(interface)?;
    let Some(mac) = link.addr().filter(|_| link.hatype() == libc::ARPHRD_ETHER) else { return Ok(()) };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    // Without a protocol: it only sends.
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
    sendto(socket.as_raw_fd(), &announcement(mac, address), &link, MsgFlags::empty())?;
    Ok(())
}

/// The interface as the kernel's packet sockets address it.
fn link(interface: &str) -> io::Result<LinkAddr> {
    let mut found = getifaddrs()?.filter(|one| one.interface_name == interface);
    found
        .find_map(|one| one.address?.as_link_addr().copied())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such interface"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_interface_is_an_error_and_loopback_has_nobody_to_tell() {
        let address = IpAddr::from([10, 80, 0, 100]);
        assert_eq!(announce("nosuch0", address).map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
        announce("lo", address).expect("nothing to do");
    }
}
