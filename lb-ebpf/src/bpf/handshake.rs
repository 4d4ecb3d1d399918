//! Packets of flows whose handshake is not complete.

use super::{
    established, explain, firewall, maps, next_hop,
    pipeline::{Result, Sent},
    rewrite::{self, Rewritable},
};
use crate::abi::{Direction, FlowKey, FlowRecord, NO_RULE};
use crate::flow_state::{FlowState, completes_handshake};
use crate::outcome::{Occurrence, Outcome};
use crate::wire::{Tcp, TcpFlags, TcpFrame};
use aya_ebpf::programs::XdpContext;

/// Whether a flow still has its NAT port. The LRU table may have evicted the reverse entry in a flood, and another
/// flow may have the port by now: then this one's packets must not reach the backend under it.
#[inline(never)]
pub(super) fn has_its_port(key: &FlowKey, record: &FlowRecord) -> bool {
    matches!(record.direction(), Direction::Reverse)
        || maps::embryonic(&record.twin_key(key)).is_some_and(|twin| twin.answers(key))
}

/// Forgets a flow that lost its port. The client's next segment begins anew, or is answered with RST.
#[inline(never)]
pub(super) fn forget(key: &FlowKey) {
    // Evicted meanwhile is as good.
    maps::remove_embryonic(key);
    maps::count(Occurrence::PortLost);
}

#[inline(never)]
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
    explain::note_flow(record, 1);
    let tcp = segment.tcp;
    // Before the packet is changed: of a source that has all it may have, no flow is completed.
    if record.limit_rule != NO_RULE
        && !record.state().has(FlowState::CONFIRMED)
        && confirms(record, TcpFlags::new(tcp.flags))
        && firewall::is_over_active(key, u32::from(record.limit_rule))
    {
        remove(key, record);
        return Err(Outcome::OverActive);
    }
    let segment_bytes = segment.ip.packet_bytes() - I::BYTES as u32;
    next_hop::refresh::<I>(ctx, key, record, now);
    let ifindex = record.next_hop.ifindex;
    rewrite::forward(ctx, segment, record)?;
    established::account(record, segment.ip.packet_bytes(), now);
    let outcome =
        if explain::explains() { foresee(record, &tcp) } else { advance(key, record, &tcp, segment_bytes) };
    Ok(Sent { outcome, ifindex })
}

/// What [`advance`] would say, as far as the flow's own entry tells.
#[inline(always)]
fn foresee(record: &FlowRecord, tcp: &Tcp) -> Outcome {
    let flags = TcpFlags::new(tcp.flags);
    let proved = record.state().has(FlowState::CONFIRMED)
        || completes_handshake(u32::from_be_bytes(tcp.acknowledgement), record.backend_isn);
    if !flags.has(TcpFlags::RST) && confirms(record, flags) && proved {
        Outcome::Promoted
    } else {
        Outcome::Handshake
    }
}

/// Whether a segment that is not a RST may complete the handshake.
#[inline(always)]
fn confirms(record: &FlowRecord, flags: TcpFlags) -> bool {
    matches!(record.direction(), Direction::Forward)
        && flags.has(TcpFlags::ACK)
        && !flags.has(TcpFlags::SYN)
        && record.state().is_answered()
}

/// What a segment means for the flow, once it is sure to be sent.
#[inline(never)]
fn advance(key: &FlowKey, record: &mut FlowRecord, tcp: &Tcp, segment_bytes: u32) -> Outcome {
    let flags = TcpFlags::new(tcp.flags);
    if flags.has(TcpFlags::RST) {
        if matches!(record.direction(), Direction::Reverse) {
            maps::account(record.backend_id, |stats| stats.flows_refused += 1);
            maps::tell_of_refusal(record.backend_id);
        }
        remove(key, record);
        return Outcome::Handshake;
    }
    match record.direction() {
        Direction::Reverse => {
            if flags.is_open_answer() {
                note_answer(key, record, u32::from_be_bytes(tcp.sequence));
            }
            note_end(key, record, tcp, segment_bytes);
            Outcome::Handshake
        }
        Direction::Forward => {
            if !confirms(record, flags) {
                return Outcome::Handshake;
            }
            // Once is enough: a flow that found the established table full may be far behind the handshake.
            if !record.state().has(FlowState::CONFIRMED) {
                if !completes_handshake(u32::from_be_bytes(tcp.acknowledgement), record.backend_isn) {
                    maps::count(Occurrence::HandshakeMismatch);
                    return Outcome::Handshake;
                }
                maps::add_state(record, FlowState::CONFIRMED.bits());
            }
            if note_end(key, record, tcp, segment_bytes) {
                return Outcome::Handshake;
            }
            promote(key, record)
        }
    }
}

/// Both entries learn that the backend answered, and with which sequence number.
#[inline(always)]
fn note_answer(key: &FlowKey, record: &mut FlowRecord, backend_isn: u32) {
    record.backend_isn = backend_isn;
    maps::add_state(record, FlowState::ANSWERED.bits());
    if let Some(twin) = maps::embryonic(&record.twin_key(key)) {
        twin.backend_isn = backend_isn;
        maps::add_state(twin, FlowState::ANSWERED.bits());
    }
}

/// Notes FINs and their acknowledgements in both entries, as for established flows: where the established table is full, a
/// flow's whole life is here. Returns whether the flow is over, and then it is forgotten.
#[inline(never)]
fn note_end(key: &FlowKey, record: &mut FlowRecord, tcp: &Tcp, segment_bytes: u32) -> bool {
    let news = established::state_added(record, tcp);
    if record.state().has(news) && !news.has_fin() {
        return false;
    }
    if let Some(twin) = maps::embryonic(&record.twin_key(key)) {
        if news.has_fin() {
            twin.fin_end = tcp.fin_end(segment_bytes);
        }
        maps::add_state(twin, news.bits());
    }
    maps::add_state(record, news.bits());
    if record.state().is_over() {
        remove(key, record);
        maps::count(Occurrence::FlowEnded);
        return true;
    }
    false
}

/// Moves both entries to the established table. The reverse one goes first, so that no answer can miss.
#[inline(always)]
fn promote(key: &FlowKey, record: &mut FlowRecord) -> Outcome {
    let twin_key = record.twin_key(key);
    let Some(twin) = maps::embryonic(&twin_key) else { return Outcome::Handshake };
    // Only where there is none: the ACK and the data behind it may be on two CPUs, and one of them promotes the flow.
    match insert(&twin_key, twin) {
        Insertion::Done => {}
        Insertion::Present => return Outcome::Handshake,
        Insertion::Refused => {
            maps::count(Occurrence::EstablishedFull);
            return Outcome::Handshake;
        }
    }
    if !matches!(insert(key, record), Insertion::Done) {
        maps::remove_established(&twin_key);
        maps::count(Occurrence::EstablishedFull);
        return Outcome::Handshake;
    }
    if !record.state().is_closed() {
        maps::add_active_flows(record.backend_id, 1);
        if record.limit_rule != NO_RULE {
            firewall::account_opened(&key.source, u32::from(record.limit_rule));
        }
    }
    maps::account(record.backend_id, |stats| stats.flows_established += 1);
    remove(key, record);
    Outcome::Promoted
}

/// What came of an insertion into the established table.
enum Insertion {
    Done,
    /// Another CPU was first.
    Present,
    /// The table is full.
    Refused,
}

#[inline(always)]
fn insert(key: &FlowKey, record: &FlowRecord) -> Insertion {
    const EEXIST: i32 = -17;
    match maps::insert_established(key, record) {
        Ok(()) => Insertion::Done,
        Err(EEXIST) => Insertion::Present,
        Err(_) => Insertion::Refused,
    }
}

#[inline(always)]
fn remove(key: &FlowKey, record: &FlowRecord) {
    let twin_key = record.twin_key(key);
    // Either may have been evicted meanwhile; gone is what is wanted.
    maps::remove_embryonic(&twin_key);
    maps::remove_embryonic(key);
}
