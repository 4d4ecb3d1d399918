//! A network that advertisements go to and come from: an interface and a family.
//!
//! Owns two sockets: one that hears what comes in by the interface, to the group or to this node, and one that sends from the node's
//! own address, which the checksum covers. Never reads an advertisement.

use super::VrrpError;
use crate::core::vrrp::advert::{PROTOCOL_VRRP, TTL};
use crate::model::Family;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use std::collections::BTreeSet;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;
use tokio::io::unix::AsyncFd;

/// RFC 9568 §5.1.1.2.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// RFC 9568 §5.1.2.2.
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// DSCP CS6, network control: for the few queues that look at it.
const NETWORK_CONTROL: u32 = 0xc0;
/// More than any advertisement has: 255 addresses of IPv6, and headers.
const PACKET_BYTES_MAX: usize = 5000;

/// What came, without its IP header.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) ttl: u8,
    pub(super) message: Vec<u8>,
}

/// Two sockets.
#[derive(Debug)]
pub(super) struct Channel {
    index: u32,
    local: IpAddr,
    receiver: AsyncFd<Socket>,
    sender: Socket,
}

impl Channel {
    /// Opens an interface's channel of a family. `virtual_addresses` are not the node's own.
    pub(super) fn open(
        interface: &str,
        family: Family,
        virtual_addresses: &BTreeSet<IpAddr>,
    ) -> Result<Self, VrrpError> {
        let failed = |what| move |cause| VrrpError::Socket { interface: interface.to_owned(), what, cause };
        let index = if_nametoindex(interface)
            .map_err(|error| failed("finding the interface")(io::Error::from(error)))?;
        let local = own_address(interface, family, virtual_addresses)
            .map_err(failed("finding its addresses"))?
            .ok_or_else(|| VrrpError::NoAddress { interface: interface.to_owned(), family })?;
        let receiver = receiver(interface, index, family).map_err(failed("listening"))?;
        // SAFETY: the socket owns its descriptor and goes with what owns it here.
        let receiver = unsafe { AsyncFd::register(receiver) };
        let receiver = receiver.map_err(|error| failed("listening")(error.into()))?;
        let sender = sender(interface, index, local).map_err(failed("opening a socket to send"))?;
        Ok(Self { index, local, receiver, sender })
    }

    /// The address that it sends from.
    pub(super) fn local(&self) -> IpAddr {
        self.local
    }

    /// Whether the interface is still the one that it was opened on, and has the address.
    pub(super) fn is_current(&self, interface: &str, virtual_addresses: &BTreeSet<IpAddr>) -> bool {
        let family = Family::of(self.local);
        if_nametoindex(interface).is_ok_and(|index| index == self.index)
            && own_address(interface, family, virtual_addresses).is_ok_and(|own| own == Some(self.local))
    }

    /// The group's address.
    pub(super) fn group(&self) -> IpAddr {
        match self.local {
            IpAddr::V4(_) => GROUP_V4.into(),
            IpAddr::V6(_) => GROUP_V6.into(),
        }
    }

    /// Sends a message to the group or to a node.
    pub(super) fn send(&self, message: &[u8], to: IpAddr) -> io::Result<()> {
        let to: SocketAddr = match to {
            IpAddr::V4(to) => SocketAddrV4::new(to, 0).into(),
            IpAddr::V6(to) => SocketAddrV6::new(to, 0, 0, self.index).into(),
        };
        self.sender.send_to(message, &to.into()).map(drop)
    }

    /// The next packet. What is no packet of IP is left out.
    pub(super) async fn receive(&self) -> io::Result<Received> {
        loop {
            let mut ready = self.receiver.readable().await?;
            match ready.try_io(|socket| receive(socket.get_ref(), self.local)) {
                Ok(Ok(Some(received))) => return Ok(received),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => {}
            }
        }
    }
}

/// The interface's first address that is not a VIP; of IPv6 the link-local one, as RFC 9568 §5.1.2.1 wants.
fn own_address(
    interface: &str,
    family: Family,
    virtual_addresses: &BTreeSet<IpAddr>,
) -> io::Result<Option<IpAddr>> {
    let addresses = getifaddrs()?.filter(|one| one.interface_name == interface).filter_map(|one| one.address);
    let addresses = addresses.filter_map(|address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
    });
    let is_right = |address: &IpAddr| match (family, address) {
        (Family::V4, IpAddr::V4(_)) => true,
        (Family::V6, IpAddr::V6(v6)) => v6.is_unicast_link_local(),
        _ => false,
    };
    Ok(addresses.filter(is_right).find(|address| !virtual_addresses.contains(address)))
}

fn raw(family: Family, interface: &str) -> io::Result<Socket> {
    let domain = if family == Family::V4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL_VRRP))))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn receiver(interface: &str, index: u32, family: Family) -> io::Result<Socket> {
    let family_socket = raw(family, interface)?;
    match family {
        Family::V4 => {
            family_socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
            family_socket.set_multicast_loop_v4(false)?;
        }
        Family::V6 => {
            family_socket.join_multicast_v6(&GROUP_V6, index)?;
            family_socket.set_multicast_loop_v6(false)?;
            family_socket.set_recv_hoplimit_v6(true)?;
            nix::sys::socket::setsockopt(
                &family_socket,
                nix::sys::socket::sockopt::Ipv6RecvPacketInfo,
                &true,
            )?;
        }
    }
    Ok(family_socket)
}

fn sender(interface: &str, index: u32, local: IpAddr) -> io::Result<Socket> {
    let socket = raw(Family::of(local), interface)?;
    // It only sends: what comes fills no buffer for nobody.
    socket.set_recv_buffer_size(0)?;
    match local {
        IpAddr::V4(local) => {
            socket.bind(&SocketAddr::from(SocketAddrV4::new(local, 0)).into())?;
            socket.set_multicast_if_v4(&local)?;
            socket.set_multicast_ttl_v4(u32::from(TTL))?;
            socket.set_ttl_v4(u32::from(TTL))?;
            socket.set_multicast_loop_v4(false)?;
            socket.set_tos_v4(NETWORK_CONTROL)?;
        }
        IpAddr::V6(local) => {
            socket.bind(&SocketAddr::from(SocketAddrV6::new(local, 0, 0, index)).into())?;
            socket.set_multicast_if_v6(index)?;
            socket.set_multicast_hops_v6(u32::from(TTL))?;
            socket.set_unicast_hops_v6(u32::from(TTL))?;
            socket.set_multicast_loop_v6(false)?;
        }
    }
    Ok(socket)
}

/// Reads one packet; `None` for one that says too little about itself.
fn receive(socket: &Socket, local: IpAddr) -> io::Result<Option<Received>> {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    let mut control = nix::cmsg_space!(nix::libc::in6_pktinfo, nix::libc::c_int);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let packet =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
    let length = packet.bytes;
    if local.is_ipv4() {
        buffer.truncate(length);
        return Ok(from_ipv4(&buffer));
    }
    let source = packet.address.and_then(|address| address.as_sockaddr_in6().map(|v6| v6.ip()));
    let (mut ttl, mut destination) = (None, None);
    for message in packet.cmsgs()? {
        match message {
            ControlMessageOwned::Ipv6HopLimit(hops) => ttl = u8::try_from(hops).ok(),
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
            }
            _ => {}
        }
    }
    buffer.truncate(length);
    let (Some(source), Some(destination), Some(ttl)) = (source, destination, ttl) else { return Ok(None) };
    Ok(Some(Received { source: source.into(), destination: destination.into(), ttl, message: buffer }))
}

/// IPv4 packets come with their header.
fn from_ipv4(packet: &[u8]) -> Option<Received> {
    let (header, _) = packet.split_first_chunk::<20>()?;
    let message = packet.get(usize::from(header[0] & 0x0f) * 4..)?;
    let address = |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(header.get(at..at + 4)?).ok()?));
    Some(Received {
        source: address(12)?,
        destination: address(16)?,
        ttl: header[8],
        message: message.to_vec(),
    })
}

/// The interfaces that are up and connected.
pub fn interfaces_up() -> BTreeSet<String> {
    let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    let Ok(all) = getifaddrs() else { return BTreeSet::new() };
    all.filter(|one| one.flags.contains(up)).map(|one| one.interface_name).collect()
}
