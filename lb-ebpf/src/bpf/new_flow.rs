//! A flow that begins, with a client's SYN or first datagram: a slot, a NAT port, two embryonic entries.

use super::{
    cookies, established, explain,
    frame::Frame,
    limits,
    maps::{self, Scratch},
    next_hop, options,
    pipeline::{Result, Sent, Way},
    random, reset,
    rewrite::{self, Rewritable},
    splice, timestamps,
};
use crate::abi::{
    Backend, FlowKey, FlowRecord, Forwarding, NextHop, PORT_ATTEMPTS, PORT_PATIENCE, PORT_REST_NS, Scheduler,
    Service,
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
    let scratch = maps::scratch().ok_or(Outcome::Internal)?;
    let (way, client_isn) = (scratch.opening.way, scratch.opening.client_isn);
    let is_syn_of_nat =
        matches!((way, scratch.opening.service.forwarding()), (Way::Recorded, Forwarding::Nat));
    if is_syn_of_nat && cookies::may_come(Forwarding::Nat, scratch.opening.now) {
        keep_syn::<I>(ctx, frame)?;
    }
    scratch.forward.shift = if is_syn_of_nat {
        let segment = frame.view::<TcpFrame<I>>().ok_or(Outcome::Runt)?;
        timestamps::shift_of(ctx, segment, scratch.opening.now)
    } else {
        0
    };
    match begin::<I>(ctx, frame, key) {
        Err(Outcome::AtLimit) => return reset::answer::<I>(ctx, frame, Outcome::AtLimit),
        begun => begun?,
    }
    let outcome = match way {
        Way::Proved => {
            splice::restore_syn::<I>(ctx, client_isn, Offer::of(scratch.opening.cookie))?;
            Outcome::CookieAccepted
        }
        Way::Unrecorded => Outcome::Unrecorded,
        Way::Recorded | Way::Late => Outcome::NewFlow,
    };
    let segment = Frame::new(ctx).view::<TcpFrame<I>>().ok_or(Outcome::Runt)?;
    rewrite::forward(ctx, segment, &scratch.forward)?;
    Ok(Sent { outcome, ifindex: scratch.forward.next_hop.ifindex })
}

/// Keeps what a SYN was, should it have to go out again from another port. Flows that began with a cookie have no timestamps, and leave
/// ports behind on which backends in TIME-WAIT do not take every SYN; so that is for a while after a flood.
#[inline(never)]
fn keep_syn<I: Rewritable>(ctx: &XdpContext, frame: Frame) -> core::result::Result<(), Outcome> {
    let segment = frame.view::<TcpFrame<I>>().ok_or(Outcome::Runt)?;
    let client_isn = u32::from_be_bytes(segment.tcp.sequence);
    let offer = options::read::<I>(ctx, segment.tcp.header_bytes()).offer;
    let opening = &mut maps::scratch().ok_or(Outcome::Internal)?.opening;
    opening.state_of_cookie = FlowState::SYN_KEPT.bits();
    opening.cookie = offer.bits();
    opening.client_isn = client_isn;
    Ok(())
}

/// Begins a flow with a client's first datagram.
#[inline(always)]
pub(super) fn process_datagram<I: Rewritable>(ctx: &XdpContext, frame: Frame, key: &FlowKey) -> Result {
    let scratch = maps::scratch().ok_or(Outcome::Internal)?;
    scratch.forward.shift = 0;
    scratch.opening.way = Way::Recorded;
    match begin::<I>(ctx, frame, key) {
        // There is no such answer to a datagram.
        Err(Outcome::AtLimit) => return Err(Outcome::AtLimitDropped),
        begun => begun?,
    }
    let datagram = frame.view::<UdpFrame<I>>().ok_or(Outcome::Runt)?;
    rewrite::forward_datagram(datagram, &scratch.forward)?;
    Ok(Sent { outcome: Outcome::NewFlow, ifindex: scratch.forward.next_hop.ifindex })
}

/// Makes a flow's entries, of which the scratch space keeps the forward one. The packet, whose opening is in the scratch
/// space too, is left as it is.
#[inline(never)]
fn begin<I: Rewritable>(ctx: &XdpContext, frame: Frame, key: &FlowKey) -> core::result::Result<(), Outcome> {
    let packet = frame.view::<IpFrame<I>>().ok_or(Outcome::Runt)?;
    let scratch = maps::scratch().ok_or(Outcome::Internal)?;
    let opening = &scratch.opening;
    let (now, forwarding) = (opening.now, opening.service.forwarding());
    if packet.ip.hops() <= 1 && !matches!(forwarding, Forwarding::Direct) {
        return Err(Outcome::TtlExceeded);
    }
    limits::check_service(&opening.service)?;
    let backend_id = schedule(&opening.service, key)?;
    let backend = maps::backend(backend_id).ok_or(Outcome::Internal)?;

    let forward = &mut scratch.forward;
    forward.write(forwarding, opening.service.id, key, (&backend.address, backend.port()));
    forward.backend_id = backend_id;
    forward.policy_generation = opening.generation;
    forward.limit_rule = opening.limit_rule;
    // Nothing, where there is none. Asked for here, it would double what the verifier has to follow.
    forward.begin_with_cookie(opening.state_of_cookie, opening.cookie, opening.client_isn);
    next_hop::resolve::<I>(ctx, key, forward, now)?;
    if !matches!(forwarding, Forwarding::Direct) {
        scratch.reverse.write_answers(key, &scratch.forward);
        scratch.reverse.begin_with_cookie(opening.state_of_cookie, opening.cookie, opening.client_isn);
        scratch.reverse.policy_generation = opening.generation;
        scratch.reverse.last_seen_ns = now;
        // Until the first answer asks the routing tables, the way back is where the packet came from.
        scratch.reverse.next_hop = NextHop {
            destination: packet.ethernet.source,
            source: packet.ethernet.destination,
            ifindex: ctx.ingress_ifindex() as u32,
            mtu_bytes: 0,
        };
        scratch.from_backend = scratch.forward.twin_key(key);
        if matches!(forwarding, Forwarding::Nat) {
            take_port(scratch, now)?;
        } else {
            take_source(key, scratch)?;
        }
    }

    explain::note_flow(key, &scratch.forward, 3);
    if matches!(scratch.opening.way, Way::Unrecorded) {
        return Ok(());
    }
    // The packet is counted before the entry is copied into the table, so that the table has the count.
    established::account(&mut scratch.forward, packet.ip.packet_bytes(), now);
    maps::account(backend_id, |stats| stats.flows_new += 1);
    if maps::put_embryonic(key, &scratch.forward).is_err() {
        if !matches!(forwarding, Forwarding::Direct) {
            maps::remove_embryonic(&scratch.from_backend);
        }
        return Err(Outcome::TableRefused);
    }
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
pub(super) fn take_port(scratch: &mut Scratch, now: u64) -> core::result::Result<(), Outcome> {
    let node = maps::node().ok_or(Outcome::Internal)?;
    if node.nat_port_count == 0 {
        return Err(Outcome::PortsExhausted);
    }
    let backend_id = scratch.forward.backend_id;
    for attempt in 0..PORT_ATTEMPTS {
        let ticket = maps::draw_port_ticket(backend_id, attempt).ok_or(Outcome::Internal)?;
        let ticket = steer::port_ticket(ticket, attempt);
        let port = steer::nat_port(node.nat_port_first, node.nat_port_count, ticket).to_be_bytes();
        scratch.from_backend.set_destination_port(port);
        if is_free(&scratch.from_backend) {
            scratch.forward.set_new_source_port(port);
            scratch.reverse.follow_port_of(&scratch.forward);
            if maps::insert_embryonic(&scratch.from_backend, &scratch.reverse)
                || take_over(scratch, now, attempt)
            {
                return Ok(());
            }
        }
        maps::count(Occurrence::PortCollision);
    }
    Err(Outcome::PortsExhausted)
}

/// Takes the port from datagrams that have rested, if it is theirs; or from a handshake, where others were tried in vain: its
/// backend may not have forgotten it, and costs the next flow a second. Ports are taken in turn, so this one's flow is among the
/// oldest; should it go on after all, it gets another port.
#[inline(never)]
fn take_over(scratch: &mut Scratch, now: u64, attempt: u32) -> bool {
    let rests = |record: &FlowRecord| now.wrapping_sub(record.last_seen_ns) >= PORT_REST_NS;
    let Some(owner) = maps::embryonic(&scratch.from_backend) else { return false };
    // A flow that is complete is here because the established table was full.
    if owner.state().has(FlowState::CONFIRMED)
        || !rests(owner)
        || !owner.state().is_of_datagrams() && attempt < PORT_PATIENCE
    {
        return false;
    }
    // The client's entry may have given way, and the client's datagrams have another flow by now.
    let client = owner.twin_key(&scratch.from_backend);
    if let Some(forward) = maps::embryonic(&client)
        && forward.twin_key(&client) == scratch.from_backend
    {
        if !rests(forward) {
            return false;
        }
        maps::remove_embryonic(&client);
    }
    if !owner.state().is_of_datagrams() {
        cookies::note_shortage(scratch.forward.forwarding());
    }
    maps::count(Occurrence::PortReused);
    maps::put_embryonic(&scratch.from_backend, &scratch.reverse).is_ok()
}

/// Takes the client's own address and port towards the backend, where nobody else has them.
#[inline(never)]
fn take_source(key: &FlowKey, scratch: &mut Scratch) -> core::result::Result<(), Outcome> {
    if is_free(&scratch.from_backend) {
        if maps::insert_embryonic(&scratch.from_backend, &scratch.reverse) {
            return Ok(());
        }
        // Left by this very flow, whose other entry gave way in a flood: it is written anew.
        if maps::embryonic(&scratch.from_backend).is_some_and(|owner| owner.answers(key))
            && maps::put_embryonic(&scratch.from_backend, &scratch.reverse).is_ok()
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
