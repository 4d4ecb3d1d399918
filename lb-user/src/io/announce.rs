//! Sends the frames that announce an address on an interface.
//!
//! Owns a socket for as long as a round of them lasts. What the frames say is `core::announce`'s.

use crate::core::announce::announcement;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// A socket for announcements, and the interfaces as they are now. Made for a round of them: the kernel takes
/// a while to close such a socket.
pub struct Announcer {
    socket: OwnedFd,
    links: BTreeMap<String, LinkAddr>,
}

impl Announcer {
    /// Opens the socket and looks at the interfaces.
    ///
    /// # Errors
    /// The kernel does not give out raw sockets.
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // Without a protocol: it only sends.
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        let link = |one: InterfaceAddress| Some((one.interface_name, *one.address?.as_link_addr()?));
        Ok(Self { socket, links: getifaddrs()?.filter_map(link).collect() })
    }

    /// Tells the network behind an interface that it has an address. An interface without Ethernet addresses
    /// has nobody to tell.
    ///
    /// # Errors
    /// There is no such interface, or it is down.
    pub fn announce(&self, interface: &str, address: IpAddr) -> io::Result<()> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "there is no such interface");
        let link = self.links.get(interface).ok_or_else(missing)?;
        let Some(mac) = link.addr().filter(|_| link.hatype() == libc::ARPHRD_ETHER) else { return Ok(()) };
        sendto(self.socket.as_raw_fd(), &announcement(mac, address), link, MsgFlags::empty())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_interface_is_an_error_and_loopback_has_nobody_to_tell() {
        // Raw sockets are for root only.
        let Ok(announcer) = Announcer::open() else { return };
        let address = IpAddr::from([10, 80, 0, 100]);
        let refused = announcer.announce("nosuch0", address).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::NotFound));
        announcer.announce("lo", address).expect("nothing to do");
    }
}
