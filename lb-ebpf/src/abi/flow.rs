//! Flow table entries.
//!
//! A flow has two entries, one for each direction, each found by the 5-tuple of the packets that travel
//! in that direction and each holding all that rewriting such a packet needs.

use super::{Address, Forwarding, MAX_SERVICES};
use crate::csum::Delta;
use crate::flow_state::FlowState;
use crate::steer::Hash;
use crate::wire::PROTOCOL_UDP;
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

    /// A hash of all of it.
    #[inline(always)]
    pub fn hash(&self) -> u32 {
        Hash::START.with(bytemuck::cast_ref::<Self, [u32; 10]>(self)).finish()
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

/// In a flow's record: no rule limits its source.
pub const NO_RULE: u16 = u16::MAX;

/// Beyond what a protocol number can be.
const NO_PROTOCOL: u32 = 1 << 8;
const FORWARDING_SHIFT: u16 = 13;
const SERVICE_ID_MASK: u16 = MAX_SERVICES as u16 - 1;

/// Which way the packets of a flow entry travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
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
///
/// Of a packet's two addresses one at most is replaced by one that is not in the packet: which one, the flow's
/// [`Forwarding`] and direction say. A flow whose backends answer its client directly has a forward entry only. At 104
/// bytes an entry of the kernel's table (its own 48 bytes, the key, this) fills three cache lines exactly.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct FlowRecord {
    /// Monotonic coarse clock when a packet last came this way, in ns.
    pub last_seen_ns: u64,
    /// Clock when `next_hop` was looked up, in [`ticks`](super::ticks); 0 is never.
    pub next_hop_at_ticks: u32,
    /// Generation of the firewall's policy that this flow was judged by.
    pub policy_generation: u32,
    /// Packets that came this way.
    pub packets: u64,
    /// Their IP bytes.
    pub bytes: u64,
    /// Bits of [`FlowState`]; both entries of a flow are kept alike. 64 bits because the BPF target has
    /// atomic operations of that width.
    pub state: u64,
    /// The address that is put into the packets. In forward entries it is the backend's, also where that only decides
    /// the next hop; in reverse ones the client's, or the VIP where the client's stays.
    pub new_address: Address,
    /// Where they go.
    pub next_hop: NextHop,
    new_source_port: [u8; 2],
    new_destination_port: [u8; 2],
    /// Checksum change of addresses: what an IPv4 header's checksum sees.
    pub address_delta: Delta,
    /// Checksum change of addresses and ports: what TCP's checksum sees.
    pub transport_delta: Delta,
    /// Initial sequence number of the backend, host order; valid once the state says the backend answered. Until then what the client's
    /// SYN offered, where that is known: the cookie of a flow that began with one, or bits of an
    /// [`Offer`](crate::cookie::Offer) of one whose state has `SYN_KEPT`.
    pub backend_isn: u32,
    /// Stable id of the backend.
    pub backend_id: u32,
    /// The acknowledgement that covers the other side's FIN, host order; valid once the state has that FIN. Before that, in both
    /// entries: until the backend answers, the client's initial sequence number, where its SYN is known as above; afterwards the
    /// backend's second initial sequence number, where the state says that it answered twice.
    pub fin_end: u32,
    /// The service's id in 13 bits, a [`Forwarding`]'s number in two, then 0 forward or 1 reverse.
    kind: u16,
    /// Id of the firewall rule that limits this flow's source; [`NO_RULE`] is none.
    pub limit_rule: u16,
    /// What is added to the client's TCP timestamps, and taken from their echo; 0 is nothing. Of a flow that began with a
    /// cookie, which has no timestamps: what is added to the client's acknowledgements, and taken from the backend's
    /// sequence numbers.
    pub shift: u32,
}

impl FlowRecord {
    /// Makes this the entry of `key`'s packets, from a client to that backend. The NAT port is still open; next hop, ids
    /// and shift stay as they are.
    // A function of its own in the program, whose stack is small.
    #[cfg_attr(target_arch = "bpf", inline(never))]
    pub fn write(
        &mut self,
        forwarding: Forwarding,
        service_id: u32,
        key: &FlowKey,
        (backend, port): (&Address, [u8; 2]),
    ) {
        let (replaced, new_source_port, new_destination_port) = match forwarding {
            // The VIP leaves as destination and comes as source: to a sum without order that is no change.
            Forwarding::Nat => (&key.source, [0; 2], port),
            Forwarding::KeepSource => (&key.destination, key.source_port, port),
            Forwarding::Direct => (backend, key.source_port, key.destination_port),
        };
        self.address_delta = Delta::ZERO.replace(replaced.bytes(), backend.bytes());
        self.transport_delta = self
            .address_delta
            .replace(&key.source_port, &new_source_port)
            .replace(&key.destination_port, &new_destination_port);
        self.new_address = *backend;
        self.new_source_port = new_source_port;
        self.new_destination_port = new_destination_port;
        self.begin(Direction::Forward, forwarding, service_id as u16, key);
    }

    /// Makes this the entry of the answers to `forward`'s packets, which has `key`.
    #[inline(always)]
    pub const fn write_answers(&mut self, key: &FlowKey, forward: &Self) {
        self.address_delta = forward.address_delta.inverse();
        self.new_address = match forward.forwarding() {
            Forwarding::KeepSource => key.destination,
            _ => key.source,
        };
        self.new_source_port = key.destination_port;
        self.new_destination_port = key.source_port;
        self.backend_id = forward.backend_id;
        self.shift = forward.shift;
        self.begin(Direction::Reverse, forward.forwarding(), forward.kind, key);
        self.follow_port_of(forward);
    }

    const fn begin(&mut self, direction: Direction, forwarding: Forwarding, service_id: u16, key: &FlowKey) {
        self.last_seen_ns = 0;
        self.next_hop_at_ticks = 0;
        self.policy_generation = 0;
        self.packets = 0;
        self.bytes = 0;
        self.state =
            FlowState::begun(matches!(forwarding, Forwarding::Direct), key.protocol == PROTOCOL_UDP as u32)
                .bits();
        self.backend_isn = 0;
        self.fin_end = 0;
        self.kind =
            (direction as u16) << 15 | (forwarding as u16) << FORWARDING_SHIFT | service_id & SERVICE_ID_MASK;
        self.limit_rule = NO_RULE;
    }

    /// Makes this entry, which was just written, one of a flow that began with a cookie, if that is the state; with zeros it
    /// stays as it is.
    #[inline(always)]
    pub const fn begin_with_cookie(&mut self, state: u64, cookie: u32, client_isn: u32) {
        self.state |= state;
        self.backend_isn = cookie;
        self.fin_end = client_isn;
    }

    /// Notes the answer of the backend of a flow that began with a cookie: its sequence number, and by what both sides' windows are
    /// scaled.
    #[inline(always)]
    pub const fn splice(&mut self, backend_isn: u32, (backend_scale, client_scale): (u8, u8)) {
        self.shift = backend_isn.wrapping_sub(self.backend_isn);
        self.backend_isn = backend_isn;
        self.state = self.state().with(FlowState::ANSWERED).with_scales(backend_scale, client_scale).bits();
    }

    /// Which way this entry's packets travel.
    #[inline(always)]
    pub const fn direction(&self) -> Direction {
        if self.kind >> 15 == 0 { Direction::Forward } else { Direction::Reverse }
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

    /// Gives a forward entry's packets another source port: the NAT port.
    #[inline(always)]
    pub fn set_new_source_port(&mut self, port: [u8; 2]) {
        self.transport_delta = self.transport_delta.replace(&self.new_source_port, &port);
        self.new_source_port = port;
    }

    /// Lets this reverse entry undo the NAT port that `forward` has by now.
    #[inline(always)]
    pub const fn follow_port_of(&mut self, forward: &Self) {
        self.transport_delta = forward.transport_delta.inverse();
    }

    /// How its packets are changed.
    #[inline(always)]
    pub const fn forwarding(&self) -> Forwarding {
        Forwarding::from_number((self.kind >> FORWARDING_SHIFT & 3) as u8)
    }

    /// Id of the service.
    #[inline(always)]
    pub const fn service_id(&self) -> u32 {
        (self.kind & SERVICE_ID_MASK) as u32
    }

    /// Whether this entry, which has the key of that packet's answers, turns them into answers to it.
    #[inline(always)]
    pub const fn answers(&self, key: &FlowKey) -> bool {
        const fn same(a: [u8; 2], b: [u8; 2]) -> bool {
            u16::from_ne_bytes(a) == u16::from_ne_bytes(b)
        }
        let address = match self.forwarding() {
            Forwarding::KeepSource => &key.destination,
            _ => &key.source,
        };
        self.new_address.is(address)
            && same(self.new_destination_port, key.source_port)
            && same(self.new_source_port, key.destination_port)
    }

    /// Source and destination that a packet of this entry, which has that key, leaves with; of one that leaves as it
    /// came, the client and the backend it is sent to.
    #[inline(always)]
    pub const fn rewritten<'a>(&'a self, key: &'a FlowKey) -> (&'a Address, &'a Address) {
        match (self.forwarding(), self.direction()) {
            (Forwarding::Nat, _) => (&key.destination, &self.new_address),
            (_, Direction::Forward) => (&key.source, &self.new_address),
            (_, Direction::Reverse) => (&self.new_address, &key.destination),
        }
    }

    /// The flow's client.
    #[inline(always)]
    pub const fn client<'a>(&'a self, key: &'a FlowKey) -> &'a Address {
        match (self.direction(), self.forwarding()) {
            (Direction::Forward, _) => &key.source,
            (Direction::Reverse, Forwarding::Nat) => &self.new_address,
            (Direction::Reverse, _) => &key.destination,
        }
    }

    /// The VIP and port that the flow's client addressed.
    #[inline(always)]
    pub const fn entrance<'a>(&'a self, key: &'a FlowKey) -> (&'a Address, [u8; 2]) {
        match (self.direction(), self.forwarding()) {
            (Direction::Forward, _) => (&key.destination, key.destination_port),
            (Direction::Reverse, Forwarding::Nat) => (&key.destination, self.new_source_port),
            (Direction::Reverse, _) => (&self.new_address, self.new_source_port),
        }
    }

    /// Key of the other direction's entry: of the answer to what this entry, whose own key that is, makes of its packets.
    /// Where answers are not seen it is a key that no packet has: their own may be another flow's, which came here by way
    /// of another service.
    #[inline(always)]
    pub const fn twin_key(&self, key: &FlowKey) -> FlowKey {
        let (source, destination) = self.rewritten(key);
        let unseen = if matches!(self.forwarding(), Forwarding::Direct) { NO_PROTOCOL } else { 0 };
        FlowKey {
            source: *destination,
            destination: *source,
            source_port: self.new_destination_port,
            destination_port: self.new_source_port,
            protocol: key.protocol | unseen,
        }
    }
}
