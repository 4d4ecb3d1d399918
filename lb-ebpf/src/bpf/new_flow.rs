//! A client's SYN: a slot, a NAT port, two embryonic entries.

use super::{
    established, explain, maps, next_hop,
    pipeline::{Result, Sent},
    random,
    rewrite::{self, Rewritable},
    timestamps,
};
use crate::abi::{Direction, FlowKey, NextHop, PORT_ATTEMPTS, Scheduler, Service};
use crate::outcome::{Occurrence, Outcome};
use crate::steer;
use crate::wire::TcpFrame;
use aya_ebpf::programs::XdpContext;

#[inline(never)]
pub(super) fn process<I: Rewritable>(ctx: &XdpContext, segment: &mut TcpFrame<I>, key: &FlowKey) -> Result {
    if segment.ip.hops() <= 1 {
        return Err(Outcome::TtlExceeded);
    }
    let scratch = maps::scratch().ok_or(Outcome::Internal)?;
    let opening = &scratch.opening;
    let now = opening.now;
    let backend_id = schedule(&opening.service, key)?;
    let backend = maps::backend(backend_id).ok_or(Outcome::Internal)?;

    // Both entries; the NAT port is still open.
    let forward = &mut scratch.forward;
    forward.write(Direction::Forward, key, [0; 2], (&backend.address, backend.port()));
    forward.backend_id = backend_id;
    forward.policy_generation = opening.generation;
    forward.limit_rule = opening.limit_rule;
    forward.timestamp_shift = timestamps::shift_of(ctx, segment, now);
    next_hop::resolve::<I>(ctx, key, forward, now)?;
    scratch.reverse.write_answers(key, &scratch.forward);
    scratch.reverse.policy_generation = opening.generation;
    scratch.reverse.last_seen_ns = now;
    // Until the first answer asks the routing tables, the way back is where the SYN came from.
    scratch.reverse.next_hop = NextHop {
        destination: segment.ethernet.source,
        source: segment.ethernet.destination,
        ifindex: ctx.ingress_ifindex() as u32,
        mtu_bytes: 0,
    };
    take_port(key, scratch)?;

    explain::note_flow(&scratch.forward, 3);
    // The SYN is counted before the entry is copied into the table, so that the table has the count.
    established::account(&mut scratch.forward, segment.ip.packet_bytes(), now);
    maps::account(backend_id, |stats| stats.flows_new += 1);
    if maps::put_embryonic(key, &scratch.forward).is_err() {
        maps::remove_embryonic(&scratch.from_backend);
        return Err(Outcome::TableRefused);
    }
    rewrite::forward(ctx, segment, &scratch.forward)?;
    Ok(Sent { outcome: Outcome::NewFlow, ifindex: scratch.forward.next_hop.ifindex })
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
    let first = maps::slot(service.slots_base.wrapping_add(index)).ok_or(Outcome::Internal)?;
    if !matches!(service.scheduler(), Scheduler::LeastConnections) {
        return Ok(first);
    }
    let other = steer::other_slot_index(index, random(), service.slots_len);
    let second = maps::slot(service.slots_base.wrapping_add(other)).ok_or(Outcome::Internal)?;
    let load = |id| Some((maps::active_flows(id), maps::backend(id)?.weight));
    let (first_load, second_load) =
        (load(first).ok_or(Outcome::Internal)?, load(second).ok_or(Outcome::Internal)?);
    Ok(if steer::is_less_loaded(second_load, first_load) { second } else { first })
}

/// Finds a free NAT port, and takes it by inserting the reverse entry under it: whoever inserts first
/// has it.
#[inline(never)]
fn take_port(key: &FlowKey, scratch: &mut maps::Scratch) -> core::result::Result<(), Outcome> {
    let node = maps::node().ok_or(Outcome::Internal)?;
    if node.nat_port_count == 0 {
        return Err(Outcome::PortsExhausted);
    }
    let backend_id = scratch.forward.backend_id;
    scratch.from_backend = scratch.forward.twin_key(key);
    for attempt in 0..PORT_ATTEMPTS {
        let ticket = maps::draw_port_ticket(backend_id, attempt).ok_or(Outcome::Internal)?;
        let port = steer::nat_port(node.nat_port_first, node.nat_port_count, ticket).to_be_bytes();
        scratch.from_backend.set_destination_port(port);
        if is_free(&scratch.from_backend) {
            scratch.forward.set_new_source_port(port);
            scratch.reverse.follow_port_of(&scratch.forward);
            if maps::insert_embryonic(&scratch.from_backend, &scratch.reverse) {
                return Ok(());
            }
        }
        maps::count(Occurrence::PortCollision);
    }
    Err(Outcome::PortsExhausted)
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
