//! Flow table entries.
//!
//! A flow has two entries, one for each direction, each found by the 5-tuple of the packets that travel
//! in that direction and each holding all that rewriting such a packet needs.

use super::Address;
use crate::csum::Delta;
use crate::flow_state::FlowState;
use bytemuck::{Pod, Zeroable};

/// The 5-tuple of a packet as it arrives.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Pod, Zeroable)]
pub struct FlowKey {
    /// Source address.
    pub source: Address,
    /// Destination address: a VIP in both directions.
    pub destination: Address,
    source_port: [u8; 2],
    destination_port: [u8; 2],
    /// IP protocol number, as a whole word: keys are compared and hashed in words.
    protocol: u32,
}

impl FlowKey {
    /// A key from header fields; ports in network byte order.
    #[inline(always)]
    pub const fn new(
        source: Address,
        source_port: [u8; 2],
        destination: Address,
        destination_port: [u8; 2],
        protocol: u8,
    ) -> Self {
        Self { source, destination, source_port, destination_port, protocol: protocol as u32 }
    }

    /// Sets the destination port, network byte order.
    #[inline(always)]
    pub const fn set_destination_port(&mut self, port: [u8; 2]) {
        self.destination_port = port;
    }

    /// IP protocol number.
    #[inline(always)]
    pub const fn protocol(&self) -> u8 {
        self.protocol as u8
    }

    /// Source port, network byte order.
    #[inline(always)]
    pub const fn source_port(&self) -> [u8; 2] {
        self.source_port
    }

    /// Destination port, network byte order.
    #[inline(always)]
    pub const fn destination_port(&self) -> [u8; 2] {
        self.destination_port
    }
}

/// Which way the packets of a flow entry travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client through the VIP to the backend.
    Forward,
    /// From the backend back to the client.
    Reverse,
}

/// Where rewritten packets leave.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct NextHop {
    /// MAC address of the next hop.
    pub destination: [u8; 6],
    /// MAC address of the interface they leave by.
    pub source: [u8; 6],
    /// Index of that interface.
    pub ifindex: u32,
    /// Largest IP packet the route takes, in bytes; 0 is unknown.
    pub mtu_bytes: u32,
}

/// One direction of a flow: the rewriting, the state, the accounts.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct FlowRecord {
    /// Monotonic coarse clock when a packet last came this way, in ns.
    pub last_seen_ns: u64,
    /// Clock when `next_hop` was looked up, in ns; 0 is never.
    pub next_hop_at_ns: u64,
    /// Packets that came this way.
    pub packets: u64,
    /// Their IP bytes.
    pub bytes: u64,
    /// Bits of [`FlowState`]; both entries of a flow are kept alike. 64 bits because the BPF target has
    /// atomic operations of that width.
    pub state: u64,
    /// Source address after rewriting.
    pub new_source: Address,
    /// Destination address after rewriting.
    pub new_destination: Address,
    /// Where they go.
    pub next_hop: NextHop,
    new_source_port: [u8; 2],
    new_destination_port: [u8; 2],
    /// Checksum change of addresses: what an IPv4 header's checksum sees.
    pub address_delta: Delta,
    /// Checksum change of addresses and ports: what TCP's checksum sees.
    pub transport_delta: Delta,
    /// Initial sequence number of the backend, host order; valid once the state says the backend answered.
    pub backend_isn: u32,
    /// Stable id of the backend.
    pub backend_id: u32,
    /// Stable id of the service.
    pub service_id: u32,
    /// 0 forward, 1 reverse.
    direction: u32,
    /// What is added to the client's TCP timestamps, and taken from their echo; 0 is nothing.
    pub timestamp_shift: u32,
}

impl FlowRecord {
    /// Makes this the entry that turns `key`'s packets into packets of `to`. Next hop and ids stay as they are.
    // A function of its own in the program, whose stack is small.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub fn write(&mut self, direction: Direction, key: &FlowKey, to: &FlowKey) {
        let addresses = Delta::ZERO
            .replace(key.source.bytes(), to.source.bytes())
            .replace(key.destination.bytes(), to.destination.bytes());
        self.address_delta = addresses;
        self.transport_delta = addresses
            .replace(&key.source_port, &to.source_port)
            .replace(&key.destination_port, &to.destination_port);
        self.new_source = to.source;
        self.new_destination = to.destination;
        self.new_source_port = to.source_port;
        self.new_destination_port = to.destination_port;
        self.last_seen_ns = 0;
        self.next_hop_at_ns = 0;
        self.packets = 0;
        self.bytes = 0;
        self.state = FlowState::NEW.bits();
        self.backend_isn = 0;
        self.direction = direction as u32;
        self.timestamp_shift = 0;
    }

    /// Which way this entry's packets travel.
    #[inline(always)]
    pub const fn direction(&self) -> Direction {
        if self.direction == 0 { Direction::Forward } else { Direction::Reverse }
    }

    /// The flow's state.
    #[inline(always)]
    pub const fn state(&self) -> FlowState {
        FlowState::from_bits(self.state)
    }

    /// Source port after rewriting, network byte order.
    #[inline(always)]
    pub const fn new_source_port(&self) -> [u8; 2] {
        self.new_source_port
    }

    /// Destination port after rewriting, network byte order.
    #[inline(always)]
    pub const fn new_destination_port(&self) -> [u8; 2] {
        self.new_destination_port
    }

    /// Completes a reverse entry whose key was written before its NAT port was known (with port 0).
    #[inline(always)]
    pub fn set_old_destination_port(&mut self, port: [u8; 2]) {
        self.transport_delta = self.transport_delta.replace(&port, &[0; 2]);
    }

    /// Undoes [`Self::set_old_destination_port`].
    #[inline(always)]
    pub fn unset_old_destination_port(&mut self, port: [u8; 2]) {
        self.transport_delta = self.transport_delta.replace(&[0; 2], &port);
    }

    /// Completes a forward entry written before its NAT port was known (with port 0).
    #[inline(always)]
    pub fn set_new_source_port(&mut self, port: [u8; 2]) {
        self.transport_delta = self.transport_delta.replace(&self.new_source_port, &port);
        self.new_source_port = port;
    }

    /// Whether this entry's packets become answers to that packet.
    #[inline(always)]
    pub const fn answers(&self, key: &FlowKey) -> bool {
        const fn same(a: [u8; 2], b: [u8; 2]) -> bool {
            u16::from_ne_bytes(a) == u16::from_ne_bytes(b)
        }
        self.new_destination.is(&key.source)
            && self.new_source.is(&key.destination)
            && same(self.new_destination_port, key.source_port)
            && same(self.new_source_port, key.destination_port)
    }

    /// Key of the other direction's entry: the answer to what this entry's packets become.
    #[inline(always)]
    pub const fn twin_key(&self, protocol: u8) -> FlowKey {
        FlowKey::new(
            self.new_destination,
            self.new_destination_port,
            self.new_source,
            self.new_source_port,
            protocol,
        )
    }
}
