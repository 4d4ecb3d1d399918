//! Packets of established flows: the hot path. One hash look-up, no branch that is usually taken
//! besides the rewriting.

use super::{
    explain, firewall, maps, next_hop,
    pipeline::{Result, Sent},
    rewrite::{self, Rewritable},
    splice, sync,
};
use crate::abi::{Address, Direction, FlowKey, FlowRecord, NO_RULE};
use crate::flow_state::FlowState;
use crate::outcome::{Occurrence, Outcome};
use crate::wire::{Tcp, TcpFlags, TcpFrame, UdpFrame};
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
    maps::remove_established(&twin);
    maps::remove_established(key);
    sync::tell(key);
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
    if !rewrite::may_hop(&segment.ip, record) {
        return Err(Outcome::TtlExceeded);
    }
    explain::note_flow(key, record, 2);
    next_hop::refresh::<I>(ctx, key, record, now);
    if !next_hop::is_known(record) {
        return Err(Outcome::NoNeighbour);
    }
    rewrite::forward(ctx, segment, record)?;
    let outcome = account(record, segment.ip.packet_bytes(), now);
    // Read now: the entry may be another flow's after it was removed.
    let ifindex = record.next_hop.ifindex;
    let news = state_added(record, &segment.tcp);
    if news.has_fin() || !record.state().has(news) {
        let segment_bytes = segment.ip.packet_bytes() - I::BYTES as u32;
        close(key, record, news, splice::fin_end(record, segment.tcp.fin_end(segment_bytes)));
    }
    Ok(Sent { outcome, ifindex })
}

/// What a segment tells about its flow.
#[inline(always)]
pub(super) fn state_added(record: &FlowRecord, tcp: &Tcp) -> FlowState {
    let (direction, flags) = (record.direction(), TcpFlags::new(tcp.flags));
    let added = FlowState::added_by(direction, flags);
    if !flags.has(TcpFlags::ACK) {
        return added;
    }
    let acknowledgement = u32::from_be_bytes(tcp.acknowledgement);
    added.with(record.state().acknowledged_by(direction, acknowledgement, record.fin_end))
}

/// A datagram of an established flow: there is nothing to learn from it.
#[inline(always)]
pub(super) fn process_datagram<I: Rewritable>(
    ctx: &XdpContext,
    datagram: &mut UdpFrame<I>,
    key: &FlowKey,
    record: &mut FlowRecord,
    now: u64,
) -> Result {
    if !rewrite::may_hop(&datagram.ip, record) {
        return Err(Outcome::TtlExceeded);
    }
    explain::note_flow(key, record, 2);
    next_hop::refresh::<I>(ctx, key, record, now);
    if !next_hop::is_known(record) {
        return Err(Outcome::NoNeighbour);
    }
    rewrite::forward_datagram(datagram, record)?;
    let outcome = account(record, datagram.ip.packet_bytes(), now);
    Ok(Sent { outcome, ifindex: record.next_hop.ifindex })
}

/// Counts a packet for its flow and its backend, and says which way it went.
#[inline(always)]
pub(super) fn account(record: &mut FlowRecord, packet_bytes: u32, now: u64) -> Outcome {
    let bytes = u64::from(packet_bytes);
    if !explain::explains() {
        record.last_seen_ns = now;
        record.packets += 1;
        record.bytes += bytes;
    }
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

/// Counts the one change by which a flow's forward entry, which stands for the flow, becomes a closed one.
#[inline(always)]
fn account_close(client: &Address, forward: &FlowRecord, before: FlowState, news: FlowState) {
    if !before.is_closed() && before.with(news).is_closed() {
        maps::add_active_flows(forward, -1);
        if forward.limit_rule != NO_RULE {
            firewall::account_closed(client, u32::from(forward.limit_rule));
        }
    }
}

/// Notes in both entries what the end of a flow brings, so that either tells its state, and removes them when the flow
/// is over. What comes later, a FIN whose last acknowledgement was lost on the way, is answered with RST, which ends
/// its sender's waiting too. `fin_end` is of use where the news are a FIN.
#[inline(never)]
pub(super) fn close(key: &FlowKey, record: &mut FlowRecord, news: FlowState, fin_end: u32) {
    if explain::explains() {
        return;
    }
    let twin_key = record.twin_key(key);
    if let Some(twin) = maps::established(&twin_key) {
        if news.has_fin() {
            twin.fin_end = fin_end;
        }
        let before = maps::add_state(twin, news.bits());
        if matches!(twin.direction(), Direction::Forward) {
            account_close(&twin_key.source, twin, before, news);
        }
    }
    let before = maps::add_state(record, news.bits());
    if matches!(record.direction(), Direction::Forward) {
        account_close(&key.source, record, before, news);
    }
    if record.state().is_over() {
        // Either may be gone already: packets of both sides may end a flow at one time.
        maps::remove_established(&twin_key);
        maps::remove_established(key);
        maps::count(Occurrence::FlowEnded);
    }
    sync::tell(key);
}
