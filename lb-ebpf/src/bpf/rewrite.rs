//! Changes a packet's bytes as its flow entry says.

use super::{next_hop::Routed, splice, timestamps};
use crate::abi::{Address, Direction, FlowRecord, Forwarding};
use crate::csum::{Delta, Sum};
use crate::outcome::Outcome;
use crate::wire::{Ethernet, Ipv4, Ipv6, TcpFrame, UdpFrame};
use aya_ebpf::programs::XdpContext;

/// Families whose headers the program can write.
pub(super) trait Rewritable: Routed {
    /// Sends the packet from where it came to, the VIP, to another address; `delta` is the checksum change.
    fn turn_to(&mut self, destination: &Address, delta: Delta);
    /// Puts another source into the header; `delta` is the checksum change.
    fn set_source(&mut self, source: &Address, delta: Delta);
    /// Puts another destination into the header; `delta` is the checksum change.
    fn set_destination(&mut self, destination: &Address, delta: Delta);
    /// Puts new addresses into the header; `delta` is their checksum change.
    fn set_addresses(&mut self, source: &Address, destination: &Address, delta: Delta);
    /// Sum of both addresses, as a pseudo header has them.
    fn address_sum(&self) -> Sum;
    /// One hop less.
    fn decrement_hops(&mut self);
    /// Swaps source and destination and makes this the header of an answer with a payload of so many bytes.
    fn make_answer(&mut self, payload_bytes: u16);
    /// Another length of the payload.
    fn set_payload_bytes(&mut self, payload_bytes: u16);
}

impl Rewritable for Ipv4 {
    #[inline(always)]
    fn turn_to(&mut self, destination: &Address, delta: Delta) {
        self.source = self.destination;
        self.destination = destination.v4();
        self.checksum = delta.apply(self.checksum);
    }

    #[inline(always)]
    fn set_source(&mut self, source: &Address, delta: Delta) {
        self.source = source.v4();
        self.checksum = delta.apply(self.checksum);
    }

    #[inline(always)]
    fn set_destination(&mut self, destination: &Address, delta: Delta) {
        self.destination = destination.v4();
        self.checksum = delta.apply(self.checksum);
    }

    #[inline(always)]
    fn set_addresses(&mut self, source: &Address, destination: &Address, delta: Delta) {
        self.source = source.v4();
        self.destination = destination.v4();
        self.checksum = delta.apply(self.checksum);
    }

    #[inline(always)]
    fn address_sum(&self) -> Sum {
        Sum::default().plus(&self.source).plus(&self.destination)
    }

    #[inline(always)]
    fn decrement_hops(&mut self) {
        let old = [self.ttl, self.protocol];
        self.ttl -= 1;
        self.checksum = Delta::ZERO.replace(&old, &[self.ttl, self.protocol]).apply(self.checksum);
    }

    #[inline(always)]
    fn make_answer(&mut self, payload_bytes: u16) {
        let asker = self.source;
        self.source = self.destination;
        self.destination = asker;
        self.total_length = (payload_bytes + 20).to_be_bytes();
        self.identification = [0; 2];
        self.fragment = [0x40, 0];
        self.ttl = 64;
        self.traffic_class = 0;
        self.checksum = Sum::default()
            .plus(&[self.version_ihl, self.traffic_class])
            .plus(&self.total_length)
            .plus(&self.fragment)
            .plus(&[self.ttl, self.protocol])
            .plus(&self.source)
            .plus(&self.destination)
            .finish();
    }

    #[inline(always)]
    fn set_payload_bytes(&mut self, payload_bytes: u16) {
        let total_length = (payload_bytes + 20).to_be_bytes();
        self.checksum = Delta::ZERO.replace(&self.total_length, &total_length).apply(self.checksum);
        self.total_length = total_length;
    }
}

impl Rewritable for Ipv6 {
    #[inline(always)]
    fn turn_to(&mut self, destination: &Address, _delta: Delta) {
        self.source = self.destination;
        self.destination = destination.v6();
    }

    #[inline(always)]
    fn set_source(&mut self, source: &Address, _delta: Delta) {
        self.source = source.v6();
    }

    #[inline(always)]
    fn set_destination(&mut self, destination: &Address, _delta: Delta) {
        self.destination = destination.v6();
    }

    #[inline(always)]
    fn set_addresses(&mut self, source: &Address, destination: &Address, _delta: Delta) {
        self.source = source.v6();
        self.destination = destination.v6();
    }

    #[inline(never)]
    fn address_sum(&self) -> Sum {
        Sum::default().plus(&self.source).plus(&self.destination)
    }

    #[inline(always)]
    fn decrement_hops(&mut self) {
        self.hop_limit -= 1;
    }

    #[inline(always)]
    fn make_answer(&mut self, payload_bytes: u16) {
        let asker = self.source;
        self.source = self.destination;
        self.destination = asker;
        self.payload_length = payload_bytes.to_be_bytes();
        self.hop_limit = 64;
        self.version_class_label = [0x60, 0, 0, 0];
    }

    #[inline(always)]
    fn set_payload_bytes(&mut self, payload_bytes: u16) {
        self.payload_length = payload_bytes.to_be_bytes();
    }
}

/// Rewrites a TCP segment and points it at its next hop.
#[inline(always)]
pub(super) fn forward<I: Rewritable>(
    ctx: &XdpContext,
    frame: &mut TcpFrame<I>,
    record: &FlowRecord,
) -> Result<(), Outcome> {
    forward_ip(&mut frame.ethernet, &mut frame.ip, record)?;
    if !is_direct(record) {
        frame.tcp.source_port = record.new_source_port();
        frame.tcp.destination_port = record.new_destination_port();
        frame.tcp.checksum = record.transport_delta.apply(frame.tcp.checksum);
        if splice::is_spliced(record) {
            splice::shift::<I>(ctx, &mut frame.tcp, record);
        } else {
            timestamps::shift::<I>(ctx, &mut frame.tcp, record);
        }
    }
    Ok(())
}

/// Rewrites a datagram and points it at its next hop.
#[inline(always)]
pub(super) fn forward_datagram<I: Rewritable>(
    frame: &mut UdpFrame<I>,
    record: &FlowRecord,
) -> Result<(), Outcome> {
    forward_ip(&mut frame.ethernet, &mut frame.ip, record)?;
    if !is_direct(record) {
        frame.udp.source_port = record.new_source_port();
        frame.udp.destination_port = record.new_destination_port();
        // Zero is no checksum, and stays none; one that comes out as zero is sent as its other form (RFC 768).
        if frame.udp.checksum != [0; 2] {
            let checksum = record.transport_delta.apply(frame.udp.checksum);
            frame.udp.checksum = if checksum == [0; 2] { [0xff; 2] } else { checksum };
        }
    }
    Ok(())
}

/// Whether a record's packets leave as they came, but for the next hop.
#[inline(always)]
pub(super) fn is_direct(record: &FlowRecord) -> bool {
    matches!(record.forwarding(), Forwarding::Direct)
}

/// Whether this is the IPv6 half of code that is there for both families.
#[inline(always)]
pub(super) const fn is_v6<I: Rewritable>() -> bool {
    I::BYTES == 40
}

/// Whether a packet may take one more hop. To a backend that is reached directly it takes none: the VIP is there, too.
#[inline(always)]
pub(super) fn may_hop<I: Rewritable>(ip: &I, record: &FlowRecord) -> bool {
    ip.hops() > 1 || is_direct(record)
}

#[inline(always)]
fn forward_ip<I: Rewritable>(
    ethernet: &mut Ethernet,
    ip: &mut I,
    record: &FlowRecord,
) -> Result<(), Outcome> {
    if record.next_hop.mtu_bytes != 0 && ip.packet_bytes() > record.next_hop.mtu_bytes {
        return Err(Outcome::ExceedsMtu);
    }
    set_next_hop(ethernet, record);
    match (record.forwarding(), record.direction()) {
        (Forwarding::Direct, _) => return Ok(()),
        (Forwarding::Nat, _) => ip.turn_to(&record.new_address, record.address_delta),
        (_, Direction::Forward) => ip.set_destination(&record.new_address, record.address_delta),
        (_, Direction::Reverse) => ip.set_source(&record.new_address, record.address_delta),
    }
    ip.decrement_hops();
    Ok(())
}

#[inline(always)]
pub(super) fn set_next_hop(ethernet: &mut Ethernet, record: &FlowRecord) {
    ethernet.destination = record.next_hop.destination;
    ethernet.source = record.next_hop.source;
}
