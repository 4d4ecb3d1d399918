//! Packets of flows whose handshake is not complete.

use super::{
    cookies, established, explain, firewall,
    frame::Frame,
    limits, maps, next_hop,
    pipeline::{Result, Sent},
    reset,
    rewrite::{self, Rewritable},
    splice, sync,
};
use crate::abi::{Direction, FlowKey, FlowRecord, NO_RULE};
use crate::flow_state::{FlowState, completes_handshake};
use crate::outcome::{Occurrence, Outcome};
use crate::wire::{Tcp, TcpFlags, TcpFrame, UdpFrame};
use aya_ebpf::programs::XdpContext;

/// Whether a flow still has its NAT port. The LRU table may have evicted the reverse entry in a flood, and another
/// flow may have the port by now: then this one's packets must not reach the backend under it.
#[inline(never)]
pub(super) fn has_its_port(key: &FlowKey, record: &FlowRecord) -> bool {
    matches!(record.direction(), Direction::Reverse)
        || rewrite::is_direct(record)
        || maps::embryonic(&record.twin_key(key)).is_some_and(|twin| twin.answers(key))
}

/// Forgets a flow that lost its port. The client's next segment begins anew, or is answered with RST.
#[inline(never)]
pub(super) fn forget(key: &FlowKey) {
    // Evicted meanwhile is as good.
    maps::remove_embryonic(key);
    maps::count(Occurrence::PortLost);
}

/// A segment goes on, and then the flow does. Two functions, neither within the other: the stack is small.
#[inline(never)]
pub(super) fn process<I: Rewritable>(
    ctx: &XdpContext,
    segment: &mut TcpFrame<I>,
    key: &FlowKey,
    record: &mut FlowRecord,
    now: u64,
) -> Result {
    if is_of_earlier_connection(record, segment) {
        return splice::go_by_another_port::<I>(ctx, key, record, now);
    }
    let mut sent = match pass_on::<I>(ctx, segment, key, record, now) {
        // As a host does that has yet to hear from the client, RFC 9293 §3.10.7.4.
        Err(outcome @ Outcome::HandshakeMismatch) => {
            return reset::answer::<I>(ctx, Frame::new(ctx), outcome);
        }
        passed => passed?,
    };
    let Some(arrived) = maps::arrived() else { return Err(Outcome::Internal) };
    sent.outcome = if explain::explains() {
        foresee(record, &arrived.tcp)
    } else {
        advance(key, record, &arrived.tcp, arrived.segment_bytes)
    };
    Ok(sent)
}

/// Whether a backend answers a SYN by what it has of an earlier connection on the same tuple: one in TIME-WAIT, or a handshake
/// that nobody went on with, whose own answer it may be where the SYN is known. Data is none: it may have overtaken the backend's
/// answer.
#[inline(always)]
fn is_of_earlier_connection<I: Rewritable>(record: &FlowRecord, segment: &TcpFrame<I>) -> bool {
    let flags = TcpFlags::new(segment.tcp.flags);
    matches!(record.direction(), Direction::Reverse)
        && segment.ip.packet_bytes() - I::BYTES as u32 == segment.tcp.header_bytes()
        && !record.state().is_answered()
        && flags.has(TcpFlags::ACK)
        && !flags.has(TcpFlags::RST)
        && (!flags.has(TcpFlags::SYN)
            || record.state().has(FlowState::SYN_KEPT) && !splice::answers_the_syn(record, &segment.tcp))
}

/// Rewrites a segment, unless it must not go on, and leaves its header as the backend sees it in the scratch space.
#[inline(never)]
fn pass_on<I: Rewritable>(
    ctx: &XdpContext,
    segment: &mut TcpFrame<I>,
    key: &FlowKey,
    record: &mut FlowRecord,
    now: u64,
) -> Result {
    if !rewrite::may_hop(&segment.ip, record) {
        return Err(Outcome::TtlExceeded);
    }
    explain::note_flow(key, record, 1);
    let Some(arrived) = maps::arrived() else { return Err(Outcome::Internal) };
    arrived.tcp = splice::as_backend_sees(record, &segment.tcp);
    arrived.segment_bytes = segment.ip.packet_bytes() - I::BYTES as u32;
    if confirms(record, TcpFlags::new(segment.tcp.flags)) {
        // To the backend it would be a reason for RST, which anybody could bring about who forges two segments.
        if !proves(record, &arrived.tcp) {
            return Err(Outcome::HandshakeMismatch);
        }
        stay_within_limits(key, record)?;
    }
    next_hop::refresh::<I>(ctx, key, record, now);
    let ifindex = record.next_hop.ifindex;
    rewrite::forward(ctx, segment, record)?;
    established::account(record, segment.ip.packet_bytes(), now);
    Ok(Sent { outcome: Outcome::Handshake, ifindex })
}

/// A datagram of a flow that is not established: the client's first one after an answer makes it so. One query with its
/// answer never gets there, and gives way to the next. Where answers go directly, any second datagram does.
#[inline(never)]
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
    explain::note_flow(key, record, 1);
    let forward = matches!(record.direction(), Direction::Forward);
    let completes = forward && (record.state().is_answered() || rewrite::is_direct(record));
    if completes {
        stay_within_limits(key, record)?;
    }
    next_hop::refresh::<I>(ctx, key, record, now);
    let ifindex = record.next_hop.ifindex;
    rewrite::forward_datagram(datagram, record)?;
    established::account(record, datagram.ip.packet_bytes(), now);
    let outcome = if completes && explain::explains() {
        Outcome::Promoted
    } else if completes {
        confirm(record);
        promote(key, record)
    } else {
        if !forward && !record.state().is_answered() {
            note_answer(key, record, 0);
        }
        Outcome::Handshake
    };
    Ok(Sent { outcome, ifindex })
}

/// Before the packet that would complete a flow is changed: where its source, its backend or its service has all it may
/// have, no flow is completed.
#[inline(always)]
pub(super) fn stay_within_limits(key: &FlowKey, record: &FlowRecord) -> core::result::Result<(), Outcome> {
    if record.state().has(FlowState::CONFIRMED) {
        return Ok(());
    }
    let over = if record.limit_rule != NO_RULE && firewall::is_over_active(key, u32::from(record.limit_rule))
    {
        Outcome::OverActive
    } else if limits::is_reached(record) {
        Outcome::AtLimitDropped
    } else {
        return Ok(());
    };
    remove(key, record);
    Err(over)
}

/// What [`advance`] would say, as far as the flow's own entry tells.
#[inline(always)]
fn foresee(record: &FlowRecord, tcp: &Tcp) -> Outcome {
    if confirms(record, TcpFlags::new(tcp.flags)) { Outcome::Promoted } else { Outcome::Handshake }
}

/// Whether a segment is of those that complete the handshake.
#[inline(always)]
fn confirms(record: &FlowRecord, flags: TcpFlags) -> bool {
    matches!(record.direction(), Direction::Forward)
        && flags.has(TcpFlags::ACK)
        && !flags.has(TcpFlags::SYN | TcpFlags::RST)
        && (record.state().is_answered() || rewrite::is_direct(record))
}

/// Whether a segment shows that the client saw the backend's answer. Once is enough: a flow that found the established table
/// full may be far behind the handshake. An answer that went to the client directly, nobody here can compare with.
#[inline(always)]
fn proves(record: &FlowRecord, tcp: &Tcp) -> bool {
    let acknowledgement = u32::from_be_bytes(tcp.acknowledgement);
    record.state().has(FlowState::CONFIRMED)
        || rewrite::is_direct(record)
        || completes_handshake(acknowledgement, record.backend_isn)
        || record.state().has(FlowState::ANSWERED_TWICE)
            && completes_handshake(acknowledgement, record.fin_end)
}

/// What a segment means for the flow, once it is sure to be sent.
#[inline(never)]
fn advance(key: &FlowKey, record: &mut FlowRecord, tcp: &Tcp, segment_bytes: u32) -> Outcome {
    let flags = TcpFlags::new(tcp.flags);
    if flags.has(TcpFlags::RST) {
        // One that answers a SYN acknowledges it; others are a matter between the backend and whoever sent what it did not expect.
        if matches!(record.direction(), Direction::Reverse)
            && flags.has(TcpFlags::ACK)
            && !record.state().is_answered()
        {
            note_refusal(record);
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
                if flags.is_open() && !record.state().is_answered() {
                    note_syn(key, record, u32::from_be_bytes(tcp.sequence));
                }
                return Outcome::Handshake;
            }
            confirm(record);
            if note_end(key, record, tcp, segment_bytes) {
                return Outcome::Handshake;
            }
            promote(key, record)
        }
    }
}

/// A SYN that was sent again, or another one: its client gave up, and began anew from the same port. Where its number is kept, it is that of
/// the last.
#[inline(always)]
fn note_syn(key: &FlowKey, record: &mut FlowRecord, client_isn: u32) {
    if !record.state().has(FlowState::SYN_KEPT) || record.fin_end == client_isn {
        return;
    }
    for entry in [maps::embryonic_twin(key, record), Some(record)] {
        if let Some(entry) = entry {
            entry.fin_end = client_isn;
        }
    }
}

/// A backend answered the flow's SYN with RST.
#[inline(always)]
pub(super) fn note_refusal(record: &FlowRecord) {
    maps::account(record.backend_id, |stats| stats.flows_refused += 1);
    maps::tell_of_refusal(record.backend_id);
}

/// The client is known to have seen an answer. Where nobody here could see it, this is how we know of it.
#[inline(always)]
pub(super) fn confirm(record: &mut FlowRecord) {
    let news = FlowState::CONFIRMED.with(FlowState::ANSWERED);
    // Of two CPUs that confirm it, one counts.
    if !record.state().has(news) && !maps::add_state(record, news.bits()).has(FlowState::CONFIRMED) {
        cookies::note_completed(record);
    }
}

/// Both entries learn that the backend answered, and with which sequence number. A backend that lost its half of the handshake, or never
/// kept it, may answer the SYN that its client repeats with another one; which of them the client has, its ACK will say.
#[inline(always)]
fn note_answer(key: &FlowKey, record: &mut FlowRecord, backend_isn: u32) {
    if explain::explains() {
        return;
    }
    let again = record.state().is_answered();
    if again && (record.backend_isn == backend_isn || record.state().has_fin()) {
        return;
    }
    let news = if again { FlowState::ANSWERED_TWICE } else { FlowState::ANSWERED };
    for entry in [maps::embryonic_twin(key, record), Some(record)] {
        if let Some(entry) = entry {
            let noted = if again { &mut entry.fin_end } else { &mut entry.backend_isn };
            *noted = backend_isn;
            maps::add_state(entry, news.bits());
        }
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
    if let Some(twin) = maps::embryonic_twin(key, record) {
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

/// Moves a flow to the established table. The reverse entry goes first, so that no answer can miss.
#[inline(never)]
pub(super) fn promote(key: &FlowKey, record: &mut FlowRecord) -> Outcome {
    // Off the stack, which is deepest here.
    let Some(draft) = maps::draft() else { return Outcome::Internal };
    let twin_key = &mut draft.from_backend;
    *twin_key = record.twin_key(key);
    let has_twin = !rewrite::is_direct(record);
    if has_twin {
        let Some(twin) = maps::embryonic(twin_key) else { return Outcome::Handshake };
        // Only where there is none: the ACK and the data behind it may be on two CPUs, and one of them promotes the flow.
        match insert(twin_key, twin) {
            Insertion::Done => {}
            Insertion::Present => return Outcome::Handshake,
            Insertion::Refused => {
                maps::count(Occurrence::EstablishedFull);
                return Outcome::Handshake;
            }
        }
    }
    match insert(key, record) {
        Insertion::Done => {}
        Insertion::Present if !has_twin => return Outcome::Handshake,
        _ => {
            if has_twin {
                maps::remove_established(twin_key);
            }
            maps::count(Occurrence::EstablishedFull);
            return Outcome::Handshake;
        }
    }
    if !record.state().is_closed() {
        maps::add_active_flows(record, 1);
        if record.limit_rule != NO_RULE {
            firewall::account_opened(&key.source, u32::from(record.limit_rule));
        }
    }
    maps::account(record.backend_id, |stats| stats.flows_established += 1);
    // Either may have been evicted meanwhile.
    maps::remove_embryonic(twin_key);
    maps::remove_embryonic(key);
    sync::tell(key);
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
pub(super) fn remove(key: &FlowKey, record: &FlowRecord) {
    let twin_key = record.twin_key(key);
    // Either may have been evicted meanwhile; gone is what is wanted.
    maps::remove_embryonic(&twin_key);
    maps::remove_embryonic(key);
}
