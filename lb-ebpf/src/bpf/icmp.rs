//! ICMP to a VIP: errors about our flows are translated, everything else is the host's.
//!
//! An error quotes a packet that we sent. The answer to that packet would arrive with the quoted
//! addresses turned round, so that key finds the flow entry; what the entry makes of such an answer,
//! turned round again, is how the packet looked to the side which sent it, and that side gets the error.

use super::{
    firewall,
    frame::Frame,
    maps, next_hop, now_ns,
    pipeline::{Result, Sent},
    rewrite::{self, Rewritable},
    splice,
};
use crate::abi::{Address, Direction, FlowKey, FlowRecord};
use crate::csum::Delta;
use crate::outcome::Outcome;
use crate::wire::{
    ETHERNET_BYTES, Icmp, IcmpErrorFrame, IpFrame, Ipv4, Ipv6, PROTOCOL_TCP, PROTOCOL_UDP, QuotedPorts, Tcp,
    is_mapped,
};
use aya_ebpf::programs::XdpContext;
use core::mem::offset_of;

/// What differs between ICMP and ICMPv6.
pub(super) trait IcmpFamily: Rewritable + firewall::Judged {
    fn is_error(icmp: &Icmp) -> bool;
    /// Whether a message is about who has which address.
    fn is_discovery(icmp: &Icmp) -> bool;
    /// Whether a quoted header is one whose ports stand right behind it.
    fn quote_is_plain(&self) -> bool;
    /// The checksum field of the header: only IPv4 has one.
    fn checksum(&self) -> [u8; 2];
    /// Whether the ICMP checksum covers the outer addresses: only ICMPv6's does.
    const CHECKSUM_COVERS_ADDRESSES: bool;
    /// The checksum change of putting these addresses in place of the header's.
    fn delta_to(&self, source: &Address, destination: &Address) -> Delta;
}

impl IcmpFamily for Ipv4 {
    #[inline(always)]
    fn is_error(icmp: &Icmp) -> bool {
        icmp.is_error_v4()
    }
    #[inline(always)]
    fn is_discovery(_: &Icmp) -> bool {
        false
    }
    #[inline(always)]
    fn quote_is_plain(&self) -> bool {
        self.version_ihl == 0x45
            && matches!(self.protocol, PROTOCOL_TCP | PROTOCOL_UDP)
            && self.fragment[0] & 0x1f == 0
            && self.fragment[1] == 0
    }
    #[inline(always)]
    fn checksum(&self) -> [u8; 2] {
        self.checksum
    }
    const CHECKSUM_COVERS_ADDRESSES: bool = false;
    #[inline(always)]
    fn delta_to(&self, source: &Address, destination: &Address) -> Delta {
        Delta::ZERO.replace(&self.source, &source.v4()).replace(&self.destination, &destination.v4())
    }
}

impl IcmpFamily for Ipv6 {
    #[inline(always)]
    fn is_error(icmp: &Icmp) -> bool {
        icmp.is_error_v6()
    }
    #[inline(always)]
    fn is_discovery(icmp: &Icmp) -> bool {
        icmp.is_discovery()
    }
    #[inline(always)]
    fn quote_is_plain(&self) -> bool {
        // An IPv4 flow's addresses in their mapped form: no packet of ours has such a source, and an ICMPv6 error must
        // not reach an IPv4 flow.
        matches!(self.next_header, PROTOCOL_TCP | PROTOCOL_UDP) && !is_mapped(&self.source)
    }
    #[inline(always)]
    fn checksum(&self) -> [u8; 2] {
        [0; 2]
    }
    const CHECKSUM_COVERS_ADDRESSES: bool = true;
    // A function of its own keeps its 32 words off the caller's stack.
    #[inline(never)]
    fn delta_to(&self, source: &Address, destination: &Address) -> Delta {
        Delta::ZERO.replace(&self.source, source.bytes()).replace(&self.destination, destination.bytes())
    }
}

#[inline(never)]
pub(super) fn process<I: IcmpFamily>(ctx: &XdpContext, frame: Frame) -> Result {
    let Some(headers) = frame.view::<IpFrame<I>>() else { return Err(Outcome::Runt) };
    let destination = headers.ip.destination();
    let to_vip = maps::is_vip(&destination);
    // What is not to a VIP may be a backend's error about a client's packet; everything else of that kind is not ours.
    let otherwise = |outcome| if to_vip { outcome } else { Outcome::NotOurs };
    let Some(icmp) = frame.view_at::<Icmp>(ETHERNET_BYTES + I::BYTES) else {
        return Err(otherwise(Outcome::BadIcmp));
    };
    if !I::is_error(icmp) {
        return Err(otherwise(Outcome::IcmpToHost));
    }
    let Some(error) = frame.view::<IcmpErrorFrame<I>>() else { return Err(otherwise(Outcome::BadIcmp)) };
    // Judged by the packet's own length: behind it there may be padding.
    let ip_bytes = error.ip.packet_bytes() as usize;
    if ip_bytes < I::BYTES + size_of::<Icmp>() + I::BYTES + size_of::<QuotedPorts>() {
        return Err(otherwise(Outcome::BadIcmp));
    }
    if !error.quoted_ip.quote_is_plain() {
        return Err(otherwise(Outcome::IcmpUnrelated));
    }
    let answer = FlowKey::new(
        error.quoted_ip.destination(),
        error.quoted_ports.destination_port,
        error.quoted_ip.source(),
        error.quoted_ports.source_port,
        error.quoted_ip.protocol(),
    );
    if !to_vip && !answer.destination.is(&destination) {
        return Err(Outcome::NotOurs);
    }
    let record = match maps::established(&answer) {
        Some(record) => record,
        None => maps::embryonic(&answer).ok_or(otherwise(Outcome::IcmpUnrelated))?,
    };
    if !rewrite::may_hop(&error.ip, record) {
        return Err(Outcome::TtlExceeded);
    }
    next_hop::refresh::<I>(ctx, &answer, record, now_ns());
    let sent = Sent { outcome: Outcome::IcmpError, ifindex: record.next_hop.ifindex };
    rewrite::set_next_hop(&mut error.ethernet, record);
    if rewrite::is_direct(record) {
        // The backend sent the quoted packet as it stands there.
        return Ok(sent);
    }
    let quoted_tcp_at = I::BYTES + size_of::<Icmp>() + I::BYTES;
    let has_checksum = answer.protocol() == PROTOCOL_TCP && ip_bytes >= quoted_tcp_at + size_of::<Tcp>();
    // The field alone: a view of the whole header would overlap the one of the error's frame.
    let checksum_at = ETHERNET_BYTES + quoted_tcp_at + offset_of!(Tcp, checksum);
    let quoted_checksum = if has_checksum { frame.view_at::<[u8; 2]>(checksum_at) } else { None };
    translate(error, quoted_checksum, &answer, record);
    Ok(sent)
}

/// Rewrites the quoted packet to what its sender sent, and the outer one to come from the VIP.
#[inline(always)]
fn translate<I: IcmpFamily>(
    error: &mut IcmpErrorFrame<I>,
    quoted_tcp_checksum: Option<&mut [u8; 2]>,
    answer: &FlowKey,
    record: &FlowRecord,
) {
    let (source, destination) = record.rewritten(answer);
    let quote = &mut error.quoted_ip;
    let ports_quoted = &mut error.quoted_ports;
    let addresses = quote.delta_to(destination, source);
    let ports = Delta::ZERO
        .replace(&ports_quoted.source_port, &record.new_destination_port())
        .replace(&ports_quoted.destination_port, &record.new_source_port());
    let old_checksum = quote.checksum();
    quote.set_addresses(destination, source, addresses);
    let mut delta = addresses.and(ports).replace(&old_checksum, &quote.checksum());
    ports_quoted.source_port = record.new_destination_port();
    ports_quoted.destination_port = record.new_source_port();
    // What this entry's packets answer came from the backend, with other numbers than its client knows.
    let mut sequence = Delta::ZERO;
    if splice::is_spliced(record) && matches!(record.direction(), Direction::Forward) {
        sequence = splice::shift_quoted(ports_quoted, record.shift);
        delta = delta.and(sequence);
    }
    // Most quotes are long enough to hold TCP's own checksum, which must fit the translated packet too; UDP's always is
    // there, unless it is none.
    let quoted_checksum = if answer.protocol() == PROTOCOL_UDP {
        Some(&mut ports_quoted.sequence_or_checksum).filter(|checksum| **checksum != [0; 2])
    } else {
        quoted_tcp_checksum
    };
    if let Some(checksum) = quoted_checksum {
        let old = *checksum;
        *checksum = addresses.and(ports).and(sequence).apply(old);
        delta = delta.replace(&old, checksum);
    }

    let (vip, _) = record.entrance(answer);
    let outer = error.ip.delta_to(vip, destination);
    if I::CHECKSUM_COVERS_ADDRESSES {
        delta = delta.and(outer);
    }
    error.icmp.checksum = delta.apply(error.icmp.checksum);
    error.ip.decrement_hops();
    error.ip.set_addresses(vip, destination, outer);
}
