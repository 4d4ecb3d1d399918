//! What the maps hold, in ids.

use crate::model::{AtLimit, BackendName, Family, Protocol, SchedulerKind, ServiceName};
use lb_ebpf::abi::Forwarding;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// Where clients reach a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAddress {
    /// VIP and port.
    pub socket: SocketAddr,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// Shows it as `10.80.0.100:53/udp`.
impl fmt::Display for ServiceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.socket, self.protocol)
    }
}

/// A backend's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendEntry {
    /// See [`name_hash`].
    pub name_hash: u64,
    /// Its address.
    pub address: SocketAddr,
    /// Id of its service.
    pub service_id: u32,
    /// Its weight now. Unlike the rest this, and what follows, may change while the backend stays who it is.
    pub weight: u16,
    /// How many flows it may have over all its addresses; 0 is as many as come.
    pub max_flows: u32,
    /// Id of its address of the other family, or its own.
    pub sibling_id: u32,
}

impl BackendEntry {
    /// Whether both are one backend, to the flows that it has.
    pub fn is_same_backend(&self, other: &Self) -> bool {
        (self.name_hash, self.address, self.service_id) == (other.name_hash, other.address, other.service_id)
    }
}

/// A service's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// See [`name_hash`].
    pub name_hash: u64,
    /// Stable id.
    pub id: u32,
    /// How a new flow finds its slot.
    pub scheduler: SchedulerKind,
    /// Whether SYNs are dropped, not answered with RST, while it has no slots.
    pub drops_when_down: bool,
    /// Whether what no rule of the firewall decides is denied.
    pub denies: bool,
    /// How its packets are changed.
    pub forwarding: Option<Forwarding>,
    /// Its range of the slot array.
    pub slots: Range<u32>,
}

/// How many flows a service may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitEntry {
    /// Over all its addresses; 0 is as many as come.
    pub max_flows: u32,
    /// Its id in the other family, or its own.
    pub sibling_id: u32,
    /// What becomes of new flows where a limit is reached.
    pub at_limit: AtLimit,
}

/// What the maps hold: read back from them after a restart, kept up with every step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// VIPs.
    pub vips: BTreeSet<IpAddr>,
    /// Services by address.
    pub services: BTreeMap<ServiceAddress, ServiceEntry>,
    /// Limits by service id; a service without an entry has none, and nothing to say about its backends' limits.
    pub limits: BTreeMap<u32, LimitEntry>,
    /// Backends by id.
    pub backends: BTreeMap<u32, BackendEntry>,
    /// Where the search for a free backend id begins: ids are taken in turn, so that the flows of a removed
    /// backend have long ended when its id is used again.
    pub next_backend_id: u32,
    /// The same for service ids.
    pub next_service_id: u32,
    /// Contents of the slot ranges in use, by first slot.
    pub slots: BTreeMap<u32, Vec<u32>>,
}

/// How a restarted agent knows entries again: FNV-1a over the names and the family. Never 0, which marks
/// a free entry.
pub fn name_hash(service: &ServiceName, backend: Option<&BackendName>, family: Family) -> u64 {
    let parts = [
        service.as_str(),
        backend.map_or("", |backend| backend.as_str()),
        match family {
            Family::V4 => "v4",
            Family::V6 => "v6",
        },
    ];
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    // Names have no '/', so it keeps the parts apart.
    for byte in parts.join("/").bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash.max(1)
}
