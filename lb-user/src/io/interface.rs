//! The host's network interfaces: VIP addresses on them, and the settings the dataplane needs of them.
//!
//! Owns the addresses it added. Never touches others.

use futures_util::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, CacheInfo};
use rtnetlink::packet_route::link::{LinkAttribute, LinkXdp, XdpAttached};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

/// Why an interface could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    /// It is not there.
    #[error("there is no interface {0}; `ip link` lists those there are")]
    Missing(String),
    /// Netlink refused.
    #[error("interface {interface}: {action} {address}: {reason}")]
    Address {
        /// The interface.
        interface: String,
        /// What was tried.
        action: &'static str,
        /// The address.
        address: IpAddr,
        /// The kernel's reason.
        reason: String,
    },
    /// A setting could not be written.
    #[error("{path}: {cause}")]
    Setting {
        /// The file below /proc/sys.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// No netlink socket.
    #[error("netlink: {0}")]
    Netlink(String),
}

/// A netlink connection of the process's network namespace.
#[derive(Clone)]
pub struct Interfaces {
    handle: Handle,
}

impl Interfaces {
    /// Opens the connection; its task ends with the last handle. Needs a tokio runtime.
    pub fn open() -> Result<Self, InterfaceError> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| InterfaceError::Netlink(error.to_string()))?;
        tokio::spawn(connection);
        Ok(Self { handle })
    }

    /// The addresses an interface has.
    pub async fn addresses(&self, interface: &str) -> Result<BTreeSet<IpAddr>, InterfaceError> {
        let index = index(interface)?;
        let mut found = BTreeSet::new();
        let mut messages = self.handle.address().get().set_link_index_filter(index).execute();
        while let Some(message) =
            messages.try_next().await.map_err(|error| InterfaceError::Netlink(error.to_string()))?
        {
            for attribute in message.attributes {
                if let AddressAttribute::Address(address) = attribute {
                    found.insert(address);
                }
            }
        }
        Ok(found)
    }

    /// Whether an XDP program is attached to it.
    pub async fn has_program(&self, interface: &str) -> Result<bool, InterfaceError> {
        let mut links = self.handle.link().get().match_name(interface.to_owned()).execute();
        let Ok(Some(link)) = links.try_next().await else {
            return Err(InterfaceError::Missing(interface.to_owned()));
        };
        let is_program = |one: &LinkXdp| match one {
            LinkXdp::Attached(how) => *how != XdpAttached::None,
            _ => false,
        };
        let has = |attribute: &LinkAttribute| match attribute {
            LinkAttribute::Xdp(parts) => parts.iter().any(is_program),
            _ => false,
        };
        Ok(link.attributes.iter().any(has))
    }

    /// The interface behind which an address is, and its MAC address, where the kernel knows it.
    pub async fn neighbour(&self, address: IpAddr) -> Result<Option<(String, [u8; 6])>, InterfaceError> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let wanted = match address {
            IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
            IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
        };
        let mut messages = self.handle.neighbours().get().set_address_family(family).execute();
        while let Some(message) =
            messages.try_next().await.map_err(|error| InterfaceError::Netlink(error.to_string()))?
        {
            if !message.attributes.contains(&NeighbourAttribute::Destination(wanted.clone())) {
                continue;
            }
            let mac = message.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::LinkLayerAddress(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
                _ => None,
            });
            if let Some(mac) = mac
                && let Ok(name) = nix::net::if_::if_indextoname(message.header.ifindex)
            {
                return Ok(Some((name.to_string_lossy().into_owned(), mac)));
            }
        }
        Ok(None)
    }

    /// Gives an interface an address of its own (/32 or /128), unless it has it.
    pub async fn add(&self, interface: &str, address: IpAddr) -> Result<(), InterfaceError> {
        let index = index(interface)?;
        let prefix_bits = if address.is_ipv4() { 32 } else { 128 };
        let mut request = self.handle.address().add(index, address, prefix_bits);
        if address.is_ipv6() {
            // Duplicate address detection would keep the VIP silent for a second.
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
            // Deprecated (RFC 4862 §5.5.4): served as any other, but never chosen as a source address.
            let mut lifetimes = CacheInfo::default();
            lifetimes.ifa_valid = u32::MAX;
            request.message_mut().attributes.push(AddressAttribute::CacheInfo(lifetimes));
        }
        match request.execute().await {
            Ok(()) => Ok(()),
            Err(rtnetlink::Error::NetlinkError(message)) if message.raw_code() == -libc::EEXIST => Ok(()),
            Err(error) => Err(refused(interface, "adding", address, &error)),
        }
    }

    /// Takes an address away, if it is there.
    pub async fn remove(&self, interface: &str, address: IpAddr) -> Result<(), InterfaceError> {
        let index = index(interface)?;
        let mut messages = self.handle.address().get().set_link_index_filter(index).execute();
        while let Some(message) =
            messages.try_next().await.map_err(|error| InterfaceError::Netlink(error.to_string()))?
        {
            let is_it = |attribute: &AddressAttribute| *attribute == AddressAttribute::Address(address);
            if message.attributes.iter().any(is_it) {
                let removed = self.handle.address().del(message).execute().await;
                return removed.map_err(|error| refused(interface, "removing", address, &error));
            }
        }
        Ok(())
    }
}

fn index(interface: &str) -> Result<u32, InterfaceError> {
    nix::net::if_::if_nametoindex(interface).map_err(|_| InterfaceError::Missing(interface.to_owned()))
}

fn refused(
    interface: &str,
    action: &'static str,
    address: IpAddr,
    error: &rtnetlink::Error,
) -> InterfaceError {
    let reason = error.to_string();
    InterfaceError::Address { interface: interface.to_owned(), action, address, reason }
}

/// An interface's index and MAC address; `None`: it is not there, or has none.
pub fn link(interface: &str) -> Option<(u32, [u8; 6])> {
    let mut all = nix::ifaddrs::getifaddrs().ok()?.filter(|one| one.interface_name == interface);
    let mac = all.find_map(|one| one.address?.as_link_addr()?.addr())?;
    Some((index(interface).ok()?, mac))
}

/// Turns forwarding on for an interface: without it the kernel refuses the route look-ups of the XDP
/// program. It concerns packets that come in by this interface and are not for this host; filter those with the
/// host's own firewall if the network behind is not to be reached.
pub fn enable_forwarding(interface: &str) -> Result<(), InterfaceError> {
    for family in ["ipv4", "ipv6"] {
        let path = PathBuf::from(format!("/proc/sys/net/{family}/conf/{interface}/forwarding"));
        // IPv6 may be switched off on this host.
        if family == "ipv6" && !path.exists() {
            continue;
        }
        let on = std::fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1");
        if !on {
            std::fs::write(&path, "1").map_err(|cause| InterfaceError::Setting { path, cause })?;
        }
    }
    Ok(())
}
