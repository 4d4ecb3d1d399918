//! A flow that begins, with a client's SYN or first datagram: a slot, a NAT port, two embryonic entries.

use super::{
    cookies, established, explain,
    frame::Frame,
    limits,
    maps::{self, Draft},
    next_hop, options,
    pipeline::{Result, Sent, Way},
    random, reset,
    rewrite::{self, Rewritable},
    splice, timestamps,
};
use crate::abi::{
    Backend, FlowKey, FlowRecord, Forwarding, NextHop, PORT_ATTEMPTS, PORT_REST_NS, Scheduler, Service,
    age_ns,
};
use crate::cookie::Offer;
use crate::flow_state::FlowState;
use crate::outcome::{Occurrence, Outcome};
use crate::steer;
use crate::wire::{IpFrame, TcpFrame, UdpFrame};
use aya_ebpf::programs::XdpContext;

/// Begins a flow with a client's SYN, or with what came in its place.
#[inline(always)]
pub(super) fn process<I: Rewritable>(ctx: &XdpContext, frame: Frame, key: &FlowKey) -> Result {
    let opening = maps::opening().ok_or(Outcome::Internal)?;
    let (way, client_isn, cookie, now) = (opening.way, opening.client_isn, opening.cookie, opening.now);
    let is_syn_of_nat = matches!((way, opening.service.forwarding()), (Way::Recorded, Forwarding::Nat));
    if is_syn_of_nat && cookies::may_come(Forwarding::Nat, now) {
        keep_syn::<I>(ctx, frame)?;
    }
    let draft = maps::draft().ok_or(Outcome::Internal)?;
    draft.forward.shift = if is_syn_of_nat {
        let segment = frame.view::<TcpFrame<I>>().ok_or(Outcome::Runt)?;
        timestamps::shift_of(ctx, segment, now)
    } else {
        0
    };
    match begin::<I>(ctx, frame, key, draft) {
        Err(Outcome::AtLimit) => return reset::answer::<I>(ctx, frame, Outcome::AtLimit),
        begun => begun?,
    }
    let outcome = match way {
        Way::Proved => {
            splice::restore_syn::<I>(ctx, client_isn, Offer::of(cookie))?;
            Outcome::CookieAccepted
        }
        Way::Unrecorded => Outcome::Unrecorded,
        Way::Recorded | Way::Late => Outcome::NewFlow,
    };
    let segment = Frame::new(ctx).view::<TcpFrame<I>>().ok_or(Outcome::Runt)?;
    rewrite::forward(ctx, segment, &draft.forward)?;
    Ok(Sent { outcome, ifindex: draft.forward.next_hop.ifindex })
}

/// Keeps what a SYN was, should it have to go out again from another port. Flows that began with a cookie have no timestamps, and leave
/// ports behind on which backends in TIME-WAIT do not take every SYN; so that is for a while after a flood.
#[inline(never)]
fn keep_syn<I: Rewritable>(ctx: &XdpContext, frame: Frame) -> core::result::Result<(), Outcome> {
    let segment = frame.view::<TcpFrame<I>>().ok_or(Outcome::Runt)?;
    if segment.ip.packet_bytes() != I::BYTES as u32 + segment.tcp.header_bytes() {
        // Its data (TCP Fast Open) would not go out again; and a backend that took it must not get it twice.
        return Ok(());
    }
    let client_isn = u32::from_be_bytes(segment.tcp.sequence);
    let offer = options::read::<I>(ctx, segment.tcp.header_bytes()).offer;
    let opening = maps::opening().ok_or(Outcome::Internal)?;
    opening.state_of_cookie = FlowState::SYN_KEPT.bits();
    opening.cookie = offer.bits();
    opening.client_isn = client_isn;
    Ok(())
}

/// Begins a flow with a client's first datagram.
#[inline(always)]
pub(super) fn process_datagram<I: Rewritable>(ctx: &XdpContext, frame: Frame, key: &FlowKey) -> Result {
    maps::opening().ok_or(Outcome::Internal)?.way = Way::Recorded;
    let draft = maps::draft().ok_or(Outcome::Internal)?;
    draft.forward.shift = 0;
    match begin::<I>(ctx, frame, key, draft) {
        // There is no such answer to a datagram.
        Err(Outcome::AtLimit) => return Err(Outcome::AtLimitDropped),
        begun => begun?,
    }
    let datagram = frame.view::<UdpFrame<I>>().ok_or(Outcome::Runt)?;
    rewrite::forward_datagram(datagram, &draft.forward)?;
    Ok(Sent { outcome: Outcome::NewFlow, ifindex: draft.forward.next_hop.ifindex })
}

/// Makes a flow's entries, of which the draft keeps the forward one. The packet, whose opening is in the scratch space, is left as
/// it is.
#[inline(never)]
fn begin<I: Rewritable>(
    ctx: &XdpContext,
    frame: Frame,
    key: &FlowKey,
    draft: &mut Draft,
) -> core::result::Result<(), Outcome> {
    let packet = frame.view::<IpFrame<I>>().ok_or(Outcome::Runt)?;
    let opening = maps::opening().ok_or(Outcome::Internal)?;
    let (now, forwarding) = (opening.now, opening.service.forwarding());
    if packet.ip.hops() <= 1 && !matches!(forwarding, Forwarding::Direct) {
        return Err(Outcome::TtlExceeded);
    }
    limits::check_service(&opening.service)?;
    let backend_id = schedule(&opening.service, key)?;
    let backend = maps::backend(backend_id).ok_or(Outcome::Internal)?;

    let forward = &mut draft.forward;
    forward.write(forwarding, opening.service.id, key, (&backend.address, backend.port()));
    forward.backend_id = backend_id;
    forward.policy_generation = opening.generation;
    forward.limit_rule = opening.limit_rule;
    // Nothing, where there is none. Asked for here, it would double what the verifier has to follow.
    forward.begin_with_cookie(opening.state_of_cookie, opening.cookie, opening.client_isn);
    next_hop::resolve::<I>(ctx, key, forward, now)?;
    if !matches!(forwarding, Forwarding::Direct) {
        draft.reverse.write_answers(key, &draft.forward);
        draft.reverse.begin_with_cookie(opening.state_of_cookie, opening.cookie, opening.client_isn);
        draft.reverse.policy_generation = opening.generation;
        draft.reverse.last_seen_ns = now;
        // Until the first answer asks the routing tables, the way back is where the packet came from.
        draft.reverse.next_hop = NextHop {
            destination: packet.ethernet.source,
            source: packet.ethernet.destination,
            ifindex: ctx.ingress_ifindex() as u32,
            mtu_bytes: 0,
        };
        draft.from_backend = draft.forward.twin_key(key);
        if matches!(forwarding, Forwarding::Nat) {
            take_port(draft, now)?;
        } else {
            take_source(key, draft)?;
        }
    }

    explain::note_flow(key, &draft.forward, 3);
    if matches!(opening.way, Way::Unrecorded) {
        return Ok(());
    }
    // The packet is counted before the entry is copied into the table, so that the table has the count.
    established::account(&mut draft.forward, packet.ip.packet_bytes(), now);
    maps::account(backend_id, |stats| stats.flows_new += 1);
    if maps::put_embryonic(key, &draft.forward).is_err() {
        if !matches!(forwarding, Forwarding::Direct) {
            maps::remove_embryonic(&draft.from_backend);
        }
        return Err(Outcome::TableRefused);
    }
    cookies::note_begun(&draft.forward);
    Ok(())
}

/// The backend whose turn it is, as the service's scheduler sees it.
#[inline(never)]
fn schedule(service: &Service, key: &FlowKey) -> core::result::Result<u32, Outcome> {
    let index = match service.scheduler() {
        Scheduler::RoundRobin | Scheduler::LeastConnections => {
            let ticket = maps::draw_slot_ticket(service.id).ok_or(Outcome::Internal)?;
            steer::slot_index(ticket, service.slots_len)
        }
        Scheduler::SourceHash => {
            let hash = steer::Hash::START.with(key.source.words()).finish();
            steer::hashed_slot_index(hash, service.slots_len)
        }
        Scheduler::Maglev => steer::hashed_slot_index(key.hash(), service.slots_len),
    };
    let first = limits::backend_with_room(service, index)?;
    if !matches!(service.scheduler(), Scheduler::LeastConnections) {
        return Ok(first);
    }
    let other = steer::other_slot_index(index, random(), service.slots_len);
    let second = maps::slot(service.slots_base.wrapping_add(other)).ok_or(Outcome::Internal)?;
    let (first_backend, second_backend) =
        (maps::backend(first).ok_or(Outcome::Internal)?, maps::backend(second).ok_or(Outcome::Internal)?);
    let load = |id, backend: &Backend| (maps::active_flows(id), backend.weight);
    let less = steer::is_less_loaded(load(second, second_backend), load(first, first_backend));
    Ok(if less && !limits::is_full(second, second_backend) { second } else { first })
}

/// Finds a free NAT port, and takes it by inserting the reverse entry under it: whoever inserts first
/// has it.
#[inline(never)]
pub(super) fn take_port(draft: &mut Draft, now: u64) -> core::result::Result<(), Outcome> {
    let node = maps::node().ok_or(Outcome::Internal)?;
    if node.nat_port_count == 0 {
        return Err(Outcome::PortsExhausted);
    }
    let backend_id = draft.forward.backend_id;
    // In the draft: of a local the verifier would follow all values.
    draft.last_resort = 0;
    for attempt in 0..PORT_ATTEMPTS {
        let ticket = maps::draw_port_ticket(backend_id, attempt).ok_or(Outcome::Internal)?;
        let port = steer::nat_port(node.nat_port_first, node.nat_port_count, ticket, attempt).to_be_bytes();
        draft.set_port(port);
        if is_free(&draft.from_backend) {
            if maps::insert_embryonic(&draft.from_backend, &draft.reverse) || take_over(draft, now, false) {
                return Ok(());
            }
        }
        maps::count(Occurrence::PortCollision);
    }
    if draft.last_resort != 0 {
        draft.set_port((draft.last_resort as u16).to_be_bytes());
        if take_over(draft, now, true) {
            return Ok(());
        }
    }
    Err(Outcome::PortsExhausted)
}

impl Draft {
    /// Gives both entries that NAT port, network byte order.
    #[inline(always)]
    fn set_port(&mut self, port: [u8; 2]) {
        self.from_backend.set_destination_port(port);
        self.forward.set_new_source_port(port);
        self.reverse.follow_port_of(&self.forward);
    }
}

/// Takes the port from datagrams that have rested, if it is theirs; or from a handshake, where all others were tried in vain: its
/// backend may not have forgotten it, and costs the next flow a second. Should its own flow go on after all, it gets another port.
#[inline(never)]
fn take_over(draft: &mut Draft, now: u64, from_handshake: bool) -> bool {
    let rests = |record: &FlowRecord| age_ns(record.last_seen_ns, now) >= PORT_REST_NS;
    let Some(owner) = maps::embryonic(&draft.from_backend) else { return false };
    if !rests(owner) {
        return false;
    }
    // The client's entry may have given way, and the client's datagrams have another flow by now.
    let client = owner.twin_key(&draft.from_backend);
    let forward = maps::embryonic(&client).filter(|forward| forward.twin_key(&client) == draft.from_backend);
    // A flow that is complete, as its client's entry knows, is here because the established table was full.
    if forward.as_ref().is_some_and(|forward| !rests(forward) || forward.state().has(FlowState::CONFIRMED)) {
        return false;
    }
    let is_handshake = !owner.state().is_of_datagrams();
    if is_handshake && !from_handshake {
        draft.last_resort = u32::from(u16::from_be_bytes(draft.forward.new_source_port()));
        return false;
    }
    if forward.is_some() {
        maps::remove_embryonic(&client);
    }
    if is_handshake {
        cookies::note_shortage(draft.forward.service_id(), now);
    }
    maps::count(Occurrence::PortReused);
    maps::put_embryonic(&draft.from_backend, &draft.reverse).is_ok()
}

/// Takes the client's own address and port towards the backend, where nobody else has them.
#[inline(never)]
fn take_source(key: &FlowKey, draft: &mut Draft) -> core::result::Result<(), Outcome> {
    if is_free(&draft.from_backend) {
        if maps::insert_embryonic(&draft.from_backend, &draft.reverse) {
            return Ok(());
        }
        // Left by this very flow, whose other entry gave way in a flood: it is written anew.
        if maps::embryonic(&draft.from_backend).is_some_and(|owner| owner.answers(key))
            && maps::put_embryonic(&draft.from_backend, &draft.reverse).is_ok()
        {
            return Ok(());
        }
    }
    Err(Outcome::SourceTaken)
}

/// Whether no established flow has this reverse key. A closed one gives it up.
#[inline(never)]
fn is_free(from_backend: &FlowKey) -> bool {
    let Some(owner) = maps::established(from_backend) else { return true };
    if !owner.state().is_closed() {
        return false;
    }
    // The client's entry must go too, or its stragglers would reach the backend under the new flow's port.
    maps::remove_established(&owner.twin_key(from_backend));
    maps::remove_established(from_backend);
    maps::count(Occurrence::PortReused);
    true
}
