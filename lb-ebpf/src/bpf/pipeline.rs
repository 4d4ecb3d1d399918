//! A packet's way through the program: whose is it, is it sane, which flow, what then.
//!
//! Nothing is written to a packet before it is known to be ours.

use super::{
    cookies::{self, Account},
    established, explain, firewall,
    frame::Frame,
    handshake, host, icmp, lease, maps, new_flow, now_ns, reset,
    rewrite::Rewritable,
    splice, sync,
};
use crate::abi::{Address, Decision, Direction, FlowKey, Forwarding, NO_RULE, Policy, Service, ServiceKey};
use crate::flow_state::FlowState;
use crate::outcome::{Outcome, Verdict};
use crate::wire::{
    ETHER_TYPE_ARP, ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, ETHER_TYPES_VLAN, ETHERNET_BYTES, Ethernet, IpFrame,
    Ipv4, Ipv6, PROTOCOL_TCP, PROTOCOL_UDP, Tcp, TcpFlags, TcpFrame, UdpFrame,
};
use aya_ebpf::programs::XdpContext;

/// A packet that leaves.
pub struct Sent {
    /// What became of it.
    pub outcome: Outcome,
    /// The interface it leaves by; 0 is the one it came from.
    pub ifindex: u32,
}

/// A SYN or a datagram to a service, before anything was done about it. It is kept in the scratch space, off the small stack.
#[derive(Clone, Copy)]
pub struct Opening {
    /// The service.
    pub(super) service: Service,
    /// What the firewall says, and by which generation of its policy.
    pub(super) decision: Decision,
    pub(super) generation: u32,
    /// The firewall's rule that limits how many flows the source may have; `NO_RULE` is none.
    pub(super) limit_rule: u16,
    /// How it goes on.
    pub(super) way: Way,
    /// The cookie that was brought back, or what the SYN offers, and the SYN's sequence number; or zeros.
    pub(super) cookie: u32,
    pub(super) client_isn: u32,
    /// What the flow's state says of that.
    pub(super) state_of_cookie: u64,
    /// The clock.
    pub(super) now: u64,
}

/// How a flow begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// With a SYN or a datagram, and a record.
    Recorded,
    /// With a cookie that was brought back, and a record.
    Proved,
    /// With a SYN, or what follows such a one, of which nothing is kept.
    Unrecorded,
    /// With what follows such a SYN, and a record.
    Late,
}

/// A packet that leaves, or the outcome of one that does not.
pub type Result = core::result::Result<Sent, Outcome>;

/// Decides a packet and rewrites it where it leaves.
#[inline(always)]
pub fn process(ctx: &XdpContext) -> Result {
    let frame = Frame::new(ctx);
    let Some(ethernet) = frame.view::<Ethernet>() else { return Err(Outcome::Runt) };
    match ethernet.ether_type {
        ETHER_TYPE_IPV4 => process_family::<Ipv4>(ctx, frame),
        ETHER_TYPE_IPV6 => process_family::<Ipv6>(ctx, frame),
        ETHER_TYPE_ARP if lease::is_over() && lease::covers_arp(frame) => Err(Outcome::LeaseOver),
        tag if tag == ETHER_TYPES_VLAN[0] || tag == ETHER_TYPES_VLAN[1] => Err(Outcome::VlanTagged),
        _ => Err(Outcome::NotIp),
    }
}

/// A decision that may only fall on a packet to a VIP.
#[inline(always)]
fn if_ours(destination: &Address, outcome: Outcome) -> Outcome {
    if maps::is_vip(destination) { outcome } else { Outcome::NotOurs }
}

/// Decides a packet; what is left for the host, the firewall decides.
#[inline(always)]
fn process_family<I: icmp::IcmpFamily>(ctx: &XdpContext, frame: Frame) -> Result {
    let result = process_ip::<I>(ctx, frame);
    let Err(outcome) = result else { return result };
    // What the agent serves was judged by its service's rules.
    if !matches!(outcome.verdict(), Verdict::Pass) || matches!(outcome, Outcome::ToAgent) {
        return Err(outcome);
    }
    Err(host::judge::<I>(ctx, outcome))
}

#[inline(always)]
fn process_ip<I: icmp::IcmpFamily>(ctx: &XdpContext, frame: Frame) -> Result {
    let Some(headers) = frame.view::<IpFrame<I>>() else { return Err(Outcome::Runt) };
    let ip = &headers.ip;
    // Answers that backends address to clients come from backends.
    if !maps::may_be_vip(ip.destination_last_bytes()) && !maps::may_answer(ip.source_last_bytes())
        || ip.destination_is_mapped()
    {
        return Err(Outcome::NotOurs);
    }
    if lease::is_over() && lease::covers::<I>(frame) {
        return Err(Outcome::LeaseOver);
    }
    let claimed = ip.packet_bytes() + ETHERNET_BYTES as u32;
    let ip_bytes = frame.bytes(ctx, claimed) - ETHERNET_BYTES as u32;
    if let Err(outcome) = ip.check(ip_bytes) {
        return Err(if_ours(&ip.destination(), outcome));
    }
    match ip.protocol() {
        PROTOCOL_TCP => process_tcp::<I>(ctx, frame),
        PROTOCOL_UDP => process_udp::<I>(ctx, frame),
        protocol if protocol == I::PROTOCOL_ICMP => icmp::process::<I>(ctx, frame),
        _ => Err(if_ours(&ip.destination(), Outcome::OtherProtocol)),
    }
}

#[inline(always)]
fn process_tcp<I: icmp::IcmpFamily>(ctx: &XdpContext, frame: Frame) -> Result {
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
    let policy = firewall::policy();
    let flags = TcpFlags::new(segment.tcp.flags);
    // What the firewall denies is dropped before it costs the look-up of a flow that it can only begin.
    let opens = flags.is_open() && is_to_service::<I>(&policy, &key, now)?;
    if let Some(record) = maps::established(&key) {
        if !established::begins_anew(record, flags) {
            if record.policy_generation != policy.generation {
                firewall::judge_again::<I>(&policy, &key, record, true)?;
            }
            return established::process::<I>(ctx, segment, &key, record, now);
        }
        established::forget(&key, record);
    } else if let Some(record) = maps::embryonic(&key) {
        if handshake::has_its_port(&key, record) {
            if record.policy_generation != policy.generation {
                firewall::judge_again::<I>(&policy, &key, record, false)?;
            }
            return if splice::is_of_handshake(record, flags) {
                splice::process::<I>(ctx, segment, &key, record, now)
            } else {
                handshake::process::<I>(ctx, segment, &key, record, now)
            };
        }
        handshake::forget(&key);
    }
    if opens || makes_up::<I>(&key, &segment.tcp, &policy, now)? {
        open::<I>(ctx, frame, &key)
    } else {
        process_unknown::<I>(ctx, frame, segment, &key, &policy, now)
    }
}

#[inline(always)]
fn process_udp<I: icmp::IcmpFamily>(ctx: &XdpContext, frame: Frame) -> Result {
    let Some(datagram) = frame.view::<UdpFrame<I>>() else {
        return match frame.view::<IpFrame<I>>() {
            Some(headers) => Err(if_ours(&headers.ip.destination(), Outcome::BadUdpHeader)),
            None => Err(Outcome::Runt),
        };
    };
    if let Err(outcome) = datagram.udp.check(datagram.ip.packet_bytes() - I::BYTES as u32) {
        return Err(if_ours(&datagram.ip.destination(), outcome));
    }
    let key = FlowKey::new(
        datagram.ip.source(),
        datagram.udp.source_port,
        datagram.ip.destination(),
        datagram.udp.destination_port,
        PROTOCOL_UDP,
    );
    let now = now_ns();
    let policy = firewall::policy();
    if let Some(record) = maps::established(&key) {
        if record.policy_generation != policy.generation {
            firewall::judge_again::<I>(&policy, &key, record, true)?;
        }
        return established::process_datagram::<I>(ctx, datagram, &key, record, now);
    }
    if let Some(record) = maps::embryonic(&key) {
        if handshake::has_its_port(&key, record) {
            if record.policy_generation != policy.generation {
                firewall::judge_again::<I>(&policy, &key, record, false)?;
            }
            return handshake::process_datagram::<I>(ctx, datagram, &key, record, now);
        }
        handshake::forget(&key);
    }
    // Promoted on another CPU between the two look-ups.
    if let Some(record) = maps::established(&key) {
        return established::process_datagram::<I>(ctx, datagram, &key, record, now);
    }
    if !is_to_service::<I>(&policy, &key, now)? {
        return Err(host::of_no_service(&key));
    }
    // What answers an answer would go on for ever between two services.
    if maps::may_be_vip(datagram.ip.source_last_bytes()) && maps::is_vip(&key.source) {
        return Err(Outcome::BadSource);
    }
    if maps::opening().ok_or(Outcome::Internal)?.service.slots_len == 0 {
        return Err(Outcome::NoBackendDropped);
    }
    admit(&key)?;
    new_flow::process_datagram::<I>(ctx, frame, &key)
}

#[inline(always)]
fn service_key(key: &FlowKey) -> ServiceKey {
    ServiceKey::new(key.destination, key.destination_port(), key.protocol())
}

/// Whether a packet is for a service, and then it is judged, and its opening is put into the scratch space.
#[inline(always)]
fn is_to_service<I: icmp::IcmpFamily>(
    policy: &Policy,
    key: &FlowKey,
    now: u64,
) -> core::result::Result<bool, Outcome> {
    let Some(service) = maps::service(&service_key(key)) else { return Ok(false) };
    explain::note_service(service);
    let decision = firewall::judge::<I>(policy, &key.source, service)?;
    *maps::opening().ok_or(Outcome::Internal)? = Opening {
        service: *service,
        decision,
        generation: policy.generation,
        limit_rule: NO_RULE,
        way: Way::Recorded,
        cookie: 0,
        client_isn: 0,
        state_of_cookie: 0,
        now,
    };
    Ok(true)
}

/// A SYN to a service, of no flow; or a segment that comes after one that was answered, or let go by, without a record.
#[inline(always)]
fn open<I: Rewritable>(ctx: &XdpContext, frame: Frame, key: &FlowKey) -> Result {
    let opening = maps::opening().ok_or(Outcome::Internal)?;
    if opening.service.is_served_here() {
        admit(key)?;
        return Err(Outcome::ToAgent);
    }
    // It would end with this node, which may be any moment now.
    if sync::is_unheard(opening.now) && maps::needs_lease(&key.destination) {
        return Err(Outcome::Unheard);
    }
    if opening.service.slots_len == 0 {
        if opening.service.when_down != 0 {
            return Err(Outcome::NoBackendDropped);
        }
        return reset::answer::<I>(ctx, frame, Outcome::NoBackend);
    }
    let forwarding = opening.service.forwarding();
    let account = Account::of(forwarding, opening.state_of_cookie);
    if !matches!(opening.way, Way::Proved) && cookies::is_flood(account, opening.service.id, opening.now) {
        if !matches!(forwarding, Forwarding::Direct) {
            return cookies::answer::<I>(ctx, frame, key, opening.now);
        }
        cookies::note_sent(forwarding, opening.now);
        // Its rule's limits are for what comes next: this source may be forged.
        opening.way = Way::Unrecorded;
        opening.service.steer_by_hash();
    } else {
        if matches!(forwarding, Forwarding::Direct) && cookies::may_come(forwarding, opening.now) {
            // Its SYN may have gone by before, and the backend have answered.
            opening.service.steer_by_hash();
        }
        admit(key)?;
    }
    new_flow::process::<I>(ctx, frame, key)
}

/// Lets the firewall's limits have their say about the opening in the scratch space.
#[inline(always)]
fn admit(key: &FlowKey) -> core::result::Result<(), Outcome> {
    let opening = maps::opening().ok_or(Outcome::Internal)?;
    opening.limit_rule = firewall::admit(opening.decision, &key.source, opening.now)?;
    Ok(())
}

/// A packet of no flow that begins none: it is answered with RST, or is the host's.
#[inline(always)]
fn process_unknown<I: icmp::IcmpFamily>(
    ctx: &XdpContext,
    frame: Frame,
    segment: &mut TcpFrame<I>,
    key: &FlowKey,
    policy: &Policy,
    now: u64,
) -> Result {
    if !maps::is_vip(&key.destination) {
        return match maps::established(key) {
            // As below: a backend's answer to a client.
            Some(record) => established::process::<I>(ctx, segment, key, record, now),
            None => Err(Outcome::NotOurs),
        };
    }
    match maps::service(&service_key(key)) {
        Some(service) => {
            explain::note_service(service);
            firewall::judge::<I>(policy, &key.source, service)?;
            if service.is_served_here() {
                return Err(Outcome::ToAgent);
            }
        }
        None => {
            let node = maps::node().ok_or(Outcome::Internal)?;
            if !node.owns_nat_port(key.destination_port()) {
                // The host's stack would answer with RST.
                let waits = sync::is_grace(now) && sync::is_peers_port(key.destination_port());
                return Err(if waits { Outcome::InGrace } else { Outcome::NoService });
            }
            // Not judged: as a rule a backend that has yet to hear that its flow is gone.
        }
    }
    if TcpFlags::new(segment.tcp.flags).has(TcpFlags::RST) {
        Err(Outcome::UnknownReset)
    } else if let Some(record) = maps::established(key) {
        // Promoted on another CPU between the two look-ups.
        established::process::<I>(ctx, segment, key, record, now)
    } else if sync::is_grace(now) {
        Err(Outcome::InGrace)
    } else {
        reset::answer::<I>(ctx, frame, Outcome::UnknownFlow)
    }
}

/// Whether a segment to a service, of no flow, follows a SYN of which no record was made, and makes up for it. Then its opening is
/// in the scratch space.
#[inline(never)]
fn makes_up<I: icmp::IcmpFamily>(
    key: &FlowKey,
    tcp: &Tcp,
    policy: &Policy,
    now: u64,
) -> core::result::Result<bool, Outcome> {
    let flags = TcpFlags::new(tcp.flags);
    // The look-up is for a flow that was promoted on another CPU meanwhile.
    if !flags.has(TcpFlags::ACK)
        || flags.has(TcpFlags::SYN | TcpFlags::RST)
        || !(cookies::may_come(Forwarding::Nat, now) || cookies::may_come(Forwarding::Direct, now))
        || maps::established(key).is_some()
        || !is_to_service::<I>(policy, key, now)?
    {
        return Ok(false);
    }
    let opening = maps::opening().ok_or(Outcome::Internal)?;
    let forwarding = opening.service.forwarding();
    if opening.service.is_served_here() || !cookies::may_come(forwarding, now) {
        return Ok(false);
    }
    if matches!(forwarding, Forwarding::Direct) {
        opening.way = Way::Late;
        // It may be the end of the flow already.
        opening.state_of_cookie = FlowState::LATE.with(FlowState::added_by(Direction::Forward, flags)).bits();
        opening.service.steer_by_hash();
        return Ok(true);
    }
    let (client_isn, good) = cookies::check(key, tcp);
    if good {
        opening.way = Way::Proved;
        opening.state_of_cookie = FlowState::COOKIE.bits();
        opening.client_isn = client_isn;
        opening.cookie = u32::from_be_bytes(tcp.acknowledgement).wrapping_sub(1);
    }
    Ok(good)
}
