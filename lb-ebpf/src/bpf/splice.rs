//! Flows that began with a cookie: two connections' sequence numbers made one.
//!
//! Their client counts the backend's bytes from the cookie, the backend from a number of its own; one is turned into the other in
//! every segment, for as long as the flow lives. Before that, the handshake is made up for: the segment that
//! brought the cookie becomes the SYN that the client sent, and the backend's answer becomes a segment that opens the
//! client's window, with one byte that the client has already (the way keepalives were sent before RFC 9293
//! §3.8.4), so that it answers at once, and its answer completes the backend's handshake.
//!
//! Owns these changes of segments. Which segments are meant, the entries' state says.

use super::{
    cookies::{self, OPEN_HEADER_BYTES, OpenFrame},
    established, explain,
    frame::Frame,
    handshake,
    maps::{self, Draft},
    new_flow, next_hop, options,
    pipeline::{Result, Sent},
    reset,
    rewrite::{self, Rewritable},
};
use crate::abi::{Direction, FlowKey, FlowRecord, Forwarding, PORT_HOPS};
use crate::cookie::{Offer, expanded_window, rescaled_window, scales};
use crate::csum::Delta;
use crate::flow_state::FlowState;
use crate::outcome::{Occurrence, Outcome};
use crate::wire::{QuotedPorts, Tcp, TcpFlags, TcpFrame};
use aya_ebpf::programs::XdpContext;

/// A TCP header's lowest data offset: no options.
const NO_OPTIONS: u8 = 0x50;
/// Two for each block, and four blocks at most.
const EDGES_MAX: usize = 8;

/// Whether the flow began with a cookie.
#[inline(always)]
pub(super) fn is_spliced(record: &FlowRecord) -> bool {
    record.state().has(FlowState::COOKIE)
}

/// Whether a segment is of the handshake that is made up for.
#[inline(always)]
pub(super) fn is_of_handshake(record: &FlowRecord, flags: TcpFlags) -> bool {
    let forward = matches!(record.direction(), Direction::Forward);
    is_spliced(record)
        && if record.state().is_answered() {
            !forward && flags.is_open_answer()
        } else {
            !(forward && flags.has(TcpFlags::RST))
        }
}

/// A segment of that handshake. A function of its own and nothing else: the stack is small.
#[inline(never)]
pub(super) fn process<I: Rewritable>(
    ctx: &XdpContext,
    segment: &mut TcpFrame<I>,
    key: &FlowKey,
    record: &mut FlowRecord,
    now: u64,
) -> Result {
    if matches!(record.direction(), Direction::Reverse)
        && !record.state().is_answered()
        && !answers_the_syn(record, &segment.tcp)
    {
        if TcpFlags::new(segment.tcp.flags).has(TcpFlags::RST) {
            return Err(Outcome::UnknownReset);
        }
        return go_by_another_port::<I>(ctx, key, record, now);
    }
    make_up::<I>(ctx, segment, key, record, now)
}

/// Answers a backend's segment that is about an earlier connection on the same tuple: with the SYN from another port, where that can be
/// made anew, or else with RST.
#[inline(always)]
pub(super) fn go_by_another_port<I: Rewritable>(
    ctx: &XdpContext,
    key: &FlowKey,
    record: &mut FlowRecord,
    now: u64,
) -> Result {
    match take_another_port(key, record, now) {
        Ok(()) => send_syn_again::<I>(ctx),
        Err(outcome @ (Outcome::Handshake | Outcome::UnknownFlow)) => {
            reset::answer::<I>(ctx, Frame::new(ctx), outcome)
        }
        Err(outcome) => Err(outcome),
    }
}

/// Whether a backend's segment is its answer to the flow's SYN: taken, or refused. Another one is about an earlier connection on the
/// same tuple.
#[inline(always)]
pub(super) fn answers_the_syn(record: &FlowRecord, tcp: &Tcp) -> bool {
    let flags = TcpFlags::new(tcp.flags);
    flags.has(TcpFlags::SYN | TcpFlags::RST)
        && flags.has(TcpFlags::ACK)
        && u32::from_be_bytes(tcp.acknowledgement) == record.fin_end.wrapping_add(1)
}

/// The SYN to the backend, and its answer.
#[inline(never)]
fn make_up<I: Rewritable>(
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
    let flags = TcpFlags::new(segment.tcp.flags);
    let refuses = matches!(record.direction(), Direction::Reverse) && flags.has(TcpFlags::RST);
    next_hop::refresh::<I>(ctx, key, record, now);
    established::account(record, segment.ip.packet_bytes(), now);
    // As they will be: an explanation changes no entry.
    let Some(draft) = maps::draft() else { return Err(Outcome::Internal) };
    draft.reverse = *record;
    if matches!(record.direction(), Direction::Forward) {
        // Whatever it is, its client has not heard that the window is open: the SYN may be lost.
        restore_syn::<I>(ctx, record.fin_end, Offer::of(record.backend_isn))?;
    } else if refuses {
        // To a client that is connected, as it believes, only the number it expects resets.
        let expected = record.backend_isn.wrapping_add(1).to_be_bytes();
        let delta = Delta::ZERO.replace(&segment.tcp.sequence, &expected);
        segment.tcp.sequence = expected;
        segment.tcp.checksum = delta.apply(segment.tcp.checksum);
    } else {
        open_window::<I>(ctx, key, record, draft)?;
    }
    let Some(segment) = Frame::new(ctx).view::<TcpFrame<I>>() else { return Err(Outcome::Internal) };
    rewrite::forward(ctx, segment, &draft.reverse)?;
    if refuses {
        handshake::note_refusal(record);
        handshake::remove(key, record);
    }
    Ok(Sent { outcome: Outcome::Handshake, ifindex: draft.reverse.next_hop.ifindex })
}

/// Makes the segment that brought a cookie back the SYN that asked for it.
#[inline(never)]
pub(super) fn restore_syn<I: Rewritable>(
    ctx: &XdpContext,
    client_isn: u32,
    offer: Offer,
) -> core::result::Result<(), Outcome> {
    Frame::new(ctx).resize::<TcpFrame<I>>(ctx, core::mem::size_of::<OpenFrame<I>>())?;
    let Some(syn) = Frame::new(ctx).view::<OpenFrame<I>>() else { return Err(Outcome::Internal) };
    let scale = offer.window_scale().unwrap_or(0);
    let window_bytes = u32::from(u16::from_be_bytes(syn.tcp.window)) << (scale & 0x0f);
    let window = if window_bytes > 0xffff { 0xffff } else { window_bytes as u16 };
    write_syn(syn, client_isn, window, offer, scale);
    syn.ip.set_payload_bytes(OPEN_HEADER_BYTES);
    Ok(())
}

#[inline(always)]
fn write_syn<I: Rewritable>(syn: &mut OpenFrame<I>, client_isn: u32, window: u16, offer: Offer, scale: u8) {
    syn.tcp.sequence = client_isn.to_be_bytes();
    syn.tcp.acknowledgement = [0; 4];
    syn.tcp.flags = TcpFlags::SYN;
    syn.tcp.window = window.to_be_bytes();
    syn.complete(offer.segment_bytes(rewrite::is_v6::<I>()), offer, scale);
}

/// Makes a backend's answer to the SYN one that opens its client's window, and asks for an answer to that. The entry's copy in the scratch
/// space learns from it what the entries do.
#[inline(never)]
fn open_window<I: Rewritable>(
    ctx: &XdpContext,
    key: &FlowKey,
    record: &mut FlowRecord,
    draft: &mut Draft,
) -> core::result::Result<(), Outcome> {
    let frame = Frame::new(ctx);
    let Some(segment) = frame.view::<TcpFrame<I>>() else { return Err(Outcome::Runt) };
    let offer = options::read::<I>(ctx, segment.tcp.header_bytes()).offer;
    let scale = offer.window_scale().unwrap_or(0);
    if !record.state().is_answered() {
        let scales = scales(Offer::of(record.backend_isn).window_scale(), offer.window_scale());
        draft.reverse.splice(u32::from_be_bytes(segment.tcp.sequence), scales);
        learn(key, record, &draft.reverse);
    }

    const PAYLOAD_BYTES: u16 = 21;
    frame.resize::<TcpFrame<I>>(ctx, core::mem::size_of::<TcpFrame<I>>() + 1)?;
    let frame = Frame::new(ctx);
    let Some(byte) = frame.view_at::<[u8; 1]>(core::mem::size_of::<TcpFrame<I>>()) else {
        return Err(Outcome::Internal);
    };
    *byte = [0];
    let Some(segment) = frame.view::<TcpFrame<I>>() else { return Err(Outcome::Internal) };
    let tcp = &mut segment.tcp;
    // In this segment the window is not scaled, in all later ones it is. One that is open is not closed by that.
    let window = u16::from_be_bytes(tcp.window);
    let scaled = window >> (scale & 0x0f);
    tcp.window = (if scaled == 0 && window != 0 { 1 } else { scaled }).to_be_bytes();
    tcp.data_offset = NO_OPTIONS;
    tcp.flags = TcpFlags::ACK;
    tcp.urgent = [0; 2];
    tcp.checksum = cookies::checksum(&segment.ip, tcp, PAYLOAD_BYTES, &[0, 0]);
    segment.ip.set_payload_bytes(PAYLOAD_BYTES);
    Ok(())
}

/// Both entries learn what the backend's answer says; `learnt` is a copy that knows it.
#[inline(always)]
fn learn(key: &FlowKey, record: &mut FlowRecord, learnt: &FlowRecord) {
    if explain::explains() {
        return;
    }
    for entry in [maps::embryonic_twin(key, record), Some(record)] {
        if let Some(entry) = entry {
            entry.shift = learnt.shift;
            entry.backend_isn = learnt.backend_isn;
            maps::add_state(entry, learnt.state);
        }
    }
}

/// Gives a flow another port. A backend answers a SYN with something else where a connection on the same tuple rests in TIME-WAIT, and
/// one without timestamps cannot always be told from that. Where the client's own port is used, its SYN is not known any more, or
/// several ports were as bad, the rest is to be ended, and the SYN goes out with its client's next segment: `Handshake`; that of a flow
/// whose other entry is gone is to be ended too: `UnknownFlow`.
#[inline(never)]
fn take_another_port(key: &FlowKey, record: &mut FlowRecord, now: u64) -> core::result::Result<(), Outcome> {
    explain::note_flow(key, record, 1);
    if !explain::explains() {
        // Its own port is none that rests.
        record.last_seen_ns = now;
    }
    if !matches!(record.forwarding(), Forwarding::Nat) {
        return Err(Outcome::Handshake);
    }
    let Some(draft) = maps::draft() else { return Err(Outcome::Internal) };
    let Some(forward) = maps::embryonic_twin(key, record) else { return Err(Outcome::UnknownFlow) };
    if !is_spliced(forward) && !forward.state().has(FlowState::SYN_KEPT)
        || forward.state().port_hops() >= PORT_HOPS
    {
        return Err(Outcome::Handshake);
    }
    draft.forward = *forward;
    draft.forward.state = forward.state().with_port_hop().bits();
    draft.reverse = *record;
    draft.reverse.state = draft.forward.state;
    draft.reverse.last_seen_ns = now;
    draft.from_backend = *key;
    new_flow::take_port(draft, now)?;
    maps::count(Occurrence::PortCollision);
    if maps::put_embryonic(&record.twin_key(key), &draft.forward).is_err() {
        return Err(Outcome::TableRefused);
    }
    maps::remove_embryonic(key);
    Ok(())
}

/// Answers a backend's segment with the SYN of the flow in the scratch space.
#[inline(never)]
fn send_syn_again<I: Rewritable>(ctx: &XdpContext) -> Result {
    let Some(draft) = maps::draft() else { return Err(Outcome::Internal) };
    let offer = Offer::of(draft.forward.backend_isn);
    Frame::new(ctx).resize::<TcpFrame<I>>(ctx, core::mem::size_of::<OpenFrame<I>>())?;
    let Some(syn) = Frame::new(ctx).view::<OpenFrame<I>>() else { return Err(Outcome::Internal) };
    syn.tcp.destination_port = syn.tcp.source_port;
    syn.tcp.source_port = draft.forward.new_source_port();
    // How much its client takes is in every later segment.
    write_syn(syn, draft.forward.fin_end, u16::MAX, offer, offer.window_scale().unwrap_or(0));
    syn.ip.make_answer(OPEN_HEADER_BYTES);
    (syn.ethernet.source, syn.ethernet.destination) = (syn.ethernet.destination, syn.ethernet.source);
    Ok(Sent { outcome: Outcome::Handshake, ifindex: 0 })
}

/// Turns one side's numbers into the other's.
#[inline(never)]
pub(super) fn shift<I: Rewritable>(ctx: &XdpContext, tcp: &mut Tcp, record: &FlowRecord) {
    let flags = TcpFlags::new(tcp.flags);
    let mut delta = Delta::ZERO;
    match record.direction() {
        Direction::Forward => {
            if flags.has(TcpFlags::ACK) {
                delta = add(&mut tcp.acknowledgement, record.shift, delta);
            }
            let window = expanded_window(u16::from_be_bytes(tcp.window), record.state().client_scale());
            delta = delta.replace(&tcp.window, &window.to_be_bytes());
            tcp.window = window.to_be_bytes();
            // Before a client has data it has nothing to tell about it.
            if tcp.header_bytes() > 20 && !flags.has(TcpFlags::SYN) {
                let found = options::read::<I>(ctx, tcp.header_bytes());
                if found.blocks_at != 0 {
                    delta = delta.and(shift_blocks(Frame::new(ctx), found.blocks_at, record.shift));
                }
            }
        }
        Direction::Reverse => {
            delta = add(&mut tcp.sequence, record.shift.wrapping_neg(), delta);
            if !flags.has(TcpFlags::SYN) {
                let window = u16::from_be_bytes(tcp.window);
                let rescaled = rescaled_window(window, record.state().backend_scale()).to_be_bytes();
                delta = delta.replace(&tcp.window, &rescaled);
                tcp.window = rescaled;
            }
        }
    }
    tcp.checksum = delta.apply(tcp.checksum);
}

#[inline(always)]
fn add(field: &mut [u8; 4], shift: u32, delta: Delta) -> Delta {
    let old = *field;
    *field = u32::from_be_bytes(old).wrapping_add(shift).to_be_bytes();
    delta.replace(&old, field)
}

/// The same for the edges of a client's selective acknowledgements, in an option that stands there in the frame.
#[inline(never)]
fn shift_blocks(frame: Frame, blocks_at: u16, shift: u32) -> Delta {
    let mut delta = Delta::ZERO;
    // The mask says nothing new; it lets the verifier see the bounds.
    let at = (blocks_at & 0x7f) as usize;
    let Some(option) = frame.view_at::<[u8; 2]>(at) else { return delta };
    let edges = (option[1].saturating_sub(2) / 4) as usize;
    for index in 0..EDGES_MAX {
        if index >= edges {
            break;
        }
        let Some(edge) = frame.view_at::<[u8; 4]>(at + 2 + 4 * index) else { break };
        delta = add(edge, shift, delta);
    }
    // The sum takes words from even offsets; fields at odd ones count with their bytes exchanged.
    if at & 1 == 0 { delta } else { delta.exchanged() }
}

/// A header that arrived, with the acknowledgement that its backend will see.
#[inline(always)]
pub(super) fn as_backend_sees(record: &FlowRecord, tcp: &Tcp) -> Tcp {
    let mut tcp = *tcp;
    // Without a branch, which would double what the verifier has to follow.
    let renumbered = record.state().bits() / FlowState::COOKIE.bits() & 1;
    let shift = record.shift * (renumbered as u32 * (1 - record.direction() as u32));
    tcp.acknowledgement = u32::from_be_bytes(tcp.acknowledgement).wrapping_add(shift).to_be_bytes();
    tcp
}

/// Turns the sequence number in a quoted header back into its sender's.
#[inline(always)]
pub(super) fn shift_quoted(quoted: &mut QuotedPorts, shift: u32) -> Delta {
    let ([a, b], [c, d]) = (quoted.sequence_or_length, quoted.sequence_or_checksum);
    let mut sequence = [a, b, c, d];
    let delta = add(&mut sequence, shift, Delta::ZERO);
    let [a, b, c, d] = sequence;
    (quoted.sequence_or_length, quoted.sequence_or_checksum) = ([a, b], [c, d]);
    delta
}

/// The end of a FIN in a segment that was turned for its receiver, as its acknowledgement will look to the backend.
#[inline(always)]
pub(super) fn fin_end(record: &FlowRecord, end: u32) -> u32 {
    let turned = is_spliced(record) && matches!(record.direction(), Direction::Reverse);
    if turned { end.wrapping_add(record.shift) } else { end }
}
