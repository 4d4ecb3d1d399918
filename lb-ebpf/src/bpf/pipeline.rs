//! A packet's way through the program: whose is it, is it sane, which flow, what then.
//!
//! Nothing is written to a packet before it is known to be ours.

use super::{established, frame::Frame, handshake, icmp, maps, new_flow, now_ns, reset, rewrite::Rewritable};
use crate::abi::{Address, FlowKey, ServiceKey};
use crate::outcome::Outcome;
use crate::wire::{
    ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, ETHER_TYPES_VLAN, ETHERNET_BYTES, Ethernet, IpFrame, Ipv4, Ipv6,
    PROTOCOL_TCP, TcpFlags, TcpFrame,
};
use aya_ebpf::programs::XdpContext;

/// A packet that leaves.
pub struct Sent {
    /// What became of it.
    pub outcome: Outcome,
    /// The interface it leaves by; 0 is the one it came from.
    pub ifindex: u32,
}

/// A packet that leaves, or the outcome of one that does not.
pub type Result = core::result::Result<Sent, Outcome>;

/// Decides a packet and rewrites it where it leaves.
#[inline(always)]
pub fn process(ctx: &XdpContext) -> Result {
    let frame = Frame::new(ctx);
    let Some(ethernet) = frame.view::<Ethernet>() else { return Err(Outcome::Runt) };
    match ethernet.ether_type {
        ETHER_TYPE_IPV4 => process_ip::<Ipv4>(ctx, frame),
        ETHER_TYPE_IPV6 => process_ip::<Ipv6>(ctx, frame),
        tag if tag == ETHER_TYPES_VLAN[0] || tag == ETHER_TYPES_VLAN[1] => Err(Outcome::VlanTagged),
        _ => Err(Outcome::NotIp),
    }
}

/// A decision that may only fall on a packet to a VIP.
#[inline(always)]
fn if_ours(destination: &Address, outcome: Outcome) -> Outcome {
    if maps::is_vip(destination) { outcome } else { Outcome::NotOurs }
}

#[inline(always)]
fn process_ip<I: icmp::IcmpFamily>(ctx: &XdpContext, frame: Frame) -> Result {
    let Some(headers) = frame.view::<IpFrame<I>>() else { return Err(Outcome::Runt) };
    let ip = &headers.ip;
    if !maps::may_be_vip(ip.destination_last_bytes()) || ip.destination_is_mapped() {
        return Err(Outcome::NotOurs);
    }
    let claimed = ip.packet_bytes() + ETHERNET_BYTES as u32;
    let ip_bytes = frame.bytes(ctx, claimed) - ETHERNET_BYTES as u32;
    if let Err(outcome) = ip.check(ip_bytes) {
        return Err(if_ours(&ip.destination(), outcome));
    }
    match ip.protocol() {
        PROTOCOL_TCP => process_tcp::<I>(ctx, frame),
        protocol if protocol == I::PROTOCOL_ICMP => icmp::process::<I>(ctx, frame),
        _ => Err(if_ours(&ip.destination(), Outcome::OtherProtocol)),
    }
}

#[inline(always)]
fn process_tcp<I: Rewritable>(ctx: &XdpContext, frame: Frame) -> Result {
    let Some(segment) = frame.view::<TcpFrame<I>>() else {
        return match frame.view::<IpFrame<I>>() {
            Some(headers) => Err(if_ours(&headers.ip.destination(), Outcome::BadTcpHeader)),
            None => Err(Outcome::Runt),
        };
    };
    if let Err(outcome) = segment.tcp.check(segment.ip.packet_bytes() - I::BYTES as u32) {
        return Err(if_ours(&segment.ip.destination(), outcome));
    }
    let key = FlowKey::new(
        segment.ip.source(),
        segment.tcp.source_port,
        segment.ip.destination(),
        segment.tcp.destination_port,
        PROTOCOL_TCP,
    );
    let now = now_ns();
    if let Some(record) = maps::established(&key) {
        if !established::begins_anew(record, TcpFlags::new(segment.tcp.flags)) {
            return established::process::<I>(ctx, segment, &key, record, now);
        }
        established::forget(&key, record);
    } else if let Some(record) = maps::embryonic(&key) {
        if handshake::has_its_port(&key, record) {
            return handshake::process::<I>(ctx, segment, &key, record, now);
        }
        handshake::forget(&key);
    }
    process_unknown::<I>(ctx, frame, segment, &key, now)
}

/// A packet of no flow: it begins one, or is answered with RST, or is the host's.
#[inline(always)]
fn process_unknown<I: Rewritable>(
    ctx: &XdpContext,
    frame: Frame,
    segment: &mut TcpFrame<I>,
    key: &FlowKey,
    now: u64,
) -> Result {
    let flags = TcpFlags::new(segment.tcp.flags);
    let service_key = ServiceKey::new(key.destination, key.destination_port(), PROTOCOL_TCP);
    let service = maps::service(&service_key);
    if let (Some(service), true) = (service, flags.is_open()) {
        if service.slots_len == 0 {
            if service.when_down != 0 {
                return Err(Outcome::NoBackendDropped);
            }
            return reset::answer::<I>(ctx, frame, Outcome::NoBackend);
        }
        return new_flow::process::<I>(ctx, segment, key, &service, now);
    }
    if !maps::is_vip(&key.destination) {
        return Err(Outcome::NotOurs);
    }
    let ours = service.is_some()
        || match maps::node() {
            Some(node) => node.owns_nat_port(key.destination_port()),
            None => return Err(Outcome::Internal),
        };
    if !ours {
        Err(Outcome::NoService)
    } else if flags.has(TcpFlags::RST) {
        Err(Outcome::UnknownReset)
    } else if let Some(record) = maps::established(key) {
        // Promoted on another CPU between the two look-ups.
        established::process::<I>(ctx, segment, key, record, now)
    } else {
        reset::answer::<I>(ctx, frame, Outcome::UnknownFlow)
    }
}
