//! Services, backends, and the node's own settings.

use super::Address;
use bytemuck::{Pod, Zeroable};

/// What a client addresses.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Pod, Zeroable)]
pub struct ServiceKey {
    /// The VIP.
    pub vip: Address,
    port: [u8; 2],
    /// IP protocol number.
    pub protocol: u8,
    zero: u8,
}

impl ServiceKey {
    /// A key; port in network byte order.
    #[inline(always)]
    pub const fn new(vip: Address, port: [u8; 2], protocol: u8) -> Self {
        Self { vip, port, protocol, zero: 0 }
    }

    /// Port, network byte order.
    #[inline(always)]
    pub const fn port(&self) -> [u8; 2] {
        self.port
    }
}

/// A service's slot table: `slots_len` entries of the slot array from `slots_base` on.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Service {
    /// Hash of the service's name and family: how a restarted agent knows it again.
    pub name_hash: u64,
    /// Stable id; index of the service's cursor.
    pub id: u32,
    /// First slot.
    pub slots_base: u32,
    /// Number of slots; 0 when no backend can take a flow.
    pub slots_len: u32,
    /// A [`Scheduler`]'s number.
    pub scheduler: u8,
    /// A [`Forwarding`]'s number, or [`SERVED_HERE`].
    pub forwarding: u8,
    /// Without slots: 0 answers SYNs with RST, 1 drops them. Datagrams are dropped.
    pub when_down: u8,
    /// What no rule of the firewall decides: 0 is allowed, 1 denied.
    pub denies: u8,
}

/// In place of a service's [`Forwarding`]: its packets reach this host as they are, where the agent serves them, and make no flows.
pub const SERVED_HERE: u8 = 3;

/// How a new flow finds its slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Scheduler {
    /// The next one, whatever CPU asks.
    RoundRobin = 0,
    /// The less loaded one of the next and another.
    LeastConnections = 1,
    /// By a hash of the client's address.
    SourceHash = 2,
    /// By a hash of the 5-tuple.
    Maglev = 3,
}

/// How a service's packets are changed on their way to its backends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Forwarding {
    /// They come from the VIP and a NAT port, and go to the backend's address and port.
    Nat = 0,
    /// They keep their source; backends route their answers through this node.
    KeepSource = 1,
    /// Only their next hop is another: backends hold the VIP, and answer clients themselves.
    Direct = 2,
}

impl Forwarding {
    /// By its number. One that nobody wrote is NAT.
    #[inline(always)]
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::KeepSource,
            2 => Self::Direct,
            _ => Self::Nat,
        }
    }
}

impl Service {
    /// Whether the agent itself serves it.
    #[inline(always)]
    pub const fn is_served_here(&self) -> bool {
        self.forwarding == SERVED_HERE
    }

    /// How its packets are changed, unless it is served here.
    #[inline(always)]
    pub const fn forwarding(&self) -> Forwarding {
        Forwarding::from_number(self.forwarding)
    }

    /// How its new flows find their slots. A number that nobody wrote is round robin.
    #[inline(always)]
    pub const fn scheduler(&self) -> Scheduler {
        match self.scheduler {
            1 => Scheduler::LeastConnections,
            2 => Scheduler::SourceHash,
            3 => Scheduler::Maglev,
            _ => Scheduler::RoundRobin,
        }
    }

    /// Lets a hash find the slots of flows that are not recorded, and must find theirs again.
    #[inline(always)]
    pub const fn steer_by_hash(&mut self) {
        if self.scheduler != Scheduler::SourceHash as u8 {
            self.scheduler = Scheduler::Maglev as u8;
        }
    }
}

/// One address of one backend.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Backend {
    /// Hash of service, backend and family; 0 marks a free id.
    pub name_hash: u64,
    /// Its address.
    pub address: Address,
    port: [u8; 2],
    /// Its weight: how many flows it may have against another's. 0 takes no new ones, and has no slot.
    pub weight: u16,
    /// The service it belongs to.
    pub service_id: u32,
    /// How many flows it may have over both its addresses; 0 is as many as come.
    pub max_flows: u32,
    /// Id of its address of the other family; its own where there is none.
    pub sibling_id: u32,
}

impl Backend {
    /// A backend with that id, without weight, limit or sibling; port in network byte order.
    pub const fn new(id: u32, name_hash: u64, address: Address, port: [u8; 2], service_id: u32) -> Self {
        Self { name_hash, address, port, weight: 0, service_id, max_flows: 0, sibling_id: id }
    }

    /// Port, network byte order.
    #[inline(always)]
    pub const fn port(&self) -> [u8; 2] {
        self.port
    }
}

/// How many flows a service may have.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct ServiceLimit {
    /// At most so many over both families; 0 is as many as come.
    pub max_flows: u32,
    /// Its id in the other family; its own where there is none.
    pub sibling_id: u16,
    /// An [`AtLimit`]'s number.
    pub at_limit: u16,
}

/// What becomes of a new flow when a limit is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum AtLimit {
    /// Another backend takes it; where none can, it is reset.
    OtherBackend = 0,
    /// It is answered with RST.
    Reset = 1,
    /// Nothing is said, so its client tries again.
    Drop = 2,
}

impl ServiceLimit {
    /// What becomes of a new flow when a limit is reached.
    #[inline(always)]
    pub const fn at_limit(&self) -> AtLimit {
        match self.at_limit {
            1 => AtLimit::Reset,
            2 => AtLimit::Drop,
            _ => AtLimit::OtherBackend,
        }
    }
}

/// What one CPU counted for one backend address.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct BackendStats {
    /// Flows begun: SYNs that took a slot.
    pub flows_new: u64,
    /// Flows whose handshake the client completed.
    pub flows_established: u64,
    /// Handshakes the backend refused with RST.
    pub flows_refused: u64,
    /// Flows it was not given, because it had as many as it may have.
    pub flows_over_limit: u64,
    /// Packets towards the backend.
    pub forward_packets: u64,
    /// Their IP bytes.
    pub forward_bytes: u64,
    /// Packets from the backend.
    pub reverse_packets: u64,
    /// Their IP bytes.
    pub reverse_bytes: u64,
}

/// Settings of the node that every packet may need.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct NodeConfig {
    /// [`super::ABI_VERSION`] of the agent that wrote this.
    pub abi_version: u32,
    /// First NAT port of this node.
    pub nat_port_first: u16,
    /// Number of NAT ports of this node.
    pub nat_port_count: u16,
}

impl NodeConfig {
    /// Whether a destination port (network byte order) is one this node gives to flows.
    #[inline(always)]
    pub const fn owns_nat_port(&self, port: [u8; 2]) -> bool {
        u16::from_be_bytes(port).wrapping_sub(self.nat_port_first) < self.nat_port_count
    }
}
