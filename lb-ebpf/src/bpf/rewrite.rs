//! Changes a packet's bytes as its flow entry says.

use super::{next_hop::Routed, timestamps};
use crate::abi::{Address, FlowRecord};
use crate::csum::{Delta, Sum};
use crate::outcome::Outcome;
use crate::wire::{Ethernet, Ipv4, Ipv6, TcpFrame};
use aya_ebpf::programs::XdpContext;

/// Families whose headers the program can write.
pub(super) trait Rewritable: Routed {
    /// Sends the packet from where it came to, the VIP, to another address; `delta` is the checksum change.
    fn turn_to(&mut self, destination: &Address, delta: Delta);
    /// Puts new addresses into the header; `delta` is their checksum change.
    fn set_addresses(&mut self, source: &Address, destination: &Address, delta: Delta);
    /// Sum of both addresses, as a pseudo header has them.
    fn address_sum(&self) -> Sum;
    /// One hop less.
    fn decrement_hops(&mut self);
    /// Swaps source and destination and makes this the header of an answer with a payload of so many bytes.
    fn make_answer(&mut self, payload_bytes: u16);
}

impl Rewritable for Ipv4 {
    #[inline(always)]
    fn turn_to(&mut self, destination: &Address, delta: Delta) {
        self.source = self.destination;
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
}

impl Rewritable for Ipv6 {
    #[inline(always)]
    fn turn_to(&mut self, destination: &Address, _delta: Delta) {
        self.source = self.destination;
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
}

/// Rewrites a TCP packet and points it at its next hop.
#[inline(always)]
pub(super) fn forward<I: Rewritable>(
    ctx: &XdpContext,
    frame: &mut TcpFrame<I>,
    record: &FlowRecord,
) -> Result<(), Outcome> {
    if record.next_hop.mtu_bytes != 0 && frame.ip.packet_bytes() > record.next_hop.mtu_bytes {
        return Err(Outcome::ExceedsMtu);
    }
    frame.ip.decrement_hops();
    frame.ip.turn_to(&record.new_destination, record.address_delta);
    frame.tcp.source_port = record.new_source_port();
    frame.tcp.destination_port = record.new_destination_port();
    frame.tcp.checksum = record.transport_delta.apply(frame.tcp.checksum);
    timestamps::shift::<I>(ctx, &mut frame.tcp, record);
    set_next_hop(&mut frame.ethernet, record);
    Ok(())
}

#[inline(always)]
pub(super) fn set_next_hop(ethernet: &mut Ethernet, record: &FlowRecord) {
    ethernet.destination = record.next_hop.destination;
    ethernet.source = record.next_hop.source;
}
