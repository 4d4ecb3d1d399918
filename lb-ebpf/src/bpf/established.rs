//! Packets of established flows: the hot path. One hash look-up, no branch that is usually taken
//! besides the rewriting.

use super::{
    maps, next_hop,
    pipeline::{Result, Sent},
    rewrite::{self, Rewritable},
};
use crate::abi::{Direction, FlowKey, FlowRecord};
use crate::flow_state::FlowState;
use crate::outcome::{Occurrence, Outcome};
use crate::wire::{TcpFlags, TcpFrame};
use aya_ebpf::programs::XdpContext;

/// Whether a segment is a client's SYN on the tuple of a flow that is closed.
#[inline(always)]
pub(super) fn begins_anew(record: &FlowRecord, flags: TcpFlags) -> bool {
    flags.is_open() && matches!(record.direction(), Direction::Forward) && record.state().is_closed()
}

/// Removes a closed flow whose tuple is wanted.
#[inline(never)]
pub(super) fn forget(key: &FlowKey, record: &FlowRecord) {
    let twin = record.twin_key(key);
    // Either may be gone already: the agent's sweep removes closed flows too.
    let _ = maps::ESTABLISHED.remove(&twin);
    let _ = maps::ESTABLISHED.remove(key);
    maps::count(Occurrence::TupleReused);
}

#[inline(always)]
pub(super) fn process<I: Rewritable>(
    ctx: &XdpContext,
    segment: &mut TcpFrame<I>,
    key: &FlowKey,
    record: &mut FlowRecord,
    now: u64,
) -> Result {
    if segment.ip.hops() <= 1 {
        return Err(Outcome::TtlExceeded);
    }
    let flags = TcpFlags::new(segment.tcp.flags);
    next_hop::refresh::<I>(ctx, key, record, now);
    rewrite::forward(ctx, segment, record)?;
    if flags.has(TcpFlags::FIN | TcpFlags::RST) {
        close(key, record, flags);
    }
    let outcome = account(record, segment.ip.packet_bytes(), now);
    Ok(Sent { outcome, ifindex: record.next_hop.ifindex })
}

/// Counts a packet for its flow and its backend, and says which way it went.
#[inline(always)]
pub(super) fn account(record: &mut FlowRecord, packet_bytes: u32, now: u64) -> Outcome {
    let bytes = u64::from(packet_bytes);
    record.last_seen_ns = now;
    record.packets += 1;
    record.bytes += bytes;
    match record.direction() {
        Direction::Forward => {
            maps::account(record.backend_id, |stats| {
                stats.forward_packets += 1;
                stats.forward_bytes += bytes;
            });
            Outcome::ToBackend
        }
        Direction::Reverse => {
            maps::account(record.backend_id, |stats| {
                stats.reverse_packets += 1;
                stats.reverse_bytes += bytes;
            });
            Outcome::ToClient
        }
    }
}

/// Notes FIN or RST in both entries, so that either tells when the flow is closed.
#[inline(never)]
fn close(key: &FlowKey, record: &mut FlowRecord, flags: TcpFlags) {
    let added = FlowState::added_by(record.direction(), flags).bits();
    maps::add_state(record, added);
    if let Some(twin) = maps::established(&record.twin_key(key)) {
        maps::add_state(twin, added);
    }
}
